"""The processes that worked in a run: enough to tell, after a crash, whether one of them still lives."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pytest_evalrun.rundir.durable import ASIDE
from pytest_evalrun.rundir.lines import Follower, LineFile, json_line
from pytest_evalrun.suite.jsontext import parse_json


@dataclass(frozen=True)
class ProcessEntry:
    """A process, by what no later process with its PID shares: the moment it started, in the unit of its system."""

    pid: int
    pgid: int
    start_time: float | None
    pair: str | None = None


def start_time(pid: int) -> float | None:
    """Ask when a process started (clock ticks since boot on Linux); None where it is gone, or dead and not reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - once an item
            stat = file.read()
    except OSError:
        return None if os.path.exists("/proc/self/stat") else _start_time_by_psutil(pid)  # noqa: PTH110
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])


def _start_time_by_psutil(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def alive(entry: ProcessEntry) -> bool:
    """Tell whether the very process lives, not another one that was given its PID."""
    return entry.start_time is not None and start_time(entry.pid) == entry.start_time


class ProcessLog:
    """The processes of one worker, itself and those it starts, a line each time one turns to a pair."""

    def __init__(self, path: Path | str) -> None:
        self._file = LineFile(path)
        self._known: dict[int, ProcessEntry] = {}

    def add(self, pid: int, pair: str | None = None) -> bool:
        """Append a line; False where the disk did not take it."""
        known = self._known.get(pid) if pid == os.getpid() else None
        if known is None:
            known = self._known[pid] = ProcessEntry(pid, _group(pid), start_time(pid))
        line = {"pid": pid, "pgid": known.pgid, "start_time": known.start_time, "pair": pair}
        return self._file.write(json_line(line))

    def close(self) -> None:
        self._file.close()


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return pid


class Living:
    """The recorded processes of a run that live; a look costs what was written since the last one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, Follower] = {}
        self._found: dict[str, dict[tuple[int, float | None], ProcessEntry]] = {}
        self._looking = Lock()

    def look(self) -> list[ProcessEntry]:
        """List each of them once for each worker that named it, with the pair it last turned to there."""
        with self._looking:
            for file in self._names():
                self._read(file)
            return [entry for file in sorted(self._found) for entry in self._found[file].values()]

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._directory) if name.endswith(".jsonl"))  # noqa: PTH208
        except OSError:  # nobody has worked yet, or somebody tidies up
            return []

    def _read(self, file: str) -> None:
        """Read what a worker wrote since; what is dead stays dead, so nothing of it is kept."""
        found = self._found.setdefault(file, {})
        if file not in self._files:
            self._files[file] = Follower(self._directory / file)
        for line in self._files[file].read():
            if entry := _parse(line):
                found[entry.pid, entry.start_time] = entry
        for key in [key for key, entry in found.items() if not alive(entry)]:
            del found[key]


def _parse(line: bytes) -> ProcessEntry | None:
    try:
        entry = parse_json(line)
        return ProcessEntry(int(entry["pid"]), int(entry["pgid"]), entry["start_time"], entry.get("pair"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # torn by a crash


def sweep_asides(directory: Path | str, older: float = 0.0) -> None:
    """Remove what dead writers have left of files that never came to be, ``older`` seconds ago or more."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names are enough
    except OSError:
        return
    for name in names:
        found = ASIDE.fullmatch(name)
        if found and start_time(int(found[1])) is None:
            with suppress(OSError):
                path = Path(directory, name)
                if time.time() - path.lstat().st_mtime >= older:
                    path.unlink()
