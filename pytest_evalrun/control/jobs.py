"""Jobs on a cluster whose launch is gone: ended by the handles that it noted, and never by a name."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_evalrun.control.hold import held
from pytest_evalrun.engines.making import create_engine
from pytest_evalrun.engines.protocol import ClusterAway, Handle
from pytest_evalrun.errors import ConfigError, RunBusy
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.jobs import LEFT, JobStore
from pytest_evalrun.rundir.lines import utc_time
from pytest_evalrun.suite.clusters import ClusterWords
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_evalrun.engines.protocol import Engine, JobState
    from pytest_evalrun.rundir.jobs import AttemptRecord
    from pytest_evalrun.rundir.layout import RunPaths

POLL = 1.0
# As long as locks of a process that was killed may be held; then they are those of another launch.
RELEASE = 1.0


def end_jobs(paths: RunPaths, grace: float, say: Callable[[str], None]) -> bool:
    """End the jobs of a run that nobody waits for; whether there were any. ``say`` is told each step.

    What they have written stays, and the next launch takes it over; a job that has ended by itself is left for it to be
    read. Raises ConfigError where the cluster does not answer, or jobs.json cannot be read.
    """
    file = EnginePaths(paths).jobs_json
    if not file.exists():
        return False
    try:
        with held(paths, wait=RELEASE):
            store = JobStore(file, ClusterWords("local"))
            if store.before is None or not store.before.living:
                return False
            store.words = store.before.engine
            engine = create_engine(store.words, file.parent)
            try:
                return _Ending(store, engine, say).run(grace)
            finally:
                engine.close()
    except RunBusy:  # another launch has begun, and they are its jobs now
        return False


class _Ending:
    """The jobs of one run, on their way out."""

    def __init__(self, store: JobStore, engine: Engine, say: Callable[[str], None]) -> None:
        self._store = store
        self._engine = engine
        self._say = say

    def run(self, grace: float) -> bool:
        attempts = {name: unit.living for name, unit in self._store.units.items() if unit.living is not None}
        try:
            handles = self._handles(attempts)
            living = self._living(handles)
            unknown = [name for name in attempts if name not in handles]
            if not living and not unknown:
                return False
            self._leave(living, over=False)
            self._leave(unknown, over=True)
            self._store.save()
            if living:
                self._cancel(living)
                self._wait(living, time.monotonic() + grace)
        except ClusterAway as error:
            raise ConfigError(
                f"the cluster of --eval-engine {self._engine.name} does not answer ({error}), and "
                f"{counted(len(attempts), 'job')} of this run may go on there; run this again once it does"
            ) from None
        return True

    def _handles(self, attempts: Mapping[str, AttemptRecord]) -> dict[str, Handle]:
        """The jobs by their units; without those of which a launch died before it heard of them, and none is found."""
        nameless = [attempt.name for attempt in attempts.values() if attempt.handle is None]
        by_name = {handle.name: handle for handle in self._engine.find(nameless)} if nameless else {}
        found = {
            unit: by_name.get(attempt.name) if attempt.handle is None else Handle(attempt.handle, attempt.name)
            for unit, attempt in attempts.items()
        }
        return {unit: handle for unit, handle in found.items() if handle is not None}

    def _living(self, handles: Mapping[str, Handle]) -> dict[str, Handle]:
        states = self._engine.poll(list(handles.values())) if handles else {}
        return {unit: handle for unit, handle in handles.items() if not states[handle].phase.is_end}

    def _leave(self, units: Iterable[str], *, over: bool) -> None:
        """Note that nobody waits for them: a job that begins now sees it, and no launch blames anybody else."""
        for name in units:
            record = self._store.units[name]
            if record.living is not None:
                noted = record.with_attempt(replace(record.living, over=over))
                self._store.put(replace(noted, state=LEFT, current=record.living.number + 1))

    def _cancel(self, living: Mapping[str, Handle]) -> None:
        names = ", ".join(f"{handle.id} ({unit})" for unit, handle in living.items())
        self._say(f"{self._engine.name}: cancelling {counted(len(living), 'job')}: {names}")
        self._engine.cancel(list(living.values()))

    def _wait(self, living: Mapping[str, Handle], until: float) -> None:
        """Until they have ended, or the grace is over: they end after the batch at hand."""
        left = dict(living)
        while True:
            states = self._engine.poll(list(left.values()))
            for unit, handle in list(left.items()):
                if states[handle].phase.is_end:
                    self._ended(unit, states[handle])
                    del left[unit]
            seconds = until - time.monotonic()
            if not left or seconds <= 0:
                break
            time.sleep(min(POLL, seconds))
        self._store.save()
        names = ", ".join(handle.id for handle in left.values())
        told = f"{counted(len(left), 'job')} will end after the batch at hand: {names}" if left else "they have ended"
        self._say(told)

    def _ended(self, unit: str, state: JobState) -> None:
        record = self._store.units[unit]
        if (attempt := record.living) is not None:
            known = replace(attempt, phase=str(state.phase), code=state.code, reason=state.reason, over=True)
            self._store.put(record.with_attempt(replace(known, node=state.node or attempt.node, ended=utc_time())))
