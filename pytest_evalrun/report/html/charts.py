"""Where the marks of the page's drawings stand: scatters, sparklines, shares of a bar; SVG, no library."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.report.text import display_width, number
from pytest_evalrun.report.verdict import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_evalrun.report.html.model import Scatter, ScatterPoint

WIDTH, HEIGHT = 396, 268
LEFT, RIGHT, TOP, BOTTOM = 52, 384, 28, 218
MOST_TICKS = 5
# From this ratio of the largest to the smallest on, an even scale would press most points to the edge.
LOGARITHMIC_FROM = 30
# A letter's width in the drawing's units, the height of a line, and how much of a name is shown beside its point.
LETTER, LINE, LONGEST_NAME = 6.2, 14, 24
SPARK_WIDTH, SPARK_HEIGHT = 80, 20
# Between the shares of a bar that is 100 wide.
GAP = 0.25


@dataclass(frozen=True)
class AxisTick:
    """A place on an axis, in units of the drawing, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class PlotName:
    """A name beside a point: empty where there was no room; ``side`` says how it is aligned."""

    text: str = ""
    x: float = 0.0
    y: float = 0.0
    side: str = ""


@dataclass(frozen=True)
class PlotDot:
    """A point where it is drawn, and its name."""

    anchor: str
    label: str
    x: float
    y: float
    x_text: str
    y_text: str
    pareto: bool
    name: PlotName


@dataclass(frozen=True)
class ScatterPlot:
    """A scatter with its places; ``front`` are the points of the Pareto line as SVG takes them."""

    dots: tuple[PlotDot, ...]
    front: str
    x_ticks: tuple[AxisTick, ...]
    y_ticks: tuple[AxisTick, ...]
    is_log: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


class _Scale:
    """Values of one axis → places between ``start`` and ``end``; a value that is alone stands in the middle."""

    def __init__(self, values: Sequence[float], start: float, end: float, *, may_be_log: bool) -> None:
        low, high = min(values, default=0.0), max(values, default=1.0)
        # Below the smallest of normal numbers no power of ten is one.
        self.is_log = may_be_log and low >= 1e-300 and high / low >= LOGARITHMIC_FROM
        self._start, self._end = start, end
        if self.is_log:
            self.ticks = _decades(low, high)
        else:
            margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
            self.ticks = _even(low - margin, high + margin)
            if low >= 0:
                self.ticks = [tick for tick in self.ticks if tick >= 0]
        self._low, self._high = self._at(min(low, self.ticks[0])), self._at(max(high, self.ticks[-1]))

    def _at(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    def place(self, value: float) -> float:
        span = (self._high - self._low) or 1.0
        return round(self._start + (self._at(value) - self._low) / span * (self._end - self._start), 1)

    def axis_ticks(self) -> Iterator[AxisTick]:
        """Its ticks, all with as many decimals as the longest needs; powers of ten are short by themselves."""
        texts = [tick_text(tick) for tick in self.ticks]
        decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
        for tick, text in zip(self.ticks, texts, strict=True):
            yield AxisTick(self.place(tick), text if self.is_log or "e" in text else f"{tick:.{decimals}f}")


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(1, math.ceil((last - first) / MOST_TICKS))
    return [10.0**power for power in range(first, last + step, step)]


def _even(low: float, high: float) -> list[float]:
    """Round numbers around low to high."""
    rough = (high - low) / MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(count * step, 12) for count in range(first, last + 1)]


def plot_of(scatter: Scatter) -> ScatterPlot:
    """Place the points of a scatter, those with finite values, its ticks and its line."""
    points = [point for point in scatter.points if math.isfinite(point.x) and math.isfinite(point.y)]
    x_scale = _Scale([point.x for point in points], LEFT, RIGHT, may_be_log=True)
    y_scale = _Scale([point.y for point in points], BOTTOM, TOP, may_be_log=False)
    front = sorted((x_scale.place(point.x), y_scale.place(point.y)) for point in points if point.pareto)
    return ScatterPlot(
        dots=tuple(_dots(points, x_scale, y_scale)),
        front=" ".join(f"{x},{y}" for x, y in front) if len(front) > 1 else "",
        x_ticks=tuple(x_scale.axis_ticks()),
        y_ticks=tuple(y_scale.axis_ticks()),
        is_log=x_scale.is_log,
    )


def tick_text(value: float) -> str:
    """The shortest text of a round number."""
    return f"{value:g}" if abs(value) < 1e6 else f"{value:.0e}".replace("e+0", "e").replace("e+", "e")


_Box = tuple[float, float, float, float]


def _dots(points: Sequence[ScatterPoint], x_scale: _Scale, y_scale: _Scale) -> Iterator[PlotDot]:
    """The points, those of the line last, so that they lie above the others, and named first."""
    places = {id(point): (x_scale.place(point.x), y_scale.place(point.y)) for point in points}
    taken: list[_Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in places.values()]
    named = {id(point): _named(point.label, *places[id(point)], taken) for point in sorted(points, key=_not_pareto)}
    for point in sorted(points, key=lambda point: point.pareto):
        x, y = places[id(point)]
        texts = number(point.x), number(point.y)
        yield PlotDot(point.anchor, point.label, x, y, *texts, point.pareto, named[id(point)])


def _not_pareto(point: ScatterPoint) -> bool:
    return not point.pareto


def _named(label: str, x: float, y: float, taken: list[_Box]) -> PlotName:
    """The name where there is room for it: to the right of its point, or else to the left, above or below."""
    name = label if len(label) <= LONGEST_NAME else f"{label[: LONGEST_NAME - 1]}…"
    wide = display_width(name) * LETTER
    for left, base, anchor, side in (
        (x + 10, y + 4, x + 10, "start"),
        (x - 10 - wide, y + 4, x - 10, "end"),
        (x - wide / 2, y - 10, x, "mid"),
        (x - wide / 2, y + 20, x, "mid"),
    ):
        box = (left, base - LINE + 3, left + wide, base + 3)
        if left >= LEFT and box[2] <= WIDTH and box[1] >= TOP - 10 and box[3] <= BOTTOM and not _hits(box, taken):
            taken.append(box)
            return PlotName(name, round(anchor, 1), round(base, 1), side)
    return PlotName()


def _hits(box: _Box, others: Sequence[_Box]) -> bool:
    return any(box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in others)


@dataclass(frozen=True)
class SparkLine:
    """A line of values, its last point, and the first and last as words."""

    points: str
    x: float
    y: float
    words: str
    width: int = SPARK_WIDTH
    height: int = SPARK_HEIGHT


def sparkline(values: Sequence[float]) -> SparkLine:
    """Draw values over their number, from the lowest to the highest of them."""
    found = [value for value in values if math.isfinite(value)] or [0.0]
    low, span = min(found), (max(found) - min(found))
    step = (SPARK_WIDTH - 6) / max(1, len(found) - 1)
    tall = SPARK_HEIGHT - 6
    places = [
        (round(3 + i * step, 1), round(SPARK_HEIGHT / 2 if not span else 3 + tall - (value - low) / span * tall, 1))
        for i, value in enumerate(found)
    ]
    words = f"from {number(found[0])} to {number(found[-1])}"
    return SparkLine(" ".join(f"{x},{y}" for x, y in places), *places[-1], words)


@dataclass(frozen=True)
class BarShare:
    """A part of a bar 100 units wide."""

    word: str
    start: float
    width: float


def bars(counts: Mapping[str, int]) -> list[BarShare]:
    """How the pairs share a bar: of each status as many, worst first."""
    total = sum(counts.values())
    shares: list[BarShare] = []
    start = 0.0
    for word in WORDS:
        if counts.get(word):
            width = counts[word] / total * 100
            shares.append(BarShare(word, round(start, 2), round(max(width - GAP, width / 2), 2)))
            start += width
    return shares
