"""``.task_list`` and what mirrors it, changed by hand: only while the run is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.report.screen import warn
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.tasklist import Mirrors, Status, parse
from pytest_evalrun.rundir.tasklock import TaskListLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_evalrun.rundir.layout import RunPaths, WorkDir
    from pytest_evalrun.rundir.tasklist import Place


def change_states(workdir: WorkDir, paths: RunPaths, change: Callable[[Place, Status], Status]) -> int | None:
    """Give pairs another state, each line else as it was; how many changed, None where the list is damaged.

    ``failed_tasks.txt`` then says what the list says.
    """
    lock = TaskListLock(workdir.root, lambda line: warn([line]))
    try:
        with lock:
            return _change(paths, change)
    finally:
        lock.cleanup()


def to_pending(workdir: WorkDir, paths: RunPaths) -> int | None:
    """Nothing runs any more: what was running is pending."""
    return change_states(workdir, paths, lambda _, state: Status.PENDING if state is Status.RUNNING else state)


def _change(paths: RunPaths, change: Callable[[Place, Status], Status]) -> int | None:
    try:
        text = read_file(paths.task_list).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return 0
    states = parse(text)
    if states is None:
        return None
    new = {place: change(place, state) for place, state in states.items()}
    changed = sum(new[place] is not state for place, state in states.items())
    if changed:
        write_atomic(paths.task_list, _rewritten(text, new).encode("utf-8", "surrogateescape"))
        Mirrors(paths).failed(f"{task}/{dataset}" for (task, dataset), state in new.items() if state is Status.FAILED)
    return changed


def _rewritten(text: str, states: dict[Place, Status]) -> str:
    """Line by line, because the list also says what nobody keeps: the plugin of each task."""
    lines, task_dir = [], ""
    for line in text.split("\n"):
        if line.startswith("*"):
            task_dir = line[1:].rsplit("|", 2)[0]
        dataset = line[1:].rsplit("|", 1)[0]
        lines.append(f"-{dataset}|{states[task_dir, dataset]:d}" if line.startswith("-") else line)
    return "\n".join(lines)
