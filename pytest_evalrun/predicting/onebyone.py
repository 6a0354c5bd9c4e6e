"""A class of the user's own that is asked one by one: its coroutines in the asyncio thread, plain methods in threads.

What is under way when the session closes is told to end. A plain method cannot be: its thread is left to itself, and
keeps no process from ending.
"""

from __future__ import annotations

import random
import time
import traceback
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from pytest_evalrun.adapters.eventloop import Coroutines
from pytest_evalrun.adapters.retrying import AskAgain, retry_of, status_of
from pytest_evalrun.adapters.threads import DaemonThreads
from pytest_evalrun.children.faults import ModelError, may_pass
from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.predicting.patience import Patience
from pytest_evalrun.predicting.session import Again, Answers, summary_of
from pytest_evalrun.suite.waiting import backoff, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.adapters.predictone import PredictOne
    from pytest_evalrun.datasets.protocol import Sample

    Outcome = Answers | Again

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
# For what is under way when a pair is given up, and for the end of what was told to end.
CLOSE_SECONDS = 5.0
CANCEL_SECONDS = 1.0
POLL_SECONDS = 0.005


class OneByOneSession:
    """Asks for one sample at a time, as many at once as the class may be asked for.

    An error that says when to come back, or that its server has too much to do, is none of the sample's retries; one
    that may pass is. Meanwhile its place is free for others. Any other is the sample's end.
    """

    # Each is kept as it is answered, and asked again alone.
    batch_size = 1

    def __init__(self, model: PredictOne) -> None:
        self.in_flight = model.concurrency
        self._model = model
        self._patience = Patience()
        # By position and generation, of those that are being asked again.
        self._tries: dict[tuple[int, int], int] = {}
        self._tasks: Coroutines[Outcome] | None = Coroutines() if model.is_async else None
        threads = not model.is_async and model.concurrency > 1
        self._threads: DaemonThreads[Outcome] | None = DaemonThreads() if threads else None

    def submit(self, batch: Sequence[Sample]) -> Future[Outcome]:
        """Where one at a time is asked of a plain method, that is done here: a limit and Ctrl-C reach it."""
        (sample,) = batch
        self._patience.asked(_who(sample))
        if self._tasks is not None:
            return self._tasks.start(self._ask_async(sample))
        if self._threads is not None:
            return self._threads.start(partial(self._ask, sample))
        future: Future[Outcome] = Future()
        try:
            future.set_result(self._ask(sample))
        except Exception as error:  # noqa: BLE001 - a model may raise anything, and it costs its sample only
            future.set_exception(error)
        return future

    def close(self, *, at_once: bool = False) -> None:
        """Wait a moment for what is under way, unless ``at_once``; then tell it to end, and wait until it has."""
        running = self._tasks if self._tasks is not None else self._threads
        if running is None:
            return
        if not at_once:
            wait_until(lambda: not len(running), CLOSE_SECONDS, POLL_SECONDS)
        running.cancel()
        wait_until(lambda: not len(running), CANCEL_SECONDS, POLL_SECONDS)
        if self._tasks is not None:
            self._tasks.close()

    def _ask(self, sample: Sample) -> Outcome:
        started = time.perf_counter()
        try:
            answer = self._model.ask(sample)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(sample, error)
        return self._answered(sample, answer, started)

    async def _ask_async(self, sample: Sample) -> Outcome:
        started = time.perf_counter()
        try:
            answer = await self._model.ask_async(sample)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(sample, error)
        return self._answered(sample, answer, started)

    def _answered(self, sample: Sample, answer: object, started: float) -> Answers:
        """Of the try that was answered: what was waited for before is no time of the model."""
        self._patience.answered(_who(sample))
        self._tries.pop(_who(sample), None)
        return Answers([answer], time.perf_counter() - started)

    def _failed(self, sample: Sample, error: Exception) -> Again:
        """Say when to ask again; raise what is final."""
        who = _who(sample)
        self._patience.ended(who)
        if isinstance(error, EvalrunError):
            raise error
        retry = retry_of(error, self._model.retry_on)
        if retry is None:
            if not may_pass(error):
                raise error
            if status_of(error) is not None:
                # A refusal that is an OSError all the same, as those of requests and urllib are.
                text = f"{type(error).__name__}: {error}"
                raise ModelError(text, "".join(traceback.format_exception(error))) from None
            retry = AskAgain(None, counts=True)
        tries = self._tries[who] = self._tries.get(who, -1) + 1
        pause = retry.after
        if pause is None:  # never all at the same moment
            pause = backoff(tries, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311
        failing = self._patience.refused(who, retry.after)
        return Again(pause, summary_of(error), counts=retry.counts, failing=failing)


def _who(sample: Sample) -> tuple[int, int]:
    return sample.index, sample.generation
