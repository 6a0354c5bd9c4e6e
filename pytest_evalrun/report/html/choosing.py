"""Which samples of a pair the page shows: those that a person would look for first, then a spread over all of them."""

from __future__ import annotations

import heapq
import math
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.samplelines import NotInOrder, answer_of, parsed, sample_lines
from pytest_evalrun.suite.answering import TAKEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    Line = Mapping[str, Any]
    Place = tuple[int, int]

MOST = 200
# So many of each kind come before the others of it.
FEW = {"flipped": 60, "failed": 40, "wrong": 60, "worst": 20, "best": 10}
WORSE, BETTER = "lost", "won"
# Bins of a decade, in the histogram of seconds.
BINS = 6
SHORTEST = 1e-6
# What stands in the line of a sample that failed, and may stand in others.
FAILED = b'"failed"'
_RIGHT_OR_WRONG = frozenset({0, 1})


class Flipped:
    """Which samples a right-or-wrong metric judges otherwise than another run did, asked for in dataset order.

    ``path`` are that run's scores, None where there is none to compare with; ``lower`` the metrics of which less is
    better.
    """

    def __init__(self, path: Path | None, lower: frozenset[str] = frozenset()) -> None:
        self._lower = lower
        self._before: Iterator[Line] = iter(sample_lines(path)) if path is not None and path.is_file() else iter(())
        self._next = next(self._before, None)

    def of(self, line: Line, score: Line) -> dict[str, str]:
        """Metric → ``lost`` or ``won``, of an answer to the same sample."""
        if self._next is None:
            return {}
        place = answer_of(line)
        while self._next is not None and answer_of(self._next) < place:
            self._next = next(self._before, None)
        if self._next is None or answer_of(self._next) != place or self._next.get("id") != line.get("id"):
            return {}
        return dict(self._turned(self._next, score))

    def _turned(self, old: Line, new: Line) -> Iterator[tuple[str, str]]:
        for name, after in new.items():
            before = old.get(name)
            if name in TAKEN or before == after or before not in (0, 1) or after not in (0, 1):
                continue
            yield name, BETTER if (after > before) != (name in self._lower) else WORSE


@dataclass
class SecondsBins:
    """Seconds in bins of a part of a decade: what there is to see of any number of samples."""

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: Any, times: int = 1) -> None:
        if type(seconds) in (int, float) and 0 <= seconds < math.inf:
            self.counts[math.floor(math.log10(max(seconds, SHORTEST)) * BINS)] += times

    def histogram(self) -> dict[str, list[float]] | None:
        """Edges in seconds, and one count fewer; None where nothing was timed."""
        if not self.counts:
            return None
        bins = range(min(self.counts), max(self.counts) + 1)
        edges = [float(f"{10 ** (number / BINS):.3g}") for number in (*bins, bins.stop)]
        return {"edges": edges, "counts": [self.counts[number] for number in bins]}


@dataclass
class Chosen:
    """What was seen of a pair's answers. ``places`` are the chosen ones, the most telling first, with their flips.

    ``scored`` are the metrics that score samples one by one, ``binary`` those of them that say right or wrong.
    """

    total: int = 0
    places: dict[Place, dict[str, str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    scored: list[str] = field(default_factory=list)
    binary: list[str] = field(default_factory=list)
    histogram: dict[str, list[float]] | None = None


class SampleChoice:
    """Goes through the answers of a pair once and remembers at most ``most`` of each kind."""

    def __init__(self, better: Mapping[str, str], flipped: Flipped, most: int = MOST) -> None:
        self._better = better
        self._flipped = flipped
        self._most = most
        self._latencies = SecondsBins()
        self._total = self._failed = self._turned = 0
        self._kinds: dict[str, dict[Place, dict[str, str]]] = {"flipped": {}, "failed": {}, "wrong": {}}
        self._ends: dict[str, tuple[list[Any], list[Any]]] = {}
        self._spread: list[Place] = []
        self._step = 1
        self._graded: set[str] = set()
        # How many were plainly wrong by just these metrics: which of them have degrees is known at the end.
        self._wrong: Counter[frozenset[str]] = Counter()
        self._wrong_by: dict[Place, frozenset[str]] = {}

    def over(self, scored: Iterable[tuple[Line, Line]]) -> Chosen:
        if isinstance(scored, list) and len(scored) <= self._most:
            return self._few(scored)
        for line, score in scored:
            self._see(line, score)
        return self._chosen()

    def _few(self, scored: list[tuple[Line, Line]]) -> Chosen:
        """The same of so few that all are chosen: most pairs of many are tiny, and this is what they cost."""
        for line, _ in scored:
            self._latencies.add(line.get("seconds"))
        places = {answer_of(line): self._flipped.of(line, score) for line, score in scored}
        found = [score for line, score in scored if line.get("status") == "ok"]
        graded: dict[str, bool] = {}
        wrong: set[int] = set()
        for name, better in self._better.items():
            values = [score.get(name) for score in found]
            numbers = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
            if numbers:
                graded[name] = not {*numbers} <= _RIGHT_OR_WRONG
                bad = None if graded[name] else 0 if better == "higher" else 1
                wrong.update(at for at, value in enumerate(values) if value is not None and value == bad)
        return Chosen(
            total=len(scored),
            places=places,
            counts={
                "flipped": sum(map(bool, places.values())),
                "failed": len(scored) - len(found),
                "wrong": len(wrong),
            },
            scored=list(graded),
            binary=[name for name, degrees in graded.items() if not degrees],
            histogram=self._latencies.histogram(),
        )

    def in_passing(self, scores: Iterable[Line], raw: Iterable[bytes], every: int) -> Chosen:
        """The same of a large pair: all its scores, and of its predictions those that failed, and one of ``every``.

        Raises NotInOrder for a line of these that is damaged.
        """
        for score in scores:
            self._judge(answer_of(score), score, self._flipped.of(score, score))
        for data in raw:
            spread = self._total % every == 0
            self._total += 1
            if spread or FAILED in data:
                line = parsed(data, sys.maxsize)
                if line is None:
                    raise NotInOrder
                if spread:
                    self._spread.append(answer_of(line))
                    self._latencies.add(line.get("seconds"), every)
                self._look_at(answer_of(line), line, {})
        return self._chosen()

    def _see(self, line: Line, score: Line) -> None:
        place = line["index"], line.get("generation") or 0
        if self._total % self._step == 0:
            self._into_spread(place)
        self._total += 1
        self._latencies.add(line.get("seconds"))
        flip = self._flipped.of(line, score)
        if self._look_at(place, line, flip):
            self._judge(place, score, flip)

    def _look_at(self, place: Place, line: Line, flip: dict[str, str]) -> bool:
        """Tell whether there is an answer."""
        if line.get("status") == "ok":
            return True
        self._failed += 1
        self._keep("failed", place, flip)
        return False

    def _judge(self, place: Place, score: Line, flip: dict[str, str]) -> None:
        wrong: set[str] = set()
        if flip:
            self._turned += 1
            self._keep("flipped", place, flip)
        for name, better in self._better.items():
            value = score.get(name)
            if not isinstance(value, int | float) or not math.isfinite(value):
                continue
            if self._grade(name, value, better, place):
                wrong.add(name)
        if wrong:
            self._wrong[metrics := frozenset(wrong)] += 1
            self._keep("wrong", place, flip)
            if place in self._kinds["wrong"]:
                self._wrong_by[place] = metrics

    def _grade(self, name: str, value: float, better: str, place: Place) -> bool:
        """Remember the ends of a metric; tells whether the answer is plainly wrong by it."""
        ends = self._ends.get(name)
        if ends is None:
            ends = self._ends[name] = ([], [])
        if value not in (0, 1) and name not in self._graded:
            self._graded.add(name)
            bad = 0 if better == "higher" else -1  # as the wrong ones before it were graded
            by_it = (place for place, metrics in self._wrong_by.items() if name in metrics)
            ends[0].extend((-bad, (-index, -number)) for index, number in islice(by_it, FEW["worst"]))
            heapq.heapify(ends[0])
        if name in self._graded:  # of the others the right and the wrong ones are its ends
            good = value if better == "higher" else -value
            minus = (-place[0], -place[1])
            for heap, entry, most in ((ends[0], (-good, minus), FEW["worst"]), (ends[1], (good, minus), FEW["best"])):
                if len(heap) < most:
                    heapq.heappush(heap, entry)
                elif entry > heap[0]:
                    heapq.heapreplace(heap, entry)
            return False
        return value == (0 if better == "higher" else 1)

    def _keep(self, kind: str, place: Place, flip: dict[str, str]) -> None:
        kept = self._kinds[kind]
        if len(kept) < self._most:
            kept[place] = flip

    def _into_spread(self, place: Place) -> None:
        """Every so many: twice as far from each other whenever there are too many."""
        self._spread.append(place)
        if len(self._spread) > 2 * self._most:
            self._spread = self._spread[::2]
            self._step *= 2

    def _chosen(self) -> Chosen:
        scored = list(self._ends)
        binary = [name for name in scored if name not in self._graded]
        # A share that happened to be 0 before any other was seen is no wrong answer.
        kept = self._kinds["wrong"]
        self._kinds["wrong"] = {place: kept[place] for place, by in self._wrong_by.items() if by.intersection(binary)}
        wrong = sum(count for by, count in self._wrong.items() if by.intersection(binary))
        return Chosen(
            total=self._total,
            places=self._first(),
            counts={"flipped": self._turned, "failed": self._failed, "wrong": wrong},
            scored=scored,
            binary=binary,
            histogram=self._latencies.histogram(),
        )

    def _first(self) -> dict[Place, dict[str, str]]:
        """The first few of each kind, then a spread, then what is left of the kinds."""
        flips = self._kinds["flipped"]
        found: dict[Place, dict[str, str]] = {}

        def take(places: Iterable[Place], most: int) -> None:
            for place in places:
                if len(found) >= self._most or most <= 0:
                    return
                if place not in found:
                    found[place] = flips.get(place, {})
                    most -= 1

        if self._total <= self._most:
            take(self._spread, self._most)
            return found
        for kind, kept in self._kinds.items():
            take(kept, FEW[kind])
        for name, (worst, best) in self._ends.items():
            if name in self._graded:
                take(_places(worst), FEW["worst"])
                take(_places(best), FEW["best"])
        take(self._spread[:: max(1, len(self._spread) // FEW["worst"])], FEW["worst"])
        for kept in self._kinds.values():
            take(kept, self._most)
        take(self._spread[:: -(-len(self._spread) // max(1, self._most - len(found)))], self._most)
        take(self._spread, self._most)
        return found


def _places(heap: list[tuple[float, Place]]) -> Iterator[Place]:
    return ((-index, -generation) for _, (index, generation) in sorted(heap, reverse=True))
