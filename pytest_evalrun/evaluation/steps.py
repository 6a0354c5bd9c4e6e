"""What pairs and their shards have in common on the way to an evaluation: planned, made room for, loaded, predicted."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.children.faults import ModelDied
from pytest_evalrun.datasets import create_reader
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.fingerprint import wanted_of
from pytest_evalrun.evaluation.plan import BACK, MEND, NEW, plan_of
from pytest_evalrun.evaluation.score import check_failures, last_line
from pytest_evalrun.evaluation.shards import unpredicted
from pytest_evalrun.evaluation.stored import StoredPair, keep_fingerprint, put_right
from pytest_evalrun.predicting.outputs import put_own_state_aside
from pytest_evalrun.predicting.spending import check_begin
from pytest_evalrun.predicting.ways import predict, take_over
from pytest_evalrun.predicting.work import PairWork
from pytest_evalrun.remote.faults import BoardGone
from pytest_evalrun.rundir.aside import OLD, STALE, earlier_predictions, set_aside
from pytest_evalrun.rundir.markers import read_fingerprint, write_fingerprint
from pytest_evalrun.rundir.results import TIMING, Timing
from pytest_evalrun.suite.answering import JUDGE
from pytest_evalrun.suite.gates import CRITICAL
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.evaluation.context import Context
    from pytest_evalrun.evaluation.evidence import Evidence
    from pytest_evalrun.evaluation.gateverdicts import GateVerdict
    from pytest_evalrun.evaluation.plan import Plan
    from pytest_evalrun.evaluation.score import Latencies
    from pytest_evalrun.predicting.services import GpuMemory
    from pytest_evalrun.predicting.session import LoadedModel
    from pytest_evalrun.predicting.work import KeptPredictions
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.results import Result
    from pytest_evalrun.suite.pairs import Pair

    Seconds = dict[str, float | None]


SAME_REQUEST = "what would be sent for them is what was sent before"


@dataclass(frozen=True)
class Evaluation:
    """What became of one pair: its result, and why it was reused or made again.

    ``result`` is None where only inference was asked for. ``verdicts`` are today's gates; ``samples`` all of a few that
    were read for it.
    """

    pair: Pair
    result: Result | None
    reused: bool
    reason: str
    verdicts: list[GateVerdict] = field(default_factory=list)
    predicted: int = 0
    seconds: float = 0.0
    samples: Sequence[Sample] | None = field(default=None, repr=False)

    @property
    def metrics(self) -> dict[str, float]:
        """Name of a metric → its value."""
        return {} if self.result is None else {name: m["value"] for name, m in self.result.metrics.items()}

    @property
    def breached(self) -> list[GateVerdict]:
        return [verdict for verdict in self.verdicts if not verdict.holds]


class Steps:
    """The steps of one item, a pair or a shard of one, over its files; ``watch`` knows how long they took."""

    def __init__(self, pair: Pair, context: Context, paths: PairPaths) -> None:
        self.pair = pair
        self.context = context
        self.paths = paths
        self.launch = context.launch
        self.disk = context.disk
        self.hashes = context.hashes.of(pair.settings.fingerprint)
        self.watch = Stopwatch(context.slots.memory)
        self._checked = False
        # Answers that earlier predictions had already.
        self.taken_over = 0

    def say(self, text: str) -> None:
        self.context.say(f"{self.pair.full_id}: {text}")

    def warn(self, text: str) -> None:
        self.context.warn(f"{self.pair.full_id}: {text}")

    @property
    def has_judges(self) -> bool:
        return any(spec.use == JUDGE for spec in self.pair.settings.metrics)

    def plan(self) -> Plan:
        """Decide what to do by what lies there now. Raises PairError where data or predictions cannot be read."""
        reader = create_reader(self.pair.dataset, self.pair.settings, self.pair.root)
        wanted = wanted_of(self.pair, reader, reader.identity(self.hashes), self.hashes)
        stored = StoredPair(self.paths, self.launch.distrust)
        if warning := stored.warning(self.pair.full_id):
            self.context.warn(warning)
        return plan_of(stored, wanted, self.hashes)

    def settled(self) -> Plan:
        """Plan, and put what the plan wants of predictions that were put aside or damaged in its place."""
        plan = self.plan()
        if plan.action not in (BACK, MEND):
            return plan
        self.context.say(plan.reason)
        if kept := put_right(plan, self.paths, self.disk, self.launch.run_id):
            self.context.say(kept)
        settled = self.plan()
        reason = plan.reason if settled.reason == NEW else f"{plan.reason}; {settled.reason}"
        return replace(settled, reason=reason) if plan.action == MEND else settled

    def is_old(self) -> bool:
        """--eval-fresh, once a launch: what this very launch made is fresh already."""
        stored = read_fingerprint(self.paths.fingerprint) if self.launch.fresh else None
        return self.launch.fresh and (stored is None or stored.launch != self.launch.run_id)

    def put_old_aside(self) -> None:
        set_aside(self.paths, OLD, with_result=True)

    def make_room(self, plan: Plan) -> None:
        """Predictions of another fingerprint go aside, and the new fingerprint lies there before the first batch."""
        if plan.action != "run":
            keep_fingerprint(plan, self.paths, self.disk, self.launch.run_id)
            return
        if self.launch.mode == "eval":
            raise unpredicted(0, plan.wanted.count, plan.reason)  # what lies there stays untouched
        if plan.reason != NEW:
            self.load(plan)  # a model that does not even load costs no predictions
            set_aside(self.paths, STALE)
        put_own_state_aside(self.pair, self.paths, fresh=self.launch.fresh)
        write_fingerprint(self.disk, self.paths.fingerprint, plan.wanted.prediction, self.launch.run_id)

    def load(self, plan: Plan) -> LoadedModel:
        """Load the model, unless a critical gate could not PASS: then it is not worth its time."""
        self._check_gates(plan)
        model, seconds = self.context.models.get(self.pair, plan.wanted.prediction)
        self.watch.load += seconds
        return model

    def _check_gates(self, plan: Plan) -> None:
        """A quick look judges what it can; and where nothing is judged, nothing is to be held against it."""
        pair = self.pair
        if self._checked or self.launch.mode == "infer" or pair.is_quick_look:
            return
        self._checked = True
        rules, gates = pair.settings.gate_rules, pair.settings.gates.values()
        if any(rules.of(gate).tier == CRITICAL and gate.needs_samples(pair.root) for gate in gates):
            from pytest_evalrun.evaluation.possible import check_possible

            check_possible(pair.whole, self.paths.whole, plan.wanted.count // plan.wanted.generations)

    def predict(self, plan: Plan, samples: Iterable[Sample], progress: KeptPredictions) -> None:
        """A model whose own process died is loaded again, as often as an item whose worker died is run again."""
        positions = self.pair.positions or range(plan.wanted.count)
        self._check_costs(len(positions), progress.done_count)
        work = PairWork(self.pair, self.paths, progress, self.context, positions)
        deaths = 0
        while True:
            try:
                model = self.load(plan)
                self._take_over(work, model, samples)
                with self.watch.predicting(progress):
                    return predict(work, model, samples)
            except ModelDied as error:
                deaths += 1
                if deaths > self.launch.crash_retries:
                    raise
                self.say(f"{error}; loading it again")
            except BoardGone as error:  # there is one less each time, and with none left loading is an error
                self.say(f"{error}; going on with another board")

    def _check_costs(self, count: int, done: int) -> None:
        """Nothing is loaded once the money is spent; unless what was paid before may do."""
        if self.launch.max_cost is None or (not self.launch.fresh and earlier_predictions(self.paths)):
            return
        costs, settings = self.context.costs, self.pair.settings
        check_begin(costs, settings, self.pair.full_id, count, count - done, begun=done > 0)

    def _take_over(self, work: PairWork, model: LoadedModel, samples: Iterable[Sample]) -> None:
        """Unless new ones are asked for, answers are kept that were paid for already."""
        if self.launch.fresh or not (taken := take_over(work, model, samples)):
            return
        self.taken_over += taken
        why = "AgentBench had finished them" if self.pair.settings.is_agent else SAME_REQUEST
        self.say(f"{counted(taken, 'answer')} taken over: {why}")

    def evidence(self, metrics: Mapping[str, Mapping[str, Any]], scoring: Mapping[str, Any]) -> Evidence | None:
        """What gates need besides the values; most have gates of values alone, or none."""
        if not any(gate.needs_samples(self.pair.root) for gate in self.pair.settings.gates.values()):
            return None
        from pytest_evalrun.evaluation.evidence import Evidence

        return Evidence(self.pair, self.paths, metrics, scoring)

    def check_failures(self, plan: Plan, predicted: int, failed: int, first: str) -> None:
        """Raise PairError where more samples failed than may; of a pair, too, where nothing was predicted."""
        if failed and not predicted and not self.pair.is_shard:
            text = f"no sample was predicted (of {failed}); the first: {first}"
            raise PairError(text, brief=f"none of {failed} predicted: {last_line(first)}")
        check_failures(self.pair.settings.max_failed, plan.wanted.count, plan.wanted.total, failed, first)


class Stopwatch:
    """Started with the item. ``shards`` is what the shards of a pair took, who did the predicting for it."""

    def __init__(self, memory: GpuMemory) -> None:
        self.load = 0.0
        self.score = 0.0
        self.own = Timing()
        self.shards = Timing()
        self._memory = memory
        self._started = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds since the item began, and those of its shards before."""
        return time.perf_counter() - self._started + self.shards.predict

    @property
    def timing(self) -> Timing:
        return self.own + self.shards

    @contextmanager
    def predicting(self, progress: KeptPredictions) -> Iterator[None]:
        """While a model is asked, however that ends."""
        self._memory.forget()
        started, before = time.perf_counter(), progress.done_count
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self.own += Timing(seconds, progress.done_count - before, self._memory.peak_gb())

    def seconds(self, latencies: Latencies, timing: int | None, old: Result | None) -> Seconds:
        """What the result says. Predictions that were timed otherwise than by ``TIMING`` have no latencies to show.

        What was only scored again has the throughput of when it was predicted, which ``old`` knows.
        """
        steps = {"load": self.load, "predict": self.timing.predict, "score": self.score, "total": self.total}
        seconds: Seconds = {name: round(value, 6) for name, value in steps.items()}
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            seconds[name] = latencies.quantile(share) if timing == TIMING else None
        return seconds | {"throughput": old.seconds.get("throughput") if old else self.timing.throughput}

    def peak(self, old: Result | None) -> dict[str, float]:
        """For the environment of the result: ``gpu_peak_gb``, where it is known."""
        peak = old.environment.get("gpu_peak_gb") if old else self.timing.gpu_peak_gb
        return {} if peak is None else {"gpu_peak_gb": peak}
