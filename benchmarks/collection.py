"""Collecting 10,000 pairs against 10,000 bare parametrized tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import (
    MODELS,
    Figure,
    Scale,
    Timed,
    alternate,
    ratio,
    write_bare,
    write_file_suite,
    write_suite,
)

if TYPE_CHECKING:
    from pathlib import Path

NOTHING = ("-k", "matches_nothing")  # collects for a run, and then has nothing to run
NO_TESTS = 5
FILES = 10_000


def measure(scale: Scale, place: Path) -> list[Figure]:
    """For a run, with many files in the datasets, and for ``--collect-only`` with its verdicts."""
    pairs = 10 * scale.pairs
    suite, bare = write_suite(place / "suite", MODELS, pairs // MODELS), write_bare(place / "bare", pairs)
    for_a_run = {name: Timed(where, NOTHING, NO_TESTS) for name, where in (("suite", suite), ("bare", bare))}
    return [
        ratio(f"collecting {pairs:,} pairs for a run, against bare tests", alternate(for_a_run, scale.rounds), 1.5),
        _many_files(pairs, scale, place),
        _second_listing(pairs, scale, suite, bare),
    ]


def _many_files(pairs: int, scale: Scale, place: Path) -> Figure:
    full = write_file_suite(place / "full", pairs // MODELS, MODELS, FILES)
    lean = write_file_suite(place / "lean", pairs // MODELS, MODELS, 1)
    commands = {"full": Timed(full, NOTHING, NO_TESTS), "lean": Timed(lean, NOTHING, NO_TESTS)}
    times = alternate(commands, max(scale.rounds, 5))
    return ratio(f"the same, each dataset with {FILES:,} files, against 1 file", times, 1.05)


def _second_listing(pairs: int, scale: Scale, suite: Path, bare: Path) -> Figure:
    """After a run, so that every verdict has to look at a marker and at the hash cache."""
    Timed(suite, ("-n", "2"), pairs=pairs).run()
    commands = {
        name: Timed(where, ("--collect-only",), keep=True) for name, where in (("suite", suite), ("bare", bare))
    }
    commands["suite"].run()
    times = alternate(commands, scale.rounds)
    return ratio(f"second --collect-only of {pairs:,} pairs, against bare tests", times, 1.5)
