"""How a cell of a matrix looks: its shade, its signs, and the words behind them; never by colour alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.report.text import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.report.html.model import Cell, Grid

# A share of the limit from which on a value is shown as farther from its gate.
SHADES = (0.02, 0.1)
TRENDS = {"better": ("▲", "good"), "worse": ("▼", "bad"), "same": ("=", "")}


@dataclass(frozen=True)
class CellSign:
    """A sign behind a value, for whom it is read to in words."""

    sign: str
    words: str
    css: str


@dataclass(frozen=True)
class ShownCell:
    """What a cell has beside its text."""

    css: str
    signs: tuple[CellSign, ...]
    marks: tuple[str, ...]
    interval: str
    title: str


def cell_of(cell: Cell) -> ShownCell:
    """Choose shade, signs and words of a cell."""
    interval = ""
    if cell.low is not None and cell.high is not None:
        interval = f"{number(cell.low)} – {number(cell.high)}"
    return ShownCell(
        css=shade(cell),
        signs=tuple(_signs(cell)),
        marks=tuple(mark for mark in cell.marks if mark != cell.text),
        interval=interval,
        title="; ".join(_words(cell)),
    )


def occurring(grids: Iterable[Grid]) -> set[str]:
    """Tell what there is to explain in some matrices: gate, trend, interval, marks, none for a cell without a pair."""
    seen: set[str] = set()
    for cell in (cell for grid in grids for row in grid.cells for cell in row):
        if cell is None:
            seen.add("none")
            continue
        seen.update(cell.marks)
        seen.update(["undecided"] if cell.undecided else [])
        seen.update(["gate"] if cell.holds is not None else [], ["trend"] if cell.trend else [])
        seen.update(["interval"] if cell.low is not None else [])
    return seen


def shade(cell: Cell) -> str:
    """``h1`` to ``h3`` where the gate holds, ``b1`` to ``b3`` where it is breached; its state where it has no value."""
    if cell.value is None:
        return next((mark for mark in ("error", "skipped", "pending") if mark in cell.marks), "none")
    if cell.holds is None:
        return "plain"
    far = abs(cell.distance) if cell.distance is not None else 0.0
    return f"{'h' if cell.holds else 'b'}{1 + sum(far >= each for each in SHADES)}"


def _signs(cell: Cell) -> Iterator[CellSign]:
    if cell.holds is not None:
        yield CellSign("✓", "holds", "good") if cell.holds else CellSign("✗", "breached", "bad")
    if cell.undecided:
        yield CellSign("?", "undecided", "")
    if cell.trend in TRENDS:
        sign, css = TRENDS[cell.trend]
        yield CellSign(sign, f"{cell.trend}{' than' if css else ' as'} before", css)


def _words(cell: Cell) -> Iterator[str]:
    if cell.gate:
        yield f"gate: {cell.gate}{', undecided' if cell.undecided else ''}"
    if cell.distance is not None:
        yield f"{abs(cell.distance):.1%} {'inside' if cell.holds else 'off'}"
    if cell.before:
        yield f"before: {cell.before}"
    if cell.n is not None and cell.total is not None and cell.n < cell.total:
        yield f"{cell.n} of {cell.total} samples"
