"""Content hashes made cheap: a file is read again only when its size, times or inode changed.

What was found is kept in ``hashes.db`` of the work directory, shared by all workers of all runs. The cache is only
ever a help: where it is damaged it is made anew, where it cannot be written hashing just takes its time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import time
import zlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pytest_evalrun.rundir.hashstore import HashStore
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

# A file changed this shortly before it was read may change again without a new time: file systems have coarse clocks.
RACY_NS = 2_000_000_000
SMALL = 1 << 20
MOST_REMEMBERED = 8192
# No path of a file begins so.
_SAID = b"\0"
# The files of larger trees are not kept one by one: nobody is told "412,345 files changed" anyway.
LARGEST_MANIFEST = 200_000


class _Stat(NamedTuple):
    """What must be unchanged for a hash to be trusted; ``newest`` is the later of mtime and ctime."""

    text: str
    size: int
    mtime_ns: int
    newest: int


class HashCache:
    """Digests of files and trees, by content, or with ``mode="stat"`` by names, sizes and mtimes alone.

    Not for several threads. ``warn`` is told in one sentence when the cache was damaged.
    """

    def __init__(self, db: Path, *, mode: Literal["content", "stat"] = "content", warn: Callable[[str], None]) -> None:
        self._store = HashStore(db, warn)
        self._mode = mode
        self._by_content = mode == "content"
        self._memo: dict[tuple[str, str], tuple[str, Any]] = {}

    def file(self, path: Path) -> str:
        """sha256 of one file, in hex. Raises OSError where it cannot be read."""
        name = os.fspath(path)
        now = _stat(name)
        digest = self._recall("file", name, now.text)
        if digest is None:
            digest = self._digest(name, now)
            self._remember("file", name, now.text, digest)
        return str(digest)

    def tree(self, root: Path, names: Iterable[str]) -> str:
        """One digest over the names (relative to root) and contents of many files; order does not matter."""
        base, ordered = os.fspath(root), sorted(names)
        started = time.time_ns()
        key, newest = _survey(base, ordered, self._mode)
        digest = self._recall("tree", base, key)
        if digest is None:
            known = self._store.get("trees", key.encode(), "")
            digest = known.decode() if known else self._tree(base, ordered)
            self._remember("tree", base, key, digest)
            if not known and settled(newest, started):
                self._store.put("trees", key.encode(), "", digest.encode())
        return str(digest)

    def path(self, path: Path) -> str:
        """A file, or all files below a directory; for models."""
        return self.tree(path, _files_below(os.fspath(path))) if path.is_dir() else self.file(path)

    def derived(self, path: Path, kind: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What ``compute`` says of the content of ``path``, remembered until the file changes. Builtins only."""
        name = os.fspath(path)
        started = time.time_ns()
        now = _stat(name)
        if (value := self._recall(kind, name, now.text)) is not None:
            return dict(value)
        key = os.fsencode(name) + b"\0" + kind.encode()
        known = self._store.get("derived", key, now.text)
        value = _loads(known) if known else None
        if value is None:
            value = compute()
            if settled(now.newest, started) and _stat(name) == now:
                self._store.put("derived", key, now.text, json.dumps(value).encode())
        self._remember(kind, name, now.text, value)
        return dict(value)

    def note(self, name: str, value: dict[str, Any]) -> None:
        """Keep what somebody says, in the place of what was said before, for all processes at once. Builtins only."""
        self._store.put("derived", _SAID + name.encode(), "", json.dumps(value).encode())
        self._store.commit()

    def noted(self, name: str) -> dict[str, Any] | None:
        """What was said last of this name, which says of what it holds."""
        known = self._store.get("derived", _SAID + name.encode(), "")
        return _loads(known) if known else None

    def changed_files(self, old_digest: str, new_digest: str) -> int | None:
        """How many files differ between two trees; None where the cache knows one of them no more."""
        old, new = self._manifest(old_digest), self._manifest(new_digest)
        if old is None or new is None:
            return None
        return len({name for name in old.keys() | new.keys() if old.get(name) != new.get(name)})

    def commit(self) -> None:
        """Let other processes see what was found; for about once a second."""
        self._store.commit()

    def close(self) -> None:
        self._store.close()

    def _recall(self, kind: str, name: str, stat_text: str) -> Any:
        known = self._memo.get((kind, name))
        return known[1] if known is not None and known[0] == stat_text else None

    def _remember(self, kind: str, name: str, stat_text: str, value: Any) -> None:
        if len(self._memo) >= MOST_REMEMBERED:
            self._memo.clear()
        self._memo[kind, name] = (stat_text, value)

    def _digest(self, name: str, now: _Stat) -> str:
        """From the cache, or by reading the file."""
        if not self._by_content:
            return f"stat:{now.size}:{now.mtime_ns}"
        key = os.fsencode(name)
        if known := self._store.get("files", key, now.text):
            return known.decode()
        started = time.time_ns()
        digest, after = _read(name)
        # A racy or changing file is remembered in this process only.
        if after == now.text and settled(now.newest, started):
            self._store.put("files", key, now.text, digest.encode())
        return digest

    def _tree(self, base: str, names: list[str]) -> str:
        """File by file, so that only changed ones are read."""
        whole = hashlib.sha256()
        manifest: dict[str, str] | None = {} if len(names) <= LARGEST_MANIFEST else None
        for name in names:
            path = f"{base}/{name}"
            digest = self._digest(path, _stat(path))
            whole.update(b"%b\0%b\n" % (os.fsencode(name), digest.encode()))
            if manifest is not None:
                manifest[name] = digest[-16:]
        total = whole.hexdigest() if self._by_content else f"stat:{whole.hexdigest()}"
        if manifest is not None and self._store.get("manifests", total.encode(), "") is None:
            self._store.put("manifests", total.encode(), "", zlib.compress(json.dumps(manifest).encode(), 1))
        return total

    def _manifest(self, digest: str) -> dict[str, Any] | None:
        packed = self._store.get("manifests", str(digest).encode(), "")
        return None if packed is None else _loads(packed, packed=True)


class HashCaches:
    """The caches of one work directory: one for each kind of fingerprint, made when it is first asked for."""

    def __init__(self, db: Path, warn: Callable[[str], None], kind: type[HashCache] = HashCache) -> None:
        self._db = db
        self._warn = warn
        self._kind = kind
        self._made: dict[str, HashCache] = {}

    def of(self, mode: str) -> HashCache:
        """The cache for ``content`` or ``stat`` fingerprints."""
        if mode not in self._made:
            self._made[mode] = self._kind(self._db, mode=mode, warn=self._warn)  # type: ignore[arg-type]
        return self._made[mode]

    def commit(self) -> None:
        """Let other processes see what was found."""
        for cache in self._made.values():
            cache.commit()

    def close(self) -> None:
        self.commit()
        for cache in self._made.values():
            cache.close()


def _stat(path: str) -> _Stat:
    found = os.stat(path)  # noqa: PTH116 - for every file of a dataset
    return _Stat(stat_text(found), found.st_size, found.st_mtime_ns, max(found.st_mtime_ns, found.st_ctime_ns))


def stat_text(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def settled(newest: int, started: int) -> bool:
    """Whether a file is old enough that a later change of it must show in its times."""
    return newest < started - RACY_NS


def _survey(base: str, names: list[str], mode: str) -> tuple[str, int]:
    """A digest over the names and stats of many files, and the newest of their times; reads none of them.

    It has the mode in it: what was never read must not be found by who asks for the content.
    """
    whole = hashlib.sha256(mode.encode() + b"\0" + os.fsencode(base))
    newest = 0
    directory = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:  # 100,000 times in less than half a second: from the directory is half the way
            found = os.stat(name, dir_fd=directory)
            mtime, ctime = found.st_mtime_ns, found.st_ctime_ns
            if (later := max(mtime, ctime)) > newest:
                newest = later
            line = f"{name}\0{found.st_size} {mtime} {ctime} {found.st_ino}\n"
            whole.update(line.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{base}/{error.filename}") from None
    finally:
        os.close(directory)
    return whole.hexdigest(), newest


def _read(path: str) -> tuple[str, str]:
    """The sha256 of a file, and its stat after it was read."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not block us
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        digest = hashlib.sha256()
        while block := os.read(fd, min(SMALL, found.st_size + 1)):
            digest.update(block)
        return digest.hexdigest(), stat_text(os.fstat(fd))
    finally:
        os.close(fd)


def _files_below(root: str) -> Iterator[str]:
    """Relative names of all files below a directory.

    Links are followed, each directory is entered once. What Python itself leaves (``__pycache__``) is no content, and
    a link to nowhere has none.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        here = os.stat(f"{root}/{below}")  # noqa: PTH116 - as above
        if (here.st_dev, here.st_ino) in seen:
            continue
        seen.add((here.st_dev, here.st_ino))
        with os.scandir(f"{root}/{below}") as entries:
            for entry in sorted(entries, key=lambda e: e.name, reverse=True):
                if entry.is_dir() and entry.name != "__pycache__":
                    waiting.append(f"{below}{entry.name}/")
                elif entry.is_file():
                    yield f"{below}{entry.name}"


def _loads(data: bytes, *, packed: bool = False) -> dict[str, Any] | None:
    try:
        value = parse_json(zlib.decompress(data) if packed else data)
    except (ValueError, zlib.error):
        return None
    return value if isinstance(value, dict) else None
