"""What ``evalrun gate`` decides of a candidate: GO only where all was judged, and all that matters passed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_evalrun.comparison.compare import MetricComparison
    from pytest_evalrun.comparison.conclusion import Conclusion

GO, NO_GO, UNSURE, BROKE = "GO", "NO-GO", "INCONCLUSIVE", "BROKE"
CODES = {GO: 0, NO_GO: 1, UNSURE: 2, BROKE: 3}


@dataclass(frozen=True)
class JudgedMetric:
    """One gate of one pair; ``conclusion`` and ``found`` are None where it could not be judged, for ``problem``.

    ``missing``: the candidate lacks the pair or the metric.
    """

    pair: str
    metric: str
    tier: str
    margin: str
    conclusion: Conclusion | None
    found: MetricComparison | None
    problem: str | None = None
    missing: bool = False


@dataclass(frozen=True)
class Decision:
    """All gates of a candidate against a base; ``word`` is GO, NO-GO, INCONCLUSIVE or BROKE, ``why`` a line."""

    base: str
    candidate: str
    gates: tuple[JudgedMetric, ...]
    word: str
    why: str

    @property
    def code(self) -> int:
        """The exit code of the command."""
        return CODES[self.word]


def decide(base: str, candidate: str, gates: tuple[JudgedMetric, ...]) -> Decision:
    """NO-GO: a critical or supporting gate FAILs, or the candidate lacks a pair or a metric that the base has.

    INCONCLUSIVE: one of them is (and nothing is worse), whatever ``when_unsure`` says it counts for, but for `pass`.
    BROKE: no gate was judged, or one could not be.
    """
    raise NotImplementedError
