"""The commands of ``evalrun`` that act: stop, reset, clean; and what stands on the boards."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_evalrun.cli.common import (
    WORKDIR,
    DryRunOption,
    ExpressionOption,
    JsonOption,
    PathsArgument,
    RunArgument,
    WorkDirOption,
    YesOption,
    find,
    matcher,
)
from pytest_evalrun.cli.starting import is_live, stop_starting
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.screen import print_json, print_lines, print_table, warn
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.control.remote import BoardCleaning
    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.report.runs import FoundRun

LimitsOption = Annotated[bool, typer.Option("--limits", help="Only the results of --eval-limit, of all pairs")]
RemoteOption = Annotated[bool, typer.Option("--remote", help="On the boards of the run too, what nobody uses there")]


def stop(
    run: RunArgument = "latest",
    grace: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="How long it may take to end")] = 10.0,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Stop a run that works in the background, or is about to, or on a cluster; it can be carried on."""
    from pytest_evalrun.control.stop import stop_run

    if stop_starting(workdir, run, grace) and not is_live(workdir, run):
        return
    found = find(workdir, run)
    stop_run(found.workdir, found.paths, grace, lambda line: print_lines([line]))


def reset(
    run: RunArgument = "latest",
    expression: ExpressionOption = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed")] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Forget that pairs are done: predictions and results become .old; logs and outputs stay."""
    from pytest_evalrun.control import reset as control
    from pytest_evalrun.control.ask import agreed

    with _held(workdir, run, expression, dry_run=dry_run) as held:
        plans = control.plan_reset(held.found, held.pairs(failed=failed))
        lines, what = [plan.line() for plan in plans], f"reset {counted(len(plans), 'pair')} of {held.found.name}"
        if agreed(lines, what, yes=yes, dry_run=dry_run):
            control.reset(held.found, plans)
            print_lines(control.task_lines(held.found.paths))


def clean(
    run: RunArgument = "latest",
    expression: ExpressionOption = "",
    limits: LimitsOption = False,
    remote: RemoteOption = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Remove all files of a run, of some of its pairs, or of --eval-limit: those that it made, and nothing else."""
    from pytest_evalrun.control import clean as control
    from pytest_evalrun.control.ask import agreed
    from pytest_evalrun.control.selection import selected

    if remote:
        from pytest_evalrun.control.remote import plan_boards

    with _held(workdir, run, expression, dry_run=dry_run) as held:
        pairs = held.pairs(limits=limits) if held.matches or limits else None
        plan = control.plan_clean(held.found, pairs)
        known = selected(held.found.paths, None) if remote and pairs is not None else ()
        boards = plan_boards(held.found, pairs, known) if remote else []
        lines = [line for board in boards for line in board.lines()] + list(plan.lines(held.found))
        trouble = _told(boards)
        there = sum(len(board.goes) for board in boards)
        total = f"{plan.total}, and {counted(there, 'place')} on boards," if there else plan.total
        if agreed(lines, f"remove {total} of {held.found.name}", yes=yes, dry_run=dry_run):
            # Before the manifest, which says what lies there: a clean that was killed can be started again.
            trouble += _clean_boards(boards)
            control.clean(held.found, plan)
            hint = "; the tables lose them with the next launch, or `evalrun report`" if limits else ""
            print_lines([f"removed {plan.total}{hint}"])
    if trouble:
        raise typer.Exit(1)


def devices(
    paths: PathsArgument = None,
    as_json: JsonOption = False,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Show the boards of suites: how each stands, who has it, what lies there; exit code 1 where one has no answer."""
    from pytest_evalrun.control import devices as control
    from pytest_evalrun.report.listing import suites_at

    rows = control.board_rows(control.boards_of(suites_at(paths, workdir)))
    if as_json:
        print_json([row.to_json() for row in rows])
    else:
        print_table(control.HEADER, (row.cells() for row in rows))
    if not all(row.reachable for row in rows):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Held:
    """A run that nobody else has meanwhile, and which of its pairs are meant; all, where nothing is asked for."""

    found: FoundRun
    expression: str
    matches: Callable[[str], bool] | None

    def pairs(self, *, failed: bool = False, limits: bool = False) -> list[KnownPair]:
        """Raises ConfigError where the user named some, and there are none."""
        from pytest_evalrun.control.selection import selected

        pairs = selected(self.found.paths, self.matches, failed=failed, limits=limits)
        if not pairs and self.expression:
            raise ConfigError(f"-k {self.expression}: no such pair in this run; `evalrun list` names them")
        return pairs


@contextmanager
def _held(workdir: Path, run: str, expression: str, *, dry_run: bool) -> Iterator[_Held]:
    from pytest_evalrun.control.hold import holding

    found, matches = find(workdir, run), matcher(expression)
    with holding(found.paths, dry_run=dry_run):
        yield _Held(found, expression, matches)


def _told(boards: Sequence[BoardCleaning]) -> int:
    """How many boards there is trouble with."""
    complaints = [board.complaint() for board in boards if board.trouble]
    warn(complaints)
    return len(complaints)


def _clean_boards(boards: Sequence[BoardCleaning]) -> int:
    from pytest_evalrun.control.remote import clean_boards

    done = clean_boards([board for board in boards if board.goes and not board.trouble])
    for board in done:
        if not board.trouble:
            print_lines([f"board {board.name}: removed {len(board.goes)}"])
    return _told(done)
