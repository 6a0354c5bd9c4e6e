"""The host-wide directory of lock files that says who has which GPU.

Sessions and users that know nothing of each other meet here, so it trusts nobody: no link is followed, nothing is
written but regular files with one name, and what a lock file says of its holder is shown to people and never acted on
but to keep a distance. The kernel's lock alone decides, and is gone when the last process that has it is.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import re
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "EVALRUN_SLOTS_DIR"
DEFAULT = Path("/tmp/pytest-evalrun-slots")  # noqa: S108 - not $TMPDIR: all users of a host must meet
MODE = 0o1777
FILE_MODE = 0o666
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # no wait for the other end of a planted pipe
_PATIENCE = 1.0  # for a file that another process is just making
_COURTESY = 0.25
_COURTEOUS_POLL = 0.001


@dataclass(frozen=True)
class Holder:
    """Who has a lease by its own account; ``memory`` are the GB it asked for."""

    pid: int
    user: str
    since: datetime | None
    memory: float = 0.0

    def __str__(self) -> str:
        who = f"process {self.pid} of {self.user}" if self.pid else "another process"
        return f"{who} (since {_clock(self.since)})" if self.since else who


def _clock(moment: datetime) -> str:
    local = moment.astimezone()
    return local.strftime("%H:%M" if local.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M")


class LeaseDirectory:
    """Lock files by name, in a directory that all users of the host share."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(os.environ.get(VARIABLE) or DEFAULT)
        self._prepare()

    def _prepare(self) -> None:
        try:
            if not os.path.lexists(self.path):
                _make(self.path)
            _check(self.path, self.path.lstat())
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be made: {error.strerror}; {_ELSEWHERE}") from error

    def lock(self, name: str, *, shared: bool = False) -> FileLock | None:
        """The lock for as long as it, or a copy of its descriptor, is open; None where others have it."""
        lock = self._file(name)
        try:
            taken = lock.take(shared=shared)
            if taken and not shared and self._removed_as_foreign(name, lock.fileno()):
                taken = lock.take()  # once: on some file systems what we make is not ours
        except OSError as error:
            raise ConfigError(f"{self.path / name}: cannot be locked: {error.strerror}; {_ELSEWHERE}") from error
        if taken:
            return lock
        lock.close()
        return None

    def is_held(self, name: str) -> bool:
        """Ask within ``choosing``: to ask is to take the lock for a moment."""
        lock = self.lock(name)
        if lock is not None:
            lock.close()
        return lock is None

    def take(self, key: str, per_gpu: int, memory: float) -> tuple[FileLock, ...]:
        """The locks of one GPU, alone or beside ``per_gpu - 1`` others; none where it is not to be had."""
        if per_gpu == 1:
            alone = self.lock(f"{key}.lock")
            return () if alone is None else (_sign(alone, memory),)
        shared = self.lock(f"{key}.lock", shared=True)
        if shared is None:
            return ()
        for place in range(per_gpu):
            if (own := self.lock(f"{key}.{place}")) is not None:
                return shared, _sign(own, memory)
        shared.close()
        return ()

    def holders(self, key: str) -> tuple[Holder, ...]:
        """Who has leases of a GPU; ask within ``choosing``."""
        if not self.is_held(f"{key}.lock"):
            return ()
        places = sorted(file.name for file in self.path.glob(f"{key}.[0-9]*"))  # a key has no characters of a pattern
        return tuple(self._holder(name) for name in places if self.is_held(name)) or (self._holder(f"{key}.lock"),)

    @contextmanager
    def choosing(self) -> Iterator[None]:
        """One process of the host at a time looks and takes, so that no look is mistaken for a lease.

        A courtesy, which the locks do not depend on: one that was stopped in the middle holds nobody up for long.
        """
        with self._file("choosing.lock") as lock:
            with suppress(OSError):
                lock.take(wait=_COURTESY, poll=_COURTEOUS_POLL)
            yield

    def _holder(self, name: str) -> Holder:
        fd = self._open(name)
        try:
            return _parse(os.pread(fd, 1000, 0))
        finally:
            os.close(fd)

    def _removed_as_foreign(self, name: str, fd: int) -> bool:
        """A lock file is its holder's, where the kernel lets us: another owner could take it away from under us."""
        if os.fstat(fd).st_uid in (0, os.geteuid()):
            return False
        try:
            (self.path / name).unlink()
        except OSError:  # his own in a sticky directory: the lock is had all the same
            return False
        return True

    def _file(self, name: str) -> FileLock:
        return FileLock(self.path / name, lambda: self._open(name))

    def _open(self, name: str) -> int:
        path = self.path / name
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return _open_or_make(path)
            except FileNotFoundError:
                self._prepare()
                error: OSError = FileNotFoundError(errno.ENOENT, "it vanishes again and again")
            except FileExistsError as quicker:
                error = quicker
            except PermissionError as denied:  # for good, or until the process that makes it has set its mode
                error = denied
            except OSError as other:
                reason = "it is a symbolic link" if other.errno == errno.ELOOP else other.strerror
                raise ConfigError(f"{path}: cannot be used as a lock: {reason}; remove it, or {_ELSEWHERE}") from other
            if time.monotonic() > deadline:
                raise ConfigError(f"{path}: cannot be opened: {error.strerror}; remove it, or {_ELSEWHERE}") from error
            time.sleep(0.01)


_ELSEWHERE = f"choose another directory with {VARIABLE}, the same for all who share the GPUs"


def _make(path: Path) -> None:
    """At once with its mode, so that no other user meets a directory that is not open to all yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    aside.chmod(MODE)
    try:
        aside.rename(path)
    except OSError:
        aside.rmdir()
        if not os.path.lexists(path):  # else another process was quicker
            raise


def _check(path: Path, info: os.stat_result) -> None:
    if not stat.S_ISDIR(info.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(info.st_mode) else "no directory"
        raise ConfigError(f"{path}: is {what}, and is not trusted with locks; remove it, or {_ELSEWHERE}")
    sticky = info.st_mode & stat.S_ISVTX
    if info.st_uid not in (0, os.geteuid()) and not sticky:
        raise ConfigError(
            f"{path}: belongs to user {info.st_uid}, who may replace the lock files in it; "
            f"have it made {MODE:o}, by root if you can, or {_ELSEWHERE}"
        )
    if info.st_mode & 0o022 and not sticky:
        raise ConfigError(
            f"{path}: others may replace the lock files in it (mode {stat.S_IMODE(info.st_mode):04o}); "
            f"chmod {MODE:o} it, or {_ELSEWHERE}"
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError(f"{path}: you may not make lock files in it; have it made {MODE:o}, or {_ELSEWHERE}")


def _open_or_make(path: Path) -> int:
    try:
        return _plain(_open_existing(path))
    except FileNotFoundError:
        # Not in one call: where fs.protected_regular is set, O_CREAT refuses another user's file in a sticky directory.
        fd = os.open(path, _FLAGS | os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE)
        os.fchmod(fd, FILE_MODE)  # whatever the umask
        return fd


def _open_existing(path: Path) -> int:
    try:
        return os.open(path, _FLAGS | os.O_RDWR)
    except PermissionError:
        return os.open(path, _FLAGS | os.O_RDONLY)  # enough for a lock


def _plain(fd: int) -> int:
    """Nothing that another name leads to is ever written: it could be any file of ours."""
    info = os.fstat(fd)
    if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
        return fd
    os.close(fd)
    if not info.st_nlink:
        raise FileNotFoundError(errno.ENOENT, "it was removed just now")
    raise OSError(errno.EINVAL, "it is no plain file with one name")


def _sign(lock: FileLock, memory: float) -> FileLock:
    holder = {"pid": os.getpid(), "user": _user(), "since": datetime.now(UTC).isoformat(), "memory": memory}
    text = json.dumps(holder).encode()
    with suppress(OSError):  # a full disk, or another user's file: the lock holds, and only messages are poorer
        os.pwrite(lock.fileno(), text, 0)
        os.ftruncate(lock.fileno(), len(text))
    return lock


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _parse(text: bytes) -> Holder:
    """Anybody can write a lock file: nothing of it reaches a terminal but a number, a plain word and a time."""
    try:
        content: dict[str, Any] = parse_json(text)
        return Holder(
            pid=int(content["pid"]),
            user=re.sub(r"[^\w.-]", "?", str(content["user"]))[:32],
            since=datetime.fromisoformat(str(content["since"])),
            memory=_amount(float(content["memory"])),
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        return Holder(0, "", None)


def _amount(memory: float) -> float:
    return memory if 0 <= memory < 1e6 else 0.0  # neither infinity nor what is no number
