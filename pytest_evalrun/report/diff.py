"""Two runs side by side: which pairs, which metrics, and which samples came out the other way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.known import known_pairs
from pytest_evalrun.report.text import number
from pytest_evalrun.rundir.samplelines import SampleLines, answer_of
from pytest_evalrun.suite.answering import TAKEN
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.report.known import KnownPair, KnownPairs
    from pytest_evalrun.rundir.layout import RunPaths

MOST_NAMED = 10
# What a metric is, as a result's fingerprint has it.
SCORED_BY = {"use": "name", "params": "parameters", "source": "code", "version": "version"}


@dataclass
class Flips:
    """The samples that a right-or-wrong metric judges differently; counted all, the first few by their ids."""

    metric: str
    lost: int = 0
    won: int = 0
    first_lost: list[str] = field(default_factory=list)
    first_won: list[str] = field(default_factory=list)

    def note(self, sample: str, before: float, after: float, most: int) -> None:
        if before > after:
            self.lost += 1
            self.first_lost += [sample] if len(self.first_lost) < most else []
        elif before < after:
            self.won += 1
            self.first_won += [sample] if len(self.first_won) < most else []

    def turned(self) -> Flips:
        """Swap better and worse, for a metric of which less is better."""
        return Flips(self.metric, self.won, self.lost, self.first_won, self.first_lost)


@dataclass(frozen=True)
class Change:
    """One metric of one pair in both runs; ``verdict`` is better, worse or same, in the metric's own sense."""

    metric: str
    before: float | None
    after: float | None
    verdict: str

    def line(self) -> str:
        values = f"{_number(self.before)} → {_number(self.after)}"
        if self.before is None or self.after is None:
            return f"{self.metric}  {values}"
        return f"{self.metric}  {values}  ({self.after - self.before:+.4g}, {self.verdict})"


@dataclass(frozen=True)
class PairDiff:
    """The differences of a pair that both runs have."""

    full_id: str
    status: tuple[str, str]
    changes: tuple[Change, ...]
    flips: tuple[Flips, ...]
    remark: str | None = None

    @property
    def same(self) -> bool:
        moved = any(change.verdict != "same" for change in self.changes)
        return self.status[0] == self.status[1] and not moved and not self.flips and self.remark is None

    def lines(self) -> Iterator[str]:
        """The pair, then what changed about it."""
        before, after = self.status
        yield f"{self.full_id}  {before if before == after else f'{before} → {after}'}"
        yield from (f"  {change.line()}" for change in self.changes if change.verdict != "same")
        for flips in self.flips:
            yield from _flipped(flips)
        if self.remark:
            yield f"  {self.remark}"


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


def diff_runs(before: RunPaths, after: RunPaths, most: int = MOST_NAMED) -> RunDiff:
    """Compare two runs; memory does not grow with their samples."""
    old, new = known_pairs(before), known_pairs(after)
    olds = {pair.full_id: pair for pair in old.pairs}
    news = {pair.full_id: pair for pair in new.pairs}
    both = {name: (pair, news[name]) for name, pair in olds.items() if name in news} | _first_samples(old, new)
    return RunDiff(
        tuple(name for name in olds if name not in news),
        tuple(name for name in news if name not in olds),
        tuple(_pair(before, one, after, two, most) for one, two in both.values()),
        tuple(f"{paths.root.name}/{name}" for paths, known in ((before, old), (after, new)) for name in known.damaged),
    )


def _first_samples(old: KnownPairs, new: KnownPairs) -> dict[str, tuple[KnownPair, KnownPair]]:
    """Evaluations of as many first samples in both runs, the most there are, of pairs that not both have whole."""
    whole = {pair.place for pair in old.pairs if pair.row} & {pair.place for pair in new.pairs if pair.row}
    news = {pair.full_id: pair for pair in new.limits}
    found = [(pair, news[pair.full_id]) for pair in old.limits if pair.full_id in news and pair.place not in whole]
    # By the pair's own name: it takes the place of a comparison in which one side has nothing to say.
    return {f"{one.place[0]}/{one.place[1]}": (one, two) for one, two in found}


def _pair(before: RunPaths, old: KnownPair, after: RunPaths, new: KnownPair, most: int) -> PairDiff:
    files = before.pair(old.key).scores, after.pair(new.key).scores
    scored = all(_metrics(pair) for pair in (old, new)) and all(path.is_file() for path in files)
    flips, remark = _flips(*files, most) if scored else ((), None)
    changes = tuple(_changes(old, new))
    lower = {name for name, metric in _metrics(new).items() if metric.get("better") == "lower"}
    turned = tuple(flip.turned() if flip.metric in lower else flip for flip in flips)
    name = first_samples(f"{old.place[0]}/{old.place[1]}", old.limit)
    remarks = [*_scored_otherwise(_scoring(old), _scoring(new)), *([remark] if remark else [])]
    return PairDiff(name, (old.status, new.status), changes, turned, "; ".join(remarks) or None)


def _scoring(pair: KnownPair) -> Mapping[str, Any]:
    """Return what the scores depend on besides the predictions; nothing where the result does not say it."""
    found = pair.row.fingerprint.get("score") if pair.row else None
    return found if isinstance(found, dict) else {}


def _scored_otherwise(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Say why values of equal predictions may differ."""
    if not old or not new:
        return
    if old.get("references") != new.get("references"):
        yield "the references differ"
    if old.get("comparison") != new.get("comparison"):
        yield "values are compared by another rule"
    if any(old.get(part) != new.get(part) for part in ("answer", "answer_rules", "choices")):
        yield "answers are taken out in another way"
    before, after = old.get("metrics", {}), new.get("metrics", {})
    for name in before.keys() & after.keys():
        yield from (
            f"metric {name}: its {what} differ{'' if what == 'parameters' else 's'}"
            for key, what in SCORED_BY.items()
            if before[name].get(key) != after[name].get(key)
        )


def _metrics(pair: KnownPair) -> Mapping[str, Mapping[str, Any]]:
    return pair.row.metrics if pair.row else {}


def _changes(old: KnownPair, new: KnownPair) -> Iterator[Change]:
    before, after = _metrics(old), _metrics(new)
    for name in dict.fromkeys([*before, *after]):
        one, two = before.get(name, {}), after.get(name, {})
        better = two.get("better") or one.get("better") or "higher"
        values: tuple[float | None, float | None] = (one.get("value"), two.get("value"))
        yield Change(name, *values, _verdict(*values, better))


def _verdict(before: float | None, after: float | None, better: str) -> str:
    if before is None or after is None:
        return "only one has it"
    if before == after:
        return "same"
    return "better" if (after > before) == (better == "higher") else "worse"


def _flips(before: Path, after: Path, most: int) -> tuple[tuple[Flips, ...], str | None]:
    """Compare the score files, both in dataset order, in one pass."""
    found: dict[str, Flips | None] = {}
    moved = alone = 0
    for old, new in _joined(SampleLines(before).ordered(), SampleLines(after).ordered()):
        if old is None or new is None:
            alone += 1
        elif old.get("id") != new.get("id"):
            moved += 1
        else:
            _note(found, old, new, most)
    flips = tuple(flips for flips in found.values() if flips is not None and flips.lost + flips.won)
    remarks = [f"{counted(alone, 'sample')} scored in one run only"] if alone else []
    remarks += [f"{counted(moved, 'sample')} replaced: the dataset changed"] if moved else []
    return flips, "; ".join(remarks) or None


def _note(found: dict[str, Flips | None], old: dict[str, Any], new: dict[str, Any], most: int) -> None:
    """A metric with any other score than 0 and 1 knows no right and wrong: None from then on."""
    for metric in (old.keys() & new.keys()) - TAKEN:
        scores = old[metric], new[metric]
        if None in scores:
            continue
        if any(score not in (0, 1) for score in scores):
            found[metric] = None
        elif (flips := found.setdefault(metric, Flips(metric))) is not None:
            flips.note(str(old["id"]), *scores, most)


def _joined(
    old: Iterator[dict[str, Any]], new: Iterator[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    """Lines of the same answer; a line that stands alone with None."""
    one, two = next(old, None), next(new, None)
    while one is not None or two is not None:
        first = min(answer_of(line) for line in (one, two) if line is not None)
        left = one if one is not None and answer_of(one) == first else None
        right = two if two is not None and answer_of(two) == first else None
        yield left, right
        one = next(old, None) if left is not None else one
        two = next(new, None) if right is not None else two


def _flipped(flips: Flips) -> Iterator[str]:
    for count, names, what in (
        (flips.lost, flips.first_lost, "right before, wrong now"),
        (flips.won, flips.first_won, "wrong before, right now"),
    ):
        if count:
            more = f" and {count - len(names)} more" if count > len(names) else ""
            yield f"  {flips.metric}: {count} {what}: {', '.join(names)}{more}"


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)
