"""Metrics on class labels. A prediction is a label, or a list of labels best first."""

from __future__ import annotations

import math
from collections import Counter
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.datasets.values import same, spelled, written
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.bounds import SHARE
from pytest_evalrun.metrics.checks import Proportion, measured, need_samples, switch, unfit
from pytest_evalrun.metrics.intervals import (
    MAX_CELLS,
    MAX_DRAWS,
    SEED,
    chunks,
    clusters_of,
    percentiles,
    share_interval,
    wilson,
)

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_evalrun.metrics.protocol import Better, MetricValue

# In the table, the column of samples without an answer; no class.
NO_ANSWER = "(no answer)"
FEW_DRAWS = 200  # of very many rows in clusters
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


_Cell = tuple[type, Any, type, Any]


class _Counts(NamedTuple):
    """A confusion matrix as cells: the reference's place, the prediction's place, how often; ``of_row`` is its cell."""

    labels: list[str]
    rows: list[int]
    columns: list[int]
    counts: list[int]
    of_row: list[int]


class _Confusions(_Labels):
    """Counts of (reference, prediction): all that these metrics need, however many samples there are."""

    better: Better = "higher"
    bounds = SHARE
    clusters: array[int] | None = None

    def __init__(self, *, strip: bool = False) -> None:
        super().__init__(strip=strip)
        # By type too: to Python True, 1 and 1.0 are one key.
        self._cells: Counter[_Cell] = Counter()
        self._fed: list[_Cell] = []

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:
        met = [self.met(*pair) for pair in zip(predictions, references, strict=True)]
        self._note([(type(wanted), wanted, type(predicted), predicted) for predicted, wanted in met])
        return [1.0 if same(predicted, wanted) else 0.0 for predicted, wanted in met]

    def unanswered(self, references: Sequence[Any]) -> list[float | None]:
        """Count samples whose prediction holds no answer: their classes miss them, and no class has them."""
        wanted = [self._label("reference", reference) for reference in references]
        self._fractions = self._fractions or any(map(_is_fraction, wanted))
        self._note([(type(label), label, NoneType, None) for label in wanted])
        return [0.0] * len(references)

    def _note(self, cells: list[_Cell]) -> None:
        self._cells.update(cells)
        if self.clusters is not None:
            self._fed += cells

    def _counted(self) -> _Counts:
        """All that was fed, by classes in order."""
        self.refuse_scores()
        need_samples(self.name, self._cells.total())
        classes = Classes(Label.of(wanted) for _, wanted, _, _ in self._cells)
        named = {cell: self._named(cell, classes) for cell in self._cells}
        counted: Counter[tuple[str, str]] = Counter()
        for cell, names in named.items():
            counted[names] += self._cells[cell]
        labels = sorted({label for names in counted for label in names}, key=label_order)
        place = {label: index for index, label in enumerate(labels)}
        # Sorted, so that the order in which chunks came changes neither table nor draws.
        cells = sorted((place[reference], place[prediction], n) for (reference, prediction), n in counted.items())
        rows, columns, counts = (list(part) for part in zip(*cells, strict=True))
        index = {(labels[row], labels[column]): at for at, (row, column, _) in enumerate(cells)}
        return _Counts(labels, rows, columns, counts, [index[named[cell]] for cell in self._fed])

    @staticmethod
    def _named(cell: _Cell, classes: Classes) -> tuple[str, str]:
        _, wanted, _, predicted = cell
        label = Label.of(wanted)
        if predicted is None:
            return classes.of(label), NO_ANSWER
        # What is right is on the diagonal, however it was written.
        return classes.of(label), classes.of(label if same(predicted, wanted) else Label.of(predicted))


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

    def result(self) -> MetricValue:
        import numpy as np

        labels, rows, columns, counts, of_row = self._counted()
        no_class = labels.index(NO_ANSWER) if any(kind is NoneType for *_, kind, _ in self._cells) else None
        # As of each draw: scikit-learn's own number, without the second that its import takes.
        score = _MacroF1OfDraws(np.asarray(rows), np.asarray(columns), no_class)
        value = float(score(np.asarray([counts]))[0])
        places = clusters_of(self.clusters)
        if places is None:
            interval = _f1_interval(value, counts, score)
        else:
            interval = _clustered_f1_interval(value, np.asarray(of_row), places, score)
        return measured(self.name, value, sum(counts), interval, self.better)


def _f1_interval(value: float, counts: list[int], score: _MacroF1OfDraws) -> tuple[float, float]:
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


def _clustered_f1_interval(
    value: float, cells: NDArray[np.intp], places: NDArray[np.intp], score: _MacroF1OfDraws
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


class _MacroF1OfDraws:
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


class Label(NamedTuple):
    """A label in builtins that can be counted; a text is told from the number or boolean that it spells."""

    form: str
    is_text: bool

    @classmethod
    def of(cls, value: Any) -> Label:
        """Raises ValueError for what is no label."""
        return cls(written(value), type(value) is str)


class Classes:
    """The class of each label, under a name.

    "3.10" and "3.1" are two labels, and the number 3.1 is the same as both: what is the same as what does not say to
    which of them a number belongs. The references decide, for they name the classes. Each text among them is a class.
    A number or boolean is of the reference text that spells it, the plainest if several do ("3.1"), and else a class of
    its own. A predicted text that is no reference is of the class of the reference that it spells, and else its own.
    """

    def __init__(self, references: Iterable[Label]) -> None:
        listed = set(references)
        self._texts = {label.form for label in listed if label.is_text}
        self._values = {label.form for label in listed if not label.is_text}
        self._spelled: dict[str, str] = {}
        for text in sorted(self._texts):
            form = spelled(text)
            if form is not None and (text == form or form not in self._spelled):
                self._spelled[form] = text

    def of(self, label: Label) -> str:
        """The name of the label's class."""
        if not label.is_text:
            return self._spelled.get(label.form, label.form)
        form = None if label.form in self._texts else spelled(label.form)
        return form if form in self._values and form not in self._spelled else label.form


def label_order(label: str) -> tuple[bool, int, str]:
    """Sort key: whole numbers first, by value, then text."""
    try:
        return (False, int(label), label)
    except ValueError:
        return (True, 0, label)
