"""Before a run: what each gate could see with so many samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True)
class GateOutlook:
    """A gate before its pair is asked: ``n`` samples, ``least`` at which PASS is possible at all.

    ``seen`` is the true drop that would end in FAIL with a chance of 80 %, ``chance`` that of PASS if nothing changes,
    both by ``discordance``, which is ``known`` from the last comparison or assumed. All are None where nobody can say;
    ``problem`` is why.
    """

    pair: str
    metric: str
    kind: str
    limit: str
    tier: str
    baseline: str
    n: int | None
    least: int | None
    seen: float | None = None
    chance: float | None = None
    discordance: float | None = None
    known: bool = False
    problem: str | None = None

    @property
    def impossible(self) -> bool:
        """With so few samples no result can PASS."""
        return self.n is not None and self.least is not None and self.n < self.least

    @property
    def fatal(self) -> bool:
        """Then a critical gate is an error before the model is loaded."""
        return self.impossible and self.tier == "critical"


def outlook_lines(gates: Sequence[GateOutlook], most: int = 20) -> Iterator[str]:
    """Tell a person, the impossible ones first, then those that see least; the rest is counted."""
    raise NotImplementedError
