"""The worker's side: where items run, what their reports carry, and where their output goes."""

from __future__ import annotations

import json
import os
import traceback
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_evalrun.errors import EvalrunError, Lacking, TimedOut
from pytest_evalrun.evaluation.deadline import Deadline
from pytest_evalrun.evaluation.kinds import kind_of
from pytest_evalrun.evaluation.logs import ItemLog, Redirect
from pytest_evalrun.evaluation.stored import write_error_result
from pytest_evalrun.plugin.collectors import SuiteModule
from pytest_evalrun.plugin.items import pair_of, uses
from pytest_evalrun.plugin.reports import (
    Failure,
    echo,
    failure,
    is_debugging,
    make_safe,
    outcome_of,
    reason_of,
    shorten,
    tail_of,
    tell,
)
from pytest_evalrun.plugin.signals import cut_traceback, signals_of_worker
from pytest_evalrun.plugin.xdist.internals import leave_pipes_to_parent
from pytest_evalrun.plugin.xdist.shards import ShardsInAnyOrder, shards_first
from pytest_evalrun.plugin.xdist.units import TOLD, told_of
from pytest_evalrun.plugin.xdist.workerloop import take_orders
from pytest_evalrun.rundir.layout import paths_of
from pytest_evalrun.rundir.sessions import join_session
from pytest_evalrun.slots.need import board_of
from pytest_evalrun.suite.forks import UsersCode
from pytest_evalrun.suite.printable import printable
from pytest_evalrun.suite.secrets import secrets_of

if TYPE_CHECKING:
    import warnings
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from pytest_evalrun.evaluation.context import Context
    from pytest_evalrun.evaluation.steps import Evaluation
    from pytest_evalrun.plugin.fragments import FragmentWriter
    from pytest_evalrun.plugin.suites import Suites
    from pytest_evalrun.predicting.boards import HeldBoard
    from pytest_evalrun.rundir.sessions import Member
    from pytest_evalrun.slots.leases import Lease
    from pytest_evalrun.slots.need import Need
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.secrets import Secrets

# The exit code of a process that was given up.
GAVE_UP = 70
evaluation_key = pytest.StashKey["Evaluation"]()


class WorkerPlugin:
    """One per process that runs items: the only process at ``-n0``, each xdist worker otherwise."""

    def __init__(self, config: pytest.Config, suites: Suites) -> None:
        self.config = config
        self.suites = suites
        self.name: str = getattr(config, "workerinput", {}).get("workerid", "main")
        self.shared = False
        self._shards: ShardsInAnyOrder | None = None
        self._log_start = 0
        self._nodeid: str | None = None
        self.sigterm = signals_of_worker(config)
        if hasattr(config, "workerinput"):
            self.sigterm.take()
            leave_pipes_to_parent(config)
        self._context: Context | None = None
        self._member: Member | None = None
        self._redirect: Redirect | None = None
        self._log: ItemLog | None = None

    @property
    def context(self) -> Context:
        """Joined when the first item needs it: by then the launching process has said where the run is."""
        if self._context is None:
            import pytest_evalrun.evaluation.life  # noqa: F401 - here, where the time of no item is counted
            from pytest_evalrun.evaluation.context import Context, Launch, Shows

            if self.suites.refused:
                raise Failure(self.suites.refused, self.suites.refused)
            text = self.suites.launch.read("launch.json")
            assert text is not None, "the launching process publishes the run before it sends an item"
            launch = Launch.from_json(json.loads(text))
            # At -n0 the parent is a shell, whose end is no reason to stop: nohup, a closed terminal.
            launcher = os.getppid() if hasattr(self.config, "workerinput") else None
            option = self.config.option
            context = Context(
                launch,
                self.name,
                self.secrets,
                launcher=launcher,
                check=self._check_stop,
                ends_session=(pytest.exit.Exception,),
                shows=Shows(option.verbose > 0 or self.config.getoption("capture", "no") == "no", option.verbose >= 0),
                leaving=self.sigterm.leaving,
            )
            self._member = join_session(context.paths, launch.run_id)
            context.processes.add(os.getpid())
            self._context = context
        return self._context

    @cached_property
    def secrets(self) -> Secrets:
        """The secrets of all suites; asked for when all are collected."""
        return secrets_of(self.suites.found.values(), also=self.suites.options.notify or ())

    @cached_property
    def _fragments(self) -> FragmentWriter:
        from pytest_evalrun.plugin.fragments import FragmentWriter

        return FragmentWriter(self.context)

    @property
    def log(self) -> ItemLog:
        if self._log is None:
            self._redirect = None if is_debugging(self.config) else Redirect(echo(self.config), self.secrets)
            self._log = ItemLog(self._redirect, self.secrets)
        return self._log

    def evaluate(self, item: pytest.Item, pair: Pair) -> Evaluation:
        """Steps 1-5 of the life of an item; trouble ends as pytest's ERROR without our own frames."""
        from pytest_evalrun.evaluation.life import evaluate  # 0.1 s, for whoever only runs ordinary tests
        from pytest_evalrun.evaluation.properties import properties_of

        context = self.context
        context.events.write("item_started", pair.full_id)
        if self._shards is not None:
            self._shards.wait(pair, context)
        try:
            with context.guard.working():
                evaluation = evaluate(pair, context, shared=self.shared)
                self._fragments.write(evaluation)
        except Lacking as lacking:
            pytest.skip(str(lacking))
        except EvalrunError as error:
            context.say(f"{pair.full_id}: error: {error}")
            self._explain(error)
        except KeyboardInterrupt as interrupt:
            if isinstance(interrupt.__cause__, pytest.exit.Exception):
                raise interrupt.__cause__ from None  # of Ctrl-C under --pdb pytest would ask for a post-mortem
            raise
        finally:
            context.item_done()
        evaluation = replace(evaluation, samples=None)  # an item lives as long as the session
        item.stash[evaluation_key] = evaluation
        item.user_properties.extend(properties_of(evaluation))
        return evaluation

    @contextmanager
    def lease(self, need: Need, pair: Pair | None) -> Iterator[Lease]:
        """GPUs for a test's own use; the model at hand goes first, for it may be on them."""
        from pytest_evalrun.predicting.services import Slots, WorkerServices

        live = self.suites.launch.read("launch.json") is not None
        around = self.context.services if live else WorkerServices()
        slots = self.context.slots if live else Slots(self.suites.options.gpus)
        self._unload()
        try:
            held = slots.take(need, pair.full_id if pair is not None else None, around)
        except EvalrunError as error:
            raise failure(error) from None
        try:
            yield held.lease
        finally:
            held.free()

    @contextmanager
    def board(self, pair: Pair) -> Iterator[HeldBoard]:
        """Lease a board for a test's own use; a pair that is optional is skipped where there is none."""
        lacking = self.context.launch.lacking.get(str(board_of(pair.settings)))
        if lacking and pair.settings.optional:
            pytest.skip(lacking)
        self._unload()
        try:
            held = self.context.boards.take(pair, self.context.services)
        except EvalrunError as error:
            raise failure(error) from None
        try:
            yield held
        finally:
            held.free()

    def _explain(self, error: EvalrunError) -> NoReturn:
        """The message; of what the user's own code raised, the traceback too. A debugger gets the real thing."""
        if self.config.getoption("usepdb"):
            raise error
        cause = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else ""
        raise Failure(self.context.shown(f"{error}\n\n{cause}".rstrip()), error.brief, kind_of(error)) from None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Pairs that several items ask for need the pair's lock: those of user functions, and repeated ones.

        Before xdist tells the launching process of the items, so that it finds there what we tell of them.
        """
        pairs = {item: pair for item in session.items if (pair := pair_of(item)) is not None}
        asked = [id(pairs[item]) for item in session.items if item in pairs]
        self.shared = len(set(asked)) < len(asked)
        alone = not hasattr(self.config, "workerinput")
        ordered = bool(pairs) and take_orders(self.config, self._unload, self._look)
        if pairs:
            self.suites.launch.once(TOLD, lambda: told_of(session.items, pairs.get, ordered=ordered).dumps())
        if alone:
            session.items[:] = shards_first(session.items, pairs.get)
        elif not ordered:
            self._shards = ShardsInAnyOrder(self.suites.launch, pairs.values())

    def _unload(self) -> None:
        if self._context is not None:
            self._context.models.close()

    def _look(self) -> None:
        if self._context is not None:
            self._context.models.make_room()

    def sync(self) -> None:
        """Carry to the disk what the item at hand has written."""
        if self._context is not None:
            for error in self._context.disk.flush():
                self._context.warn(f"not synced to disk: {error}")

    def _check_stop(self) -> None:
        alone = not hasattr(self.config, "workerinput")
        sigterm = self.config.pluginmanager.get_plugin("evalrun-signals") if alone else self.sigterm
        if sigterm is not None:
            sigterm.check()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, Any]:
        result = yield
        self._check_stop()
        return result

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        yield from self._logged(item)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        yield from self._logged(item, only_users=True)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        yield from self._logged(item, only_users=True)

    def _logged(self, item: pytest.Item, *, only_users: bool = False) -> Generator[None, None, None]:
        """Lead the phase's output into the pair's log; the body of ``test_pair`` says nothing, so it needs none."""
        pair = None if self.config.getoption("setupplan", False) or self.suites.refused else pair_of(item)
        if pair is None or pair.skip is not None or (only_users and isinstance(item.parent, SuiteModule)):
            return (yield)
        self._nodeid = item.nodeid
        capture: Any = self.config.pluginmanager.get_plugin("capturemanager")
        path = paths_of(self.context.paths, pair).infer_log
        if not only_users:
            self._log_start = path.stat().st_size if path.exists() else 0
        guard = self.context.guard
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            self._open_log(path, pair)
            if not only_users:
                guard.deadline = self._limit(item, pair)
            # In the setup only the evaluation is at work: what a fixture of the session starts there is to stay.
            working = guard.working() if only_users else nullcontext()
            try:
                with working, guard.phase(), UsersCode():
                    return (yield)
            finally:
                guard.close()
                self.log.close()

    def _limit(self, item: pytest.Item, pair: Pair) -> Deadline | None:
        seconds = pair.settings.timeout
        if seconds is None or is_debugging(self.config):
            return None
        return Deadline(seconds, lambda: self.log.fd, lambda reason: self._give_up(item.nodeid, pair, reason))

    def _give_up(self, nodeid: str, pair: Pair, reason: str) -> NoReturn:
        """The main thread hangs in code that no signal reaches: this process ends, and with it what it started."""
        write_error_result(pair, paths_of(self.context.paths, pair), "error", reason)
        self.context.guard.end_orphans()
        if hasattr(self.config, "workerinput"):
            told = {"nodeid": nodeid, "reason": f"{reason}, so its worker was replaced"}
            self.suites.launch.publish(f"hung-{self.name}.json", json.dumps(told))
        else:
            self.log.tell(f"evalrun: {nodeid} {reason}: pytest ends here; with -n 1 the other items would go on")
        os._exit(GAVE_UP)

    def _open_log(self, path: Path, pair: Pair) -> None:
        self.context.log = self.log  # made here, where pytest's capture is off: it keeps the real descriptors
        try:
            self.log.open(path, pair.settings.log_limit // (len(pair.ranges) if pair.is_shard else 1))
        except OSError as error:
            brief = f"the log cannot be written: {error.strerror}"
            raise Failure(f"{path}: {brief}", brief) from None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
        report: Any = yield
        pair = None if self.suites.refused else pair_of(item)
        if pair is not None and call.excinfo is not None and call.excinfo.type is TimedOut:
            self.context.abandon()
            report.longrepr = f"{call.excinfo.value}; the stacks of all threads are in its log"
            report.when = "setup" if report.when == "call" else report.when  # of a test that hangs: ERROR, not FAILED
        if pair is not None:
            if call.excinfo is not None:
                shorten(report, call.excinfo.value)
            make_safe(report, self.secrets, colours=not isinstance(item.parent, SuiteModule))
        if pair is not None and (report.when == "call" or not report.passed):
            evaluation = item.stash.get(evaluation_key, None)
            evaluates = uses(item, "evaluation")
            test = None if isinstance(item.parent, SuiteModule) else getattr(item, "originalname", item.name)
            report.evalrun = tell(pair, evaluation, worker=self.name, test=test, evaluates=evaluates)
            if call.excinfo is not None and outcome_of(report) == "error":
                report.evalrun["kind"] = getattr(call.excinfo.value, "kind", "") or kind_of(call.excinfo.value)
            if self._context is not None and pair.skip is None:
                self._record(report, pair)
        return report

    def _record(self, report: Any, pair: Pair) -> None:
        """The event that ends the item; it is written here, where the worker is known.

        Trouble is explained by the end of the log; a breached gate explains itself.
        """
        if self._shards is not None:
            self._shards.ended(pair)
        told = {name: report.evalrun.get(name) for name in ("reused", "reason", "seconds")}
        if report.evalrun["limit"] is not None:
            told["limit"] = report.evalrun["limit"]
        if report.skipped:
            told["reason"] = reason_of(report, pair.full_id)
        self.context.events.write("item_finished", pair.full_id, outcome=outcome_of(report), **told)
        breached = report.when == "call" and report.evalrun["suite_item"]
        path = paths_of(self.context.paths, pair).infer_log
        if report.failed and not breached and path.is_file():
            shown = self.context.shown
            report.sections.append((shown(f"end of {path}"), shown(tail_of(path, self._log_start))))

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, nodeid: str) -> None:
        """Make what a model warns of safe to show: it is shown at the end of the session, and travels there."""
        text = str(warning_message.message)
        if nodeid == self._nodeid and (safe := printable(self.secrets.blank(text))) != text:
            warning_message.message = UserWarning(safe)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """pytest would parse every file on the way to where we were interrupted, and have every plugin sum up.

        Of a worker nobody sees any of it, and it takes seconds of the few that a worker has to end in.
        """
        cut_traceback(excinfo, self.config)
        plugins = self.config.pluginmanager
        if hasattr(self.config, "workerinput") and plugins.has_plugin("terminalreporter"):
            plugins.unregister(name="terminalreporter")

    def pytest_unconfigure(self) -> None:
        self.sigterm.give_back()

    def pytest_sessionfinish(self) -> None:
        """The model is closed before the run is, within the five seconds that an interrupt leaves."""
        if self._context is not None:
            self._context.close()
        if self._member is not None:
            self._member.close()
        if self._log is not None:
            self._log.end()
        if self._redirect is not None:
            self._redirect.close()
