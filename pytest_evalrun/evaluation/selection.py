"""What would happen to each pair, without running it: for ``--collect-only`` and ``--eval-only``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.evaluation.context import Context, Launch
from pytest_evalrun.evaluation.cuts import data_of
from pytest_evalrun.evaluation.plan import BACK, MEND, NEW, Planner
from pytest_evalrun.evaluation.shards import anything, survey
from pytest_evalrun.evaluation.stored import trouble_of
from pytest_evalrun.rundir.aside import read_aside
from pytest_evalrun.rundir.hashes import HashCache
from pytest_evalrun.rundir.layout import WorkDir, paths_of
from pytest_evalrun.rundir.results import FAILED, read_result
from pytest_evalrun.rundir.runs import check_format, resolve_run
from pytest_evalrun.rundir.tasklist import Status, read_task_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.datasets.protocol import Identity, Reader
    from pytest_evalrun.evaluation.plan import Plan
    from pytest_evalrun.rundir.layout import PairPaths, RunPaths
    from pytest_evalrun.rundir.predictions import Tally
    from pytest_evalrun.rundir.tasklist import Place
    from pytest_evalrun.suite.pairs import Cut, Pair


@dataclass(frozen=True)
class PairOutlook:
    """What would be done with a pair, why, and how many samples it had when last evaluated.

    ``action`` is ``run``, ``resume``, ``score``, ``reuse``, ``skip`` or ``error``.
    """

    pair: Pair
    action: str
    reason: str
    size: int | None = None


def verdicts(pairs: Sequence[Pair], workdir: Path, wanted: str) -> Iterator[PairOutlook]:
    """One a pair, in order. Data is read only where something is stored, and then through the hash cache."""
    paths = existing_run(workdir, wanted)
    if paths is None:
        yield from (_without_run(pair) for pair in pairs)
        return
    context = Survey(Launch(str(paths.root), str(workdir), run_id=""))
    try:
        for pair in pairs:
            yield _verdict(pair, context)
    finally:
        context.close()


def select(only: str, pairs: Sequence[Pair], workdir: Path, wanted: str) -> set[str]:
    """Full ids of the pairs that are ``unfinished``, ``failed`` or ``stale`` by the run's own state."""
    if only == "stale":
        again = ("run", "score")
        return {v.pair.full_id for v in verdicts(pairs, workdir, wanted) if v.action in again and v.reason != NEW}
    paths = existing_run(workdir, wanted)
    states = read_task_list(paths.task_list) or {} if paths else {}
    due = [pair for pair in pairs if pair.skip is None]
    found = {pair.full_id: _stands(pair, states, paths) for pair in due}
    if only == "failed":
        return {name for name, state in found.items() if state == Status.FAILED}
    return {name for name, state in found.items() if state != Status.COMPLETED}


def _stands(pair: Pair, states: Mapping[Place, Status], paths: RunPaths | None) -> Status:
    """By the task list; of what the last launch knew nothing of, by what an earlier one has left."""
    if (state := states.get((f"{pair.suite}/{pair.task.name}", pair.dataset.name))) is not None:
        return state
    files = paths.pair(pair.key) if paths is not None else None
    result = read_result(files.result) if files is not None else None
    if files is None or result is None:
        return Status.PENDING
    if result.status in FAILED:
        return Status.FAILED
    return Status.COMPLETED if files.marker.exists() else Status.PENDING


def existing_run(workdir: Path, wanted: str) -> RunPaths | None:
    """The run that a launch would carry on in, or None. Raises ConfigError where it cannot be used."""
    paths = resolve_run(WorkDir(workdir), wanted)
    if paths is not None:
        check_format(paths)
    return paths


def _without_run(pair: Pair) -> PairOutlook:
    if pair.skip is not None:
        return PairOutlook(pair, "skip", pair.skip)
    return PairOutlook(pair, "run", NEW, pair.cut.size if pair.cut else None)


def _verdict(pair: Pair, context: Survey) -> PairOutlook:
    paths = paths_of(context.paths, pair)
    if pair.skip is not None or not (paths.marker.exists() or paths.fingerprint.exists() or anything(paths)):
        return _without_run(pair)
    try:
        plan = context.plan(pair.whole)
        if pair.cut is not None:
            return _of_shard(pair, pair.cut, plan, context)
    except EvalrunError as error:
        return PairOutlook(pair, "error", str(error))
    except Exception as error:  # noqa: BLE001 - a user's reader may raise anything, and it costs its pair only
        return PairOutlook(pair, "error", str(trouble_of(error, paths)))
    action = _action(plan, paths)
    size = plan.marker.extra.get("samples") if plan.marker else plan.identity.count
    limit = pair.settings.limit
    return PairOutlook(pair, action, plan.reason, min(size, limit) if size and limit else size)


def _action(plan: Plan, paths: PairPaths) -> str:
    """What a plan comes to: where a part was damaged the model is asked, but not for what lies aside complete."""
    if plan.action == BACK:
        aside = read_aside(paths)
        return "score" if aside is not None and aside.marker is not None else "run"
    return "run" if plan.action == MEND else plan.action


def _of_shard(pair: Pair, cut: Cut, plan: Plan, context: Survey) -> PairOutlook:
    action = _action(plan, paths_of(context.paths, pair))
    if action == "run":
        return PairOutlook(pair, action, plan.reason, cut.size)
    if action == "reuse" or plan.action == BACK:
        return PairOutlook(pair, "reuse", "reused: its pair is complete", cut.size)
    found, positions = context.found(pair.whole, plan), range(cut.low, min(cut.high, plan.identity.count))
    already, seen = sum(map(found.is_done, positions)), sum(map(found.is_seen, positions))
    if already == cut.size:
        return PairOutlook(pair, "reuse", "reused: all its samples were predicted before", cut.size)
    failed = "" if already else f": {seen} failed before"
    return PairOutlook(pair, "resume", f"resumed at {already} of {cut.size} samples{failed}" if seen else NEW, cut.size)


class _RememberingCache(HashCache):
    """Looks at each file once only."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seen: dict[tuple[str, Path], str] = {}

    def file(self, path: Path) -> str:
        return self._once("file", path, super().file)

    def path(self, path: Path) -> str:
        return self._once("path", path, super().path)

    def _once(self, kind: str, path: Path, look: Callable[[Path], str]) -> str:
        if (kind, path) not in self._seen:
            self._seen[kind, path] = look(path)
        return self._seen[kind, path]


class Survey(Context):
    """A context that only looks: what does not change between two pairs is found out once."""

    cache = _RememberingCache

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch, "plan")
        self._identities: dict[tuple[Any, ...], Identity] = {}
        # Of the pair at hand only: its shards are asked for just before it.
        self._plan: tuple[str, Plan] | None = None
        self._found: tuple[str, Tally] | None = None

    def plan(self, pair: Pair) -> Plan:
        if self._plan is None or self._plan[0] != pair.full_id:
            self._plan = pair.full_id, Planner(pair, self, paths_of(self.paths, pair)).plan()
        return self._plan[1]

    def found(self, pair: Pair, plan: Plan) -> Tally:
        """Which samples of a pair were predicted, by itself or its shards."""
        if self._found is None or self._found[0] != pair.full_id:
            self._found = pair.full_id, survey(paths_of(self.paths, pair), plan.identity.count)
        return self._found[1]

    def identity(self, pair: Pair, reader: Reader) -> Identity:
        key = data_of(pair)
        if key not in self._identities:
            self._identities[key] = super().identity(pair, reader)
        return self._identities[key]
