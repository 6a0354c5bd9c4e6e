"""The one thread of a process in which requests are made: started when the first is, ended with the last client."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

T = TypeVar("T")
# So long its end is waited for; it is a daemon, and holds up no process.
END_SECONDS = 5.0


class RequestThread:
    """A thread with an event loop. A forked child has none of its parent's threads, and starts its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="evalrun-requests", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run it there; cancelling its future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_SECONDS)


class _Shared:
    """The thread of this process, and how many use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: RequestThread | None = None
        self._users = 0

    def take(self) -> RequestThread:
        with self._lock:
            if self._thread is None:
                self._thread = RequestThread()
            self._users += 1
            return self._thread

    def give_back(self, thread: RequestThread) -> None:
        """Those of before a fork are nobody's any more."""
        with self._lock:
            if thread is not self._thread:
                return
            self._users -= 1
            if self._users:
                return
            self._thread = None
        thread.end()

    def forget(self) -> None:
        self.__init__()  # type: ignore[misc]


_shared = _Shared()


def take_thread() -> RequestThread:
    """The thread of this process, for as long as it is not given back."""
    return _shared.take()


def give_back_thread(thread: RequestThread) -> None:
    """Give it back once: with its last user it ends."""
    _shared.give_back(thread)


os.register_at_fork(after_in_child=lambda: _shared.forget())
