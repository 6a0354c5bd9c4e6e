"""A snapshot from the files of a run, at the price of what changed since the last one."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.monitor.death import Death, find_cause
from pytest_evalrun.monitor.follow import LogTail
from pytest_evalrun.monitor.gauge import Gauge, places
from pytest_evalrun.monitor.jobs import JobsFile
from pytest_evalrun.monitor.launch import LaunchFiles, LaunchState, carry_on, limit_of, standing
from pytest_evalrun.monitor.snapshot import FailedTask, Running, Snapshot, TaskProgress
from pytest_evalrun.monitor.tasks import Tasks
from pytest_evalrun.monitor.timeline import Ended, Events, Started
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.runs import check_format, skipped_in
from pytest_evalrun.rundir.tasklist import Status
from pytest_evalrun.suite.names import shard_of
from pytest_evalrun.suite.printable import counted, one_line
from pytest_evalrun.suite.secrets import BLANK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.rundir.layout import PairPaths, RunPaths

MOST_FAILED = 50


class SnapshotReader:
    """Follows one run directory. Raises ConfigError where it is none, goes away, or is of a newer format."""

    def __init__(self, paths: RunPaths) -> None:
        check_format(paths)
        self.paths = paths
        self.tasks = Tasks(paths.task_list)
        self.events = Events(paths)
        self.log = LogTail(paths.main_log)
        self._launch = LaunchFiles(paths)
        self._jobs = JobsFile(paths)
        self._gauges: dict[tuple[str, float], Gauge] = {}
        self._death: tuple[str, Death] | None = None

    def look(self) -> Snapshot:
        """Read what changed; what is damaged is told in ``problems``, and the rest is shown."""
        if not self.paths.run_json.exists():
            raise ConfigError(f"{self.paths.root}: the run directory is gone")
        stands = standing(self.paths)
        self._read()
        running = self._running(stands)
        return Snapshot(
            run=self.paths.root.name,
            standing=stands,
            progress=self._progress(stands, running),
            counts=self._counts(running),
            skipped=self.tasks.skipped,
            running=running,
            failed=self._failed(),
            slowest=tuple(sorted(self.events.timeline.slowest.items(), key=lambda item: -item[1])),
            log=tuple(self.log.lines),
            problems=tuple(self._problems(stands)),
            death=self._cause(stands) if stands.word == "dead" else None,
            quiet=time.time() - self._last_sign() if stands.word == "unknown" else None,
            tasks=self.tasks,
            jobs=self._jobs.look(time.time() if stands.word == "live" else None),
        )

    def _read(self) -> None:
        version = self.tasks.version
        changed = self.tasks.look()
        changed = self.events.look() or changed
        self.log.look()
        if self._launch.look() or self.tasks.version != version:
            self.tasks.set_skipped(self._left_out() if len(self.tasks) else ())
            self._forget()
            changed = True
        if changed:
            self.tasks.set_aside(self.events.timeline.skipped, self.events.timeline.pairs)

    def _left_out(self) -> Iterable[str]:
        """Pairs of the launch that are skipped from the start: in a snapshot a name may be blanked, as a secret is."""
        pairs = self._launch.pairs
        suites = {pair.partition("/")[0] for pair in pairs}
        noted = (pair for pair in skipped_in(self.paths) if pair.partition("/")[0] in suites)
        return dict.fromkeys([*(pair for pair in pairs if BLANK not in pair), *noted])

    def _forget(self) -> None:
        """Forget what failed in an earlier launch where the list says otherwise: somebody reset it."""
        timeline = self.events.timeline
        kept = {*map(self.tasks.pair, self.tasks.rows_of[Status.FAILED]), *timeline.ended, *timeline.limited}
        for pair in [pair for pair in timeline.failed if pair not in kept]:
            del timeline.failed[pair]

    def _running(self, stands: LaunchState) -> tuple[Running, ...]:
        """List what runs, or ran when the session died, and look at the state file of each."""
        if stands.word in ("none", "ended"):
            self._gauges.clear()
            return ()
        found = self._started()
        limit = limit_of(stands.info.argv) if stands.info else None
        gauges = {}
        for pair, started in found.items():
            key = pair, started.since
            gauges[key] = self._gauges.get(key) or Gauge(self._places(pair, started.worker, limit), started.since)
            gauges[key].look(started.loaded)
        self._gauges = gauges
        now = time.time() if stands.word == "live" else self._last_sign()
        return tuple(
            Running(
                pair=pair,
                worker=started.worker,
                slot=self.events.timeline.slots.get(started.worker, ""),
                seconds=max(0.0, now - started.since) if started.since else 0.0,
                share=gauges[pair, started.since].share,
                rate=gauges[pair, started.since].rate,
                state=gauges[pair, started.since].state,
                sessions=gauges[pair, started.since].sessions(now),
            )
            for pair, started in found.items()
        )

    def _places(self, pair: str, worker: str, limit: int | None) -> list[PairPaths]:
        """Where files of a running pair may lie: in the run, and of one that a job is at in that attempt's own."""
        attempt = EnginePaths(self.paths).attempt_named(worker)
        runs = [self.paths, attempt.run] if attempt is not None else [self.paths]
        return [place for run in runs for place in places(run, pair, limit)]

    def _started(self) -> dict[str, Started]:
        """List them by the events, which name the worker; the task list knows of those whose events were lost."""
        timeline = self.events.timeline
        found = dict(timeline.running)
        for row in self.tasks.rows_of[Status.RUNNING]:
            pair = self.tasks.pair(row)
            if pair not in timeline.begun:
                since = timeline.since or 0.0
                found[pair] = Started("", since, since)
        return found

    def _progress(self, stands: LaunchState, running: tuple[Running, ...]) -> TaskProgress:
        timeline = self.events.timeline
        counts = self.tasks.counts()
        if timeline.selected is None:
            items = selected = len(self.tasks)
            ended = done = counts[Status.COMPLETED] + counts[Status.FAILED]
        else:
            selected, done = timeline.selected, min(len(timeline.done), timeline.selected)
            items, ended = timeline.items, len(timeline.ended)
        part = sum(each.share for each in running)
        share = min(1.0, (ended + part) / items) if items else 0.0
        since = stands.since
        live = stands.word == "live"
        seconds = time.time() - since if since and live else None
        left = timeline.remaining.left(time.time()) if live and timeline.selected is not None else None
        return TaskProgress(selected, done, share, seconds, left)

    def _counts(self, running: tuple[Running, ...]) -> dict[Status, int]:
        """Count as many running pairs as are shown: the list is a moment behind, and knows no pause between shards."""
        counts, timeline = self.tasks.counts(), self.events.timeline
        shown = {shard_of(each.pair)[0] for each in running}
        for pair in shown:
            status = self.tasks.status_of(pair)
            if status is not None:
                counts[status] -= 1
                counts[Status.RUNNING] += 1
        for pair in map(self.tasks.pair, self.tasks.rows_of[Status.RUNNING]):
            if pair not in shown:
                counts[Status.RUNNING] -= 1
                failed, done = pair in timeline.failed, pair in timeline.done
                counts[Status.FAILED if failed else Status.COMPLETED if done else Status.PENDING] += 1
        return counts

    def _failed(self) -> tuple[FailedTask, ...]:
        """List the last ones, newest first; of those that failed in a launch without events only the name is known."""
        known = self.events.timeline.failed
        pairs = [pair for pair, _ in islice(reversed(known.items()), MOST_FAILED)]
        for row in islice(reversed(self.tasks.rows_of[Status.FAILED]), MOST_FAILED):
            if len(pairs) < MOST_FAILED and (pair := self.tasks.pair(row)) not in known:
                pairs.append(pair)
        ends = [known.get(pair) or Ended("failed", None, "") for pair in pairs]
        return tuple(
            # No event says why a pair ended in an error: only the main log does.
            FailedTask(pair, ended.outcome, ended.seconds, self.log.notes.get(one_line(pair)) or ended.reason)
            for pair, ended in zip(pairs, ends, strict=True)
        )

    def _problems(self, stands: LaunchState) -> list[str]:
        found = []
        if self.tasks.damaged:
            found.append(f"{self.paths.task_list.name} is damaged: shown as it was last read")
        if stands.info is None and self.paths.session_json.exists():
            found.append(f"{self.paths.session_json.name} is damaged: who runs here is not known")
        for name, count in self.events.damaged.items():
            found.append(f"{name}: {counted(count, 'damaged line')} left out")
        found += [f"the state of {pair} is damaged" for (pair, _), gauge in self._gauges.items() if gauge.damaged]
        return found

    def _cause(self, stands: LaunchState) -> Death:
        """Find the cause once a session: what it left does not change any more."""
        info = stands.info
        assert info is not None, "who died is known"
        if self._death is None or self._death[0] != info.run_id:
            logs = [log for gauge in self._gauges.values() for log in gauge.logs]
            reason, evidence = find_cause(stands, self.log.last_session(), logs, self.paths.root)
            self._death = info.run_id, Death(reason, evidence, carry_on(info.argv, self.paths))
        return self._death[1]

    def _last_sign(self) -> float:
        """Return when the run last wrote anything that is read here (Unix time)."""
        gauges = (gauge.changed for gauge in self._gauges.values())
        return max(self.events.changed, self.log.changed, *gauges, 0.0)
