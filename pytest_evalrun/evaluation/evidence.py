"""What gates rest on besides the value: the samples of a pair, those of its baseline, and the intervals they allow.

Nothing is opened, and numpy is not imported, before the first gate asks.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.gateverdicts import verdict_of_finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.comparison.compare import TwoSides
    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.evaluation.gateverdicts import GateVerdict
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
        from pytest_evalrun.comparison.judged import judge_drop
        from pytest_evalrun.evaluation.columns import metric_of_row

        assert isinstance(gate.baseline, str)
        try:
            finding = judge_drop(
                self._sides(gate.baseline),
                name,
                gate,
                rules,
                gate.baseline,
                clustered=rules.cluster is not None,
                most_named=MOST_NAMED,
                made=lambda row: metric_of_row(row, self.pair),
            )
        except PairError as error:
            text, brief = (told.removeprefix(f"metric {name}: ") for told in (str(error), error.brief))
            raise PairError(f"gate on {name}: {text}", brief=f"gate on {name}: {brief}") from None
        return verdict_of_finding(name, "max_drop", finding, rules)

    def of_value(self, name: str, kind: str, limit: float, rules: GateRules) -> GateVerdict:
        """A bound that the interval of the value must keep, not only the value."""
        from pytest_evalrun.comparison.judged import judge_bound
        from pytest_evalrun.evaluation.intervals import interval_of

        found, value = interval_of(self.pair, self._alone, name, rules), float(self.metrics[name]["value"])
        return verdict_of_finding(name, kind, judge_bound(found, value, kind, limit, rules), rules)

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
