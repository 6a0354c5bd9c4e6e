"""The launch of an engine: its items go out as jobs, and come back as files and reports; all others run here.

pytest-xdist stays out: this process only waits, and whatever it is told it replays as if it had happened here.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.engines.dispatch import Dispatch
from pytest_evalrun.engines.making import create_engine
from pytest_evalrun.engines.protocol import ClusterAway, Job
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.plugin.engine.allure import gather_allure
from pytest_evalrun.plugin.engine.division import Division, divide, resources_of
from pytest_evalrun.plugin.engine.inbox import Inbox
from pytest_evalrun.plugin.engine.localitems import LocalItems
from pytest_evalrun.plugin.engine.meanwhile import Meanwhile
from pytest_evalrun.plugin.engine.outfit import Outfitter
from pytest_evalrun.plugin.engine.planned import NEW_RUN, Planner, preview
from pytest_evalrun.plugin.engine.replay import Replay
from pytest_evalrun.plugin.engine.rota import Rota
from pytest_evalrun.plugin.engine.stepwise import Stepwise
from pytest_evalrun.plugin.items import pair_of
from pytest_evalrun.plugin.lastline import PROGRESS
from pytest_evalrun.plugin.options import jobs_at_once, usage_errors
from pytest_evalrun.plugin.reports import lost_report
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.jobfiles import JobFile
from pytest_evalrun.rundir.jobs import JobStore
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.publish import tidy
from pytest_evalrun.suite.batchsystem import agreed_in
from pytest_evalrun.suite.clusters import ClusterWords
from pytest_evalrun.suite.printable import counted
from pytest_evalrun.suite.published import handed_on, published_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from pytest_evalrun.engines.protocol import Engine, Resources
    from pytest_evalrun.plugin.controller import Controller
    from pytest_evalrun.rundir.live import LiveRun

PLUGIN = "evalrun-engine"
# How often reports are looked for, in seconds; the cluster itself is asked less often.
LOOK_SECONDS = 0.1
# Jobs that were cancelled get so long to end their batch and to keep what it made.
PATIENCE_SECONDS = 10.0


class EngineLaunch:
    """A plugin of the launching process, registered where a suite was found and ``--eval-engine`` names a cluster."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.options = controller.suites.options
        self.division = Division()

    def divide(self, items: Sequence[pytest.Item]) -> None:
        """Decide what runs where, before the machine is looked at: what goes out needs nothing of it."""
        with usage_errors():
            self.division = divide(items, self.options, self.controller.told.needs)
            if self.division.remote and not self.controller.config.option.collectonly:
                self._check()

    def _check(self) -> None:
        """Raise ConfigError for what the cluster can never run, before a run is opened: none is made for a typo.

        What is optional stays here then, and is skipped unless this machine has what it needs.
        """
        place = EnginePaths(WorkDir(self.options.workdir).run(NEW_RUN)).root
        engine = create_engine(self.words(), place)
        must, may = self._classes()
        try:
            engine.check([Job("evalrun-check", "", place, place, resources) for resources in must])
            for resources, ids in may.items():
                try:
                    engine.check([Job("evalrun-check", "", place, place, resources)])
                except ConfigError:
                    self.division = self.division.without(ids, "optional, and the cluster has not what they need")
        except ClusterAway as error:
            self.controller.terminal.line(f"{error}; waited for")
        finally:
            engine.close()

    def _classes(self) -> tuple[dict[Resources, list[str]], dict[Resources, list[str]]]:
        """The items that go out by what they need: those of which one must run, and those that are all optional."""
        needs, workers = self.controller.told.needs, self.options.cluster.workers
        found: dict[Resources, list[str]] = {}
        must: set[Resources] = set()
        for nodeid, item in self.division.remote.items():
            pair = pair_of(item)
            resources = resources_of(pair, needs.get(nodeid), workers)
            found.setdefault(resources, []).append(nodeid)
            if pair is None or not pair.peek("optional"):
                must.add(resources)
        parts = ({cls: ids for cls, ids in found.items() if (cls in must) is kept} for kept in (True, False))
        return next(parts), next(parts)

    def preview(self) -> list[str]:
        """Tell what would be submitted, after ``divide``."""
        with usage_errors():
            return preview(self.controller.config, self.options, self.division, self.controller.told, self.words())

    @cached_property
    def engine(self) -> Engine:
        """Raises ConfigError where a program, a library or a word is missing."""
        assert self._live is not None
        return create_engine(self.words(), EnginePaths(self._live.paths).root)

    def words(self) -> ClusterWords:
        cluster = self.options.cluster
        batch = agreed_in(self.controller.suites.found.values()) if cluster.engine == "command" else {}
        ray = cluster.ray or os.environ.get("RAY_ADDRESS")  # noted with the jobs: others have another environment
        return ClusterWords(
            cluster.engine, cluster.slurm, batch, ray, cluster.dlc, root=str(self.controller.config.rootpath)
        )

    @property
    def _live(self) -> LiveRun | None:
        return self.controller.live

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Take the place of pytest's own loop, where anything goes out."""
        option = self.controller.config.option
        if session.testsfailed and not option.continue_on_collection_errors:
            return None  # pytest's own says so
        if self._live is None or not self.division.remote:
            return None
        with usage_errors():
            _EngineLoop(self, session, self._live).run()
        return True


class _EngineLoop:
    """One launch's way from units to reports."""

    def __init__(self, launch: EngineLaunch, session: pytest.Session, live: LiveRun) -> None:
        self._session = session
        self._live = live
        self._controller = launch.controller
        self._options = launch.options
        self._division = launch.division
        self._remote = launch.division.remote
        self._paths = EnginePaths(live.paths)
        self._engine = launch.engine
        self._outfitter = Outfitter(session.config, self._options, live.paths, self._division)
        self._planner = Planner(session.config, self._outfitter, self._division, self._controller.told.needs)
        pairs = [pair for item in self._remote.values() if (pair := pair_of(item)) is not None]
        here = [item for item in session.items if item.nodeid not in self._remote]
        self._meanwhile = Meanwhile(lambda: self._dispatch.attend(), self._say_here, self._whole)
        self._say = self._meanwhile.say
        self._local = LocalItems(session, here, pairs)
        self._rota = Rota()
        self._inbox = Inbox(
            live,
            Replay(session),
            self._paths,
            self._division,
            self._local,
            self._say,
            self._begun,
            fresh=self._options.fresh,
            scores=self._options.mode == "all",
        )
        self._stepwise = Stepwise(session)
        session.config.pluginmanager.register(self._stepwise)
        self._store = JobStore(self._paths.jobs_json, launch.words())
        self._dispatch = self._inbox.dispatch = Dispatch(
            self._engine,
            self._store,
            self._outfitter.make,
            at_once=jobs_at_once(session.config),
            retries=self._options.crash_retries,
            say=self._say,
            read=self._inbox.finish,
            whole=self._meanwhile.whole,
            split=lambda items: self._planner.split(items, self._controller.expected),
        )

    def _whole(self) -> AbstractContextManager[None]:
        """What is noted and what the cluster has done must agree: Ctrl-C would end its commands in the middle."""
        return self._controller.sigterm.held_back(signal.SIGINT)

    def _say_here(self, text: str) -> None:
        self._controller.terminal.line(text)
        self._live.log.write("INFO", text)

    def _begun(self, nodeid: str) -> None:
        line = self._session.config.pluginmanager.get_plugin(PROGRESS)
        if line is not None:
            line.started_elsewhere(nodeid)

    def run(self) -> None:
        try:
            self._start()
            self._loop()
        except KeyboardInterrupt:  # that of --stepwise too, after which nothing is under way
            if not self._dispatch.is_over:
                self._interrupted()
            raise
        except BaseException:
            self._dispatch.cancel_all()
            raise
        finally:
            self._close()
        self._local.close()
        self._tidy()

    # ------------------------------------------------------------------ the beginning

    def _start(self) -> None:
        found = self._adopt()
        left = [item for nodeid, item in self._remote.items() if nodeid not in found]
        planned = self._planner.units(left, self._controller.expected, self._store.next_unit_name)
        for remark in self._engine.remarks:
            self._say(remark)
        units = [unit for unit, _ in planned]
        self._hand_on()
        self._dispatch.start(units)
        self._dispatch.step()
        if units and self._dispatch.fatal is None:
            first, last = units[0].name, units[-1].name
            named = first if first == last else f"{first} to {last}"
            told = f"{counted(len(units), 'unit')} ({named}) of {counted(len(left), 'item')}"
            self._say(f"{self._engine.name}: {told}, no more than {jobs_at_once(self._session.config)} at once")
        self._check_fatal()

    def _hand_on(self) -> None:
        """Let jobs have the suites as they are here; without that each of them puts them together by itself."""
        with suppress(OSError):
            for suite in self._controller.suites.found.values():
                write_atomic(self._paths.suites / published_name(suite.file), handed_on(suite))

    def _adopt(self) -> set[str]:
        """Take over what an earlier launch has submitted, where it is still what is wanted."""
        wanted = {item.id: item for item in self._outfitter.job_items(self._remote)}
        with self._whole():
            adopted = self._dispatch.adopt(wanted, fresh=self._options.fresh)
        living = [self._paths.attempt(unit.name, attempt) for unit, attempt in self._dispatch.open()]
        self._outfitter.remember_earlier(living)
        if adopted:
            names = ", ".join(unit.name for unit in adopted)
            self._say(
                f"found {counted(len(adopted), 'unit')} of an earlier launch: {names}; nothing is submitted twice"
            )
        return {item.id for unit in adopted for item in unit.items}

    # ------------------------------------------------------------------ the loop

    def _loop(self) -> None:
        while True:
            self._turn()
            self._stop_where_wanted()
            if self._dispatch.is_over and self._local.is_over:
                break
            if not self._run_here():
                time.sleep(LOOK_SECONDS)
            self._stop_where_wanted()
        for nodeid in [*self._inbox.due]:
            self._give_up(nodeid, "nothing is known of it, though all jobs have ended")

    def _run_here(self) -> bool:
        """Run the next item that stays here; False where there is none. What jobs report meanwhile is told after it."""
        if not self._local.has_next:
            return False
        with self._meanwhile.attending():
            self._local.run_next()
        return True

    def _turn(self) -> None:
        """Whatever has happened on the cluster, taken in."""
        self._inbox.look(self._rota.take(self._dispatch.open()))
        self._dispatch.step()
        self._check_fatal()
        failures = self._dispatch.take_failures() | self._inbox.take_failures()
        for nodeid, reason in failures.items():
            self._give_up(nodeid, reason)

    def _check_fatal(self) -> None:
        """Raise ConfigError where no job will ever run."""
        if self._dispatch.fatal is not None:
            self._dispatch.cancel_all()
            raise ConfigError(self._dispatch.fatal)

    def _give_up(self, nodeid: str, reason: str) -> None:
        """An item of which no job will tell: an error, told as that of a worker that died."""
        item = self._inbox.due.get(nodeid)
        if item is None:
            return
        self._inbox.give_up(item)
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        report = lost_report(item, reason)
        self._controller.lost(report, reason, reason)
        hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _stop_where_wanted(self) -> None:
        """``-x`` and the like: what waits is cancelled, items that run end, and are told."""
        session = self._session
        if not (session.shouldfail or session.shouldstop):
            return
        for unit, attempt in self._dispatch.open():
            with suppress(OSError):
                self._paths.attempt(unit.name, attempt).stop.touch()
        self._dispatch.cancel_waiting()
        while not self._dispatch.is_over:
            self._turn()
            time.sleep(LOOK_SECONDS)
        self._local.close()
        self._stepwise.settle(self._inbox.due.keys() | self._local.due)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        raise session.Interrupted(session.shouldstop)

    # ------------------------------------------------------------------ the end

    def _interrupted(self) -> None:
        """Ctrl-C: jobs end after the batch at hand, or go on without us."""
        jobs = counted(len(self._dispatch.open()), "job")
        if self._options.cluster.on_interrupt == "detach":
            self._say(f"{jobs} go on; the same command finds them, `evalrun stop` ends them")
            return
        self._say(f"{jobs} cancelled; what they have predicted is kept")
        self._dispatch.cancel_all()
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._dispatch.is_over and time.monotonic() < until:
            self._inbox.look(self._dispatch.open())
            self._dispatch.step()
            time.sleep(LOOK_SECONDS)

    def _close(self) -> None:
        """Keep what there is; jobs that go on keep what is theirs."""
        with ExitStack() as stack:
            for close in (self._engine.close, self._store.close, self._inbox.close):
                stack.callback(close)
            if not self._detached:
                self._inbox.keep(self._outfitter.attempts_with)
            if directory := getattr(self._session.config.option, "allure_report_dir", None):
                self._gather_allure(Path(directory))

    def _gather_allure(self, directory: Path) -> None:
        try:
            gather_allure(self._inbox.replayed, directory)
        except OSError as error:
            self._say(f"--alluredir {directory}: {error.strerror}; results of jobs stay in {self._paths.root}")

    @property
    def _detached(self) -> bool:
        return self._options.cluster.on_interrupt == "detach" and not self._dispatch.is_over

    def _tidy(self) -> None:
        """What came into the run need not lie there twice.

        An attempt with items that this launch has not selected is for one that has: its job may live, and what it has
        predicted never came into the run.
        """
        selected = {item.nodeid for item in self._session.items}
        for attempt in self._paths.attempts():
            if attempt.tidied.exists() or attempt in self._inbox.stuck:
                continue
            with suppress(ConfigError, OSError):
                if all(item.id in selected for item in JobFile.read(attempt.job).items):
                    tidy(attempt)
