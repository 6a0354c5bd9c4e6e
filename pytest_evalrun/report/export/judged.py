"""What judges have said of a pair's answers, in their own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.samplelines import SampleLines
from pytest_evalrun.suite.answering import JUDGE
from pytest_evalrun.suite.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.report.export.chosen import ChosenPair


class JudgedWords:
    """The verdicts on a pair, asked for answer by answer in dataset order; memory does not grow with them."""

    def __init__(self, pair: ChosenPair) -> None:
        names = [name for name in pair.metrics if pair.uses(name) == JUDGE]
        self._generations = pair.generations
        self._lines: dict[str, Iterator[dict[str, Any]]] = {}
        for name in names:
            path = pair.files.judged(safe_name(name) if len(names) > 1 else None).predictions
            if path.is_file():
                self._lines[name] = SampleLines(path).ordered()
        self._next: dict[str, Mapping[str, Any] | None] = {name: next(it, None) for name, it in self._lines.items()}

    def of(self, index: int, generation: int | None) -> dict[str, str]:
        """What each judge said of an answer, by the name of its metric; one that said nothing is left out."""
        place = index * self._generations + (generation or 0)
        words = ((name, self._text(name, place)) for name in self._lines)
        return {name: text for name, text in words if text is not None}

    def _text(self, name: str, place: int) -> str | None:
        line = self._next[name]
        while line is not None and line["index"] < place:
            line = self._next[name] = next(self._lines[name], None)
        if line is None or line["index"] != place:
            return None
        said = line.get("prediction") if line.get("status") == "ok" else line.get("error")
        return None if said is None else str(said)
