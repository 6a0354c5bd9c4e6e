"""The commands of ``evalrun`` have in common: their words, the run that they are about, and ``-k``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_evalrun.cli.project import DEFAULT, workdir_of
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.screen import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.report.runs import FoundRun


def _as_pytest(context: typer.Context, workdir: Path) -> Path:
    """Find the work directory of a pytest over the same words. What is no path of them is passed over there."""
    source = context.get_parameter_source("workdir")
    if source is not None and source.name != "DEFAULT":
        return workdir
    words = (context.params.get(name) for name in PLACES)
    places = [word for found in words for word in (found if isinstance(found, list) else [found])]
    return workdir_of([str(place) for place in places if place is not None])


# The parameters that may hold paths of suites, or ids to paste.
PLACES = ("places", "paths", "suite", "pair")
WORKDIR = Path(DEFAULT)
PairArgument = Annotated[str, typer.Argument(metavar="PAIR", help="task/dataset, suite/task/dataset, or a pytest id")]
WorkDirOption = Annotated[
    Path,
    typer.Option(
        "--workdir",
        readable=False,
        callback=_as_pytest,
        show_default="eval_workdir of the project",
        help="Directory above the runs",
    ),
]
# Where a run was named before it stood behind the command's other words: scripts go on.
OldRunOption = Annotated[str, typer.Option("--run", hidden=True)]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="latest, a run's name, or its directory")]
ExpressionOption = Annotated[str, typer.Option("-k", metavar="EXPR", help="Only the pairs whose ids match, as pytest")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only list what would go")]
PathsArgument = Annotated[list[Path] | None, typer.Argument(metavar="[PATH...]", help="Where suites are; here")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON list")]


def find(workdir: Path, run: str) -> FoundRun:
    """The run that is meant; where it had to be guessed, that is said."""
    from pytest_evalrun.report.runs import find_run

    found = find_run(run, workdir)
    warn([found.remark] if found.remark else [])
    return found


def find_asked(workdir: Path, run: str, old_run: str) -> FoundRun:
    """The run of a command that took it by ``--run`` before."""
    if old_run and run not in ("latest", old_run):
        raise ConfigError(f"{run} and --run {old_run}: name one run")
    return find(workdir, old_run or run)


def places_of(pair: str, paths: Sequence[Path] | None = None) -> Sequence[Path] | None:
    """Where to look for the suite of a pair: a pasted pytest id says it itself."""
    file = Path(pair.partition("::")[0])
    return [file] if paths is None and "::" in pair and os.path.isfile(file) else paths  # noqa: PTH113


def matcher(expression: str) -> Callable[[str], bool] | None:
    """pytest's own -k over the full id of a pair; None where nothing was asked for."""
    if not expression.strip():
        return None
    from pytest_evalrun.cli.internals import compile_keywords

    try:
        evaluate = compile_keywords(expression)
    except SyntaxError as error:
        raise ConfigError(f"-k {expression}: {error.msg} (at column {error.offset})") from None

    def matches(full_id: str) -> bool:
        def has(name: str, /, **parameters: object) -> bool:
            if parameters:
                raise ConfigError(f"-k {expression}: {name}(…): names in -k have no parameters")
            return name.lower() in full_id.lower()

        return evaluate(has)

    return matches
