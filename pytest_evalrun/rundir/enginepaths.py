"""Every path of the jobs of a run: ``engine/`` in the run directory, a directory a unit, one below it an attempt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.layout import RunPaths, WorkDir
from pytest_evalrun.rundir.runs import ENGINE

if TYPE_CHECKING:
    from pathlib import Path


# What an attempt is called where a worker stands otherwise: in events and reports.
_NAMED = re.compile(r"(u\d+)\.(\d+)")


def launched_run(paths: RunPaths) -> RunPaths:
    """The run of the launch that submitted an attempt; of what is no attempt itself."""
    parents = paths.root.parents
    if len(parents) > 2 and (run := RunPaths(parents[2])).root / ENGINE == parents[1] and run.run_json.is_file():
        return run
    return paths


@dataclass(frozen=True)
class EnginePaths:
    """The directory of all jobs of a run."""

    run: RunPaths

    @property
    def root(self) -> Path:
        return self.run.root / ENGINE

    @property
    def jobs_json(self) -> Path:
        return self.root / "jobs.json"

    @property
    def suites(self) -> Path:
        """What the launch has found of its suites, for its jobs."""
        return self.root / "suites"

    def attempt_named(self, worker: str) -> AttemptPaths | None:
        """The attempt that events and reports name as a worker; None where it is one of this launch's own."""
        found = _NAMED.fullmatch(worker)
        return self.attempt(found[1], int(found[2])) if found else None

    def attempts(self) -> list[AttemptPaths]:
        """All that there are, those of a unit in their order."""
        found = [path for path in self.root.glob("*/*") if path.name.isdigit() and path.is_dir()]
        return [AttemptPaths(path) for path in sorted(found, key=lambda path: (path.parent.name, int(path.name)))]

    def attempt(self, unit: str, number: int) -> AttemptPaths:
        return AttemptPaths(self.root / unit / str(number))


@dataclass(frozen=True)
class AttemptPaths:
    """One attempt of a unit: a run directory of its own, and what lies beside that of one."""

    root: Path

    @property
    def run(self) -> RunPaths:
        return RunPaths(self.root)

    @property
    def suites(self) -> Path:
        """Where the launch has put what it found of its suites: one directory for all jobs of the run."""
        return self.root.parent.parent / "suites"

    @property
    def workdir(self) -> WorkDir:
        """The work directory of the job's session: that of the unit, in which the attempt is a run."""
        return WorkDir(self.root.parent)

    @property
    def job(self) -> Path:
        return self.root / "job.json"

    @property
    def script(self) -> Path:
        return self.root / "job.sh"

    @property
    def log(self) -> Path:
        """All that the job says: pytest's own output, and what comes before it."""
        return self.root / "job.log"

    @property
    def reports(self) -> Path:
        return self.root / "reports.jsonl"

    @property
    def notes(self) -> Path:
        """The launch notes there how far each pair has been published."""
        return self.root / "published"

    @property
    def tidied(self) -> Path:
        """It exists once all that is to be published was, and the rest is gone."""
        return self.root / "published.all"

    @property
    def stop(self) -> Path:
        """It is made where the job is to end after the item at hand."""
        return self.root / "stop"
