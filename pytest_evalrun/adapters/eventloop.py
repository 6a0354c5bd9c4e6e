"""The one asyncio thread of this process: whatever asks many things at once over a network does so in there."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def event_loop() -> asyncio.AbstractEventLoop:
    """The loop, which runs from the first call on; its thread keeps no process from ending."""
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="evalrun-asyncio", daemon=True).start()
        return _loop


def _forget() -> None:
    """A forked child has a copy of the loop, and no thread that runs it."""
    global _loop, _lock
    _loop, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


class Coroutines(Generic[Result]):
    """Coroutines that run in the event loop for one owner, who can end them."""

    def __init__(self) -> None:
        self._loop = event_loop()
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
    try:
        return await coroutine
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit in a task would end the loop of all
        return _Raised(error)
