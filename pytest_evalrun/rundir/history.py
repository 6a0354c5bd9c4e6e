"""``<workdir>/history.jsonl``: one line for every evaluation that was ever completed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk


def append_history(disk: Disk, path: Path, entry: dict[str, Any]) -> None:
    """Add one evaluation; all workers append to the one file, each line in one write."""
    disk.append_line(path, entry)


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """The evaluations, oldest first; lines that a power cut tore are left out."""
    try:
        file = open_file(path)
    except OSError:
        return
    with file:
        for line in file:
            try:
                entry = parse_json(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry
