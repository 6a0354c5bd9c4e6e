"""One budget per endpoint and key for all of a user's processes on a host, whatever session they are of.

Nobody governs it: whoever asks an endpoint looks every few hundredths of a second at what the others have and want
(:mod:`pytest_evalrun.llm.askers`), takes what is its share by the same rules as everybody, and gives back what is more
than that as its requests end. So there is nothing to start, and nothing that could die and take the budget with it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import reduce
from threading import Lock
from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError
from pytest_evalrun.llm.askers import Asker, EndpointDirectory, divide, shown, tell
from pytest_evalrun.llm.limiter import Concurrency, Limiter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_evalrun.llm.limiter import LimitChange
    from pytest_evalrun.rundir.locks import FileLock

LOOK_SECONDS = 0.05
# Who lacks places looks oftener.
LACKING_SECONDS = 0.01
# Who has not looked for so long (it is stopped, or has nothing to ask) keeps what it has and gets no more.
ABSENT_SECONDS = 2.0
# Where there are more askers than places, one that has a place may keep it for so long before others have their turn.
TURN_SECONDS = 1.0
# What was used within such a window, and the one before, is what an asker needs.
WINDOW_SECONDS = 0.1
# Who left its places unused asks for none for so long.
IDLE_SECONDS = 1.0
ALL = 1 << 30


class Budget:
    """The places of one asker: how many requests it may have in flight, and what their answers teach about the limit.

    Where those that ask have different limits, the smallest of each number counts for all of them as long as they ask.
    ``room`` is for one thread; what tells of answers may come from any.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        limits: Concurrency,
        *,
        event: Callable[..., object],
        directory: Path | None = None,
    ) -> None:
        """``event`` is called, by ``room``, for each change of the limit that an answer to this asker has made.

        Raises ConfigError where the directory of all endpoints is not to be trusted.
        """
        self._endpoint = shown(url)
        self._limits = limits
        self._event = event
        self._directory = EndpointDirectory(url, key, directory)
        self._lock: FileLock | None = None
        self._demand = _Demand()
        self._answers = _Answers()
        self._room = self._taken = 0
        self._got = self._held = self._look_at = 0.0

    def room(self, busy: int) -> int:
        """How many requests may be in flight now, of which ``busy`` are; 0 for a while where others have them all.

        Raises PairError where the files of the budget cannot be used any more.
        """
        now = time.monotonic()
        self._demand.note(busy, self._room, now)
        self._answers.busy, self._answers.ended = busy, 0
        if now >= self._look_at or self._room < self._taken > busy:
            self._look(busy, now)
        return self._room

    def succeeded(self, first_try: bool) -> None:
        """A request was answered. One that had been refused before tells nothing of the limit."""
        self._answers.succeeded(first_try)

    def limited(self, after: float | None) -> None:
        """A request was refused by a rate limit, with so many seconds to wait where the endpoint said so."""
        self._answers.limited(after)
        self._look_at = 0.0

    def troubled(self) -> None:
        """A request ended with a server's error or a time-out."""
        self._answers.trouble()

    def close(self) -> None:
        """Give all places back; the next call of ``room`` asks for new ones."""
        lock, self._lock = self._lock, None
        if lock is not None:
            if lock.is_open:  # else we are a forked child, and it is the parent's
                lock.path.unlink(missing_ok=True)
            lock.close()
        self._demand = _Demand()
        self._room = self._taken = 0
        self._got = self._look_at = 0.0

    def _look(self, busy: int, now: float) -> None:
        changes: list[LimitChange] = []
        self._look_at = now + LACKING_SECONDS
        try:
            with self._directory.alone() as alone:
                if alone:
                    # All processes have this clock; whoever looks later has the later time.
                    changes = self._settle(busy, time.monotonic())
                elif self._answers.refused:  # nothing more is sent until that is known to all
                    self._room = min(self._room, busy)
        except OSError as error:
            raise PairError(f"{error.filename or self._directory.path}: {error.strerror}") from error
        if changes:  # a wave of refusals is one
            facts = {"limit": changes[-1].limit, "was": changes[0].was, "reason": changes[-1].reason}
            self._event("limit_changed", endpoint=self._endpoint, **facts)

    def _settle(self, busy: int, now: float) -> list[LimitChange]:
        """Take or give back what our share says, and tell the others."""
        askers = self._directory.askers()
        lock = self._lock
        if lock is None or not lock.is_open or lock.path.name not in askers:
            lock = self._lock = self._join(busy, now)
        others = {name: asker for name, asker in askers.items() if name != lock.path.name and asker is not None}
        limits = reduce(Concurrency.together, (asker.concurrency for asker in others.values()), self._limits)
        limit, changes = self._learn(limits, others, now)
        own = self._asker(busy, now)
        share = _shares(limit, {**others, lock.path.name: own}, now)[lock.path.name]
        free = limit - sum(asker.taken for asker in others.values())
        had, self._taken = self._taken, max(busy, min(share, max(self._taken, free)))
        self._room = min(self._taken, share)
        if not had and self._taken:
            self._got = now
        if self._taken:
            self._held = now
        self._look_at = now + (LACKING_SECONDS if self._room < share else LOOK_SECONDS)
        tell(lock, replace(own, taken=self._taken, got=self._got, held=self._held))
        return changes

    def _join(self, busy: int, now: float) -> FileLock:
        """Come as the last of those that wait, with what is in flight all the same: somebody may have cleaned up."""
        if self._lock is not None:
            self._lock.close()
        self._taken, self._held = busy, now
        return self._directory.join()

    def _asker(self, busy: int, now: float) -> Asker:
        return Asker(
            taken=self._taken,
            busy=busy,
            peak=self._demand.peak,
            wants=self._demand.wants(now, self._room),
            got=self._got,
            held=self._held,
            seen=now,
            least=self._limits.least,
            start=self._limits.start,
            most=self._limits.most,
        )

    def _learn(self, limits: Concurrency, others: Mapping[str, Asker], now: float) -> tuple[int, list[LimitChange]]:
        """The limit of all, after what came back since our last look."""
        answered, refused, troubled = self._answers.take()
        if limits.fixed:
            return limits.most, []
        limiter = self._directory.limiter(now) or Limiter(limits.start)
        before = replace(limiter)
        changes = [limiter.bound(limits)]
        busy = sum(asker.busy for asker in others.values())
        changes += [limiter.limited(limits, now, left + busy, after) for left, after in refused]
        if troubled:
            limiter.troubled()
        elif answered:
            peak = self._demand.peak + sum(asker.peak for asker in others.values())
            changes.append(limiter.succeeded(limits, now, peak, answered))
        if limiter != before:
            self._directory.keep(limiter, now)
        return limiter.limit, [change for change in changes if change is not None]


class _Answers:
    """What came back since the last look; told by the thread of the requests, taken by that of the loop."""

    def __init__(self) -> None:
        self.busy = self.ended = 0
        self._lock = Lock()
        self._clear()

    def _clear(self) -> None:
        self._answered, self._troubled = 0, False
        self.refused: list[tuple[int, float | None]] = []

    def succeeded(self, first_try: bool) -> None:
        with self._lock:
            self.ended += 1
            self._answered += first_try

    def limited(self, after: float | None) -> None:
        with self._lock:
            self.ended += 1
            self.refused.append((max(0, self.busy - self.ended), after))

    def trouble(self) -> None:
        with self._lock:
            self.ended += 1
            self._troubled = True

    def take(self) -> tuple[int, list[tuple[int, float | None]], bool]:
        """How many were answered at the first try; of each refusal the requests left and the wait; any trouble."""
        with self._lock:
            taken = self._answered, self.refused, self._troubled
            self._clear()
        return taken


class _Demand:
    """What an asker needs, by what it used of its room in this window of time and the one before."""

    def __init__(self) -> None:
        self._now = self._before = (0, True)
        self._ends = self._idle_until = 0.0

    def note(self, busy: int, room: int, now: float) -> None:
        if now >= self._ends:
            self._before, self._now = self._now, (0, False)
            self._ends = now + WINDOW_SECONDS
        peak, full = self._now
        self._now = max(busy, peak), full or busy >= room

    @property
    def peak(self) -> int:
        """How many requests were in flight at most."""
        return max(self._now[0], self._before[0])

    def wants(self, now: float, room: int) -> int:
        """All that there is to have, if the room was ever full; else a little more than what was used of it."""
        peak = self.peak
        full = self._now[1] or self._before[1]
        if not peak and room and not full:
            self._idle_until = now + IDLE_SECONDS
        if peak or now >= self._idle_until:
            return ALL if full else peak + 1 + peak // 4
        return 0


def _shares(limit: int, askers: Mapping[str, Asker], now: float) -> dict[str, int]:
    """Who may have how many places: everybody who looks comes to the same."""
    names = sorted(askers, key=lambda name: (*_precedence(askers[name], now), name))
    wants = [_wanted(askers[name], now) for name in names]
    return dict(zip(names, divide(limit, wants), strict=True))


def _wanted(asker: Asker, now: float) -> int:
    return asker.wants if now - asker.seen < ABSENT_SECONDS else asker.taken


def _precedence(asker: Asker, now: float) -> tuple[int, float]:
    """Where there are fewer places than askers: whose turn it is, then who waits, the longest first."""
    if not asker.taken:
        return 1, asker.held
    return (0 if now - asker.got < TURN_SECONDS else 2), -asker.got
