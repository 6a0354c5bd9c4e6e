"""How a loaded model is asked, batch by batch, and what it answers as lines of predictions."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.adapters.protocol import Detailed
from pytest_evalrun.errors import EvalrunError, PairError, SampleError
from pytest_evalrun.predicting.outputs import reference_to_json
from pytest_evalrun.rundir.predictions import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.work import PairWork


class LoadedModel(Protocol):
    """What was loaded, however it is asked: a model in this process or another one, or a place for programs."""

    def load(self) -> None:
        """Take what it needs. Raises PairError."""

    def close(self) -> None:
        """Give it back."""


@dataclass(frozen=True)
class Answers:
    """One prediction a sample, and the seconds that whoever asked had to wait for them."""

    predictions: Sequence[Any]
    seconds: float


@dataclass(frozen=True)
class Again:
    """The batch was not answered, and shall be asked again ``after`` seconds; its place is free meanwhile.

    ``counts`` where that is one of the batch's ``retries``; a link that was lost is not the fault of the batch.
    ``failing`` where what is asked fails as a whole: when nothing succeeds for a minute, the pair is given up.
    """

    after: float
    reason: str
    counts: bool = True
    failing: bool = False


class Session(Protocol):
    """A loaded model that is asked for one pair; it never tries a batch again by itself.

    ``in_flight`` is read before each submit: 1 for a model in this process, 3 on a board, what is free of an endpoint,
    of which for a while there may be nothing.
    """

    @property
    def in_flight(self) -> int: ...

    @property
    def batch_size(self) -> int | None:
        """So many samples it takes at once; None where that is the suite's to say."""

    def submit(self, batch: Sequence[Sample]) -> Future[Answers | Again]:
        """Ask for a batch, whose samples have no references; an error of the model is that of the future.

        A model in this process is asked in the calling thread, so that a limit of time and Ctrl-C reach it: what is
        not an Exception is raised at once. An error of one sample is a SampleError, of the pair a PairError.
        """

    def close(self, *, at_once: bool = False) -> None:
        """Give back what belongs to the session alone; ``at_once``: without a wait for what is under way."""


class CallSession:
    """A model that answers while it is called: in this process, or in a child process of its own."""

    in_flight = 1
    batch_size = None

    def __init__(self, predict: Callable[[Sequence[Sample]], Sequence[Any]]) -> None:
        self._predict = predict

    def submit(self, batch: Sequence[Sample]) -> Future[Answers | Again]:
        """Each sample has waited for the whole batch."""
        future: Future[Answers | Again] = Future()
        started = time.perf_counter()
        try:
            predictions = self._predict(batch)
        except Exception as error:  # noqa: BLE001 - a model may raise anything, and it costs its samples only
            future.set_exception(error)
        else:
            future.set_result(Answers(predictions, time.perf_counter() - started))
        return future

    def close(self, *, at_once: bool = False) -> None:
        """The model stays loaded."""


_SCALARS = frozenset({str, int, bool, NoneType})


class LineMaker:
    """Makes the lines of one pair."""

    def __init__(self, work: PairWork) -> None:
        self._dataset = work.pair.dataset.path
        self._outputs = work.outputs
        self._secrets = work.context.secrets
        self._several = work.settings.generations > 1
        self._shown = work.context.shown

    def answered(self, batch: Sequence[Sample], answers: Answers) -> list[Line]:
        """One line a sample; an answer that cannot be kept fails its sample alone.

        Raises PairError where the model did not answer one prediction a sample: nobody knows then whose is whose.
        Raises OSError for a file that the model names and that cannot be read.
        """
        check_length(answers.predictions, batch)
        seconds, plain = round(answers.seconds, 6), not self._secrets.hides_in_predictions
        # Of most samples nothing is to be converted, blanked or saved: a call for each would cost more than all else.
        return [
            Line(s.index, s.id, "ok", p, s.reference, None, seconds)
            if plain and not self._several and type(p) in _SCALARS and type(s.reference) in _SCALARS
            else self.line(s, p, seconds)
            for s, p in zip(batch, answers.predictions, strict=True)
        ]

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
            return self._failed(sample, reference, str(error), seconds)
        kept, kept_detail = self._secrets.prediction(value), self._secrets.prediction(detail)
        blanked = kept is not value or kept_detail is not detail
        generation = sample.generation if self._several else None
        return Line(sample.index, sample.id, "ok", kept, reference, None, seconds, kept_detail, blanked, generation)

    def failed(self, sample: Sample, reason: str, seconds: float | None = None) -> Line:
        """A sample that could not be predicted, with its reason: never a wrong answer."""
        return self._failed(sample, reference_to_json(sample.reference, self._dataset), reason, seconds)

    def _failed(self, sample: Sample, reference: Any, reason: str, seconds: float | None) -> Line:
        generation = sample.generation if self._several else None
        error = self._shown(reason)
        return Line(sample.index, sample.id, "failed", None, reference, error, seconds, generation=generation)


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
