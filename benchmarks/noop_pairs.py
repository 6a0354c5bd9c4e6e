"""1,000 no-op pairs at -n 2 against 1,000 bare parametrized tests under xdist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import MODELS, Figure, Scale, Timed, alternate, ratio, write_bare, write_suite

if TYPE_CHECKING:
    from pathlib import Path


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Ours does 16 predictions, a score and nine files a pair; theirs does nothing."""
    suite = write_suite(place / "suite", MODELS, scale.pairs // MODELS)
    bare = write_bare(place / "bare", scale.pairs)
    commands = {"suite": Timed(suite, ("-n", "2"), pairs=scale.pairs), "bare": Timed(bare, ("-n", "2"))}
    return [ratio(f"{scale.pairs:,} no-op pairs, -n 2, against bare tests", alternate(commands, scale.rounds), 2)]
