"""Metrics over predictions and references, chunk by chunk; per-sample scores beside the predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice, zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.agents import StatusTally
from pytest_evalrun.evaluation.clusters import Clusters
from pytest_evalrun.evaluation.columns import AnswerColumns, MetricColumns
from pytest_evalrun.evaluation.usage import UsageTally
from pytest_evalrun.metrics.agents import Overall
from pytest_evalrun.metrics.judge import Judge
from pytest_evalrun.predicting.outputs import Outputs, output_directory, reference_to_json
from pytest_evalrun.rundir.agentoverall import read_overall
from pytest_evalrun.rundir.lines import compact_line, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.evaluation.columns import Column, Rows
    from pytest_evalrun.metrics.judge import Verdicts
    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.predictions import Line, Progress
    from pytest_evalrun.suite.pairs import Pair

CHUNK = 256
# More latencies than this are thinned out evenly: percentiles need no more, and memory must not grow.
MOST_LATENCIES = 8192


@dataclass
class Latencies:
    """Seconds per sample, thinned by halves when there are too many."""

    values: list[float] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def extend(self, seconds: Iterable[float | None]) -> None:
        """Take the next samples into account: of those that were timed every ``stride``-th is kept."""
        known = [value for value in seconds if value is not None]
        self.values += known[-self.seen % self.stride :: self.stride]
        self.seen += len(known)
        while len(self.values) > MOST_LATENCIES:
            self.values = self.values[::2]
            self.stride *= 2

    def quantile(self, share: float) -> float | None:
        if not self.values:
            return None
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class Scores:
    """What scoring a pair found."""

    metrics: dict[str, dict[str, Any]]
    predicted: int = 0
    failed: int = 0
    first_failure: str = ""
    latencies: Latencies = field(default_factory=Latencies)
    usage: UsageTally = field(default_factory=UsageTally)
    statuses: StatusTally = field(default_factory=StatusTally)
    outdated: bool = False
    warning: str | None = None


class Blanks:
    """How many labels and predictions begin or end with a blank that counts for some metrics."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self.metrics = metrics
        self.labels = self.predictions = 0

    def count(self, predictions: Iterable[Any], references: Iterable[Any]) -> None:
        if self.metrics:
            self.labels += sum([type(text) is str and text != text.strip() for text in references])
            self.predictions += sum([type(text) is str and text != text.strip() for text in predictions])

    def warning(self) -> str | None:
        """One line; None where there is nothing to say."""
        counts = ((self.labels, "label"), (self.predictions, "prediction"))
        told = [f"{count:,} {word}{'s' * (count != 1)}" for count, word in counts if count]
        verb = "begins or ends" if self.labels + self.predictions == 1 else "begin or end"
        remedy = ", ".join(f"{name}: {{strip: true}}" for name in self.metrics)
        return f"{' and '.join(told)} {verb} with a blank, which counts; without: {remedy}" if told else None


class Scorer:
    """Feeds the metrics of one pair; finds on the way what is failed and whether stored references are outdated."""

    def __init__(
        self,
        pair: Pair,
        disk: Disk,
        paths: PairPaths,
        count: int,
        judged: Mapping[str, Verdicts] = MappingProxyType({}),
    ) -> None:
        """``judged`` are the verdicts of judges, by the name of the metric."""
        self.pair = pair
        self.disk = disk
        self.count = count
        self.paths = paths
        self.outputs = Outputs(output_directory(pair, paths))
        # A program that left metrics has scored by itself: of single samples there is nothing to score.
        self.by_program = pair.settings.kind.computes(pair.settings)
        self.metrics = None if self.by_program else MetricColumns(pair)
        for column in self.metrics.columns if self.metrics else ():
            if isinstance(column.metric, Judge):
                column.metric.verdicts = judged.get(column.name)
            elif isinstance(column.metric, Overall):
                column.metric.overall = read_overall(paths.agent.overall)
        self.answers = AnswerColumns(pair.settings, None if self.by_program else pair.settings.answer)
        self._several = pair.settings.generations > 1
        self._clusters = Clusters.of_pair(pair)
        self._reported: dict[str, dict[str, Any]] = {}
        # To these metrics of ours a blank around a label is a part of it, which hardly anybody means.
        self._blanks = Blanks(
            [
                column.name
                for column in (self.metrics.columns if self.metrics else ())
                if getattr(column.metric, "strip", None) is False
            ]
        )
        self.scores = Scores({})

    def run(self, samples: Iterable[Sample], progress: Progress) -> Scores:
        """One streaming pass over predictions and references. Raises PairError where a metric does not fit."""
        rows = zip_longest(islice(samples, self.count), progress.ordered())
        generations = self.pair.settings.generations
        size = max(generations, CHUNK - CHUNK % generations)  # all rows of a sample lie in one chunk
        with self.disk.replacing(self.paths.scores) as file:
            while chunk := list(islice(rows, size)):
                if predicted := self._note(chunk):
                    file.write(self._feed(predicted))
        if not self.scores.failed or self.scores.predicted:
            self.scores.metrics = self._reported if self.metrics is None else self.metrics.results()
        self.scores.warning = self._blanks.warning()
        return self.scores

    def _note(self, chunk: Sequence[tuple[Sample | None, Line | None]]) -> list[tuple[Sample, Line]]:
        """Those that were predicted. Raises PairError where samples and lines are not of the same dataset."""
        scores, predicted = self.scores, []
        for sample, line in chunk:
            if sample is None or line is None:
                raise PairError(f"{self.pair.dataset.path}: the dataset changed while it was evaluated; run it again")
            if line.index != sample.index or line.id != sample.id:
                raise PairError(f"prediction {line.index} is of sample {line.id}, the dataset has {sample.id} there")
            reference = sample.reference
            if type(reference) is not str:
                reference = reference_to_json(reference, self.pair.dataset.path)
            if line.reference != reference:
                scores.outdated = True
            if line.status == "ok":
                predicted.append((sample, line))
            else:
                scores.first_failure = scores.first_failure or _failure(line)
        scores.predicted += len(predicted)
        scores.failed += len(chunk) - len(predicted)
        scores.latencies.extend([line.seconds for _, line in chunk if line is not None])
        scores.usage.add(line for _, line in chunk if line is not None)
        if self.pair.settings.is_agent:
            scores.statuses.add(line for _, line in chunk if line is not None)
        return predicted

    def _feed(self, chunk: Sequence[tuple[Sample, Line]]) -> bytes:
        """Every metric one chunk further; the lines of the scores file."""
        predictions = [
            self.outputs.from_json(line.prediction) if type(line.prediction) is dict else line.prediction
            for _, line in chunk
        ]
        if self.by_program and chunk[0][1].index == 0:
            self._reported = self._of_program(predictions[0])
        rows = self.answers.of([sample for sample, _ in chunk], predictions, [line.detail for _, line in chunk])
        # What is scored of an answer has no blanks around it, unless the suite wants them.
        self._blanks.count(() if self.answers.extractors else predictions, rows.references)
        try:
            scores = {} if self.metrics is None else self.metrics.feed(rows)
        except PairError as error:
            raise self._with_sample(error, chunk) from error.__cause__
        return self._lines(rows, scores, [] if self.metrics is None else self.metrics.statistics())

    def _lines(self, rows: Rows, scores: dict[str, Column], statistics: list[dict[str, Any]]) -> bytes:
        """A line a row: whose it is, its scores by name, what it adds to metrics, and the answer that they are of."""
        own: dict[str, list[Any]] = {
            "index": [sample.index for sample in rows.samples],
            "id": [sample.id for sample in rows.samples],
        }
        if self._several:
            own["generation"] = [sample.generation for sample in rows.samples]
        if self._clusters is not None:
            own["cluster"] = self._clusters.of(rows.samples)
        names = (*own, *scores)
        values = zip(*own.values(), *scores.values(), strict=True)
        lines: Iterable[dict[str, Any]] = (dict(zip(names, line, strict=True)) for line in values)
        if statistics:
            told = ({"statistic": each} if each else {} for each in statistics)
            lines = (line | more for line, more in zip(lines, told, strict=True))
        if not self.answers.extractors:
            return joined(map(compact_line, lines))
        answers = self.answers.words(rows)
        return joined(compact_line(line | words, words.values()) for line, words in zip(lines, answers, strict=True))

    def _of_program(self, file: Path) -> dict[str, dict[str, Any]]:
        """What the program says of all samples; of the metrics that the suite names, where it names any."""
        from pytest_evalrun.programs.results import read_metrics

        said = read_metrics(file)
        wanted = [spec.name for spec in self.pair.settings.metrics] or [*said]
        if missing := [name for name in wanted if name not in said]:
            raise PairError(f"{file}: no metric {missing[0]}; it has: {', '.join(said)}")
        # Where the program gives no interval there is none.
        return {name: _complete(said[name], self.count) for name in wanted}

    def _with_sample(self, error: PairError, chunk: Sequence[tuple[Sample, Line]]) -> PairError:
        """The error named after the sample that other metrics of the kind refuse alone; as it is where they do not."""
        alone = MetricColumns(self.pair)
        for sample, line in chunk:
            try:
                rows = self.answers.of([sample], [self.outputs.from_json(line.prediction)], [line.detail])
                alone.feed(rows)
            except PairError as of_sample:
                return PairError(f"sample {sample.id}: {of_sample}")
        return error


def _complete(metric: dict[str, Any], count: int) -> dict[str, Any]:
    return {"n": count, "low": metric["value"], "high": metric["value"], **metric}


def _failure(line: Line) -> str:
    """Why a sample failed, under its name: many reasons begin with that."""
    reason = line.error or ""
    named = reason.partition(": ")[0].endswith((f" {line.id}", f"/{line.id}"))
    return reason if named else f"{line.id}: {reason}"


def first_failure(lines: Iterable[Line]) -> str:
    """Say why the first sample failed of these lines; empty where none did."""
    return next((_failure(line) for line in lines if line.status != "ok"), "")


def check_failures(max_failed: float, count: int, total: int, failed: int, first: str) -> None:
    """Raise PairError where more samples failed than may of their pair; ``first`` is why the first of them failed.

    ``max_failed`` is a share below 1, or a count meant for ``total`` samples: of the ``count`` that a limit leaves, a
    part in proportion.
    """
    share = 0 < max_failed < 1
    most = round(max_failed * (count if share else count / total), 6)
    if failed > most:
        said = f"{max_failed:g}" if share or count == total else f"{max_failed:g} of {total}, so {most:g} of these"
        text = f"{failed} of {count} samples failed (max_failed is {said}); the first: {first}"
        raise PairError(text, brief=f"{failed} of {count} failed: {last_line(first)}")


def last_line(failure: str) -> str:
    """Of a failure in brief: of a program that ended, what it wrote last."""
    return failure.rpartition("\n")[2]


def with_references(samples: Iterable[Sample], progress: Progress, count: int, dataset: str) -> Iterator[Line]:
    """The lines in dataset order with today's references."""
    for sample, line in zip(islice(samples, count), progress.ordered(), strict=True):
        yield line._replace(reference=reference_to_json(sample.reference, dataset))
