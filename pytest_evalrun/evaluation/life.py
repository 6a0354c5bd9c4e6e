"""The life of one item: reuse? predict, score, mark. Gates are judged here, and breached in the test's body."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from pytest_evalrun.children.faults import ModelDied
from pytest_evalrun.datasets import create_reader
from pytest_evalrun.errors import ConfigError, Lacking, PairError, TimedOut
from pytest_evalrun.evaluation import environment
from pytest_evalrun.evaluation.fingerprint import difference, wanted_of
from pytest_evalrun.evaluation.gates import judge
from pytest_evalrun.evaluation.plan import BACK, MEND, NEW, plan_of
from pytest_evalrun.evaluation.score import Scorer, Scores, check_failures, first_failure, last_line, with_references
from pytest_evalrun.evaluation.shards import forget, import_shards, uncovered, unpredicted
from pytest_evalrun.evaluation.stopwatch import Stopwatch
from pytest_evalrun.evaluation.stored import (
    StoredPair,
    is_from_before,
    keep_fingerprint,
    locked,
    put_right,
    trouble_of,
    write_error_result,
)
from pytest_evalrun.predicting.outputs import Outputs, output_directory, put_own_state_aside
from pytest_evalrun.predicting.ways import predict
from pytest_evalrun.predicting.work import PairWork
from pytest_evalrun.remote.faults import BoardGone
from pytest_evalrun.rundir.aside import OLD, STALE, set_aside
from pytest_evalrun.rundir.fingerprints import read_fingerprint, write_fingerprint
from pytest_evalrun.rundir.history import append_history
from pytest_evalrun.rundir.layout import paths_of
from pytest_evalrun.rundir.lines import utc_time
from pytest_evalrun.rundir.markers import write_marker
from pytest_evalrun.rundir.predictions import PredictionsFile
from pytest_evalrun.rundir.results import Result, read_result
from pytest_evalrun.rundir.state import count_shards
from pytest_evalrun.rundir.timings import timings_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.evaluation.context import Context
    from pytest_evalrun.evaluation.gates import Verdict
    from pytest_evalrun.evaluation.plan import Plan
    from pytest_evalrun.evaluation.shards import ShardProgress
    from pytest_evalrun.predicting.models import LoadedModel
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.predictions import Progress
    from pytest_evalrun.suite.pairs import Pair


# Up to so many samples are kept in memory for scoring: reading a tiny dataset twice is what would cost.
FEW = 256


@dataclass(frozen=True)
class Evaluation:
    """What became of one pair: its result, and why it was reused or made again.

    ``result`` is None where only inference was asked for. ``verdicts`` are today's gates.
    """

    pair: Pair
    result: Result | None
    reused: bool
    reason: str
    verdicts: list[Verdict] = field(default_factory=list)
    predicted: int = 0
    seconds: float = 0.0

    @property
    def metrics(self) -> dict[str, float]:
        """Name of a metric → its value."""
        return {} if self.result is None else {name: m["value"] for name, m in self.result.metrics.items()}

    @property
    def breached(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if not verdict.holds]


def evaluate(pair: Pair, context: Context, *, shared: bool = False) -> Evaluation:
    """Evaluate a pair, or reuse what is there. ``shared``: other items of this launch may ask for the same pair.

    Raises PairError (and leaves a result with status ``error`` where there is none) when it cannot be done.
    """
    paths = paths_of(context.paths, pair)
    with locked(paths, shared or pair.cut is not None, context.wait_a_moment):
        try:
            return _life(pair, context, paths).run()
        except Lacking as error:
            write_error_result(pair, paths, "skipped", str(error))
            raise
        except (PairError, ConfigError) as error:
            write_error_result(pair, paths, "error", context.shown(str(error)))
            raise
        except TimedOut as error:
            write_error_result(pair, paths, "error", str(error))
            context.abandon()
            raise PairError(f"{error}; the stacks of all threads are in its log") from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - after sys.exit() in a model pytest sets up no other item
            trouble = trouble_of(error, paths)
            write_error_result(pair, paths, "error", context.shown(str(trouble)))
            raise trouble from trouble.__cause__


def _life(pair: Pair, context: Context, paths: PairPaths) -> Life:
    if pair.cut is None:
        return Life(pair, context, paths)
    from pytest_evalrun.evaluation.shardlife import ShardLife

    return ShardLife(pair, context, paths)


class Life:
    """The steps of one item over one pair's files."""

    def __init__(self, pair: Pair, context: Context, paths: PairPaths) -> None:
        self.pair = pair
        self.context = context
        self.paths = paths
        self.hashes = context.hashes.of(pair.settings.fingerprint)
        self.watch = Stopwatch(context.slots.memory)
        self.already = 0

    def run(self) -> Evaluation:
        if not self.pair.cuts:
            self._start_afresh()
        plan = self._settled()
        if self.pair.cuts and (plan.action == "run" or self._is_old()):
            raise self._nothing(plan)
        if plan.action == "reuse":
            result = read_result(self.paths.result)
            if result is not None and result.samples.get("predicted"):
                return self._reuse(plan, result)
            why = "its result is damaged" if result is None else "none of its samples was predicted"
            plan = replace(plan, action="score", reason=f"scored again: {why}")
        self.context.say(f"{self.pair.full_id}: {plan.reason}")
        if not self.pair.cuts:
            self._make_room(plan)
        else:
            count_shards(self.context.disk, self.pair, self.paths)
        outputs = Outputs(output_directory(self.pair, self.paths))
        file = PredictionsFile(self.paths.predictions)
        progress = file.open(self.context.disk, plan.wanted.count, outputs.hold, self.paths.marker)
        try:
            self.already = import_shards(self.pair, self.paths, progress, outputs.hold)
            if self.pair.cuts and not plan.marker:
                plan = replace(plan, reason=f"{len(self.pair.cuts)} shards")
            return self._evaluate(plan, progress)
        finally:
            progress.close()

    def _nothing(self, plan: Plan) -> PairError:
        """What lies there is not what is wanted now: a pair that is cut has nothing to take over from its shards."""
        if self.context.launch.mode == "eval":
            return unpredicted(0, plan.wanted.count, plan.reason)
        reason = plan.reason if plan.action == "run" else "--eval-fresh"
        return uncovered(self.pair, self.pair.cuts, f"0 of {plan.wanted.count} samples are predicted ({reason})")

    def _make_room(self, plan: Plan) -> None:
        """Predictions of another fingerprint go aside, and the new fingerprint lies there before the first batch."""
        if plan.action != "run":
            keep_fingerprint(plan, self.context, self.paths)
            return
        if self.context.launch.mode == "eval":
            raise unpredicted(0, plan.wanted.count, plan.reason)  # what lies there stays untouched
        if plan.reason != NEW:
            self._load(plan)  # a model that does not even load costs no predictions
            set_aside(self.paths, STALE)
        put_own_state_aside(self.pair, self.paths, fresh=self.context.launch.fresh)
        write_fingerprint(self.context.disk, self.paths.fingerprint, plan.wanted.prediction, self.context.launch.run_id)

    def _evaluate(self, plan: Plan, progress: Progress) -> Evaluation:
        if progress.repaired:
            self.context.warn(f"{self.pair.full_id}: {progress.repaired}")
        samples = self._samples(plan)
        if self.context.launch.mode == "eval":
            if progress.done_count + progress.failed_count < plan.wanted.count:
                raise unpredicted(progress.done_count, plan.wanted.count, plan.reason)
        elif progress.done_count < plan.wanted.count and not self.pair.cuts:
            self._predict(plan, samples, progress, plan.wanted.count)
        if self.context.launch.mode == "infer":
            return self._inferred(progress, plan)
        return self._score(plan, samples, progress)

    def _plan(self) -> Plan:
        """By what lies there now. Raises PairError where data or predictions cannot be read."""
        reader = create_reader(self.pair.dataset, self.pair.settings, self.pair.root)
        wanted = wanted_of(self.pair, reader, reader.identity(self.hashes), self.hashes)
        stored = StoredPair(self.paths, self.context.launch.distrust)
        if warning := stored.warning(self.pair.full_id):
            self.context.warn(warning)
        return plan_of(stored, wanted, self.hashes)

    def _settled(self) -> Plan:
        """The plan, after what it wants of predictions that were put aside or damaged is in its place."""
        plan = self._plan()
        if plan.action not in (BACK, MEND):
            return plan
        put_right(plan, self.context, self.paths)
        settled = self._plan()
        reason = plan.reason if settled.reason == NEW else f"{plan.reason}; {settled.reason}"
        return replace(settled, reason=reason) if plan.action == MEND else settled

    def _samples(self, plan: Plan) -> Iterable[Sample]:
        """The samples that count; a few are read once and kept, many are streamed each time."""
        return list(islice(plan.wanted.reader, plan.wanted.count)) if plan.wanted.count <= FEW else plan.wanted.reader

    def _start_afresh(self) -> None:
        """A model that does not even load costs no results."""
        if self._is_old():
            self._load(self._plan())
            self._put_aside()

    def _put_aside(self) -> None:
        set_aside(self.paths, OLD, with_result=True)

    def _is_old(self) -> bool:
        """--eval-fresh, once a launch: what this very launch made is fresh already."""
        stored = read_fingerprint(self.paths.fingerprint) if self.context.launch.fresh else None
        return self.context.launch.fresh and (stored is None or stored.launch != self.context.launch.run_id)

    def _reuse(self, plan: Plan, result: Result) -> Evaluation:
        assert plan.marker is not None
        if self.context.launch.mode == "infer":  # nobody asked for a verdict
            return Evaluation(self.pair, None, True, plan.reason, predicted=result.samples["predicted"])
        if changed := environment.changes(result.environment):
            self.context.warn(f"{self.pair.full_id}: reused, though {changed}; --eval-fresh makes it again")
        verdicts = judge(self.pair, result.metrics)
        current = self._judged(result, verdicts)
        if current != result or is_from_before(plan.marker, self.context.launch.distrust):
            self._keep(plan, current)
        samples = current.samples | {"reused": current.samples["predicted"]}
        return Evaluation(self.pair, replace(current, samples=samples), True, plan.reason, verdicts)

    def _load(self, plan: Plan) -> LoadedModel:
        model, seconds = self.context.models.get(self.pair, plan.wanted.prediction)
        self.watch.load += seconds
        return model

    def _predict(self, plan: Plan, samples: Iterable[Sample], progress: Progress | ShardProgress, count: int) -> None:
        """A model whose own process died is loaded again, as often as an item whose worker died is run again."""
        positions = range(count) if self.pair.cut is None else range(self.pair.cut.low, self.pair.cut.high)
        work = PairWork(self.pair, self.paths, progress, self.context, positions)
        deaths = 0
        while True:
            try:
                model = self._load(plan)
                with self.watch.predicting(progress):
                    return predict(work, model, samples)
            except ModelDied as error:
                deaths += 1
                if deaths > self.context.launch.crash_retries:
                    raise
                self.context.say(f"{self.pair.full_id}: {error}; loading it again")
            except BoardGone as error:  # there is one less each time, and with none left loading is an error
                self.context.say(f"{self.pair.full_id}: {error}; going on with another board")

    def _inferred(self, progress: Progress, plan: Plan) -> Evaluation:
        self._check_failures(plan, progress.done_count, progress.failed_count, first_failure(progress))
        return Evaluation(self.pair, None, False, plan.reason, predicted=progress.done_count)

    def _score(self, plan: Plan, samples: Iterable[Sample], progress: Progress) -> Evaluation:
        started = time.perf_counter()
        if self.context.log is not None:
            self.context.log.open(self.paths.eval_log, self.pair.settings.log_limit)
        scores = Scorer(self.pair, self.context, self.paths, plan.wanted.count).run(samples, progress)
        self._check_failures(plan, scores.predicted, scores.failed, scores.first_failure)
        if scores.outdated or not progress.in_order:
            lines = with_references(samples, progress, plan.wanted.count, self.pair.dataset.path)
            progress.rewrite(self.context.disk, lines)
        self.watch.score = time.perf_counter() - started
        if self.pair.cuts:
            self.watch.shards = timings_in(self.paths.shard_predictions)
        result = self._result(plan, scores)
        verdicts = judge(self.pair, result.metrics)
        result = self._judged(result, verdicts)
        self._keep(plan, result)
        if self.paths.shard_predictions.is_dir():
            for error in forget(self.paths, self.context.disk):
                self.context.warn(f"not synced to disk: {error}")
        self._remember(result)
        return Evaluation(self.pair, result, False, plan.reason, verdicts)

    def _check_failures(self, plan: Plan, predicted: int, failed: int, first: str) -> None:
        """Raise PairError where more samples failed than may; of a pair, too, where nothing was predicted."""
        if failed and not predicted and self.pair.cut is None:
            text = f"no sample was predicted (of {failed}); the first: {first}"
            raise PairError(text, brief=f"none of {failed} predicted: {last_line(first)}")
        check_failures(self.pair.settings.max_failed, plan.wanted.count, plan.wanted.total, failed, first)

    def _result(self, plan: Plan, scores: Scores) -> Result:
        stored = read_fingerprint(self.paths.fingerprint)
        timing = stored.timing if stored else None
        old = None if plan.action != "score" or self.watch.timing.samples else self._result_of(plan)
        return Result(
            suite=self.pair.suite,
            task=self.pair.task.name,
            dataset=self.pair.dataset.name,
            status="passed",
            metrics=scores.metrics,
            samples={
                "total": plan.wanted.total,
                "predicted": scores.predicted,
                "failed": scores.failed,
                "reused": self.already,
            },
            seconds=self.watch.seconds(scores.latencies, timing, old),
            gates=[],
            fingerprint={"prediction": plan.wanted.prediction, "score": plan.wanted.score},
            environment=environment.current() | self.watch.peak(old),
            timing=timing,
        )

    def _result_of(self, plan: Plan) -> Result | None:
        """The result that lies there, if it is of these predictions: of some that came back it may be of others."""
        result = read_result(self.paths.result)
        made_from = result.fingerprint.get("prediction", {}) if result else {}
        return None if difference(made_from, plan.wanted.prediction, self.hashes) else result

    @staticmethod
    def _judged(result: Result, verdicts: list[Verdict]) -> Result:
        status = "passed" if all(v.holds for v in verdicts) else "failed"
        return replace(result, status=status, gates=[v.to_json() for v in verdicts])

    def _keep(self, plan: Plan, result: Result) -> None:
        """The result, then the marker that vouches for it."""
        self.context.disk.write(self.paths.result, result.dumps())
        fingerprint = {"prediction": plan.wanted.prediction, "score": plan.wanted.score}
        lines = result.samples["predicted"] + result.samples["failed"]
        write_marker(self.context.disk, self.paths, fingerprint, {"samples": result.samples["total"]}, lines=lines)

    def _remember(self, result: Result) -> None:
        entry = {
            "pair": self.pair.full_id,
            "fingerprint": result.fingerprint,
            "metrics": {name: metric["value"] for name, metric in result.metrics.items()},
            "samples": result.samples,
            "seconds": result.seconds,
            "time": utc_time(timespec="seconds"),
            "timing": result.timing,
        }
        append_history(self.context.disk, self.context.workdir.history, entry)
