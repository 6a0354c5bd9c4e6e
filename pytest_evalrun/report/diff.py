"""Two runs, or a run and a saved baseline, side by side: which pairs, which metrics, which samples flipped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.baselinelines import rounded
from pytest_evalrun.comparison.compare import TwoSides
from pytest_evalrun.comparison.conclusion import method_words
from pytest_evalrun.comparison.making import made_again
from pytest_evalrun.comparison.scoring import all_differs
from pytest_evalrun.errors import PairError
from pytest_evalrun.report.diffsides import run_in_diff
from pytest_evalrun.report.text import number
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import brief, counted, first_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_evalrun.comparison.compare import FlippedSamples, MetricComparison
    from pytest_evalrun.report.diffsides import DiffPair, DiffSide
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.stats.estimate import IntervalEstimate

MOST_NAMED = 10


@dataclass(frozen=True)
class Change:
    """One metric of one pair in both runs; ``verdict`` is better, worse or same, in the metric's own sense.

    ``low`` and ``high`` are the interval of the difference in the metric's own unit, by ``method`` at ``confidence``;
    where there is none, ``problem`` may say why.
    """

    metric: str
    before: float | None
    after: float | None
    verdict: str
    low: float | None = None
    high: float | None = None
    method: str | None = None
    n: int | None = None
    confidence: float = 0.95
    problem: str | None = None

    @property
    def maybe_chance(self) -> bool:
        """Whether the interval of the difference has 0 in it."""
        return self.low is not None and self.high is not None and self.low <= 0 <= self.high

    def line(self) -> str:
        values = f"{_number(self.before)} → {_number(self.after)}"
        if self.before is None or self.after is None:
            return f"{self.metric}  {values}"
        change = f"{self.after - self.before:+.4g}, {self.verdict}" if self.verdict != "same" else self.verdict
        return f"{self.metric}  {values}  ({change}{self._interval()})"

    def _interval(self) -> str:
        if self.low is None or self.high is None:
            return f"; no interval: {self.problem}" if self.problem else ""
        chance = ", may be chance" if self.maybe_chance and self.verdict != "same" else ""
        share = f"{100 * self.confidence:g} %"
        return f"{chance}; {self.low:+.3g} to {self.high:+.3g} at {share} by {self.method}, n={self.n:,}"

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class PairDiff:
    """The differences of a pair that both runs have; ``flips`` are of metrics that judge some samples otherwise."""

    full_id: str
    status: tuple[str, str]
    changes: tuple[Change, ...]
    flips: Mapping[str, FlippedSamples]
    remark: str | None = None

    @property
    def same(self) -> bool:
        moved = any(change.verdict != "same" for change in self.changes)
        return self.status[0] == self.status[1] and not moved and not self.flips and self.remark is None

    def lines(self) -> Iterator[str]:
        """The pair, then what changed about it."""
        before, after = self.status
        yield f"{self.full_id}  {before if before == after else f'{before} → {after}'}"
        yield from (f"  {c.line()}" for c in self.changes if c.verdict != "same" or c.metric in self.flips)
        for metric, flips in self.flips.items():
            yield from _flipped(metric, flips)
        if self.remark:
            yield f"  {self.remark}"

    def to_json(self) -> dict[str, Any]:
        return {
            "pair": self.full_id,
            "status": list(self.status),
            "same": self.same,
            "changes": [change.to_json() for change in self.changes],
            "flips": [{"metric": metric, **vars(flips)} for metric, flips in self.flips.items()],
            "remark": self.remark,
        }


@dataclass(frozen=True)
class RunDiff:
    """Two runs: pairs of one only, pairs of both, and result files that cannot be read."""

    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    pairs: tuple[PairDiff, ...]
    damaged: tuple[str, ...]

    @property
    def different(self) -> list[PairDiff]:
        return [pair for pair in self.pairs if not pair.same]

    @property
    def same(self) -> bool:
        """True where nothing differs; what cannot be read may."""
        return not (self.only_before or self.only_after or self.different or self.damaged)

    def lines(self, before: str, after: str) -> Iterator[str]:
        """Write the differences for a person; the runs are called as they were asked for."""
        yield from (f"only in {before}: {name}" for name in self.only_before)
        yield from (f"only in {after}: {name}" for name in self.only_after)
        for pair in self.different:
            yield from pair.lines()
        same = len(self.pairs) - len(self.different)
        yield f"{counted(len(self.pairs), 'pair')} in both, {same} of them the same"

    def to_json(self) -> dict[str, Any]:
        told = {"same": self.same, "only_before": list(self.only_before), "only_after": list(self.only_after)}
        return {**told, "damaged": list(self.damaged), "pairs": [pair.to_json() for pair in self.pairs]}


def diff_runs(before: RunPaths, after: RunPaths, most: int = MOST_NAMED) -> RunDiff:
    """Compare two runs; memory grows by some bytes with each sample of a pair and metric, one pair at a time."""
    return diff_sides(run_in_diff(before), run_in_diff(after), most)


def diff_sides(before: DiffSide, after: DiffSide, most: int = MOST_NAMED) -> RunDiff:
    """Compare two runs, or what was saved of them."""
    both = {name: (pair, after.pairs[name]) for name, pair in before.pairs.items() if name in after.pairs}
    both |= _first_samples(before, after)
    return RunDiff(
        tuple(name for name in before.pairs if name not in after.pairs),
        tuple(name for name in after.pairs if name not in before.pairs),
        tuple(_pair(one, two, most) for one, two in both.values()),
        (*before.damaged, *after.damaged),
    )


def _first_samples(before: DiffSide, after: DiffSide) -> dict[str, tuple[DiffPair, DiffPair]]:
    """Evaluations of as many first samples in both runs, the most there are, of pairs that not both have whole."""
    whole = {name for name in before.pairs.keys() & after.pairs.keys() if _both_scored(before, after, name)}
    found = [(pair, after.limits[name]) for name, pair in before.limits.items() if name in after.limits]
    # By the pair's own name: it takes the place of a comparison in which one side has nothing to say.
    return {one.full_id: (one, two) for one, two in found if one.full_id not in whole}


def _both_scored(before: DiffSide, after: DiffSide, name: str) -> bool:
    return before.pairs[name].has_result and after.pairs[name].has_result


def _pair(old: DiffPair, new: DiffPair, most: int) -> PairDiff:
    remarks = [*all_differs(old.scoring, new.scoring)]
    changes = [*_changes(old, new)]
    flips: dict[str, FlippedSamples] = {}
    try:
        sides = _read(old, new)
    except PairError as error:
        sides = None
        remarks.append(str(error))
    if sides is not None:
        remarks += _apart(sides, most)
        changes, flips = _looked_at(sides, changes, new.scoring, most)
    name = first_samples(old.full_id, old.limit)
    status = old.status or new.status or "saved", new.status or old.status or "saved"
    return PairDiff(name, status, tuple(changes), flips, "; ".join(remarks) or None)


def _read(old: DiffPair, new: DiffPair) -> TwoSides | None:
    """The samples of both, for all metrics that both have; without references where one of them has lost them."""
    if old.side is None or new.side is None:
        return None
    references = old.referred and new.referred
    metrics = [name for name in old.metrics if name in new.metrics]
    return TwoSides(old.side(references), new.side(references), metrics, references=references)


def _looked_at(
    sides: TwoSides, changes: Sequence[Change], scoring: Mapping[str, Any], most: int
) -> tuple[list[Change], dict[str, FlippedSamples]]:
    """The changes with their intervals, and the samples that flipped."""
    told: list[Change] = []
    flips: dict[str, FlippedSamples] = {}
    for change in changes:
        if change.before is None or change.after is None:
            told.append(change)
            continue
        moved = change.verdict != "same"
        found = sides.look(change.metric, moved=moved, most_named=most, made=lambda name: made_again(scoring, name))
        told.append(_with_interval(change, found))
        if found.flips is not None and found.flips.lost + found.flips.won:
            flips[change.metric] = found.flips
    return told, flips


def _with_interval(change: Change, found: MetricComparison) -> Change:
    """In the metric's own unit: where less is better, a loss of quality is a rise."""
    estimate: IntervalEstimate | None = found.estimate
    if estimate is None:
        return replace(change, problem=found.problem)
    low, high = (estimate.low, estimate.high) if found.better == "higher" else (-estimate.high, -estimate.low)
    return replace(
        change, low=low, high=high, method=method_words(estimate), n=estimate.n, confidence=estimate.confidence
    )


def _apart(sides: TwoSides, most: int) -> Iterator[str]:
    alone, changed = sides.apart(most)
    for count, names, what in ((*alone, "scored on one side only"), (*changed, "with another reference")):
        if count:
            named = f": {first_of([*map(brief, names)], most)}" if names else ""
            yield f"{counted(count, 'sample')} {what}{named}"


def _changes(old: DiffPair, new: DiffPair) -> Iterator[Change]:
    before, after = old.metrics, new.metrics
    for name in dict.fromkeys([*before, *after]):
        one, two = before.get(name, {}), after.get(name, {})
        better = two.get("better") or one.get("better") or "higher"
        value, now = one.get("value"), two.get("value")
        known = (rounded(value), rounded(now)) if old.saved or new.saved else (value, now)
        yield Change(name, value, now, _verdict(*known, better))


def _verdict(before: float | None, after: float | None, better: str) -> str:
    if before is None or after is None:
        return "only one has it"
    if before == after:
        return "same"
    return "better" if (after > before) == (better == "higher") else "worse"


def _flipped(metric: str, flips: FlippedSamples) -> Iterator[str]:
    for count, names, what in (
        (flips.lost, flips.first_lost, "less often right than before" if flips.often else "right before, wrong now"),
        (flips.won, flips.first_won, "more often right than before" if flips.often else "wrong before, right now"),
    ):
        if count:
            named = f": {', '.join(map(brief, names))}" if names else ""
            more = f" and {count - len(names)} more" if names and count > len(names) else ""
            yield f"  {metric}: {count} {what}{named}{more}"


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)
