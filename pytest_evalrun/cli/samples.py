"""The commands of ``evalrun`` that look behind a number: a pair with its samples, and two runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pytest_evalrun.cli.baseline import DirOption, saved_at
from pytest_evalrun.cli.common import (
    WORKDIR,
    OldRunOption,
    PairArgument,
    RunArgument,
    WorkDirOption,
    find,
    find_asked,
    places_of,
)
from pytest_evalrun.cli.project import baselines_of
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.screen import print_json, print_lines, print_table, warn

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_evalrun.report.diffsides import DiffSide
    from pytest_evalrun.report.rows import SummaryRow
    from pytest_evalrun.report.samples import ScoredSample
    from pytest_evalrun.rundir.layout import RunPaths

SideArgument = Annotated[
    str, typer.Argument(metavar="RUN|BASELINE", help="latest, a run's name, a saved baseline's, or a directory of one")
]


def show(
    pair: PairArgument,
    run: RunArgument = "latest",
    worst: Annotated[int | None, typer.Option(metavar="N", min=1, help="The N samples with the worst scores")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="The samples that were answered wrongly")] = False,
    metric: Annotated[str | None, typer.Option(help="By which metric; default: the first that fits")] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="ID", help="What is sent of a sample, by the suite as it is now")
    ] = None,
    old_run: OldRunOption = "",
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Show what a run says of a pair, and the samples behind it."""
    from pytest_evalrun.report import results, samples
    from pytest_evalrun.report.inputs import inputs_in
    from pytest_evalrun.report.lookup import find_pair
    from pytest_evalrun.report.rows import read_summary

    if (worst is not None) + wrong + (prompt is not None) > 1:
        raise ConfigError("--worst, --wrong and --prompt: give one of them")
    if prompt is not None:
        from pytest_evalrun.cli.sent import sent_lines

        print_lines(sent_lines(pair, prompt, places_of(pair), workdir))
        return
    paths = find_asked(workdir, run, old_run).paths
    row = find_pair(pair, read_summary(paths, lambda *_: False).rows)
    if worst is None and not wrong:
        print_lines(results.result_lines(row))
        for table in results.tables(row):
            print_table(*table)
        return
    inputs, written = inputs_in(paths)(row.suite, row.task, row.dataset), _written(paths, row)
    if worst is not None:
        found: Iterable[ScoredSample] = samples.worst(paths, row.key, metric, worst, written, inputs)
    else:
        found = samples.wrong(paths, row.key, metric, written, inputs)
    listed = list(results.sample_rows(found))
    if listed:
        print_table(results.sample_header(inputs.columns), listed)
    else:
        print_lines([f"{row.full_id}: nothing wrong of {row.samples.get('predicted', 0)}"])
    warn(f"the inputs are not shown: {problem}" for problem in inputs.problems)


def diff(
    before: SideArgument,
    after: SideArgument,
    most: Annotated[int, typer.Option("--samples", metavar="N", min=0, help="So many ids of flipped samples")] = 10,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 1 where the two differ, as git diff does")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object")] = False,
    directory: DirOption = None,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Compare two runs, or a run and a baseline: pairs, metrics with intervals, and samples that came out otherwise."""
    from pytest_evalrun.report.diff import diff_sides

    found = diff_sides(_side(before, workdir, directory), _side(after, workdir, directory), most)
    if as_json:
        print_json(found.to_json())
    else:
        print_lines(found.lines(before, after))
    warn(f"damaged, the rest is compared: {name}" for name in found.damaged)
    if exit_code and not found.same:
        raise typer.Exit(1)


def _side(word: str, workdir: Path, directory: Path | None) -> DiffSide:
    """A baseline of this name, as gates find it; else a run."""
    from pytest_evalrun.comparison.baselinefile import is_baseline_name
    from pytest_evalrun.report.diffsides import baseline_in_diff, run_in_diff
    from pytest_evalrun.report.runs import is_run

    saved = saved_at(word, directory)
    if saved is None:
        try:
            return run_in_diff(find(workdir, word).paths)
        except ConfigError as error:
            if not is_baseline_name(word):
                raise
            raise ConfigError(f"{error}; and no baseline {word} in {directory or baselines_of()}") from error
    if "/" not in word and is_run(word, workdir):
        warn([f"{word}: the baseline is compared; the run of that name by its directory: {workdir}/{word}"])
    return baseline_in_diff(saved)


def _written(paths: RunPaths, row: SummaryRow) -> Path | None:
    """The directory into which the model of a pair wrote, if its suite is still there to say so."""
    from pytest_evalrun.evaluation.origins import origins_in

    origin = origins_in(paths)(row)
    return None if origin is None else origin.written
