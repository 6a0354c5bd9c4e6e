"""Metrics on the answers of language models: options of a question, numbers, JSON, and the share without an answer."""

from __future__ import annotations

import math
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.values import human_number
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.metrics.checks import Proportion, unfit
from pytest_evalrun.suite.jsontext import json_path, parse_json, value_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.metrics.protocol import Better


class Unanswered(Proportion):
    """The share of samples without an answer."""

    better: Better = "lower"
    name = "unanswered"

    def hit(self, prediction: Any, reference: Any) -> bool:  # noqa: ARG002 - whoever has a prediction here has an answer
        return False

    def note(self, count: int, missing: Sequence[int]) -> list[float | None]:
        """Count some samples, of which those at the places ``missing`` have no answer."""
        scores: list[float | None] = [0.0] * count
        for place in missing:
            scores[place] = 1.0
        return self.count(scores)


class Choice(Proportion):
    """The share of samples whose option was chosen.

    The prediction is an option's letter or text; the reference is its letter, its place from 0 as a number, or its
    text. ``options`` is the column that holds the options of a sample; by default that of the answer or the prompt.
    """

    name = "choice"
    takes_samples = True

    def __init__(self, *, options: str | None = None) -> None:
        super().__init__()
        self.options = options
        self.options_of: Callable[[Any], list[str]] | None = None

    def update(
        self, predictions: Sequence[Any], references: Sequence[Any], samples: Sequence[Any] = ()
    ) -> list[float | None]:
        options_of = self.options_of
        found = [()] * len(predictions) if options_of is None else [options_of(sample) for sample in samples]
        rows = zip(predictions, references, found, strict=True)
        return self.count([1.0 if self._chosen(*row) else 0.0 for row in rows])

    def _chosen(self, prediction: Any, reference: Any, options: Sequence[str]) -> bool:
        wanted = _place(reference, options)
        if wanted is None:
            there = f"one of {len(options)} options: its letter, its text, its place from 0 as a number"
            needs = there if options else "a letter, or a place from 0 as a number (the text with `options: COLUMN`)"
            raise unfit(self.name, "reference", reference, needs)
        return type(prediction) is str and _place(prediction, options) == wanted


def _place(value: Any, options: Sequence[str]) -> int | None:
    """The place of an option by its letter, text or place; a letter comes before a text that looks like one."""
    count = len(options) or len(ascii_uppercase)
    if type(value) is int:
        return value if 0 <= value < count else None
    if type(value) is not str:
        return None
    text = value.strip()
    if len(text) == 1 and 0 <= (place := ascii_uppercase.find(text.upper())) < count:
        return place
    return next((place for place, option in enumerate(options) if option.strip() == text), None)


class NumberMatch(Proportion):
    """The share of predictions that are the number of their reference: ``1,000`` is 1000, ``50%`` is 0.5.

    Within ``abs`` of it, or within ``rel`` times it, whichever is more. What is no number is wrong.
    """

    name = "number"

    def __init__(self, *, abs: float = 0.0, rel: float = 1e-9) -> None:  # noqa: A002 - as pytest.approx calls them
        super().__init__()
        for key, tolerance in (("abs", abs), ("rel", rel)):
            if type(tolerance) not in (int, float) or not 0 <= tolerance < math.inf:
                raise ConfigError(f"metric number: {key} is {tolerance!r}; accepted: a number from 0")
        self._abs, self._rel = abs, rel

    def hit(self, prediction: Any, reference: Any) -> bool:
        wanted = _number(reference)
        if wanted is None:
            raise unfit(self.name, "reference", reference, "a finite number")
        found = _number(prediction)
        if found is None:
            return False
        if found == wanted:  # whole numbers beyond all floats, too
            return True
        return _distance(found, wanted) <= max(self._abs, self._rel * _size(wanted))


def _number(value: Any) -> float | None:
    if type(value) is str:
        return human_number(value)
    if type(value) is int:
        return value
    return value if type(value) is float and math.isfinite(value) else None


def _distance(left: float, right: float) -> float:
    try:
        return float(abs(left - right))
    except OverflowError:
        return math.inf


def _size(number: float) -> float:
    try:
        return abs(float(number))
    except OverflowError:
        return 0.0


class JsonMatch(Proportion):
    """The share of predictions that are the JSON value of their reference, whatever the order of keys.

    Text is read as JSON where it is JSON. ``fields``: only these paths, as in ``path.to[0].field``, are compared.
    """

    name = "json_match"

    def __init__(self, *, fields: Any = None) -> None:
        super().__init__()
        if fields is not None and (not isinstance(fields, list) or not fields):
            raise ConfigError(f"metric json_match: fields is {fields!r}; accepted: a list of paths")
        try:
            self._paths = None if fields is None else [json_path(str(field)) for field in fields]
        except ValueError as error:
            raise ConfigError(f"metric json_match: fields is {fields!r}; accepted: {error}") from None

    def hit(self, prediction: Any, reference: Any) -> bool:
        if reference is None:
            raise unfit(self.name, "reference", reference, "a JSON value")
        found, wanted = _json_value(prediction), _json_value(reference)
        if self._paths is None:
            return _equal(found, wanted)
        for path in self._paths:
            try:
                expected = value_at(wanted, path)
            except LookupError:
                raise unfit(self.name, "reference", reference, "every path of `fields`") from None
            try:
                if not _equal(value_at(found, path), expected):
                    return False
            except LookupError:
                return False
        return True


def _json_value(value: Any) -> Any:
    if type(value) is not str:
        return value
    try:
        return parse_json(value)
    except ValueError:
        return value


def _equal(left: Any, right: Any) -> bool:
    """As JSON values: 1 is 1.0, but true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
