"""What a listing found of the pairs of a run that would be reused, so that the next one need not read their files.

Kept in the cache of hashes, of the run that was listed last. It is only ever a help: an entry counts as long as the
marker and each file that it vouches for have the size, times and inode that they had when the entry was made, and
somebody who compared it with what is wanted now has the last word.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from pytest_evalrun.rundir.hashes import settled, stat_text
from pytest_evalrun.rundir.hashstore import HashStore
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.markers import Marker

# Raised where an entry means something else than before, or where the same files would be judged otherwise.
KEY = b"plan 1"
DIGITS = 32
NONE = "-"
_ENTRY = re.compile(rf"[0-9a-f]{{{DIGITS}}} [0-9a-f]{{{DIGITS}}} ([0-9]+|{NONE}) ")


class IndexEntry(NamedTuple):
    """A pair that would be reused, why, and its number of samples, where ``wanted`` is what is wanted of it today."""

    wanted: str
    reason: str
    samples: int | None


class PlanIndex:
    """The entries of one run by the names of its pairs; what is noted is kept by ``close``."""

    def __init__(self, db: Path, run: Path, warn: Callable[[str], None]) -> None:
        self._store = HashStore(db, warn)
        self._run = hashlib.sha256(os.fsencode(run)).hexdigest()
        self._started = time.time_ns()
        known = self._store.get("derived", KEY, self._run)
        # One text each, not a list: 10,000 brackets would take longer to check than all else takes to read.
        self._entries = _loads(known) if known else {}
        self._noted = False

    def entry(self, paths: PairPaths) -> IndexEntry | None:
        """What was found of a pair, None where one of its files is another by now, or where nothing is known."""
        known = self._entries.get("/".join(paths.key))
        if known is None:
            return None
        files, wanted, samples, reason = known.split(" ", 3)
        if files != _files(paths, None):
            return None
        return IndexEntry(wanted, reason, int(samples) if samples != NONE else None)

    def note(self, paths: PairPaths, wanted: str, reason: str, marker: Marker) -> None:
        """For the next listing; not where a file is so new that it may change again without a new time.

        The files were read before: who changed one of them meanwhile has made it new.
        """
        samples = marker.extra.get("samples", NONE)
        run = os.fspath(paths.run)
        looked_at = all(f"{run}/{name}" in paths.complete for name in marker.files)
        files = _files(paths, self._started) if looked_at else None
        if files is not None and (samples == NONE or type(samples) is int):
            self._entries["/".join(paths.key)] = f"{files} {wanted} {samples} {reason}"
            self._noted = True

    def close(self) -> None:
        if self._noted:
            self._store.put("derived", KEY, self._run, json.dumps(self._entries, separators=(",", ":")).encode())
        self._store.close()


def _files(paths: PairPaths, started: int | None) -> str | None:
    """How the files of a complete pair look, as one digest.

    None where one cannot be looked at, or is newer than what is settled at ``started``.
    """
    looks = []
    for name in paths.complete:
        try:
            found = os.stat(name)  # noqa: PTH116 - four for each of 10,000 pairs
        except FileNotFoundError:
            looks.append(NONE)
            continue
        except OSError:
            return None
        if started is not None and not settled(max(found.st_mtime_ns, found.st_ctime_ns), started):
            return None
        looks.append(stat_text(found))
    return digest("\n".join(looks))


def digest(text: str) -> str:
    """As much of a digest as 10,000 entries need."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _loads(data: bytes) -> dict[str, str]:
    """Only whole entries: whatever else stands there was not written by us."""
    try:
        content = parse_json(data)
    except ValueError:
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: text for name, text in content.items() if isinstance(text, str) and _ENTRY.match(text)}
