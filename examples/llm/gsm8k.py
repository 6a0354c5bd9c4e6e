"""The number at the end of a solution of GSM8K, as a metric."""

from __future__ import annotations

from typing import Any

from pytest_evalrun.metrics.answers import NumberMatch


class Number(NumberMatch):
    """The share of answers that are the number behind ``####`` in the reference."""

    def hit(self, prediction: Any, reference: Any) -> bool:
        return super().hit(prediction, str(reference).rpartition("####")[2].strip())
