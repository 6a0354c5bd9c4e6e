"""Events of a run, a JSON line each: workers write files of their own, and the controller merges them into one.

The lines of a worker are copied unchanged and in their order, so that the merged ones are always the first lines of its
file: how many they are is counted in ``events.jsonl`` itself. No offset is stored that could disagree with it after a
crash, and no line is lost or doubled whenever a controller dies.

The main log tells people the same in fewer words.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pytest_evalrun.rundir.lines import LineFile, json_line, open_file, read_objects, utc_time
from pytest_evalrun.suite.printable import one_line
from pytest_evalrun.suite.secrets import NO_SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.suite.secrets import Secrets

Level = Literal["INFO", "TASK", "WARNING", "ERROR"]

CONTROLLER = "controller"
_CHUNK = 1 << 20
# Inside a JSON string a quote is escaped: the first unescaped ,"worker":" is the line's own.
_WORKER = re.compile(rb',"worker":"((?:[^"\\]|\\.)*)"')


class EventWriter:
    """The events of one process, without secrets, in a file of its own."""

    __slots__ = ("_file", "_secrets", "_worker")

    def __init__(self, path: Path | str, worker: str, secrets: Secrets = NO_SECRETS) -> None:
        self._file = LineFile(path)
        self._secrets = secrets
        self._worker = worker

    def write(self, event: str, pair: str | None = None, **fields: Any) -> bool:
        """Append one event; False, and nothing raised, where the disk did not take it."""
        return self._file.write(_line(event, pair, self._worker, self._secrets.fields(fields)))

    def close(self) -> None:
        self._file.close()


def read_events(path: Path, damaged: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """The events of a run, in the order in which they were merged; torn lines are left out, their numbers noted."""
    return read_objects(path, damaged)


def _line(event: str, pair: str | None, worker: str, fields: dict[str, Any]) -> bytes:
    """Encode an event. Raises TypeError for a field with a name that every line has of its own."""
    # How many lines of a worker are merged is counted by their "worker".
    if clash := fields.keys() & {"time", "worker"}:
        raise TypeError(f"an event has its own {' and '.join(sorted(clash))}: name the field otherwise")
    return json_line({"time": utc_time(), "event": event, "pair": pair, "worker": worker, **fields})


@dataclass
class _Source:
    """A worker's file and how much of it is merged."""

    fd: int
    offset: int


@dataclass
class _Merged:
    """The number of a worker's lines in the merged file, and the last of them."""

    count: int = 0
    last: bytes = b""


class EventMerger:
    """The controller's side: its own events and everybody's, in one file.

    Opening it merges what the workers of a killed session wrote after its controller had died.
    """

    def __init__(self, path: Path, directory: Path, secrets: Secrets = NO_SECRETS) -> None:
        self._out = LineFile(path)
        self._secrets = secrets
        self._directory = directory
        self._sources: dict[str, _Source] = {}
        merged = _count_merged(path)
        for worker in _workers(directory):
            self._open(worker, merged.get(worker))
            self.pull(worker)

    def write(self, event: str, pair: str | None = None, **fields: Any) -> bool:
        """Append an event of the controller; False where the disk did not take it."""
        return self._out.write(_line(event, pair, CONTROLLER, self._secrets.fields(fields)))

    def relay(self, event: Mapping[str, Any], worker: str) -> bool:
        """Append an event of a job, as of a worker of this name; it has its own time, and is without secrets."""
        return self._out.write(json_line({**event, "worker": worker}))

    def pull(self, worker: str) -> bool:
        """Copy what a worker has appended since; a line that is not complete yet waits for the next call.

        False where the disk did not take it: it stays in the worker's file, and the next call tries again.
        """
        source = self._sources.get(worker) or self._open(worker, None)
        return source is None or self._copy(source)

    def pull_all(self) -> None:
        """Merge what is left of every worker."""
        for worker in sorted({*_workers(self._directory), *self._sources}):
            self.pull(worker)

    def close(self) -> None:
        """Merge what is left and close the files."""
        self.pull_all()
        for source in self._sources.values():
            os.close(source.fd)
        self._sources.clear()
        self._out.close()

    def _open(self, worker: str, merged: _Merged | None) -> _Source | None:
        try:
            with open_file(self._directory / f"{worker}.jsonl") as file:
                fd = os.dup(file.fileno())
        except OSError:
            return None
        source = self._sources[worker] = _Source(fd, _skip(fd, merged) if merged else 0)
        return source

    def _copy(self, source: _Source) -> bool:
        size = _CHUNK
        while True:
            data = os.pread(source.fd, size, source.offset)
            end = data.rfind(b"\n") + 1
            if end and not self._out.write(data[:end]):
                return False
            source.offset += end
            if len(data) < size:
                return True
            size = _CHUNK if end else size * 2  # one line longer than what was read


def _workers(directory: Path) -> list[str]:
    try:
        return sorted(path.stem for path in directory.iterdir() if path.suffix == ".jsonl")
    except OSError:
        return []


def _count_merged(path: Path) -> dict[str, _Merged]:
    merged: dict[str, _Merged] = {}
    if not path.is_file():
        return merged
    with open_file(path) as file:
        for line in file:
            match = _WORKER.search(line)
            if match and line.endswith(b"\n"):
                entry = merged.setdefault(match[1].decode("utf-8", "replace"), _Merged())
                entry.count += 1
                entry.last = line
    return merged


def _skip(fd: int, merged: _Merged) -> int:
    """Find the offset of the first line that is not merged yet; 0 in a file that is not the one that was merged."""
    offset, line = 0, b""
    with open(fd, "rb", closefd=False) as file:
        for _, line in zip(range(merged.count), file, strict=False):
            offset += len(line)
    return offset if line == merged.last else 0


class MainLog:
    """``task_run.log``: the run as a person reads it, in the format of the shell script that this replaces.

    It holds no secrets and is safe to show. The controller is its only writer.
    """

    def __init__(self, path: Path | str, secrets: Secrets = NO_SECRETS) -> None:
        self._file = LineFile(path)
        self._secrets = secrets

    def write(self, level: Level, text: str) -> bool:
        """Append ``[local time] [LEVEL] text`` as one line; False where the disk did not take it."""
        time = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        one = self._secrets.blank(text).rstrip("\r\n").replace("\r\n", "\n").replace("\r", "\n").replace("\n", " | ")
        return self._file.write(f"[{time}] [{level}] {one_line(one)}\n".encode())

    def close(self) -> None:
        self._file.close()
