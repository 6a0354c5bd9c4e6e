"""``.task_list``: which pairs there are and how each stands, byte for byte as the seed wrote it.

Beside it lie the seed's small files for people and scripts, which the plugin itself never reads.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_evalrun.rundir.layout import RunPaths


class Status(IntEnum):
    """The standing of a pair: 2 is marked with its gates held, 3 an ERROR or a gate breached."""

    PENDING = 0
    RUNNING = 1
    COMPLETED = 2
    FAILED = 3


# The directory of a task (`<suite>/<task>`) and the name of a dataset, as the user gave them.
Place = tuple[str, str]


class TaskList:
    """The pairs of a run and their states; its text is kept ready, so that a change costs one line."""

    def __init__(self, groups: Iterable[tuple[str, str, Sequence[str]]]) -> None:
        """``groups``: for each task its directory, its plugin (``""`` for none) and its datasets."""
        self._lines: list[str] = []
        self._row: dict[Place, int] = {}
        self._status: dict[Place, Status] = {}
        self._groups = [(task_dir, plugin, list(datasets)) for task_dir, plugin, datasets in groups]
        self._lay_out()

    def _lay_out(self) -> None:
        self._lines.clear()
        for task_dir, plugin, datasets in self._groups:
            # Lines are split from the right: a name may hold the separator, a plugin may not.
            self._lines.append(f"*{task_dir}|{plugin.replace('|', '_')}|{len(datasets)}")
            for dataset in datasets:
                place = (task_dir, dataset)
                status = self._status.setdefault(place, Status.PENDING)
                self._row[place] = len(self._lines)
                self._lines.append(f"-{dataset}|{status:d}")
        self._lines.append(f"+summary|{len(self._groups)}|{len(self._status)}")
        self._lines.append("")

    def __len__(self) -> int:
        return len(self._status)

    def get(self, task_dir: str, dataset: str) -> Status:
        return self._status[task_dir, dataset]

    def set(self, task_dir: str, dataset: str, status: Status) -> None:
        place = (task_dir, dataset)
        self._lines[self._row[place]] = f"-{dataset}|{status:d}"
        self._status[place] = status

    def counts(self) -> dict[Status, int]:
        """Count the pairs of each state."""
        states = list(self._status.values())
        return {status: states.count(status) for status in Status}

    def failed(self) -> list[str]:
        """``task_dir/dataset`` of what failed, in the order of the list."""
        return [f"{task}/{dataset}" for (task, dataset), status in self._status.items() if status is Status.FAILED]

    def adopt(self, old: Mapping[Place, Status], *, keep_unknown: bool = False) -> None:
        """Take over the states of an older list; what was running then runs no more.

        ``keep_unknown``: pairs that are not in this list join it, in tasks of their own where need be.
        """
        for place, status in old.items():
            if place in self._status:
                self._status[place] = Status.PENDING if status is Status.RUNNING else status
            elif keep_unknown:
                self._status[place] = Status.PENDING if status is Status.RUNNING else status
                self._join(*place)
        self._lay_out()

    def _join(self, task_dir: str, dataset: str) -> None:
        for known, _, datasets in reversed(self._groups):
            if known == task_dir:
                datasets.append(dataset)
                return
        self._groups.append((task_dir, "", [dataset]))

    def stop_running(self) -> None:
        """Let what runs now be pending, for the session ends."""
        for (task_dir, dataset), status in self._status.items():
            if status is Status.RUNNING:
                self.set(task_dir, dataset, Status.PENDING)

    def render(self) -> str:
        return "\n".join(self._lines)

    def write(self, path: Path, lock: AbstractContextManager[object]) -> bool:
        """Replace the file, under the task list's lock; False where the disk did not take it."""
        data = self.render().encode("utf-8", "surrogateescape")
        with lock:
            try:
                write_atomic(path, data)
            except OSError:
                return False
        return True


def left_in_words(counts: Mapping[Status, int]) -> str:
    """Say what a launch that carries on finds to do: ``7 of 12 pairs are left (2 failed)``."""
    total = sum(counts.values())
    left = total - counts[Status.COMPLETED]
    failed = f" ({counts[Status.FAILED]} failed)" if counts[Status.FAILED] else ""
    return f"{left} of {total} pairs {'is' if left == 1 else 'are'} left{failed}" if left else "nothing is left"


def read_task_list(path: Path) -> dict[Place, Status] | None:
    """Read the states in a file; empty where there is none, None where it is corrupt."""
    try:
        return parse(read_file(path).decode("utf-8", "surrogateescape"))
    except FileNotFoundError:
        return {}
    except OSError:
        return None


def parse(text: str) -> dict[Place, Status] | None:
    """Parse the states in a task list; None where it is corrupt: torn, miscounted, or of another format."""
    states: dict[Place, Status] = {}
    *lines, summary = text.removesuffix("\n").split("\n")
    task_dir, due, tasks = "", 0, 0
    try:
        for line in lines:
            if line.startswith("-") and due:
                dataset, status = line[1:].rsplit("|", 1)
                states[task_dir, dataset] = Status(int(status))
                due -= 1
            elif line.startswith("*") and not due:
                task_dir, _, count = line[1:].rsplit("|", 2)
                due, tasks = int(count), tasks + 1
            else:
                return None
    except ValueError:
        return None
    return states if not due and summary == f"+summary|{tasks}|{len(states)}" else None


class Mirrors:
    """``.main_pid``, ``.running_pids`` and ``failed_tasks.txt``: each written only when its content changes.

    A disk that is full is no reason to end a run: the methods return False, and the next call tries again.
    """

    def __init__(self, paths: RunPaths) -> None:
        self._main_pid, self._running_pids, self._failed_tasks = paths.main_pid, paths.running_pids, paths.failed_tasks
        self._written: dict[Path, str] = {}

    def main(self, pid: int) -> bool:
        return self._mirror(self._main_pid, [str(pid)])

    def running(self, pids: Iterable[int]) -> bool:
        return self._mirror(self._running_pids, map(str, pids))

    def failed(self, pairs: Iterable[str]) -> bool:
        """``suite/task/dataset`` of every pair that failed; no file where none did."""
        return self._mirror(self._failed_tasks, pairs)

    def close(self) -> None:
        """Remove the names of processes: at a clean end none is left."""
        self._mirror(self._main_pid, [])
        self._mirror(self._running_pids, [])

    def _mirror(self, path: Path, lines: Iterable[str]) -> bool:
        text = "".join(f"{line}\n" for line in lines)
        if self._written.get(path) == text:
            return True
        try:
            if text:
                write_atomic(path, text.encode("utf-8", "surrogateescape"))
            else:
                path.unlink(missing_ok=True)
        except OSError:
            return False
        self._written[path] = text
        return True
