"""The run as everybody sees it who watches: looked at once for all, and only while somebody does."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.monitor.reader import SnapshotReader
from pytest_evalrun.monitor.web.shown import shown_snapshot
from pytest_evalrun.monitor.web.slots import SlotTable
from pytest_evalrun.report.html.safejson import safe_json, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self, TypeVar

    from pytest_evalrun.monitor.snapshot import Snapshot
    from pytest_evalrun.rundir.layout import RunPaths

    Value = TypeVar("Value")
    Standing = tuple[object, ...]

INTERVAL = 0.5
# A run that is dear to look at is looked at less often, but so often at least: seconds.
LONGEST = 3.0
# So many times its own processor time passes between two looks.
PATIENCE = 50
# A new page of results is told of so often at most, in seconds.
RESULTS_INTERVAL = 2.0
_log = logging.getLogger(__name__)


class Watch:
    """One reader for all watchers; ``version`` grows with each change, ``results`` when results may have changed.

    Each part of the snapshot is kept as it was last encoded, with the version in which it changed: so who is slow gets
    the newest of each part, and nothing waits in a queue for him.
    """

    def __init__(self, paths: RunPaths, interval: float = INTERVAL) -> None:
        self.version = 0
        self.results = 0
        self.watchers = 0
        self.looks = 0
        self.results_interval = RESULTS_INTERVAL
        self._reader = SnapshotReader(paths)
        self._slots = SlotTable(paths)
        self._interval = interval
        # What reads the live list of pairs must not do so while it is read anew: all of that in one thread.
        self._thread = ThreadPoolExecutor(1, "evalrun-watch")
        self._parts: dict[str, bytes] = {}
        self._changed_in: dict[str, int] = {}
        self._last: tuple[int, bytes] = (0, b"")
        self._turn = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._looked = -LONGEST
        self._looking = asyncio.Lock()
        self._cost = 0.0
        self._standing: Standing | None = None
        self._told_results = time.monotonic()
        self._closed = False

    async def run_in_reader(self, call: Callable[[SnapshotReader], Value]) -> Value:
        """Do something with the reader where nobody reads at the same time."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, self._reader)

    async def snapshot(self, *, tasks: bool = False) -> bytes:
        """The whole snapshot as JSON, as old as an interval at most; ``tasks``: with how each pair stands."""
        await self.refresh()
        if not tasks:
            return self._encoded(self._parts)
        listed = await self.run_in_reader(lambda reader: safe_json(shown(reader.tasks.to_json())))
        return self._encoded(self._parts | {"tasks": listed})

    async def refresh(self) -> None:
        """Look now where the last look is older than an interval; whoever comes meanwhile waits for the same look."""
        async with self._looking:
            if time.monotonic() - self._looked >= self._interval:
                await self.look()

    def watcher(self) -> Watcher:
        """Watch as one more; looks begin with the first ``async with`` and end with the last."""
        return Watcher(self)

    def close(self) -> None:
        """Let all watchers go."""
        self._closed = True
        self._turn.set()
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def closed(self) -> bool:
        return self._closed

    def join(self) -> None:
        """One watcher more."""
        self.watchers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def leave(self) -> None:
        """One watcher less."""
        self.watchers -= 1
        if not self.watchers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def turned(self, seconds: float) -> None:
        """Wait for the next change, so many seconds at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._turn.wait()
        except TimeoutError:
            pass

    def since(self, version: int) -> bytes:
        """The parts that changed after a version, as one object of JSON."""
        if version == self.version - 1 and self._last[0] == self.version:
            return self._last[1]
        return self._encoded({name: self._parts[name] for name, last in self._changed_in.items() if last > version})

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(min(max(self._interval, PATIENCE * self._cost), max(self._interval, LONGEST)))

    async def look(self) -> None:
        """Look at the run now, and wake whoever waits where something changed."""
        try:
            parts, standing, self._cost = await self.run_in_reader(self._look)
        except (ConfigError, OSError) as error:
            parts, standing = _gone(error), ("gone",)
        except RuntimeError:  # the thread is gone: we are closing
            return
        except Exception:  # noqa: BLE001 - what is damaged in some new way ends no server
            _log.exception("the run could not be looked at")
            return
        self.looks += 1
        self._looked = time.monotonic()
        self._take(parts, standing)

    def _look(self, reader: SnapshotReader) -> tuple[dict[str, bytes], Standing, float]:
        """The parts of a snapshot, what the results depend on, and the processor seconds that the look took."""
        started = time.thread_time()
        snapshot = reader.look()
        facts = shown_snapshot(snapshot, self._slots.look(snapshot, reader))
        parts = {name: safe_json(part) for name, part in facts.items()}
        return parts, _standing(snapshot, reader), time.thread_time() - started

    def _take(self, parts: Mapping[str, bytes], standing: Standing) -> None:
        changed = [name for name, part in parts.items() if self._parts.get(name) != part]
        results = self._results_changed(standing)
        if not changed and not results:
            return
        self.version += 1
        self._parts |= parts
        self._changed_in |= dict.fromkeys(changed, self.version)
        self._last = self.version, self._encoded({name: parts[name] for name in changed})
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    def _results_changed(self, standing: Standing) -> bool:
        """Tell once that there may be other results: at once where a session began or ended, else not too often."""
        now = time.monotonic()
        if self._standing is None:  # the page that a watcher has is not older than this
            self._standing = standing
        if standing == self._standing:
            return False
        if standing[:1] == self._standing[:1] and now - self._told_results < self.results_interval:
            return False
        self._standing, self._told_results = standing, now
        self.results += 1
        return True

    @staticmethod
    def _encoded(parts: Mapping[str, bytes]) -> bytes:
        return b"{" + b",".join(b'"%s":%s' % (name.encode(), part) for name, part in parts.items()) + b"}"


class Watcher:
    """One who watches; ``next`` is what changed since the last time, as events of a stream."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._version = 0
        self._results = watch.results

    async def __aenter__(self) -> Self:
        self._watch.join()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.leave()

    async def next(self, seconds: float) -> bytes | None:
        """Wait for a change; a comment where none came for so long, None where the server ends."""
        watch = self._watch
        if self._version == watch.version:
            await watch.turned(seconds)
        if watch.closed:
            return None
        if self._version == watch.version:
            return b": still here\n\n"
        events = b"event: snapshot\nid: %d\ndata: %s\n\n" % (watch.version, watch.since(self._version))
        if self._results != watch.results:
            events += b'event: results\ndata: {"version":%d}\n\n' % watch.results
        self._version, self._results = watch.version, watch.results
        return events


def _standing(snapshot: Snapshot, reader: SnapshotReader) -> Standing:
    """How the session stands; what changes when a pair came to an end, or somebody reset something."""
    timeline = reader.events.timeline
    ended = len(timeline.ended), len(timeline.failed)
    return snapshot.standing.word, reader.tasks.version, tuple(snapshot.counts.values()), ended


def _gone(error: Exception) -> dict[str, bytes]:
    """What is left to say where the directory of the run is gone."""
    nothing = dict.fromkeys(("running", "slots", "boards"), b"[]")
    return nothing | {"session": safe_json("gone"), "problems": safe_json(shown([str(error)]))}
