"""The rows of a result while they are made: each a metric over one kind of answer, fed chunk by chunk."""

from __future__ import annotations

import math
from array import array
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.answers import NoAnswer, extractor_of, options_in
from pytest_evalrun.metrics import create_metric, is_ours
from pytest_evalrun.metrics.answers import Unanswered
from pytest_evalrun.metrics.bounds import all_held, bounds_of
from pytest_evalrun.metrics.checks import describe
from pytest_evalrun.metrics.generations import ScoredRow
from pytest_evalrun.metrics.judge import Judge
from pytest_evalrun.metrics.protocol import MetricValue
from pytest_evalrun.rundir.lines import is_plain
from pytest_evalrun.suite.answering import UNANSWERED, metric_rows, options_column, ways_of
from pytest_evalrun.suite.forks import UsersCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.evaluation.answers import Extractor
    from pytest_evalrun.metrics.protocol import Metric
    from pytest_evalrun.suite.answering import MetricRow
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.settings import Settings

    Column = list[float | None]
    Detail = Mapping[str, Any] | None


@dataclass
class Rows:
    """Some predicted samples: what is scored of them by the name of the answer, and where there is none.

    ``details`` is what their lines have besides the prediction.
    """

    samples: Sequence[Sample]
    references: Sequence[Any]
    details: Sequence[Detail]
    values: dict[str, list[Any]] = field(default_factory=dict)
    missing: dict[str, list[int]] = field(default_factory=dict)

    def at(self, places: Sequence[int]) -> Rows:
        """Some of them, without what is scored."""
        samples, references = [self.samples[at] for at in places], [self.references[at] for at in places]
        return Rows(samples, references, [self.details[at] for at in places])


class AnswerColumns:
    """The answers of a pair's samples, by name; without the word ``answer`` predictions are scored as they are."""

    def __init__(self, settings: Settings, answer: Mapping[str, Any] | None) -> None:
        self.extractors: dict[str, Extractor] = {
            name: extractor_of(settings, way) for name, way in ways_of(answer).items()
        }

    def of(self, samples: Sequence[Sample], predictions: list[Any], details: Sequence[Detail]) -> Rows:
        """Take the answers out of predictions."""
        rows = Rows(samples, [sample.reference for sample in samples], details)
        for name, extract in self.extractors.items():
            values = [extract(*pair) for pair in zip(predictions, samples, strict=True)]
            rows.values[name] = values
            rows.missing[name] = [place for place, value in enumerate(values) if type(value) is NoAnswer]
        if not self.extractors:
            rows.values[""], rows.missing[""] = predictions, []
        return rows

    def words(self, rows: Rows) -> list[dict[str, Any]]:
        """What lines of scores say of answers: ``answer``, or why there is ``no_answer``; of several by their names."""
        if not self.extractors:
            return [{} for _ in rows.samples]
        if "" in rows.values:
            return [
                {"no_answer": value.why} if type(value) is NoAnswer else {"answer": value} for value in rows.values[""]
            ]
        return [
            _named(dict(zip(rows.values, values, strict=True))) for values in zip(*rows.values.values(), strict=True)
        ]


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    missing = {name: value.why for name, value in values.items() if type(value) is NoAnswer}
    answers = {name: value for name, value in values.items() if name not in missing}
    return {"answer": answers} | ({"no_answer": missing} if missing else {})


class MetricColumn:
    """A metric over the answers of one name; ``clustered`` where samples have several rows."""

    def __init__(self, row: MetricRow, pair: Pair, *, clustered: bool = False) -> None:
        self.name, self.answer, self.of = row.name, row.answer, row.of
        self.metric = _made(row, pair)
        self.bounds = bounds_of(self.metric, row.name)
        self._takes_samples = getattr(self.metric, "takes_samples", False)
        self._takes_details = getattr(self.metric, "takes_details", False)
        self._fed = self._missed = 0
        self._first_missing = ""
        # What the rows that were fed last add to a value that is no mean; empty of most metrics.
        self.statistics: list[Any] = []
        told = getattr(self.metric, "statistic", None)
        self._statistic: Callable[[], Sequence[Any]] | None = told if callable(told) else None
        self._is_ours = told is None or is_ours(row.spec)
        self._clusters: array[int] | None = None
        if clustered and hasattr(self.metric, "clusters"):
            self.metric.clusters = self._clusters = array("q")

    def feed(self, rows: Rows) -> Column:
        """Scores of the samples, None where one has none; without an answer it is as wrong as the metric can say."""
        if type(self.metric) is Judge:  # which has read what the model said, answer or not
            return self._kept(self._update(rows.samples, rows), rows.samples)
        missing, values = rows.missing[self.answer], rows.values[self.answer]
        if type(self.metric) is Unanswered:
            return self._kept(self.metric.note(len(values), missing), rows.samples)
        if not missing:
            scores = self._kept(self._update(values, rows), rows.samples)
            self.statistics = self._told(len(values))
            return scores
        self._note_missing(values, missing)
        without = frozenset(missing)
        scores = [None] * len(values)
        self.statistics = [None] * len(values) if self._statistic else []
        answered = [place for place in range(len(values)) if place not in without]
        if answered:
            chosen = rows.at(answered)
            self._put(scores, answered, rows.samples, self._update([values[place] for place in answered], chosen))
        if (unanswered := getattr(self.metric, "unanswered", None)) is not None:
            with _blamed(self.name), UsersCode():
                wrong = unanswered([rows.references[place] for place in missing])
            self._put(scores, missing, rows.samples, self._checked("unanswered", wrong, len(missing)))
        return scores

    def feed_scored(self, rows: Rows, scores: Column) -> Column:
        """Of a metric over all rows of a sample: what these rows make of the scores of another metric."""
        metric: Any = self.metric
        values, without = rows.values[self.answer], frozenset(rows.missing[self.answer])
        indexes = [sample.index for sample in rows.samples]
        scored = [
            ScoredRow(index, value, score, place not in without)
            for place, (index, value, score) in enumerate(zip(indexes, values, scores, strict=True))
        ]
        return self._kept(metric.update_scored(scored), rows.samples)

    def _put(self, into: Column, places: list[int], samples: Sequence[Sample], scores: Column) -> None:
        """Put scores of some rows, and what these add, in their places."""
        self._kept(scores, [samples[place] for place in places])
        for place, score in zip(places, scores, strict=True):
            into[place] = score
        if told := self._told(len(places)):
            for place, row in zip(places, told, strict=True):
                self.statistics[place] = row

    def _told(self, count: int) -> list[Any]:
        """What the rows that were fed last add; nothing where the metric does not say it."""
        if self._statistic is None:
            return []
        with _blamed(self.name), UsersCode():
            rows = self._statistic()
            rows = rows if self._is_ours else [_plainly(row) for row in rows]
        if len(rows) != count:
            raise PairError(f"metric {self.name}: statistic answered {len(rows)} rows to {count} predictions")
        if not self._is_ours and not all(map(is_plain, rows)):
            odd = describe(next(row for row in rows if not is_plain(row)))
            raise PairError(f"metric {self.name}: statistic answered {odd}; accepted: values of JSON, finite ones")
        return list(rows)

    def _kept(self, scores: Column, samples: Sequence[Sample]) -> Column:
        """Say whose rows these were to a metric that can tell repeats of one sample from many samples."""
        self._fed += len(scores)
        if self._clusters is not None:
            self._clusters.extend([sample.index for sample in samples])
        return scores

    def _note_missing(self, values: Sequence[Any], missing: Sequence[int]) -> None:
        self._missed += len(missing)
        self._first_missing = self._first_missing or values[missing[0]].why

    def _update(self, values: Sequence[Any], rows: Rows) -> Column:
        metric: Any = self.metric
        more = (rows.samples,) if self._takes_samples else ()
        named = {"details": rows.details} if self._takes_details else {}
        with _blamed(self.name), UsersCode():
            answer = metric.update(values, rows.references, *more, **named)
        return self._checked("update", answer, len(values))

    def _checked(self, method: str, answer: Any, count: int) -> Column:
        """Scores as JSON has them, within their bounds."""
        try:
            scores = list(answer)
        except TypeError:
            text = f"{method} answered {type(answer).__name__}; accepted: scores"
            raise PairError(f"metric {self.name}: {text}") from None
        if len(scores) != count:
            raise PairError(f"metric {self.name}: {method} answered {len(scores)} scores to {count} predictions")
        scores = [score if score is None or _is_finite(score) else _score(self.name, method, score) for score in scores]
        return scores if self.bounds is None else all_held(self.name, scores, self.bounds)

    def result(self) -> MetricValue:
        """The row. Raises PairError where there is nothing to score, or what the metric says is no result."""
        if self._missed and not self._fed:
            why = f"none of {self._missed} predictions has an answer; the first: {self._first_missing}"
            raise PairError(f"metric {self.name}: {why}")
        with _blamed(self.name), UsersCode():
            result = self.metric.result()
        if not isinstance(result, MetricValue):
            raise PairError(f"metric {self.name}: result answered {type(result).__name__}; accepted: a MetricValue")
        if result.bounds is not None and tuple(result.bounds) != self.bounds:
            raise PairError(
                f"metric {self.name}: result answered the bounds {result.bounds}, and the metric declares "
                f"{self.bounds or 'none'}; accepted: the attribute `bounds`, which scores are held to"
            )
        return result if self.bounds is None else replace(result, bounds=self.bounds)


class MetricColumns:
    """All rows of a pair's result."""

    def __init__(self, pair: Pair) -> None:
        clustered = pair.settings.generations > 1
        self.columns = [MetricColumn(row, pair, clustered=clustered) for row in metric_rows(pair.settings)]
        self._by_name = {column.name: column for column in self.columns}
        for column in self.columns:
            if column.of:
                metric: Any = column.metric
                source = self._by_name[column.of]
                metric.better, metric.of = source.metric.better, column.of
                column.bounds = column.bounds or source.bounds  # a majority's score is one of the source's

    def feed(self, rows: Rows) -> dict[str, Column]:
        """All scores of some samples by the name of the row; all rows of a sample are among them."""
        scores = {column.name: [] if column.of else column.feed(rows) for column in self.columns}
        for column in self.columns:
            if column.of:
                scores[column.name] = column.feed_scored(rows, scores[column.of])
        return scores

    def statistics(self) -> list[dict[str, Any]]:
        """What each of the samples that were fed last adds, by the name of the row; empty where no metric says it."""
        told = {column.name: column.statistics for column in self.columns if column.statistics}
        each = zip(*told.values(), strict=True)
        return [{name: row for name, row in zip(told, rows, strict=True) if row is not None} for rows in each]

    def results(self) -> dict[str, dict[str, Any]]:
        """The rows by name, as JSON has them."""
        return {column.name: column.result().to_json() for column in self.columns}


def metric_of_row(name: str, pair: Pair) -> Metric | None:
    """A new metric of a row of the pair's result; None of a row that the suite does not name."""
    row = next((row for row in metric_rows(pair.settings) if row.name == name), None)
    return None if row is None else _made(row, pair)


def _made(row: MetricRow, pair: Pair) -> Metric:
    """Metrics are told what only the suite knows: how raw planes are read, and where the options of a sample are."""
    if row.spec.use == UNANSWERED:
        return Unanswered()
    metric: Any = create_metric(row.spec, pair.root)
    settings = pair.settings
    if settings.preprocess and hasattr(metric, "plane"):
        from pytest_evalrun.datasets.arrays import RawPlane

        metric.plane = RawPlane.of(settings.preprocess)
    if getattr(metric, "takes_samples", False) and hasattr(metric, "options_of"):
        way = ways_of(settings.answer).get(row.answer, {})
        column = metric.options or options_column(settings, way)
        metric.options_of = options_in(column) if column else None
    return metric  # type: ignore[no-any-return]


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    """What a metric raises is its pair's error."""
    try:
        yield
    except PairError:
        raise
    except Exception as error:
        raise PairError(f"metric {name} failed: {type(error).__name__}: {error}") from error


def _plainly(value: Any) -> Any:
    """Lists for what is like one, and Python's numbers for numpy's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(map(_plainly, value)) if isinstance(value, list | tuple) else value


def _is_finite(score: Any) -> bool:
    return type(score) is float and math.isfinite(score)


def _score(name: str, method: str, score: Any) -> float:
    """A number of whatever library, as JSON knows it."""
    try:
        number = float(score)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise PairError(f"metric {name}: {method} answered the score {score!r}; accepted: a finite number, None")
    return number
