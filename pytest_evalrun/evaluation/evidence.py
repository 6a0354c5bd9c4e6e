"""What gates rest on besides the value: the samples of a pair, those of its baseline, and the intervals they allow.

Nothing is opened, and numpy is not imported, before the first gate asks.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import INCONCLUSIVE, PASS, Conclusion
from pytest_evalrun.comparison.gatefacts import allowed, facts_of_drop, facts_of_interval
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.gateverdicts import GateVerdict, settled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.comparison.compare import MetricComparison, TwoSides
    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.suite.gates import Gate, GateRules
    from pytest_evalrun.suite.pairs import Pair

# So many samples of each kind are named to people.
MOST_NAMED = 5


class Evidence:
    """The samples of one evaluated pair, by its files; ``scoring`` is the part ``score`` of its fingerprint."""

    def __init__(
        self, pair: Pair, paths: PairPaths, metrics: Mapping[str, Mapping[str, Any]], scoring: Mapping[str, Any]
    ) -> None:
        self.pair = pair
        self.paths = paths
        self.metrics = metrics
        self._scoring = scoring
        self._beside: dict[str, TwoSides] = {}

    @cached_property
    def side(self) -> Side:
        """The pair itself, as a side of comparisons."""
        return self._read(references=True)

    @cached_property
    def _alone(self) -> Side:
        """The same where its own scores are all that is asked for."""
        return self._read(references=False)

    def _read(self, *, references: bool) -> Side:
        from pytest_evalrun.comparison.runside import run_side

        name, pair = self.paths.run.name, self.pair.full_id
        return run_side(name, pair, self.paths, self.metrics, self._scoring, references=references)

    def of_drop(self, name: str, gate: Gate, rules: GateRules) -> GateVerdict:
        """The drop from a saved baseline or a run, sample by sample. Raises PairError where there is none to it."""
        from pytest_evalrun.comparison.conclusion import conclude_drop

        assert isinstance(gate.baseline, str)
        assert gate.max_drop is not None
        try:
            found = self._compared(name, gate.baseline, gate, rules)
        except PairError as error:
            text, brief = (told.removeprefix(f"metric {name}: ") for told in (str(error), error.brief))
            raise PairError(f"gate on {name}: {text}", brief=f"gate on {name}: {brief}") from None
        conclusion = conclude_drop(found, 0.0 if gate.share is not None else float(gate.max_drop))
        limit, by = allowed(gate, found.before, found.after, higher=found.better == "higher")
        told = facts_of_interval(conclusion, found.estimate, rules) | facts_of_drop(found, gate, gate.baseline)
        holds = settled(by, rules, conclusion.word)
        verdict = GateVerdict(name, "max_drop", found.after, limit, by, conclusion.word, holds, rules.tier, told)
        change = None if found.estimate is None else found.estimate.value + 0.0
        return replace(verdict, change=change, higher=found.better == "higher", flips=found.flips)

    def of_value(self, name: str, kind: str, limit: float, by: float, rules: GateRules) -> GateVerdict:
        """A bound that the interval of the value must keep, not only the value."""
        from pytest_evalrun.comparison.conclusion import conclude_bound
        from pytest_evalrun.evaluation.intervals import interval_of

        found, value = interval_of(self.pair, self._alone, name, rules), float(self.metrics[name]["value"])
        conclusion = conclude_bound(found.estimate, found.problem, limit, lowest=kind == "min")
        if conclusion.word == PASS and (why := found.too_few(abs(value - limit))):
            conclusion = Conclusion(INCONCLUSIVE, why)
        told, holds = facts_of_interval(conclusion, found.estimate, rules), settled(by, rules, conclusion.word)
        return GateVerdict(name, kind, value, limit, by, conclusion.word, holds, rules.tier, told)

    def _compared(self, name: str, baseline: str, gate: Gate, rules: GateRules) -> MetricComparison:
        from pytest_evalrun.evaluation.columns import metric_of_row

        return self._sides(baseline).compare(
            name,
            confidence=rules.confidence,
            keep=1.0 - (gate.share or 0.0),
            clustered=rules.cluster is not None,
            most_named=MOST_NAMED,
            made=lambda row: metric_of_row(row, self.pair),
        )

    def _sides(self, baseline: str) -> TwoSides:
        """The pair beside a baseline of it: both are read once, for all gates that name it."""
        from pytest_evalrun.comparison.compare import TwoSides
        from pytest_evalrun.evaluation.baselines import baseline_side

        if baseline not in self._beside:
            settings = self.pair.settings
            metrics = [name for name, gate in settings.gates.items() if gate.baseline == baseline]
            before, partial = baseline_side(self.pair, baseline, self.paths), settings.limit is not None
            self._beside[baseline] = TwoSides(before, self.side, metrics, partial=partial)
        return self._beside[baseline]
