"""Gates as a suite sets them: conditions on metrics, and how they are judged."""

from __future__ import annotations

from dataclasses import dataclass, replace


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
        return replace(self, **own)
