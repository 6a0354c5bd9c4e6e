"""``evalrun view``: what a run says, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pytest_evalrun.cli.common import WORKDIR, RunArgument, WorkDirOption, find
from pytest_evalrun.cli.starting import awaited_run
from pytest_evalrun.report.screen import print_lines

if TYPE_CHECKING:
    from pathlib import Path


def view(
    run: RunArgument = "latest",
    port: Annotated[int, typer.Option("--port", metavar="N", help="Where it listens; 0 is any that is free")] = 0,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Show a run in a browser, live: the page of its report, all samples, logs. For this machine; read only."""
    from pytest_evalrun.monitor.web.command import check_aiohttp

    check_aiohttp()
    try:
        root = awaited_run(workdir, run) or find(workdir, run).paths.root
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    _serve(root, port)


def _serve(root: Path, port: int) -> None:
    from pytest_evalrun.evaluation.origins import origins_in
    from pytest_evalrun.monitor.web.command import view as show
    from pytest_evalrun.monitor.web.pages import ServedPage
    from pytest_evalrun.rundir.layout import RunPaths

    paths = RunPaths(root)
    show(paths, port, ServedPage(paths, lambda suites: origins_in(paths, suites)), lambda line: print_lines([line]))
