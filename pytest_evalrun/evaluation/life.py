"""The life of one item: reuse? predict, score, mark. Gates are judged here, and breached in the test's body."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError, Lacking, PairError, TimedOut
from pytest_evalrun.evaluation.agents import lacks_overall
from pytest_evalrun.evaluation.fingerprint import environment_changes, environment_now, model_size
from pytest_evalrun.evaluation.gates import judge
from pytest_evalrun.evaluation.score import Scorer, Scores, first_failure, with_references
from pytest_evalrun.evaluation.shards import forget, import_shards, uncovered, unpredicted
from pytest_evalrun.evaluation.sources import take_over_sources
from pytest_evalrun.evaluation.steps import Evaluation, Steps
from pytest_evalrun.evaluation.stored import is_from_before, locked, trouble_of, write_error_result
from pytest_evalrun.evaluation.usage import tell_usage, with_judges
from pytest_evalrun.predicting.outputs import Outputs, output_directory
from pytest_evalrun.predicting.spending import currency_of
from pytest_evalrun.rundir.differences import difference
from pytest_evalrun.rundir.layout import paths_of
from pytest_evalrun.rundir.lines import utc_time
from pytest_evalrun.rundir.markers import read_fingerprint, write_marker
from pytest_evalrun.rundir.predictions import PredictionsFile
from pytest_evalrun.rundir.results import Result, append_history, ends, history_entry, read_result, timings_in
from pytest_evalrun.rundir.state import count_shards

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.evaluation.context import Context
    from pytest_evalrun.evaluation.gateverdicts import GateVerdict
    from pytest_evalrun.evaluation.judging import Judgement
    from pytest_evalrun.evaluation.plan import Plan
    from pytest_evalrun.rundir.predictions import Progress
    from pytest_evalrun.suite.pairs import Pair


# Up to so many samples are kept in memory for scoring: reading a tiny dataset twice is what would cost.
FEW = 256


def evaluate(pair: Pair, context: Context, *, shared: bool = False) -> Evaluation:
    """Evaluate a pair, or reuse what is there. ``shared``: other items of this launch may ask for the same pair.

    Raises PairError (and leaves a result with status ``error`` where there is none) when it cannot be done.
    """
    paths = paths_of(context.paths, pair)
    with locked(paths, shared or pair.is_shard, context.wait_a_moment):
        try:
            steps = Steps(pair, context, paths)
            if pair.positions is None:
                return evaluate_pair(steps)
            from pytest_evalrun.evaluation.shardlife import predict_shard

            return predict_shard(steps, pair.positions)
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


def evaluate_pair(steps: Steps) -> Evaluation:
    """Reuse what is there of a whole pair, or predict what is missing, then score all of it and mark it as complete.

    A pair that is cut predicts nothing itself: it takes over what its shards did.
    """
    pair, paths = steps.pair, steps.paths
    if not pair.is_cut and steps.is_old():
        steps.load(steps.plan())  # a model that does not even load costs no results
        steps.put_old_aside()
    plan = steps.settled()
    if pair.is_cut and (plan.action == "run" or steps.is_old()):
        raise _nothing_to_take_over(steps, plan)
    if plan.action == "reuse":
        result = read_result(paths.result)
        if result is not None and result.samples.get("predicted"):
            return _reuse(steps, plan, result)
        why = "its result is damaged" if result is None else "none of its samples was predicted"
        plan = replace(plan, action="score", reason=f"scored again: {why}")
    steps.say(plan.reason)
    _check_judges(steps, plan)
    if pair.is_cut:
        count_shards(steps.disk, pair, paths)
    else:
        steps.make_room(plan)
    outputs = Outputs(output_directory(pair, paths))
    file, count = PredictionsFile(paths.predictions, plan.wanted.generations), plan.wanted.count
    progress = file.open(steps.disk, count, outputs.hold, paths.marker)
    try:
        plan = take_over_sources(steps, plan, progress, range(count))
        already = import_shards(pair, paths, progress, outputs.hold)
        if pair.is_cut and not plan.marker:
            plan = replace(plan, reason=f"{len(pair.ranges)} shards")
        return _complete(steps, plan, progress, already)
    finally:
        progress.close()


def _nothing_to_take_over(steps: Steps, plan: Plan) -> PairError:
    """The error of a pair that is cut, where what lies there is not what is wanted now."""
    count = plan.wanted.count
    if steps.launch.mode == "eval":
        return unpredicted(0, count, plan.reason)
    reason = plan.reason if plan.action == "run" else "--eval-fresh"
    return uncovered(steps.pair, f"0 of {count} samples are predicted ({reason})")


def _reuse(steps: Steps, plan: Plan, result: Result) -> Evaluation:
    """The stored result by today's gates; where they judge otherwise, that is kept."""
    assert plan.marker is not None, "only what is marked is reused"
    pair = steps.pair
    if steps.launch.mode == "infer":  # nobody asked for a verdict
        return Evaluation(pair, None, True, plan.reason, predicted=result.samples["predicted"])
    if changed := environment_changes(result.environment):
        steps.warn(f"reused, though {changed}; --eval-fresh makes it again")
    current, verdicts, trouble = _judged(steps, plan, result)
    if current != result or is_from_before(plan.marker, steps.launch.distrust):
        _keep(steps, plan, current)
    if trouble is not None:
        raise trouble
    samples = current.samples | {"reused": current.samples["predicted"]}
    return Evaluation(pair, replace(current, samples=samples), True, plan.reason, verdicts)


def _complete(steps: Steps, plan: Plan, progress: Progress, already: int) -> Evaluation:
    """Predict what is missing, and score; each only where this launch does so. ``already`` were there before it."""
    if progress.repaired:
        steps.warn(progress.repaired)
    reader, count, mode = plan.wanted.reader, plan.wanted.count, steps.launch.mode
    samples = list(islice(reader, count)) if count <= FEW else reader
    if mode == "eval":
        if progress.done_count + progress.failed_count < count:
            raise unpredicted(progress.done_count, count, plan.reason)
    elif not steps.pair.is_cut and (progress.done_count < count or lacks_overall(steps.pair, steps.paths)):
        steps.predict(plan, samples, progress)
    if mode == "infer":
        steps.check_failures(plan, progress.done_count, progress.failed_count, first_failure(progress.ordered()))
        return Evaluation(steps.pair, None, False, plan.reason, predicted=progress.done_count)
    return _score(steps, plan, samples, progress, already)


def _score(steps: Steps, plan: Plan, samples: Iterable[Sample], progress: Progress, already: int) -> Evaluation:
    pair, paths, disk, log = steps.pair, steps.paths, steps.disk, steps.context.log
    started = time.perf_counter()
    if log is not None:
        log.open(paths.eval_log, pair.settings.log_limit)
    judged = _judged_by_models(steps, plan, samples, progress)
    scores = Scorer(pair, disk, paths, plan.wanted.count, judged).run(samples, progress)
    if scores.warning:
        steps.context.say(f"warning: {pair.full_id}: {scores.warning}")
    steps.check_failures(plan, scores.predicted, scores.failed, scores.first_failure)
    for one in judged.values():
        if told := one.check():
            steps.warn(told)
    own = scores.usage.to_json(currency_of(pair.settings))
    usage = with_judges(own, {name: one.paid() for name, one in judged.items()})
    tell_usage(usage, steps.say)
    if statuses := scores.statuses.to_json():
        steps.say(f"ended: {ends(statuses)}")
    if scores.outdated or not progress.in_order:
        progress.rewrite(disk, with_references(samples, progress, plan.wanted.count, pair.dataset.path))
    steps.watch.score = time.perf_counter() - started
    if pair.is_cut:
        steps.watch.shards = timings_in(paths.shard_predictions)
    result = replace(_result(steps, plan, scores, already), usage=usage)
    return _concluded(steps, plan, result, samples if isinstance(samples, list) else None)


def _concluded(steps: Steps, plan: Plan, result: Result, few: Sequence[Sample] | None) -> Evaluation:
    """A new result is judged, kept and remembered, also where its gates cannot be judged."""
    result, verdicts, trouble = _judged(steps, plan, result)
    _keep(steps, plan, result)
    if steps.paths.shard_predictions.is_dir():
        for error in forget(steps.paths, steps.disk):
            steps.context.warn(f"not synced to disk: {error}")
    _remember(steps, result)
    if trouble is not None:
        raise trouble
    return Evaluation(steps.pair, result, False, plan.reason, verdicts, samples=few)


def _check_judges(steps: Steps, plan: Plan) -> None:
    """Raise ConfigError where a judge has no key, before the answers are paid that it is to judge."""
    if steps.has_judges and plan.action in ("run", "resume") and steps.launch.mode == "all":
        from pytest_evalrun.evaluation.judges import judges_of  # with all that asks endpoints, which few pairs need

        for one in judges_of(steps.pair):
            one.check_secrets()


def _judged_by_models(
    steps: Steps, plan: Plan, samples: Iterable[Sample], progress: Progress
) -> Mapping[str, Judgement]:
    """The verdicts of judges on the answers, by the name of the metric; of most pairs there are none."""
    if not steps.has_judges:
        return {}
    from pytest_evalrun.evaluation.judging import judge_answers

    return judge_answers(steps, plan, samples, progress)


def _result(steps: Steps, plan: Plan, scores: Scores, already: int) -> Result:
    wanted, watch = plan.wanted, steps.watch
    stored = read_fingerprint(steps.paths.fingerprint)
    timing = stored.timing if stored else None
    old = None
    if plan.action == "score" and not watch.timing.samples:
        # The result that lies there, if it is of these predictions: of some that came back it may be of others.
        found = read_result(steps.paths.result)
        made_from = found.fingerprint.get("prediction", {}) if found else {}
        old = None if difference(made_from, wanted.prediction, steps.hashes) else found
    return Result(
        suite=steps.pair.suite,
        task=steps.pair.task.name,
        dataset=steps.pair.dataset.name,
        status="passed",
        metrics=scores.metrics,
        samples={
            "total": wanted.total,
            "predicted": scores.predicted,
            "failed": scores.failed,
            "reused": already + steps.taken_over,
        },
        seconds=watch.seconds(scores.latencies, timing, old),
        gates=[],
        fingerprint={"prediction": wanted.prediction, "score": wanted.score},
        environment=environment_now() | model_size(steps.pair) | watch.peak(old),
        timing=timing,
        statuses=scores.statuses.to_json(),
    )


def _judged(steps: Steps, plan: Plan, result: Result) -> tuple[Result, list[GateVerdict], PairError | None]:
    """The result by today's gates and baselines, and the error where they cannot be judged.

    Then the result says so, and is complete all the same: nothing is asked or scored again once the baseline is mended.
    """
    environment = {name: value for name, value in result.environment.items() if name != "error"}
    try:
        verdicts = judge(steps.pair, result.metrics, steps.evidence(result.metrics, plan.wanted.score))
    except Exception as error:  # noqa: BLE001 - a user's metric makes values of draws, and may raise anything
        trouble = error if isinstance(error, PairError) else trouble_of(error, steps.paths)
        environment["error"] = steps.context.shown(str(trouble))
        return replace(result, status="error", gates=[], environment=environment), [], trouble
    status = "passed" if all(v.holds for v in verdicts) else "failed"
    gates = [v.to_json() for v in verdicts]
    return replace(result, status=status, gates=gates, environment=environment), verdicts, None


def _keep(steps: Steps, plan: Plan, result: Result) -> None:
    """Write the result, then the marker that vouches for it."""
    steps.disk.write(steps.paths.result, result.dumps())
    fingerprint = {"prediction": plan.wanted.prediction, "score": plan.wanted.score}
    lines, extra = result.samples["predicted"] + result.samples["failed"], {"samples": result.samples["total"]}
    write_marker(steps.disk, steps.paths, fingerprint, extra, lines=lines, generations=plan.wanted.generations)


def _remember(steps: Steps, result: Result) -> None:
    """Add a line to the history of the work directory."""
    entry = history_entry(steps.pair.full_id, result, utc_time(timespec="seconds"))
    append_history(steps.disk, steps.context.workdir.history, entry)
