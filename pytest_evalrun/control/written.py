"""The files that models of a run wrote outside it, by what the run itself says of them; the rest there is a user's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.control.opendirectory import OpenDirectory, Size
from pytest_evalrun.rundir.aside import STALE, SUFFIXES
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.predictions import file_of
from pytest_evalrun.rundir.shards import read_ranges
from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.printable import counted
from pytest_evalrun.suite.problems import some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.control.outputs import Outside
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import PairKey

_SHOWN = 5


@dataclass(frozen=True)
class Written:
    """``names`` are relative to the directory; ``others`` lie there too, and nothing of the run speaks of them."""

    size: Size
    names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def complaint(self) -> str:
        """Why the directory stays, for a person."""
        return f"{counted(len(self.others), 'file')} that no prediction of the run names: {some(self.others, _SHOWN)}"


def written(paths: RunPaths, place: Outside, keys: Iterable[PairKey]) -> Written:
    """Pick the files there that these pairs have named, as long as they have the size that they were named with.

    What grows with the samples is what a listing of that one directory holds.
    """
    with OpenDirectory(place.root, follow=True) as tree:
        there = dict(tree.files(place.name))
    size, names = Size(), []
    for key in keys:
        for path, wanted in _named(paths, key):
            # Tables are named by their whole path.
            name = os.path.relpath(path, place.path) if path.startswith(f"{place.path}/") else path
            found = there.get(name)
            if found is not None and wanted in (None, found):
                del there[name]
                size += Size(1, found)
                names.append(name)
    return Written(size, tuple(names), tuple(sorted(there)))


def _named(paths: RunPaths, key: PairKey) -> Iterator[tuple[str, int | None]]:
    """Every file that the pair wrote, with its size where that is known: what was put aside of it spoke of others."""
    pair = paths.pair(key)
    for suffix in ("", *SUFFIXES):
        parts = Path(f"{pair.shard_predictions}{suffix}")
        for predictions in (Path(f"{pair.predictions}{suffix}"), *parts.glob("*.jsonl*")):
            yield from _in_predictions(predictions)
        for record in read_ranges(Path(f"{pair.programs}{suffix}")):
            for name in record.files:
                yield name, None
                if _is_since(aside := f"{name}{STALE}", record.began):  # else it is what the user had there before
                    yield aside, None


def _is_since(name: str, began: float) -> bool:
    try:
        return Path(name).stat().st_mtime >= began
    except OSError:
        return False


def _in_predictions(path: Path) -> Iterator[tuple[str, int | None]]:
    try:
        with open_file(path) as file:
            for raw in file:
                if b'"sha256"' in raw:
                    yield from _in_line(raw)
    except OSError:
        return


def _in_line(raw: bytes) -> Iterator[tuple[str, int | None]]:
    try:
        line = parse_json(raw)
    except ValueError:
        return
    if isinstance(line, dict):
        yield from _in_value([line.get("prediction"), line.get("detail")])


def _in_value(value: Any) -> Iterator[tuple[str, int | None]]:
    if (name := file_of(value)) is not None:
        yield os.path.normpath(name), value["size"]
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _in_value(part)
