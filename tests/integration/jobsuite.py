"""Jobs of a suite, written by hand as a launch writes them, and started as a job's script starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING

from support import LINUX, Ran, kill_group

from pytest_evalrun.engines.script import job_command
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.jobfiles import JobFile, JobItem
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.reportlines import ReportReader
from pytest_evalrun.rundir.runs import begin_run
from pytest_evalrun.suite.digests import digest_of
from pytest_evalrun.suite.discovery import discover

if TYPE_CHECKING:
    from support import Project

    from pytest_evalrun.rundir.enginepaths import AttemptPaths


class Jobs:
    """The jobs of one run of a project; ``asked`` is where its models log what they are asked."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.run = RunPaths(project.workdir / "20260101_000000")
        self.asked = project.root / "asked.txt"
        self.run.root.mkdir(parents=True)
        begin_run(self.run)

    def ids(self, *more: str) -> list[str]:
        """All pairs of the suite, in its order."""
        pairs = discover(self.project.suite / "evalrun.yaml").pairs
        return [self.id(pair.id) for pair in pairs] + list(more)

    @staticmethod
    def id(pair: str) -> str:
        return f"evals/echo/evalrun.yaml::test_pair[{pair}]"

    def items(self, ids: list[str]) -> tuple[JobItem, ...]:
        pairs = {pair.id: pair for pair in discover(self.project.suite / "evalrun.yaml").pairs}
        named = [(nodeid, nodeid.partition("[")[2].removesuffix("]")) for nodeid in ids]
        return tuple(
            JobItem(nodeid, pairs[name].full_id, digest_of(pairs[name])) if name in pairs else JobItem(nodeid)
            for nodeid, name in named
        )

    def write(self, ids: list[str] | None = None, *, unit: str = "u001", attempt: int = 1, **changes) -> Job:
        """Write the file of an attempt; ``changes`` are other values of its fields."""
        paths = EnginePaths(self.run).attempt(unit, attempt)
        begin_run(paths.run)
        given = {
            "run": str(self.run.root),
            "unit": unit,
            "attempt": attempt,
            "rootdir": str(self.project.root),
            "inifile": str(self.project.root / "pytest.ini"),
            "items": self.items(self.ids() if ids is None else ids),
            "plugin": version("pytest-evalrun"),
            "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        } | changes
        JobFile(**given).write(paths.job)
        return Job(self, paths)

    def asked_for(self) -> Counter[str]:
        """How often each sample was asked for, by the model's own log."""
        return Counter(self.asked.read_text().split()) if self.asked.exists() else Counter()


class Job:
    """One attempt of a unit."""

    def __init__(self, jobs: Jobs, paths: AttemptPaths) -> None:
        self.jobs = jobs
        self.paths = paths

    @property
    def command(self) -> list[str]:
        return job_command(JobFile.read(self.paths.job), self.paths.job)

    def run(self, command: list[str] | None = None, **env: str) -> Ran:
        """Run it to its end, by its own command or by the one that it had."""
        project = self.jobs.project
        environ = os.environ | {"ASKED": str(self.jobs.asked)} | env
        if project.warm and project.warm.takes(environ):
            _, _, *words = command or self.command
            return Ran(*project.warm.run(words, project.root, environ))
        process = self.start(command, **env)
        try:
            output, _ = process.communicate(timeout=120)
        finally:
            kill_group(process)
        return Ran(process.returncode, output)

    def start(self, command: list[str] | None = None, **env: str) -> subprocess.Popen[str]:
        project = self.jobs.project
        environ = os.environ | {"ASKED": str(self.jobs.asked)} | env
        if project.warm and LINUX and project.warm.takes(environ):
            return project.warm.start((command or self.command)[2:], project.root, environ)
        return subprocess.Popen(
            command or self.command,
            cwd=project.root,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def lines(self) -> list[dict]:
        return ReportReader(self.paths.reports).read()

    def told(self, kind: str) -> list[dict]:
        return [line for line in self.lines if line["kind"] == kind]

    @property
    def ended(self) -> list[str]:
        """The items that are reported, as often as they are."""
        return [line["id"] for line in self.told("item")]

    def outcomes(self) -> dict[str, str]:
        """What pytest would call each item."""
        found = {}
        for line in self.told("item"):
            bad = next((report for report in line["reports"] if report["outcome"] != "passed"), None)
            found[line["id"]] = "passed" if bad is None else f"{bad['outcome']} at {bad['when']}"
        return found

    def result(self, task: str, dataset: str) -> dict:
        return json.loads((self.paths.root / "results" / "echo" / task / f"{dataset}.json").read_text())

    def predictions(self, task: str, dataset: str) -> list[dict]:
        text = (self.paths.root / "predictions" / "echo" / task / f"{dataset}.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]
