"""What a comparison can see before it is made: smallest n, chance of PASS, the drop that would be seen.

PASS is ``low >= -margin`` and FAIL ``high < -margin`` of a two-sided interval at ``confidence``: at 0.95 each is wrong
with a chance of .025; what others call one-sided 95 % is a confidence of .90 here. ``discordance`` is the share of
samples that flip, either way. Chances are exact sums over all outcomes up to EXACT_FLIPS expected flips, normal beyond.
Plain Python, for many gates are looked at before a run.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_evalrun.stats.proportions import (
    binomial_at_most,
    binomial_chance,
    normal_quantile,
    normal_share,
    two_sided,
)
from pytest_evalrun.stats.tango import null_variance, score, tango_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

EXACT_FLIPS = 400  # from there on a normal chance is right to 0.003
# Summed over are so many standard deviations and flips to each side: what is left out is below 1e-11.
REACH, BESIDES = 7.0, 20


def least_n(margin: float, confidence: float = 0.95) -> int | None:
    """The smallest n at which PASS is possible for 0/1 scores (no flips, Tango); None of a margin of 0 or below.

    With fewer, only what won more samples than it lost may pass.
    """
    if margin <= 0:
        return None
    z2 = two_sided(confidence) ** 2
    n = max(1, math.ceil(z2 * (1 - margin) / margin) + 1)
    # Rounding may be off by one where n is the quotient itself; the interval decides.
    while n > 1 and tango_interval(n - 1, 0, 0, confidence)[0] >= -margin:
        n -= 1
    while tango_interval(n, 0, 0, confidence)[0] < -margin:
        n += 1
    return n


@lru_cache(maxsize=1024)
def least_n_bounded(margin: float, span: float, confidence: float = 0.95) -> int | None:
    """The same of the betting interval for paired differences within ``[-span, span]`` that are all 0."""
    import numpy as np

    from pytest_evalrun.stats.betting import betting_interval

    least = least_n(margin / span, confidence)
    if least is None or margin >= span:
        return least
    # It has no closed form: stakes depend on n. An eighth more than Tango's is nearly it.
    guess = math.ceil(1.13 * least)
    return _first(
        lambda n: betting_interval(np.zeros(n), -span, span, confidence)[0] >= -margin, guess, 1 + guess // 256
    )


def least_n_unseen(margin: float, worst: float, confidence: float = 0.95) -> int | None:
    """From which n on losses of ``worst`` that make up the margin would have been seen: what approximate methods need.

    As rare as ``margin / worst`` they are, and all of them unseen with the chance that is left to an end of the
    interval: 3.7 x worst / margin samples at 0.95. That one unseen loss cannot exceed the margin takes worst / margin
    alone, and there what goes by the spread that was seen passes a drop of the margin in up to a third of all cases;
    here in up to an eighth.
    """
    if margin <= 0:
        return None
    if margin >= worst:
        return 1
    return math.ceil(math.log((1 - confidence) / 2) / math.log1p(-margin / worst) * (1 - 1e-12))


@lru_cache(maxsize=4096)
def chance_of_pass(n: int, margin: float, discordance: float, drop: float = 0.0, confidence: float = 0.95) -> float:
    """The chance of PASS where the true drop is ``drop`` and a share of ``discordance`` of the samples flips.

    No fewer flip than the drop takes.
    """
    return _chance_above(n, margin, two_sided(confidence), discordance, drop)


def chance_of_fail(n: int, margin: float, discordance: float, drop: float = 0.0, confidence: float = 0.95) -> float:
    """The same of FAIL: the whole interval below ``-margin``."""
    return 1 - _chance_above(n, margin, -two_sided(confidence), discordance, drop)


@lru_cache(maxsize=1024)
def n_for_pass(
    margin: float, discordance: float, power: float = 0.8, drop: float = 0.0, confidence: float = 0.95
) -> int | None:
    """The n at which :func:`chance_of_pass` reaches ``power``; None where no n does."""
    if margin <= max(0.0, drop):
        return None
    least = least_n(margin, confidence) or 1
    guess = max(least, _normal_n(margin, discordance, power, drop, two_sided(confidence)))
    if guess * max(discordance, abs(drop)) > EXACT_FLIPS:
        return guess
    return _first(lambda n: chance_of_pass(n, margin, discordance, drop, confidence) >= power, guess, 1 + guess // 32)


@lru_cache(maxsize=1024)
def visible_drop(
    n: int, discordance: float, power: float = 0.8, confidence: float = 0.95, margin: float = 0.0
) -> float:
    """The true drop that ends in FAIL (the whole interval below ``-margin``) with a chance of ``power`` at this n.

    1 where not even a loss of everything would.
    """
    low, high = max(0.0, margin), 1.0
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        if chance_of_fail(n, margin, discordance, middle, confidence) < power:
            low = middle
        else:
            high = middle
    return high


def _first(holds: Callable[[int], bool], guess: int, step: int) -> int:
    """The smallest number that holds where all above it do; sought from a guess, in steps that double."""
    low, high = 0, guess
    while not holds(high):
        low, high, step = high, high + step, 2 * step
    if not low:
        low = max(0, high - step)
        while low and holds(low):
            low, high, step = max(0, low - 2 * step), low, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _normal_n(margin: float, discordance: float, power: float, drop: float, z: float) -> int:
    """The n at which Tango's test reaches the power by normal variables (Nam 1997, Biometrics 53, 1422-1430)."""
    lost, won = _shares(discordance, drop)
    null = null_variance(1, lost, won, -margin)
    spread = z * math.sqrt(null) + normal_quantile(power) * math.sqrt(max(0.0, lost + won - drop * drop))
    return math.ceil(max(1.0, spread * spread / (margin - drop) ** 2))


def _shares(discordance: float, drop: float) -> tuple[float, float]:
    """The shares of samples that are lost and won; no fewer flip than the drop takes."""
    flips = min(1.0, max(discordance, abs(drop)))
    return (flips + drop) / 2, (flips - drop) / 2


def _chance_above(n: int, margin: float, bar: float, discordance: float, drop: float) -> float:
    """The chance that Tango's score against a difference of ``-margin`` is at least ``bar``."""
    if margin >= 1:
        return 1.0
    lost, won = _shares(discordance, drop)
    flips = lost + won
    if n * flips > EXACT_FLIPS:
        null = math.sqrt(n / (n - 1) * null_variance(n, n * lost, n * won, -margin))
        excess = math.sqrt(n) * (margin - drop) - bar * null
        spread = math.sqrt(max(0.0, flips - drop * drop))
        return normal_share(excess / spread) if spread else float(excess >= 0)
    first, chances = _numbers_of_flips(n, flips)
    most = _most_lost(n, margin, bar, first, first + len(chances))
    share = lost / flips if flips else 0.0
    chance = sum(part * passing for part, passing in zip(chances, _at_most(first, most, share), strict=True))
    return min(1.0, max(0.0, chance))


def _numbers_of_flips(n: int, share: float) -> tuple[int, list[float]]:
    """The chances of so many flips, from the first number on that is worth a look to the last."""
    if share in (0, 1):
        return int(n * share), [1.0]
    spread = REACH * math.sqrt(n * share * (1 - share))
    first = max(0, math.floor(n * share - spread) - BESIDES)
    last = min(n, math.ceil(n * share + spread) + BESIDES)
    # From the likeliest number outwards: the first may be too unlikely for a float.
    likeliest, odds = min(n, math.floor((n + 1) * share)), share / (1 - share)
    chances = [binomial_chance(likeliest, n, share)]
    for flips in range(likeliest, last):
        chances.append(chances[-1] * odds * (n - flips) / (flips + 1))
    chances.reverse()
    for flips in range(likeliest, first, -1):
        chances.append(chances[-1] / odds * flips / (n - flips + 1))
    return first, chances[::-1]


def _most_lost(n: int, margin: float, bar: float, first: int, end: int) -> Iterator[int]:
    """How many of so many flips may be lost for the score to be at least ``bar``; -1 where not even none.

    One flip more is one lost more at most, and never one fewer: the score falls with a sample lost, rises with one won.
    """
    most = -1
    for flips in range(first, end):
        while most < flips and score(n, most + 1, flips - most - 1, -margin) >= bar:
            most += 1
        yield most


def _at_most(first: int, most: Iterable[int], share: float) -> Iterator[float]:
    """The chance that at most so many of ``first`` flips are lost, then of one more, and so on.

    Each follows from the one before: a flip more takes a share of the chance of exactly so many, a loss more adds it.
    """
    total = exactly = 0.0
    before = None
    for flips, lost in enumerate(most, first):
        if before is None or before < 0 or share in (0, 1):
            total = binomial_at_most(lost, flips, share)
            exactly = binomial_chance(lost, flips, share) if 0 < share < 1 else 0.0
        else:
            total -= share * exactly
            exactly *= (1 - share) * flips / (flips - before)
            if lost > before:
                exactly *= share / (1 - share) * (flips - before) / lost
                total += exactly
        before = lost
        yield total
