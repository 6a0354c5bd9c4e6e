"""Launches of a work directory that live, by notes that each leaves: most of a launch has no run directory yet.

A run is made when the first item is dispatched; until then models are looked for, data is cut, boards are asked. The
notes lie beside the lock of the task list, in a directory that is ours alone. They are a courtesy to whoever watches or
stops: where one cannot be written, the launch goes on without.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.processes import ProcessEntry, alive, start_time
from pytest_evalrun.rundir.sessions import boot_id
from pytest_evalrun.rundir.tasklock import lock_directory, own_directory
from pytest_evalrun.suite.jsontext import parse_json


@dataclass(frozen=True)
class LaunchNote:
    """The launching process, the run that it asked for (``latest``, ``new``, a name), and the one that it got."""

    workdir: str
    rootdir: str
    pid: int
    start_time: float | None
    boot_id: str
    wanted: str
    run: str | None = None

    @classmethod
    def of(cls, pid: int, workdir: Path, rootdir: Path, wanted: str) -> LaunchNote:
        return cls(os.path.abspath(workdir), str(rootdir), pid, start_time(pid), boot_id(), wanted)  # noqa: PTH100

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str | bytes) -> LaunchNote:
        """Parse a note; raises TypeError or ValueError on anything else than what was written."""
        launch = cls(**parse_json(text))
        return replace(launch, pid=int(launch.pid))

    @property
    def process(self) -> ProcessEntry:
        return ProcessEntry(self.pid, 0, self.start_time)

    @property
    def lives(self) -> bool:
        """True for the very process; a note of one that was killed stays until somebody looks."""
        return self.boot_id == boot_id() and alive(self.process)

    @cached_property
    def file(self) -> Path:
        return lock_directory(Path(self.workdir)) / f"launch_{self.pid}.json"


def announce(launch: LaunchNote) -> None:
    """Say that a launch has begun, or what has become of it."""
    with suppress(OSError):
        os.close(own_directory(launch.file.parent))
        write_atomic(launch.file, launch.dumps())


def withdraw(launch: LaunchNote) -> None:
    """Remove the note of a launch that has ended."""
    with suppress(OSError):
        launch.file.unlink()
    with suppress(OSError):
        launch.file.parent.rmdir()  # the lock of the task list may still lie there


def launches(workdir: Path) -> list[LaunchNote]:
    """List the launches that live, and remove the notes of killed ones."""
    directory = lock_directory(workdir)
    try:
        if not directory.is_dir():
            return []
        os.close(own_directory(directory))
        files = sorted(directory.glob("launch_*.json"))
    except OSError:
        return []
    found = [launch for file in files if (launch := _read(file)) is not None]
    for stale in (launch for launch in found if not launch.lives):
        withdraw(stale)
    return [launch for launch in found if launch.lives]


def _read(file: Path) -> LaunchNote | None:
    """Read a note; None where it went meanwhile, or is not what we wrote."""
    try:
        launch = LaunchNote.loads(read_file(file))
    except (OSError, ValueError, TypeError):
        return None
    return launch if launch.file == file else None
