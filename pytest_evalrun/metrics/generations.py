"""Metrics over all answers that a model gave to a sample: the majority, pass@k, pass^k. They are made of the scores of
another metric, ``of``.
"""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.datasets.values import written
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.bounds import SHARE
from pytest_evalrun.metrics.checks import measured, need_samples
from pytest_evalrun.metrics.intervals import interval_of_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.metrics.protocol import Better, MetricValue


class ScoredRow(NamedTuple):
    """One answer of a sample by its place in the dataset, and its score; ``answered`` is false where there is none."""

    sample: int
    answer: Any
    score: float | None
    answered: bool


class _OverGenerations:
    """The mean over samples of a value that all answers of a sample make together; n counts samples."""

    better: Better = "higher"
    name = ""
    takes_scores = True

    def __init__(self, *, of: str | None = None) -> None:
        self.of = of
        self._values = array("d")

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:  # noqa: ARG002
        raise PairError(f"metric {self.name}: it is made of the scores of another metric, which `of` names in a suite")

    def update_scored(self, rows: Sequence[ScoredRow]) -> list[float | None]:
        """Take the rows of some samples, all of each; each sample has its value at its first row."""
        scores: list[float | None] = []
        for _, group in groupby(rows, key=lambda row: row.sample):
            listed = list(group)
            value = self.of_sample(listed)
            if value is not None:
                self._values.append(value)
            scores += [value, *[None] * (len(listed) - 1)]
        return scores

    def of_sample(self, rows: list[ScoredRow]) -> float | None:
        """Value one sample; None where it has none."""
        raise NotImplementedError

    def result(self) -> MetricValue:
        n = len(self._values)
        need_samples(self.name, n)
        value = math.fsum(self._values) / n
        return measured(self.name, value, n, interval_of_mean(self._values, value), self.better)


class Majority(_OverGenerations):
    """The mean score of the answer that each sample was given most often; of several the one that came first."""

    name = "majority"

    def of_sample(self, rows: list[ScoredRow]) -> float | None:
        given: dict[str, float | None] = {}
        votes: Counter[str] = Counter()
        for row in rows:
            if row.answered:
                vote = _spelling(row.answer)
                votes[vote] += 1
                given.setdefault(vote, row.score)
        if not votes:
            return rows[0].score  # as wrong as the metric finds no answer
        return given[votes.most_common(1)[0][0]]  # in the order in which they came


def _spelling(answer: Any) -> str:
    """The same text for the same answer: ``7``, 7 and 7.0 are one."""
    try:
        return written(answer)
    except ValueError:
        return json.dumps(answer, sort_keys=True, default=str)


class _OfK(_OverGenerations):
    bounds = SHARE

    def __init__(self, *, k: int = 1, of: str | None = None) -> None:
        super().__init__(of=of)
        if type(k) is not int or k < 1:
            raise ConfigError(f"metric {self.name}: k is {k!r}; accepted: a whole number from 1, or a list of them")
        self.k = k

    def of_sample(self, rows: list[ScoredRow]) -> float | None:
        scores = [row.score for row in rows if row.score is not None]
        # Of a sample some of whose generations failed, fewer than k say nothing of k.
        return self.chance(len(scores), sum(score >= 1 for score in scores)) if len(scores) >= self.k else None

    def chance(self, n: int, right: int) -> float:
        """The chance for k of n answers, of which so many are right."""
        raise NotImplementedError

    def result(self) -> MetricValue:
        if self.better == "lower":
            raise PairError(f"metric {self.name}: of {self.of}, of which less is better; it needs one that says right")
        return super().result()


class PassAt(_OfK):
    """The chance that at least one of k answers is right, without bias: 1 - C(n-c, k) / C(n, k), Chen et al. 2021."""

    name = "pass_at"

    def chance(self, n: int, right: int) -> float:
        return 1 - math.comb(n - right, self.k) / math.comb(n, self.k)


class PassHat(_OfK):
    """The chance that all of k answers are right, pass^k: C(c, k) / C(n, k), Yao et al. 2024."""

    name = "pass_hat"

    def chance(self, n: int, right: int) -> float:
        return math.comb(right, self.k) / math.comb(n, self.k)
