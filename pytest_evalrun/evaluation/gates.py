"""Conditions on metrics: which hold, which are breached, and by how much."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import FAIL, PASS
from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.comparison.conclusion import Word
    from pytest_evalrun.suite.gates import Gate
    from pytest_evalrun.suite.pairs import Pair

ROUNDING = 1e-9


@dataclass(frozen=True)
class GateVerdict:
    """One condition judged: ``by`` is the distance of the value past the limit, 0 where it keeps it.

    ``verdict`` is PASS, FAIL or INCONCLUSIVE; ``holds`` is what the pair's status follows: what ``when_unsure`` says of
    an INCONCLUSIVE, and of an advisory gate always True. ``told`` is what else a result says of it, as JSON: why,
    method, approximate, interval, n, confidence, baseline, margin, before, p, lost, won, discordance, clusters,
    coverage. In ``told["interval"]`` a ``max_drop`` has the difference from the baseline in the sense of quality (more
    is better), ``min`` and ``max`` have the value's.
    """

    metric: str
    kind: str
    value: float
    limit: float
    by: float
    verdict: Word = PASS
    holds: bool = True
    tier: str = "supporting"
    told: Mapping[str, Any] = field(default_factory=dict)

    def in_brief(self) -> str:
        """The value against the limit, as a breach: ``exact_match 0.75 < 0.9``."""
        value, limit = f"{self.value:.6g}", f"{self.limit:.6g}"
        if value == limit:
            value, limit = repr(self.value), repr(self.limit)
        return f"{self.metric} {value} {'<' if self.value < self.limit else '>'} {limit}"

    def to_json(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name != "told"}
        return own | dict(self.told)


def judge(pair: Pair, metrics: Mapping[str, Mapping[str, Any]]) -> list[GateVerdict]:
    """Today's gates of the pair over metrics in their JSON form."""
    verdicts: list[GateVerdict] = []
    for name, gate in pair.settings.gates.items():
        if name not in metrics:
            raise PairError(f"gate on {name}: the result has no such metric; it has: {', '.join(metrics) or 'none'}")
        verdicts += _judge(pair, name, gate, metrics[name])
    return verdicts


def breach_table(verdicts: list[GateVerdict]) -> str:
    """The breached gates as a table: metric, value, limit, by how much."""
    rows = [("metric", "value", "gate", "limit", "by")]
    rows += [(v.metric, f"{v.value:.6g}", v.kind, f"{v.limit:.6g}", f"{v.by:.6g}") for v in verdicts if not v.holds]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def in_brief(verdicts: list[GateVerdict]) -> str:
    """The breached gates in one line: ``exact_match 0.75 < 0.9``."""
    return ", ".join(v.in_brief() for v in verdicts if not v.holds)


def _by_value(metric: str, kind: str, value: float, limit: float, by: float) -> GateVerdict:
    return GateVerdict(metric, kind, value, limit, by, FAIL if by > 0 else PASS, by <= 0)


def _judge(pair: Pair, name: str, gate: Gate, metric: Mapping[str, Any]) -> Iterator[GateVerdict]:
    value = float(metric["value"])
    if gate.min is not None:
        yield _by_value(name, "min", value, gate.min, max(0.0, gate.min - value))
    if gate.max is not None:
        yield _by_value(name, "max", value, gate.max, max(0.0, value - gate.max))
    if gate.max_drop is not None:
        yield _drop(pair, name, gate, value, metric["better"] == "higher")


def _drop(pair: Pair, name: str, gate: Gate, value: float, higher: bool) -> GateVerdict:
    """A drop is a loss of quality: where lower is better, it is a rise. The limit is stated in the metric's unit."""
    assert gate.max_drop is not None
    baseline = _baseline(pair, name, gate)
    drop = abs(baseline) * gate.share if gate.share is not None else float(gate.max_drop)
    limit = baseline - drop if higher else baseline + drop
    by = limit - value if higher else value - limit
    # 0.8 - 0.1 is more than 0.7 in floating point: who wrote these numbers did not mean that as a breach.
    return _by_value(name, "max_drop", value, limit, by if by > ROUNDING * max(1.0, abs(baseline)) else 0.0)


def _baseline(pair: Pair, name: str, gate: Gate) -> float:
    if not isinstance(gate.baseline, str):
        assert gate.baseline is not None
        return float(gate.baseline)
    path = Path(pair.root, gate.baseline)
    try:
        values = _read_baseline(str(path), path.stat().st_mtime_ns)
    except OSError as error:
        raise PairError(f"gate on {name}: the baseline {path} cannot be read: {error.strerror}") from None
    row = pair.suite, pair.task.name, pair.dataset.name, name
    limit = pair.settings.limit
    found = values.get((*row, str(limit or "")), values.get((*row, "")))
    if found is None:
        raise PairError(f"{path}: no row for {pair.full_id} and metric {name}; copy a summary.csv that has one")
    return found


@lru_cache(maxsize=16)
def _read_baseline(path: str, _mtime_ns: int) -> dict[tuple[str, ...], float]:
    """A committed copy of some run's ``summary.csv``: suite, task, dataset, metric and limit → value.

    Earlier versions wrote no limit, and called such datasets ``clean.limit-10``, which no dataset is called.
    """
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        try:
            rows = [row for row in csv.DictReader(file) if row["value"]]
            where = ("suite", "task", "dataset", "metric")
            return {(*(row[name] for name in where), row.get("limit") or ""): _finite(row["value"]) for row in rows}
        except (KeyError, ValueError, TypeError) as error:
            raise PairError(f"{path}: not a copy of a summary.csv: {error}") from None


def _finite(text: str) -> float:
    """From NaN nothing ever drops. Raises ValueError."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the value {text!r} is no number")
    return number
