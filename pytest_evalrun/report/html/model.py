"""What the page of a run says, without how it looks: templates show these, the live page too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_evalrun.report.verdict import Verdict

# What may be said of a cell beside its value.
MARKS = ("old", "limited", "skipped", "error", "pending")


@dataclass(frozen=True)
class PageProblem:
    """A pair that a person should look at first, and why: ``status`` is failed or error.

    ``anchor`` is empty where there is nothing to open: the pair has no result, or one that cannot be read.
    """

    pair: str
    anchor: str
    status: str
    reason: str


@dataclass(frozen=True)
class GateNote:
    """A gate that fails nothing and that a person should look at: ``word`` is undecided or advisory."""

    pair: str
    anchor: str
    word: str
    text: str


@dataclass(frozen=True)
class Cell:
    """One metric of one pair.

    ``low`` to ``high`` is its interval, over ``n`` of ``total`` samples; ``holds`` whether its gates do, None without
    one, ``undecided`` where the interval of one allows both. ``distance`` is how far the nearest gate is off, as a
    share of its limit: above 0 it holds. ``trend`` compares with the run before, of which ``before`` is the value;
    ``gate`` tells the gates in words.
    """

    anchor: str
    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    total: int | None = None
    holds: bool | None = None
    distance: float | None = None
    gate: str = ""
    trend: str | None = None
    before: str = ""
    marks: tuple[str, ...] = ()
    undecided: bool = False


@dataclass(frozen=True)
class Grid:
    """One metric of one suite, tasks by datasets; a cell is None where there is no such pair.

    ``better`` is ``higher`` or ``lower``.
    """

    suite: str
    metric: str
    better: str
    tasks: tuple[str, ...]
    datasets: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]


@dataclass(frozen=True)
class ScatterPoint:
    """A pair in a scatter; ``pareto`` where no other is at least as good in both."""

    anchor: str
    label: str
    x: float
    y: float
    pareto: bool


@dataclass(frozen=True)
class Scatter:
    """A metric against what it costs, of all pairs of a suite on one dataset."""

    title: str
    x_label: str
    y_label: str
    points: tuple[ScatterPoint, ...]


@dataclass(frozen=True)
class PairHead:
    """A pair in the list of pairs: ``spark`` are the values of ``metric`` in the history, the oldest first."""

    anchor: str
    id: str
    status: str
    samples_text: str
    spark: tuple[float, ...] = ()
    metric: str = ""


@dataclass(frozen=True)
class Page:
    """The page of a run. ``made`` is when, ``command`` what the run was started by, ``against`` the run before.

    ``alarms`` are lines about what got worse beyond chance. ``left_out`` says what there was no room for, and where it
    is.
    """

    run: str
    made: str
    command: str
    verdict: Verdict
    against: str | None = None
    problems: tuple[PageProblem, ...] = ()
    grids: tuple[Grid, ...] = ()
    scatters: tuple[Scatter, ...] = ()
    heads: tuple[PairHead, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[GateNote, ...] = ()
    alarms: tuple[str, ...] = ()
