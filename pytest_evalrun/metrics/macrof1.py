"""Macro F1 of many draws at once, by the few cells of a confusion matrix that samples are in."""

from __future__ import annotations

from collections import Counter
from types import NoneType
from typing import TYPE_CHECKING

from pytest_evalrun.metrics.intervals import MAX_CELLS, MAX_DRAWS, SEED, chunks, percentiles
from pytest_evalrun.metrics.labelcells import NO_ANSWER, counts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_evalrun.metrics.labelcells import Cell, CellCounts
    from pytest_evalrun.stats.resampling import ValueOfDraws

FEW_DRAWS = 200  # of very many rows in clusters


def score_of(counted: CellCounts, cells: Iterable[Cell]) -> MacroF1OfDraws:
    import numpy as np

    no_class = counted.labels.index(NO_ANSWER) if any(kind is NoneType for *_, kind, _ in cells) else None
    return MacroF1OfDraws(np.asarray(counted.rows), np.asarray(counted.columns), no_class)


def f1_interval(value: float, counts: list[int], score: MacroF1OfDraws) -> tuple[float, float]:
    """Resampling samples is drawing the cells of their confusion matrix from a multinomial, at less cost."""
    import numpy as np

    cells = np.asarray(counts, dtype=np.float64)
    n, width = int(cells.sum()), len(counts)
    if n < 2:
        return value, value
    rng = np.random.default_rng(SEED)
    draws = min(MAX_DRAWS, max(1, MAX_CELLS // width))
    drawn = [score(rng.multinomial(n, cells / n, size)) for size in chunks(draws, width)]
    return percentiles(value, np.concatenate(drawn))


def clustered_f1_interval(
    value: float, cells: NDArray[np.intp], places: NDArray[np.intp], score: MacroF1OfDraws
) -> tuple[float, float]:
    """Draw samples with all of their rows: a row's cell counts as often as its sample was drawn."""
    import numpy as np

    clusters, width = int(places.max()) + 1, int(cells.max()) + 1
    if clusters < 2:
        return value, value
    rng = np.random.default_rng(SEED)
    draws = min(MAX_DRAWS, max(FEW_DRAWS, MAX_CELLS // len(cells)))
    drawn = []
    for count in chunks(draws, width):
        times = [np.bincount(rng.integers(0, clusters, clusters), minlength=clusters) for _ in range(count)]
        drawn.append(score(np.stack([np.bincount(cells, each[places], width) for each in times])))
    return percentiles(value, np.concatenate(drawn))


def drawn_cells(cells: Sequence[Cell]) -> ValueOfDraws:
    """Draws of samples as draws of the few cells that they are in."""
    import numpy as np

    distinct = Counter(cells)
    counted = counts_of(distinct, cells)
    score, width = score_of(counted, distinct), len(counted.counts)
    of_row = np.asarray(counted.of_row)

    def values(draws: NDArray[np.int64]) -> NDArray[np.float64]:
        drawn = [score(_times(of_row, some, width)) for some in _in_chunks(draws, width)]
        return np.concatenate(drawn)

    return values


def drawn_labels(cells: Sequence[Cell]) -> ValueOfDraws:
    """The same where each draw has classes of its own."""
    import numpy as np

    place = {cell: at for at, cell in enumerate({*cells})}
    of_row = np.asarray([place[cell] for cell in cells])

    def value(times: list[int]) -> float:
        drawn = Counter({cell: times[at] for cell, at in place.items() if times[at]})
        counted = counts_of(drawn, ())
        return float(score_of(counted, drawn)(np.asarray([counted.counts]))[0])

    return lambda draws: np.asarray([value(_times(of_row, each[None], len(place))[0].tolist()) for each in draws])


def _times(of_row: NDArray[np.intp], draws: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """How often each cell was drawn, draws x cells."""
    import numpy as np

    return np.stack([np.bincount(of_row, each, width) for each in draws]).astype(np.int64)


def _in_chunks(draws: NDArray[np.int64], width: int) -> Iterator[NDArray[np.int64]]:
    start = 0
    for count in chunks(len(draws), width):
        yield draws[start : start + count]
        start += count


class MacroF1OfDraws:
    """Macro F1 of many confusion matrices at once, each over the classes that it holds, as scikit-learn has it."""

    def __init__(self, rows: NDArray[np.intp], columns: NDArray[np.intp], no_class: int | None = None) -> None:
        self._rows, self._columns, self._no_class = rows, columns, no_class
        self._classes = int(max(rows.max(), columns.max())) + 1

    def __call__(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        import numpy as np

        diagonal = self._rows == self._columns
        right = np.zeros((len(drawn), self._classes))
        right[:, self._rows[diagonal]] = drawn[:, diagonal]
        met = self._sums(drawn, self._rows) + self._sums(drawn, self._columns)
        if self._no_class is not None:
            met[:, self._no_class] = 0
        f1 = np.divide(2 * right, met, out=np.zeros_like(right), where=met > 0)
        mean: NDArray[np.float64] = f1.sum(axis=1) / np.count_nonzero(met, axis=1)
        return mean

    def _sums(self, drawn: NDArray[np.int64], places: NDArray[np.intp]) -> NDArray[np.float64]:
        """Add up the cells of one class."""
        import numpy as np

        order = np.argsort(places, kind="stable")
        classes, starts = np.unique(places[order], return_index=True)
        sums = np.zeros((len(drawn), self._classes))
        sums[:, classes] = np.add.reduceat(drawn[:, order], starts, axis=1)
        return sums
