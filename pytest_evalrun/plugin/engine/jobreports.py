"""What a job tells its launch, a line each: that it has begun, what starts, what happens, each item that has ended."""

from __future__ import annotations

import os
import socket
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.plugin.engine.jobitems import remaining
from pytest_evalrun.plugin.engine.replay import warning_line
from pytest_evalrun.plugin.fixtures import distributes
from pytest_evalrun.plugin.items import pair_of
from pytest_evalrun.plugin.xdist.internals import pid_of
from pytest_evalrun.rundir.lines import Follower, utc_time
from pytest_evalrun.rundir.reportlines import BEGUN, EVENT, ITEM, START, ReportReader, ReportWriter
from pytest_evalrun.rundir.shards import plain
from pytest_evalrun.suite.digests import difference
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    import warnings
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from pytest_evalrun.plugin.suites import Suites
    from pytest_evalrun.predicting.leaving import Leaving
    from pytest_evalrun.rundir.enginepaths import AttemptPaths
    from pytest_evalrun.rundir.jobfiles import JobFile
    from pytest_evalrun.suite.pairs import Pair

# What is said of the job's own session: its launch has events of its own.
OF_THE_SESSION = ("run_started", "run_finished")


class JobReports:
    """Registered in the process that a job's script has started; whoever runs the items tells it of them."""

    def __init__(self, config: pytest.Config, job: JobFile, attempt: AttemptPaths, leaving: Leaving) -> None:
        self._config = config
        self._job = job
        self._stop = attempt.stop
        self._writer = ReportWriter(attempt.reports)
        self._leaving = leaving
        leaving.workers = self._pids
        before = ReportReader(attempt.reports).read()
        self._told_events = sum(line.get("kind") == EVENT for line in before)
        self._reported = {line.get("id") for line in before if line.get("kind") == ITEM}
        self._events = Follower(attempt.run.events)
        self._reports: dict[str, list[Any]] = {}
        self._crashed: set[str] = set()
        self._nodes: dict[Any, int] = {}
        self._session: pytest.Session | None = None
        self.has_begun = False
        self.was_stopped = False
        self.trouble = ""

    @property
    def is_complete(self) -> bool:
        """Everything that was wanted is reported."""
        return all(item.id in self._reported for item in self._job.items)

    # ------------------------------------------------------------------ the beginning

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.trouble:
            self.trouble = f"{report.nodeid or 'pytest'} cannot be collected: {str(report.longrepr).strip()[-2000:]}"

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without workers this is where all is known that will be run, and nothing is made yet."""
        items = session.items
        if not distributes(self._config):
            self._check([item.nodeid for item in items], {item.nodeid: pair_of(item) for item in items})

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        self._session = session
        if session.items:
            self._begin()
        return (yield)

    @pytest.hookimpl(optionalhook=True, wrapper=True, tryfirst=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> Generator[None, Any, Any]:
        if not self.has_begun:
            suites = self._suites
            suites.read_published()
            suites.raise_errors()
            controller: Any = self._config.pluginmanager.get_plugin("evalrun-controller")
            self._check(ids, suites.pairs_of(ids, controller.told.pairs) if controller else {})
        result = yield
        self._begin()
        return result

    @property
    def _suites(self) -> Suites:
        from pytest_evalrun.plugin.suites import suites_key

        return self._config.stash[suites_key]

    def _check(self, ids: Sequence[str], pairs: Mapping[str, Pair | None]) -> None:
        """Raise UsageError where this host has not what the launch has submitted."""
        wanted, there = remaining(self._suites, self._job), set(ids)
        again = "start the launch again"
        if missing := [nodeid for nodeid in wanted if nodeid not in there]:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            file = self._config.rootpath / missing[0].partition("::")[0]
            why = f"the suite changed since the job was submitted; {again}"
            if not file.exists():
                why = f"this host does not see {file}; every node must see what the launch sees, under the same path"
            raise pytest.UsageError(f"{missing[0]}{more} not collected any more: {self.trouble or why}")
        for item in self._job.items:
            pair = pairs.get(item.id)
            if item.digest is None or item.id not in there:
                continue
            if pair is None or pair.full_id != item.pair:
                raise pytest.UsageError(f"{item.id} is not about {item.pair} any more; {again}")
            if changed := difference(item.digest, pair):
                raise pytest.UsageError(
                    f"the settings of {item.pair} changed since the job was submitted: {changed}; {again}"
                )

    def _begin(self) -> None:
        if self.has_begun:
            return
        self.has_begun = True
        paths = {"executable": sys.executable, "prefix": sys.prefix, "rootdir": str(self._config.rootpath)}
        facts = {"host": socket.gethostname(), "pid": os.getpid(), "time": utc_time(), "paths": paths}
        versions = {"python": sys.version.partition(" ")[0], "plugin": version("pytest-evalrun")}
        self._writer.write({"kind": BEGUN, **facts, **versions})

    # ------------------------------------------------------------------ items

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._reports[nodeid] = []
        self._writer.write(*self._new_events(), {"kind": START, "id": nodeid, "time": utc_time()})

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        """Whoever shows the report has seen it: it is told as it was shown."""
        nodeid = report.nodeid
        if nodeid in self._crashed and self._leaving.asked:
            return
        self._reports.setdefault(nodeid, []).append(self._plain(report))
        if report.when == "teardown" or nodeid in self._crashed:
            self._end(nodeid)

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        """Those of items; what a collection warns of, the launch's own has said."""
        if when == "runtest":
            self._writer.write(warning_line(warning_message, when, nodeid, location))

    def pytest_runtest_logfinish(self) -> None:
        """Whoever gave ``-x`` wants no more of the launch once an item has failed, of any job."""
        if self._session is not None and self._stop.exists():
            self._session.shouldstop = "the launch wants no more items"
            self.was_stopped = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """The report of it is the only one that comes: what was told of it before came from a worker that is dead."""
        self._crashed.add(crashitem)
        self._reports.pop(crashitem, None)

    def _plain(self, report: Any) -> dict[str, Any]:
        content = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        content.pop("node", None)
        converted: dict[str, Any] = plain(content)
        return converted

    def _end(self, nodeid: str) -> None:
        reports = self._reports.pop(nodeid)
        self._crashed.discard(nodeid)
        self._reported.add(nodeid)
        self._writer.write(*self._new_events(), {"kind": ITEM, "id": nodeid, "reports": reports})

    def _new_events(self) -> list[dict[str, Any]]:
        """What was merged since; what an earlier start of this job has told is counted, and not told again."""
        controller: Any = self._config.pluginmanager.get_plugin("evalrun-controller")
        if controller is None or controller.live is None:
            return []
        controller.live.events.pull_all()
        found = []
        for raw in self._events.read():
            try:
                event = parse_json(raw)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("event") not in OF_THE_SESSION:
                found.append({"kind": EVENT, "event": event})
        known = min(self._told_events, len(found))
        self._told_events -= known
        return found[known:]

    def pytest_sessionfinish(self) -> None:
        if self.has_begun and (rest := self._new_events()):
            self._writer.write(*rest)

    # ------------------------------------------------------------------ workers of xdist

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        if (pid := pid_of(node)) is not None:
            self._nodes[node] = pid

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What had its outcome is over, although its worker did not live to tell of the teardown."""
        self._nodes.pop(node, None)
        controller: Any = self._config.pluginmanager.get_plugin("evalrun-controller")
        of_it = [nodeid for nodeid, told in self._reports.items() if told and told[-1]["worker_id"] == node.gateway.id]
        for nodeid in of_it:
            if controller is not None and controller.losses.has_ended(nodeid):
                self._end(nodeid)

    def _pids(self) -> Iterable[int]:
        return list(self._nodes.values())
