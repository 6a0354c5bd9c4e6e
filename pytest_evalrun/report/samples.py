"""The samples behind a number: the worst of a pair, and those it got wrong."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.samplelines import SampleLines
from pytest_evalrun.rundir.predictions import file_of
from pytest_evalrun.rundir.results import read_result

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.rundir.layout import PairPaths, RunPaths
    from pytest_evalrun.rundir.results import Result
    from pytest_evalrun.suite.pairs import PairKey


@dataclass(frozen=True)
class ScoredSample:
    """One sample with what was asked of it; ``file`` is what the model wrote, else what it read, where that is one."""

    index: int
    id: str
    prediction: Any
    reference: Any
    metric: str
    score: float
    file: str | None


@dataclass(frozen=True)
class Places:
    """Where the files of a pair lie: what its model wrote, and, where samples are files, what it read."""

    outputs: Path
    inputs: Path | None = None

    def file(self, line: dict[str, Any]) -> str | None:
        """The file of a sample: the prediction, or else the input."""
        if (name := file_of(line.get("prediction"))) is not None:
            return str(self.outputs / name)
        path = self.inputs / line["id"] if self.inputs is not None else None
        return str(path) if path is not None and ".." not in path.parts and path.is_file() else None


def worst(
    paths: RunPaths, pair: PairKey, metric: str | None = None, n: int = 20, places: Places | None = None
) -> list[ScoredSample]:
    """The ``n`` samples with the worst scores, worst first; ``better`` of the result says which end that is.

    Without a name, the first metric that scores its samples one by one.
    """
    files = paths.pair(pair)
    result = _result(files)
    name = _scored_metric(files, result, metric)
    sign = 1 if result.metrics[name]["better"] == "higher" else -1
    scored = ((sign * score, line["index"], score) for line, score in _scores(files, name))
    chosen = {index: score for _, index, score in heapq.nsmallest(n, scored)}
    lines = {line["index"]: line for line in _predictions(files, chosen)}
    places = places or Places(files.outputs)
    return [_sample(places, lines[index], name, score) for index, score in chosen.items() if index in lines]


def wrong(
    paths: RunPaths, pair: PairKey, metric: str | None = None, places: Places | None = None
) -> Iterator[ScoredSample]:
    """The samples that a right-or-wrong metric scored 0, in dataset order.

    A sample that failed has no score, and is no wrong answer.
    """
    files = paths.pair(pair)
    result = _result(files)
    name = _binary_metric(files, result, metric)
    misses = (line["index"] for line, score in _scores(files, name) if score == 0)
    places = places or Places(files.outputs)
    for line in _joined(files, misses):
        yield _sample(places, line, name, 0.0)


def _result(files: PairPaths) -> Result:
    result = read_result(files.result)
    if result is None or not files.scores.exists() or not files.predictions.exists():
        raise ConfigError(
            f"{files.result}: this pair has no scored samples yet; evaluate it first, or choose another with --run"
        )
    return result


def _scored_metric(files: PairPaths, result: Result, wanted: str | None) -> str:
    available = [name for name in result.metrics if any(True for _ in _scores(files, name))]
    return _choose(available, wanted, "scores of single samples", result.metrics)


def _binary_metric(files: PairPaths, result: Result, wanted: str | None) -> str:
    """A metric is right or wrong a sample when all its scores are 0 or 1."""
    higher = [name for name, metric in result.metrics.items() if metric["better"] == "higher"]
    available = [name for name in higher if _is_binary(files, name)]
    return _choose(available, wanted, "samples that are right or wrong", result.metrics)


def _is_binary(files: PairPaths, name: str) -> bool:
    scores = (score for _, score in _scores(files, name))
    first = next(scores, None)
    return first in (0, 1) and all(score in (0, 1) for score in scores)


def _choose(available: list[str], wanted: str | None, what: str, metrics: Mapping[str, Any]) -> str:
    if wanted is None and available:
        return available[0]
    if wanted in available:
        return wanted
    having = f"those that have are: {', '.join(available)}" if available else "none of this pair has"
    asked = f"metric {wanted}" if wanted else f"the metrics {', '.join(metrics) or '(none)'}"
    raise ConfigError(f"{asked}: no {what}; {having}")


def _scores(files: PairPaths, metric: str) -> Iterator[tuple[dict[str, Any], float]]:
    """The lines that have a score of this metric, in dataset order."""
    for line in SampleLines(files.scores).ordered():
        score = line.get(metric)
        if score is not None:
            yield line, score


def _predictions(files: PairPaths, indexes: Container[int]) -> Iterator[dict[str, Any]]:
    return (line for line in SampleLines(files.predictions).ordered() if line["index"] in indexes)


def _joined(files: PairPaths, indexes: Iterator[int]) -> Iterator[dict[str, Any]]:
    """The predictions of ascending indexes; both files are in dataset order, so one pass does it."""
    lines = SampleLines(files.predictions).ordered()
    line = next(lines, None)
    for index in indexes:
        while line is not None and line["index"] < index:
            line = next(lines, None)
        if line is not None and line["index"] == index:
            yield line


def _sample(places: Places, line: dict[str, Any], metric: str, score: float) -> ScoredSample:
    prediction, reference = line.get("prediction"), line.get("reference")
    return ScoredSample(line["index"], line["id"], prediction, reference, metric, score, places.file(line))
