"""The one asyncio thread of this process: started with the first who asks many things at once, ended with the last."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

Result = TypeVar("Result")
# So long its end is waited for; it is a daemon, and holds up no process.
END_SECONDS = 5.0


class LoopThread:
    """A thread with an event loop. A forked child has none of its parent's threads, and starts its own.

    asyncio takes 40 ms to import, which models that are asked batch by batch have no use for.
    """

    def __init__(self) -> None:
        import asyncio

        self.users = 0
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="evalrun-asyncio", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        import asyncio

        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        # Libraries have tasks of their own, which nobody else ends: a connection that is still being made, say.
        if left := asyncio.all_tasks(self.loop):
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(left, timeout=END_SECONDS / 2))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run it there; cancelling its future cancels it."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def end(self, *, wait: bool) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        if wait:
            self._thread.join(END_SECONDS)


class _Shared:
    """The thread of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None

    def take(self) -> LoopThread:
        with self._lock:
            if self._thread is None:
                self._thread = LoopThread()
            self._thread.users += 1
            return self._thread

    def give_back(self, thread: LoopThread, *, busy: bool) -> None:
        """Those of before a fork are nobody's any more. Of one that is ``busy`` the next who comes has another."""
        if thread.pid != os.getpid():
            return
        with self._lock:
            thread.users -= 1
            if thread is self._thread and (busy or not thread.users):
                self._thread = None
        if not thread.users:
            thread.end(wait=not busy)

    def forget(self) -> None:
        self.__init__()  # type: ignore[misc]


_shared = _Shared()


def take_thread() -> LoopThread:
    """The thread of this process, for as long as it is not given back."""
    return _shared.take()


def give_back_thread(thread: LoopThread, *, busy: bool = False) -> None:
    """Give it back once: with its last user it ends.

    ``busy`` where something in there does not end: it would hold up whoever takes the thread from now on.
    """
    _shared.give_back(thread, busy=busy)


os.register_at_fork(after_in_child=lambda: _shared.forget())


class Coroutines(Generic[Result]):
    """Coroutines of the user's that run in the event loop for one owner, who can end them."""

    def __init__(self) -> None:
        self._thread = take_thread()
        self._loop = self._thread.loop
        self._open: dict[Future[Result], asyncio.Task[Result | _Raised] | None] = {}

    def __len__(self) -> int:
        """How many have not ended."""
        return len(self._open)

    def start(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """What it raises is that of the future, were it SystemExit: the loop is not its own to end."""
        future: Future[Result] = Future()
        self._open[future] = None
        self._loop.call_soon_threadsafe(self._start, future, coroutine)
        return future

    def cancel(self) -> None:
        """Those that have not ended are told to, and their futures are cancelled once they have."""
        self._loop.call_soon_threadsafe(self._cancel)

    def close(self) -> None:
        """Once, and what has not ended by then is lost."""
        give_back_thread(self._thread, busy=bool(self._open))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Who was interrupted while he waited wants no answer any more."""
        if self._open:
            self.cancel()
        self.close()

    def _start(self, future: Future[Result], coroutine: Coroutine[Any, Any, Result]) -> None:
        task = self._loop.create_task(_guarded(coroutine))
        self._open[future] = task
        task.add_done_callback(partial(self._ended, future, coroutine))

    def _cancel(self) -> None:
        for task in list(self._open.values()):
            if task is not None:
                task.cancel()

    def _ended(
        self, future: Future[Result], coroutine: Coroutine[Any, Any, Result], task: asyncio.Task[Result | _Raised]
    ) -> None:
        coroutine.close()  # one that was cancelled before it began would be missed
        self._open.pop(future)
        if task.cancelled():
            future.cancel()
        elif not future.set_running_or_notify_cancel():
            return  # whoever asked does not want it any more
        elif isinstance(result := task.result(), _Raised):
            future.set_exception(result.error)
        else:
            future.set_result(result)


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


async def _guarded(coroutine: Coroutine[Any, Any, Result]) -> Result | _Raised:
    import asyncio

    try:
        return await coroutine
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit in a task would end the loop of all
        return _Raised(error)
