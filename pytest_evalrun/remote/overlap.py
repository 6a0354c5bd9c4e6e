"""Three things at once: while a batch runs on the board, the next goes up and the last comes down."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Result = TypeVar("Result")


class Overlap(Generic[Result]):
    """Batches go through stages of a thread each, which does one after the other in the order in which they come."""

    def __init__(self, *names: str) -> None:
        self._threads = [ThreadPoolExecutor(1, f"evalrun-{name}") for name in names]
        self._open: set[Future[Result]] = set()
        self._closed = False

    def submit(self, *stages: Callable[[], Result | None]) -> Future[Result]:
        """Call a function in each of the threads, until one of them gives something or fails: that is the future's."""
        future: Future[Result] = Future()
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        self._go_on(future, list(zip(self._threads, stages, strict=True)))
        return future

    def close(self) -> None:
        """Wait for what is under way, which goes no further; futures that have no result by then are cancelled."""
        self._closed = True
        for thread in self._threads:
            thread.shutdown(cancel_futures=True)
        for future in list(self._open):
            future.cancel()

    def _go_on(
        self, future: Future[Result], left: Sequence[tuple[ThreadPoolExecutor, Callable[[], Result | None]]]
    ) -> None:
        thread, stage = left[0]

        def work() -> None:
            try:
                result = stage()
            except BaseException as error:  # noqa: BLE001 - whoever waits for the future gets it
                future.set_exception(error)
                return
            if result is not None:
                future.set_result(result)
            elif not self._closed:
                self._go_on(future, left[1:])

        thread.submit(work)
