"""The launching process's side: state as reports come in, and session finish."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.evaluation.stored import write_error_result
from pytest_evalrun.plugin.beforehand import tell_before, tell_gates
from pytest_evalrun.plugin.dryrun import show_dry_run
from pytest_evalrun.plugin.items import pair_of
from pytest_evalrun.plugin.lastline import expected_of, facts_of, seconds_of, show_progress
from pytest_evalrun.plugin.launch import SERVERS, sweep_launches
from pytest_evalrun.plugin.machine import Machine, on_boards
from pytest_evalrun.plugin.merged import left_lines, merge_programs, page_remarks, summarise, summarise_again
from pytest_evalrun.plugin.options import usage_errors
from pytest_evalrun.plugin.reports import make_crashed, outcome_of, reason_of, stands
from pytest_evalrun.plugin.signals import cut_traceback, signals_of_launch
from pytest_evalrun.plugin.spending import Spending
from pytest_evalrun.plugin.terminal import Terminal
from pytest_evalrun.plugin.urls import written_argv
from pytest_evalrun.plugin.xdist.crashes import Lost, WorkerCrashes, requeue
from pytest_evalrun.plugin.xdist.internals import allow_restart
from pytest_evalrun.plugin.xdist.scheduler import Scheduler, install_scheduler
from pytest_evalrun.plugin.xdist.shards import tell_ended
from pytest_evalrun.plugin.xdist.units import TOLD, Told, units_of
from pytest_evalrun.rundir.layout import key_of
from pytest_evalrun.suite.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Sequence

    from pytest_evalrun.planning.costs import Estimate
    from pytest_evalrun.plugin.engine.division import Divides
    from pytest_evalrun.plugin.suites import Suites
    from pytest_evalrun.remote.boards.manager import BoardManager
    from pytest_evalrun.rundir.live import LiveRun
    from pytest_evalrun.suite.pairs import Pair, PairKey


# The last report of an item; xdist's own says "???" of a test whose worker died.
ENDS = ("teardown", "???")
# Where the processes of a launch keep their notes of boards.
BOARDS = "devices"


def controller(config: pytest.Config, suites: Suites) -> Controller:
    """The one object of the launching process; registered when first asked for."""
    plugin = config.pluginmanager.get_plugin("evalrun-controller")
    if plugin is None:
        plugin = Controller(config, suites)
        config.pluginmanager.register(plugin, "evalrun-controller")
    assert isinstance(plugin, Controller)
    return plugin


class Controller:
    """Opens the run when the first item is dispatched, keeps its state, closes it."""

    def __init__(self, config: pytest.Config, suites: Suites) -> None:
        self.config = config
        self.suites = suites
        self.live: LiveRun | None = None
        self.pairs: dict[str, Pair] = {}
        self.planned: dict[str, Pair] = {}
        self.expected: dict[str, Estimate] = {}
        # The evaluations of first samples that ended, and whether they came to a result.
        self.limits: dict[PairKey, bool] = {}
        self.scored = 0
        self.skipped = 0
        self.losses = WorkerCrashes(suites.launch, suites.options.crash_retries)
        self.terminal = Terminal(config)
        self.terminal.outlast()
        self.spending = Spending(self.terminal, suites.options.max_cost)
        self.machine = Machine((), {}, None)
        self.fleet: BoardManager | None = None
        self.engine: Divides | None = None
        self.sigterm = signals_of_launch(config, self._workers, self.terminal.line, self._abort)
        config.pluginmanager.register(self.sigterm, "evalrun-signals")
        self.sigterm.take()

    def _workers(self) -> list[int]:
        return self.live.workers() if self.live is not None else []

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        cut_traceback(excinfo, self.config)

    def _abort(self) -> None:
        """A second signal: the least that must be written, and told."""
        if self.live is not None:
            self.live.abort(self.sigterm.by)
        self.suites.launch.remove()

    def pytest_unconfigure(self) -> None:
        self.sigterm.give_back()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        from pytest_evalrun.evaluation.selection import existing_run

        if self.config.option.collectonly:
            with usage_errors():  # before pytest's list: there is no plan for a run that is not there
                existing_run(self.suites.options.workdir, self.suites.options.run)
            self.planned = {pair.full_id: pair for item in session.items if (pair := pair_of(item))}
            if self.engine is not None:
                self.engine.divide(session.items)
            else:
                self.machine = self._machine(self.planned.values())
            tell_before(self.terminal, self.suites, self.machine, self.planned.values())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """At ``-n0`` this is the moment before the first item."""
        option = self.config.option
        runs = not session.testsfailed or option.continue_on_collection_errors
        if session.items and runs and not option.collectonly:
            if self.engine is not None:
                self.engine.divide(session.items)
            self.collected([item.nodeid for item in session.items])
        return (yield)

    def collected(self, ids: Sequence[str]) -> None:
        """The node ids of the items to come; under xdist once per worker, of which the first counts."""
        if self.live is not None or self.config.getoption("setupplan", False) or self.suites.refused:
            return
        if self.suites.options.fresh and self.suites.options.mode == "eval":
            raise pytest.UsageError("--eval-fresh puts predictions aside, and --eval-mode eval makes none; give one")
        self.pairs = self.suites.pairs_of(ids, self.told.pairs)
        self.spending.check(self.pairs.values())
        self.losses.expected = dict.fromkeys(ids)
        self.machine = self._machine(self._here())
        self.fleet = self._fleet() if self.machine.boards else None
        tell_before(self.terminal, self.suites, self.machine, self.pairs.values())
        tell_gates(self.terminal, self.suites, self.pairs.values())
        self.terminal.select(self.pairs.values())
        if self.pairs:
            with self.sigterm.held_back():
                seconds = self._open()
            show_progress(self.config, seconds)

    def _here(self) -> Iterable[Pair]:
        """The pairs whose items run on this machine."""
        return [pair for nodeid, pair in self.pairs.items() if nodeid not in self._remote]

    @property
    def _remote(self) -> Collection[str]:
        return self.engine.division.remote if self.engine is not None else ()

    def _machine(self, selected: Iterable[Pair]) -> Machine:
        """Usage errors for what this machine has not, before anything is made; scoring alone needs no model."""
        options = self.suites.options
        pairs = selected if options.mode != "eval" else ()
        needs = {nodeid: need for nodeid, need in self.told.needs.items() if nodeid not in self._remote}
        with usage_errors():
            return Machine(pairs, needs, options.gpus, patient=options.cluster.job is not None)

    def _fleet(self) -> BoardManager:
        """The boards that answer; usage errors for host keys that nobody knows."""
        from pytest_evalrun.remote.boardnotes import BoardNotes
        from pytest_evalrun.remote.boards.manager import BoardManager

        notes = BoardNotes(self.suites.launch.path / BOARDS)
        with usage_errors():
            fleet = BoardManager(self.machine.boards, on_boards(self.pairs), notes, self.terminal.line)
            self.machine.do_without(fleet.look())
        return fleet

    @cached_property
    def told(self) -> Told:
        """Published with the first collection, and the same for all that follow: of 10,000 pairs it is a megabyte."""
        text = self.suites.launch.read(TOLD)
        return Told.loads(text) if text is not None else Told()

    def schedule(self, ids: Sequence[str]) -> None:
        """Under xdist: hand the items out ourselves, where the workers said that they have pairs."""
        if not self.told.ordered:
            requeue(self.config, self._lost)
            return

        def make(workers: int, tick: Callable[[], None]) -> Scheduler:
            units = units_of(ids, self.pairs, self.told, self.expected, self.machine.needs)
            return Scheduler(ids, units, self.machine.pool(), workers, lost=self._lost, tick=tick)

        install_scheduler(self.config, make)

    def _lost(self, nodeid: str, node: Any) -> Lost:
        """An item's worker died: told at once where the item is run again, else with its error."""
        pair = self.pairs.get(nodeid)
        limit = pair.settings.timeout if pair is not None else None
        lost = self.losses.of(nodeid, node, limit, again=pair is not None)
        if pair is not None and lost is not Lost.UNTOUCHED and self.losses.charged(nodeid):
            allow_restart(self.config)
        if pair is not None and lost is Lost.AGAIN:
            self.terminal.line(f"{pair.full_id}: {self.losses.again(nodeid)}")
        return lost

    def _open(self) -> dict[str, float]:
        """The seconds that each item should take, by node id: of the run it is known what was done before."""
        from pytest_evalrun.evaluation.cuts import cut_lines
        from pytest_evalrun.predicting.outputs import output_directories
        from pytest_evalrun.remote.manifest import boards_of
        from pytest_evalrun.rundir.layout import WorkDir
        from pytest_evalrun.rundir.live import LiveRun

        sweep_launches()
        options = self.suites.options
        suites = sorted(self.suites.found.values(), key=lambda suite: suite.file)
        try:
            with usage_errors():
                self.expected = expected_of(self.pairs.values(), self.suites.options)
                seconds = seconds_of(self.pairs, self.expected)
                facts = facts_of(self.pairs, seconds, self.machine.gpus)
                only = self.pairs.values() if options.cluster.job else None
                workdir = WorkDir(options.workdir)
                live = LiveRun(workdir, options.run, suites, written_argv(), self.terminal.line, facts, only=only)
                with live.kept():
                    live.claim(output_directories(live.paths, suites), boards_of(suites))
                    self._publish(live)
        except OSError as error:
            told = f"{error.filename}: {error.strerror}; choose another with --eval-workdir"
            raise pytest.UsageError(printable(told)) from None
        for line in (*self.machine.lines(), *cut_lines(live.paths, self.pairs.values())):
            live.log.write("INFO", line)
        self.live = live
        self.suites.notice.opened(live.paths.root)
        return seconds

    def _publish(self, live: LiveRun) -> None:
        """Publish to the workers where the run is, and what holds for all of it."""
        from pytest_evalrun.evaluation.context import Launch

        options = self.suites.options
        launch = Launch(
            run=str(live.paths.root),
            workdir=str(options.workdir),
            run_id=live.session.run_id,
            mode=options.mode,
            fresh=options.fresh,
            distrust=live.session.distrust,
            gpus=options.gpus,
            crash_retries=options.crash_retries,
            lacking=self.machine.lacking,
            devices=str(self.suites.launch.path / BOARDS),
            servers=str(self.suites.launch.path / SERVERS),
            max_cost=options.max_cost,
            hashes=str(self.suites.hashes),
            sources=self.suites.sources,
        )
        self.suites.launch.publish("launch.json", json.dumps(launch.to_json()))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.losses.started(nodeid)
        pair = self.pairs.get(nodeid)
        if pair is None or self.live is None:
            return
        self.terminal.starts(nodeid)
        if pair.skip is None:
            self.live.started(pair)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, Any] | None:
        return self.terminal.status(report)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._account_for(report)
        pair = self.pairs.get(report.nodeid)
        if pair is None or self.live is None:
            return
        if report.when == "call" or not report.passed:
            self._ended(pair, report)
            if self.fleet is not None:
                self.fleet.ended(report.nodeid)

    def _account_for(self, report: Any) -> None:
        """An item of a suite has nothing to tear down: with the report that counts it is over."""
        counts = report.when == "call" or not report.passed
        if report.when in ENDS or (counts and getattr(report, "evalrun", {}).get("suite_item")):
            self.losses.ended(report.nodeid)
        elif counts:
            self.losses.called(report.nodeid)

    def _ended(self, pair: Pair, report: Any) -> None:
        assert self.live is not None
        told = getattr(report, "evalrun", {})
        outcome = outcome_of(report)
        note = str(told.get("reason", "")) if report.passed else reason_of(report, pair.full_id)
        self.terminal.item(pair, outcome, told, note)
        self.spending.ended(pair, told)
        if pair.peek("limit") and not pair.is_shard and outcome != "skipped" and told.get("evaluates", True):
            self.limits[key_of(pair)] = "scored" in told
        self.skipped += outcome == "skipped"
        self.scored += bool(told.get("scored") or told.get("predicted")) or outcome in ("failed", "error")
        if pair.skip is not None:
            write_error_result(pair, self.live.paths.pair(key_of(pair)), "skipped", pair.skip)
            return
        self.live.finished(
            pair,
            outcome,
            worker=getattr(report, "worker_id", told.get("worker", "main")),
            status=stands(outcome, told),
            note=note,
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        if error and self.live is not None:
            self.live.worker_lost(node.gateway.id, str(error))

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_handlecrashitem(self, report: Any) -> None:
        """The worker that would have said so is dead, so its part of the report and its last event come from here."""
        self.lost(report, self.losses.reason(report.nodeid), self.losses.brief(report.nodeid))

    def lost(self, report: Any, reason: str, brief: str) -> None:
        """Complete the report of an item whose worker, or job, died: it is an error, and nobody else writes that."""
        pair = self.pairs.get(report.nodeid)
        if pair is None or self.live is None:
            return
        make_crashed(report, pair, reason, brief)
        self.losses.ended(report.nodeid)
        if pair.is_shard:
            tell_ended(self.suites.launch, pair)
        self.live.crashed(pair, reason)
        write_error_result(pair, self.live.paths.pair(key_of(pair)), "error", reason)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Close the run after xdist has ended its workers: nobody writes to it any more."""
        mode = self.suites.options.mode
        if self.live is None:
            if mode == "viz" and not self.config.option.collectonly and exitstatus in (0, 5):
                self._summarise_again()
                session.exitstatus = pytest.ExitCode.OK
            return
        self.live.settle()
        self.spending.finish(session, self.live.paths, self.live.session.run_id)
        self._finish(session, exitstatus, self.live)
        # After -x pytest says nothing of ordinary tests that were not run, and neither do we.
        among = self.losses.expected if exitstatus == pytest.ExitCode.OK else self.pairs
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and (lines := self.losses.never_ran(among)):
            self.terminal.remarks += lines
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        alone = session.testscollected <= len(self.pairs)  # else the outcome of ordinary tests is a result
        if exitstatus == pytest.ExitCode.OK and self.skipped and not self.scored and alone:
            self.terminal.remarks.append("every selected pair was skipped: there is no result at all")
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def _finish(self, session: pytest.Session, exitstatus: int, live: LiveRun) -> None:
        clean = exitstatus != pytest.ExitCode.INTERRUPTED or bool(session.shouldfail)
        try:
            if self.suites.options.cluster.job is None:  # of what jobs have done their launch makes the tables
                with self.sigterm.cuttable():
                    self.terminal.summary = summarise(live.paths, self.suites.found.values(), self.limits)
                    if clean:  # who presses Ctrl-C does not wait for gigabytes to be merged
                        self._merge(session, exitstatus, live)
        except KeyboardInterrupt:
            self.terminal.remarks.append("the summary was cut off; `evalrun report` makes it again")
        except Exception as error:  # noqa: BLE001 - a result that somebody edited must not cost the session its end
            self.terminal.remarks.append(f"the summary could not be made: {error}; `evalrun report` makes it again")
        live.close(clean and self.sigterm.by is None, self.sigterm.by)
        if self.fleet is not None:
            with self.sigterm.cuttable():
                self.terminal.remarks += self.fleet.tidy()
        if self.sigterm.by is not None:
            self.terminal.remarks += left_lines(live, self.suites.options.workdir, self.sigterm.by)

    def _merge(self, session: pytest.Session, exitstatus: int, live: LiveRun) -> None:
        """A merged file that lacks rows of a complete pair is no success."""
        remarks, complete = merge_programs(live, self.pairs.values())
        self.terminal.remarks += remarks + page_remarks(live.paths, self.suites.found.values(), self.terminal.summary)
        if not complete and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _summarise_again(self) -> None:
        """--eval-mode viz: no item runs, the tables are made again."""
        with usage_errors():
            name, self.terminal.summary, told = summarise_again(self.suites.options, self.suites.found.values())
        self.terminal.suites = {suite.name for suite in self.suites.found.values()}
        self.terminal.remarks += [*told, f"summary of {name} made again; no item was run"]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.config.option.collectonly:
            preview = self.engine.preview if self.engine is not None else None
            show_dry_run(terminalreporter, self.suites, list(self.planned.values()), self.machine, preview)
        else:
            self.terminal.show(terminalreporter, self.live.paths.root if self.live else None)
