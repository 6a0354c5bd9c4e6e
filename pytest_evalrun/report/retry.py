"""The pairs that failed in a run, and the command that runs them again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.report.commands import retry_command
from pytest_evalrun.report.known import known_pairs
from pytest_evalrun.report.listing import suites_of
from pytest_evalrun.report.runs import called
from pytest_evalrun.rundir.runs import read_run_json
from pytest_evalrun.rundir.sessions import read_session
from pytest_evalrun.rundir.tasklist import read_task_list
from pytest_evalrun.suite.problems import shown

if TYPE_CHECKING:
    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.report.runs import FoundRun


@dataclass(frozen=True)
class Retry:
    """The pairs that failed, and the pytest command for them."""

    failed: tuple[KnownPair, ...]
    command: str


def retry_of(found: FoundRun) -> Retry:
    """Make the command from the last launch of the run, for its options are a part of what is evaluated."""
    failed = tuple(pair for pair in known_pairs(found.paths).pairs if pair.failed)
    info = read_session(found.paths)
    run = called(found.workdir, found.paths)
    if info is None or not _is_pytest(info.argv):
        return Retry(failed, retry_command(("pytest", *(shown(str(path)) for path in suites_of(found.paths))), run))
    files = read_run_json(found.paths).get("suites", {})
    due = dict.fromkeys(pair.suite for pair in failed if pair.suite in files)
    last = {place[0].partition("/")[0] for place in read_task_list(found.paths.task_list) or {}}
    # Where one must be named, all are: a launch without a path would look at that one alone.
    more = due if due.keys() - last else {}
    named = (shown(str((found.paths.root / files[suite]).resolve())) for suite in more)
    return Retry(failed, retry_command(info.argv, run, named))


def _is_pytest(argv: tuple[str, ...]) -> bool:
    """pytest.main() in somebody's program leaves that program's own arguments."""
    return bool(argv) and (Path(argv[0]).name in {"pytest", "py.test"} or argv[0].endswith("pytest/__main__.py"))
