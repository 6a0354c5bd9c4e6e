"""1,000 ordinary tests beside one suite of one pair, at -n 2, against the same without the suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale, Timed, alternate, ratio, write_bare, write_suite

if TYPE_CHECKING:
    from pathlib import Path

MOST = 1.1
MORE = 0.5  # seconds: a suite is discovered, a run is opened, a pair is evaluated


def measure(scale: Scale, place: Path) -> list[Figure]:
    """The plugin is installed in both; what ordinary tests pay is what its hooks and its scheduler cost them."""
    beside, without = write_bare(place / "beside", scale.pairs), write_bare(place / "without", scale.pairs)
    write_suite(beside / "evals", 1, 1)
    commands = {
        "beside": Timed(beside, ("-n", "2"), pairs=1),
        "without": Timed(without, ("-n", "2")),
    }
    what = f"{scale.pairs:,} ordinary tests beside one pair, -n 2, against them alone"
    return [ratio(what, alternate(commands, max(scale.rounds, 5)), MOST, MORE)]
