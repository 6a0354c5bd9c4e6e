"""What ``evalrun gate`` looks at: both sides by their names, the gates that hold, and what suites know of metrics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.comparison.candidate import Judging, judge_pairs
from pytest_evalrun.comparison.decision import decide
from pytest_evalrun.comparison.policy import AskedGate, read_policy
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.gatesides import baseline_sides, find_compared, run_sides
from pytest_evalrun.report.known import on_disk, suites_of
from pytest_evalrun.report.runs import FoundRun
from pytest_evalrun.suite.printable import counted, first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_evalrun.comparison.candidate import PairSides
    from pytest_evalrun.comparison.decision import Decision
    from pytest_evalrun.comparison.judged import ValueEstimate
    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.metrics.protocol import Metric
    from pytest_evalrun.suite.discovery import Suite
    from pytest_evalrun.suite.gates import GateRules
    from pytest_evalrun.suite.pairs import Pair

MOST_NAMED = 5
# Where nothing was judged: without a policy, and with one.
REMEDY = "give --policy FILE, or set max_drop in the suites"
OF_POLICY = "accepted: a policy with a gate of the tier critical or supporting for one of these pairs"


def decided(
    base: str, candidate: str, file: Path | None, matches: Callable[[str], bool] | None, workdir: Path
) -> Decision:
    """Judge a candidate. Raises ConfigError where it cannot even be begun; ``matches`` chooses pairs by their ids."""
    policy = read_policy(file) if file is not None else None
    before, after, suites = _found(base, candidate, workdir, has_policy=policy is not None)
    if policy is not None and not before.damaged:
        policy.check(_metrics(before, after))
    known = _Known({pair.full_id: pair for suite in suites for pair in suite.pairs})
    source = policy.source if policy is not None else f"max_drop in the suites of {after.name}"
    judging = Judging(policy.gates_of if policy is not None else known.gates, known.metric, known.interval)
    if matches is not None:
        before, after = before.among(matches), after.among(matches)
    remarks = [*before.remarks, *after.remarks, *_beside(before, after)]
    remedy = OF_POLICY if policy is not None else REMEDY
    return decide(before.name, after.name, list(judge_pairs(before, after, judging)), source, remarks, remedy)


def _found(
    base: str, candidate: str, workdir: Path, *, has_policy: bool
) -> tuple[PairSides, PairSides, Sequence[Suite]]:
    """Both sides, and the suites of the candidate as they are today."""
    roots = [Path.cwd(), workdir.absolute()]
    new = find_compared(candidate, workdir, roots)
    suites = _suites(new, has_policy=has_policy)
    old = find_compared(base, workdir, [*roots, *(Path(suite.root) for suite in suites)])
    if _place(old) == _place(new):
        raise ConfigError(f"{base} and {candidate} are one and the same; name two: what is equal to itself is no news")
    if isinstance(new, FoundRun):
        after = run_sides(new, on_disk(new.paths, suites) if suites else None)
    else:
        after = baseline_sides(candidate, new)
    return run_sides(old) if isinstance(old, FoundRun) else baseline_sides(base, old), after, suites


def _place(found: FoundRun | Sequence[Path]) -> list[Path]:
    places = [found.paths.root] if isinstance(found, FoundRun) else found
    return sorted(place.resolve() for place in places)


def _suites(found: FoundRun | Sequence[Path], *, has_policy: bool) -> Sequence[Suite]:
    """Those of a run. With a policy they only say how a metric is made again, and may be wrong or gone."""
    if not isinstance(found, FoundRun):
        if not has_policy:
            raise ConfigError("CANDIDATE is a saved baseline, of which no suite says its gates; give --policy FILE")
        return ()
    try:
        suites = suites_of(found.paths)
    except ConfigError:
        if not has_policy:
            raise
        return ()
    if not suites and not has_policy:
        raise ConfigError(f"{found.name}: no suite of it is there to say its gates; give --policy FILE")
    return suites


def _metrics(*sides: PairSides) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for side in (side for each in sides for side in each.pairs.values()):
        found.setdefault(side.pair, set()).update(side.metrics)
    return found


def _beside(before: PairSides, after: PairSides) -> Iterator[str]:
    """What is not judged, by name: nobody shall take it for judged."""
    told = {
        f"only in {after.name}, and not judged": after.pairs.keys() - before.pairs.keys() - before.damaged.keys(),
        f"without a result in {before.name}, and not judged": before.lacking.keys(),
    }
    for text, pairs in told.items():
        if pairs:
            yield f"{counted(len(pairs), 'pair')} {text}: {first_of(sorted(pairs), MOST_NAMED)}"


class _Known:
    """What the suites of the candidate know of its pairs, by their full ids."""

    def __init__(self, pairs: Mapping[str, Pair]) -> None:
        self._pairs = pairs

    def gates(self, full_id: str) -> list[AskedGate] | None:
        """The gates that are about a drop, measured from the base whatever their own baseline is."""
        pair = self._pairs.get(full_id)
        if pair is None:
            return None
        rules = pair.settings.gate_rules
        return [
            AskedGate(metric, replace(gate, min=None, max=None), rules, clustered=rules.cluster is not None)
            for metric, gate in pair.settings.gates.items()
            if gate.max_drop is not None
        ]

    def metric(self, full_id: str, row: str) -> Metric | None:
        """A metric of a pair made again."""
        from pytest_evalrun.evaluation.columns import metric_of_row

        pair = self._pairs.get(full_id)
        return None if pair is None else metric_of_row(row, pair)

    def interval(self, full_id: str, side: Side, metric: str, rules: GateRules) -> ValueEstimate:
        """The interval of one value."""
        from pytest_evalrun.evaluation.intervals import ValueInterval, interval_of

        pair = self._pairs.get(full_id)
        if pair is None:
            return ValueInterval(None, "its suite is not there, and nobody knows how its value is made")
        # A policy names no column: clusters are those that the suite had written beside the scores.
        return interval_of(pair, side, metric, replace(rules, cluster=pair.settings.gate_rules.cluster))
