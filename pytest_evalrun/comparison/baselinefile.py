"""Saved baselines: ``baselines/NAME/<suite>/<task>/<dataset>.jsonl``: a head and a line a sample, to be committed."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.suite.pairs import PairKey

DIRECTORY = "baselines"
# All of a baseline together; what is committed is cloned by everybody.
MOST_BYTES = 20_000_000


def baseline_places(root: Path) -> Iterator[Path]:
    """The directories called ``baselines`` from a suite's directory upwards, the nearest first.

    Up to the repository's root (where ``.git`` is), and never one that others may write to.
    """
    raise NotImplementedError


def find_baseline(root: Path, name: str, key: PairKey) -> Path | None:
    """The file of a pair in the baseline ``name``; None where no baseline of that name is there at all.

    Raises PairError where there are two of one name, or it has no such pair: what it has is named.
    """
    raise NotImplementedError


def read_baseline(file: Path, name: str) -> Side:
    """Raises PairError for what is damaged, empty or of another format: file, line, what was found."""
    raise NotImplementedError
