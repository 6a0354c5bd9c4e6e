"""Metrics on class labels. A prediction is a label, or a list of labels best first."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.values import same, spelled
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.bounds import SHARE
from pytest_evalrun.metrics.checks import Proportion, measured, need_samples, switch, unfit
from pytest_evalrun.metrics.intervals import clusters_of, share_interval, wilson
from pytest_evalrun.metrics.labelcells import cell_of, counts_of, keep_their_classes
from pytest_evalrun.metrics.macrof1 import clustered_f1_interval, drawn_cells, drawn_labels, f1_interval, score_of

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

    from pytest_evalrun.metrics.labelcells import Cell, CellCounts
    from pytest_evalrun.metrics.protocol import Better, MetricValue
    from pytest_evalrun.stats.resampling import ValueOfDraws

MAX_LABELS = 1_000  # of a table that people read and that lies in a JSON file
_NEEDS = "a class label (text or a whole number)"
_NEEDS_RANKED = f"{_NEEDS}, or a list of them best first"


class _Labels:
    """The part of a metric that takes labels out of what models and datasets gave; ``strip``: without blanks around."""

    name = ""

    def __init__(self, *, strip: bool = False) -> None:
        super().__init__()
        self.strip = switch(self.name, "strip", strip)
        self._score: float | None = None
        self._fractions = False

    def met(self, prediction: Any, reference: Any) -> tuple[Any, Any]:
        """The best label that was predicted, and the one that was wanted."""
        best = prediction[0] if type(prediction) is list and prediction else prediction
        if type(best) is float and not best.is_integer():
            self._score = best
        wanted = self._label("reference", reference)
        self._fractions = self._fractions or _is_fraction(wanted)
        return self._label("prediction", best), wanted

    def _label(self, role: str, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return value.strip() if self.strip else value
        if kind is int or kind is bool or (kind is float and math.isfinite(value)):
            return value
        raise self._unfit(role, value)

    def refuse_scores(self) -> None:
        """Refuse fractions as predictions: they are scores taken for labels, unless some reference is one, too."""
        if self._score is not None and not self._fractions:
            raise self._unfit("prediction", self._score)

    def _unfit(self, role: str, value: Any) -> PairError:
        return unfit(self.name, role, value, _NEEDS if role == "reference" else _NEEDS_RANKED)


def _is_fraction(label: Any) -> bool:
    if type(label) is str:
        return "." in label and "." in (spelled(label) or "")
    return type(label) is float and not label.is_integer()


class _Right(_Labels, Proportion):
    """A share of right answers."""

    def result(self) -> MetricValue:
        self.refuse_scores()
        return super().result()


class Top1(_Right):
    """The share of samples whose best label is the reference."""

    name = "top1"

    def hit(self, prediction: Any, reference: Any) -> bool:
        return same(*self.met(prediction, reference))


class TopK(_Right):
    """The share of samples whose reference is among the k best labels."""

    name = "topk"

    def __init__(self, *, k: int = 5, strip: bool = False) -> None:
        super().__init__(strip=strip)
        if type(k) is not int or k < 1:
            raise ConfigError(f"metric topk: k is {k!r}; accepted: a whole number from 1")
        self._k = k

    def hit(self, prediction: Any, reference: Any) -> bool:
        ranked = prediction if type(prediction) is list else [prediction]
        if len(ranked) < self._k:
            needs = (
                f"a list of at least {self._k} labels, best first (of the onnx adapter: `output: {{top: {self._k}}}`)"
            )
            raise unfit("topk", "prediction", prediction, needs)
        return any(same(*self.met(label, reference)) for label in ranked[: self._k])


class _Confusions(_Labels):
    """Counts of (reference, prediction): all that these metrics need, however many samples there are."""

    better: Better = "higher"
    bounds = SHARE
    clusters: array[int] | None = None

    def __init__(self, *, strip: bool = False) -> None:
        super().__init__(strip=strip)
        self._cells: Counter[Cell] = Counter()
        self._fed: list[Cell] = []
        self._last: list[Cell] = []

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:
        met = [self.met(*pair) for pair in zip(predictions, references, strict=True)]
        self._note([cell_of(wanted, predicted) for predicted, wanted in met])
        return [1.0 if same(predicted, wanted) else 0.0 for predicted, wanted in met]

    def unanswered(self, references: Sequence[Any]) -> list[float | None]:
        """Count samples whose prediction holds no answer: their classes miss them, and no class has them."""
        wanted = [self._label("reference", reference) for reference in references]
        self._fractions = self._fractions or any(map(_is_fraction, wanted))
        self._note([cell_of(label, None) for label in wanted])
        return [0.0] * len(references)

    def _note(self, cells: list[Cell]) -> None:
        self._cells.update(cells)
        self._last = cells
        if self.clusters is not None:
            self._fed += cells

    def _counted(self) -> CellCounts:
        """All that was fed, by classes in order."""
        self.refuse_scores()
        need_samples(self.name, self._cells.total())
        return counts_of(self._cells, self._fed)


class Confusion(_Confusions):
    """The confusion matrix as a table, rows the references; its value is the accuracy."""

    name = "confusion"

    def result(self) -> MetricValue:
        labels, rows, columns, counts, of_row = self._counted()
        if len(labels) > MAX_LABELS:
            raise PairError(f"metric confusion: {len(labels)} different labels; accepted: at most {MAX_LABELS}")
        matrix = [[0] * len(labels) for _ in labels]
        for row, column, count in zip(rows, columns, counts, strict=True):
            matrix[row][column] = count
        n, right = sum(counts), sum(matrix[place][place] for place in range(len(labels)))
        table = {"labels": labels, "rows": matrix}
        scores = [float(rows[cell] == columns[cell]) for cell in of_row]
        interval = share_interval(right, scores, self.clusters) if scores else wilson(right, n)
        return measured(self.name, right / n, n, interval, self.better, table)


class MacroF1(_Confusions):
    """The mean over classes of F1; a class met only in predictions counts, with 0."""

    name = "macro_f1"

    def statistic(self) -> list[list[Any]]:
        """Reference and prediction, None without an answer, of the samples that were fed last.

        As they are: whether two are of one class is known once all references are.
        """
        return [[wanted, predicted] for _, wanted, _, predicted in self._last]

    def values_of(self, rows: Sequence[Any]) -> ValueOfDraws:
        """The value of each draw from samples with these references and predictions."""
        cells = [self._cell_of(row) for row in rows]
        need_samples(self.name, len(cells))
        return drawn_cells(cells) if keep_their_classes(cells) else drawn_labels(cells)

    def _cell_of(self, row: Any) -> Cell:
        wanted, predicted = row if isinstance(row, list) and len(row) == 2 else (None, row)
        return cell_of(
            self._label("reference", wanted), None if predicted is None else self._label("prediction", predicted)
        )

    def result(self) -> MetricValue:
        import numpy as np

        counted = self._counted()
        # As of each draw: scikit-learn's own number, without the second that its import takes.
        score = score_of(counted, self._cells)
        value = float(score(np.asarray([counted.counts]))[0])
        places = clusters_of(self.clusters)
        if places is None:
            interval = f1_interval(value, counted.counts, score)
        else:
            interval = clustered_f1_interval(value, np.asarray(counted.of_row), places, score)
        return measured(self.name, value, sum(counted.counts), interval, self.better)
