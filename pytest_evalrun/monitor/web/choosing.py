"""Which samples of a pair a person asked for: wrong, failed, worst, best, flipped, or those that hold a text."""

from __future__ import annotations

import json
import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.sampleinputs import UNKNOWN
from pytest_evalrun.rundir.samplelines import answer_of
from pytest_evalrun.suite.answering import TAKEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_evalrun.report.answerindex import AnswerIndex, LineIndex
    from pytest_evalrun.report.records import JudgesWords
    from pytest_evalrun.report.sampleinputs import Inputs

    Line = Mapping[str, Any]

FILTERS = ("all", "wrong", "failed", "worst", "best", "flipped")
LONGEST_QUERY = 200
# What is searched of one sample; a model that wrote books is searched in their beginning.
_LONGEST_TEXT = 1_000_000


@dataclass(frozen=True)
class SampleQuery:
    """The samples that are wanted: ``metric`` of a filter by scores, the first that fits where it is empty."""

    filter: str = "all"
    metric: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        if self.filter not in FILTERS:
            raise ConfigError(f"filter: found {self.filter!r}; accepted: {', '.join(FILTERS)}")
        if len(self.text) > LONGEST_QUERY:
            raise ConfigError(f"q: {len(self.text)} characters; accepted: {LONGEST_QUERY} at most")


@dataclass(frozen=True)
class ScoreFacts:
    """What the scores of a pair are: metrics with a score a sample, and those whose scores are all 0 or 1."""

    scored: tuple[str, ...]
    binary: frozenset[str]
    better: Mapping[str, str]

    def metric(self, query: SampleQuery) -> str | None:
        """The metric that a filter goes by; None where none fits."""
        fits = [name for name in self.scored if query.filter in ("worst", "best") or name in self.binary]
        if query.metric:
            return query.metric if query.metric in fits else None
        return fits[0] if fits else None

    def wrong(self, metric: str) -> int:
        """The score of a wrong answer."""
        return 1 if self.better.get(metric) == "lower" else 0


@dataclass(frozen=True)
class Searched:
    """What is searched beside the predictions: what was asked, and what judges said. For one search."""

    inputs: Inputs
    told: JudgesWords


def score_facts(scores: LineIndex, metrics: Mapping[str, Mapping[str, Any]]) -> ScoreFacts:
    """Look at all scores of a pair once; ``metrics`` are those of its result."""
    scored: dict[str, bool] = {}
    for _, line in scores.lines():
        for name in line.keys() - TAKEN:
            if _is_score(score := line[name]):
                scored[name] = scored.get(name, True) and score in (0, 1)
    names = [*(name for name in metrics if name in scored), *sorted(scored.keys() - metrics.keys())]
    better = {name: str(metrics.get(name, {}).get("better", "higher")) for name in names}
    return ScoreFacts(tuple(names), frozenset(name for name, binary in scored.items() if binary), better)


def _is_score(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def choose(
    index: AnswerIndex, query: SampleQuery, facts: ScoreFacts, searched: Searched, before: LineIndex | None
) -> array[int]:
    """The numbers of the wanted answers in the order in which they are shown; ``before`` are another run's scores."""
    numbers = array("q", _filtered(index, query, facts, before))
    if not query.text:
        return numbers
    held = set(_holding(index, sorted(numbers), query.text.casefold(), searched))
    return array("q", (number for number in numbers if number in held))


def _filtered(index: AnswerIndex, query: SampleQuery, facts: ScoreFacts, before: LineIndex | None) -> Iterable[int]:
    if query.filter == "all":
        return index.predictions.numbers()
    if query.filter == "failed":
        return (number for number, line in index.predictions.lines() if line.get("status") != "ok")
    if query.filter == "flipped":
        return _flipped(index, query, facts, before)
    metric = facts.metric(query)
    if metric is None:
        return ()
    if query.filter == "wrong":
        wrong = facts.wrong(metric)
        return (number for number, line in index.scored() if line.get(metric) == wrong)
    return _ranked(index, metric, (facts.better[metric] == "lower") == (query.filter == "best"))


def _ranked(index: AnswerIndex, metric: str, ascending: bool) -> Iterator[int]:
    """By their scores, equal ones in dataset order."""
    sign = 1.0 if ascending else -1.0
    ranked = ((sign * line[metric], number) for number, line in index.scored() if _is_score(line.get(metric)))
    return (number for _, number in sorted(ranked))


def _flipped(index: AnswerIndex, query: SampleQuery, facts: ScoreFacts, before: LineIndex | None) -> Iterator[int]:
    if before is None:
        return
    names = [query.metric] if query.metric else facts.scored
    for number, line, old in beside(index, before):
        flips = flips_of(line, old, facts)
        if any(name in flips for name in names):
            yield number


def beside(index: AnswerIndex, before: LineIndex) -> Iterator[tuple[int, Line, Line]]:
    """Each line of scores with that of the other run, and the number of its prediction."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        file = before.opened(stack)
        for number, line in index.scored():
            yield number, line, before.line(file, before.number_of(answer_of(line)))


def flips_of(line: Line, before: Line, facts: ScoreFacts) -> dict[str, str]:
    """Metric → lost or won, where one that is right or wrong judges the same sample otherwise than before."""
    if not before or line.get("id") != before.get("id"):
        return {}
    found = {}
    for name in facts.binary:
        now, then = line.get(name), before.get(name)
        if now in (0, 1) and then in (0, 1) and now != then:
            found[name] = "lost" if now == facts.wrong(name) else "won"
    return found


def _holding(index: AnswerIndex, numbers: list[int], needle: str, searched: Searched) -> Iterator[int]:
    """The answers that hold a text, whatever the case, in anything that is shown of them."""
    numbered = zip(numbers, index.pairs(numbers), strict=True)
    for (number, (line, score)), value in searched.inputs.paired(numbered, lambda item: item[1][0]):
        detail = line.get("detail") or {}
        known = line.get("id"), line.get("prediction"), line.get("reference"), line.get("error")
        others = None if value is UNKNOWN else value, score.get("answer"), detail.get("history")
        if any(_holds(part, needle) for part in (*known, *others, *searched.told.of(line).values())):
            yield number


def _holds(value: Any, needle: str) -> bool:
    if value is None:
        return False
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_name)
    return needle in text[:_LONGEST_TEXT].casefold()


def _name(value: Any) -> str:
    """What of a value without JSON can be searched: a path is its name, bytes are nothing."""
    return str(getattr(value, "name", ""))
