"""What the plugin costs a project that has no suite: pytest's start-up with and without it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale, Timed, alternate, median_seconds, write_bare

if TYPE_CHECKING:
    from pathlib import Path

MOST = 0.020
PER_DIRECTORY = 100
ROUNDS = 15  # milliseconds are sought in the noise of a second


def measure(scale: Scale, place: Path) -> list[Figure]:
    """One test alone, and one test in a project of 50,000 files."""
    small = write_bare(place / "small", 1)
    large = write_bare(place / "large", 1)
    for number in range(scale.files):
        directory = large / f"part{number // PER_DIRECTORY}"
        if number % PER_DIRECTORY == 0:
            directory.mkdir()
        (directory / f"{number}.txt").touch()
    rounds = max(scale.rounds, ROUNDS)
    return [
        _added("no suite: pytest's start-up with the plugin and without", small, rounds),
        _added(f"no suite, {scale.files:,} files: with the plugin and without", large, rounds),
    ]


def _added(what: str, directory: Path, rounds: int) -> Figure:
    times = alternate({"with": Timed(directory, ()), "without": Timed(directory, ("-p", "no:evalrun"))}, rounds)
    ours, theirs = times["with"], times["without"]
    pairs = list(zip(ours, theirs, strict=True))
    added = statistics.median(left.seconds - right.seconds for left, right in pairs)
    processor = statistics.median(left.processor - right.processor for left, right in pairs)
    shown = (f"{added * 1000:+.0f} ms", f"{processor * 1000:+.0f} ms", f"<= +{MOST * 1000:.0f} ms")
    return Figure(what, median_seconds(ours), median_seconds(theirs), *shown, added <= MOST)
