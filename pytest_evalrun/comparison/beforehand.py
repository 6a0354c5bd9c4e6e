"""What is known of gates before their pairs are asked: by heads of baselines, and by what the last run came to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from math import sqrt
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.baselinefile import read_head
from pytest_evalrun.comparison.gatefacts import drop_allowed
from pytest_evalrun.comparison.lookup import BaselineLookup, result_in
from pytest_evalrun.comparison.outlook import ASSUMED, GateOutlook, facts_in, least_to_pass
from pytest_evalrun.comparison.side import finite, two_ends
from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.layout import RunPaths, key_of
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.results import read_result
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.comparison.outlook import MetricFacts
    from pytest_evalrun.rundir.layout import WorkDir
    from pytest_evalrun.rundir.results import Result
    from pytest_evalrun.suite.gates import Gate
    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.pairs import Pair

# So many samples of a run tell whether its scores are 0 or 1; a saved baseline says it itself.
LOOKED_AT = 200


@dataclass(frozen=True)
class GatesBefore:
    """Of gates that an interval decides; what one by the value alone can see nobody can say."""

    outlooks: tuple[GateOutlook, ...]

    @property
    def fatal(self) -> int:
        """How many pairs will be an ERROR before their model is loaded."""
        return len({gate.pair for gate in self.outlooks if gate.fatal})


def gates_before(
    pairs: Iterable[Pair], workdir: WorkDir, run: RunPaths | None, count: Callable[[Pair], int | None]
) -> GatesBefore:
    """Look at the gates of whole pairs. ``run`` is where the last results are; ``count`` tells the samples of a pair
    that has none there, where that costs nothing.
    """
    places = BaselineLookup(workdir)
    return GatesBefore(tuple(gate for pair in pairs for gate in _PairBefore(pair, places, run, count).outlooks()))


def gated_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs that have gates and are not skipped; of the others not even the settings are looked at.

    Layers are shared: each is looked at once.
    """
    known: dict[int, bool] = {}

    def says(layer: Layer) -> bool:
        if id(layer) not in known:
            known[id(layer)] = bool(layer.values.get("gates"))
        return known[id(layer)]

    return [pair for pair in pairs if pair.skip is None and any(map(says, pair.layers))]


class _PairBefore:
    """One pair: its last result is read once, and the head of each baseline of its gates."""

    def __init__(
        self, pair: Pair, places: BaselineLookup, run: RunPaths | None, count: Callable[[Pair], int | None]
    ) -> None:
        self.pair = pair
        self.places = places
        self.count = count
        self.last = _last_result(pair, run)
        self._heads: dict[str, Mapping[str, Any]] = {}

    def outlooks(self) -> Iterator[GateOutlook]:
        """Yield one for each condition that an interval decides."""
        for metric, gate in self.pair.settings.gates.items():
            for kind, limit in (("min", gate.min), ("max", gate.max)):
                if limit is not None and gate.by == "interval":
                    yield self._of_bound(metric, gate, kind, limit)
            if gate.max_drop is not None and gate.is_saved(self.pair.root):
                yield self._of_drop(metric, gate, gate.baseline)

    def _begun(self, metric: str, gate: Gate, kind: str, limit: str, baseline: str) -> GateOutlook:
        rules = self.pair.settings.gate_rules.of(gate)
        name = self.pair.full_id
        begun = GateOutlook(name, metric, kind, limit, rules.tier, baseline, None, None, confidence=rules.confidence)
        return replace(begun, clustered=rules.cluster is not None)

    def _of_drop(self, metric: str, gate: Gate, baseline: Any) -> GateOutlook:
        drop = gate.max_drop if isinstance(gate.max_drop, str) else f"{gate.max_drop:.6g}"
        begun = self._begun(metric, gate, "max_drop", drop, str(baseline))
        try:
            head = self._head(str(baseline))
        except PairError as error:
            return replace(begun, n=self._samples({}), problem=error.brief)
        except OSError as error:
            return replace(begun, n=self._samples({}), problem=f"{baseline}: {error.strerror}")
        facts = facts_in(head, metric)
        if facts.value is None:
            return replace(begun, n=self._samples(head), problem=f"{baseline} has no {metric}")
        last = self._last_gate(metric, "max_drop")
        if facts.binary is None and last is not None:
            facts = facts._replace(binary=last.get("discordance") is not None)
        least = least_to_pass(gate, "max_drop", self.pair.settings.gate_rules, facts)
        clusters = (last or {}).get("clusters") if begun.clustered else None
        begun = replace(begun, n=self._samples(head), least=least, margin=drop_allowed(gate, facts.value))
        begun = replace(begun, clusters=clusters if type(clusters) is int and clusters > 0 else None)
        return self._with_chances(begun, facts, last)

    def _with_chances(self, gate: GateOutlook, facts: MetricFacts, last: Mapping[str, Any] | None) -> GateOutlook:
        """By what flipped last time, or how wide the interval was; of 0/1 scores something can be assumed."""
        clustered = self.pair.settings.gate_rules.cluster is not None
        if last is not None and not clustered and (flips := finite(last.get("discordance"))) is not None:
            return replace(gate, discordance=min(1.0, max(0.0, flips)), known=True)
        if facts.binary and not clustered:
            return replace(gate, discordance=ASSUMED)
        # What it was without clusters, or in others, says nothing of how much a cluster more or less matters.
        if last is not None and clustered == bool(last.get("clusters")):
            half = _half(last, gate.n)
            if half is not None:
                return replace(gate, half=half, known=True)
        return replace(gate, problem="what it can see is known once it was compared")

    def _of_bound(self, metric: str, gate: Gate, kind: str, limit: float) -> GateOutlook:
        """By the last result: there is nothing else that knows the metric."""
        begun = replace(self._begun(metric, gate, kind, f"{limit:.6g}", ""), n=self._samples({}))
        facts = facts_in({"metrics": self.last.metrics} if self.last else {}, metric)
        if facts.value is None or self.last is None:
            return replace(begun, problem="what it can see is known once there is a result")
        least = least_to_pass(gate, kind, self.pair.settings.gate_rules, facts)
        margin = facts.value - limit if kind == "min" else limit - facts.value
        measured = self.last.metrics[metric]
        last = self._last_gate(metric, kind) or {
            "interval": [measured.get("low"), measured.get("high")],
            "n": measured.get("n"),
        }
        half = _half(last, begun.n)
        return replace(begun, least=least, margin=margin, half=half, known=half is not None)

    def _last_gate(self, metric: str, kind: str) -> Mapping[str, Any] | None:
        """What the last comparison by this gate came to; None where no interval was found."""
        gates: Iterable[Any] = self.last.gates if self.last is not None else ()
        for gate in gates:
            if isinstance(gate, dict) and (gate.get("metric"), gate.get("kind")) == (metric, kind):
                return gate if isinstance(gate.get("interval"), list) else None
        return None

    def _samples(self, head: Mapping[str, Any]) -> int | None:
        """As many as were predicted last time, else as its shards, its data or its baseline are known to have."""
        pair = self.pair
        limit = pair.peek("limit")
        known: Any = None
        if self.last is not None:
            known = max(0, int(finite(self.last.samples.get("predicted")) or 0)) // max(1, pair.settings.generations)
        if not known and pair.cuts:
            known = pair.cuts[-1].high
        known = known or self.count(pair) or head.get("samples")
        if type(known) is not int or known < 1:
            return None
        return known if limit is None else min(known, limit)

    def _head(self, baseline: str) -> Mapping[str, Any]:
        """Raises PairError where there is none."""
        if baseline not in self._heads:
            self._heads[baseline] = _head_of(self.pair, baseline, self.places)
        return self._heads[baseline]


def _last_result(pair: Pair, run: RunPaths | None) -> Result | None:
    """Of as many first samples as are asked for; else of all, of which those are the first."""
    if run is None:
        return None
    keys = dict.fromkeys((key_of(pair), pair.key))
    return next((found for key in keys if (found := read_result(run.pair(key).result)) is not None), None)


def _half(last: Mapping[str, Any], n: int | None) -> float | None:
    """Half the width of an interval, had it been found with ``n`` samples."""
    interval, before = two_ends(last.get("interval")), finite(last.get("n"))
    if interval is None or before is None or before < 1 or n is None:
        return None
    return abs(interval[1] - interval[0]) / 2 * sqrt(before / n)


def _head_of(pair: Pair, baseline: str, places: BaselineLookup) -> Mapping[str, Any]:
    """Of a saved baseline, else of a run. Raises PairError where there is none."""
    found = places.find(pair, baseline)
    if found is None:
        raise PairError(f"no baseline {baseline} yet")
    if isinstance(found, RunPaths):
        paths, result = result_in(found, pair)
        return _head_of_run(result, paths.scores)
    head = read_head(found)
    return {name: getattr(head, name) for name in ("metrics", "samples", "statistics", "binary")}


def _head_of_run(result: Result, scores: Path) -> Mapping[str, Any]:
    """As a saved baseline would have it, as far as a look at its first samples tells."""
    head: dict[str, Any] = {"metrics": result.metrics, "samples": result.samples.get("predicted")}
    try:
        with open_file(scores) as file:
            lines = [parse_json(line) for line in islice(file, LOOKED_AT)]
        seen = {name: {line[name] for line in lines if line.get(name) is not None} for name in result.metrics}
        statistics = {name for line in lines for name in line.get("statistic", ())}
    except (OSError, ValueError, TypeError, AttributeError):  # whatever others wrote there: the comparison will tell
        return head
    binary = [name for name, values in seen.items() if values and values <= {0, 1} and name not in statistics]
    return head | {"binary": binary, "statistics": [*statistics]}
