"""The last launch of a run: what it was told to do, whether it still lives, and how to carry it on."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pytest_evalrun.monitor.follow import Directory
from pytest_evalrun.report.commands import carry_on_command
from pytest_evalrun.report.runs import called
from pytest_evalrun.report.text import natural_key
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.sessions import session_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.rundir.sessions import SessionInfo

Word = Literal["none", "live", "dead", "ended", "unknown"]
_PAIRS = "\npairs: |2-\n"


@dataclass(frozen=True)
class LaunchState:
    """The standing of the last session; ``unknown`` where it ran on another host and no lock tells from here."""

    word: Word
    info: SessionInfo | None = None

    @property
    def interrupted(self) -> bool:
        return self.word == "ended" and self.info is not None and self.info.clean is False

    @property
    def since(self) -> float | None:
        """The time when it started (Unix time); None where nobody knows."""
        try:
            return datetime.fromisoformat(self.info.started).timestamp() if self.info else None
        except ValueError:
            return None


def standing(paths: RunPaths) -> LaunchState:
    """Ask the run's lock, and for whoever is out of its reach the run's own words."""
    word, info = session_state(paths)
    if word == "dead":
        word, info = session_state(paths)  # it may have ended between its file and its lock
    if word == "dead" and info is not None and info.host != socket.gethostname():
        return LaunchState("unknown", info)
    return LaunchState(word, info)


def carry_on(argv: Sequence[str], paths: RunPaths) -> str:
    """Make the command that goes on where a session of this run has stopped."""
    return carry_on_command(argv, called(WorkDir(paths.root.parent), paths))


def limit_of(argv: Sequence[str]) -> int | None:
    """Return the N of ``--eval-limit``: the files of such an evaluation are named after it."""
    for i, word in enumerate(argv):
        name, _, value = word.partition("=")
        if name == "--eval-limit":
            value = value or (argv[i + 1] if i + 1 < len(argv) else "")
            return int(value) if value.isdecimal() else None
    return None


class LaunchFiles:
    """The snapshots in ``configs/``: of the newest one, the pairs that its suites had."""

    def __init__(self, paths: RunPaths) -> None:
        self.pairs: tuple[str, ...] = ()
        self._place = paths.configs
        self._directory = Directory(paths.configs, ".yaml")

    def look(self) -> bool:
        """Read the newest snapshot; True where it is of another launch than at the last look."""
        if not self._directory.look():
            return False
        names = sorted(self._directory.names, key=lambda name: natural_key(name.removesuffix(".yaml")))
        self.pairs = _read_pairs(self._place / names[-1]) if names else ()
        return True


def _read_pairs(file: Path) -> tuple[str, ...]:
    """The ids at the end of a snapshot, a line each; none where it is written otherwise, or cannot be read."""
    try:
        _, found, lines = read_file(file).decode(errors="replace").partition(_PAIRS)
    except OSError:
        return ()
    return tuple(line[2:] for line in lines.splitlines()) if found else ()
