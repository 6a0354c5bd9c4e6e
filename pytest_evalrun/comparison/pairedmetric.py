"""A metric over the samples that both sides have: what is covered, what flipped, and what its methods are given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_evalrun.comparison.pairing import ids_at
from pytest_evalrun.comparison.side import ROUNDING, bounds_in, is_same_value
from pytest_evalrun.errors import PairError
from pytest_evalrun.stats.difference import PairedScores
from pytest_evalrun.suite.printable import brief

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_evalrun.comparison.pairing import Matched, SideArrays
    from pytest_evalrun.metrics.protocol import Better, Metric

    Made = Callable[[str], Metric | None]

# More samples than this share on one side only, and two sides are not of the same data.
MOST_ALONE = 0.01


@dataclass(frozen=True)
class PairedMetric:
    """The places of its samples: ``one`` before and ``two`` after, and of those that only one side has.

    ``changed`` are places before of samples whose reference is another.
    """

    metric: str
    before: SideArrays
    after: SideArrays
    one: NDArray[np.intp]
    two: NDArray[np.intp]
    alone_before: NDArray[np.intp]
    alone_after: NDArray[np.intp]
    changed: NDArray[np.intp]
    most_named: int
    made: Made

    @cached_property
    def better(self) -> Better:
        return "lower" if self.after.side.metrics[self.metric].get("better") == "lower" else "higher"

    @cached_property
    def sign(self) -> float:
        """More is better once scores are multiplied by it."""
        return -1.0 if self.better == "lower" else 1.0

    @cached_property
    def x(self) -> NDArray[np.float64]:
        """The scores before, in the sense of quality."""
        return self.sign * self.before.scores[self.metric][self.one]

    @cached_property
    def y(self) -> NDArray[np.float64]:
        """The scores after, in the sense of quality."""
        return self.sign * self.after.scores[self.metric][self.two]

    @cached_property
    def bounds(self) -> tuple[float, float] | None:
        """What its scores are declared to keep, in the sense of quality; None where one of them does not."""
        told = (bounds_in(side.side.metrics[self.metric]) for side in (self.after, self.before))
        declared = next((bounds for bounds in told if bounds is not None), None) or self.made_bounds()
        if declared is None:
            return None
        low, high = sorted(self.sign * bound for bound in declared)
        seen = self.seen
        return (low, high) if not len(seen) or low <= seen.min() <= seen.max() <= high else None

    def made_bounds(self) -> tuple[float, float] | None:
        """Those that the metric declares by now: results of earlier versions do not tell them."""
        found: tuple[float, float] | None = getattr(self.made(self.metric), "bounds", None)
        return found

    @cached_property
    def seen(self) -> NDArray[np.float64]:
        """All scores of both sides, in the sense of quality."""
        known = np.concatenate([side.scores[self.metric] for side in (self.before, self.after)])
        found: NDArray[np.float64] = self.sign * known[~np.isnan(known)]
        return found

    @cached_property
    def worst(self) -> float:
        """What one unseen sample could cost at most."""
        if self.bounds is not None:
            return self.bounds[1] - self.bounds[0]
        return float(self.seen.max() - self.seen.min()) if len(self.seen) else 0.0

    def clusters(self) -> NDArray[np.intp] | None:
        """The number of each sample's cluster, in their order; None where no two samples are in one."""
        found = self.after.clusters, self.before.clusters
        chosen = found[0][self.two] if found[0] is not None else found[1][self.one] if found[1] is not None else None
        if chosen is None:
            return None
        names, first, places = np.unique(chosen, return_index=True, return_inverse=True)
        if len(names) == len(chosen):
            return None
        # By where each comes first: hashes differ from launch to launch, and what is drawn must not.
        numbers = np.empty(len(names), np.intp)
        numbers[np.argsort(first)] = np.arange(len(names))
        return numbers[places]

    def scores(self, *, clustered: bool) -> PairedScores:
        return PairedScores(self.x, self.y, self.bounds, self.clusters() if clustered else None)

    def statistics(self) -> tuple[list[Any], list[Any]]:
        """What each sample adds to the value of all, on both sides."""
        before, after = self.before.statistics[self.metric], self.after.statistics[self.metric]
        return [before[place] for place in self.one], [after[place] for place in self.two]

    def once(self) -> NDArray[np.int64]:
        """The draw that has each sample once."""
        return np.ones((1, len(self.one)), np.int64)

    @cached_property
    def is_mean(self) -> bool:
        """Whether its value is the mean of its scores, on both sides."""
        return is_mean(self.before, self.metric) and is_mean(self.after, self.metric)

    @cached_property
    def counts(self) -> tuple[int, int, int, int]:
        """How many samples both sides have, only the one, only the other, and with another reference."""
        return len(self.one), len(self.alone_before), len(self.alone_after), len(self.changed)

    @cached_property
    def named(self) -> tuple[str, ...]:
        """The first ids of samples that are not the same on both sides."""
        found = ids_at(self.before.side, [*self.changed, *self.alone_before][: self.most_named])
        found += ids_at(self.after.side, self.alone_after[: self.most_named - len(found)])
        return tuple(found)

    @cached_property
    def flipped(self) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
        """The places before of samples that were lost and won; None where scores are not 0 or 1."""
        if not len(self.one) or not all(((np.abs(v) == 0) | (np.abs(v) == 1)).all() for v in (self.x, self.y)):
            return None
        return self.one[self.x > self.y], self.one[self.x < self.y]

    @cached_property
    def turned(self) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
        """The same of samples with several answers, each right or wrong: less often right than before, and more often.

        None where answers are not so, or single.
        """
        sides = (self.x, self.before.answers[self.one]), (self.y, self.after.answers[self.two])
        if not len(self.one) or all((answers <= 1).all() for _, answers in sides):
            return None
        for scores, answers in sides:
            right = np.abs(scores) * answers
            if not ((np.abs(scores) <= 1) & (np.abs(right - right.round()) < ROUNDING)).all():
                return None
        return self.one[self.x > self.y + ROUNDING], self.one[self.x < self.y - ROUNDING]

    def first_ids(self, places: tuple[NDArray[np.intp], NDArray[np.intp]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The ids of the first few of both."""
        one, two = (found[: self.most_named] for found in places)
        names = ids_at(self.before.side, [*one, *two])
        return tuple(names[: len(one)]), tuple(names[len(one) :])

    def apart(self) -> str | None:
        """Why too few samples are the same on both sides, in words; None where enough are."""
        both, alone_before, alone_after, changed = self.counts
        count = alone_before + alone_after + changed
        if count <= MOST_ALONE * (count + both):
            return None
        parts = [(changed, "with another reference"), (alone_before, f"scored in {self.before.side.name} only")]
        parts.append((alone_after, f"scored in {self.after.side.name} only"))
        told = ", ".join(f"{number:,} {what}" for number, what in parts if number)
        names = ", ".join(map(brief, self.named)) + (", …" if count > len(self.named) else "")
        return f"{told}, of {count + both:,} samples: {names}"

    def check_apart(self) -> None:
        """Raise PairError where they are of other data."""
        if (told := self.apart()) is not None:
            before = self.before.side
            told = f"{before.name} is not of the same samples: {told}; accepted: 1 % of them"
            if len(self.alone_before) and not len(self.alone_after) and not len(self.changed):
                # A baseline of fewer samples would only hide what failed.
                told += "; if they failed, evaluate them again; if the data have them no more:"
            else:
                told += ";"
            raise PairError(f"metric {self.metric}: {told} {before.remedy}")


def paired_metric(
    sides: tuple[SideArrays, SideArrays],
    places: Matched,
    metric: str,
    most_named: int,
    made: Made,
    *,
    partial: bool,
    referred: bool,
) -> PairedMetric:
    """The samples of a metric beside each other. ``partial``: ``after`` has only first samples, and lacks no others.

    Where not ``referred``, references may have changed.
    """
    (before, after), (one, two) = sides, places
    there, here = before.has(metric), after.has(metric)
    both = there[one] & here[two]
    same = (before.references[one] == after.references[two]) | (not referred)
    there[one[both]] = False
    here[two[both]] = False
    if partial:
        there[one.max(initial=-1) + 1 :] = False
    found, changed = both & same, one[both & ~same]
    alone = np.flatnonzero(there), np.flatnonzero(here)
    return PairedMetric(metric, before, after, one[found], two[found], *alone, changed, most_named, made)


def is_mean(side: SideArrays, metric: str) -> bool:
    """Whether the value of a metric is the mean of its scores; a baseline may vouch for it."""
    told = side.side.metrics[metric]
    if told.get("mean") is True:
        return True
    known = ~np.isnan(side.scores[metric])
    if not known.any() or metric in side.statistics:
        return False
    return is_mean_of(side.scores[metric][known], side.answers[known], float(told["value"]))


def is_mean_of(scores: NDArray[np.float64], answers: NDArray[np.int64], value: float) -> bool:
    """Whether a value is the mean of scores, or that of all answers where some samples have several."""
    # The sum of what somebody wrote may be beyond any float: that is no mean, and nothing to warn of.
    with np.errstate(over="ignore", invalid="ignore"):
        return any(is_same_value(mean, value) for mean in (scores.mean(), np.average(scores, weights=answers)))
