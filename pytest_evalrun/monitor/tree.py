"""The tree of tasks and datasets: of which only the rows that are seen are ever made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.rundir.tasklist import Status

if TYPE_CHECKING:
    from pytest_evalrun.monitor.renderer import Line, Renderer
    from pytest_evalrun.monitor.tasks import TaskGroup, Tasks

STYLES = {Status.PENDING: "dim", Status.RUNNING: "run", Status.COMPLETED: "ok", Status.FAILED: "bad"}
# A task, and the row of a dataset, the name of a skipped one, or None for the task's own line.
Entry = tuple["TaskGroup", "int | str | None"]


class TreeView:
    """Laid out again only for other pairs, another filter, or folded otherwise.

    ``seen``: the first row that was drawn last, and how many there was room for.
    """

    def __init__(self, tasks: Tasks) -> None:
        self.entries: list[Entry] = []
        self.seen = (0, 1)
        self._tasks = tasks
        self._laid: tuple[int, str, bool] | None = None
        self._task_at: dict[str, int] = {}

    def lay_out(self, needle: str, unfolded: bool) -> None:
        """Lay out the entries that a filter leaves; ``unfolded``: with the datasets."""
        wanted = self._tasks.version, needle, unfolded
        if wanted == self._laid:
            return
        self._laid = wanted
        self.entries = []
        self._task_at = {}
        needle = needle.casefold()
        for group in self._tasks.groups:
            rows = [row for row in group.rows if self._matches(group, self._tasks.datasets[row], needle)]
            found: list[int | str] = [*rows, *(name for name in group.skipped if self._matches(group, name, needle))]
            if found:
                self._task_at[group.directory] = len(self.entries)
                self.entries.append((group, None))
                self.entries += [(group, what) for what in found] if unfolded else []

    def _matches(self, group: TaskGroup, dataset: str, needle: str) -> bool:
        return not needle or needle in f"{group.directory}/{dataset}".casefold()

    def position(self, pair: str) -> int:
        """Return the line of the pair's task; 0 where it is not shown."""
        return self._task_at.get(pair.rpartition("/")[0], 0)

    def lines(self, renderer: Renderer, top: int, count: int) -> list[Line]:
        self.seen = top, max(1, count)
        return [self._line(entry, renderer) for entry in self.entries[top : top + count]]

    def _line(self, entry: Entry, renderer: Renderer) -> Line:
        group, what = entry
        if what is None:
            return self._task_line(group, renderer)
        if isinstance(what, str):
            return ((f"    {renderer.glyphs.skipped} ", "dim"), (renderer.clean(what), "dim"))
        status, skipped = self._tasks.status[what], self._tasks.is_skipped(what)
        sign = renderer.glyphs.skipped if skipped else renderer.glyphs.status[status]
        sign = renderer.glyphs.deselected if self._tasks.is_deselected(what) else sign
        return (
            (f"    {sign} ", STYLES[status]),
            (renderer.clean(self._tasks.datasets[what]), "dim" if status is Status.PENDING else ""),
        )

    def _task_line(self, group: TaskGroup, renderer: Renderer) -> Line:
        name = renderer.clean(group.directory)
        wanted = len(group.rows) - group.passed
        if not wanted:
            deselected = any(map(self._tasks.is_deselected, group.rows))
            return (
                (f"  {renderer.glyphs.deselected if deselected else renderer.glyphs.skipped} ", "dim"),
                (name, "dim"),
            )
        status = stands(group)
        ended = group.counts[Status.COMPLETED] + group.counts[Status.FAILED]
        return (
            (f"  {renderer.glyphs.status[status]} ", STYLES[status]),
            (name, ""),
            (f"  {ended}/{wanted}", "dim"),
        )


def stands(group: TaskGroup) -> Status:
    """A task as a whole: running where a part of it is done, failed where all ended and one failed."""
    counts = group.counts
    if counts[Status.PENDING] == len(group.rows):
        return Status.PENDING
    if counts[Status.RUNNING] or counts[Status.PENDING] > group.passed:
        return Status.RUNNING
    return Status.FAILED if counts[Status.FAILED] else Status.COMPLETED
