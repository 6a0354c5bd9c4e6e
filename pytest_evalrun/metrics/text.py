"""Metrics on text."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.values import same, written
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.metrics.checks import Proportion, switch, unfit
from pytest_evalrun.metrics.means import MeanOfScores, text_of, texts_of

if TYPE_CHECKING:
    from pytest_evalrun.metrics.protocol import Better

_NEEDS = "text or a number"
MOST_FORMS = 1_000  # patterns that are kept
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


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


class Includes(Proportion):
    """The share of predictions that have their reference in them, or any of a list of references."""

    name = "includes"

    def __init__(self, *, ignore_case: bool = False) -> None:
        super().__init__()
        self._ignore_case = switch(self.name, "ignore_case", ignore_case)

    def hit(self, prediction: Any, reference: Any) -> bool:
        text, wanted = text_of(self.name, "prediction", prediction), texts_of(self.name, reference)
        if self._ignore_case:
            text, wanted = text.casefold(), [each.casefold() for each in wanted]
        # Nothing is in everything: an empty reference would make every answer a right one.
        if not all(wanted):
            raise unfit(self.name, "reference", reference, "text that is not empty")
        return any(each in text for each in wanted)


class RegexMatch(Proportion):
    """The share of predictions in which a pattern is found: the one given, or the reference."""

    name = "regex"

    def __init__(self, *, pattern: str | None = None, ignore_case: bool = False, full: bool = False) -> None:
        super().__init__()
        self._flags = re.IGNORECASE if switch(self.name, "ignore_case", ignore_case) else re.NOFLAG
        self._full = switch(self.name, "full", full)
        self._forms: dict[str, re.Pattern[str]] = {}
        self._pattern = None
        if pattern is not None:
            try:
                self._pattern = re.compile(pattern, self._flags)
            except (re.error, TypeError, OverflowError, RecursionError) as error:
                needs = f"a regular expression of Python's ({error})"
                raise ConfigError(f"metric regex: pattern is {pattern!r}; accepted: {needs}") from None

    def hit(self, prediction: Any, reference: Any) -> bool:
        form = self._pattern or self._compiled(reference)
        text = text_of(self.name, "prediction", prediction)
        return (form.fullmatch(text) if self._full else form.search(text)) is not None

    def _compiled(self, reference: Any) -> re.Pattern[str]:
        text = text_of(self.name, "reference", reference)
        if (form := self._forms.get(text)) is None:
            try:
                form = re.compile(text, self._flags)
            except (re.error, OverflowError, RecursionError) as error:
                raise unfit(self.name, "reference", reference, f"a regular expression ({error})") from None
            if len(self._forms) < MOST_FORMS:
                self._forms[text] = form
        return form


class TokenF1(MeanOfScores):
    """The mean F1 of the words that prediction and reference share, as SQuAD has it; of several references the best."""

    name = "f1"

    def score(self, prediction: Any, reference: Any) -> float:
        words = squad_words(text_of(self.name, "prediction", prediction))
        return max(_f1(words, squad_words(text)) for text in texts_of(self.name, reference))


def squad_words(text: str) -> list[str]:
    """The words of a text as SQuAD normalises it: lower case, without punctuation and English articles.

    Source: the official evaluation script of SQuAD 1.1 and 2.0, ``normalize_answer``.
    """
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _f1(words: list[str], wanted: list[str]) -> float:
    if not words or not wanted:
        return float(words == wanted)
    common = sum((Counter(words) & Counter(wanted)).values())
    return 2 * common / (len(words) + len(wanted))


def _scalar(role: str, value: Any) -> str | float:
    if type(value) in (str, int, bool) or (type(value) is float and math.isfinite(value)):
        return value  # type: ignore[no-any-return]
    raise unfit("exact_match", role, value, _NEEDS)
