"""What a pair costs among 10,000 against what it costs among 1,000."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.harness import MODELS, Figure, Scale, Timed, alternate, write_suite

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
    few, base, many = (statistics.median(times) for times in alternate(commands, scale.rounds).values())
    found = ((many - few) / (sizes[2] - FEW)) / ((base - few) / (sizes[1] - FEW))
    what = f"cost per pair at {sizes[2]:,} pairs against {sizes[1]:,}, start-up taken off"
    return [Figure(what, many, base, f"{found:.2f} x", "<= 1.1 x", found <= 1.1)]
