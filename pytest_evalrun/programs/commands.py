"""The settings that only programs have, and what may stand in them by the way in which a program is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.problems import accepted, found, some
from pytest_evalrun.suite.template import names_in, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.suite.settings import Settings

KINDS = ("csv", "jsonl", "files", "metrics")
TABLES = ("csv", "jsonl")

_ALWAYS = frozenset({"model", "model_dir", "gpus", "batch_size"})
_OF_A_DATASET = _ALWAYS | {"dataset", "dataset_dir", "output"}
PLACEHOLDERS = {
    "pair": _OF_A_DATASET | {"low", "high"},
    "batch": _OF_A_DATASET | {"batch", "inputs"},
    "server": _ALWAYS,
}
_BOUNDS = ("{low}", "{high}")
_OF_A_SAMPLE = frozenset({"id", "stem"})


@dataclass(frozen=True)
class ProgramSettings:
    """The settings that only programs have."""

    command: str | tuple[str, ...] | None = None
    shell: bool = False
    ask: str = "pair"
    results: Mapping[str, str] = field(default_factory=dict)
    rows: str = "one"
    remote: bool = False
    upload: tuple[str, ...] = ()


def program_of(settings: Settings) -> ProgramSettings:
    """Give the own settings of a pair that is known to have a program."""
    own = settings.own
    assert isinstance(own, ProgramSettings), "asked of programs only"
    return own


def knows_ranges(settings: Settings) -> bool:
    """Say whether a program is told which samples are wanted; others do the whole dataset each time."""
    command = program_of(settings).command or ""
    words = [command] if isinstance(command, str) else command
    return bool({"low", "high"} & {name for word in words for name in names_in(word)})


def mistakes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Say what is wrong with a program's settings: key and text."""
    if program_of(settings).command is None:
        yield "adapter", "adapter command needs a command; accepted: `command: …`, `script: eval.sh`"
        return
    yield from _mistakes_of_command(settings)
    yield from _mistakes_of_results(settings)
    if settings.range == "id" and settings.format == "files":
        yield "range", "found 'id' with format files; accepted: with tables"


def _mistakes_of_command(settings: Settings) -> Iterator[tuple[str, str]]:
    own = program_of(settings)
    command = own.command
    assert command is not None
    if own.shell and not isinstance(command, str):
        yield "command", "found a list with shell: true; accepted: one text, or shell: false"
        return
    try:
        words = [str(command)] if own.shell else words_of(command)
        if not words or not words[0].strip():
            yield "command", f"{found(command)}; accepted: a program and its arguments"
        known = PLACEHOLDERS[own.ask] | settings.params.keys()
        for word in words:
            yield from (("command", text) for text in _unknown(word, known, own.ask))
            if "inputs" in names_in(word) and word != "{inputs}" and not own.shell:
                yield "command", f"{found(word)}; accepted: {{inputs}} as a word of its own"
        if own.ask == "pair" and (settings.shards or settings.shard_size) and not knows_ranges(settings):
            yield "command", "it is not told which range a shard is; accepted: {low} and {high} in it, or no shards"
    except ConfigError as error:
        yield "command", str(error)


def _mistakes_of_results(settings: Settings) -> Iterator[tuple[str, str]]:
    own = program_of(settings)
    results = own.results
    kinds = [kind for kind in KINDS if results.get(kind)]
    if own.ask == "server":
        if results:
            yield "results", "a server answers in the child protocol; accepted: no results, or ask: pair or batch"
        return
    if len(kinds) != 1:
        yield "results", f"found {some(kinds) if kinds else 'no result'}; accepted: one of {some(KINDS)}"
        return
    (kind,) = kinds
    known = (PLACEHOLDERS[own.ask] - {"inputs"}) | settings.params.keys()
    try:
        template = results[kind]
        known |= _OF_A_SAMPLE if kind == "files" else frozenset()
        yield from ((f"results.{kind}", text) for text in _unknown(template, known, own.ask))
        if kind == "files" and not _OF_A_SAMPLE & {*names_in(template)}:
            yield "results.files", f"{found(template)}; accepted: a name with {{id}} or {{stem}} of the sample"
    except ConfigError as error:
        yield f"results.{kind}", str(error)
    yield from _mistakes_of_kind(kind, settings)


def _mistakes_of_kind(kind: str, settings: Settings) -> Iterator[tuple[str, str]]:
    own = program_of(settings)
    if kind not in TABLES and (others := [key for key in ("id_column", "prediction") if own.results.get(key)]):
        yield f"results.{others[0]}", f"found with {kind}; accepted: with {some(TABLES)}"
    if own.rows == "any" and (kind not in TABLES or own.ask != "pair"):
        yield "rows", f"found 'any'; accepted: any for results in {some(TABLES)} and ask: pair, else one"
    if kind == "metrics" and own.ask != "pair":
        yield "results.metrics", "metrics are of a whole dataset; accepted: ask: pair"
    if settings.shards or settings.shard_size:
        yield from _mistakes_of_shards(kind, settings)


def _mistakes_of_shards(kind: str, settings: Settings) -> Iterator[tuple[str, str]]:
    if kind == "metrics":
        yield "results.metrics", "metrics of parts cannot be put together; accepted: no shards"
    own = program_of(settings)
    asked_at_once = kind in TABLES and own.ask == "pair" and knows_ranges(settings)
    if asked_at_once and not any(word in own.results[kind] for word in _BOUNDS):
        yield f"results.{kind}", "all shards write a file of that name; accepted: {low} or {high} in it, or no shards"


def _unknown(text: str, known: frozenset[str], ask: str) -> list[str]:
    """Find a problem for each placeholder that is not known."""
    return [
        f"unknown placeholder {{{name}}} with ask: {ask}; {accepted(name, known)}; {{{{ is a brace"
        for name in names_in(text)
        if name not in known
    ]
