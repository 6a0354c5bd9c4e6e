"""The directory where all that ask an endpoint meet: processes of a user on a host, whichever session they are of.

Each has a file with its needs and the places that it has, and keeps a kernel's lock on it for as long as it asks. So
who dies has nothing any more at that moment, and its file is removed by whoever looks next. What stands in the files is
read and written by one at a time, under a lock of its own.

The directory is for its user alone, and below ``/tmp`` by itself: not ``$TMPDIR`` or ``$XDG_RUNTIME_DIR``, which a
session from cron has not. Whoever comes first there may have made whatever he likes, so nothing is believed but a
directory of our own that nobody else can enter.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.llm.limiter import Concurrency, Limiter
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import compact_line, open_plain, read_file
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.suite.jsontext import parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


VARIABLE = "EVALRUN_ENDPOINTS_DIR"
# Whoever was stopped in the middle of a look holds up nobody for longer.
PATIENCE_SECONDS = 0.02
# What was found out of an endpoint counts for so long after the last request, and its directory is kept for so long.
LEARNED_SECONDS = 600.0
KEPT_SECONDS = 86400.0
_POLL = 0.001
_SUFFIX = ".asker"
_LOCK = "looking.lock"
_LIMITER = "limiter.json"
_LONGEST = 1000
_READ = os.O_RDONLY | os.O_NOFOLLOW


@dataclass(frozen=True)
class Asker:
    """What one that asks tells the others: its places, how many of them are in use, and how many it wants.

    ``busy`` is how many of its requests were in flight at its last look, ``peak`` how many at most shortly before.
    ``got`` is since when it has places, ``held`` when it had one last, ``seen`` when it looked last. Its concurrency is
    ``least``, ``start`` and ``most``.
    """

    taken: int
    busy: int
    peak: int
    wants: int
    got: float
    held: float
    seen: float
    least: int
    start: int
    most: int

    @property
    def concurrency(self) -> Concurrency:
        return Concurrency(self.least, self.start, self.most)


_ASKER = [field.name for field in fields(Asker)]
_LIMITED = [field.name for field in fields(Limiter)]


class EndpointDirectory:
    """The files of all that ask one endpoint with one key; the key is in the directory's name as part of a digest."""

    def __init__(self, url: str, key: str | None, root: Path | None = None) -> None:
        """Raises ConfigError where the directory cannot be trusted, or be made."""
        self._root = root or Path(os.environ.get(VARIABLE) or f"/tmp/pytest-evalrun-endpoints-{os.geteuid()}")  # noqa: S108
        parts = f"{url.rstrip('/')}\0{key or ''}".encode("utf-8", "surrogatepass")
        self.path = self._root / hashlib.sha256(parts).hexdigest()[:32]
        self._prepare()
        _sweep(self._root)

    def _prepare(self) -> None:
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check(self._root)
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{error.filename}: cannot be made: {error.strerror}; {_ELSEWHERE}") from error

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Have the files for oneself; False where somebody else has them for long."""
        with self._lock() as lock:
            try:
                alone = lock.take(wait=PATIENCE_SECONDS, poll=_POLL)
            except FileNotFoundError:  # somebody cleans up at this moment
                alone = False
            yield alone

    def _lock(self) -> FileLock:
        try:
            return FileLock(self.path / _LOCK)
        except FileNotFoundError:  # somebody cleaned up
            self._prepare()
            return FileLock(self.path / _LOCK)

    def join(self) -> FileLock:
        """Make a file that is ours until it is closed. Only while the files are ours alone."""
        number = 0
        while True:
            lock = FileLock(self.path / f"{os.getpid()}.{number}{_SUFFIX}")
            if lock.take():
                return lock
            lock.close()  # it is another asker's of this process, or of another container
            number += 1

    def askers(self) -> dict[str, Asker | None]:
        """Everybody who asks, by the name of the file; None for one whose file says nothing that can be read.

        What others left behind is removed. Only while the files are ours alone.
        """
        return _askers(self.path)

    def limiter(self, now: float) -> Limiter | None:
        """What was found out of the endpoint; None where that is too long ago, or cannot be read."""
        try:
            found = parse_line(read_file(self.path / _LIMITER))
            if not 0 <= now - found.pop("time") <= LEARNED_SECONDS:  # this clock begins anew when the machine does
                return None
            limiter = Limiter(**{name: _number(found[name]) for name in _LIMITED})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return limiter if limiter.limit > 0 and limiter.patience > 0 else None

    def keep(self, limiter: Limiter, now: float) -> None:
        """Tell the others; where the disk is full they learn it for themselves."""
        with suppress(OSError):
            write_atomic(self.path / _LIMITER, compact_line({"time": now, **vars(limiter)}))


def tell(lock: FileLock, asker: Asker) -> None:
    """Write what the others shall know into one's own file, over what stood there."""
    os.pwrite(lock.fileno(), compact_line(vars(asker)), 0)


def shown(url: str) -> str:
    """An endpoint's URL without what may be a secret in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _askers(directory: Path) -> dict[str, Asker | None]:
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries]
    found: dict[str, Asker | None] = {}
    for name in names:
        path = directory / name
        if name.endswith(".tmp"):
            path.unlink(missing_ok=True)
        elif name.endswith(_SUFFIX):
            with suppress(OSError), FileLock(path, partial(open_plain, path, _READ)) as lock:
                if lock.take(shared=True):
                    path.unlink()
                else:
                    found[name] = _parse(os.pread(lock.fileno(), _LONGEST, 0))
    return found


def _parse(text: bytes) -> Asker | None:
    """Of a line that is shorter than the one before, the rest of that follows."""
    try:
        found = parse_line(text.partition(b"\n")[0])
        asker = Asker(**{name: _number(found[name]) for name in _ASKER})
    except (ValueError, KeyError, TypeError):
        return None
    return asker if min(vars(asker).values()) >= 0 < asker.least <= asker.start <= asker.most else None


def _number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise TypeError(type(value).__name__)
    return value


_ELSEWHERE = f"choose another directory with {VARIABLE}, the same for all who ask the endpoint"


def _check(path: Path) -> None:
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(info.st_mode) else "no directory"
        raise ConfigError(f"{path}: is {what}, and is not trusted; remove it, or {_ELSEWHERE}")
    if info.st_uid != os.geteuid():
        raise ConfigError(f"{path}: belongs to user {info.st_uid}, and is not trusted; {_ELSEWHERE}")
    if info.st_mode & 0o077:
        raise ConfigError(
            f"{path}: is open to others (mode {stat.S_IMODE(info.st_mode):04o}); chmod 700 it, or {_ELSEWHERE}"
        )


def _sweep(root: Path) -> None:
    """Remove directories that nobody has used for a day: an endpoint on a free port is another one each time."""
    old = time.time() - KEPT_SECONDS
    with suppress(OSError):
        for path in root.iterdir():
            with suppress(OSError):
                if path.stat().st_mtime < old:
                    _remove(path)


def _remove(path: Path) -> None:
    """Unless somebody asks the endpoint; who comes while this goes on makes the directory anew."""
    with FileLock(path / _LOCK) as lock:
        if lock.take() and not _askers(path):
            for file in path.iterdir():
                file.unlink()
            path.rmdir()


def divide(limit: int, wants: Sequence[int]) -> list[int]:
    """Divide ``limit`` places among as many as there are ``wants``, in the order of precedence.

    Each gets what all get, or what it wants where that is less; what is left over is everybody's. So the shares add
    up to the limit, whoever wants how much. Where there are fewer places than members, the first have one each.
    """
    shares = [0] * len(wants)
    left = _fill(shares, limit, wants)
    if left and shares:
        _fill(shares, left, [limit] * len(wants))
    return shares


def _fill(shares: list[int], left: int, wants: Sequence[int]) -> int:
    """Raise shares towards what is wanted, all alike; what nobody wants is returned."""
    while left and (lacking := [place for place, share in enumerate(shares) if share < wants[place]]):
        each = max(1, left // len(lacking))
        for place in lacking:
            more = min(each, wants[place] - shares[place], left)
            shares[place] += more
            left -= more
    return left
