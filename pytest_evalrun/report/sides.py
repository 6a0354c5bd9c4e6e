"""Pairs of a run as sides of a comparison, and which of them a baseline is saved of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.baselinestore import PairToSave
from pytest_evalrun.comparison.runside import run_side
from pytest_evalrun.report.known import known_pairs
from pytest_evalrun.rundir.results import read_result
from pytest_evalrun.suite.printable import counted, first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.rundir.layout import RunPaths

MOST_NAMED = 5
BREACHED = "failed"


def scoring_of(pair: KnownPair) -> Mapping[str, Any]:
    """What the scores depend on besides the predictions; nothing where the result does not say it."""
    found = pair.row.fingerprint.get("score") if pair.row else None
    return found if isinstance(found, dict) else {}


def side_of(paths: RunPaths, pair: KnownPair, *, references: bool = True) -> Side:
    """The pair as the run has it, called as the run is."""
    metrics = pair.row.metrics if pair.row else {}
    full_id = f"{pair.suite}/{pair.task}/{pair.dataset}"
    files = paths.pair(pair.key)
    return run_side(paths.root.name, full_id, files, metrics, scoring_of(pair), references=references)


@dataclass(frozen=True)
class Savable:
    """The pairs that a baseline can be saved of, and in words which are left out, and why."""

    pairs: tuple[PairToSave, ...]
    remarks: tuple[str, ...]


def savable(paths: RunPaths, matches: Callable[[str], bool] | None = None, *, breached: bool = False) -> Savable:
    """Choose what of a run can be a baseline: what was evaluated whole, and scored sample by sample.

    ``matches`` is asked of full ids. ``breached``: pairs that do not keep their gates, too.
    """
    known = known_pairs(paths)
    pairs: list[PairToSave] = []
    left: dict[str, list[str]] = {}
    for pair in (*known.pairs, *known.limits):
        if matches is not None and not matches(pair.full_id):
            continue
        why = _refusal(paths, pair, breached=breached)
        if why is None:
            pairs.append(PairToSave(pair.key, side_of(paths, pair), _evaluated(paths, pair)))
        else:
            left.setdefault(why, []).append(pair.full_id)
    return Savable(tuple(pairs), tuple(_left_out(left)))


def _refusal(paths: RunPaths, pair: KnownPair, *, breached: bool) -> str | None:
    """Why a pair can be no baseline: words for one as for many."""
    files = paths.pair(pair.key)
    if pair.limit is not None:
        return "of first samples alone"
    if pair.status == "error":
        # Evaluated whole, only its gates could not be judged: without a baseline, say. An older result is none.
        result = read_result(files.result)
        if result is None or result.status != "error" or not result.metrics or not files.marker.is_file():
            return "ended in an error"
    elif pair.status == BREACHED and not breached:
        return "breached gates; --breached takes these too"
    elif pair.status not in ("passed", BREACHED):
        return pair.status
    if pair.row is None or not files.result.is_file():
        return "without a result"
    if not files.scores.is_file() or not files.scores.stat().st_size:
        return "without a score of any sample"
    return None if files.predictions.is_file() else "without predictions"


def _evaluated(paths: RunPaths, pair: KnownPair) -> str:
    """When its result was written: the same each time that it is saved."""
    seconds = os.stat(paths.pair(pair.key).result).st_mtime  # noqa: PTH116 - a number is enough
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _left_out(left: Mapping[str, list[str]]) -> Iterator[str]:
    for why, names in left.items():
        reason, semicolon, remedy = why.partition("; ")
        told = f"{counted(len(names), 'pair')} left out, {reason}: {first_of(names, MOST_NAMED)}"
        yield f"{told}{semicolon}{remedy}"
