"""Names below a directory, and which name of one directory belongs to which of another."""

from __future__ import annotations

import os
from bisect import bisect_left
from typing import TYPE_CHECKING

from pytest_evalrun.datasets.values import is_writable
from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def list_files(root: Path, leave_out: frozenset[str]) -> Iterator[str]:
    """List every regular file below root that is not hidden, relative to it, in no order; links are followed.

    ``leave_out``: relative names of files and directories that are not visited.
    """
    try:
        yield from _walk(str(root), "", leave_out, frozenset())
    except NotADirectoryError:
        raise PairError(f"{root}: not a directory of files; set format: csv or jsonl if it is a table") from None
    except (FileNotFoundError, PermissionError) as error:
        raise PairError(f"{error.filename}: the directory cannot be read: {error.strerror}") from None


def _walk(root: str, below: str, leave_out: frozenset[str], above: frozenset[tuple[int, int]]) -> Iterator[str]:
    directory = f"{root}/{below}"
    stat = os.stat(directory)  # noqa: PTH116 - a dataset may have 100,000 names
    place = (stat.st_dev, stat.st_ino)
    if place in above:  # a link to a directory above itself
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            name = below + entry.name
            if entry.name.startswith(".") or name in leave_out:
                continue
            if entry.is_dir():
                yield from _walk(root, f"{name}/", leave_out, above | {place})
            elif entry.is_file():
                yield _writable(name, root)
            elif entry.is_symlink():
                raise PairError(f"{entry.path}: a link to {os.readlink(entry.path)}, which is missing")  # noqa: PTH115


def _writable(name: str, root: str) -> str:
    """Refuse a name that is not UTF-8, as ids are: it would fail much later, and without its place."""
    if not is_writable(name):
        raise PairError(f"{root}: the file name {os.fsencode(name)!r} is not UTF-8")
    return name


def has(names: Sequence[str], wanted: str) -> bool:
    """Tell whether the very name is among the sorted ones."""
    place = bisect_left(names, wanted)
    return place < len(names) and names[place] == wanted


def find_match(names: Sequence[str], wanted: str, where: str) -> str | None:
    """Find the name equal to the wanted one, else the only one of its stem; ``names`` must be sorted.

    Raises PairError where several names have the stem.
    """
    place = find_place(names, wanted, where)
    return None if place is None else names[place]


def find_place(names: Sequence[str], wanted: str, where: str) -> int | None:
    """Find the place of the name that :func:`find_match` finds."""
    if has(names, wanted):
        return bisect_left(names, wanted)
    stem = os.path.splitext(wanted)[0]  # noqa: PTH122 - once a sample
    for candidate in (wanted, stem) if stem != wanted else (wanted,):
        places = list(_places_of_stem(names, candidate))
        if len(places) > 1:
            both = " and ".join(repr(names[place]) for place in places[:2])
            raise PairError(f"{where}: {wanted!r} may be {both}; write the extension")
        if places:
            return places[0]
    return None


def _places_of_stem(names: Sequence[str], stem: str) -> Iterator[int]:
    place = bisect_left(names, stem)
    if place < len(names) and names[place] == stem:
        yield place
    place = bisect_left(names, f"{stem}.")
    while place < len(names) and names[place].startswith(f"{stem}."):
        if os.path.splitext(names[place])[0] == stem:  # noqa: PTH122
            yield place
        place += 1


def relative_to(path: Path, root: Path) -> str | None:
    """Return the normalized name of path below root; None where it is not below."""
    name = os.path.relpath(path, root)
    return None if name == os.curdir or name.startswith(os.pardir) else name
