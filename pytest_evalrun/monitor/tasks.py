"""The pairs of a run and how each stands, kept up to date from ``.task_list``.

The file is replaced a few times a second while pairs end, and has a line for each of them. Its lines keep their length
while only states change, so that the bytes that differ say which rows changed: nothing else is parsed again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.monitor.follow import Signature, signature
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.tasklist import Status, parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

STATUS_WORDS = {
    Status.PENDING: "pending",
    Status.RUNNING: "running",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
}
_BLOCK = 512
_DIGITS = {ord(str(status.value)): status for status in Status}


@dataclass
class TaskGroup:
    """A task: its directory (``suite/task``), the rows of its datasets, and the names of those that have no row.

    ``passed``: how many of the rows are not for this launch: skipped when their turn came, or deselected.
    """

    directory: str
    rows: range
    skipped: list[str] = field(default_factory=list)
    counts: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    passed: int = 0


class Tasks:
    """Rows are numbered in the order of the list; ``version`` changes when there are other rows than before."""

    def __init__(self, path: Path) -> None:
        self.version = 0
        self.damaged = False
        self.left_out = 0
        self.groups: list[TaskGroup] = []
        self.datasets: list[str] = []
        self.status: list[Status] = []
        self.rows_of: dict[Status, dict[int, None]] = {status: {} for status in Status}
        self._path = path
        self._seen: Signature | None = None
        self._data = b""
        self._passed: set[int] = set()
        self._deselected: set[int] = set()
        self._group_of: list[TaskGroup] = []
        self._row_at: dict[int, int] = {}
        self._row_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.datasets)

    def counts(self) -> dict[Status, int]:
        """Without those that are skipped or deselected."""
        counts = {status: len(rows) for status, rows in self.rows_of.items()}
        counts[Status.PENDING] -= len(self._passed) + len(self._deselected)
        return counts

    @property
    def deselected(self) -> int:
        """The number of pairs that wait for another launch: this one works on others."""
        return len(self._deselected)

    @property
    def skipped(self) -> int:
        """The number of skipped pairs: those that have no row, and those that were skipped when their turn came."""
        return self.left_out + len(self._passed)

    def is_skipped(self, row: int) -> bool:
        return row in self._passed

    def is_deselected(self, row: int) -> bool:
        return row in self._deselected

    def status_of(self, pair: str) -> Status | None:
        """Return how ``suite/task/dataset`` stands, if it waits for this launch, runs or is done."""
        if not self._row_of:
            self._row_of = {name: row for row, name in enumerate(self.pairs())}
        row = self._row_of.get(pair)
        if row is None or row in self._passed or row in self._deselected:
            return None
        return self.status[row]

    def pair(self, row: int) -> str:
        """``suite/task/dataset`` of a row."""
        return f"{self._group_of[row].directory}/{self.datasets[row]}"

    def pairs(self) -> Iterator[str]:
        return map(self.pair, range(len(self)))

    def to_json(self) -> list[dict[str, Any]]:
        """How each pair stands: of a task its datasets, those that are skipped too."""
        return [
            {
                "task": group.directory,
                "datasets": {self.datasets[row]: self._word(row) for row in group.rows}
                | dict.fromkeys(group.skipped, "skipped"),
            }
            for group in self.groups
        ]

    def _word(self, row: int) -> str:
        if self.is_deselected(row):
            return "deselected"
        return "skipped" if self.is_skipped(row) else STATUS_WORDS[self.status[row]]

    def look(self) -> bool:
        """Read the list if it was replaced; whether anything changed. A damaged one leaves all as it was."""
        seen = signature(self._path)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            data = read_file(self._path)
        except OSError:
            return False
        if not self._update(data) and not self._parse(data):
            self.damaged = True
            return True
        self.damaged = False
        self._data = data
        return True

    def _update(self, data: bytes) -> bool:
        """Take over the states that changed; False where something else did."""
        if len(data) != len(self._data):
            return False
        changes = [(self._row_at.get(place), _DIGITS.get(data[place])) for place in _differing(self._data, data)]
        known = [(row, status) for row, status in changes if row is not None and status is not None]
        if len(known) < len(changes):
            return False
        for row, status in known:
            self._set(row, status)
        return True

    def _set(self, row: int, status: Status) -> None:
        before, group = self.status[row], self._group_of[row]
        del self.rows_of[before][row]
        self.rows_of[status][row] = None
        group.counts[before] -= 1
        group.counts[status] += 1
        self.status[row] = status

    def _parse(self, data: bytes) -> bool:
        states = parse(data.decode("utf-8", "surrogateescape"))
        if states is None:
            return False
        self.version += 1
        self._passed, self._deselected, self._row_of = set(), set(), {}
        self.datasets = [dataset for _, dataset in states]
        self.status = list(states.values())
        self.groups, self._group_of = _grouped([directory for directory, _ in states])
        self.rows_of = {status: {} for status in Status}
        for row, status in enumerate(self.status):
            self.rows_of[status][row] = None
            self._group_of[row].counts[status] += 1
        self._row_at = {place: row for row, place in enumerate(_places(data))}
        return True

    def set_skipped(self, pairs: Iterable[str]) -> None:
        """Pairs of the launch that the list leaves out; those that it has are none of them."""
        self.version += 1
        self.left_out = 0
        self.groups = [group for group in self.groups if group.rows]
        groups = {group.directory: group for group in self.groups}
        for group in self.groups:
            group.skipped.clear()
        listed = set(self.pairs())
        for pair in pairs:
            if pair not in listed:
                directory, _, dataset = pair.rpartition("/")
                groups.setdefault(directory, TaskGroup(directory, range(0))).skipped.append(dataset)
                self.left_out += 1
        self.groups = list(groups.values())

    def set_aside(self, skipped: Collection[str], selected: Collection[str] | None) -> None:
        """Set pairs aside that are pending in the list only: skipped when their turn came, or never selected."""
        if not (skipped or self._passed or self._deselected) and (selected is None or len(selected) >= len(self)):
            return
        pending = {row: self.pair(row) for row in self.rows_of[Status.PENDING]}
        self._passed = {row for row, pair in pending.items() if pair in skipped}
        self._deselected = {row for row, pair in pending.items() if selected is not None and pair not in selected}
        self._deselected -= self._passed
        for group in self.groups:
            group.passed = 0
        for row in self._passed | self._deselected:
            self._group_of[row].passed += 1


def _grouped(directories: list[str]) -> tuple[list[TaskGroup], list[TaskGroup]]:
    """The tasks, and the task of each row."""
    groups: list[TaskGroup] = []
    group_of: list[TaskGroup] = []
    for row, directory in enumerate(directories):
        if not groups or groups[-1].directory != directory:
            groups.append(TaskGroup(directory, range(row, row)))
        groups[-1].rows = range(groups[-1].rows.start, row + 1)
        group_of.append(groups[-1])
    return groups, group_of


def _places(data: bytes) -> Iterator[int]:
    """Find where the states stand in the file: at the last byte of each dataset's line."""
    end = 0
    for line in data.split(b"\n"):
        end += len(line) + 1
        if line.startswith(b"-"):
            yield end - 2


def _differing(old: bytes, new: bytes) -> Iterator[int]:
    """Find where two texts of the same length differ."""
    for low in range(0, len(old), _BLOCK):
        left, right = old[low : low + _BLOCK], new[low : low + _BLOCK]
        if left != right:
            yield from (low + i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
