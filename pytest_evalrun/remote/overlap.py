"""Three things at once: while a batch runs on the board, the next goes up and the last comes down."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from pytest_evalrun.errors import TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Batch = TypeVar("Batch")
Ready = TypeVar("Ready")
Ran = TypeVar("Ran")
Result = TypeVar("Result")


def overlapped(
    batches: Iterable[Batch],
    upload: Callable[[Batch], Ready],
    run: Callable[[Ready], Ran],
    fetch: Callable[[Ran], Result],
    interrupt: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """The results in the order of the batches; only one batch is ahead, so that a board never fills.

    ``run`` is called in this thread, one after the other, so that a limit of time or Ctrl-C reaches it. The first
    error ends all; what was fetched before it is yielded first. When the caller stops, what is under way is waited for;
    of Ctrl-C and a limit ``interrupt`` hears first, so that there is little to wait for.
    """
    with ThreadPoolExecutor(1, "evalrun-upload") as up, ThreadPoolExecutor(1, "evalrun-fetch") as down:
        waiting = iter(batches)
        ready = _next(up, waiting, upload)
        coming: Future[Result] | None = None
        try:
            while ready is not None:
                try:
                    batch = ready.result()
                    ready = _next(up, waiting, upload)
                    ran = run(batch)
                except Exception:
                    if coming is not None:
                        last, coming = coming, None
                        yield last.result()
                    raise
                last_one, coming = coming, down.submit(fetch, ran)
                if last_one is not None:
                    yield last_one.result()
            if coming is not None:
                yield coming.result()
        except (KeyboardInterrupt, TimedOut):
            interrupt()
            raise
        finally:
            for future in (ready, coming):
                if future is not None:
                    future.cancel()
                    with suppress(Exception, CancelledError):
                        future.result()


def _next(up: ThreadPoolExecutor, waiting: Iterator[Batch], upload: Callable[[Batch], Ready]) -> Future[Ready] | None:
    for batch in waiting:
        return up.submit(upload, batch)
    return None
