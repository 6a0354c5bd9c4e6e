"""One side of a comparison: what a run or a saved baseline knows of the samples of a pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True)
class SampleScores:
    """What one side knows of a sample: ``reference`` is the digest of its reference, ``scores`` metric → score.

    Of several generations of a sample there is one row, its scores their means, and ``answers`` says how many were
    scored. ``cluster`` is as the data name it; ``statistics`` metric → what the sample adds to a value of the corpus.
    """

    id: str
    reference: str
    scores: Mapping[str, float]
    cluster: str | None = None
    statistics: Mapping[str, Any] = field(default_factory=dict)
    answers: int = 1


@dataclass(frozen=True)
class Side:
    """A pair as one side has it. ``name`` is what people call it: ``main``, ``20261129_101500``.

    ``metrics`` is as a result has it: name → value, n, low, high, better, ``bounds`` where scores are declared to keep
    some; ``mean`` where a baseline vouches for the value being their mean.
    ``scoring`` is the part ``score`` of the fingerprint; in it ``identities`` says what each metric was: use,
    params, source, version. ``rows`` reads the samples in dataset order, anew each time.
    """

    name: str
    pair: str
    metrics: Mapping[str, Mapping[str, Any]]
    rows: Callable[[], Iterator[SampleScores]]
    scoring: Mapping[str, Any] = field(default_factory=dict)
    saved: bool = False
    """Whether it is a saved baseline; otherwise it is of a run."""

    @property
    def remedy(self) -> str:
        """What mends a side that others cannot be compared with."""
        return f"save it again: evalrun baseline save {self.name}" if self.saved else "evaluate it again"

    @property
    def identities(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.scoring.get("metrics", {})
        return found
