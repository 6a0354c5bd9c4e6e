"""The logs of a pair, as they are and as they grow; raw, and safe to show."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.text import natural_key
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.logfiles import find_gap
from pytest_evalrun.rundir.sessions import session_state
from pytest_evalrun.rundir.tasklist import Status, read_task_list
from pytest_evalrun.suite.printable import Shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.rundir.logfiles import Gap

PAUSE = 0.2
_BLOCK = 1 << 16
_KNOWN = 64


@dataclass
class FollowedLog:
    """One file, and how much of it was read."""

    path: Path
    offset: int = 0
    # What was read last, by which a file that was written anew is known, and the gap that it had then.
    end: bytes = b""
    gap: Gap | None = None

    def more(self) -> Iterator[bytes]:
        """Read what was appended since; a log that was shortened goes on where we were, another file from its start."""
        try:
            file = open_file(self.path)
        except OSError:
            return
        with file:
            fd = file.fileno()
            if os.pread(fd, len(self.end), self.offset - len(self.end)) != self.end:
                self._find_place(fd)
            while block := os.pread(fd, _BLOCK, self.offset):
                self.offset += len(block)
                self.end = (self.end + block)[-_KNOWN:]
                yield block

    def _find_place(self, fd: int) -> None:
        before, self.gap = self.gap, find_gap(fd)
        position = before.position(self.offset) if before else self.offset
        self.offset, self.end = self.gap.offset(position) if self.gap else 0, b""


def read_logs(paths: RunPaths, pair: KnownPair) -> Iterator[bytes]:
    """Read all of it. Raises ConfigError where the pair has said nothing yet."""
    logs = _logs(paths, pair, {})
    if not any(log.path.exists() for log in logs):
        raise ConfigError(f"pair {pair.full_id}: no log in {paths.root}: it is {pair.status}; with -f: wait for it")
    for log in logs:
        yield from log.more()


def follow_logs(
    paths: RunPaths, pair: KnownPair, pause: Callable[[], None] = lambda: time.sleep(PAUSE)
) -> Iterator[bytes]:
    """Read all of it and what comes, until the session ends, or the pair that was not done is.

    A pair that is done from the start may be evaluated again by this very session.
    """
    known: dict[Path, FollowedLog] = {}
    waited = False
    while True:
        live = session_state(paths).word == "live"
        states = read_task_list(paths.task_list)
        done = states is not None and states.get(pair.place) in (Status.COMPLETED, Status.FAILED)
        for log in _logs(paths, pair, known):  # after that was asked: what is written before the end is still read
            yield from log.more()
        if not live or (waited and done):
            return
        waited = waited or not done
        pause()


def shown(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same in UTF-8 for a terminal."""
    text = Shown()
    for block in blocks:
        yield text.feed(block).encode()
    yield text.feed(b"", final=True).encode()


def _logs(paths: RunPaths, pair: KnownPair, known: dict[Path, FollowedLog]) -> list[FollowedLog]:
    """List the logs of its shards, then those of the pair while it was predicted and while it was scored."""
    files = paths.pair(pair.key)
    shards = files.infer_log.with_suffix("")  # a name may have dots: only the last suffix goes
    of_shards = sorted(shards.glob("*.log"), key=lambda path: natural_key(path.name))
    return [known.setdefault(path, FollowedLog(path)) for path in (*of_shards, files.infer_log, files.eval_log)]
