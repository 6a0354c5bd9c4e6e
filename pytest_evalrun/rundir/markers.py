"""``NAME.complete.state``: a pair is predicted and scored, and these are the files that say so."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.rundir.lines import open_file, read_file, utc_time
from pytest_evalrun.rundir.results import TIMING
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from hashlib import _Hash
    from pathlib import Path
    from typing import BinaryIO

    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths


FORMAT = 1
BLOCK = 1 << 16
DAMAGED = ".damaged"
# Into so many groups of samples the predictions are cut, each with a digest: what is damaged costs no other group.
MOST_GROUPS = 64
LINES = 256
DIGITS = 16
# How our own lines begin.
INDEX = re.compile(rb'\{"index":(\d{1,18}),')
CHANGED = "changed after it was marked"
MISSING = "is missing"
NO_FILE = "is no file"
UNREADABLE = "cannot be read"


class Broken(NamedTuple):
    """A file that is not what its marker says; ``name`` is relative to the run."""

    name: str
    reason: str

    @property
    def is_missing(self) -> bool:
        return self.reason == MISSING

    @property
    def is_unreadable(self) -> bool:
        """Whether the file may be what it was, for all that is known."""
        return self.reason.startswith(UNREADABLE)

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


@dataclass(frozen=True)
class Marker:
    """What was complete, when, and the size, mtime and hash of each file that it vouches for."""

    time: str
    fingerprint: dict[str, Any]
    files: dict[str, dict[str, Any]]
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        values = {"format": FORMAT, "time": self.time, "fingerprint": self.fingerprint, "files": self.files}
        return values | {"extra": self.extra}

    def dumps(self) -> str:
        """The text of the file."""
        return json.dumps(self.to_json(), ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, values: Any) -> Marker:
        """Raises ValueError, KeyError or TypeError where the marker is damaged, or of a format not known here."""
        if values["format"] != FORMAT:
            raise ValueError(f"format: {values['format']!r}; known here: {FORMAT}")
        fingerprint, files, extra = values["fingerprint"], values["files"], values["extra"]
        if not (isinstance(fingerprint["prediction"], dict) and isinstance(fingerprint["score"], dict)):
            raise ValueError("fingerprint: prediction and score must be objects")  # noqa: TRY004 - damage
        if not files or any(not {"size", "mtime_ns", "sha256"} <= facts.keys() for facts in files.values()):
            raise ValueError("files: each must have size, mtime_ns and sha256")
        return cls(str(values["time"]), fingerprint, files, extra)

    def holds(self, run: Path, by_hash: bool = False) -> str | None:
        """None where every file is what it was; else which one is not.

        Size and mtime settle it. A copied run has new mtimes: where only these differ, and with ``by_hash`` always,
        the content decides.
        """
        broken = self.broken(run, by_hash)
        return broken and str(broken)

    def vouches_for(self, paths: PairPaths) -> bool:
        """Whether it is the pair's own: a copy of another's says nothing of its predictions."""
        return os.fspath(paths.predictions)[len(os.fspath(paths.run)) + 1 :] in self.files

    def broken(self, run: Path, by_hash: bool = False) -> Broken | None:
        """The first file that is not what it was, in the order in which they depend on each other."""
        for name, facts in self.files.items():
            if reason := _broken(run, name, facts, by_hash):
                return Broken(name, reason)
        return None


def write_marker(
    disk: Disk,
    paths: PairPaths,
    fingerprint: dict[str, Any],
    extra: dict[str, Any] | None = None,
    *,
    lines: int = 0,
    generations: int = 1,
) -> Marker:
    """Vouch for the pair's predictions, result and scores as they are now.

    ``fingerprint`` has the parts ``prediction`` and ``score``. Where the predictions are known to be so many ``lines``,
    ``generations`` a sample in the order of the dataset, each group of them is vouched for too. Raises
    FileNotFoundError without predictions or result.
    """
    run = os.fspath(paths.run)
    files = {}
    for path, count in ((paths.predictions, lines), (paths.result, 0), (paths.scores, 0)):
        name = os.fspath(path)
        try:
            files[name[len(run) + 1 :]] = facts_of(name, count, generations)
        except FileNotFoundError:
            if path is not paths.scores:
                raise
    marker = Marker(utc_time(timespec="seconds"), fingerprint, files, extra or {})
    disk.write(paths.marker, marker.dumps(), vouches=True)
    return marker


def read_marker(path: Path) -> Marker | None:
    """A marker, or None where there is none or it is damaged: the pair is then scored again."""
    try:
        return Marker.from_json(parse_json(read_file(path)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def facts_of(path: Path | str, lines: int = 0, generations: int = 1) -> dict[str, Any]:
    """Size, mtime and hash of a file, and of ``lines`` the hashes of groups, each of whole samples.

    Raises OSError, also for what is no file: a FIFO must not block us.
    """
    with open_file(path) as file:
        whole, groups = hashlib.sha256(), {}
        if lines:
            stride = -(-lines // (MOST_GROUPS * generations)) * generations
            groups = {"stride": stride, "groups": list(_groups(file, stride, whole))}
            groups |= {"generations": generations} if generations > 1 else {}
        while block := file.read(BLOCK):
            whole.update(block)
        stat = os.fstat(file.fileno())
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": whole.hexdigest(), **groups}


def _groups(file: BinaryIO, stride: int, whole: _Hash) -> Iterator[str]:
    """The digest of every ``stride`` lines; ``whole`` goes along. Memory holds a few lines at a time."""
    lines = list(islice(file, min(stride, LINES)))
    while lines:
        group, left = hashlib.sha256(), stride
        while lines and left:
            data = b"".join(lines)
            whole.update(data)
            group.update(data)
            left -= len(lines)
            lines = list(islice(file, min(left or stride, LINES)))
        yield group.hexdigest()[:DIGITS]


def keep_sound(disk: Disk, paths: PairPaths, marker: Marker) -> int:
    """Put predictions aside that are not what their marker says, and keep of them what it still vouches for.

    How many samples these are. What lay there is called ``.damaged`` then. The marker goes last: killed in between,
    this is done again, from what lies aside.
    """
    path = paths.whole.predictions
    damaged = path.with_name(path.name + DAMAGED)
    if os.path.lexists(path):
        if damaged.is_dir() and not damaged.is_symlink():
            shutil.rmtree(damaged)
        path.rename(damaged)
    stride, groups = _grouping(marker.files.get(path.relative_to(paths.run).as_posix(), {}))
    kept = 0
    if damaged.is_file() and groups:
        sound = _sound_groups(damaged, stride, groups)
        with disk.replacing(path) as file:
            for index, raw in _indexed(damaged):
                if index // stride in sound:
                    file.write(raw)
                    kept += 1
    paths.whole.marker.unlink()
    return kept


def sound_in(paths: PairPaths, marker: Marker) -> Callable[[int], bool]:
    """Which samples, by their index, have the lines that the marker of a pair vouches for; nothing is changed."""
    path = paths.whole.predictions
    name = path.relative_to(paths.run).as_posix()
    if name in marker.files and _broken(paths.run, name, marker.files[name], by_hash=False) is None:
        return lambda _index: True
    stride, groups = _grouping(marker.files.get(name, {}))
    sound = _sound_groups(path, stride, groups) if groups and path.is_file() else set()
    return lambda index: index // stride in sound


def _grouping(facts: dict[str, Any]) -> tuple[int, list[str]]:
    """How many samples a group has, and the digest of each; no groups where nobody knows."""
    stride, groups, each = facts.get("stride"), facts.get("groups"), facts.get("generations", 1)
    if type(stride) is not int or type(each) is not int or not isinstance(groups, list) or not 0 < each <= stride:
        return 1, []
    return stride // each, groups


def _sound_groups(path: Path, stride: int, groups: list[str]) -> set[int]:
    found: dict[int, _Hash] = {}
    for index, raw in _indexed(path):
        found.setdefault(index // stride, hashlib.sha256()).update(raw)
    return {
        place for place, group in enumerate(groups) if place in found and found[place].hexdigest()[:DIGITS] == group
    }


def _indexed(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for raw in file:
            if known := INDEX.match(raw):
                yield int(known[1]), raw


def _broken(run: Path, name: str, facts: dict[str, Any], by_hash: bool) -> str | None:
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        return "lies outside the run"
    path = f"{run}/{name}"
    try:
        stat = os.stat(path)  # noqa: PTH116 - for every reused pair
        if not S_ISREG(stat.st_mode):
            return NO_FILE
        if stat.st_size != facts["size"]:
            return CHANGED
        if (by_hash or stat.st_mtime_ns != facts["mtime_ns"]) and facts_of(path)["sha256"] != facts["sha256"]:
            return CHANGED
    except FileNotFoundError:
        return NO_FILE if os.path.islink(path) else MISSING  # noqa: PTH114
    except OSError as error:
        return f"{UNREADABLE}: {error.strerror}"
    return None


@dataclass(frozen=True)
class StoredFingerprint:
    """The parts, the launch that began the predictions, and how it timed samples (None: as older versions did)."""

    parts: dict[str, Any]
    launch: str
    timing: int | None = None

    @classmethod
    def from_json(cls, content: Any) -> StoredFingerprint:
        """Raises KeyError, TypeError, ValueError or AttributeError where it is none."""
        timing = TIMING if content.get("timing") == TIMING else None
        return cls(dict(content["parts"]), str(content["launch"]), timing)


def write_fingerprint(
    disk: Disk, path: Path, parts: dict[str, Any], launch: str, *, timing: int | None = TIMING
) -> None:
    content = {"format": 1, "parts": parts, "launch": launch, "timing": timing}
    disk.write(path, json.dumps(content, ensure_ascii=False))


def read_fingerprint(path: Path) -> StoredFingerprint | None:
    """None where there is none, or where it is damaged: then nothing is known about the predictions."""
    try:
        return StoredFingerprint.from_json(parse_json(read_file(path)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
