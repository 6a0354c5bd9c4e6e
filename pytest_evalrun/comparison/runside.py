"""A pair of a run as a side: its scores beside the references that its predictions carry."""

from __future__ import annotations

from functools import lru_cache, partial
from hashlib import sha256
from math import isfinite
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.side import SampleScores, Side
from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.lines import compact_line
from pytest_evalrun.rundir.samplelines import NotInOrder, SampleLines, answer_of, ascending, is_in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.rundir.layout import PairPaths

    Line = Mapping[str, Any]

# Hexadecimal digits of a hash: enough to tell a reference that was changed from one that was not.
DIGITS = 12
_REMEDY = "evaluate the pair again"


def run_side(
    name: str,
    pair: str,
    paths: PairPaths,
    metrics: Mapping[str, Mapping[str, Any]],
    scoring: Mapping[str, Any],
    *,
    references: bool = True,
) -> Side:
    """Whose rows raise PairError where scores or predictions are damaged or gone. Memory holds no samples.

    Samples without a score, such as those that failed, are no rows. Without ``references`` predictions are not read,
    and every reference is taken for the same.
    """
    return Side(name, pair, metrics, partial(_rows, paths, frozenset(metrics), references), scoring)


def reference_digest(reference: Any) -> str:
    """What equal references have in common, as a line of predictions keeps them."""
    if type(reference) is str:  # of many samples few labels
        return _digest_of_text(reference)
    return _digest(reference)


@lru_cache(maxsize=4096)
def _digest_of_text(reference: str) -> str:
    return _digest(reference)


def _digest(reference: Any) -> str:
    text = compact_line([reference], (reference,))
    return sha256(text[1:-2]).hexdigest()[:DIGITS]


def _rows(paths: PairPaths, metrics: frozenset[str], references: bool) -> Iterator[SampleScores]:
    lines = _lines(paths.scores)
    answers: list[tuple[Line, str]] = []
    for line, reference in _referred(paths, lines) if references else ((line, "") for line in lines):
        if answers and answers[0][0]["index"] != line["index"]:
            yield _row(paths, metrics, answers)
            answers = []
        answers.append((line, reference))
    if answers:
        yield _row(paths, metrics, answers)


def _referred(paths: PairPaths, lines: Iterator[Line]) -> Iterator[tuple[Line, str]]:
    """Each line of scores with the digest of its sample's reference; both files are in dataset order."""
    predictions = _lines(paths.predictions)
    for line in lines:
        place = answer_of(line)
        other = next((one for one in predictions if answer_of(one) >= place), None)
        if other is None or answer_of(other) != place or other.get("id") != line.get("id"):
            raise PairError(f"{paths.predictions}: no prediction of sample {line.get('id')}; {_REMEDY}")
        yield line, reference_digest(other.get("reference"))


def _lines(path: Path) -> Iterator[Line]:
    try:
        found = path.stat()
        if _is_in_order(path, found.st_ino, found.st_size, found.st_mtime_ns):
            yield from ascending(path)
            return
        lines = SampleLines(path)
        _check(lines)
        yield from lines.ordered()
    except OSError as error:
        raise PairError(f"{path}: {error.strerror}; {_REMEDY}") from error
    except NotInOrder:
        _check(SampleLines(path))
        raise PairError(f"{path}: it changes while it is read; wait for the run to end") from None


@lru_cache(maxsize=256)
def _is_in_order(path: Path, *_stat: int) -> bool:
    """Of a file as it was then: for the ids of some samples it is read again."""
    return is_in_order(path)


def _check(lines: SampleLines) -> None:
    if lines.broken:
        raise PairError(f"{lines.path}: {lines.broken[0]}; {_REMEDY}")


def _row(paths: PairPaths, metrics: frozenset[str], answers: Sequence[tuple[Line, str]]) -> SampleScores:
    line, reference = answers[0]
    found = [_scores(paths, metrics, one) for one, _ in answers]
    scores = found[0] if len(found) == 1 else _means(found)
    cluster, statistics = line.get("cluster"), line.get("statistic")
    return SampleScores(
        str(line.get("id")),
        reference,
        scores,
        None if cluster is None else str(cluster),
        # Of several answers there are several rows, and no way to draw the sample with all of them.
        statistics if isinstance(statistics, dict) and len(found) == 1 else {},
        len(found),
    )


def _scores(paths: PairPaths, metrics: frozenset[str], line: Line) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, score in line.items():
        if name in metrics and score is not None:
            if not isinstance(score, int | float) or not isfinite(score):
                raise PairError(
                    f"{paths.scores}: sample {line.get('id')}: {name}: found {score!r}, accepted: finite numbers; "
                    f"{_REMEDY}"
                )
            found[name] = float(score)
    return found


def _means(answers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for scores in answers for name in scores)
    values = {name: [scores[name] for scores in answers if name in scores] for name in names}
    return {name: sum(found) / len(found) for name, found in values.items()}
