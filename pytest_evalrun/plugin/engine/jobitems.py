"""Where a job collects and runs: the items of its file and no others, synced before anybody hears of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.plugin.signals import OF_A_JOB, Sigterm, leaving_key
from pytest_evalrun.rundir.enginepaths import AttemptPaths
from pytest_evalrun.rundir.reportlines import ITEM, ReportReader

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pytest_evalrun.plugin.suites import Suites
    from pytest_evalrun.rundir.jobfiles import JobFile

# What the processes of a job agree on: which items an earlier start of it has reported.
REPORTED = "reported.json"


class JobItems:
    """Registered in each process of a job that collects: in its only one, or in the workers of xdist."""

    def __init__(self, config: pytest.Config, suites: Suites, job: JobFile) -> None:
        self._config = config
        self._suites = suites
        self._job = job
        self._leaving = config.stash[leaving_key]
        self._early: Sigterm | None = None
        if hasattr(config, "workerinput"):  # before its first item, and before it has found a suite
            self._early = Sigterm(numbers=OF_A_JOB, leaving=self._leaving)
            self._early.take()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the items of the file, in its order, but those that are reported already."""
        wanted = remaining(self._suites, self._job)
        found = {item.nodeid: item for item in reversed(items)}
        kept = [found[nodeid] for nodeid in wanted if nodeid in found]
        kept_ids = set(map(id, kept))
        if others := [item for item in items if id(item) not in kept_ids]:
            self._config.hook.pytest_deselected(items=others)
        items[:] = kept

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
        """With the report of the teardown the launch takes the files of the item: they are on the disk by then."""
        if call.when == "teardown":
            worker: Any = self._config.pluginmanager.get_plugin("evalrun-worker")
            if worker is not None:
                worker.sync()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """A worker that leaves is not taken for one that crashed: it says that it wants no more items."""
        try:
            return (yield)
        except KeyboardInterrupt:
            if not (self._leaving.asked and hasattr(self._config, "workerinput")):
                raise
            session.shouldstop = "the job was asked to leave"
            return True

    def pytest_unconfigure(self) -> None:
        if self._early is not None:
            self._early.give_back()


def remaining(suites: Suites, job: JobFile) -> list[str]:
    """The ids that are still to be run, decided once: a replacement for a crashed worker must see the same items."""
    assert suites.options.cluster.job is not None, "who asks is a job"
    file = suites.options.cluster.job
    reported = set(json.loads(suites.launch.once(REPORTED, lambda: json.dumps(reported_in(file)))))
    return [item.id for item in job.items if item.id not in reported]


def reported_in(file: Path) -> list[str]:
    """The ids that are reported in the directory of this job file: the same job may have been started before."""
    lines = ReportReader(AttemptPaths(file.parent).reports).read()
    return sorted({str(line.get("id")) for line in lines if line.get("kind") == ITEM})
