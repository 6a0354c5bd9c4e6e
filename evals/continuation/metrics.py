"""What the continuations of a sequence are worth."""

from __future__ import annotations

from typing import Any


def found(prediction: list[dict[str, Any]], reference: str) -> float:
    """Whether the true next term is among them."""
    return float(any(row["continuation"] == reference for row in prediction))


def rows(prediction: list[dict[str, Any]], reference: str) -> float:  # noqa: ARG001 - right or wrong
    """How many continuations the program wrote for a sequence."""
    return float(len(prediction))
