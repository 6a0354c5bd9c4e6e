"""Programs as kinds of models, here and on a board: what they need, what counts of them, how they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.programs import commands
from pytest_evalrun.programs.command_template import NOT_HANDED_OVER, named_files, sent_files
from pytest_evalrun.programs.commands import ProgramSettings, program_of
from pytest_evalrun.suite.problems import found
from pytest_evalrun.suite.settings import ModelKind, Way
from pytest_evalrun.suite.template import portable, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from pytest_evalrun.suite.settings import Settings

# Cells of CSV that programs write; of an older version they may be numbers, which does not say what was written.
CELLS = "text"
_WAYS = {"pair": Way.RANGE, "batch": Way.BATCH, "server": Way.SERVER}


class _Program(ModelKind):
    """A program, wherever it runs."""

    Own = ProgramSettings
    version = 1
    in_yaml = frozenset({"results"})
    has_environment = True
    other_words = "passed on to the program as environment"
    keeps_state = True

    @classmethod
    def schema(cls) -> type[BaseModel]:
        from pytest_evalrun.programs.schema import ProgramModel

        return ProgramModel

    @classmethod
    def own(cls, words: Mapping[str, Any]) -> ProgramSettings:
        """Make :class:`ProgramSettings` of what JSON knows; null unsets what a lower layer says."""
        chosen = {name: words[name] for name in cls.words() if name in words}
        if isinstance(chosen.get("command"), list):
            chosen["command"] = tuple(chosen["command"])
        chosen["results"] = chosen.get("results") or {}
        chosen["upload"] = tuple(chosen.get("upload") or ())
        return ProgramSettings(**chosen)

    @classmethod
    def mistakes(cls, settings: Settings) -> Iterator[tuple[str, str]]:
        yield from commands.mistakes(settings)
        if settings.generations > 1:
            yield "generations", f"{found(settings.generations)} with a program, which answers once; accepted: 1"
        if cls.needs_board(settings):
            yield from cls._mistakes_on_a_board(settings)

    @classmethod
    def _mistakes_on_a_board(cls, settings: Settings) -> Iterator[tuple[str, str]]:
        own = program_of(settings)
        if cls.runs_on_board and own.remote:
            accepted = "with adapter command"
            yield "remote", f"found with adapter {settings.adapter}, which runs there by itself; accepted: {accepted}"
        if own.remote and own.ask == "server":
            yield "remote", "found with ask: server; accepted: ask: pair or batch, or adapter: ssh"
        if own.remote and own.upload:
            yield "upload", "found with remote: true, where the script sends its files; accepted: with adapter: ssh"
        for pattern in own.upload:
            if pattern.startswith("/") or ".." in pattern.split("/"):
                yield "upload", f"{found(pattern)}; accepted: files, directories and globs below the suite"

    @classmethod
    def way(cls, settings: Settings) -> Way:
        return _WAYS[program_of(settings).ask]

    @classmethod
    def identity(cls, settings: Settings, root: str, hashes: Any) -> dict[str, Any]:
        """Name what is called and how, and the content of each file in the command; paths as they were written."""
        own = program_of(settings)
        command = own.command or ""
        words = str(command).split() if own.shell else words_of(command)
        # A script's place is no part of what it does: clones and other hosts reuse.
        how: dict[str, Any] = {"words": [portable(word, root) for word in words], "ask": own.ask}
        how |= {"results": dict(own.results), "shell": own.shell, "rows": own.rows, "range": settings.range}
        files: dict[str, Path] = dict(named_files(settings, root))
        if own.upload:
            files |= {name: path for path, name in sent_files(settings, root)}
        parts: dict[str, Any] = {
            "command": how,
            "program": {name: hashes.file(path) for name, path in files.items()},
        }
        if own.results.get("csv"):
            parts["cells"] = CELLS
        if env := {name: value for name, value in settings.env.items() if name not in NOT_HANDED_OVER}:
            parts["env"] = env
        return parts

    @classmethod
    def create(cls, settings: Settings, path: str | None, root: str) -> Any:
        raise PairError("a program is no Python object; it is started where its pair is evaluated")

    @classmethod
    def computes(cls, settings: Settings) -> bool:
        return "metrics" in program_of(settings).results

    @classmethod
    def csv(cls, settings: Settings) -> tuple[str, str] | None:
        own = program_of(settings)
        if not own.results.get("csv"):
            return None
        return own.results.get("id_column") or settings.id_column or "id", own.rows


class Command(_Program):
    """A program on this machine; with ``remote: true`` one that talks to a board itself."""

    @classmethod
    def needs_board(cls, settings: Settings) -> bool:
        return program_of(settings).remote


class Ssh(_Program):
    """A program on a board, reached by SSH."""

    runs_on_board = True
    keeps_state = False
