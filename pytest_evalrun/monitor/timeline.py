"""The events of a run, added up: which pairs run where, how long they took, which failed."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pytest_evalrun.monitor.follow import Directory
from pytest_evalrun.planning.remaining import Remaining
from pytest_evalrun.rundir.events import CONTROLLER
from pytest_evalrun.rundir.lines import Follower
from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.names import first_samples, shard_of
from pytest_evalrun.suite.secrets import BLANK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_evalrun.rundir.layout import RunPaths

MOST_SLOWEST = 20
_CONTROLLERS = f',"worker":"{CONTROLLER}"'.encode()
_OF_JOBS = re.compile(rb'"worker":"u\d+\.\d+"')


@dataclass(frozen=True)
class Started:
    """A pair that runs: on which worker, since when, and since when with its model loaded (Unix times)."""

    worker: str
    since: float
    loaded: float


@dataclass(frozen=True)
class Ended:
    """The end of a pair; ``seconds`` is None where nobody measured them."""

    outcome: str
    seconds: float | None
    reason: str


class Timeline:
    """All that is known after each event; what is about the last launch alone begins anew with ``run_started``.

    ``expected`` are the seconds of each item that was selected, None where an older version did not say; ``ended`` are
    items, ``begun`` and ``done`` pairs. An item is a pair, or a shard of one.
    ``limited`` are the names, among those that failed or took longest, of evaluations of first samples.
    """

    def __init__(self) -> None:
        self.failed: dict[str, Ended] = {}
        self.slowest: dict[str, float] = {}
        self.limited: set[str] = set()
        self._begin(None, None, None)
        self._takers: dict[str, Callable[[str, str, dict[str, Any], float], None]] = {
            "item_started": self._item_started,
            "item_finished": self._item_finished,
            "model_loaded": self._model_loaded,
            "slot_taken": self._slot_taken,
            "slot_freed": lambda _, worker, *__: self._free(worker),
            "worker_lost": lambda _, __, event, ___: self._lost(str(event.get("lost"))),
            "run_finished": lambda *_: self.running.clear(),
        }

    def _begin(self, since: float | None, selected: int | None, expected: dict[str, float] | None) -> None:
        self.since = since
        self.selected = selected
        self.expected = expected
        self.items = len(expected) if expected else selected or 0
        self.remaining = Remaining(self.items, expected)
        self.ended: set[str] = set()
        self.done: set[str] = set()
        self.begun: set[str] = set()
        self._open = Counter(shard_of(item)[0] for item in expected or ())
        # The pairs that this launch works on; None where that is not known of all.
        self.pairs = frozenset(self._open) if len(self._open) == selected else None
        self.skipped: set[str] = set()
        self.running: dict[str, Started] = {}
        self.slots: dict[str, str] = {}
        for name in self.limited:
            self.failed.pop(name, None)
            self.slowest.pop(name, None)
        self.limited.clear()

    def take(self, event: dict[str, Any]) -> None:
        """Raises ValueError, KeyError or TypeError for what is no event."""
        now = datetime.fromisoformat(event["time"]).timestamp()
        kind = event["event"]
        if kind == "run_started":
            selected = event.get("selected")
            self._begin(now, selected if isinstance(selected, int) else None, _seconds(event.get("expected")))
        elif taker := self._takers.get(kind):
            taker(str(event.get("pair")), str(event.get("worker")), event, now)

    def _item_started(self, pair: str, worker: str, _: dict[str, Any], now: float) -> None:
        self.running[pair] = Started(worker, now, now)
        if pair in self.ended:
            self.ended.remove(pair)
            self._reopen(pair)
        self.skipped.discard(pair)
        self.begun.add(shard_of(pair)[0])
        self.remaining.started(pair, now)

    def _model_loaded(self, pair: str, worker: str, _: dict[str, Any], now: float) -> None:
        if started := self.running.get(pair):
            self.running[pair] = Started(worker, started.since, now)

    def _item_finished(self, pair: str, _: str, event: dict[str, Any], now: float) -> None:
        started = self.running.pop(pair, None)
        seconds = event.get("seconds")
        if seconds is None and started is not None:
            seconds = now - started.since
        self.remaining.finished(pair, now, reused=bool(event.get("reused")))
        self.begun.add(shard_of(pair)[0])
        if pair not in self.ended:
            self.ended.add(pair)
            self._close(pair)
        name = self._named(pair, event.get("limit"))
        self.failed.pop(name, None)
        if event.get("outcome") in ("failed", "error"):
            self.failed[name] = Ended(event["outcome"], seconds, str(event.get("reason") or ""))
        if event.get("outcome") == "skipped":
            self.skipped.add(pair)
        elif not event.get("reused"):
            self._rank(name, seconds)

    def _close(self, item: str) -> None:
        """A pair is done with the last of its items: its shards, and the one that scores."""
        pair, shard = shard_of(item)
        self._open[pair] -= pair in self._open
        if not self._open[pair] and (shard is None or self.expected is not None):
            self.done.add(pair)

    def _reopen(self, item: str) -> None:
        pair, _ = shard_of(item)
        self._open[pair] += 1
        self.done.discard(pair)

    def _named(self, pair: str, limit: Any) -> str:
        """Name the item; one of first samples is remembered, for it says nothing of the pair beyond this launch."""
        if not isinstance(limit, int):
            return pair
        self.limited.add(name := first_samples(pair, limit))
        return name

    def _rank(self, pair: str, seconds: float | None) -> None:
        self.slowest.pop(pair, None)
        if seconds is not None:
            self.slowest[pair] = float(seconds)
        if len(self.slowest) > MOST_SLOWEST:
            del self.slowest[min(self.slowest, key=self.slowest.__getitem__)]

    def _slot_taken(self, _: str, worker: str, event: dict[str, Any], __: float) -> None:
        gpus = event.get("gpus")
        named = f"GPU {','.join(map(str, gpus))}" if isinstance(gpus, list) and gpus else event.get("device")
        self.slots[worker] = str(named or "slot")

    def _free(self, worker: str) -> None:
        self.slots.pop(worker, None)

    def _lost(self, worker: str) -> None:
        self._free(worker)
        for pair in [pair for pair, started in self.running.items() if started.worker == worker]:
            del self.running[pair]


def _is_own(line: bytes) -> bool:
    """A line of which there is no other: of the launching process, and of jobs, which it has relayed."""
    return _CONTROLLERS in line or b'"worker"' not in line or _OF_JOBS.search(line) is not None


def _seconds(told: Any) -> dict[str, float] | None:
    """Return the seconds of items by their ids; a blanked one is the id of none."""
    if not isinstance(told, dict):
        return None
    return {item: float(seconds) for item, seconds in told.items() if BLANK not in item}


class Events:
    """Reads what was appended: the launching process's own from the merged file, each worker's from its own one.

    The merged file has a worker's events only once its item has ended.
    """

    def __init__(self, paths: RunPaths) -> None:
        self.timeline = Timeline()
        self.damaged: dict[str, int] = {}
        self._merged = Follower(paths.events)
        self._directory = Directory(paths.worker_events("any").parent, ".jsonl")
        self._workers: dict[str, Follower] = {}
        self._paths = paths

    @property
    def changed(self) -> float:
        """The time when a file was last written (Unix time)."""
        return max(follower.changed for follower in (self._merged, *self._workers.values()))

    def look(self) -> bool:
        """Read what was appended; True where anything happened."""
        if self._directory.look():
            for name in self._directory.names:
                self._workers.setdefault(name, Follower(self._paths.worker_events(name.removesuffix(".jsonl"))))
        own = (line for line in self._merged.read() if _is_own(line))
        events = self._parsed("events.jsonl", own)
        for name, follower in self._workers.items():
            events += self._parsed(f"events/{name}", follower.read())
        # Of one millisecond the death of a worker comes last: what it had begun ended with it.
        events.sort(key=lambda event: (str(event.get("time")), event.get("event") == "worker_lost"))
        for event in events:
            try:
                self.timeline.take(event)
            except (KeyError, TypeError, ValueError):
                self._complain("events")
        return bool(events)

    def _parsed(self, name: str, lines: Iterable[bytes]) -> list[dict[str, Any]]:
        events = []
        for line in lines:
            try:
                event = parse_json(line)
            except ValueError:
                event = None
            if isinstance(event, dict):
                events.append(event)
            else:
                self._complain(name)
        return events

    def _complain(self, name: str) -> None:
        self.damaged[name] = self.damaged.get(name, 0) + 1
