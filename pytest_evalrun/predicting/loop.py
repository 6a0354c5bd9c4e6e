"""The one loop that asks a model: a window of batches under way, results kept as they end, failures tried and split."""

from __future__ import annotations

import heapq
import time
import traceback
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import count as numbers
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from pytest_evalrun.children.faults import ModelError, may_pass
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import EvalrunError, PairError, SampleError, TimedOut
from pytest_evalrun.predicting.session import Again, LineMaker, summary_of
from pytest_evalrun.rundir.state import RunningState
from pytest_evalrun.suite.waiting import backoff

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from pytest_evalrun.predicting.session import Answers, Session
    from pytest_evalrun.predicting.work import PairWork
    from pytest_evalrun.rundir.predictions import Line

# A model that fails three batches whole is broken, not unlucky: going on would only cost time.
HOPELESS = 3
# Where more than those are under way they say nothing together; then so many seconds without one success do.
HOPELESS_SECONDS = 60.0
NO_SUCCESS = f"no batch succeeded in {HOPELESS_SECONDS:g} s"
BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
# How often whoever waits for an answer looks whether the launching process lives.
LOOK_SECONDS = 0.2
# How often whoever has no place looks for one: nobody says when one becomes free of what is shared with others.
PLACE_SECONDS = 0.02


@dataclass(eq=False)
class _Batch:
    """A batch as it was cut from the dataset, until every sample of it has its line."""

    number: int
    samples: list[Sample]
    missing: int
    failed: int = 0
    # Samples that could not even be handed to the model: no fault of it.
    unreadable: int = 0
    attempts: int = 0


@dataclass(eq=False)
class _Request:
    """What is asked at once: a whole batch, or a part of one that failed, which is asked ``once``."""

    batch: _Batch
    samples: list[Sample]
    once: bool = False


class Loop:
    """Asks a session for what is missing of a pair. Every sample ends once: with its prediction, or as failed."""

    def __init__(self, work: PairWork, session: Session) -> None:
        self._pair = work.pair
        self._context = work.context
        self._session = session
        self._progress = work.progress
        self._lines = LineMaker(work)
        self._state = work.state
        self._count = work.count
        self._size = session.batch_size or max(1, work.settings.max_batch_size)
        self._generations = work.settings.generations
        self._retries = work.settings.retries
        self._batches = -(-(work.count - work.progress.done_count) // self._size)
        self._under_way: dict[Future[Answers | Again], _Request] = {}
        # What has ended of that, in the order in which it did: a look at all of it would cost more with each place.
        self._answered: SimpleQueue[Future[Answers | Again]] = SimpleQueue()
        # Parts of a batch that failed come before any other.
        self._parts: deque[_Request] = deque()
        # Heaps by the time at which to ask again: with the place kept, in whose stead nothing may be asked, or without.
        self._holding: list[tuple[float, int, _Request]] = []
        self._waiting: list[tuple[float, int, _Request]] = []
        self._order = numbers()
        self._is_all_cut = False
        self._ended = self._failed_batches = self._retried = self._failed_in_a_row = 0
        self._last_success = time.monotonic()

    def run(self, samples: Iterable[Sample]) -> None:
        """Predict every sample that is not done. Raises PairError where that is hopeless.

        Raises KeyboardInterrupt where this process was asked to leave and may wait, once nothing is under way.
        """
        coming, leaving = self._cut(samples), self._context.leaving
        while True:
            request = None if leaving.stops else self._next(coming)
            if request is not None:
                self._submit(request)
            elif self._is_over:
                break
            elif leaving.stops and not self._under_way:
                raise KeyboardInterrupt("asked to leave")
            else:
                self._wait()
            while not self._answered.empty():
                future = self._answered.get()
                self._take(self._under_way.pop(future), future)
        self._state.finish()

    @property
    def _is_over(self) -> bool:
        return self._is_all_cut and not (self._under_way or self._holding or self._waiting or self._parts)

    def keep_ended(self) -> None:
        """Keep what was answered though the pair has ended: nobody shall ask for it again."""
        for future, request in self._under_way.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                answers = future.result()
                if not isinstance(answers, Again):
                    self._progress.append(self._lines.answered(request.samples, answers))

    def _cut(self, samples: Iterable[Sample]) -> Iterator[_Request]:
        missing: Iterator[Sample] = islice(samples, self._count)
        if self._progress.done_count:
            each, is_done = self._generations, self._progress.is_done
            missing = (sample for sample in missing if not is_done(sample.index * each + sample.generation))
        for number in numbers(1):
            batch = list(islice(missing, self._size))
            if not batch:
                break
            yield _Request(_Batch(number, batch, len(batch)), batch)
        self._is_all_cut = True

    def _next(self, coming: Iterator[_Request]) -> _Request | None:
        """What to ask now, if anything may be: parts of a failed batch, then what has waited, then the next batch."""
        now = time.monotonic()
        if self._holding and self._holding[0][0] <= now:
            return heapq.heappop(self._holding)[2]
        if not self._has_room:
            return None
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        return self._parts.popleft() if self._parts else next(coming, None)

    @property
    def _has_room(self) -> bool:
        return self._session.in_flight > len(self._under_way) + len(self._holding)

    def _submit(self, request: _Request) -> None:
        """References stay with us: a model must not see the answers."""
        if not request.once:
            self._report(request.batch, 0)
        blind = [Sample(s.index, s.id, s.input, generation=s.generation) for s in request.samples]
        future = self._session.submit(blind)
        self._under_way[future] = request
        future.add_done_callback(self._answered.put)

    def _wait(self) -> None:
        """Wait until something ends or is due, but never long without a look at the launching process.

        What waits without a place is due only where there is room for it.
        """
        heaps = [heap for heap in (self._holding, self._waiting if self._has_room else []) if heap]
        pause = min([LOOK_SECONDS, *(max(0.0, heap[0][0] - time.monotonic()) for heap in heaps)])
        if not self._under_way:
            time.sleep(pause if heaps else min(pause, PLACE_SECONDS))
        else:
            with suppress(Empty):
                future = self._answered.get(timeout=pause)
                self._take(self._under_way.pop(future), future)
        self._context.check_launcher()

    def _take(self, request: _Request, future: Future[Answers | Again]) -> None:
        try:
            answers = future.result()
            if isinstance(answers, Again):
                self._ask_again(request, answers)
                return
            lines = self._lines.answered(request.samples, answers)
        except PairError:
            raise
        except Exception as error:  # noqa: BLE001 - a model may raise anything, and it costs its samples only
            self._fail(request, error)
            return
        self._last_success = time.monotonic()
        self._keep(request.batch, lines)

    def _fail(self, request: _Request, error: Exception) -> None:
        """An error that may pass is worth another try of the whole batch; any other is sought in its halves."""
        if isinstance(error, self._context.ends_session):
            # `q` at a breakpoint raises an Exception, but it ends the session as Ctrl-C does, not a sample.
            raise KeyboardInterrupt(str(error)) from error
        batch = request.batch
        if request.once:
            self._split(request, error)
            return
        self._tell(request.samples, error)
        if not may_pass(error) or batch.attempts == self._retries:
            self._split(request, error)
            return
        pause = backoff(batch.attempts, BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS)
        self._context.say(f"trying the batch again in {pause:g} s ({batch.attempts + 1} of {self._retries})")
        batch.attempts += 1
        self._note_retry(batch, batch.attempts, summary_of(error))
        self._ask_later(self._holding, request, pause)

    def _ask_again(self, request: _Request, again: Again) -> None:
        """A session that could not ask says when to come back; another batch may have its place meanwhile."""
        batch = request.batch
        if again.counts and batch.attempts == self._retries:
            self._split(request, ModelError(again.reason))
            return
        if again.failing and time.monotonic() - self._last_success >= HOPELESS_SECONDS:
            self._state.finish()
            raise PairError(f"{NO_SUCCESS}; the last time: {again.reason}")
        batch.attempts += again.counts
        self._note_retry(batch, max(batch.attempts, 1), again.reason)
        self._ask_later(self._waiting, request, again.after)

    def _ask_later(self, heap: list[tuple[float, int, _Request]], request: _Request, pause: float) -> None:
        heapq.heappush(heap, (time.monotonic() + pause, next(self._order), request))

    def _split(self, request: _Request, error: Exception) -> None:
        """Halves, each asked once: one bad sample costs itself only."""
        samples = request.samples
        if len(samples) == 1:
            request.batch.unreadable += isinstance(error, SampleError)
            self._keep(request.batch, [self._lines.failed(samples[0], summary_of(error))])
            return
        middle = len(samples) // 2
        halves = [_Request(request.batch, half, once=True) for half in (samples[:middle], samples[middle:])]
        self._parts.extendleft(reversed(halves))

    def _keep(self, batch: _Batch, lines: list[Line]) -> None:
        """Lines are kept at once; when its last one is, the batch has ended."""
        self._progress.append(lines)
        batch.failed += sum(line.status == "failed" for line in lines)
        batch.missing -= len(lines)
        if batch.missing:
            return
        self._ended += 1
        self._failed_batches += bool(batch.failed)
        if batch.failed < len(batch.samples):
            self._failed_in_a_row = 0
        elif batch.unreadable < batch.failed:
            self._failed_in_a_row += 1
        self._report(batch, len(batch.samples))
        if batch.failed == len(batch.samples):
            self._check_hope(lines)
        self._context.check_launcher()

    def _check_hope(self, lines: list[Line]) -> None:
        """Raise PairError where the model only fails and there is more to ask, once the state says so.

        A sample's own fault is none of the model: it counts for ``max_failed`` alone.
        """
        if self._ended == self._batches:
            return
        if self._session.in_flight <= HOPELESS:
            hopeless, told = self._failed_in_a_row == HOPELESS, f"{HOPELESS} whole batches failed in a row"
        else:
            seconds = time.monotonic() - self._last_success
            # Of a slow model one failure says nothing of those that are still under way.
            hopeless = self._failed_in_a_row >= self._session.in_flight and seconds >= HOPELESS_SECONDS
            told = NO_SUCCESS
        if hopeless:
            self._state.finish()
            raise PairError(f"{told}; the last one: {lines[-1].error}")

    def _tell(self, samples: Sequence[Sample], error: Exception) -> None:
        self._context.say(f"batch of {len(samples)} from sample {samples[0].id} failed: {summary_of(error)}")
        if isinstance(error, ModelError):  # raised by us: only where the model was is news
            stack = error.traceback
        else:
            stack = None if isinstance(error, EvalrunError) else "".join(traceback.format_exception(error))
        if stack:
            self._context.say(stack.rstrip())

    def _note_retry(self, batch: _Batch, attempt: int, reason: str) -> None:
        self._retried += 1
        self._report(batch, 0)
        facts: dict[str, Any] = {"batch": batch.number, "attempt": attempt, "error": self._context.shown(reason)}
        self._context.events.write("batch_retried", self._pair.full_id, **facts)

    def _report(self, batch: _Batch, completed: int) -> None:
        """The state file: ``completed`` samples of the batch at hand are done."""
        self._state.update(
            RunningState(
                current_batch=min(self._ended + (completed == 0), self._batches),
                total_batches=self._batches,
                batch_completed=completed,
                batch_total=len(batch.samples),
                failed_batches=self._failed_batches,
                retry_count=self._retried,
                timestamp=int(time.time()),
                max_batch_size=self._size,
                total_data=self._count,
            )
        )


def run_loop(work: PairWork, session: Session, samples: Iterable[Sample]) -> None:
    """Ask a session for what is missing, and close it however that ends; closing it is not the limit's business."""
    loop = Loop(work, session)
    try:
        with work.context.leaving.asking():
            loop.run(samples)
    except (KeyboardInterrupt, TimedOut):
        with work.context.services.paused():
            session.close(at_once=True)
        loop.keep_ended()
        raise
    except BaseException:
        with work.context.services.paused():
            session.close()
        loop.keep_ended()
        raise
    with work.context.services.paused():
        session.close()
