"""The pytest command of a session as a person types it: to carry on, or to run again what failed."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_evalrun.suite.printable import as_typed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# What said which pairs a launch was about; the values that follow go with their options.
_SELECTING = frozenset({"-k", "-m", "--deselect", "--ignore", "--ignore-glob", "--eval-only", "--eval-limit"})
_SELECTING_FLAGS = frozenset(
    {"--lf", "--last-failed", "--ff", "--failed-first", "--nf", "--new-first", "--sw", "--stepwise"}
    | {"--sw-skip", "--stepwise-skip", "--sw-reset", "--stepwise-reset"}
)
# What would begin anew where the run is to go on.
_RESTARTING = frozenset({"--eval-run"})
_RESTARTING_FLAGS = frozenset({"--eval-fresh"})


def command_line(argv: Sequence[str]) -> str:
    """A session's ``argv`` as it was typed: ``pytest evals/ -n 5``."""
    return _typed([*_program(argv), *argv[1:]])


def carry_on_command(argv: Sequence[str], run: str | None = None) -> str:
    """The same launch again, on what it has left; ``run`` where that is not the latest one."""
    rest = _without(argv[1:], _RESTARTING, _RESTARTING_FLAGS)
    return _typed([*_program(argv), *rest, *_of_run(run)])


def retry_command(argv: Sequence[str], run: str | None = None, suites: Iterable[str] = ()) -> str:
    """The launch for what failed in the whole run, not only in what the last launch had selected.

    ``suites`` are files of some that it had not found. They stand first: behind an option they might be its value.
    """
    rest = _without(argv[1:], _RESTARTING | _SELECTING, _RESTARTING_FLAGS | _SELECTING_FLAGS)
    words = _whole_files(iter([*suites, *rest]))
    return _typed([*_program(argv), *words, *_of_run(run), "--eval-only", "failed"])


def _typed(words: Iterable[str]) -> str:
    """Join words to a line to paste; what a terminal would obey is written as bash and zsh have it: ``$'\\x1b'``."""
    return " ".join(shlex.quote(word) if word.isprintable() else f"$'{as_typed(word)}'" for word in words)


def _whole_files(words: Iterator[str]) -> Iterator[str]:
    """A pasted id stands for its file, each file once."""
    seen: set[str] = set()
    for word in words:
        file, colons, _ = word.partition("::")
        if not colons or word.startswith("-"):
            yield word
        elif file not in seen:
            seen.add(file)
            yield file


def _program(argv: Sequence[str]) -> list[str]:
    name = PurePath(argv[0]).name if argv else "pytest"
    return ["python", "-m", "pytest"] if name == "__main__.py" else [name]


def _of_run(run: str | None) -> list[str]:
    return [] if run is None else ["--eval-run", run]


def _without(words: Sequence[str], options: frozenset[str], flags: frozenset[str]) -> Iterator[str]:
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif word not in flags and not _joined(word, options):
            yield word


def _joined(word: str, options: frozenset[str]) -> bool:
    """``--eval-run=x``, ``-kx``."""
    if word.startswith("--"):
        return word.partition("=")[0] in options
    return word[:2] in options
