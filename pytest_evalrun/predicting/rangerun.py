"""One program for one range: it is started, watched, and its results are taken."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from pytest_evalrun.errors import EvalrunError, PairError, TimedOut
from pytest_evalrun.predicting.places import announce, sink_of
from pytest_evalrun.programs.command_template import GPUS, arguments
from pytest_evalrun.programs.results import is_older, matching
from pytest_evalrun.programs.running import name_of
from pytest_evalrun.programs.watching import Pace, finished, let_begin
from pytest_evalrun.rundir.lines import utc_time
from pytest_evalrun.rundir.shards import WorkerArgs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.predicting.rangework import RangeWork
    from pytest_evalrun.programs.place import Place
    from pytest_evalrun.programs.running import ProgramExit
    from pytest_evalrun.programs.watching import ProgramWatch


class ProgramFailed(PairError):  # noqa: N818 - what happened; its base says that it is an error
    """A program that ended with an exit code, or by a signal; ``may_pass`` if trying again may help by itself."""

    def __init__(self, ending: ProgramExit, name: str) -> None:
        super().__init__(ending.in_words(name), brief=ending.brief)
        self.may_pass = ending.may_pass


class RangeRun:
    """A program at a place for the positions ``[first, last)``, of which all are done or failed afterwards."""

    def __init__(self, work: RangeWork, place: Place, first: int, last: int) -> None:
        self.work = work
        self.place = place
        self.first, self.last = first, last
        self.low, self.high = work.bounds(first, last)
        self.own = work.pair.settings.own_state

    def run(self) -> None:
        """Start the program, and take its results. Raises ProgramFailed, PairError where it left none, LinkLost."""
        work, place = self.work, self.place
        bounds = {"low": str(self.low), "high": str(self.high)}
        place.put_dataset(work.needed(self.first, self.last))
        argv = arguments(place.settings, {**place.values(), **bounds})
        state = work.paths.program_files / f"state_{self.low}_{self.high}"
        state.parent.mkdir(parents=True, exist_ok=True)
        let_begin(state, self.own, work.own_places, work.records.began)
        env = place.environment(state)
        pattern = work.results.pattern({**work.local, "gpus": place.gpus.get(GPUS, ""), **bounds})
        record = self._begin(argv, env, pattern)
        ending, record = self._run(argv, env, record, state)
        if ending.returncode:
            failed = ProgramFailed(ending, name_of(record.command))
            self._fail(record, str(failed), ending.returncode)
            raise failed
        self._take(record, ending)

    def _begin(self, argv: Sequence[str], env: Mapping[str, str], pattern: str) -> WorkerArgs:
        """Write down what the program is started with, before it starts."""
        words, records = self.work.context.secrets.words, self.work.records
        env = {**env, **self.place.gpus}
        record = WorkerArgs(
            self.low,
            self.high,
            command=words(argv),
            env=dict(zip(env, words(list(env.values())), strict=True)),
            status="running",
            started=utc_time(),
            positions=(self.first, self.last),
            pattern=pattern,
            began=time.time(),
            generation=records.generation,
        )
        with records.files.locked():
            records.make_room(pattern, self.first, self.last)
            records.files.write(record)
        return record

    def _run(
        self, argv: Sequence[str], env: Mapping[str, str], record: WorkerArgs, state: Path
    ) -> tuple[ProgramExit, WorkerArgs]:
        work, place = self.work, self.place
        sink = sink_of(work.pair, work.context, f"{self.low}-{self.high}")
        announce(work.context, sink, record.command, place.gpus)

        def started(pid: int) -> None:
            nonlocal record
            record = replace(record, pid=pid)
            work.records.files.write(record)

        watch = place.watch(work.results.counted, record.pattern, state)
        try:
            ending = place.run(argv, env, sink, Heartbeat(work, watch), started)
            # Of a program that failed only rows can be told from what is torn; a file may be a half.
            if not ending.returncode or work.results.keeps:
                work.results.began = max(work.results.began, place.fetch())
            work.progress.keep_counters(record.positions, watch.last())
            return ending, record
        except BaseException as error:
            # Ctrl-C is nobody's failure: the range waits for the next run.
            status = "failed" if isinstance(error, Exception | TimedOut) else "pending"
            self._fail(record, str(error) or type(error).__name__, None, status)
            raise

    def _fail(self, record: WorkerArgs, error: str, returncode: int | None, status: str = "failed") -> None:
        shown = self.work.context.shown(error)
        self.work.records.files.write(record.ended_as(status, error=shown, returncode=returncode))

    def _take(self, record: WorkerArgs, ending: ProgramExit) -> None:
        """Take the results that a program must have left which ended with exit code 0. Raises PairError."""
        work, records, results = self.work, self.work.records, self.work.results
        files = [path for path in matching(record.pattern) if not is_older(path, records.began)]
        try:
            if record.pattern and not files:
                reason = _without_results(record, ending, self._said_before())
                raise PairError(reason, brief=f"no results: there is no {record.pattern}")
            strict = work.ranged  # others do the whole dataset each time
            answers = results.answers(files, lambda: work.span(self.first, self.last), whole=True, strict=strict)
            # With the first answer the files were read through: what is wrong with all of them has been told.
            answers = chain(list(islice(answers, 1)), answers)
        except EvalrunError as error:
            self._fail(replace(record, pattern=""), str(error), 0)
            raise
        done = record.ended_as("completed", returncode=0, files=tuple(map(str, files)))
        records.files.write(done)
        taken = work.append(answers, round(time.time() - record.began, 6))
        if taken.failed and not taken.good and (why := self._said_before()):
            work.context.warn(f"{work.pair.full_id}: {why}")
        work.context.say(f"range {self.low}-{self.high}: {taken.good} of {self.last - self.first} samples done")
        if taken.failed and results.keeps:
            # A copy of what was accepted is what belongs to the range; the others will be asked again.
            kept = records.keep(done, files, whole=True)
            done = replace(done, files=kept.files if kept else ())
        records.files.write(replace(done, rows=taken.rows))

    def _said_before(self) -> str:
        """Say why a program may have done nothing: its own word from before this run, which is the user's."""
        older = [path for path in finished(self.own, self.work.own_places) if is_older(path, self.work.records.began)]
        return "".join(f"{path} says that it was done before: --eval-fresh puts that aside" for path in older[:1])


def _without_results(record: WorkerArgs, ending: ProgramExit, why: str) -> str:
    end = f"; the end of its output:\n{ending.last_lines}" if ending.last_lines else "; it wrote no output"
    program = name_of(record.command)
    why = why and f"; {why}"
    return f"{program} ended with exit code 0 and left no results: there is no {record.pattern}{why}{end}"


class Heartbeat:
    """A call now and then while a program runs: it keeps the state file right, and ends with the launching process."""

    def __init__(self, work: RangeWork, watch: ProgramWatch) -> None:
        self._work = work
        self._watch = watch
        self._pace = Pace()

    def __call__(self) -> None:
        self._work.context.check_launcher()
        if self._pace.due():
            self._work.progress.report(self._watch.count(), self._watch.read())
            self._pace.done()
