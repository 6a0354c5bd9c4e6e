"""The matrices of the page: what each cell says beside its value, and the scatters of values against costs."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.gatewords import is_advice
from pytest_evalrun.report.html.model import Cell, Grid, Scatter, ScatterPoint
from pytest_evalrun.report.matrix import concerned, groups, table_of
from pytest_evalrun.report.text import natural_key, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_evalrun.report.rows import Summary, SummaryRow

# Within so much of itself a value is the same as before.
SAME = 1e-9
# One point says nothing of a choice.
FEWEST_POINTS = 2
# Of more datasets than these not each has scatters of its own.
MOST_DATASETS = 4
WITHOUT_VALUE = frozenset({"error", "skipped", "pending"})


class GridMaker:
    """Makes grids of rows. ``anchors`` are those of rows by their keys; ``before`` gives earlier values of a row."""

    def __init__(
        self, before: Callable[[SummaryRow], Mapping[str, float]], anchor: Callable[[SummaryRow], str]
    ) -> None:
        self._before = before
        self._anchor = anchor

    def grids(self, summary: Summary) -> Iterator[Grid]:
        """One a suite and metric, metrics in the order in which the pairs name them."""
        for suite, rows in groups(summary):
            named = [(name, metric) for row in rows for name, metric in row.metrics.items()]
            tables = {name for name, metric in named if table_of(metric) is not None}
            for metric in dict.fromkeys(name for name, _ in named if name not in tables):
                yield self._grid(suite, metric, concerned(rows, metric))

    def _grid(self, suite: str, metric: str, rows: Sequence[SummaryRow]) -> Grid:
        tasks = tuple(dict.fromkeys(row.task for row in rows))
        datasets = tuple(sorted({row.dataset for row in rows}, key=natural_key))
        found = {(row.task, row.dataset): row for row in rows}
        cells = tuple(
            tuple(self._cell(row, metric) if (row := found.get((task, dataset))) else None for dataset in datasets)
            for task in tasks
        )
        return Grid(suite, metric, _better(rows, metric), tasks, datasets, cells)

    def _cell(self, row: SummaryRow, metric: str) -> Cell:
        marks = tuple(_marks(row))
        found = row.metrics.get(metric)
        if found is None:
            return Cell(self._anchor(row), row.status if row.status in WITHOUT_VALUE else "", marks=marks)
        value, better = found["value"], found.get("better", "higher")
        gates = [gate for gate in row.gates if gate["metric"] == metric]
        # What is advisory and past its limit neither holds nor is breached.
        judged = [gate for gate in gates if not is_advice(gate)]
        was = self._before(row).get(metric)
        return Cell(
            anchor=self._anchor(row),
            text=number(value),
            value=value,
            low=found.get("low"),
            high=found.get("high"),
            n=found.get("n"),
            total=row.samples.get("total"),
            holds=all(gate["holds"] for gate in judged) if judged else None,
            distance=min(map(distance_of, judged), default=None),
            gate=", ".join(f"{gate['kind']} {number(gate['limit'])}" for gate in gates),
            trend=None if was is None else trend_of(was, value, better),
            before="" if was is None else number(was),
            marks=marks,
            undecided=metric in row.undecided,
        )


def distance_of(gate: Mapping[str, Any]) -> float:
    """How far a value is from its limit, as a share of that; above 0 where the gate holds."""
    far: float = abs(gate["value"] - gate["limit"]) / (abs(gate["limit"]) or 1.0)
    return far if gate["holds"] else -far


def trend_of(was: float, value: float, better: str) -> str:
    """Whether a value is better or worse than it was, or the same."""
    if abs(value - was) <= SAME * max(abs(was), abs(value)):
        return "same"
    return "better" if (value > was) == (better == "higher") else "worse"


def _better(rows: Sequence[SummaryRow], metric: str) -> str:
    return next((str(row.metrics[metric].get("better")) for row in rows if metric in row.metrics), "higher")


def _marks(row: SummaryRow) -> Iterator[str]:
    if row.outdated:
        yield "old"
    if row.limit is not None:
        yield "limited"
    if row.status in WITHOUT_VALUE:
        yield row.status


# What a value is held against: the label, where it stands in a row, and whether less of it is better.
_COSTS: tuple[tuple[str, Callable[[SummaryRow], Any], bool], ...] = (
    ("p50 latency (s)", lambda row: row.pace.get("p50"), True),
    ("throughput (samples/s)", lambda row: row.pace.get("throughput"), False),
    ("model size (bytes)", lambda row: row.model_bytes, True),
    ("cost", lambda row: row.cost, True),
)


def scatters(summary: Summary, anchor: Callable[[SummaryRow], str]) -> Iterator[Scatter]:
    """The first metric of each suite and dataset against what is known of speed, size and cost.

    Of more than a few datasets the means of each model over all of them: nobody looks at a hundred drawings.
    """
    for suite, rows in groups(summary):
        found: dict[str, list[SummaryRow]] = {}
        for row in rows:
            if row.metrics:
                found.setdefault(row.dataset, []).append(row)
        if len(found) > MOST_DATASETS:
            yield from _scatters(f"{suite}, mean of {len(found)} datasets", list(_by_model(rows)), anchor, len(found))
            continue
        for dataset in sorted(found, key=natural_key):
            yield from _scatters(f"{suite} on {dataset}", [[row] for row in found[dataset]], anchor, 1)


def _by_model(rows: Sequence[SummaryRow]) -> Iterator[list[SummaryRow]]:
    models: dict[str, list[SummaryRow]] = {}
    for row in rows:
        models.setdefault(row.task, []).append(row)
    yield from models.values()


def _scatters(
    title: str, models: Sequence[Sequence[SummaryRow]], anchor: Callable[[SummaryRow], str], datasets: int
) -> Iterator[Scatter]:
    """One a cost that is known of two models or more; a model is its rows, of which all ``datasets`` must know it."""
    metric = next((name for rows in models for row in rows for name in _plain_metrics(row)), None)
    if metric is None:
        return
    having = [rows for rows in models if sum(metric in row.metrics for row in rows) == len(rows) == datasets]
    for label, cost, less in _COSTS:
        known = []
        for rows in having:
            costs, values = [cost(row) for row in rows], [row.metrics[metric]["value"] for row in rows]
            if all(map(_is_number, [*costs, *values])):
                known.append((rows[0], fmean(costs), fmean(values)))
        if len(known) >= FEWEST_POINTS and len({x for _, x, _ in known}) > 1:
            better = _better([row for row, _, _ in known], metric)
            yield Scatter(title, label, metric, tuple(_points(known, anchor, less, better)))


def _points(
    known: Sequence[tuple[SummaryRow, float, float]], anchor: Callable[[SummaryRow], str], less: bool, better: str
) -> Iterator[ScatterPoint]:
    """All of them by rising x; best are those that none beats in both."""
    costs = {row.key: x if less else -x for row, x, _ in known}
    values = {row.key: y if better == "higher" else -y for row, _, y in known}
    top: dict[Any, bool] = {}
    best: tuple[float, float] | None = None  # the highest value so far, and for how little there is that
    for row, _, _ in sorted(known, key=lambda one: (costs[one[0].key], -values[one[0].key])):
        own = values[row.key], costs[row.key]
        top[row.key] = best is None or own[0] > best[0] or own == best
        best = own if best is None or own[0] > best[0] else best
    for row, x, y in sorted(known, key=lambda one: one[1]):
        yield ScatterPoint(anchor(row), row.task, x, y, top[row.key])


def _plain_metrics(row: SummaryRow) -> Iterator[str]:
    return (name for name, metric in row.metrics.items() if table_of(metric) is None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
