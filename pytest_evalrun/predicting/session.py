"""How a loaded model is asked: batch by batch, with as many of them under way as it can have."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.datasets.protocol import Sample


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
    """

    after: float
    reason: str
    counts: bool = True


class Session(Protocol):
    """A loaded model that is asked for one pair; it never tries a batch again by itself.

    ``in_flight`` is read before each submit: 1 for a model in this process, 3 on a board.
    """

    @property
    def in_flight(self) -> int: ...

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
