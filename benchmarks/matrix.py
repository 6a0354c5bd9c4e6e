"""8 models x 8 datasets x 16 samples at -n 2 against 64 bare tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale, Timed, alternate, ratio, write_bare, write_suite

if TYPE_CHECKING:
    from pathlib import Path


def measure(scale: Scale, place: Path) -> list[Figure]:
    """The size at which people compare frameworks: start-up weighs most."""
    suite, bare = write_suite(place / "suite", 8, 8), write_bare(place / "bare", 64)
    commands = {"suite": Timed(suite, ("-n", "2"), pairs=64), "bare": Timed(bare, ("-n", "2"))}
    times = alternate(commands, max(scale.rounds, 5))
    return [ratio("8 x 8 x 16 matrix, -n 2, against 64 bare tests", times, 4)]
