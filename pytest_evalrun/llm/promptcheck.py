"""What is wrong with a prompt and can be told before any data are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun import registry
from pytest_evalrun.llm.columns import BARE
from pytest_evalrun.llm.pictures import picture_columns
from pytest_evalrun.llm.templates import ROW, mistake_in, names_in, texts_in
from pytest_evalrun.suite.problems import accepted, found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.suite.settings import Settings


def mistakes_in(prompt: Mapping[str, Any], settings: Settings) -> Iterator[tuple[str, str]]:
    """Tell what is wrong with a pair's prompt: key, and what is found and accepted."""
    if "messages" in prompt and (other := next((key for key in ("template", "system") if key in prompt), None)):
        yield "prompt.messages", f"found next to {other}; accepted: one of them"
    for index, message in enumerate(prompt.get("messages", ())):
        if not (isinstance(message.get("role"), str) and "content" in message):
            yield f"prompt.messages[{index}]", f"{found(message)}; accepted: a mapping with `role` and `content`"
    if "fewshot" in prompt and "from" not in prompt["fewshot"]:
        yield "prompt.fewshot", "found no file; accepted: `from: FILE` with examples"
    known = _known_columns(prompt, settings)
    if known is not None and (options := prompt.get("choices", BARE)) not in {*settings.inputs, BARE}:
        yield "prompt.choices", f"no column {options!r} among `inputs`; {accepted(options, settings.inputs)}"
    for column in sorted(picture_columns(prompt.get("messages")) - known) if known is not None else ():
        yield "prompt.messages", f"image: no column {column!r} among `inputs`; {accepted(column, settings.inputs)}"
    for key, text in texts_in(dict(prompt), "prompt"):
        if not key.endswith((".choices", ".from")):
            yield from _mistakes_of(key, text, known)


def _mistakes_of(key: str, text: str, known: frozenset[str] | None) -> Iterator[tuple[str, str]]:
    if mistake := mistake_in(text):
        yield key, mistake
    elif known is not None and not key.endswith(".answer"):  # which has all columns of its file
        for name in sorted(names_in(text) - known):
            yield key, f"no column {name!r} among `inputs`; {accepted(name, known)}"


def _known_columns(prompt: Mapping[str, Any], settings: Settings) -> frozenset[str] | None:
    """The columns that templates have where the suite lists them for a table; None where the data will tell."""
    offer = registry.find(registry.READERS, settings.format)
    if not settings.inputs or settings.format == "files" or offer is None or not offer.is_ours:
        return None
    bare = {BARE} if len(settings.inputs) == 1 else set()
    return frozenset({*settings.inputs, *bare, ROW, *(("choices",) if "choices" in prompt else ())})
