"""What jobs tell of their items, taken in: files into the run, reports into this session, events into its own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.plugin.collectors import SuiteModule
from pytest_evalrun.plugin.items import pair_of
from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.publish import NotYet, publish_pair, publish_partial
from pytest_evalrun.rundir.reportlines import BEGUN, ENDED, EVENT, ITEM, REFUSED, START, WARNING, ReportReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from pytest_evalrun.engines.dispatch import Dispatch, Unit
    from pytest_evalrun.plugin.engine.division import Division
    from pytest_evalrun.plugin.engine.localitems import LocalItems
    from pytest_evalrun.plugin.engine.replay import Replay
    from pytest_evalrun.rundir.enginepaths import AttemptPaths, EnginePaths
    from pytest_evalrun.rundir.live import LiveRun
    from pytest_evalrun.suite.pairs import Pair

# A file that was closed on another host is here within so many seconds, or never: attributes are kept for up to 60.
PATIENCE_SECONDS = 90.0
# How often files that are not all here yet are looked for.
AGAIN_SECONDS = 0.2
STARTED, FINISHED = "item_started", "item_finished"


@dataclass
class _Attempt:
    """What is read of one attempt, and the items whose files are not all here yet."""

    unit: Unit
    paths: AttemptPaths
    name: str
    reader: ReportReader
    waiting: list[dict[str, Any]] = field(default_factory=list)
    again_at: float = 0.0
    replayed: set[str] = field(default_factory=set)
    patient_until: float | None = None


class Inbox:
    """Reads the reports of the attempts that it is asked to look at.

    ``due`` are the items that are still to be reported, by node id; whatever a job says of others is not for this
    session. ``scores`` says that whatever passes was scored, unless a judge is asked. ``local`` is told of each that is
    over, and runs those of which a job has only made the predictions.
    ``begun`` hears of each that a job has begun with.
    """

    def __init__(
        self,
        live: LiveRun,
        replay: Replay,
        paths: EnginePaths,
        division: Division,
        local: LocalItems,
        say: Callable[[str], None],
        begun: Callable[[str], None],
        *,
        fresh: bool,
        scores: bool,
    ) -> None:
        self._live = live
        self._replay = replay
        self._paths = paths
        self._local = local
        self._judged = division.judged
        self._say = say
        self._begun = begun
        self._fresh = fresh
        self._scores = scores
        self._attempts: dict[tuple[str, int], _Attempt] = {}
        self.due = dict(division.remote)
        self._pairs = {pair.full_id for item in self.due.values() if (pair := pair_of(item)) is not None}
        judged = (pair_of(item) for nodeid, item in self.due.items() if nodeid in division.judged)
        self._scored_here = {pair.full_id for pair in judged if pair is not None}
        self.unfinished: list[pytest.Item] = []
        self.dispatch: Dispatch | None = None
        self._disk = Disk()
        # What a disk here did not take, by the item that it is of.
        self._untaken: dict[str, str] = {}
        # What of a job's files is not here, by the item that they are of.
        self._missing: dict[str, str] = {}
        self._failures: dict[str, str] = {}
        self._troubles: set[str] = set()
        # Attempts of which something could not be taken into the run.
        self.stuck: set[AttemptPaths] = set()

    @property
    def replayed(self) -> list[AttemptPaths]:
        """The attempts of which this session has replayed an item."""
        return [attempt.paths for attempt in self._attempts.values() if attempt.replayed]

    def look(self, attempts: Iterable[tuple[Unit, int]]) -> None:
        """Take in whatever has come since."""
        for unit, number in attempts:
            self._read(self._attempt(unit, number))

    def finish(self, unit: Unit, number: int) -> bool:
        """The job is over: take in what it has written last. False where what it announced is not all here yet."""
        assert self.dispatch is not None
        attempt = self._attempt(unit, number)
        if self._read(attempt) and not attempt.waiting:
            return True
        if attempt.patient_until is None:
            attempt.patient_until = time.monotonic() + PATIENCE_SECONDS
        if time.monotonic() < attempt.patient_until:
            return False
        for nodeid in [line["id"] for line in attempt.waiting]:
            if nodeid not in self._untaken:
                self._tell(self._missing.get(nodeid, f"{attempt.paths.root} has not all of {nodeid}"))
                continue
            # The job has done its part: another one would do the same again, for the same end.
            self._failures[nodeid] = self._untaken[nodeid]
            self.dispatch.reported(unit.name, [nodeid])
        return True

    def take_failures(self) -> dict[str, str]:
        """Items whose files could not be taken into the run, and why; each once."""
        failures, self._failures = self._failures, {}
        return failures

    def _attempt(self, unit: Unit, number: int) -> _Attempt:
        key = (unit.name, number)
        if key not in self._attempts:
            paths = self._paths.attempt(unit.name, number)
            self._attempts[key] = _Attempt(unit, paths, f"{unit.name}.{number}", ReportReader(paths.reports))
        return self._attempts[key]

    def _read(self, attempt: _Attempt) -> bool:
        """Take in what has come. False where it cannot be read now, as while a server of files is started again."""
        try:
            lines = attempt.reader.read()
        except OSError as error:
            self._tell(f"what jobs tell cannot be read: {attempt.paths.reports}: {error.strerror}")
            return False
        if attempt.waiting and time.monotonic() >= attempt.again_at:
            lines, attempt.waiting = [*attempt.waiting, *lines], []
        for line in lines:
            self._take(attempt, line)
        return True

    def _take(self, attempt: _Attempt, line: dict[str, Any]) -> None:
        assert self.dispatch is not None, "it is there before anything is looked at"
        kind, unit = line.get("kind"), attempt.unit.name
        if kind == BEGUN:
            self.dispatch.begun(unit)
        elif kind == REFUSED:
            self.dispatch.refused(unit, str(line.get("text", "")))
        elif kind == ENDED:
            self.dispatch.ended(unit, int(line.get("code", 0)))
        elif kind == EVENT:
            self._event(attempt, line.get("event", {}))
        elif kind == START:
            self._start(attempt, line)
            self.dispatch.started(unit, line["id"])
        elif kind == WARNING and line["id"] in attempt.replayed:
            self._replay.warning(line)
        elif kind == ITEM:
            self._item(attempt, line)

    def _start(self, attempt: _Attempt, line: dict[str, Any]) -> None:
        """The job's own event of it comes with the next line only, which may be the one that ends the item."""
        if line["id"] in self.due and (pair := pair_of(self.due[line["id"]])) is not None:
            self._live.started(pair)
            self._begun(line["id"])
            started = {"time": line.get("time"), "event": STARTED, "pair": pair.full_id}
            self._live.events.relay(started, attempt.name)

    def _event(self, attempt: _Attempt, event: dict[str, Any]) -> None:
        """What an earlier launch has taken in already is none of this one's pairs.

        Of what is scored here a job knows how the predictions ended, not the item.
        """
        pair = event.get("pair")
        if pair in self._scored_here and event.get("event") == FINISHED and event.get("outcome") == "passed":
            return
        if event.get("event") != STARTED and (pair is None or pair in self._pairs):
            self._live.events.relay(event, attempt.name)

    def _item(self, attempt: _Attempt, line: dict[str, Any]) -> None:
        """Files first: who is told of a result finds it."""
        assert self.dispatch is not None
        item = self.due.get(line["id"])
        if item is None:
            return
        pair = pair_of(item)
        if pair is not None and not self._is_founded(item, pair, line["reports"]):
            self._tell(f"{attempt.paths.reports}: {item.nodeid} passed without a result, which is not believed")
            return
        if pair is not None and not self._publish(attempt, item, pair, line["reports"]):
            attempt.waiting.append(line)
            attempt.again_at = time.monotonic() + AGAIN_SECONDS
            return
        self.dispatch.reported(attempt.unit.name, [item.nodeid])
        if item.nodeid in self._judged and all(report["outcome"] == "passed" for report in line["reports"]):
            del self.due[item.nodeid]
            self._local.add(item)
            return
        for report in line["reports"]:
            if isinstance(report.get("evalrun"), dict):
                report["evalrun"]["worker"] = attempt.name
        self.over(item)
        self._replay.item(line)
        attempt.replayed.add(item.nodeid)

    def _is_founded(self, item: pytest.Item, pair: Pair, reports: Iterable[dict[str, Any]]) -> bool:
        """Whether an item of a suite that passed tells of an evaluation: nothing judged is never a success."""
        if not isinstance(item.parent, SuiteModule) or any(report["outcome"] != "passed" for report in reports):
            return True
        told = [report["evalrun"] for report in reports if "scored" in report.get("evalrun", {})]
        if not self._scores or pair.is_shard or item.nodeid in self._judged:
            return bool(told)
        return any(entry["scored"] for entry in told)

    def give_up(self, item: pytest.Item) -> None:
        """No job will tell of an item; what there is of its pair is kept all the same."""
        self.unfinished.append(item)
        self.over(item)

    def over(self, item: pytest.Item) -> None:
        del self.due[item.nodeid]
        self._local.ended(pair_of(item))

    def _publish(self, attempt: _Attempt, item: pytest.Item, pair: Pair, reports: Iterable[dict[str, Any]]) -> bool:
        """False where it is to be tried again: files are not all here yet, or cannot be written here now."""
        marked = any((report.get("evalrun") or {}).get("scored") for report in reports)
        try:
            publish_pair(attempt.paths, self._live.paths, pair, fresh=self._fresh, marked=marked, disk=self._disk)
        except NotYet as error:
            self._missing[item.nodeid] = str(error)
            return False
        except OSError as error:
            self._untaken[item.nodeid] = text = f"what its job has made {self._trouble(error)}"
            self._tell(f"{text}; tried again, and kept in {self._paths.root} until then")
            return False
        self._untaken.pop(item.nodeid, None)
        return True

    def _trouble(self, error: OSError) -> str:
        return f"cannot be taken into the run: {error.filename or self._live.paths.root}: {error.strerror}"

    def _tell(self, trouble: str) -> None:
        """A trouble once, however often it is met."""
        if trouble not in self._troubles:
            self._troubles.add(trouble)
            self._say(trouble)

    def keep(self, attempts_with: Callable[[Pair], Iterable[AttemptPaths]]) -> None:
        """Take in the predictions of pairs that were not finished, so that any later launch goes on there."""
        for item in (*self.unfinished, *self.due.values()):
            if (pair := pair_of(item)) is None:
                continue
            for paths in attempts_with(pair):
                try:
                    publish_partial(paths, self._live.paths, pair, fresh=self._fresh, disk=self._disk)
                except OSError as error:
                    self.stuck.add(paths)
                    self._tell(f"what jobs have predicted {self._trouble(error)}")

    def close(self) -> None:
        """Whatever was taken in is on the disk."""
        for error in self._disk.close():
            self._say(f"not synced to disk: {error}")
