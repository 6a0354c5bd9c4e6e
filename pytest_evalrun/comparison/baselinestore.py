"""The directory of saved baselines: one is saved whole or not at all, listed, and removed."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from pytest_evalrun.comparison.baselinefile import (
    MOST_BYTES,
    MOST_NAMED,
    BaselineHead,
    check_inside,
    file_in,
    files_in,
    is_baseline_name,
    read_head,
)
from pytest_evalrun.comparison.baselinelines import BaselineLines
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.rundir.durable import ASIDE, exchanged, write_atomic
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.processes import start_time
from pytest_evalrun.rundir.runs import sync
from pytest_evalrun.suite.printable import counted, first_of
from pytest_evalrun.suite.problems import found, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.suite.pairs import PairKey


@dataclass(frozen=True)
class PairToSave:
    """A pair of a run, and when it was evaluated."""

    key: PairKey
    side: Side
    time: str


@dataclass(frozen=True)
class SavedBaseline:
    """A baseline as it lies there; ``problems`` are those of files that cannot be read, of which ``heads`` has none."""

    directory: Path
    heads: tuple[BaselineHead, ...]
    size: int
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def samples(self) -> int:
        return sum(head.samples for head in self.heads)

    @property
    def runs(self) -> list[str]:
        """The runs that its pairs are of, the last evaluated first."""
        return [*dict.fromkeys(head.run for head in sorted(self.heads, key=lambda head: head.time, reverse=True))]

    @property
    def time(self) -> str:
        """When the last of its pairs was evaluated."""
        return max((head.time for head in self.heads), default="")


def check_name(name: str) -> None:
    """Raise ConfigError for what no baseline is called."""
    if not is_baseline_name(name):
        told = "accepted: letters, digits, and . _ - behind the first of them, at most 100; `latest` is always a run"
        raise ConfigError(f"baseline name: {found(name)}; {told}")


def save_baseline(
    place: Path, name: str, pairs: Iterable[PairToSave], *, force: bool = False, others: bool = False
) -> SavedBaseline:
    """Save pairs of a run, whole: killed at any moment, it leaves the baseline that was there, or the new one.

    ``force``: one of that name is replaced; ``others``: its pairs that are not saved now are kept. Raises ConfigError
    where it may not be saved, or is over 20 MB; nothing is left of it then.
    """
    check_name(name)
    target = place / name
    _check_place(place, target, force=force)
    try:
        place.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        with _aside(place, name) as aside:
            _write(aside, name, pairs, target if others else None)
            _put(aside, target)
    except OSError as error:
        raise ConfigError(f"{shown(error.filename or str(place))}: {error.strerror}; {name} was not saved") from error
    return look_at(target)


def _check_place(place: Path, target: Path, *, force: bool) -> None:
    for path in (place, target):
        if path.is_symlink():
            raise ConfigError(f"{shown(str(path))}: it is a link; accepted: a directory, or another with --dir")
    if not os.path.lexists(target):
        return
    if not force:
        raise ConfigError(f"{shown(str(target))}: it is there already; --force replaces it, or choose another name")
    check_own(target)


def check_own(target: Path) -> None:
    """Raise ConfigError where something else than a baseline lies in its directory: that is not ours to remove."""
    if target.is_symlink() or not target.is_dir():
        raise ConfigError(f"{shown(str(target))}: it is no directory of a baseline; move it elsewhere")
    ours = {target, *files_in(target)}
    ours |= {parent for file in files_in(target) for parent in file.parents[:2]}
    other = next((path for path in sorted(target.rglob("*")) if path not in ours), None)
    if other is not None:
        raise ConfigError(f"{shown(str(other))}: it is not of a baseline; move it elsewhere")


def _sweep(place: Path) -> None:
    """Remove what killed processes left of baselines that never came to be, or were on their way out."""
    for path in place.iterdir():
        left = ASIDE.fullmatch(path.name)
        if left and start_time(int(left[1])) is None and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _aside(place: Path, name: str) -> Iterator[Path]:
    aside = place / f".{name}.{os.getpid()}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(aside: Path, name: str, pairs: Iterable[PairToSave], old: Path | None) -> None:
    sizes: dict[str, int] = {}
    for pair in pairs:
        lines = BaselineLines(pair.side, pair.time)
        sizes["/".join(pair.key)] = lines.size
        if sum(sizes.values()) <= MOST_BYTES:
            write_atomic(file_in(aside, pair.key), lines.data)
    for file in files_in(old) if old is not None else ():
        parts = file.parts[-3:]
        if not aside.joinpath(*parts).exists():
            data = read_file(file)
            sizes["/".join(parts)] = len(data)
            write_atomic(aside.joinpath(*parts), data)
    if sum(sizes.values()) > MOST_BYTES:
        _refuse_size(name, sizes)
    for file in files_in(aside):
        sync(file)


def _refuse_size(name: str, sizes: dict[str, int]) -> NoReturn:
    largest = sorted(sizes, key=lambda pair: -sizes[pair])
    named = first_of([f"{pair} {megabytes(sizes[pair])}" for pair in largest], MOST_NAMED)
    raise ConfigError(
        f"baseline {name}: {megabytes(sum(sizes.values()))} in {counted(len(sizes), 'pair')}, and nothing was saved; "
        f"accepted: {MOST_BYTES / 1e6:.0f} MB, for what is committed is cloned by everybody: choose pairs with -k; "
        f"the largest: {named}"
    )


def megabytes(size: int) -> str:
    """A size as people read it."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def _put(aside: Path, target: Path) -> None:
    """Make it the baseline of its name, in one step where the system knows one."""
    if os.path.lexists(target) and not exchanged(aside, target):
        gone = aside.with_name(f".{target.name}.{os.getpid()}.1.tmp")
        target.rename(gone)
        try:
            aside.rename(target)
        except OSError:
            gone.rename(target)
            raise
        shutil.rmtree(gone, ignore_errors=True)
    elif not os.path.lexists(target):
        aside.rename(target)
    sync(target)


def look_at(directory: Path) -> SavedBaseline:
    """What a baseline has, by the heads of its files."""
    heads, problems, size = [], [], 0
    for file in files_in(directory):
        with suppress(OSError):
            size += file.lstat().st_size
        try:
            check_inside(file)
            heads.append(read_head(file))
        except PairError as error:
            problems.append(str(error))
    return SavedBaseline(directory, tuple(heads), size, tuple(problems))


def saved_baselines(place: Path) -> list[SavedBaseline]:
    """All baselines of a directory, in the order of their names."""
    try:
        names = sorted(path.name for path in place.iterdir() if path.is_dir() and is_baseline_name(path.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{shown(str(place))}: {error.strerror}") from error
    return [found for name in names if (found := look_at(place / name)).heads or found.problems]


def find_saved(place: Path, name: str) -> SavedBaseline:
    """One of them by its name. Raises ConfigError where there is none, with those that there are."""
    check_name(name)
    known = [saved.name for saved in saved_baselines(place)]
    if name not in known:
        has = first_of(known, MOST_NAMED) or "none"
        raise ConfigError(f"baseline {name}: there is none in {shown(str(place))}; there are: {has}")
    return look_at(place / name)


def remove_baseline(saved: SavedBaseline) -> None:
    """Remove it, at once for whoever looks. Raises ConfigError where something else lies in it."""
    check_own(saved.directory)
    gone = saved.directory.with_name(f".{saved.name}.{os.getpid()}.tmp")
    try:
        saved.directory.rename(gone)
        sync(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise ConfigError(f"{shown(error.filename or str(saved.directory))}: {error.strerror}") from error
