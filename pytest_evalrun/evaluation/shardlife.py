"""The steps of a shard: a range of its pair's samples is predicted, and nothing else."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.life import Evaluation, Life
from pytest_evalrun.evaluation.plan import NEW
from pytest_evalrun.evaluation.score import first_failure
from pytest_evalrun.evaluation.shards import shard_progress, unpredicted
from pytest_evalrun.evaluation.stored import locked
from pytest_evalrun.predicting.outputs import Outputs, output_directory
from pytest_evalrun.rundir.fingerprints import read_fingerprint
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.predictions import PredictionsFile
from pytest_evalrun.rundir.state import RunningState, state_writer
from pytest_evalrun.rundir.timings import add_timing

if TYPE_CHECKING:
    from pytest_evalrun.evaluation.fingerprint import Parts
    from pytest_evalrun.evaluation.plan import Plan
    from pytest_evalrun.evaluation.shards import ShardProgress
    from pytest_evalrun.rundir.predictions import Progress
    from pytest_evalrun.suite.pairs import Cut


class ShardLife(Life):
    """The steps of a shard: its samples are predicted, wherever they were not yet; its pair does the rest."""

    def run(self) -> Evaluation:
        assert self.pair.cut is not None
        plan, own = self._begin()
        if own is None:
            return self._reused(self.pair.cut, "its pair is complete")
        outputs = Outputs(output_directory(self.pair, self.paths))
        progress = shard_progress(own, self.paths, self.pair.cut, outputs.hold)
        try:
            return self._range(plan, progress, self.pair.cut)
        finally:
            progress.close()

    def _begin(self) -> tuple[Plan, Progress | None]:
        """The first shard of a launch makes room for all of them; the others see that it is done.

        A model is loaded while nobody waits for the lock: whoever waits may hold the GPU that it needs.
        """
        loaded: Parts | None = None
        while True:
            with locked(self.paths.whole, shared=True):
                plan, old = self._settled(), self._is_old()
                if old and loaded == plan.wanted.prediction:
                    self._put_aside()
                    plan, old = self._plan(), False
                # The others need not read the same files once more.
                self.hashes.commit()
                if not old and (plan.action != "run" or plan.reason == NEW or loaded == plan.wanted.prediction):
                    return plan, self._open(plan)
                if self._only_scores:
                    return plan, self._open(plan)
            self._load(plan)
            loaded = plan.wanted.prediction

    @property
    def _only_scores(self) -> bool:
        return self.context.launch.mode == "eval"

    def _open(self, plan: Plan) -> Progress | None:
        """None where the pair is complete. Under the lock, so that no line ever goes to predictions of another plan."""
        if plan.action == "reuse":
            return None
        self._make_room(plan)
        own = PredictionsFile(self.paths.predictions).open(self.context.disk, plan.wanted.count)
        if not self._only_scores:
            own.begin()
            self._forget_states()
        return own

    def _forget_states(self) -> None:
        """States of shards are of one launch: what they say together must not count what others left behind."""
        lock = self.paths.whole.lock
        if read_file(lock).decode(errors="replace") != self.context.launch.run_id:
            for state in self.paths.shard_states.glob("*.state"):
                state.unlink(missing_ok=True)
            lock.write_text(self.context.launch.run_id)

    def _range(self, plan: Plan, progress: ShardProgress, cut: Cut) -> Evaluation:
        if progress.repaired:
            self.context.warn(f"{self.pair.full_id}: {progress.repaired}")
        already = progress.done_count
        reason = f"resumed at {already} of {cut.size} samples" if already else plan.reason
        if already == cut.size:
            return self._reused(cut, "all its samples were predicted before")
        if self._only_scores:
            return self._scored_later(plan, progress, cut)
        self.context.say(f"{self.pair.full_id}: {reason}")
        try:
            self._predict(plan, islice(plan.wanted.reader, cut.low, cut.high), progress, cut.size)
        finally:
            add_timing(self.context.disk, self.paths.predictions, self.watch.own)
        self._check_plan(plan)
        self._check_failures(plan, progress.done_count, progress.failed_count, first_failure(progress) or "see its log")
        return Evaluation(self.pair, None, False, reason, predicted=progress.done_count, seconds=self.watch.total)

    def _scored_later(self, plan: Plan, progress: ShardProgress, cut: Cut) -> Evaluation:
        if progress.done_count + progress.failed_count < cut.size:
            raise unpredicted(progress.done_count, cut.size, plan.reason)
        self._check_failures(plan, progress.done_count, progress.failed_count, first_failure(progress) or "see its log")
        return Evaluation(self.pair, None, True, "reused", predicted=progress.done_count)

    def _reused(self, cut: Cut, why: str) -> Evaluation:
        """Its state says that nothing is left to do: that of its pair counts it in."""
        state = RunningState(0, 0, 0, 0, 0, 0, int(time.time()), self.pair.settings.max_batch_size, cut.size)
        if not self._only_scores and self.paths.whole.shard_predictions.is_dir():
            state_writer(self.context.disk, self.pair, self.paths).update(state, force=True)
        return Evaluation(self.pair, None, True, f"reused: {why}", predicted=cut.size)

    def _check_plan(self, plan: Plan) -> None:
        """Another shard that found a new model or dataset has set aside what this one was still working on."""
        stored = read_fingerprint(self.paths.fingerprint)
        if stored is None or stored.parts != plan.wanted.prediction:
            raise PairError("its model or dataset changed while it ran; the same command makes it again")
