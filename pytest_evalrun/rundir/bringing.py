"""How files get from an attempt into the run: as another name, as a copy, or line by line; each in one step."""

from __future__ import annotations

import hashlib
import os
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.rundir.durable import ASIDE, link_atomic
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.predictions import PredictionsFile
from pytest_evalrun.rundir.processes import sweep_asides
from pytest_evalrun.rundir.tally import SparseTally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk

BLOCK = 1 << 20
LINES = 256


class NotYet(EvalrunError):  # noqa: N818 - a state of the file system, not an error of ours
    """A file of a job is not here yet as the job left it: on a shared file system it comes later."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not here yet as its job left it")


def bring(
    disk: Disk, source: Path, target: Path, facts: Mapping[str, Any] | None = None, *, copy: bool = False
) -> None:
    """Bring a file: as another name of it, or a ``copy`` where somebody may still write to it.

    ``facts`` are its size and hash as they must be. Raises NotYet where it is not so, or not there.
    """
    try:
        with open_file(source) as file:  # opened anew: a shared file system looks only then
            if facts is not None and os.fstat(file.fileno()).st_size != facts["size"]:
                raise NotYet(source)
    except FileNotFoundError:
        raise NotYet(source) from None
    if not copy and _link(source, target):
        disk.mark(os.fspath(target))
    else:
        _copy(disk, source, target, facts)


def _link(source: Path, target: Path) -> bool:
    try:
        return link_atomic(source, target)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        return link_atomic(source, target)
    except FileNotFoundError:
        raise NotYet(source) from None


def _copy(disk: Disk, source: Path, target: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Copy a file with its mtime, so that its marker holds without reading it again."""
    digest = hashlib.sha256()
    with open_file(source) as file, disk.replacing(target) as new:
        stat = os.fstat(file.fileno())
        while block := file.read(BLOCK):
            new.write(block)
            digest.update(block)
        if facts is not None and facts["sha256"] != digest.hexdigest():
            raise NotYet(source)
    mtime = stat.st_mtime_ns if facts is None else facts["mtime_ns"]
    os.utime(target, ns=(mtime, mtime))


def bring_tree(disk: Disk, source: Path, target: Path, *, lines: bool = False) -> None:
    """Copy all files below a directory; what is the same already, by size and mtime, is not copied again.

    ``lines``: files of JSON lines are added to, line by line, where there are some already. What a launch that was
    killed in the middle of it has left goes.
    """
    for directory, _, _ in os.walk(target):
        sweep_asides(directory)
    for path in _files(source):
        place = target / path.relative_to(source)
        if path.is_symlink():
            _copy_link(path, place)
        elif lines and path.suffix == ".jsonl" and place.exists():
            bring_missing(disk, path, place)
        elif not _is_same(path, place):
            _copy(disk, path, place)


def _files(directory: Path) -> Iterator[Path]:
    for place, directories, names in os.walk(directory):
        for name in sorted((*names, *(name for name in directories if os.path.islink(f"{place}/{name}")))):  # noqa: PTH114
            path = directory.joinpath(place, name)
            if not ASIDE.fullmatch(name) and name != "sessions.json" and _is_file_or_link(path):
                yield path


def _is_file_or_link(path: Path) -> bool:
    try:
        return path.is_symlink() or S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _copy_link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    wanted = os.readlink(source)  # noqa: PTH115 - as it stands
    if target.is_symlink() and os.readlink(target) == wanted:  # noqa: PTH115
        return
    target.unlink(missing_ok=True)
    target.symlink_to(wanted)


def _is_same(source: Path, target: Path) -> bool:
    try:
        old, new = target.stat(), source.stat()
    except OSError:
        return False
    return (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns)


def bring_lines(disk: Disk, source: Path, target: Path, generations: int) -> None:
    """Add predictions that are not there yet. Of a sample that failed the last line counts, so a good one is added."""
    there = SparseTally()
    for line in PredictionsFile(target, generations).as_kept():
        place = line.place(generations)
        there.note(place, line.status == "ok" or there.is_done(place))
    waiting: list[bytes] = []
    appender = disk.appender(target)
    try:
        if _is_torn(target):
            waiting.append(b"\n")
        for line in PredictionsFile(source, generations).as_kept():
            place, is_good = line.place(generations), line.status == "ok"
            if there.is_done(place) or (not is_good and there.is_seen(place)):
                continue
            there.note(place, is_good)
            waiting.append(line.dumps())
            if len(waiting) >= LINES:
                appender.write(b"".join(waiting))
                waiting.clear()
        if waiting:
            appender.write(b"".join(waiting))
    finally:
        appender.close()


def _is_torn(path: Path) -> bool:
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        return size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"


def bring_missing(disk: Disk, source: Path, target: Path) -> None:
    """Add the whole lines of a file that another has not, as they stand; of lines that were added, digests are kept."""
    known = {_digest(line) for line in _whole_lines(target)}
    if all(_digest(line) in known for line in _whole_lines(source)):
        return
    with disk.replacing(target) as file:
        for line in _whole_lines(target):
            file.write(line)
        for line in _whole_lines(source):
            if (digest := _digest(line)) not in known:
                known.add(digest)
                file.write(line)


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()


def _whole_lines(path: Path) -> Iterator[bytes]:
    try:
        file = open_file(path)
    except FileNotFoundError:
        return
    with file:
        yield from (line for line in file if line.endswith(b"\n"))


def bring_rest(disk: Disk, source: Path, target: Path) -> None:
    """Append what a file that only grows has more than its copy, up to its last whole line."""
    with open_file(source) as file:
        start = target.stat().st_size if target.exists() else 0
        file.seek(start)
        new, newline, _ = file.read().rpartition(b"\n")
    if newline:
        appender = disk.appender(target)
        try:
            appender.write(new + newline)
        finally:
            appender.close()


def bring_log(disk: Disk, source: Path, target: Path, size: int, limit: int) -> None:
    """Put a log behind the first ``size`` bytes of what was said before; in its place where that would be too much."""
    try:
        file = open_file(source)
    except FileNotFoundError:
        return
    with file:
        before = size if size + os.fstat(file.fileno()).st_size <= limit else 0
        with disk.replacing(target) as new:
            if before:
                with open_file(target) as old:
                    new.write(old.read(before))
            while block := file.read(BLOCK):
                new.write(block)
