"""One program started for one range: told what to do, watched, and its results taken."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from pytest_evalrun.errors import EvalrunError, PairError, TimedOut
from pytest_evalrun.programs.command_template import arguments, command_line
from pytest_evalrun.programs.results import is_older, matching
from pytest_evalrun.programs.running import name_of
from pytest_evalrun.programs.sink import OutputSink
from pytest_evalrun.programs.watching import Pace, finished, let_begin
from pytest_evalrun.rundir.lines import utc_time
from pytest_evalrun.rundir.shards import WorkerArgs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.predicting.ranges import RangePredictor
    from pytest_evalrun.predicting.sites import ProgramWatch, Site
    from pytest_evalrun.predicting.work import WorkContext
    from pytest_evalrun.programs.running import ProgramExit
    from pytest_evalrun.suite.pairs import Pair


class ProgramFailed(PairError):  # noqa: N818 - what happened; its base says that it is an error
    """The program ended with an exit code, or by a signal; ``may_pass`` where trying again may help by itself."""

    def __init__(self, ending: ProgramExit, name: str) -> None:
        super().__init__(ending.told(name), brief=ending.brief)
        self.may_pass = ending.may_pass


class Asking:
    """The programs of one predictor, started at ``site``; ``local`` are the placeholders as this machine knows them."""

    def __init__(self, predictor: RangePredictor, site: Site, local: Mapping[str, str]) -> None:
        self.predictor = predictor
        self.pair = predictor.pair
        self.context = predictor.context
        self.results = predictor.results
        self.records = predictor.records
        self.site = site
        self.local = local
        self.own = self.pair.settings.own_state

    def ask(self, first: int, last: int) -> None:
        """Start the program for these positions and take its results; all of them are done or failed afterwards."""
        low, high = self.predictor.told(first, last)
        bounds = {"low": str(low), "high": str(high)}
        self.site.bring(first, last)
        argv = arguments(self.site.settings, {**self.site.values, **bounds})
        prefix = self.predictor.paths.program_files / f"state_{low}_{high}"
        prefix.parent.mkdir(parents=True, exist_ok=True)
        let_begin(prefix, self.own, self.predictor.own_places, self.records.began)
        added = self.site.environment(prefix)
        pattern = self.results.pattern({**self.local, **bounds})
        record = self._begin(argv, added, (first, last), pattern, (low, high))
        ending, record = self._run(argv, added, record, prefix)
        if ending.returncode:
            failed = ProgramFailed(ending, name_of(record.command))
            self._fail(record, str(failed), ending.returncode)
            raise failed
        self._take(record, ending)

    def _begin(
        self,
        argv: Sequence[str],
        added: Mapping[str, str],
        positions: tuple[int, int],
        pattern: str,
        told: tuple[int, int],
    ) -> WorkerArgs:
        words = self.context.secrets.words
        env = {**added, **self.site.gpus}
        record = WorkerArgs(
            *told,
            command=words(argv),
            env=dict(zip(env, words(list(env.values())), strict=True)),
            status="running",
            started=utc_time(),
            positions=positions,
            pattern=pattern,
            began=time.time(),
            generation=self.records.generation,
        )
        with self.records.files.locked():
            self.records.make_room(pattern, *positions)
            self.records.files.write(record)
        return record

    def _run(
        self, argv: Sequence[str], added: Mapping[str, str], record: WorkerArgs, prefix: Path
    ) -> tuple[ProgramExit, WorkerArgs]:
        sink = sink_of(self.pair, self.context, f"{record.low}-{record.high}")
        announce(self.context, sink, record.command, self.site.gpus)

        def started(pid: int) -> None:
            nonlocal record
            record = replace(record, pid=pid)
            self.records.files.write(record)

        watch = self.site.watch(record, prefix)
        try:
            ending = self.site.run(argv, added, sink, Heartbeat(self.predictor, watch), started)
            self.predictor.keep_counters(record.positions, watch.last())
            return ending, record
        except BaseException as error:
            # Ctrl-C is nobody's failure: the range waits for the next run.
            status = "failed" if isinstance(error, Exception | TimedOut) else "pending"
            self._fail(record, str(error) or type(error).__name__, None, status)
            raise

    def _fail(self, record: WorkerArgs, error: str, returncode: int | None, status: str = "failed") -> None:
        self.records.files.write(record.ended_as(status, error=self.context.shown(error), returncode=returncode))

    def _take(self, record: WorkerArgs, ending: ProgramExit) -> None:
        """Exit code 0: now there must be results."""
        first, last = record.positions
        files = [path for path in matching(record.pattern) if not is_older(path, self.records.began)]
        try:
            if record.pattern and not files:
                reason = _without_results(record, ending, self._said_before())
                raise PairError(reason, brief=f"no results: there is no {record.pattern}")
            strict = self.predictor.ranged  # others do the whole dataset each time
            answers = self.results.answers(files, lambda: self.predictor.span(first, last), whole=True, strict=strict)
            # With the first answer the files were read through: what is wrong with all of them has been told.
            answers = chain(list(islice(answers, 1)), answers)
        except EvalrunError as error:
            self._fail(replace(record, pattern=""), str(error), 0)
            raise
        done = record.ended_as("completed", returncode=0, files=tuple(map(str, files)))
        self.records.files.write(done)
        taken = self.predictor.append(answers, round(time.time() - record.began, 6))
        if taken.failed and not taken.good and (why := self._said_before()):
            self.context.warn(f"{self.pair.full_id}: {why}")
        self.context.say(f"range {record.low}-{record.high}: {taken.good} of {last - first} samples done")
        if taken.failed and self.results.keeps:
            # A copy of what was accepted is what belongs to the range; the others will be asked again.
            kept = self.records.keep(done, files, whole=True)
            done = replace(done, files=kept.files if kept else ())
        self.records.files.write(replace(done, rows=taken.rows))

    def _said_before(self) -> str:
        """Why a program may have done nothing: its own word from before this run, which is the user's."""
        older = [path for path in finished(self.own, self.predictor.own_places) if is_older(path, self.records.began)]
        return "".join(f"{path} says that it was done before: --eval-fresh puts that aside" for path in older[:1])


def _without_results(record: WorkerArgs, ending: ProgramExit, why: str) -> str:
    end = f"; the end of its output:\n{ending.last_lines}" if ending.last_lines else "; it wrote no output"
    program = name_of(record.command)
    why = why and f"; {why}"
    return f"{program} ended with exit code 0 and left no results: there is no {record.pattern}{why}{end}"


class Heartbeat:
    """Called while the program runs: keeps the state file right, and ends with the process that launched this one."""

    def __init__(self, predictor: RangePredictor, watch: ProgramWatch) -> None:
        self._predictor = predictor
        self._watch = watch
        self._pace = Pace()

    def __call__(self) -> None:
        self._predictor.context.check_launcher()
        if self._pace.due():
            self._predictor.report(self._watch.count(), self._watch.read())
            self._pace.done()


def sink_of(pair: Pair, context: WorkContext, part: str = "") -> OutputSink:
    """Where a program's output goes; ``part`` is the range that it does."""

    name = f"{pair.whole.full_id} {part or pair.label}".rstrip()
    around = context.services
    return OutputSink(around.blanked_output, around.tell, name, context.secrets, around.command)


def announce(
    context: WorkContext, sink: OutputSink, argv: Sequence[str], gpus: Mapping[str, str], prompt: str = "$"
) -> None:
    """The full command, before it starts, without the secrets in its words."""
    line = f"{prompt} {command_line(context.secrets.words(argv), gpus)}"
    context.say(line)
    sink.tell(context.shown(line))
