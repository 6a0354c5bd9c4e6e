"""What a pair costs among 10,000 against what it costs among 1,000."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.harness import MODELS, Figure, Scale, Timed, alternate, median_seconds, write_suite

if TYPE_CHECKING:
    from pathlib import Path

FEW = 10


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Start-up, measured as a run of ten pairs, is taken off: it would hide a cost that grows."""
    sizes = (FEW, scale.pairs, 10 * scale.pairs)
    commands = {
        str(pairs): Timed(write_suite(place / str(pairs), MODELS, pairs // MODELS), ("-n", "2"), pairs=pairs)
        for pairs in sizes
    }
    few, base, many = alternate(commands, scale.rounds).values()
    steps = (sizes[1] - FEW, sizes[2] - FEW)
    found = _growth([median_seconds(spent) for spent in (few, base, many)], steps)
    processor = _growth([statistics.median(each.processor for each in spent) for spent in (few, base, many)], steps)
    what = f"cost per pair at {sizes[2]:,} pairs against {sizes[1]:,}, start-up taken off"
    shown = (f"{found:.2f} x", f"{processor:.2f} x", "<= 1.1 x")
    return [Figure(what, median_seconds(many), median_seconds(base), *shown, found <= 1.1)]


def _growth(medians: list[float], steps: tuple[int, int]) -> float:
    few, base, many = medians
    return ((many - few) / steps[1]) / ((base - few) / steps[0])
