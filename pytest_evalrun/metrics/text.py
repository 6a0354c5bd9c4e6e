"""Metrics on text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.metrics.checks import unfit
from pytest_evalrun.metrics.proportion import Proportion

if TYPE_CHECKING:
    from pytest_evalrun.metrics.protocol import Better

_NEEDS = "text or a number"


class ExactMatch(Proportion):
    """The share of predictions that equal their reference."""

    better: Better = "higher"
    name = "exact_match"

    def __init__(self, *, strip: bool = False, ignore_case: bool = False) -> None:
        super().__init__()
        for key, value in (("strip", strip), ("ignore_case", ignore_case)):
            if type(value) is not bool:
                raise ConfigError(f"metric exact_match: {key} is {value!r}; accepted: true, false")
        self._strip = strip
        self._ignore_case = ignore_case

    def hit(self, prediction: Any, reference: Any) -> bool:
        if type(prediction) is str and type(reference) is str:
            return self._plain(prediction) == self._plain(reference)
        left, right = _scalar("prediction", prediction), _scalar("reference", reference)
        # Tables turn digits into numbers: a text beside a number is therefore read as a number.
        return _number(left) == _number(right)

    def _plain(self, text: str) -> str:
        if self._strip:
            text = text.strip()
        return text.casefold() if self._ignore_case else text


def _scalar(role: str, value: Any) -> str | float:
    if type(value) in (str, int, bool) or (type(value) is float and value == value):
        return value  # type: ignore[no-any-return]
    raise unfit("exact_match", role, value, _NEEDS)


def _number(value: str | float) -> str | float:
    if not isinstance(value, str):
        return value
    for parse in (int, float):
        try:
            return parse(value)
        except ValueError:
            continue
    return value
