"""When two class labels are the same label."""

from __future__ import annotations

from typing import Any


def canonical_label(value: Any) -> str:
    """The label as text: 7, 7.0 and "7" are one class; "07" is another, because somebody wrote the zero on purpose.

    Raises ValueError for what cannot be a class label: None, lists, numbers with a fraction.
    """
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return str(value)
    if kind is bool or (kind is float and value.is_integer()):
        return str(int(value))
    raise ValueError("not a class label")


def label_order(label: str) -> tuple[bool, int, str]:
    """Sort key: whole numbers first, by value, then text."""
    try:
        return (False, int(label), label)
    except ValueError:
        return (True, 0, label)
