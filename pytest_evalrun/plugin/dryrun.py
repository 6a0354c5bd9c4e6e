"""What a run would do, shown instead of it: ``--collect-only``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.plugin.beforehand import gate_lines
from pytest_evalrun.plugin.lastline import expected_of
from pytest_evalrun.suite.printable import printable
from pytest_evalrun.suite.secrets import secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.plugin.machine import Machine
    from pytest_evalrun.plugin.suites import Suites
    from pytest_evalrun.suite.pairs import Pair


def show_dry_run(
    reporter: Any,
    suites: Suites,
    planned: Sequence[Pair],
    machine: Machine,
    preview: Callable[[], list[str]] | None,
) -> None:
    """Say what would be done with each collected pair, and why, and what its gates could see.

    With an engine it is what that would be sent (``preview``).
    """
    if planned:
        secrets = secrets_of(suites.found.values())
        lines = preview() if preview is not None else _lines(suites, planned, machine)
        lines += gate_lines(planned, suites.options)
        reporter.section("evalrun plan")
        for line in lines:
            reporter.write_line(printable(secrets.blank(line)))


def _lines(suites: Suites, planned: Sequence[Pair], machine: Machine) -> list[str]:
    """A line a pair, below it the command of a program."""
    from pytest_evalrun.evaluation.selection import verdicts
    from pytest_evalrun.planning.plan import RUNS, plan_lines
    from pytest_evalrun.programs.command_template import planned_command

    options = suites.options
    found = list(verdicts(planned, options.workdir, options.run))
    workers = len(suites.config.getoption("tx", None) or ()) if options.scheduler else 0
    works = any(verdict.action in RUNS for verdict in found)
    expected = expected_of(planned, options) if works else {}
    commands = {one.pair.full_id: told for one in found if (told := planned_command(one.pair)) is not None}
    return plan_lines(found, expected, machine.needs, workers, machine.pool(), commands)
