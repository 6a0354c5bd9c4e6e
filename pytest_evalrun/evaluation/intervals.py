"""The interval of one value: of the mean of a pair's scores, or of what its metric makes of the whole corpus."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_evalrun.comparison.pairedmetric import is_mean_of
from pytest_evalrun.comparison.side import bounds_in
from pytest_evalrun.evaluation.columns import metric_of_row
from pytest_evalrun.stats.difference import AlikeError, NoEstimateError, alike_within, mean_interval
from pytest_evalrun.stats.estimate import IntervalEstimate
from pytest_evalrun.stats.power import least_n_unseen
from pytest_evalrun.stats.resampling import paired_bootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.suite.gates import GateRules
    from pytest_evalrun.suite.pairs import Pair

# The confidence of the interval that a result has.
OF_RESULTS = 0.95
OWN = "the metric's own interval"


class _Scored:
    """The scores of a metric, sample by sample, as far as it has some."""

    def __init__(self, side: Side, name: str, *, clustered: bool) -> None:
        scores = array("d")
        answers = array("q")
        self.statistics: list[Any] = []
        clusters: dict[str, int] = {}
        numbers, counts = array("q"), array("b")
        for row in side.rows():
            statistic, score = row.statistics.get(name), row.scores.get(name)
            if statistic is None and score is None:
                continue
            if statistic is not None:
                self.statistics.append(statistic)
            if score is not None:
                scores.append(score)
                answers.append(row.answers)
            counts.append(statistic is not None)
            if clustered:
                numbers.append(clusters.setdefault(row.cluster or "", len(clusters)))
        self.scores: NDArray[np.float64] = np.array(scores)
        self.answers: NDArray[np.int64] = np.array(answers)
        self.clusters: NDArray[np.intp] | None = np.array(numbers, dtype=np.intp) if clustered else None
        # A sample that has a score may all the same add nothing to the value of the corpus.
        if self.clusters is not None and self.statistics:
            self.clusters = self.clusters[np.array(counts, dtype=np.bool_)]


@dataclass(frozen=True)
class ValueInterval:
    """``estimate`` of one value; None where there is none, for the reason ``problem``.

    ``worst`` is what one sample can change the scores by at most, as far as that is known.
    """

    estimate: IntervalEstimate | None
    problem: str | None = None
    worst: float = 0.0

    def too_few(self, margin: float) -> str | None:
        """Why an approximate method proves nothing yet: losses that nobody has seen could cost what is left."""
        found = self.estimate
        if found is None or not (found.approximate and self.worst):
            return None
        least = least_n_unseen(margin, self.worst, found.confidence)
        if least is not None and (found.clusters or found.n) >= least:
            return None
        what = "clusters" if found.clusters else "samples"
        needed = "no number of them is enough" if least is None else f"{least:,} are needed"
        return f"{found.clusters or found.n:,} {what} by {found.method}, which is approximate: {needed}"


def interval_of(pair: Pair, side: Side, name: str, rules: GateRules) -> ValueInterval:
    """The interval of a metric's value at the confidence of the rules."""
    metric = side.metrics[name]
    if pair.settings.kind.computes(pair.settings):
        return _own(metric, rules, "the program gives the value alone")
    found = _Scored(side, name, clustered=rules.cluster is not None)
    try:
        if found.statistics:
            return _of_corpus(pair, name, metric, found, rules)
        if len(found.scores) and is_mean_of(found.scores, found.answers, float(metric["value"])):
            made = mean_interval(found.scores, bounds_in(metric), found.clusters, rules.confidence)
            return ValueInterval(made, worst=_most_of_one(metric, found))
    except AlikeError as alike:
        worst = _most_of_one(metric, found)
        within_worst = alike_within(alike, worst, rules.confidence)
        return ValueInterval(within_worst, None if within_worst is not None else str(alike), worst)
    except NoEstimateError as error:
        return ValueInterval(None, str(error))
    if found.clusters is not None:
        return ValueInterval(None, "its value is no mean of scores, of which clusters would be known")
    return _own(metric, rules, "its value is no mean of scores")


def _most_of_one(metric: Mapping[str, Any], found: _Scored) -> float:
    """What one sample can change the value by at most, as far as that is known: of a corpus as much as all of it."""
    if (bounds := bounds_in(metric)) is not None:
        return bounds[1] - bounds[0]
    return abs(float(metric["value"])) if found.statistics else float(np.ptp(found.scores))


def _of_corpus(pair: Pair, name: str, told: Mapping[str, Any], found: _Scored, rules: GateRules) -> ValueInterval:
    metric: Any = metric_of_row(name, pair)
    if metric is None or not hasattr(metric, "values_of"):
        return ValueInterval(None, "its metric cannot make a value of its statistics")
    rows = found.statistics

    def nothing(draws: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.zeros(len(draws))

    made = paired_bootstrap(len(rows), nothing, metric.values_of(rows), found.clusters, rules.confidence)
    return ValueInterval(made, worst=_most_of_one(told, found))


def _own(metric: Mapping[str, Any], rules: GateRules, why: str) -> ValueInterval:
    """What the result has, where it has some and that is of the confidence that is asked for."""
    low, high = metric.get("low"), metric.get("high")
    if low is None or high is None or not low < high:
        return ValueInterval(None, f"{why}, and it has no interval")
    if rules.confidence != OF_RESULTS:
        known = f"its interval is known at {OF_RESULTS} alone, not at {rules.confidence:g}"
        return ValueInterval(None, f"{why}, and {known}")
    value, n = float(metric["value"]), int(metric["n"])
    return ValueInterval(IntervalEstimate(value, float(low), float(high), n, OWN, approximate=True))
