"""The word ``answer``: what a suite says of how answers are taken out, and which rows of a result come of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.suite.problems import accepted, found, some
from pytest_evalrun.suite.settings import OF_K, OVER_GENERATIONS, MetricSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.suite.settings import Settings

# How an answer is found; each stands alone.
WAYS = ("letter", "regex", "after", "json", "last_number", "first_line")
_HOW = frozenset({"options", "after_think", "strip"})
# The share of samples without an answer.
UNANSWERED = "unanswered"
# The metric whose scores another model gives.
JUDGE = "judge"
# What a line of scores has besides scores; whoever reads scores takes all else for them, and no metric is called so.
TAKEN = frozenset({"index", "id", "generation", "answer", "no_answer", "cluster", "statistic"})


class MetricRow(NamedTuple):
    """A row of a result: a metric over the answers of one name, which is empty where there is only one.

    ``of`` is the row whose scores it is made of, if it is one over all generations of a sample.
    """

    name: str
    spec: MetricSpec
    answer: str = ""
    of: str = ""


def ways_of(answer: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """How answers are taken out, by name; a single one has the empty name. Empty where they are not."""
    if not answer:
        return {}
    one = not _HOW.union(WAYS).isdisjoint(answer)
    return {"": answer} if one else dict(answer)


def metric_rows(settings: Settings) -> list[MetricRow]:
    """The rows of a pair's result: each metric once a kind of answer, then the share without one.

    A judge reads what the model said, whatever is taken out of that.
    """
    ways = ways_of(settings.answer)
    specs = list(settings.metrics)
    if ways:
        specs.append(MetricSpec(UNANSWERED, UNANSWERED))
    return [
        MetricRow(_row(spec.name, answer), spec, answer, _source_row(spec, answer, settings))
        for spec in specs
        for answer in (("",) if spec.use == JUDGE else ways or ("",))
    ]


def _row(metric: str, answer: str) -> str:
    return f"{metric}@{answer}" if metric and answer else metric


def _source_row(spec: MetricSpec, answer: str, settings: Settings) -> str:
    """The row whose scores a metric over generations is made of; a judge has one, however many answers there are."""
    source = _source(spec, settings)
    judges = {each.name for each in settings.metrics if each.use == JUDGE}
    return source if source in judges else _row(source, answer)


def _source(spec: MetricSpec, settings: Settings) -> str:
    """The metric whose scores one over generations is made of, the first of the suite unless it says; else nothing."""
    if spec.use not in OVER_GENERATIONS:
        return ""
    return spec.params.get("of") or next(iter(scoring_metrics(settings)), "")


def scoring_metrics(settings: Settings) -> list[str]:
    """The metrics that score each answer."""
    return [spec.name for spec in settings.metrics if spec.use not in OVER_GENERATIONS]


def options_column(settings: Settings, way: Mapping[str, Any]) -> str | None:
    """The column that holds a sample's options: as the answer says, or the prompt."""
    prompt = settings.words.get("prompt") or {}
    return way.get("options") or prompt.get("choices")


def mistakes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Tell what the schema cannot say of an answer: key, and what is found and accepted."""
    if settings.answer == {}:
        yield "answer", f"found no way to an answer; accepted: one of {some(WAYS)}"
    for name, way in ways_of(settings.answer).items():
        key = f"answer.{name}" if name else "answer"
        chosen = [word for word in WAYS if word in way]
        if len(chosen) != 1:
            told = f"found {' and '.join(chosen)}" if chosen else "found no way to an answer"
            yield f"{key}.{chosen[1]}" if chosen else key, f"{told}; accepted: one of {some(WAYS)}"
        elif way.get("letter") is True and not options_column(settings, way):
            yield (
                f"{key}.letter",
                "found true without options; accepted: the letters such as ABCD, or `options: COLUMN` beside it",
            )
    for spec in settings.metrics:
        if settings.answer and spec.name == UNANSWERED:
            yield "metrics", f"{found(spec.name)}, which says whether there is an answer; accepted: another `name: …`"
        if spec.name in TAKEN:
            yield "metrics", f"{found(spec.name)}, which lines of scores have besides; accepted: another `name: …`"
        if spec.use in OVER_GENERATIONS:
            yield from _mistakes_over_generations(spec, settings)


def _mistakes_over_generations(spec: MetricSpec, settings: Settings) -> Iterator[tuple[str, str]]:
    others, of, k = scoring_metrics(settings), spec.params.get("of"), spec.params.get("k", 1)
    if not others:
        yield "metrics", f"{spec.use} is made of the scores of another metric; accepted: one more, such as exact_match"
    elif of is not None and of not in others:
        yield "metrics", f"{spec.use}: of: {found(of)}; {accepted(str(of), others)}"
    if type(k) is not int or k < 1:
        yield "metrics", f"{spec.use}: k: {found(k)}; accepted: whole numbers from 1"
    elif spec.use in OF_K and k > settings.generations:
        yield (
            "metrics",
            f"{spec.use}: k: {found(k)}, of generations: {settings.generations}; accepted: no more than those",
        )
