"""Batches handed to the model: what is done is skipped, what failed is retried, then split."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_evalrun.adapters.protocol import Detailed
from pytest_evalrun.children.faults import ModelError, may_pass
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import EvalrunError, PairError, SampleError
from pytest_evalrun.predicting.outputs import reference_to_json
from pytest_evalrun.rundir.predictions import Line
from pytest_evalrun.rundir.state import RunningState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_evalrun.adapters.protocol import Adapter
    from pytest_evalrun.predicting.work import PairWork

# A model that fails three batches whole is broken, not unlucky: going on would only cost time.
HOPELESS = 3
BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0


@dataclass
class Counts:
    """What happened in this session, as the state file shows it."""

    batch: int = 0
    failed_batches: int = 0
    retries: int = 0
    failed_in_a_row: int = 0


class Predictor:
    """Asks one adapter for what is missing of one pair."""

    def __init__(self, work: PairWork, adapter: Adapter) -> None:
        self.pair = work.pair
        self.context = work.context
        self.adapter = adapter
        self.progress = work.progress
        self.count = work.count
        self.size = max(1, work.settings.max_batch_size)
        self.outputs = work.outputs
        self.state = work.state
        self.counts = Counts()
        self.batches = -(-(work.count - work.progress.done_count) // self.size)
        self.completed = work.progress.done_count

    def run(self, samples: Iterable[Sample]) -> None:
        """Predict every sample that is not done. Raises PairError after three whole batches failed in a row."""
        for batch in self._batches(samples):
            self._report(0, len(batch))
            self._keep(batch, self._ask(batch))
        self.state.finish()

    def _keep(self, batch: list[Sample], lines: list[Line]) -> None:
        self.progress.append(lines)
        self._count(lines)
        self._report(len(batch), len(batch))
        self._check_hope(lines)
        self.context.check_launcher()

    def _batches(self, samples: Iterable[Sample]) -> Iterator[list[Sample]]:
        waiting = (s for s in islice(samples, self.count) if not self.progress.is_done(s.index))
        while batch := list(islice(waiting, self.size)):
            yield batch

    def _ask(self, batch: list[Sample], failed: Exception | None = None) -> list[Line]:
        """The lines of a batch: whole, after retries, or split down to the samples that fail.

        ``failed`` is what a first attempt raised that was made already.
        """
        for attempt in range(self.pair.settings.retries + 1):
            try:
                return self._predict(batch) if failed is None or attempt else _raised(failed)
            except PairError:
                raise
            except Exception as error:  # noqa: BLE001 - a model may raise anything, and it costs its samples only
                self._end_if_asked(error)
                self._tell(batch, error)
                if not may_pass(error) or attempt == self.pair.settings.retries:
                    return self._split(batch, error)
                self._back_off(batch, attempt, error)
        raise AssertionError("unreachable")

    def _split(self, batch: list[Sample], error: Exception) -> list[Line]:
        """Halves, each asked once: one bad sample costs itself only."""
        if len(batch) == 1:
            return [self._failed(batch[0], error)]
        middle = len(batch) // 2
        return [line for half in (batch[:middle], batch[middle:]) for line in self._ask_once(half)]

    def _ask_once(self, batch: list[Sample]) -> list[Line]:
        try:
            return self._predict(batch)
        except PairError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._end_if_asked(error)
            return self._split(batch, error)

    def _end_if_asked(self, error: Exception) -> None:
        """`q` at a breakpoint raises an Exception, but it ends the session as Ctrl-C does, not a sample."""
        if isinstance(error, self.context.ends_session):
            raise KeyboardInterrupt(str(error)) from error

    def _predict(self, batch: list[Sample]) -> list[Line]:
        """References stay with us: a model must not see the answers. Each sample has waited for the whole batch."""
        blind = without_references(batch)
        started = time.perf_counter()
        predictions = self.adapter.predict(blind)
        seconds = round(time.perf_counter() - started, 6)
        return self._lines(batch, predictions, seconds)

    def _lines(self, batch: Sequence[Sample], predictions: Sequence[Any], seconds: float) -> list[Line]:
        _check_length(predictions, batch)
        return [self._line(s, p, seconds) for s, p in zip(batch, predictions, strict=True)]

    def _line(self, sample: Sample, prediction: Any, seconds: float) -> Line:
        reference = reference_to_json(sample.reference, self.pair.dataset.path)
        detail = None
        try:
            if isinstance(prediction, Detailed):
                detail = self.outputs.to_json(prediction.detail, sample, ".detail")
                prediction, seconds = prediction.prediction, _own_seconds(detail, sample, seconds)
            value = self.outputs.to_json(prediction, sample)
        except SampleError as error:
            return Line(sample.index, sample.id, "failed", None, reference, self.context.shown(str(error)), seconds)
        kept = self.context.secrets.prediction(value)
        told = self.context.secrets.prediction(detail)
        blanked = kept is not value or told is not detail
        return Line(sample.index, sample.id, "ok", kept, reference, None, seconds, told, blanked)

    def _failed(self, sample: Sample, error: Exception) -> Line:
        """A sample that could not be predicted, with its reason: never a wrong answer."""
        reference = reference_to_json(sample.reference, self.pair.dataset.path)
        return Line(sample.index, sample.id, "failed", None, reference, self.context.shown(_summary(error)), None)

    def _tell(self, batch: list[Sample], error: Exception) -> None:
        self.context.say(f"batch of {len(batch)} from sample {batch[0].id} failed: {_summary(error)}")
        if isinstance(error, ModelError):  # raised by us: only where the model was is news
            told = error.traceback
        else:
            told = None if isinstance(error, EvalrunError) else "".join(traceback.format_exception(error))
        if told:
            self.context.say(told.rstrip())

    def _back_off(self, batch: list[Sample], attempt: int, error: Exception) -> None:
        self.counts.retries += 1
        self._report(0, len(batch))
        pause = min(BACKOFF_SECONDS * 2**attempt, LONGEST_BACKOFF_SECONDS)
        self.context.say(f"trying the batch again in {pause:g} s ({attempt + 1} of {self.pair.settings.retries})")
        told = {"attempt": attempt + 1, "error": self.context.shown(_summary(error))}
        self.context.events.write("batch_retried", self.pair.full_id, batch=self.counts.batch + 1, **told)
        time.sleep(pause)

    def _count(self, lines: list[Line]) -> None:
        failed = [line for line in lines if line.status == "failed"]
        self.counts.batch += 1
        self.completed += len(lines) - len(failed)
        self.counts.failed_batches += bool(failed)
        self.counts.failed_in_a_row = self.counts.failed_in_a_row + 1 if len(failed) == len(lines) else 0

    def _check_hope(self, lines: list[Line]) -> None:
        """Raise PairError where the model failed too often in a row, once the state says so."""
        if self.counts.failed_in_a_row == HOPELESS and self.counts.batch < self.batches:
            self.state.finish()
            raise PairError(f"{HOPELESS} whole batches failed in a row; the last one: {lines[-1].error}")

    def _report(self, within: int, size: int) -> None:
        batch = min(self.counts.batch + (within == 0), self.batches)
        self.state.update(
            RunningState(
                current_batch=batch,
                total_batches=self.batches,
                batch_completed=within,
                batch_total=size,
                failed_batches=self.counts.failed_batches,
                retry_count=self.counts.retries,
                timestamp=int(time.time()),
                max_batch_size=self.size,
                total_data=self.count,
            )
        )


def _raised(error: Exception) -> NoReturn:
    raise error


def without_references(batch: Sequence[Sample]) -> list[Sample]:
    return [Sample(s.index, s.id, s.input) for s in batch]


def _own_seconds(detail: dict[str, Any], sample: Sample, seconds: float) -> float:
    own = detail.get("seconds", seconds)
    if isinstance(own, bool) or not isinstance(own, int | float) or own < 0:
        raise SampleError(f"sample {sample.id}: the model told seconds: {own!r}; accepted: a number from 0")
    return float(own)


def _summary(error: Exception) -> str:
    return str(error) if isinstance(error, EvalrunError) else f"{type(error).__name__}: {error}"


def _check_length(predictions: Sequence[Any], batch: Sequence[Sample]) -> None:
    """A model that answers too few or too many cannot be trusted to keep their order: the pair ends."""
    try:
        found = len(predictions)
    except TypeError:
        kind = type(predictions).__name__
        raise PairError(f"predict answered {kind} to a batch of {len(batch)}; it must answer a list") from None
    if found != len(batch):
        raise PairError(f"predict answered {found} predictions to a batch of {len(batch)} samples")
