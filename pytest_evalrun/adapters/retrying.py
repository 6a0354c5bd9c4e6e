"""Which errors of the user's own code may pass, and when to ask again: what they say themselves, then their names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# Too many requests, or a server that has more than it can do: no fault of the sample.
LIMITED = frozenset({429, 503, 529})
# Request timeout, conflict, too early; and whatever else a server is to blame for.
PASSING = frozenset({408, 409, 425})
# What clients raise for a connection that is no OSError: openai and anthropic, aiohttp, httpx, grpc.
CONNECTION = frozenset({"APIConnectionError", "ClientConnectionError", "TransportError", "AioRpcError"})


@dataclass(frozen=True)
class AskAgain:
    """Ask again ``after`` so many seconds (None: nobody said when); ``counts`` where it is one of the retries."""

    after: float | None
    counts: bool


def retry_of(error: BaseException, names: Collection[str] = ()) -> AskAgain | None:
    """Read off an error whether another try may help; None where it says that it does not, or nothing at all.

    ``retry_after`` (seconds) and ``status_code`` are attributes that it may have; ``names`` are those of classes, with
    or without their module, of which it may be one.
    """
    after, status = _after(error), status_of(error)
    if status in LIMITED or (status is None and after is not None):
        return AskAgain(after, counts=False)
    if status is not None and (status in PASSING or status >= 500):
        return AskAgain(after, counts=True)
    known = [*names] if status is not None else [*names, *CONNECTION]
    return AskAgain(after, counts=True) if not set(known).isdisjoint(_names(error)) else None


def status_of(error: BaseException) -> int | None:
    """Find the HTTP status of an answer: where the openai SDK, aiohttp, httpx, requests and urllib put it."""
    places = ((error, "status_code"), (error, "status"), (getattr(error, "response", None), "status_code"))
    for holder, name in (*places, (error, "code")):
        found = getattr(holder, name, None)
        if isinstance(found, int) and 400 <= found < 600:
            return found
    return None


def _after(error: BaseException) -> float | None:
    found: Any = getattr(error, "retry_after", None)
    try:
        seconds = float(found)
    except (TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _names(error: BaseException) -> Iterator[str]:
    for cls in type(error).__mro__:
        yield cls.__name__
        yield f"{cls.__module__}.{cls.__qualname__}"
        yield f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"  # packages show what lies in modules of theirs
