"""The samples behind a number: the worst of a pair, and those it got wrong."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.rundir.predictions import file_of
from pytest_evalrun.rundir.results import read_result
from pytest_evalrun.rundir.samplelines import SampleLines, answer_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.rundir.layout import PairPaths, RunPaths
    from pytest_evalrun.rundir.results import Result
    from pytest_evalrun.suite.pairs import PairKey

# Of a suite that is gone nobody knows the inputs.
NOWHERE = Inputs()


@dataclass(frozen=True)
class ScoredSample:
    """One sample, with cells of what was asked; ``file`` is what the model wrote, where that is one.

    ``generation`` is which of several answers to it this is.
    """

    index: int
    generation: int | None
    id: str
    inputs: tuple[Any, ...]
    prediction: Any
    reference: Any
    metric: str
    score: float
    file: str | None


def worst(
    paths: RunPaths,
    pair: PairKey,
    metric: str | None = None,
    n: int = 20,
    written: Path | None = None,
    inputs: Inputs = NOWHERE,
) -> list[ScoredSample]:
    """The ``n`` samples with the worst scores, worst first; ``better`` of the result says which end that is.

    Without a name, the first metric that scores its samples one by one. ``written`` is where the model wrote files.
    """
    files = paths.pair(pair)
    result = _result(files)
    name = _scored_metric(files, result, metric)
    sign = 1 if result.metrics[name]["better"] == "higher" else -1
    scored = ((sign * score, answer_of(line), score) for line, score in _scores(files, name))
    chosen = {answer: score for _, answer, score in heapq.nsmallest(n, scored)}
    found = {
        answer_of(line): _sample(written or files.outputs, line, cells, name, chosen[answer_of(line)])
        for line, cells in inputs.beside(_predictions(files, chosen))
    }
    return [found[answer] for answer in chosen if answer in found]


def wrong(
    paths: RunPaths,
    pair: PairKey,
    metric: str | None = None,
    written: Path | None = None,
    inputs: Inputs = NOWHERE,
) -> Iterator[ScoredSample]:
    """The samples that a right-or-wrong metric scored 0, in dataset order.

    A sample that failed has no score, and is no wrong answer.
    """
    files = paths.pair(pair)
    result = _result(files)
    name = _binary_metric(files, result, metric)
    misses = (answer_of(line) for line, score in _scores(files, name) if score == 0)
    for line, cells in inputs.beside(_joined(files, misses)):
        yield _sample(written or files.outputs, line, cells, name, 0.0)


def _result(files: PairPaths) -> Result:
    result = read_result(files.result)
    if result is None or not files.scores.exists() or not files.predictions.exists():
        raise ConfigError(
            f"{files.result}: this pair has no scored samples yet; evaluate it first, or name another run"
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


def _predictions(files: PairPaths, answers: Container[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    return (line for line in SampleLines(files.predictions).ordered() if answer_of(line) in answers)


def _joined(files: PairPaths, answers: Iterator[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """The predictions of ascending answers; both files are in dataset order, so one pass does it."""
    lines = SampleLines(files.predictions).ordered()
    line = next(lines, None)
    for answer in answers:
        while line is not None and answer_of(line) < answer:
            line = next(lines, None)
        if line is not None and answer_of(line) == answer:
            yield line


def _sample(written: Path, line: dict[str, Any], inputs: tuple[Any, ...], metric: str, score: float) -> ScoredSample:
    prediction, generation = line.get("prediction"), line.get("generation")
    name = file_of(prediction)
    file = None if name is None else str(written / name)
    reference = line.get("reference")
    return ScoredSample(line["index"], generation, line["id"], inputs, prediction, reference, metric, score, file)
