"""Which items of a launch go out as jobs, and which run here: whatever needs no machine but this one."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.engines.protocol import Resources
from pytest_evalrun.evaluation.selection import verdicts
from pytest_evalrun.planning.costs import work_of
from pytest_evalrun.planning.units import UnitItem
from pytest_evalrun.plugin.collectors import SuiteModule
from pytest_evalrun.plugin.items import pair_of, uses
from pytest_evalrun.slots.need import need_of
from pytest_evalrun.suite.answering import JUDGE
from pytest_evalrun.suite.settings import Way

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pytest

    from pytest_evalrun.planning.costs import Estimate
    from pytest_evalrun.plugin.options import Options
    from pytest_evalrun.slots.need import Need
    from pytest_evalrun.suite.pairs import Pair

# What has predictions to be made; all else costs no model.
ASKS = frozenset({"run", "resume"})
# Whose models are elsewhere anyway.
ELSEWHERE = frozenset({Way.ENDPOINT, Way.AGENT})


@dataclass(frozen=True)
class Division:
    """``remote`` are items by node id that go out as jobs; ``here`` has the others' by why they stay.

    Of ``judged`` ones a job only makes the predictions: judges are asked from here, where their keys are.
    """

    remote: Mapping[str, pytest.Item] = field(default_factory=dict)
    here: Mapping[str, Sequence[str]] = field(default_factory=dict)
    judged: frozenset[str] = frozenset()

    def without(self, ids: Sequence[str], reason: str) -> Division:
        """The same, but that these items stay here."""
        left = {nodeid: item for nodeid, item in self.remote.items() if nodeid not in ids}
        return Division(left, {**self.here, reason: list(ids)}, self.judged - {*ids})


class Divides(Protocol):
    """Whoever sends items out, as the controller sees it."""

    division: Division

    def divide(self, items: Sequence[pytest.Item]) -> None: ...
    def preview(self) -> list[str]: ...


def divide(items: Sequence[pytest.Item], options: Options, needs: Mapping[str, Need]) -> Division:
    """Decide for each item. ``needs`` are those of tests by node id that lease GPUs of their own."""
    reasons = {item.nodeid: _why_here(item, needs) for item in items}
    asking = {item.nodeid: pair_of(item) for item in items if reasons[item.nodeid] is None}
    actions = _actions({pair.full_id: pair for pair in asking.values() if pair is not None}.values(), options)
    here: dict[str, list[str]] = {}
    remote: dict[str, pytest.Item] = {}
    for item in items:
        pair = asking.get(item.nodeid)
        reason = reasons[item.nodeid]
        if reason is None and pair is not None and (action := actions[pair.full_id]) not in ASKS:
            reason = f"to be {_DONE.get(action, action)}"
        if reason is None:
            remote[item.nodeid] = item
        else:
            here.setdefault(reason, []).append(item.nodeid)
    judged = frozenset(nodeid for nodeid in remote if _is_judged(asking[nodeid])) if options.mode == "all" else ()
    return Division(remote, here, frozenset(judged))


def _is_judged(pair: Pair | None) -> bool:
    return pair is not None and not pair.is_shard and any(spec.use == JUDGE for spec in pair.settings.metrics)


_DONE = {"reuse": "reused", "score": "scored", "skip": "skipped", "error": "told as errors"}


def _why_here(item: pytest.Item, needs: Mapping[str, Need]) -> str | None:
    """Say why an item runs here, whatever lies in the run; None where a job would run it."""
    pair = pair_of(item)
    if pair is not None and pair.skip is not None:
        return "skipped"
    if needs.get(item.nodeid):
        return "boards" if needs[item.nodeid].devices else None
    if pair is None or not (isinstance(item.parent, SuiteModule) or uses(item, "evaluation")):
        return "ordinary tests"
    if pair.is_cut:
        return "pairs of shards, which only score"
    need = need_of(pair.settings)
    if need.devices:
        return "boards"
    if pair.settings.way in ELSEWHERE and not need.gpus:
        return "endpoints"
    return None


def _actions(pairs: Iterable[Pair], options: Options) -> dict[str, str]:
    """What would be done with each pair, by its full id, as ``--collect-only`` says it."""
    found = list(pairs)
    if options.mode == "eval":
        return {pair.full_id: "score" for pair in found}
    if options.fresh:
        return {pair.full_id: "run" for pair in found}
    outlooks = verdicts(found, options.workdir, options.run)
    return {outlook.pair.full_id: _action(outlook.action, outlook.reason) for outlook in outlooks}


def _action(action: str, reason: str) -> str:
    """Where samples are missing that failed, they are asked again, and that is no scoring."""
    return "resume" if action == "score" and "failed before" in reason else action


@dataclass(frozen=True)
class UnitClass:
    """What the items of one unit have in common: what they need, and whether they are only to be predicted."""

    resources: Resources
    judged: bool


def unit_items(
    items: Iterable[pytest.Item],
    division: Division,
    estimates: Mapping[str, Estimate],
    needs: Mapping[str, Need],
    workers: int,
) -> list[UnitItem]:
    """Remote items as ``planning`` cuts them, each with what a job of its class needs."""
    found = []
    for item in items:
        nodeid, pair = item.nodeid, pair_of(item)
        resources = UnitClass(resources_of(pair, needs.get(nodeid), workers), nodeid in division.judged)
        if pair is None:
            found.append(UnitItem(nodeid, None, nodeid, 1.0, 0.0, resources))
            continue
        work = work_of(0, pair, estimates[pair.whole.full_id], need_of(pair.settings))
        found.append(UnitItem(nodeid, pair.full_id, work.model, work.seconds, work.load, resources))
    return found


def resources_of(pair: Pair | None, asked: Need | None, workers: int) -> Resources:
    """What each of a job's workers needs, times their number, where models do not share their GPUs."""
    needs = [need for need in (asked, need_of(pair.settings) if pair is not None else None) if need]
    gpus = max((need.gpus for need in needs), default=0)
    together = min((need.per_gpu for need in needs if need.gpus), default=1)
    gpus *= ceil(workers / together)
    memory = max((need.memory for need in needs), default=0.0)
    if pair is None:
        return Resources(gpus, memory)
    custom = tuple(sorted(pair.settings.ray.get("resources", {}).items()))
    return Resources(gpus, memory, pair.settings.slurm or "", custom)
