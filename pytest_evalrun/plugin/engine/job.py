"""A job's session: an ordinary one that runs what its file names, tells its launch of it, and knows when to leave.

It is refused before anything is run where it would run something else than what the launch has submitted.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import nullcontext, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.engines.exits import CANNOT_BEGIN, GO_ON_LATER
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.plugin.engine.jobitems import JobItems
from pytest_evalrun.plugin.engine.jobreports import JobReports
from pytest_evalrun.plugin.fixtures import distributes
from pytest_evalrun.plugin.options import usage_errors
from pytest_evalrun.plugin.signals import OF_A_JOB, Sigterm, leaving_key
from pytest_evalrun.predicting.leaving import Leaving
from pytest_evalrun.rundir.enginepaths import AttemptPaths, EnginePaths
from pytest_evalrun.rundir.jobfiles import JobFile
from pytest_evalrun.rundir.jobs import is_current
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.lines import utc_time
from pytest_evalrun.rundir.reportlines import ENDED, REFUSED, ReportWriter
from pytest_evalrun.suite.printable import printable

if TYPE_CHECKING:
    from collections.abc import Generator, MutableMapping

    from pytest_evalrun.plugin.suites import Suites

# Exit codes of pytest after which all is told that there is to tell.
ORDINARY = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
REPORTS = "evalrun-job-reports"


def job_file(config: pytest.Config) -> Path:
    return config.invocation_params.dir / str(config.getoption("eval_job"))


def run_job(config: pytest.Config) -> Generator[None, Any, Any]:
    """All of a job, around pytest's own part; what that ends with is told in the words of a job."""
    attempt = AttemptPaths(job_file(config).parent)
    leaving = config.stash[leaving_key] = Leaving(patient=True)
    early = Sigterm(numbers=OF_A_JOB, leaving=leaving)
    early.take()
    try:
        code = int((yield) or 0)
        if not config.pluginmanager.has_plugin(REPORTS):
            return code
        code = _code(config, code)
    except (ConfigError, pytest.UsageError) as error:
        code = _refuse(config, attempt, str(error))
    except KeyboardInterrupt:
        code = GO_ON_LATER
    finally:
        early.give_back()
    _write(attempt, {"kind": ENDED, "code": code, "time": utc_time()})
    return code


def _code(config: pytest.Config, code: int) -> int:
    reports: Any = config.pluginmanager.get_plugin(REPORTS)
    if (config.stash[leaving_key].asked or reports.was_stopped) and not reports.is_complete:
        return GO_ON_LATER
    if not reports.has_begun and code not in ORDINARY:
        raise ConfigError(reports.trouble or f"pytest ended with exit code {code} before the first item")
    return code


def join_job(config: pytest.Config, suites: Suites) -> None:
    """In every process of a job, before it collects anything: those that do so keep the items of its file.

    The process that the job's script has started looks first whether it may. Raises UsageError where it may not.
    """
    with usage_errors():
        job = JobFile.read(job_file(config))
        if hasattr(config, "workerinput"):
            config.stash[leaving_key] = Leaving(patient=True)
        else:
            _begin(config, job)
    if not distributes(config):
        config.pluginmanager.register(JobItems(config, suites, job), "evalrun-job-items")


def _begin(config: pytest.Config, job: JobFile) -> None:
    if not is_current(EnginePaths(RunPaths(Path(job.run))).jobs_json, job.unit, job.attempt):
        pytest.exit(f"the launch waits for another attempt of {job.unit}, not for this one", GO_ON_LATER)
    check_versions(job)
    settle_environment(os.environ, job)
    attempt = AttemptPaths(job_file(config).parent)
    config.pluginmanager.register(JobReports(config, job, attempt, config.stash[leaving_key]), REPORTS)


def _refuse(config: pytest.Config, attempt: AttemptPaths, text: str) -> int:
    told = printable(f"{socket.gethostname()}: {text}")
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        print(f"evalrun: the job is refused: {told}", file=sys.stderr)  # noqa: T201 - it is read in the job's log
    _write(attempt, {"kind": REFUSED, "text": told})
    return CANNOT_BEGIN


def _write(attempt: AttemptPaths, line: dict[str, Any]) -> None:
    """Where the disk takes nothing, the exit code and the log must do."""
    with suppress(OSError):
        ReportWriter(attempt.reports).write(line)


def check_versions(job: JobFile) -> None:
    """Raise ConfigError where this host would run other code than the launch has."""
    here = {"pytest-evalrun": version("pytest-evalrun"), "Python": f"{sys.version_info[0]}.{sys.version_info[1]}"}
    there = {"pytest-evalrun": job.plugin, "Python": job.python}
    for name, wanted in there.items():
        if here[name] != wanted:
            raise ConfigError(
                f"{name} {here[name]} in {sys.prefix}, and {wanted} where the job was submitted; "
                "install the same one on both"
            )


def settle_environment(environ: MutableMapping[str, str], job: JobFile) -> None:
    """Variables that are settings are those of the launch, whatever a cluster has handed on."""
    from pytest_evalrun.suite.words import may_be_setting

    if any(map(may_be_setting, environ)):
        from pytest_evalrun.suite.runconfig import variables_in

        for name in [*variables_in(environ)]:
            del environ[name]
    environ.update(job.environment)
