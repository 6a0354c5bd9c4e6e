"""Something done on all boards at once, so that a dead one is waited for once and not by each that comes after it."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

B = TypeVar("B")
T = TypeVar("T")
# A thread and a handshake each: more of them would only make each other late.
MOST = 64


def at_once(
    do: Callable[[B], T],
    boards: Sequence[B],
    *,
    within: float | None = None,
    late: T | None = None,
    drop: Callable[[T], object] = lambda _: None,
) -> list[T]:
    """Call ``do`` with each board; give the results in their order, or raise what the first of them raised.

    Where there are seconds ``within`` which all must be done, ``late`` stands for what is not, and what comes of it
    after all is given to ``drop``. Threads are never waited for, not even at the end of the process.
    """
    gifts: list[Future[T]] = [Future() for _ in boards]
    waiting = deque(zip(gifts, boards, strict=True))
    for number in range(len(boards) if within is not None else min(len(boards), MOST)):
        threading.Thread(target=_work, args=[do, waiting], name=f"evalrun-board-{number}", daemon=True).start()
    done: set[Future[T]] = set()
    try:
        done = wait(gifts, within).done
    finally:
        for gift in set(gifts) - done:
            gift.add_done_callback(partial(_drop, drop))
    return [gift.result() if gift in done else cast("T", late) for gift in gifts]


def _work(do: Callable[[B], T], waiting: deque[tuple[Future[T], B]]) -> None:
    with suppress(IndexError):  # nothing is left
        while True:
            gift, board = waiting.popleft()
            try:
                given = do(board)
            except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
                gift.set_exception(error)
            else:
                gift.set_result(given)


def _drop(drop: Callable[[T], object], gift: Future[T]) -> None:
    if gift.exception() is None:
        drop(gift.result())
