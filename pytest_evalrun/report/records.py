"""The samples of a pair whole: what was asked, what came, what it should have been, how it was scored.

Whoever shows or exports samples takes them from here: the report, the live page, Inspect's format.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.samplelines import Inputs, SampleLines, answer_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.rundir.layout import PairPaths

# Beside these, what stands in a line of scores is a metric's score.
NO_SCORES = frozenset({"index", "id", "generation", "answer", "no_answer"})


@dataclass(frozen=True)
class SampleRecord:
    """One answer to one sample. ``inputs`` are named parts of what was asked, raw; empty where nobody knows them.

    ``generation`` is which of several answers it is; ``answer`` what was taken out of the prediction, ``no_answer`` why
    nothing was; ``scores`` metric → score, None where it has none; ``detail`` what else the model told.
    """

    index: int
    id: str
    generation: int | None
    failed: bool
    inputs: Mapping[str, Any]
    prediction: Any
    reference: Any
    answer: Any = None
    no_answer: str | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    error: str | None = None
    seconds: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> tuple[int, int]:
        """The place of the sample, and which of several answers to it."""
        return self.index, self.generation or 0


def records(files: PairPaths, inputs: Inputs = Inputs()) -> Iterator[SampleRecord]:  # noqa: B008 - it is frozen
    """All answers of a pair in dataset order, one pass over each file; nothing where there are no predictions.

    Memory does not grow with the samples.
    """
    if not files.predictions.is_file():
        return
    scores = SampleLines(files.scores).ordered() if files.scores.is_file() else iter(())
    score = next(scores, None)
    names = inputs.names or ("input",)
    for line, values in inputs.beside(SampleLines(files.predictions).ordered()):
        place = answer_of(line)
        while score is not None and answer_of(score) < place:
            score = next(scores, None)
        same = score is not None and answer_of(score) == place
        yield _record(line, dict(zip(names, values, strict=False)), score if same and score is not None else {})


def _record(line: Mapping[str, Any], inputs: Mapping[str, Any], score: Mapping[str, Any]) -> SampleRecord:
    return SampleRecord(
        index=line["index"],
        id=str(line.get("id")),
        generation=line.get("generation"),
        failed=line.get("status") != "ok",
        inputs=inputs,
        prediction=line.get("prediction"),
        reference=line.get("reference"),
        answer=score.get("answer"),
        no_answer=score.get("no_answer"),
        scores={name: value for name, value in score.items() if name not in NO_SCORES},
        error=line.get("error"),
        seconds=line.get("seconds"),
        detail=line.get("detail") or {},
    )
