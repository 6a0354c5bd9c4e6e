"""The commands ``evalrun export``: a run in other people's formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_evalrun.cli.common import WORKDIR, ExpressionOption, RunArgument, WorkDirOption, find, matcher
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.screen import print_lines, warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_evalrun.report.export.chosen import ChosenPair
    from pytest_evalrun.rundir.layout import RunPaths

export = typer.Typer(no_args_is_help=True, help="Write a run in the format of another tool.")
DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go; made where it is missing")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that no export has written, too")]
LimitsOption = Annotated[bool, typer.Option("--limits", help="Evaluations of first samples, too")]


@export.command()
def inspect(
    directory: DirectoryArgument,
    run: RunArgument = "latest",
    expression: ExpressionOption = "",
    limits: LimitsOption = False,
    images: Annotated[
        bool, typer.Option("--images", help="Put pictures into the files, in the place of their names")
    ] = False,
    force: ForceOption = False,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Write a .eval file for each pair, as Inspect has them: to be read by inspect_ai, or by `inspect view`."""
    from pytest_evalrun.cli.sources import sources_in
    from pytest_evalrun.report.export.evalfile import KIND, export_inspect
    from pytest_evalrun.report.export.target import ExportTarget

    paths = find(workdir, run).paths
    pairs = _chosen(paths, expression, limits=limits)
    target = ExportTarget(directory, KIND, force=force)
    _print_files(export_inspect(pairs, paths.root.name, target, sources_in(paths, images=images)))


@export.command()
def opencompass(
    directory: DirectoryArgument,
    run: RunArgument = "latest",
    expression: ExpressionOption = "",
    limits: LimitsOption = False,
    force: ForceOption = False,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Write predictions, results and summary as OpenCompass lays out its work directories; shares in per cent."""
    from pytest_evalrun.cli.sources import sources_in
    from pytest_evalrun.report.export.opencompass import KIND, export_opencompass
    from pytest_evalrun.report.export.target import ExportTarget

    paths = find(workdir, run).paths
    pairs = _chosen(paths, expression, limits=limits)
    target = ExportTarget(directory, KIND, force=force)
    _print_files(export_opencompass(pairs, paths.root.name, target, sources_in(paths)))


@export.command()
def benchmark(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The JSON file to write")],
    run: RunArgument = "latest",
    expression: ExpressionOption = "",
    limits: LimitsOption = False,
    force: ForceOption = False,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Write what samples took as pytest-benchmark saves it: to be read by `pytest-benchmark compare`."""
    from pytest_evalrun.report.export.benchmark import export_benchmark

    paths = find(workdir, run).paths
    warn(export_benchmark(_chosen(paths, expression, limits=limits), paths, file, force=force))
    print_lines([str(file)])


def _print_files(exported: Iterable[tuple[Path, Sequence[str]]]) -> None:
    """Each file as it is written, and what is to be said of it."""
    for path, remarks in exported:
        print_lines([str(path)])
        warn(f"{path}: {remark}" for remark in remarks)


def _chosen(paths: RunPaths, expression: str, *, limits: bool) -> tuple[ChosenPair, ...]:
    """The pairs that are exported; of those that are not, it is said. Raises ConfigError where there is none."""
    from pytest_evalrun.report.export.chosen import choose

    found = choose(paths, matcher(expression), limits=limits)
    warn(found.remarks)
    if not found.pairs:
        asked = f" that match -k {expression}" if expression else ""
        raise ConfigError(f"run {paths.root.name}: it has no results{asked} to export; evaluate first, or name another")
    return found.pairs
