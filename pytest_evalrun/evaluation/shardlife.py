"""The steps of a shard: a range of its pair's samples is predicted, and nothing else."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from pytest_evalrun.evaluation.life import NEW, Evaluation, Life, locked, unpredicted
from pytest_evalrun.evaluation.shards import shard_progress

if TYPE_CHECKING:
    from pytest_evalrun.datasets.protocol import Identity
    from pytest_evalrun.evaluation.life import Plan
    from pytest_evalrun.evaluation.shards import ShardProgress
    from pytest_evalrun.suite.pairs import Cut


class ShardLife(Life):
    """The steps of a shard: its samples are predicted, wherever they were not yet; its pair does the rest."""

    def run(self) -> Evaluation:
        with locked(self.paths, shared=True):  # the first shard of a launch makes room for all of them
            self._start_afresh()
            plan = self.plan()
            count = self._count(plan.identity)
            self._make_room(plan, count)
        assert self.pair.cut is not None
        if plan.marker is not None:
            return Evaluation(self.pair, None, True, "reused: its pair is complete", predicted=self.pair.cut.size)
        progress = shard_progress(self.pair, self.paths, self.context.disk, count)
        try:
            return self._range(plan, progress, self.pair.cut)
        finally:
            progress.close()

    def _range(self, plan: Plan, progress: ShardProgress, cut: Cut) -> Evaluation:
        if progress.repaired:
            self.context.warn(f"{self.pair.full_id}: {progress.repaired}")
        already = progress.done_count
        reason = f"resumed at {already} of {cut.size} samples" if already else plan.reason
        if already == cut.size:
            return Evaluation(self.pair, None, True, "reused: all its samples were predicted before", predicted=already)
        if self.context.launch.mode == "eval":
            raise unpredicted(already, cut.size, plan)
        self.context.say(f"{self.pair.full_id}: {reason}")
        self._predict(plan, islice(plan.reader, cut.low, cut.high), progress, cut.size)
        seconds = time.perf_counter() - self.started
        return Evaluation(self.pair, None, False, reason, predicted=progress.done_count, seconds=seconds)

    def _unmarked(self, identity: Identity) -> tuple[str, str]:  # noqa: ARG002 - how far it came is told of the range
        return "resume", NEW
