"""Tango's score interval for the difference of paired proportions (Tango 1998, Statistics in Medicine 17, 891-908)."""

from __future__ import annotations


def tango_interval(n: int, lost: int, won: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided interval of (won - lost) / n; never of no width."""
    raise NotImplementedError


def tango_tail(n: int, lost: int, won: int, difference: float = 0.0) -> float:
    """The one-sided p-value of "the true difference is at least ``difference``": small where it is less."""
    raise NotImplementedError
