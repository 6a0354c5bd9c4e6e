"""What a comparison can see before it is made: smallest n, chance of PASS, the drop that would be seen."""

from __future__ import annotations


def least_n(margin: float, confidence: float = 0.95) -> int | None:
    """The smallest n at which PASS is possible for 0/1 scores (no flips, Tango); None of a margin of 0 or below."""
    raise NotImplementedError


def least_n_bounded(margin: float, span: float, confidence: float = 0.95) -> int | None:
    """The same of the betting interval for paired differences within ``[-span, span]`` that are all 0."""
    raise NotImplementedError


def least_n_unseen(margin: float, worst: float) -> int | None:
    """From which n on one unseen loss of ``worst`` cannot exceed the margin: what approximate methods need."""
    raise NotImplementedError


def chance_of_pass(n: int, margin: float, discordance: float, drop: float = 0.0, confidence: float = 0.95) -> float:
    """The chance of PASS where the true drop is ``drop`` and a share of ``discordance`` of the samples flips."""
    raise NotImplementedError


def n_for_pass(
    margin: float, discordance: float, power: float = 0.8, drop: float = 0.0, confidence: float = 0.95
) -> int | None:
    """The n at which :func:`chance_of_pass` reaches ``power``; None where no n does."""
    raise NotImplementedError


def visible_drop(
    n: int, discordance: float, power: float = 0.8, confidence: float = 0.95, margin: float = 0.0
) -> float:
    """The true drop that ends in FAIL (the whole interval below ``-margin``) with a chance of ``power`` at this n."""
    raise NotImplementedError
