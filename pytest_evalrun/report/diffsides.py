"""What is compared by ``evalrun diff``: a run, or a saved baseline, as pairs by their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.baselinefile import read_baseline
from pytest_evalrun.report.known import known_pairs
from pytest_evalrun.report.sides import scoring_of, side_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_evalrun.comparison.baselinestore import SavedBaseline
    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.rundir.layout import RunPaths


@dataclass(frozen=True)
class DiffPair:
    """A pair as one side has it. ``status`` is None of a baseline, which has none.

    ``side`` reads its samples, with their references or without; None where there are none. ``referred``: whether
    there are references to read.
    """

    full_id: str
    status: str | None
    metrics: Mapping[str, Mapping[str, Any]]
    scoring: Mapping[str, Any]
    side: Callable[[bool], Side] | None = None
    referred: bool = True
    limit: int | None = None
    has_result: bool = True

    @property
    def saved(self) -> bool:
        """Whether it is of a baseline, whose numbers are rounded."""
        return self.status is None


@dataclass(frozen=True)
class DiffSide:
    """All pairs of one side by full ids; ``limits`` are evaluations of first samples, by theirs.

    ``damaged`` are files that cannot be read.
    """

    pairs: Mapping[str, DiffPair]
    limits: Mapping[str, DiffPair] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()


def run_in_diff(paths: RunPaths) -> DiffSide:
    """The pairs of a run."""
    known = known_pairs(paths)
    damaged = tuple(f"{paths.root.name}/{name}" for name in known.damaged)
    return DiffSide(
        {pair.full_id: _of_run(paths, pair) for pair in known.pairs},
        {pair.full_id: _of_run(paths, pair) for pair in known.limits},
        damaged,
    )


def _of_run(paths: RunPaths, pair: KnownPair) -> DiffPair:
    files = paths.pair(pair.key)
    metrics = pair.row.metrics if pair.row else {}
    scored = bool(metrics) and files.scores.is_file()
    return DiffPair(
        f"{pair.suite}/{pair.task}/{pair.dataset}",
        pair.status,
        metrics,
        scoring_of(pair),
        partial(_side, paths, pair) if scored else None,
        files.predictions.is_file(),
        pair.limit,
        pair.row is not None,
    )


def _side(paths: RunPaths, pair: KnownPair, references: bool) -> Side:
    return side_of(paths, pair, references=references)


def baseline_in_diff(saved: SavedBaseline) -> DiffSide:
    """The pairs of a saved baseline."""
    pairs = {
        head.pair: DiffPair(head.pair, None, head.metrics, head.scoring, partial(_saved, head.file, saved.name))
        for head in saved.heads
    }
    return DiffSide(pairs, damaged=saved.problems)


def _saved(file: Path, name: str, _references: bool) -> Side:
    return read_baseline(file, name)
