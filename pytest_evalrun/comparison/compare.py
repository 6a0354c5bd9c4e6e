"""A metric of a pair on two sides: paired, counted, and estimated by the method that fits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_evalrun.comparison.scoring import metric_differs, rules_differ
from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_evalrun.comparison.pairedmetric import PairedMetric
    from pytest_evalrun.comparison.pairing import Matched
    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.metrics.protocol import Better, Metric
    from pytest_evalrun.stats.difference import AlikeError
    from pytest_evalrun.stats.estimate import IntervalEstimate
    from pytest_evalrun.stats.resampling import ValueOfDraws

    Made = Callable[[str], Metric | None]


@dataclass(frozen=True)
class Coverage:
    """How many samples both sides have, each with the same reference, and what only one has.

    ``changed`` are those of which the reference is another; ``before`` and ``after`` are only on that side.
    """

    both: int
    before: int = 0
    after: int = 0
    changed: int = 0
    named: tuple[str, ...] = ()
    """The ids of the first few that are not on both sides, or not with the same reference."""

    @property
    def complete(self) -> bool:
        return not (self.before or self.after or self.changed)


@dataclass(frozen=True)
class FlippedSamples:
    """0/1 scores that came out the other way; counted all, the first few by their ids."""

    lost: int = 0
    won: int = 0
    first_lost: tuple[str, ...] = ()
    first_won: tuple[str, ...] = ()
    often: bool = False
    """Of samples with several answers: those that are less often right, and more often."""


@dataclass(frozen=True)
class MetricComparison:
    """A metric before and after over the samples of both sides, in the metric's own unit.

    ``estimate`` is in the sense of quality, more is better, whatever ``better`` says; None where there is none, for the
    reason ``problem``. ``flips`` is None where scores are not 0 or 1. ``worst`` is what one unseen sample could cost at
    most, for methods that are approximate.
    """

    metric: str
    better: Better
    before: float
    after: float
    coverage: Coverage
    estimate: IntervalEstimate | None = None
    flips: FlippedSamples | None = None
    problem: str | None = None
    worst: float = 0.0
    remarks: tuple[str, ...] = field(default=())
    keep: float = 1.0
    """What share of the value before is to be kept, of a relative margin; above 1 where more of it is worse."""
    bounded: bool = False
    """Whether its scores are declared to keep bounds; ``worst`` is their width then."""


def compare(
    before: Side,
    after: Side,
    metric: str,
    *,
    confidence: float = 0.95,
    keep: float = 1.0,
    clustered: bool = True,
    partial: bool = False,
    most_named: int = 10,
    made: Callable[[str], Metric | None] = lambda _: None,
) -> MetricComparison:
    """Compare one metric. ``made`` makes a metric by its name, for those of a corpus; None where it cannot.

    ``keep`` is the share of the value before that has to be kept, 0.95 of a relative margin of 5 %, whichever way is
    better. ``partial``: the side ``after`` has only first samples, and lacks none of the others.

    Raises PairError where the two cannot be compared: more than 1 % of the samples on one side only or with another
    reference (how many, the first by their ids), another version of the metric, no sample on both sides, a metric that
    one side lacks.
    """
    sides = TwoSides(before, after, [metric], partial=partial)
    return sides.compare(
        metric, confidence=confidence, keep=keep, clustered=clustered, most_named=most_named, made=made
    )


class TwoSides:
    """Two sides whose samples were read for these metrics; ``partial`` where ``after`` has only first samples.

    Without ``references`` all are taken for the same. Raises PairError where a side is damaged.
    """

    def __init__(
        self, before: Side, after: Side, metrics: Sequence[str], *, partial: bool = False, references: bool = True
    ) -> None:
        from pytest_evalrun.comparison.pairing import matched, read_side

        short = before.saved != after.saved
        sides = [read_side(side, metrics, references=references, short=short) for side in (before, after)]
        self.before, self.after = sides
        self._partial = partial
        self._matched = matched(self.before, self.after)

    def apart(self, most_named: int) -> tuple[tuple[int, list[str]], tuple[int, list[str]]]:
        """How many samples only one side has, and have another reference, whatever the metric; the first by ids."""
        from pytest_evalrun.comparison.pairing import apart

        return apart(self.before, self.after, self._matched, most_named)

    def compare(
        self,
        metric: str,
        *,
        confidence: float = 0.95,
        keep: float = 1.0,
        clustered: bool = True,
        most_named: int = 10,
        made: Made = lambda _: None,
    ) -> MetricComparison:
        """As :func:`compare`."""
        check_measured_alike(self.before.side, self.after.side, metric)
        paired = self._paired(metric, most_named, made)
        paired.check_apart()
        return _estimated(paired, confidence, keep, clustered=clustered)

    def look(
        self, metric: str, *, moved: bool = True, most_named: int = 10, made: Made = lambda _: None
    ) -> MetricComparison:
        """Compare what can be compared, for a person to look at: why :meth:`compare` would raise is the ``problem``.

        Where the value has not ``moved``, there is no estimate unless samples flipped. Flips are of all samples that
        both have, whatever their references are by now.
        """
        paired = self._paired(metric, most_named, made, referred=False)
        told = _told(paired)
        if told.flips is None:
            told = replace(told, flips=_flips(paired, paired.turned, often=True))
        if not moved and (told.flips is None or not told.flips.lost + told.flips.won):
            return told
        paired = self._paired(metric, most_named, made)
        told = replace(told, coverage=Coverage(*paired.counts, paired.named))
        try:
            check_measured_alike(self.before.side, self.after.side, metric)
        except PairError:
            return replace(told, problem="it was measured in another way")
        if paired.apart() is not None:
            return replace(told, problem="less than 99 % of the samples are the same on both sides")
        return replace(_estimated(paired, 0.95, 1.0, clustered=True), flips=told.flips)

    def _paired(self, metric: str, most_named: int, made: Made, *, referred: bool = True) -> PairedMetric:
        """The samples of both; those with another reference among them where not ``referred``."""
        from pytest_evalrun.comparison.pairedmetric import paired_metric

        sides = self.before, self.after
        return paired_metric(sides, self._matched, metric, most_named, made, partial=self._partial, referred=referred)


def check_measured_alike(before: Side, after: Side, metric: str) -> None:
    """Raise PairError where one side lacks a metric, or the two measured other things by it."""
    for side in (before, after):
        if metric not in side.metrics:
            has = ", ".join(side.metrics) or "none"
            raise PairError(f"metric {metric}: {side.name} has no such metric of {side.pair}; it has: {has}")
    differing = [*metric_differs(before.scoring, after.scoring, metric)]
    if before.metrics[metric].get("better") != after.metrics[metric].get("better"):
        differing.append("which way is better differs")
    if differing:
        told = f"metric {metric}: {', '.join(differing)} between {before.name} and {after.name}"
        raise PairError(f"{told}; {before.remedy}")


def _told(paired: PairedMetric) -> MetricComparison:
    """All that is known without an estimate: the values are those of all samples."""
    before, after = (float(side.side.metrics[paired.metric]["value"]) for side in (paired.before, paired.after))
    return MetricComparison(
        paired.metric,
        paired.better,
        before,
        after,
        Coverage(*paired.counts, paired.named),
        flips=_flips(paired, paired.flipped),
        worst=paired.worst,
        remarks=tuple(rules_differ(paired.before.side.scoring, paired.after.side.scoring)),
        bounded=paired.bounds is not None,
    )


def _flips(paired: PairedMetric, places: Matched | None, *, often: bool = False) -> FlippedSamples | None:
    if places is None:
        return None
    return FlippedSamples(len(places[0]), len(places[1]), *paired.first_ids(places), often)


def _estimated(paired: PairedMetric, confidence: float, keep: float, *, clustered: bool) -> MetricComparison:
    found = _told(paired)
    if paired.metric in paired.before.statistics and paired.metric in paired.after.statistics:
        return _by_statistics(found, paired, confidence, keep, clustered=clustered)
    if paired.is_mean:
        return _by_means(found, paired, confidence, keep, clustered=clustered)
    return replace(found, problem=_no_method(paired))


def _by_means(
    found: MetricComparison, paired: PairedMetric, confidence: float, keep: float, *, clustered: bool
) -> MetricComparison:
    from pytest_evalrun.stats.difference import AlikeError, NoEstimateError, mean_difference

    before, after = float(paired.x.mean()), float(paired.y.mean())
    kept = _kept(keep, before)
    found = replace(found, before=paired.sign * before, after=paired.sign * after, keep=kept)
    try:
        estimate = mean_difference(paired.scores(clustered=clustered), confidence, kept)
    except AlikeError as error:
        return _alike(found, error, confidence)
    except NoEstimateError as error:
        return replace(found, problem=str(error))
    return replace(found, estimate=estimate)


def _by_statistics(
    found: MetricComparison, paired: PairedMetric, confidence: float, keep: float, *, clustered: bool
) -> MetricComparison:
    from pytest_evalrun.stats.difference import AlikeError, NoEstimateError
    from pytest_evalrun.stats.resampling import paired_bootstrap

    metric = paired.made(paired.metric)
    values_of = getattr(metric, "values_of", None)
    if values_of is None:
        return replace(found, problem="its value is of all samples together, and is not made again here")
    old, new = (_of_quality(values_of(rows), paired.sign) for rows in paired.statistics())
    before, after = (float(side(paired.once())[0]) for side in (old, new))
    kept = _kept(keep, before)
    found = replace(found, before=paired.sign * before, after=paired.sign * after, keep=kept)
    if not paired.worst:
        found = replace(found, worst=max(abs(before), abs(after)))
    clusters = paired.clusters() if clustered else None
    try:
        estimate = paired_bootstrap(len(paired.one), old, new, clusters, confidence, kept)
    except AlikeError as error:
        return _alike(found, error, confidence)
    except NoEstimateError as error:
        return replace(found, problem=str(error))
    return replace(found, estimate=estimate)


def _alike(found: MetricComparison, error: AlikeError, confidence: float) -> MetricComparison:
    """Where nothing differs, what was not seen may still: by no more than what one sample could cost at most."""
    from pytest_evalrun.stats.difference import alike_within

    estimate = alike_within(error, found.worst, confidence)
    return replace(found, estimate=estimate, problem=None if estimate is not None else str(error))


def _of_quality(values: ValueOfDraws, sign: float) -> ValueOfDraws:
    def turned(draws: NDArray[np.int64]) -> NDArray[np.float64]:
        return sign * values(draws)

    return turned


def _kept(keep: float, before: float) -> float:
    """Of a quality below 0, as of an error, 5 % less is 5 % more of it."""
    return keep if before >= 0 else 2 - keep


def _no_method(paired: PairedMetric) -> str:
    if not len(paired.seen):
        return "no scores of single samples"
    return "its value is not the mean of the samples' scores, and no sample says what it adds to it"
