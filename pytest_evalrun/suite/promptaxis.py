"""``prompts``: a third axis. A model that is sent prompts becomes a task for each of them, ``model@prompt``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.entries import topmost
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.names import refusal
from pytest_evalrun.suite.ownwords import words_of_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_evalrun.suite.entries import Entry, Row
    from pytest_evalrun.suite.pairs import Task
    from pytest_evalrun.suite.problems import Problems
    from pytest_evalrun.suite.suitefile import Mapped, SuiteFile

WORD = "prompt"
# What a prompt says in two ways: one that comes later takes the place of the other.
_EITHER = {"messages": ("system", "template"), "system": ("messages",), "template": ("messages",)}


class PromptAxis:
    """The named prompts of a suite; each lies above the prompt that its pair has otherwise, and below overrides."""

    def __init__(self, suite: SuiteFile) -> None:
        self._place = suite.place("prompts")
        self._prompts = suite.named("prompts")
        self._layers: dict[tuple[str, int], Layer] = {}

    def rows(
        self, rows: Sequence[Row], below: tuple[Layer, ...], above: tuple[Layer, ...], problems: Problems
    ) -> Sequence[Row]:
        """Tasks for all prompts in place of each model whose kind is sent one, in written order.

        ``below`` and ``above`` are the layers under and over those of models.
        """
        if not self._prompts:
            return rows
        for problem in filter(None, (refusal(name, WORD) for name in self._prompts)):
            problems.add(f"{self._place}: {problem}")
        asked = [_is_asked(task, below, above) for task, _ in rows]
        if rows and not any(asked):
            problems.add(f"{self._place}: found prompts, and no model that is sent any; accepted: with adapter openai")
        return [
            each for row, is_asked in zip(rows, asked, strict=True) for each in (self._each(row) if is_asked else [row])
        ]

    def _each(self, row: Row) -> Iterable[Row]:
        entry, datasets = row
        for name in self._prompts:
            task = replace(entry.item, name=f"{entry.item.name}@{name}", prompt=name)
            yield replace(entry, item=task), datasets

    def layer(self, name: str, layers: Sequence[Layer]) -> Layer:
        """What a prompt says of pairs whose other layers are these, shared by all that have the same prompt below."""
        base = next((layer for layer in reversed(layers) if WORD in layer.values), None)
        key = (name, id(base))
        if key not in self._layers:
            self._layers[key] = self._over(base, self._prompts[name])
        return self._layers[key]

    def _over(self, base: Layer | None, part: Mapped) -> Layer:
        replaced = {other for key in part.values for other in _EITHER.get(key, ())}
        kept: dict[str, Any] = dict(base.values[WORD] or {}) if base is not None else {}
        kept = {key: value for key, value in kept.items() if key not in replaced}
        file = part.document.file
        old = base.lines if base is not None and base.source == file else {}
        lines = {key: line for key, line in old.items() if key.startswith(f"{WORD}.")} | dict(part.lines(WORD))
        return Layer(WORD, file, {WORD: {**kept, **part.values}}, lines)


def _is_asked(task: Entry[Task], below: tuple[Layer, ...], above: tuple[Layer, ...]) -> bool:
    """Tell by what the suite says of the model's kind, and only without that by what this launch says: ids stay."""
    adapter = topmost("adapter", below, task.layers) or topmost("adapter", above)
    return adapter is not None and WORD in words_of_kind(adapter)
