"""Forget that pairs are done, so that they are evaluated again; what was there becomes ``.old``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.control.files import attempt_files, evaluated_files, state_files
from pytest_evalrun.control.opendirectory import OpenDirectory
from pytest_evalrun.control.tasks import change_states
from pytest_evalrun.report.known import WORDS
from pytest_evalrun.rundir.aside import OLD
from pytest_evalrun.rundir.tasklist import Status, read_task_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.report.runs import FoundRun
    from pytest_evalrun.rundir.layout import RunPaths


@dataclass(frozen=True)
class ResetPair:
    """A plan of what a reset does to one pair; names are relative to the run."""

    pair: KnownPair
    removed: tuple[str, ...]
    aside: tuple[str, ...]

    def line(self) -> str:
        """One line for a person."""
        words = [f"becomes {OLD}: {', '.join(self.aside)}"] if self.aside else []
        words += [f"goes: {', '.join(self.removed)}"] if self.removed else []
        return f"{self.pair.full_id}  {'; '.join(words) or 'nothing lies there; pending again'}"


def plan_reset(found: FoundRun, pairs: Sequence[KnownPair]) -> list[ResetPair]:
    """Plan what would become of each pair of which there is anything."""
    with OpenDirectory(found.paths.root) as tree:
        plans = [_plan(tree, found.paths, pair) for pair in pairs]
    return [plan for plan in plans if plan.removed or plan.aside or plan.pair.status != "pending"]


def _plan(tree: OpenDirectory, run: RunPaths, pair: KnownPair) -> ResetPair:
    names = (*state_files(pair.key), *attempt_files(run, evaluated_files(pair.key)))
    removed = tuple(name for name in names if tree.size(name) is not None)
    aside = tuple(name for name in evaluated_files(pair.key) if tree.size(name) is not None)
    return ResetPair(pair, removed, aside)


def reset(found: FoundRun, plans: Sequence[ResetPair]) -> int | None:
    """Do it, while the run is held; how many pairs of the task list changed, None where the list is damaged."""
    with OpenDirectory(found.paths.root) as tree:
        for plan in plans:
            for name in plan.removed:
                tree.remove(name)
            for name in plan.aside:
                tree.set_aside(name, OLD)
    places = {plan.pair.place for plan in plans if plan.pair.limit is None}
    return change_states(found.workdir, found.paths, lambda place, state: Status.PENDING if place in places else state)


def task_lines(paths: RunPaths) -> Iterator[str]:
    """The task list as it now is, for a person."""
    states = read_task_list(paths.task_list)
    if states is None:
        yield f"{paths.task_list} is damaged; the next launch makes it again"
        return
    yield from (f"{WORDS[state]:8}{task}/{dataset}" for (task, dataset), state in states.items())
