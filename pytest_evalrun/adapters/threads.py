"""Plain methods of the user's, many of them at once: a thread that does not end holds up nobody."""

from __future__ import annotations

import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class DaemonThreads(Generic[Result]):
    """Calls in threads of which there are as many as were ever busy at once; none keeps the process from ending."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Result], Future[Result]] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._open: set[Future[Result]] = set()
        self._count = 0

    def __len__(self) -> int:
        """How many calls have not ended."""
        return len(self._open)

    def start(self, call: Callable[[], Result]) -> Future[Result]:
        """Whatever it raises is that of the future."""
        future: Future[Result] = Future()
        self._open.add(future)
        self._calls.put((call, future))
        if not self._idle.acquire(blocking=False):
            self._count += 1
            threading.Thread(target=self._run, name=f"evalrun-predict-{self._count}", daemon=True).start()
        return future

    def cancel(self) -> None:
        """Nobody waits for their answers any more, and each thread ends with its call."""
        for _ in range(self._count):
            self._calls.put(None)
        for future in list(self._open):
            future.cancel()
        self._open.clear()

    def _run(self) -> None:
        while (found := self._calls.get()) is not None:
            call, future = found
            _settle(future, call)
            self._open.discard(future)
            self._idle.release()


def _settle(future: Future[Result], call: Callable[[], Result]) -> None:
    """Its future is not told that it runs, so that it can be cancelled for as long as it does."""
    if future.cancelled():
        return
    with suppress(InvalidStateError):
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - whoever waits for the future gets it
            future.set_exception(error)
        else:
            future.set_result(result)
