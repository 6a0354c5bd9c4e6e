"""``NAME.complete.state``: a pair is predicted and scored, and these are the files that say so."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths

FORMAT = 1
BLOCK = 1 << 16


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
        for name, facts in self.files.items():
            if reason := _broken(run, name, facts, by_hash):
                return reason
        return None


def write_marker(
    disk: Disk, paths: PairPaths, fingerprint: dict[str, Any], extra: dict[str, Any] | None = None
) -> Marker:
    """Vouch for the pair's predictions, result and scores as they are now.

    ``fingerprint`` has the parts ``prediction`` and ``score``. Raises FileNotFoundError without predictions or result.
    """
    run = os.fspath(paths.run)
    files = {}
    for path, needed in ((paths.predictions, True), (paths.result, True), (paths.scores, False)):
        name = os.fspath(path)
        try:
            files[name[len(run) + 1 :]] = _facts(name)
        except FileNotFoundError:
            if needed:
                raise
    time = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    marker = Marker(time, fingerprint, files, extra or {})
    disk.write(paths.marker, json.dumps(marker.to_json(), ensure_ascii=False) + "\n", vouches=True)
    return marker


def read_marker(path: Path) -> Marker | None:
    """A marker, or None where there is none or it is damaged: the pair is then scored again."""
    try:
        return Marker.from_json(parse_json(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _facts(path: str) -> dict[str, Any]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        digest = hashlib.sha256()
        while block := os.read(fd, BLOCK):
            digest.update(block)
        stat = os.fstat(fd)
    finally:
        os.close(fd)
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": digest.hexdigest()}


def _broken(run: Path, name: str, facts: dict[str, Any], by_hash: bool) -> str | None:
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        return f"{name} lies outside the run"
    path = f"{run}/{name}"
    try:
        stat = os.stat(path)  # noqa: PTH116 - for every reused pair
        if stat.st_size != facts["size"]:
            return f"{name} changed after it was marked"
        if (by_hash or stat.st_mtime_ns != facts["mtime_ns"]) and _facts(path)["sha256"] != facts["sha256"]:
            return f"{name} changed after it was marked"
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return None
