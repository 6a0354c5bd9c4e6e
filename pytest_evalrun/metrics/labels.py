"""Labels as classes: what :func:`pytest_evalrun.datasets.values.same` says of two, made into a class of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.datasets.values import spelled, written

if TYPE_CHECKING:
    from collections.abc import Iterable


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
