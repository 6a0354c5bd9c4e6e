"""``NAME.state``: how far a running pair is, for programs that read lines 2 to 8 of it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

from pytest_evalrun.rundir.lines import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.suite.pairs import Pair

COMMENT = "# pytest-evalrun: state of a running pair; lines 2-8 change, the rest does not"
# A monitor looks a few times a second; a pair of a thousand small batches must not pay for more.
SHORTEST_PAUSE = 0.1
# Counting shards together may take so long without a thought, and else about this share of the time.
SHORT_COUNT = 0.005
MOST_SHARE = 0.02


@dataclass(frozen=True)
class RunningState:
    """The seven RUNNING_ fields and what they are measured against; ``batch_*`` count samples.

    ``current_batch`` counts from 1, ``timestamp`` is Unix time.
    """

    current_batch: int
    total_batches: int
    batch_completed: int
    batch_total: int
    failed_batches: int
    retry_count: int
    timestamp: int
    max_batch_size: int
    total_data: int

    def render(self) -> str:
        """The text of the file; the order of the lines is part of the format."""
        return (
            f"{COMMENT}\n"
            f"RUNNING_CURRENT_BATCH={self.current_batch}\n"
            f"RUNNING_TOTAL_BATCHES={self.total_batches}\n"
            f"RUNNING_BATCH_COMPLETED={self.batch_completed}\n"
            f"RUNNING_BATCH_TOTAL={self.batch_total}\n"
            f"RUNNING_FAILED_BATCHES={self.failed_batches}\n"
            f"RUNNING_RETRY_COUNT={self.retry_count}\n"
            f"RUNNING_TIMESTAMP={self.timestamp}\n"
            f"MAX_BATCH_SIZE={self.max_batch_size}\n"
            f"TOTAL_DATA={self.total_data}\n"
        )


def parse(text: str) -> RunningState | None:
    """Parse a state file, by names in any order, for shell programs write it too; None where it is damaged."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    try:
        return RunningState(*(int(values[_key(field.name)]) for field in fields(RunningState)))
    except (KeyError, ValueError):
        return None


def together(states: Iterable[RunningState], ahead: Iterable[int], total: int) -> RunningState:
    """Add up the states of a pair's shards: batches of all of them, counted as one row.

    ``ahead`` are the sizes of shards that have not begun, ``total`` is that of the pair.
    """
    found = list(states)
    sums = {field.name: sum(getattr(state, field.name) for state in found) for field in fields(RunningState)}
    latest = max(found, key=lambda state: state.timestamp)
    sums["total_batches"] += sum(-(-size // latest.max_batch_size) for size in ahead)
    return RunningState(
        **sums | {"timestamp": latest.timestamp, "max_batch_size": latest.max_batch_size, "total_data": total}
    )


def _key(name: str) -> str:
    return name.upper() if name in {"max_batch_size", "total_data"} else f"RUNNING_{name.upper()}"


class StateWriter:
    """Keeps one pair's state file: the last state always, of those before at most ten a second.

    The first is written after a second, or with the first batch that ends later than a tenth of one: a pair that is
    done before then gets one state file, not two. (A file replaced is an inode freed, and ext4 looks at every inode
    freed in the last minutes before it makes a new file: a thousand short pairs would pay for each other.)
    """

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._path = path
        self._next = 0.0
        self._waiting: RunningState | None = None
        self._lock = Lock()

    def update(self, state: RunningState, force: bool = False) -> None:
        now = time.monotonic()
        self._next = self._next or now + SHORTEST_PAUSE
        with self._lock:
            self._waiting = state
        if force or now >= self._next:
            self._next = now + SHORTEST_PAUSE
            self.finish()
        else:
            self._disk.later(self.finish)

    def finish(self) -> None:
        """Write the last state, if it was held back."""
        with self._lock:
            state, self._waiting = self._waiting, None
            if state is not None:
                self._disk.write(self._path, state.render())


class ShardStateWriter(StateWriter):
    """Keeps a shard's state file, and with it that of the pair, in which all of today's shards are counted together."""

    # When the state of a pair may be written again, of which counting took its time: pairs can have many shards.
    _next_time: ClassVar[dict[Path, float]] = {}

    def __init__(self, disk: Disk, path: Path, pair: Path, shards: Mapping[str, int]) -> None:
        """``shards`` are the names of all their state files, and how many samples each has."""
        super().__init__(disk, path)
        self._pair = pair
        self._shards = shards

    def finish(self) -> None:
        super().finish()
        if time.monotonic() >= self._next_time.get(self._pair, 0.0):
            self.count()

    def count(self) -> None:
        """Write the state of the pair, if any of its shards has one."""
        started = time.monotonic()
        found = {name: parse(text) for name, text in _texts(self._path.parent) if name in self._shards}
        if states := [state for state in found.values() if state is not None]:
            ahead = [size for name, size in self._shards.items() if found.get(name) is None]
            self._disk.write(self._pair, together(states, ahead, sum(self._shards.values())).render())
        seconds = time.monotonic() - started
        if seconds > SHORT_COUNT:
            self._next_time[self._pair] = time.monotonic() + seconds / MOST_SHARE


def _texts(directory: Path) -> Iterator[tuple[str, str]]:
    """Read the state files of a directory, by name; another process may make room for new ones meanwhile."""
    for name in os.listdir(directory) if directory.is_dir() else ():  # noqa: PTH208 - of thousands, a few at a time
        if name.endswith(".state"):
            with suppress(OSError):
                yield name, read_file(directory / name).decode(errors="replace")


def state_writer(disk: Disk, pair: Pair, paths: PairPaths) -> StateWriter:
    """Of a shard one that keeps its pair's state too."""
    return StateWriter(disk, paths.state) if not pair.is_shard else _together(disk, pair, paths, paths.state)


def count_shards(disk: Disk, pair: Pair, paths: PairPaths) -> None:
    """The state of a pair as its shards left it: two that end at one moment need not have seen each other."""
    _together(disk, pair, paths, paths.shard_states / "none.state").count()


def _together(disk: Disk, pair: Pair, paths: PairPaths, own: Path) -> ShardStateWriter:
    sizes = (high - low for low, high in pair.ranges)
    shards = {f"{cut.label}.state": size for cut, size in zip(pair.cuts, sizes, strict=True)}
    return ShardStateWriter(disk, own, paths.whole.state, shards)
