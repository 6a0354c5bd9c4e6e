"""``evalrun gate``: whether a candidate may take the place of a base, for scripts by its exit code alone."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - typer reads annotations
from traceback import print_exc
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from pytest_evalrun.cli.common import WORKDIR, ExpressionOption, WorkDirOption, matcher
from pytest_evalrun.errors import ConfigError, EvalrunError
from pytest_evalrun.report.screen import print_json, print_lines, print_table, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.comparison.decision import Decision

BROKE = 3
INTERRUPTED = 130
NOTHING_DECIDED = "BROKE"


class GateCommand(TyperCommand):
    """Whatever goes wrong ends with 3: to a script 1 is a NO-GO, and 2 is INCONCLUSIVE."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As of any command, but for the exit code of wrong words."""
        with _broke():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """As of any command, but for the exit code of what goes wrong."""
        with _broke():
            return super().invoke(ctx)


@contextmanager
def _broke() -> Iterator[None]:
    try:
        yield
        return
    except (typer.Exit, SystemExit):
        raise
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except EvalrunError as error:
        warn([f"{NOTHING_DECIDED}: {error}"])
    except OSError as error:
        warn([f"{NOTHING_DECIDED}: {error.filename or 'the system'}: {error.strerror}"])
    except Exception as error:
        if hasattr(error, "exit_code"):  # words that the command does not have: its own error shows how it is used
            error.exit_code = BROKE
            raise
        print_exc()  # it is ours, and Python would end with 1
    raise typer.Exit(BROKE)


def gate(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A saved baseline, a run's name, or a directory of one")],
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="latest, or what BASE may be")],
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="Gates to judge, in YAML; default: those of the suites"),
    ] = None,
    expression: ExpressionOption = "",
    page: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write a page, no longer than a comment may be")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object")] = False,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Decide on a candidate: exit code 0 is GO, 1 NO-GO, 2 INCONCLUSIVE, 3 that nothing could be decided."""
    decision = _decision(base, candidate, policy, expression, workdir)
    if page is not None:
        _write(page, decision)
    try:
        _print(decision, as_json=as_json)
    except BrokenPipeError:  # who read the verdict and went has read it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(decision.code)


def _decision(base: str, candidate: str, policy: Path | None, expression: str, workdir: Path) -> Decision:
    """What cannot be begun is a decision too: a page of an earlier one must not stay where this one was to be."""
    from pytest_evalrun.cli.gating import decided
    from pytest_evalrun.comparison.decision import broken

    try:
        return decided(base, candidate, policy, matcher(expression), workdir)
    except EvalrunError as error:
        return broken(base, candidate, str(error))
    except OSError as error:
        return broken(base, candidate, f"{error.filename or 'the system'}: {error.strerror}")


def _print(decision: Decision, *, as_json: bool) -> None:
    from pytest_evalrun.report.gatedecision import SHORT_HEADER, alarm_lines, decision_table

    if as_json:
        print_json(decision.to_json() | {"alarms": alarm_lines(decision.gates)})
        return
    print_lines([decision.line])
    rows, left = decision_table(decision)
    if rows:
        print_lines([""])
        print_table(SHORT_HEADER, rows)
    print_lines([f"… {left} more: --markdown FILE, --json"] if left else [])
    alarms = alarm_lines(decision.gates)
    print_lines(["", *alarms] if alarms else [])
    warn(decision.remarks)


def _write(page: Path, decision: Decision) -> None:
    """Raises ConfigError for what is no file: it would be replaced by one."""
    from pytest_evalrun.report.gatedecision import decision_markdown
    from pytest_evalrun.rundir.durable import write_atomic

    if page.exists() and not page.is_file():
        raise ConfigError(
            f"--markdown {page}: it is no plain file; accepted: the name of one, which is made or replaced"
        )
    write_atomic(page, decision_markdown(decision))
