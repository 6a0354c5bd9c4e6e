"""The samples of a pair whole: what was asked, what came, what it should have been, how it was scored.

Whoever shows or exports samples takes them from here: the report, the live page, Inspect's format.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.rundir.samplelines import answer_of, sample_lines
from pytest_evalrun.suite.answering import JUDGE, TAKEN
from pytest_evalrun.suite.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.rundir.layout import PairPaths

    Line = Mapping[str, Any]

NOTHING: Mapping[str, Any] = MappingProxyType({})


class SampleRecord(NamedTuple):
    """One answer to one sample. ``inputs`` are named parts of what was asked, raw; empty where nobody knows them.

    ``generation`` is which of several answers it is; ``answer`` what was taken out of the prediction, ``no_answer`` why
    nothing was; ``scores`` metric → score, None where it has none; ``detail`` what else the model told; ``judged``
    metric → what its judge said. ``blanked`` where a secret was taken out of the prediction.
    """

    index: int  # type: ignore[assignment] # the word of the format; tuple.index is not missed
    id: str
    generation: int | None
    failed: bool
    inputs: Mapping[str, Any]
    prediction: Any
    reference: Any
    answer: Any = None
    no_answer: str | None = None
    scores: Mapping[str, float | None] = NOTHING
    error: str | None = None
    seconds: float | None = None
    detail: Mapping[str, Any] = NOTHING
    judged: Mapping[str, str] = NOTHING
    blanked: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """The place of the sample, and which of several answers to it."""
        return self.index, self.generation or 0


def records(
    files: PairPaths,
    inputs: Inputs = Inputs(),  # noqa: B008 - it is frozen
    fingerprint: Mapping[str, Any] = NOTHING,
) -> Iterator[SampleRecord]:
    """All answers of a pair in dataset order, one pass over each file; nothing where there are no predictions.

    ``fingerprint`` is the result's, which says who judged. Memory does not grow with the samples.
    """
    told = JudgesWords(files, fingerprint)
    for (line, score), value in inputs.paired(scored_lines(files), lambda both: both[0]):
        yield record_of(line, score, inputs.parts(value), told.of(line))


def scored_lines(
    files: PairPaths, read: Callable[[Path], Iterable[dict[str, Any]]] = sample_lines
) -> Iterator[tuple[Line, Line]]:
    """Each prediction with its line of scores, which is empty where it has none, in dataset order.

    ``read`` reads a file so, and raises what it raises.
    """
    if not files.predictions.is_file():
        return
    scores = iter(read(files.scores)) if files.scores.is_file() else iter(())
    score = next(scores, None)
    for line in read(files.predictions):
        place = answer_of(line)
        while score is not None and answer_of(score) < place:
            score = next(scores, None)
        same = score is not None and answer_of(score) == place
        yield line, score if same and score is not None else {}


def record_of(line: Line, score: Line, inputs: Mapping[str, Any], judged: Mapping[str, str]) -> SampleRecord:
    """Put together what lies in several files of one answer."""
    told = line.get
    return SampleRecord(  # by place: there are 100,000 of them
        line["index"],
        str(told("id")),
        told("generation"),
        told("status") != "ok",
        inputs,
        told("prediction"),
        told("reference"),
        score.get("answer"),
        score.get("no_answer"),
        {name: value for name, value in score.items() if name not in TAKEN},
        told("error"),
        told("seconds"),
        told("detail") or NOTHING,
        judged,
        told("blanked") is True,
    )


def judges_in(fingerprint: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics of a result that a judge has scored."""
    metrics = (fingerprint.get("score") or {}).get("metrics") or {}
    return tuple(name for name, spec in metrics.items() if isinstance(spec, dict) and spec.get("use") == JUDGE)


class JudgesWords:
    """What the judges of a pair said; asked for its answers in dataset order."""

    def __init__(self, files: PairPaths, fingerprint: Mapping[str, Any]) -> None:
        judges = judges_in(fingerprint)
        found = {name: files.judged(safe_name(name) if len(judges) > 1 else None).predictions for name in judges}
        self._lines = {name: iter(sample_lines(path)) for name, path in found.items() if path.is_file()}
        self._next = {name: next(lines, None) for name, lines in self._lines.items()}
        self._generations = (fingerprint.get("prediction") or {}).get("generations", 1)

    def of(self, line: Line) -> dict[str, str]:
        """Metric → words, of those who said something of this answer."""
        found: dict[str, str] = {}
        for name, lines in self._lines.items():
            index, generation = answer_of(line)
            place, verdict = index * self._generations + generation, self._next[name]
            while verdict is not None and verdict["index"] < place:
                verdict = self._next[name] = next(lines, None)
            if verdict is not None and verdict["index"] == place:
                found[name] = str(verdict.get("prediction") or verdict.get("error") or "")
        return found
