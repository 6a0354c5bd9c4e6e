"""Labels and the classes that they are of; pairs of a reference and a prediction, counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.datasets.values import same, spelled, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# In the table, the column of samples without an answer; no class.
NO_ANSWER = "(no answer)"
# A reference and what was predicted of it. By type too: to Python True, 1 and 1.0 are one key.
Cell = tuple[type, Any, type, Any]


class CellCounts(NamedTuple):
    """A confusion matrix as cells: the reference's place, the prediction's place, how often; ``of_row`` is its cell."""

    labels: list[str]
    rows: list[int]
    columns: list[int]
    counts: list[int]
    of_row: list[int]


def cell_of(wanted: Any, predicted: Any) -> Cell:
    return type(wanted), wanted, type(predicted), predicted


def counts_of(cells: Counter[Cell], fed: Sequence[Cell]) -> CellCounts:
    """Cells by classes in order; ``fed`` are those of single rows."""
    classes = Classes(Label.of(wanted) for _, wanted, _, _ in cells)
    named = {cell: _named(cell, classes) for cell in cells}
    counted: Counter[tuple[str, str]] = Counter()
    for cell, names in named.items():
        counted[names] += cells[cell]
    labels = sorted({label for names in counted for label in names}, key=label_order)
    place = {label: index for index, label in enumerate(labels)}
    # Sorted, so that the order in which chunks came changes neither table nor draws.
    ordered = sorted((place[reference], place[prediction], n) for (reference, prediction), n in counted.items())
    rows, columns, counts = (list(part) for part in zip(*ordered, strict=True))
    index = {(labels[row], labels[column]): at for at, (row, column, _) in enumerate(ordered)}
    return CellCounts(labels, rows, columns, counts, [index[named[cell]] for cell in fed])


def _named(cell: Cell, classes: Classes) -> tuple[str, str]:
    _, wanted, _, predicted = cell
    label = Label.of(wanted)
    if predicted is None:
        return classes.of(label), NO_ANSWER
    # What is right is on the diagonal, however it was written.
    return classes.of(label), classes.of(label if same(predicted, wanted) else Label.of(predicted))


def keep_their_classes(cells: Sequence[Cell]) -> bool:
    """Tell whether no draw can change which labels are of one class: no text spells a number that is written otherwise.

    Of ``"7.0"`` and 7 the references that were drawn decide.
    """
    labels = {Label.of(label) for cell in {*cells} for label in cell[1::2] if label is not None}
    values = {label.form for label in labels if not label.is_text}
    return not any(
        form in values and form != label.form for label in labels if label.is_text and (form := spelled(label.form))
    )


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
