"""The steps of a shard: a range of its pair's samples is predicted, and nothing else."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.plan import NEW
from pytest_evalrun.evaluation.score import first_failure
from pytest_evalrun.evaluation.shards import shard_progress, unpredicted
from pytest_evalrun.evaluation.sources import take_over_sources
from pytest_evalrun.evaluation.steps import Evaluation
from pytest_evalrun.evaluation.stored import locked
from pytest_evalrun.predicting.outputs import Outputs, output_directory
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.markers import read_fingerprint
from pytest_evalrun.rundir.predictions import PredictionsFile
from pytest_evalrun.rundir.results import add_timing
from pytest_evalrun.rundir.state import RunningState, state_writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.evaluation.fingerprint import Parts
    from pytest_evalrun.evaluation.plan import Plan
    from pytest_evalrun.evaluation.shards import ShardProgress
    from pytest_evalrun.evaluation.steps import Steps
    from pytest_evalrun.rundir.predictions import Progress


def predict_shard(steps: Steps, own: range) -> Evaluation:
    """Predict the samples of a range, wherever they were not predicted yet; its pair does the rest."""
    plan, file = _begin(steps)
    if file is None:
        return _reused(steps, own, "its pair is complete")
    outputs = Outputs(output_directory(steps.pair, steps.paths))
    progress = shard_progress(file, steps.paths, own, outputs.hold)
    try:
        return _predict(steps, take_over_sources(steps, plan, progress, own), progress, own)
    finally:
        progress.close()


def _begin(steps: Steps) -> tuple[Plan, Progress | None]:
    """The first shard of a launch makes room for all of them; the others see that it is done.

    A model is loaded while nobody waits for the lock: whoever waits may hold the GPU that it needs.
    """
    loaded: Parts | None = None
    while True:
        with locked(steps.paths.whole, shared=True):
            plan, old = steps.settled(), steps.is_old()
            if old and loaded == plan.wanted.prediction:
                steps.put_old_aside()
                plan, old = steps.plan(), False
            # The others need not read the same files once more.
            steps.hashes.commit()
            is_loaded = plan.reason == NEW or loaded == plan.wanted.prediction
            if (not old and (plan.action != "run" or is_loaded)) or steps.launch.mode == "eval":
                return plan, _open(steps, plan)
        steps.load(plan)
        loaded = plan.wanted.prediction


def _open(steps: Steps, plan: Plan) -> Progress | None:
    """Open the shard's file, under the lock, so that no line ever goes to predictions of another plan.

    None where the pair is complete.
    """
    if plan.action == "reuse":
        return None
    steps.make_room(plan)
    file = PredictionsFile(steps.paths.predictions, plan.wanted.generations).open(steps.disk, plan.wanted.count)
    if steps.launch.mode != "eval":
        file.begin()
        # States of shards are of one launch: what they say together must not count what others left behind.
        lock = steps.paths.whole.lock
        if read_file(lock).decode(errors="replace") != steps.launch.run_id:
            for state in steps.paths.shard_states.glob("*.state"):
                state.unlink(missing_ok=True)
            lock.write_text(steps.launch.run_id)
    return file


class _Stretch:
    """The samples of a range, from its first one each time that they are gone through: a model may be loaded again."""

    def __init__(self, samples: Iterable[Sample], own: range) -> None:
        self._samples = samples
        self._own = own

    def __iter__(self) -> Iterator[Sample]:
        return islice(self._samples, self._own.start, self._own.stop)


def _predict(steps: Steps, plan: Plan, progress: ShardProgress, own: range) -> Evaluation:
    if progress.repaired:
        steps.warn(progress.repaired)
    already, size = progress.done_count, len(own)
    if already == size:
        return _reused(steps, own, "all its samples were predicted before")
    if steps.launch.mode == "eval":
        if already + progress.failed_count < size:
            raise unpredicted(already, size, plan.reason)
        _check_failures(steps, plan, progress)
        return Evaluation(steps.pair, None, True, "reused", predicted=already)
    reason = f"resumed at {already} of {size} samples" if already else plan.reason
    steps.say(reason)
    try:
        steps.predict(plan, _Stretch(plan.wanted.reader, own), progress)
    finally:
        add_timing(steps.disk, steps.paths.predictions, steps.watch.own)
    stored = read_fingerprint(steps.paths.fingerprint)
    if stored is None or stored.parts != plan.wanted.prediction:
        # Another shard that found a new model or dataset has set aside what this one was still working on.
        raise PairError("its model or dataset changed while it ran; the same command makes it again")
    _check_failures(steps, plan, progress)
    return Evaluation(steps.pair, None, False, reason, predicted=progress.done_count, seconds=steps.watch.total)


def _check_failures(steps: Steps, plan: Plan, progress: ShardProgress) -> None:
    """Raise PairError where too many failed; the reasons of what failed in other cuts are in other files."""
    first = first_failure(progress.ordered()) or "see its log"
    steps.check_failures(plan, progress.done_count, progress.failed_count, first)


def _reused(steps: Steps, own: range, why: str) -> Evaluation:
    """Its state says that nothing is left to do: that of its pair counts it in."""
    pair, size = steps.pair, len(own)
    if steps.launch.mode != "eval" and steps.paths.whole.shard_predictions.is_dir():
        state = RunningState(0, 0, 0, 0, 0, 0, int(time.time()), pair.settings.max_batch_size, size)
        state_writer(steps.disk, pair, steps.paths).update(state, force=True)
    return Evaluation(pair, None, True, f"reused: {why}", predicted=size)
