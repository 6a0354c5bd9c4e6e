"""Gates as a suite sets them: conditions on metrics, and how they are judged."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

# What the latest run would be called: while a gate is judged, that is the very run that is judged.
LATEST = "latest"
# Tiers that mean something to whoever judges.
CRITICAL, ADVISORY = "critical", "advisory"


def is_summary(baseline: str, root: str) -> bool:
    """Tell whether a baseline is the CSV file of a summary; every other text is a saved baseline or a run."""
    return baseline.endswith(".csv") or os.path.isfile(os.path.join(root, baseline))  # noqa: PTH113, PTH118 - a pair each


@dataclass(frozen=True)
class Gate:
    """A condition on a metric. ``max_drop`` is measured from ``baseline``: a value, the CSV file of a summary, or the
    name of a saved baseline or of a run; a text such as ``5%`` is a share of it. ``tier``, ``when_unsure`` and
    ``confidence`` are this gate's own, None where those of :class:`GateRules` hold.
    """

    min: float | None = None
    max: float | None = None
    max_drop: float | str | None = None
    baseline: float | str | None = None
    by: str = "value"
    tier: str | None = None
    when_unsure: str | None = None
    confidence: float | None = None

    @property
    def share(self) -> float | None:
        """``max_drop`` as a share of the baseline; None where it is stated in the metric's unit."""
        return float(self.max_drop[:-1]) / 100 if isinstance(self.max_drop, str) else None

    def is_saved(self, root: str) -> bool:
        """Tell whether ``max_drop`` is measured from a saved baseline or a run, of which each sample is known.

        ``root`` is the suite's directory.
        """
        return isinstance(self.baseline, str) and not is_summary(self.baseline, root)

    def needs_samples(self, root: str) -> bool:
        """Tell whether the value alone does not decide: it is an interval that is judged."""
        bounded = self.min is not None or self.max is not None
        return (bounded and self.by == "interval") or (self.max_drop is not None and self.is_saved(root))


@dataclass(frozen=True)
class GateRules:
    """How gates are judged: ``confidence`` of two-sided intervals, what decides where one allows both, how much a gate
    matters, and the column that says which samples belong together.
    """

    confidence: float = 0.95
    when_unsure: str = "value"
    tier: str = "supporting"
    cluster: str | None = None

    def of(self, gate: Gate) -> GateRules:
        """The rules for one gate: its own words before these."""
        own = {
            name: value for name in ("confidence", "when_unsure", "tier") if (value := getattr(gate, name)) is not None
        }
        return replace(self, **own) if own else self
