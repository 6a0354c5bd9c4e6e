"""The progress of a running program: its results as they appear, and what it says itself in a state file of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.programs.results import is_older, matching
from pytest_evalrun.rundir.lines import open_file, read_file
from pytest_evalrun.rundir.state import parse
from pytest_evalrun.suite.settings import COMPLETE, STATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_evalrun.programs.results import Counted
    from pytest_evalrun.rundir.state import RunningState

BLOCK = 1 << 20
# Looking may cost this share of the time at most: a directory can hold a hundred thousand files.
SHARE = 0.05


class ProgramWatch(Protocol):
    """A look at how far a running program is."""

    def count(self) -> int:
        """Count the samples of which results have appeared."""

    def read(self) -> RunningState | None:
        """Read what it says itself."""

    def last(self) -> RunningState | None:
        """Read what it said last, now that it has ended."""


class LocalWatch:
    """A watch of a program of this machine."""

    def __init__(self, counter: Lines | Files | Nothing, own: OwnState) -> None:
        self._counter = counter
        self._own = own

    def count(self) -> int:
        return self._counter.count()

    def read(self) -> RunningState | None:
        return self._own.read()

    last = read


def counter(counted: Counted, pattern: str, output: Path) -> Lines | Files | Nothing:
    """Make what counts results in the files of the pattern, or in the output directory."""
    if counted.by == "lines":
        return Lines(pattern, header=counted.header)
    return Files(Path(output, counted.directory), counted.ending) if counted.by == "files" else Nothing()


class Lines:
    """A count of rows in the files of a pattern, as they are appended; a header is none."""

    def __init__(self, pattern: str, header: bool) -> None:
        self._pattern = pattern
        self._header = header
        self._seen: dict[Path, tuple[int, int]] = {}

    def count(self) -> int:
        return sum(max(0, self._lines(path) - self._header) for path in matching(self._pattern))

    def _lines(self, path: Path) -> int:
        position, lines = self._seen.get(path, (0, 0))
        try:
            with open_file(path) as file:
                if os.fstat(file.fileno()).st_size < position:  # begun anew
                    position = lines = 0
                file.seek(position)
                while block := file.read(BLOCK):
                    position += len(block)
                    lines += block.count(b"\n")
        except OSError:
            return lines
        self._seen[path] = (position, lines)
        return lines


class Files:
    """A count of the files of a directory that end as the results do and were not there before."""

    def __init__(self, directory: Path, ending: str) -> None:
        self._directory = directory
        self._ending = ending
        self._before = self._all()

    def count(self) -> int:
        return max(0, self._all() - self._before)

    def _all(self) -> int:
        try:
            with os.scandir(self._directory) as entries:
                return sum(entry.name.endswith(self._ending) for entry in entries)
        except OSError:
            return 0


class Nothing:
    """A count of results that come all at once."""

    def count(self) -> int:
        return 0


class OwnState:
    """The state file that the program writes: by the name that it was given, or any other that is new."""

    def __init__(self, prefix: Path, directories: Sequence[Path], name: str | None) -> None:
        self._path = prefix.with_name(prefix.name + STATE)
        self._directories = directories
        self._name = f"{name}{STATE}" if name else None
        self._since = time.time()

    def read(self) -> RunningState | None:
        """Read what it says; None where it says nothing that can be understood."""
        for path in self._candidates():
            try:
                fresh = path.stat().st_mtime >= self._since - 1
                state = parse(read_file(path).decode(errors="replace")) if fresh else None
            except OSError:
                continue
            if state is not None:
                return state
        return None

    def _candidates(self) -> list[Path]:
        found = [self._path] if self._path.exists() else []
        for directory in self._directories:
            try:
                with os.scandir(directory) as entries:
                    names = [e.name for e in entries if e.name.endswith(STATE) and not e.name.endswith(COMPLETE)]
            except OSError:
                continue
            found += [directory / name for name in sorted(names, key=lambda name: (name != self._name, name))]
        return found


def put_aside(name: str, directories: Iterable[Path], suffix: str) -> None:
    """Have a program that looks for its own state by this name find nothing any more, and begin anew."""
    for directory in directories:
        for path in (directory / f"{name}{COMPLETE}", directory / f"{name}{STATE}"):
            if os.path.lexists(path):
                path.replace(path.with_name(path.name + suffix))


def finished(name: str | None, directories: Iterable[Path]) -> list[Path]:
    """List the files by which it says that there is nothing left to do."""
    return [path for directory in directories if name and os.path.lexists(path := directory / f"{name}{COMPLETE}")]


def let_begin(state: Path, name: str | None, directories: Iterable[Path], since: float) -> None:
    """Let a program that starts have something left to do, whatever an earlier start of ours said at its end.

    ``state`` is the prefix of its state file; what lay there ``since`` earlier is the user's, and stays.
    """
    state.with_name(state.name + COMPLETE).unlink(missing_ok=True)
    for path in finished(name, directories):
        if not is_older(path, since):
            path.unlink(missing_ok=True)


class Pace:
    """A pace at which something is done as often as its cost allows."""

    def __init__(self) -> None:
        self._next = 0.0
        self._began = 0.0

    def due(self) -> bool:
        self._began = time.monotonic()
        return self._began >= self._next

    def done(self) -> None:
        now = time.monotonic()
        self._next = now + (now - self._began) / SHARE
