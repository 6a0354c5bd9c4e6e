"""Samples at work: each in a thread with an event loop of its own, or all in one loop; what they end as.

Whatever a task does there, the worker goes on: blocking calls, SystemExit, an end that never comes.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.agents.statuses import SampleStatus
from pytest_evalrun.agents.worker.tasksessions import BenchSpeech, Outcome, SampleCancelled, TaskSession, task_error
from pytest_evalrun.suite.forks import UsersCode

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from pytest_evalrun.agents.worker.dialogue import Asks

_OUTCOME = frozenset({"status", "result", "reward", "metrics"})
_LONGEST_TRACE = 20_000


class Performance(Protocol):
    """A sample at work."""

    at_once: bool
    """Whether it is stopped as soon as it is cancelled: nothing of it can be left half done."""

    def stop(self) -> None:
        """End it as far as that can be done; it may take no notice."""


class SampleHost(Protocol):
    """Where the samples of a worker run."""

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """Call something else of the task's."""

    def start(self, asks: Asks) -> Performance:
        """Begin a sample."""

    def close(self) -> None:
        """Nothing begins any more."""


@dataclass(frozen=True)
class Bench:
    """AgentBench's own classes, as its task has imported them: of sessions, of what comes in, and of what goes out."""

    session: Any
    agent_output: Any
    task_output: Any


class Script:
    """A task's ``start_sample`` with its session, from begin to end, whatever comes of it."""

    def __init__(self, task: Any, bench: Bench | None) -> None:
        self._task = task
        self._bench = bench
        self.is_async = bench is not None or inspect.iscoroutinefunction(task.start_sample)

    def perform(self, asks: Asks) -> None:
        """The whole of a plain sample; a process that its code forks ends with it."""
        with self._telling(asks) as session, UsersCode():
            session.outcome = outcome_of(self._task.start_sample(asks.index, session.given))

    async def perform_async(self, asks: Asks) -> None:
        """The same of one that is async."""
        with self._telling(asks) as session, UsersCode():
            result = self._task.start_sample(asks.index, session.given)
            session.outcome = outcome_of(await result if inspect.isawaitable(result) else result)

    @contextmanager
    def _telling(self, asks: Asks) -> Iterator[_Given]:
        """Tell how the sample ended, whatever is raised: SystemExit ends this sample alone."""
        try:
            session = self._session(asks)
        except BaseException as error:
            self.lose(asks, error)
            raise
        try:
            yield session
        except BaseException as error:  # noqa: BLE001 - as above
            session.outcome = _failed(error)
        asks.end(session.speech.end(session.outcome))

    def _session(self, asks: Asks) -> _Given:
        if self._bench is None:
            own = TaskSession(asks, getattr(self._task, "tools", None) or ())
            return _Given(own, own)
        session = self._bench.session()
        session.controller = BenchSpeech(asks, session, self._bench.agent_output)
        return _Given(session, session.controller)

    def lose(self, asks: Asks, error: BaseException) -> None:
        """Tell of a sample that cannot begin, or whose loop has ended before it."""
        failed = _failed(error)
        asks.end(task_error(asks.index, str(failed.result), ours=self._bench is None))


@dataclass
class _Given:
    """The session that a task is given, what tells of it, and how it ended."""

    given: Any
    speech: BenchSpeech | TaskSession
    outcome: Outcome = field(default_factory=lambda: Outcome(SampleStatus.UNKNOWN))


class Threads:
    """A thread for each sample, with an event loop where it is async. None keeps the process from ending."""

    def __init__(self, make: Callable[[], Script]) -> None:
        self._script = make()

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        _start_thread(partial(_settle, future, function))
        return future

    def start(self, asks: Asks) -> Performance:
        if self._script.is_async:
            return _OwnLoop(self._script, asks)
        _start_thread(partial(self._script.perform, asks))
        return _Unstoppable()

    def close(self) -> None:
        """Its threads are daemons."""


class OneLoop:
    """All samples in one event loop, where the task was made too: for tasks that share what belongs to a loop."""

    def __init__(self, make: Callable[[], Script]) -> None:
        self._loop = asyncio.new_event_loop()
        self._open = True
        _start_thread(self._run)
        self._script: Script = self.call(make).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while self._open:
            try:
                self._loop.run_forever()
            except BaseException:  # noqa: BLE001 - SystemExit in a task that a sample made
                traceback.print_exc()

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._loop.call_soon_threadsafe(_settle, future, function)
        return future

    def start(self, asks: Asks) -> Performance:
        if not self._script.is_async:
            _start_thread(partial(self._script.perform, asks))
            return _Unstoppable()
        performance = _Cancellable()
        self._loop.call_soon_threadsafe(self._begin, performance, asks)
        return performance

    def _begin(self, performance: _Cancellable, asks: Asks) -> None:
        performance.begun(self._loop.create_task(self._script.perform_async(asks)))

    def close(self) -> None:
        self._open = False
        self._loop.call_soon_threadsafe(self._loop.stop)


class _Unstoppable:
    at_once = False

    def stop(self) -> None:
        """Threads cannot be stopped."""


class _Cancellable:
    """A coroutine in another thread's loop."""

    at_once = False

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def begun(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def stop(self) -> None:
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)


class _OwnLoop(_Cancellable):
    def __init__(self, script: Script, asks: Asks) -> None:
        super().__init__()
        _start_thread(partial(self._run, script, asks))

    def _run(self, script: Script, asks: Asks) -> None:
        try:
            with asyncio.Runner() as runner:
                try:
                    runner.run(self._perform(script.perform_async(asks)))
                except BaseException as error:  # noqa: BLE001 - SystemExit in a task that the sample made
                    script.lose(asks, error)
        except BaseException:  # noqa: BLE001 - what a sample leaves behind in its loop
            traceback.print_exc()

    async def _perform(self, performance: Coroutine[Any, Any, None]) -> None:
        task = asyncio.current_task()
        assert task is not None, "a runner runs tasks"
        self.begun(task)
        await performance

    def stop(self) -> None:
        try:
            super().stop()
        except RuntimeError:
            return  # its loop is closed: it has ended


def _settle(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
        future.set_exception(error)


def _start_thread(run: Callable[[], None]) -> None:
    threading.Thread(target=run, daemon=True).start()


def outcome_of(result: Any) -> Outcome:
    """Read what a task returned: a result by itself, or one with a status. Raises ValueError for what is neither."""
    if result is None:
        raise ValueError("start_sample returned nothing; accepted: the result of the sample, or its status and result")
    if inspect.iscoroutine(result):
        result.close()  # Python would tell of it once more
    if inspect.isawaitable(result):
        raise ValueError("start_sample returned a coroutine that nobody awaited; accepted: `async def start_sample`")
    if isinstance(result, Mapping):
        # With a result beside it, a status that is misspelled is no result of the world's own: it might look solved.
        is_outcome = "status" in result and result.keys() <= _OUTCOME
        if not is_outcome or not ("result" in result or _is_status(result["status"])):
            return Outcome(SampleStatus.COMPLETED, result)
        words = {"result": None, **result}
    elif hasattr(result, "status") and hasattr(result, "result"):
        words = {name: getattr(result, name, None) for name in _OUTCOME}
    else:
        return Outcome(SampleStatus.COMPLETED, result)
    status = words["status"]
    # The user's own enum of these words has another hash.
    if not _is_status(status) or (ended := SampleStatus(str.__str__(status))) is SampleStatus.RUNNING:
        ends = ", ".join(status for status in SampleStatus if status is not SampleStatus.RUNNING)
        raise ValueError(f"start_sample returned the status {status!r}; accepted: {ends}")
    return Outcome(ended, words["result"], words.get("reward"), words.get("metrics"))


def _is_status(status: Any) -> bool:
    return isinstance(status, str) and any(status == known for known in SampleStatus)


def _failed(error: BaseException) -> Outcome:
    if isinstance(error, SampleCancelled):
        return Outcome(SampleStatus.CANCELLED)
    trace = "".join(traceback.format_exception(error))
    status = SampleStatus.CANCELLED if isinstance(error, asyncio.CancelledError) else SampleStatus.TASK_ERROR
    return Outcome(status, trace if len(trace) <= _LONGEST_TRACE else f"…{trace[-_LONGEST_TRACE:]}")
