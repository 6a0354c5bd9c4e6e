"""A running pair: how far it is and how fast, from its state file over time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pytest_evalrun.monitor.follow import Signature, signature
from pytest_evalrun.rundir.agentfiles import read_sessions, under_way
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.state import RunningState, parse
from pytest_evalrun.suite.names import shard_of
from pytest_evalrun.suite.pairs import Cut, PairKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from pytest_evalrun.rundir.agentfiles import UnderWay
    from pytest_evalrun.rundir.layout import PairPaths, RunPaths

# So many changes make the rate: about ten seconds of a pair that moves.
POINTS = 20


class Gauge:
    """One running pair. ``places``: where its files may lie; what was written before ``since`` is of an older run."""

    def __init__(self, places: Sequence[PairPaths], since: float) -> None:
        self.state: RunningState | None = None
        self.damaged = False
        self.changed = 0.0
        self.logs = [place.infer_log for place in places]
        self._files = [place.state for place in places]
        self._since = since
        self._seen: list[Signature | None] = []
        self._sessions = [_SessionsFile(place.agent.sessions) for place in places]
        self._points: deque[tuple[float, int]] = deque(maxlen=POINTS)

    def look(self, loaded: float) -> bool:
        """Read the state where it was replaced; whether it was. ``loaded``: since when the model could answer."""
        for sessions in self._sessions:
            sessions.look()
        seen = [signature(file) for file in self._files]
        if seen == self._seen:
            return False
        self._seen = seen
        found = [(each[2] / 1e9, file) for each, file in zip(seen, self._files, strict=True) if each]
        for mtime, file in sorted(found, reverse=True)[:1]:
            self._take(file, mtime, loaded)
        return True

    def _take(self, file: Path, mtime: float, loaded: float) -> None:
        try:
            state = parse(read_file(file).decode(errors="replace"))
        except OSError:
            return  # between two looks it went, or may not be read
        self.damaged = state is None
        if state is not None and state.timestamp >= int(self._since):
            self.state, self.changed = state, mtime
            if not self._points:
                self._points.append((loaded, 0))
            self._points.append((mtime, done(state)))

    def sessions(self, now: float) -> UnderWay | None:
        """The sessions of an agent at its task server; None where there are none."""
        return under_way([row for sessions in self._sessions for row in sessions.rows], now)

    @property
    def rate(self) -> float | None:
        """Samples a second; None while there is nothing to tell it from."""
        if len(self._points) < 2:
            return None
        (start, before), (end, after) = self._points[0], self._points[-1]
        return (after - before) / (end - start) if end > start and after > before else None

    @property
    def share(self) -> float:
        """The share of the pair that is predicted, 0 to 1."""
        state = self.state
        if state is None or state.total_batches <= 0:
            return 0.0
        within = state.batch_completed / state.batch_total if state.batch_total > 0 else 0.0
        return min(1.0, max(0.0, (state.current_batch - 1 + within) / state.total_batches))


class _SessionsFile:
    """The sessions that a pair has written down; the file is there only while it asks its task server."""

    def __init__(self, file: Path) -> None:
        self.rows: list[Any] = []
        self._file = file
        self._seen: Signature | None = None

    def look(self) -> None:
        seen = signature(self._file)
        if seen != self._seen:
            self._seen = seen
            told = read_sessions(self._file) if seen else None
            self.rows = told["sessions"] if told else []


def done(state: RunningState) -> int:
    """Count the samples that this session predicted."""
    return max(0, state.current_batch - 1) * state.max_batch_size + state.batch_completed


def places(paths: RunPaths, pair: str, limit: int | None) -> list[PairPaths]:
    """List where the files of ``suite/task/dataset``, or of a shard of it, may lie.

    An evaluation of the first N samples has some of its own.

    Nowhere for a name that no pair can have: a damaged file must not lead out of the run.
    """
    pair, shard = shard_of(pair)
    if (key := PairKey.of_id(pair)) is None:
        return []
    keys = dict.fromkeys((key.limited(limit), key))
    if shard is not None:
        return [paths.shard(each, Cut(0, 0, shard)) for each in keys]  # their files are called by the label alone
    return [paths.pair(each) for each in keys]
