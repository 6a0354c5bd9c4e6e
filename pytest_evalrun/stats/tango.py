"""Tango's score interval for the difference of paired proportions (Tango 1998, Statistics in Medicine 17, 891-908).

Of ``n`` samples ``lost`` were right before and are wrong now, ``won`` the other way round; the rest says nothing of the
difference but that it is small. All differences that the score test would not reject make up the interval, so that
it has a width where nothing flipped, too: z^2 / (n - 1 + z^2) to each side. Plain Python.

The variance is that of n - 1 samples, as Miettinen and Nurminen have it of two groups (1985, Statistics in Medicine 4,
213-226) and R's ratesci of pairs. Without it the interval is too short at small n: of a drop just as large as the
margin it says in up to .033 of all cases at n = 10 that it is smaller, where .025 is meant; with it in .0285 at most,
where no more than three samples in ten flip (tools/errorrates.py). The other end errs more: of a drop that is just
allowed it says in up to .052 of all cases that it is larger, where few samples are lost and hardly any is won.
"""

from __future__ import annotations

import math

from pytest_evalrun.stats.proportions import binomial_at_most, normal_share, two_sided

HALVINGS = 80  # of an interval of at most 2: far below what a float tells apart


def tango_interval(n: int, lost: int, won: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided interval of (won - lost) / n; never of no width."""
    _check(n, lost, won)
    z = two_sided(confidence)
    return 0.0 - _upper(n, won, lost, z), _upper(n, lost, won, z)


def tango_tail(n: int, lost: int, won: int, difference: float = 0.0) -> float:
    """The one-sided p-value of "the true difference is at least ``difference``": small where it is less.

    At a difference of 0 it is that of the exact sign test (the exact McNemar test, one-sided; Conover 1999, 3.4 and
    3.5), whose false alarms are never more than its level says; elsewhere that of Tango's score.
    """
    _check(n, lost, won)
    if difference == 0:
        return binomial_at_most(won, lost + won, 0.5)
    return normal_share(score(n, lost, won, difference))


def score(n: int, lost: float, won: float, difference: float) -> float:
    """Tango's statistic: how many standard errors (won - lost) / n is above ``difference``, were that the truth.

    Of n - 1 samples, as was said above: one sample says nothing.
    """
    if n == 1:
        return 0.0
    excess = won - lost - n * difference
    variance = n * n / (n - 1) * null_variance(n, lost, won, difference)
    if variance > 0:
        return excess / math.sqrt(variance)
    return math.copysign(math.inf, excess) if excess else 0.0


def null_variance(n: int, lost: float, won: float, difference: float) -> float:
    """The variance of one sample's change if the true difference were this, by what is then likeliest of the rest.

    That is the positive root of 2n q^2 + b q - c = 0 for the share q of the rarer kind of flips. Which kind that is
    depends on the sign of the difference; with the roles swapped accordingly, b^2 + 8nc has no cancellation.
    """
    if difference < 0:
        difference, lost, won = -difference, won, lost
    b = (2 * n - won + lost) * difference - lost - won
    c = lost * difference * (1 - difference)
    root = math.sqrt(b * b + 8 * n * c)
    share = 2 * c / (b + root) if b > 0 else (root - b) / (4 * n)
    return 2 * share + difference * (1 - difference)


def _upper(n: int, lost: int, won: int, z: float) -> float:
    """Where the score, which falls as the difference rises, is ``-z``."""
    if not lost and not won:
        return z * z / (n - 1 + z * z)
    low, high = (won - lost) / n, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if score(n, lost, won, middle) > -z:
            low = middle
        else:
            high = middle
    return high


def _check(n: int, lost: int, won: int) -> None:
    if n < 1 or lost < 0 or won < 0 or lost + won > n:
        raise ValueError(f"{lost} lost and {won} won of {n} samples")
