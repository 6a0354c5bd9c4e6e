"""How many requests an endpoint takes at once: a number that is given, or one that is found out from its answers.

The adaptive numbers are those of Inspect AI (``util/_concurrency.py``): slow start doubles after each clean round, 5 %
are added a round after the first cut, a rate limit costs a fifth, once in 15 seconds. With these alone a server that
allows 20 refuses a third of all that comes in those seconds: a start of 20 becomes 40, and one cut makes that 32. So
five things differ:

- Requests that are refused together were sent together, before anybody knew. Each of them after the first tells how
  many are left that were not refused, and in the ``BURST_SECONDS`` after a cut the limit falls to that: to what the
  endpoint allows, at the cost of one wave. Those left are counted in two ways, of what is in flight and of what was
  when the wave began, and the larger number counts: others may have told their requests a moment ago, or a request may
  have been sent in the middle of it.
- A limit that lasted a whole round is better known than a fifth: one step too many is taken back, and no more. Only if
  it is refused too does that cost a fifth.
- A round is of requests that were sent under its limit: those in flight when it grew tell nothing of it.
- Before a step that was taken back is tried again, twice as many rounds must be clean as the last time, up to
  ``LONGEST_PATIENCE``: where a request takes half a minute, one refusal a round would be more than one in twenty.
- Limits are not rounded to multiples of 5: above 20 that would be five refused at each try for more, and not one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from pytest_evalrun.errors import ConfigError

SHORTEST_ROUND = 4
USED = 0.8
CUT = 0.8
STEP = 0.05
COOLDOWN_SECONDS = 15.0
# Answers to what was sent before a cut arrive so long after it.
BURST_SECONDS = 2.0
LONGEST_PATIENCE = 16
_ADAPTIVE = re.compile(r"\s*(\d+)\s*-\s*(\d+)\s*-\s*(\d+)\s*")
_FIXED = re.compile(r"\s*(\d+)\s*")


@dataclass(frozen=True)
class Concurrency:
    """Between how many requests at once, and where it starts; all three are one where the number is given."""

    least: int
    start: int
    most: int

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to find out."""
        return self.least == self.most

    @classmethod
    def parse(cls, words: int | str) -> Self:
        """Read ``concurrency``: ``20``, or ``10-20-100``. Raises ConfigError for anything else."""
        text = str(words)
        if found := _FIXED.fullmatch(text):
            numbers = [int(found[1])] * 3
        else:
            found = _ADAPTIVE.fullmatch(text)
            numbers = [int(number) for number in found.groups()] if found else [0]
        if isinstance(words, bool) or numbers[0] < 1 or numbers != sorted(numbers):
            raise ConfigError(
                f"concurrency: found {words!r}; accepted: a number from 1, or three that do not fall, "
                "least-start-most, as in 10-20-100"
            )
        return cls(*numbers)

    def together(self, other: Concurrency) -> Concurrency:
        """What both allow: the smallest of each number."""
        return Concurrency(min(self.least, other.least), min(self.start, other.start), min(self.most, other.most))

    def bounded(self, limit: int) -> int:
        return max(self.least, min(self.most, limit))


@dataclass(frozen=True)
class LimitChange:
    """The limit is another one now."""

    limit: int
    was: int
    reason: str


@dataclass
class Limiter:
    """The adaptive limit and what its next change depends on: plain numbers, so that many processes can share it.

    It has no clock: ``now`` is whatever seconds all of them agree on. ``in_flight`` are the requests of all of them.
    """

    limit: int
    slow_start: bool = True
    # A limit that lasted a whole round, and was not refused since; 0 where none is known.
    clean: int = 0
    # Of the round: answers at the first try, below 0 those to come of what was sent before; the most in flight.
    answered: int = 0
    peak: int = 0
    # Clean rounds at this limit, and how many it takes until more are tried.
    rounds: int = 0
    patience: int = 1
    # When it may grow again, or be cut; until when refusals are of one wave, and what is left of that.
    grow_at: float = 0.0
    wave: int = 0
    burst_end: float = 0.0

    def succeeded(self, limits: Concurrency, now: float, in_flight: int, count: int = 1) -> LimitChange | None:
        """So many requests were answered at their first try: once a round is full, the limit grows."""
        if now < self.grow_at:
            return None
        self.peak = max(self.peak, in_flight)
        self.answered += count
        if self.answered < max(self.limit, SHORTEST_ROUND):
            return None
        peak, reason = self.peak, f"{self.answered} answers without a refusal"
        self.troubled()
        if peak < USED * self.limit:  # nobody knows whether the endpoint would have taken as many as it was allowed
            return None
        self.rounds += 1
        if self.limit > self.clean:
            self.clean, self.patience = self.limit, 1
        if self.rounds < self.patience:
            return None
        self.answered = -min(peak, self.limit)
        step = self.limit if self.slow_start else max(1, round(STEP * self.limit))
        return self._set(limits.bounded(self.limit + step), reason)

    def limited(
        self, limits: Concurrency, now: float, in_flight: int, after: float | None = None
    ) -> LimitChange | None:
        """A request was refused by a rate limit; ``in_flight`` are those left, ``after`` the seconds to wait."""
        self.troubled()
        self.slow_start = False
        reason = f"a rate limit with {in_flight} others in flight"
        if now < self.burst_end:
            self.wave -= 1
            return self._set(limits.bounded(min(self.limit, max(self.wave, in_flight))), reason)
        if now < self.grow_at and self.limit != self.clean:
            return None
        if self.clean >= self.limit:
            self.clean = 0
        cut = int(CUT * self.limit)
        if self.clean > cut:
            self.patience = min(2 * self.patience, LONGEST_PATIENCE)
        self.wave, self.burst_end = in_flight, now + BURST_SECONDS
        self.grow_at = now + max(COOLDOWN_SECONDS, after or 0.0)
        return self._set(limits.bounded(max(cut, self.clean)), reason)

    def troubled(self) -> None:
        """Begin the round anew: the endpoint has other worries, and no answer of it says how much it takes."""
        self.answered = self.peak = 0

    def bound(self, limits: Concurrency) -> LimitChange | None:
        """Stay within limits that have changed."""
        return self._set(limits.bounded(self.limit), "what those allow that ask now")

    def _set(self, limit: int, reason: str) -> LimitChange | None:
        if limit == self.limit:
            return None
        was, self.limit, self.rounds = self.limit, limit, 0
        return LimitChange(limit, was, reason)
