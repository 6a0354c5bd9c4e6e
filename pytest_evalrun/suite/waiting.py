"""Waiting for others: pauses that grow from try to try, and looking again until something is so."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def backoff(tries: int, first: float = 0.5, longest: float = 30.0) -> float:
    """Seconds to wait after so many tries in vain, counted from 0: twice as long each time, up to ``longest``."""
    return float(min(first * 2.0 ** min(tries, 1000), longest))


def pauses(first: float, longest: float) -> Iterator[float]:
    """The seconds of :func:`backoff` one after the other, without an end."""
    return (backoff(tries, first, longest) for tries in count())


def wait_until(condition: Callable[[], bool], seconds: float, poll: float) -> bool:
    """Look every ``poll`` seconds, at least once, and say whether it came true within ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(poll)
    return True
