"""What a model answered, as lines of predictions: in builtins, without secrets, with the seconds that it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.adapters.protocol import Detailed
from pytest_evalrun.errors import EvalrunError, PairError, SampleError
from pytest_evalrun.predicting.outputs import reference_to_json
from pytest_evalrun.rundir.predictions import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.session import Answers
    from pytest_evalrun.predicting.work import PairWork


class LineMaker:
    """Makes the lines of one pair."""

    def __init__(self, work: PairWork) -> None:
        self._dataset = work.pair.dataset.path
        self._outputs = work.outputs
        self._secrets = work.context.secrets
        self._shown = work.context.shown

    def answered(self, batch: Sequence[Sample], answers: Answers) -> list[Line]:
        """One line a sample; an answer that cannot be kept fails its sample alone.

        Raises PairError where the model did not answer one prediction a sample: nobody knows then whose is whose.
        Raises OSError for a file that the model names and that cannot be read.
        """
        check_length(answers.predictions, batch)
        seconds = round(answers.seconds, 6)
        return [self.line(s, p, seconds) for s, p in zip(batch, answers.predictions, strict=True)]

    def line(self, sample: Sample, prediction: Any, seconds: float | None) -> Line:
        """The line of one answer; ``seconds`` that the model told of it itself are believed."""
        reference = reference_to_json(sample.reference, self._dataset)
        detail = None
        try:
            if isinstance(prediction, Detailed):
                detail = self._outputs.to_json(prediction.detail, sample, ".detail")
                prediction, seconds = prediction.prediction, _own_seconds(detail, sample, seconds)
            value = self._outputs.to_json(prediction, sample)
        except SampleError as error:
            return Line(sample.index, sample.id, "failed", None, reference, self._shown(str(error)), seconds)
        kept, kept_detail = self._secrets.prediction(value), self._secrets.prediction(detail)
        blanked = kept is not value or kept_detail is not detail
        return Line(sample.index, sample.id, "ok", kept, reference, None, seconds, kept_detail, blanked)

    def failed(self, sample: Sample, reason: str, seconds: float | None = None) -> Line:
        """A sample that could not be predicted, with its reason: never a wrong answer."""
        reference = reference_to_json(sample.reference, self._dataset)
        return Line(sample.index, sample.id, "failed", None, reference, self._shown(reason), seconds)


def summary_of(error: Exception) -> str:
    """An error in one line: our own speak for themselves, all others need their name."""
    return str(error) if isinstance(error, EvalrunError) else f"{type(error).__name__}: {error}"


def check_length(predictions: Sequence[Any], batch: Sequence[Sample]) -> None:
    """A model that answers too few or too many cannot be trusted to keep their order: the pair ends."""
    try:
        found = len(predictions)
    except TypeError:
        kind = type(predictions).__name__
        raise PairError(f"predict answered {kind} to a batch of {len(batch)}; it must answer a list") from None
    if found != len(batch):
        raise PairError(f"predict answered {found} predictions to a batch of {len(batch)} samples")


def _own_seconds(detail: dict[str, Any], sample: Sample, seconds: float | None) -> float | None:
    own = detail.get("seconds", seconds)
    if own is None and seconds is None:
        return None
    if isinstance(own, bool) or not isinstance(own, int | float) or own < 0:
        raise SampleError(f"sample {sample.id}: the model told seconds: {own!r}; accepted: a number from 0")
    return float(own)
