"""What a run would do, shown instead of it: ``--collect-only``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.plugin.lastline import expected_of
from pytest_evalrun.suite.printable import printable
from pytest_evalrun.suite.secrets import secrets_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.plugin.machine import Machine
    from pytest_evalrun.plugin.suites import Suites
    from pytest_evalrun.suite.pairs import Pair


def show_dry_run(reporter: Any, suites: Suites, planned: Sequence[Pair], machine: Machine) -> None:
    """Say of every collected pair whether it would run, be reused or skipped, and why; of a program its command."""
    from pytest_evalrun.evaluation.selection import verdicts
    from pytest_evalrun.planning.plan import RUNS, plan_lines
    from pytest_evalrun.programs.command_template import planned_command

    if not planned:
        return
    options = suites.options
    found = list(verdicts(planned, options.workdir, options.run))
    workers = len(suites.config.getoption("tx", None) or ()) if options.scheduler else 0
    works = any(verdict.action in RUNS for verdict in found)
    expected = expected_of(planned, options) if works else {}
    commands = {one.pair.full_id: told for one in found if (told := planned_command(one.pair)) is not None}
    secrets = secrets_of(suites.found.values())
    reporter.section("evalrun plan")
    for line in plan_lines(found, expected, machine.needs, workers, machine.pool(), commands):
        reporter.write_line(printable(secrets.blank(line)))
