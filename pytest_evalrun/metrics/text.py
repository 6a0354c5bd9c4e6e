"""Metrics on text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.values import same, written
from pytest_evalrun.metrics.checks import Proportion, switch, unfit

if TYPE_CHECKING:
    from pytest_evalrun.metrics.protocol import Better

_NEEDS = "text or a number"


class ExactMatch(Proportion):
    """The share of predictions that equal their reference."""

    better: Better = "higher"
    name = "exact_match"

    def __init__(self, *, strip: bool = False, ignore_case: bool = False) -> None:
        super().__init__()
        self.strip = switch(self.name, "strip", strip)
        self._ignore_case = switch(self.name, "ignore_case", ignore_case)
        self._exact = not strip and not ignore_case

    def hit(self, prediction: Any, reference: Any) -> bool:
        if type(prediction) is str and type(reference) is str:
            return prediction == reference if self._exact else self._plain(prediction) == self._plain(reference)
        left, right = _scalar("prediction", prediction), _scalar("reference", reference)
        if type(left) is str:
            return self._spells(left, right)
        return self._spells(right, left) if type(right) is str else same(left, right)

    def _plain(self, text: str) -> str:
        if self.strip:
            text = text.strip()
        return text.casefold() if self._ignore_case else text

    def _spells(self, text: str, value: str | float) -> bool:
        """Tell whether a program would write the value as this text: ``7`` or ``7.0`` of 7.0, but not ``7.00``."""
        text = self._plain(text)
        return text.lower() == written(value) if type(value) is bool else text in (written(value), str(value))


def _scalar(role: str, value: Any) -> str | float:
    if type(value) in (str, int, bool) or (type(value) is float and math.isfinite(value)):
        return value  # type: ignore[no-any-return]
    raise unfit("exact_match", role, value, _NEEDS)
