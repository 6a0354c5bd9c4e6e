"""The life of a launch's units on a cluster: submitted, looked at, given back after a loss, adopted by the next launch.

The cluster says which job lives, the job says what it has done; neither is believed about the other. Whatever is asked
of the cluster was noted before, so that a launch may die at any instant and the next one knows as much.
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_evalrun.engines.attempts import FOR_NOBODY, JobUnit, UnitLife, UnitStanding
from pytest_evalrun.engines.exits import GO_ON_LATER
from pytest_evalrun.engines.fleet import Fleet
from pytest_evalrun.engines.losses import MOST_IDLE, could_not_begin, exit_code, halves, how, judge, may_still_tell
from pytest_evalrun.engines.protocol import Phase
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.jobfiles import JobFile
from pytest_evalrun.rundir.jobs import CUT, DONE, FAILED, LEFT
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.reportlines import BEGUN, ReportReader
from pytest_evalrun.suite.printable import counted, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_evalrun.engines.losses import Fate
    from pytest_evalrun.engines.protocol import Engine, Job, Resources
    from pytest_evalrun.rundir.jobfiles import JobItem
    from pytest_evalrun.rundir.jobs import JobStore, UnitRecord

# On a shared disk a line is seen so late at most (NFS asks for a directory anew after a few seconds).
LATE_SECONDS = 10.0
# A file that was closed on another host is here within so many, or never: attributes are kept for up to 60.
FILES_SECONDS = 120.0
# Of an attempt that is in one of these, reports may come.
READ = (UnitStanding.DOUBTFUL, UnitStanding.SUBMITTED, UnitStanding.ENDED)
# Of a log, so much is shown where a launch ends for it.
LOG_BYTES, LOG_LINES = 8192, 10
# What a shell ends with where it cannot start a script.
NOT_STARTED = (126, 127)
UNSEEN = "; every node must see what the launch sees, under the same path"

# What a launch calls it.
Unit = JobUnit


class Dispatch:
    """Called from one thread.

    ``make`` writes ``job.json`` and ``job.sh`` of an attempt and returns its job; ``split`` cuts what did not fit into
    a time limit. No more than ``at_once`` jobs run together, those of an earlier launch with them. What a job tells is
    handed in by the methods from ``begun`` to ``refused``, of the attempts that are ``open`` alone; ``read`` is called
    for one whose job is over, before that is judged: it hands in what is left, and says whether that was all.
    Nothing breaks in on what is done in a block of ``whole``.
    """

    def __init__(
        self,
        engine: Engine,
        store: JobStore,
        make: Callable[[JobUnit, int], Job],
        *,
        at_once: int,
        retries: int,
        say: Callable[[str], None],
        read: Callable[[JobUnit, int], bool] = lambda _unit, _attempt: True,
        whole: Callable[[], AbstractContextManager[None]] = nullcontext,
        clock: Callable[[], float] = time.monotonic,
        split: Callable[[Sequence[JobItem]], Sequence[Sequence[JobItem]]] = halves,
    ) -> None:
        self._failures: dict[str, str] = {}
        self.fatal: str | None = None
        self._store, self._retries, self._split = store, retries, split
        self._say, self._read, self._clock, self._engine_name = say, read, clock, engine.name
        self._fleet = Fleet(engine, store, make, at_once, say, whole)
        self._lives = self._fleet.lives
        self._closing = False
        self._ever_begun = False
        self._lost_before_begun = 0

    # ------------------------------------------------------------------ what a launch begins with

    def adopt(self, wanted: Mapping[str, JobItem], *, fresh: bool = False) -> list[JobUnit]:
        """Take over the units of which an attempt may live, with those of its items that are wanted, by their ids.

        Their reports are to be read from the beginning. A unit of which an item is wanted with other settings is
        cancelled and left, as is with ``fresh`` one that may take over what the run has; one of which nothing is wanted
        is left alone, and has its slot. Whatever else an earlier launch knew is forgotten: its items are in no unit
        now. Raises ConfigError where jobs live on another cluster than this launch is for.
        """
        for record in list(self._store.units.values()):
            if record.living is not None and self._is_here(record):
                self._adopt(record, record.living.number, wanted, fresh)
            else:
                self._store.forget(record.name)
        self._fleet.accepted = bool(self._lives)
        self._store.save()
        return [life.unit for life in self._lives.values() if life.standing not in FOR_NOBODY]

    def _adopt(self, record: UnitRecord, attempt: int, wanted: Mapping[str, JobItem], fresh: bool) -> None:
        if not record.is_open:
            life = self._fleet.add(UnitLife.adopted(record, ()))
            life.standing, life.cancelling = UnitStanding.LEAVING, record.state == LEFT
            return
        try:
            job = JobFile.read(self._store.attempt_paths(record.name, attempt).job)
            items, is_old = job.items, fresh and job.run in job.sources
        except ConfigError as error:
            self._say(f"{error}; the job of {record.name} is cancelled, and its items go into another")
            items, is_old = None, True
        found = tuple(item for item in items or () if item.id in wanted)
        life = self._fleet.add(UnitLife.adopted(record, found))
        if is_old or any(item.digest != wanted[item.id].digest for item in found):
            life.cancelling = True
            self._finish(life, LEFT)
        elif not found:
            life.standing = UnitStanding.APART

    def _is_here(self, record: UnitRecord) -> bool:
        """Whether a unit of an earlier launch is on this launch's cluster."""
        before = self._store.before
        engine = before.engine.engine if before is not None else self._engine_name
        if engine != self._engine_name and record.is_open:
            raise ConfigError(
                f"{self._store.path}: jobs of this run may still run by --eval-engine {engine}, and this launch has "
                f"{self._engine_name}: end them with `evalrun stop`, or go on with the same engine"
            )
        return engine == self._engine_name

    def start(self, units: Iterable[JobUnit]) -> None:
        """Take units to be submitted, the longest first. Raises ConfigError for what the cluster can never run."""
        classes: dict[Resources, UnitLife] = {}
        for unit in units:
            classes.setdefault(unit.resources, self._fleet.add(UnitLife(unit)))
        self._fleet.check(list(classes.values()), self._clock())
        self._store.save()

    # ------------------------------------------------------------------ what jobs tell

    def begun(self, unit: str) -> None:
        """A job has begun, or again: one that was queued once more by hand has said before how it ends."""
        self._lives[unit].begins()
        self._ever_begun = True

    def started(self, unit: str, item: str) -> None:
        """An item has started: should the job die before it is reported, this is who was running."""
        life = self._lives[unit]
        if item in life.left:
            life.running[item] = None

    def reported(self, unit: str, items: Iterable[str]) -> None:
        """Items have ended and were replayed."""
        life = self._lives[unit]
        life.reported(items)
        self._store.put(life.record)

    def ended(self, unit: str, code: int) -> None:
        """The job said that it ends, as its last line."""
        self._lives[unit].code = code

    def refused(self, unit: str, text: str) -> None:
        self._lives[unit].refusal = text

    # ------------------------------------------------------------------ how things stand

    @property
    def is_over(self) -> bool:
        """Nothing is waited for any more; jobs that have said that they end may still be ending."""
        return all(life.standing in FOR_NOBODY for life in self._lives.values())

    def open(self) -> list[tuple[JobUnit, int]]:
        """The attempts whose reports are to be read, each with its number."""
        return [(life.unit, life.attempt) for life in self._lives.values() if life.standing in READ]

    def take_failures(self) -> dict[str, str]:
        """Items that no job will report, and why; each once."""
        failures, self._failures = self._failures, {}
        return failures

    # ------------------------------------------------------------------ the launch's turns

    def step(self, now: float | None = None) -> None:
        """Do what is due; to be called several times a second."""
        now = self._clock() if now is None else now
        self._fleet.find(now)
        self._fleet.poll(now)
        for life in list(self._lives.values()):
            if life.standing is UnitStanding.SUBMITTED and life.is_told:
                self._finish(life, DONE)
            elif life.standing is UnitStanding.ENDED:
                self._settle(life, now)
        self._fleet.cancel(now)
        self._submit(now)
        self._store.tick(now)

    def attend(self) -> None:
        """Do what the cluster needs while nobody reads what jobs tell; ends are judged at the next ``step``."""
        now = self._clock()
        self._fleet.find(now)
        self._fleet.poll(now)
        self._fleet.cancel(now)
        self._submit(now)
        self._store.tick(now)

    def cancel_waiting(self) -> None:
        """Submit nothing more, and cancel what the cluster has not started; what runs ends by itself."""
        self._close(spares_running=True)

    def cancel_all(self) -> None:
        """End everything. The cluster may need a while: until ``is_over``."""
        self._close()

    def _close(self, *, spares_running: bool = False) -> None:
        self._closing = True
        for life in self._lives.values():
            if life.standing is UnitStanding.QUEUED:
                self._finish(life, LEFT)
            elif life.standing not in FOR_NOBODY and not (spares_running and life.runs):
                life.cancelling = True
        self._fleet.cancel(self._clock())

    # ------------------------------------------------------------------ ends

    def _settle(self, life: UnitLife, now: float) -> None:
        """Read an ended attempt to its end, and decide what that means."""
        is_all = self._read(life.unit, life.attempt)
        since = now if life.over_since is None else life.over_since
        if not is_all and not life.cancelling and now - since < FILES_SECONDS:
            return
        patient = life.doubted or not life.cancelling
        if patient and now - since < LATE_SECONDS and may_still_tell(life):
            return
        if not life.left:
            self._finish(life, DONE)
        elif life.cancelling or (self._closing and exit_code(life) == GO_ON_LATER):
            self._finish(life, LEFT)
        elif (fatal := self._fatal(life)) is not None:
            self._give_up(fatal)
        else:
            self._go_on(life, judge(life, self._retries, self._split))

    def _fatal(self, life: UnitLife) -> str | None:
        """Say why nothing will ever run, where the first job could not even begin."""
        if self._ever_begun or life.begun:
            return None
        if could_not_begin(life):
            fate = judge(life, 0, self._split)
            tail = _last_lines(self._store.attempt_paths(life.unit.name, life.attempt).log)
            view = UNSEEN if exit_code(life) in NOT_STARTED else ""
            return f"{fate.text}, before it began{view}{tail}"
        self._lost_before_begun += how(life) is Phase.LOST and not life.doubted
        if self._lost_before_begun < MOST_IDLE:
            return None
        return f"{judge(life, 0, self._split).text}, as {MOST_IDLE - 1} jobs before it, and none has ever begun"

    def _give_up(self, text: str) -> None:
        self.fatal = text
        for life in self._lives.values():
            if life.standing is UnitStanding.ENDED:
                self._finish(life, LEFT)
        self._close()

    def _go_on(self, life: UnitLife, fate: Fate) -> None:
        """Give up what is to be given up, and let the rest go on: in the same unit, or in several new ones."""
        for name in fate.errors:
            life.left.pop(name, None)
        parts = () if self._closing else fate.parts
        self._say(f"{life.unit.name}: {fate.text}; {_what_now(fate, parts)}")
        self._failures.update(fate.errors)
        if len(parts) == 1:
            life.deaths, life.idle = dict(fate.deaths), fate.idle
            life.again()
            self._store.put(life.record)
            return
        for part in parts:
            share = life.unit.seconds * len(part) / max(1, len(life.unit.items))
            unit = replace(life.unit, name=self._store.next_unit_name(), items=part, seconds=share)
            deaths = {item.id: fate.deaths[item.id] for item in part if item.id in fate.deaths}
            self._fleet.add(UnitLife(unit, deaths))
        self._finish(life, CUT if parts else FAILED if fate.errors else LEFT)

    def _finish(self, life: UnitLife, state: str) -> None:
        life.end(state)
        self._store.put(life.record)

    def _submit(self, now: float) -> None:
        """Submit what has slots, unless one that never began may be the sign that none will."""
        ended = [life for life in self._lives.values() if life.standing is UnitStanding.ENDED]
        if not self._ever_begun and ended and not any(map(self._has_begun, ended)):
            return
        for lives, text in self._fleet.submit(now):
            self._not_taken(lives, text, now)

    def _has_begun(self, life: UnitLife) -> bool:
        """Whether it has said so, though that may not have been handed in yet."""
        reports = ReportReader(self._store.attempt_paths(life.unit.name, life.attempt).reports)
        with suppress(OSError):
            return life.begun or any(line.get("kind") == BEGUN for line in reports.read())
        return False

    def _not_taken(self, lives: Sequence[UnitLife], text: str, now: float) -> None:
        """The cluster refused jobs: for good, or because it has as many of ours as it wants."""
        if not self._fleet.accepted:
            self._give_up(text)
        elif any(life.has_slot for life in self._lives.values()):
            self._fleet.submit_later(now)
            self._say(f"{text}; tried again when jobs that are there have ended")
        else:
            for life in lives:
                self._failures.update(dict.fromkeys(life.left, text))
                self._finish(life, FAILED)


def _what_now(fate: Fate, parts: Sequence[Sequence[JobItem]]) -> str:
    """Say what happens with the items of a unit whose job is over."""
    errors, rest = len(fate.errors), sum(map(len, parts))
    told = [f"{counted(errors, 'item')} given up"] if errors else []
    told += [f"{counted(rest, 'item')} to go on" + (f" in {len(parts)} jobs" if len(parts) > 1 else "")] if rest else []
    return ", ".join(told) or "nothing of it is run again"


def _last_lines(log: Path) -> str:
    """The end of what a job said, indented below a line of ours."""
    try:
        with open_file(log) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    shown = [f"    {printable(line)}" for line in lines if line.strip()][-LOG_LINES:]
    return "\n".join([f"; {log} ends with", *shown]) if shown else ""
