"""The ``evalrun`` command: what there is, what a run says, whether it still holds, and how to live with it."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_evalrun.cli import agents
from pytest_evalrun.cli.baseline import baseline
from pytest_evalrun.cli.common import (
    WORKDIR,
    ExpressionOption,
    JsonOption,
    OldRunOption,
    PairArgument,
    RunArgument,
    WorkDirOption,
    find,
    find_asked,
    matcher,
    places_of,
)
from pytest_evalrun.cli.control import clean, devices, reset, stop
from pytest_evalrun.cli.export import export
from pytest_evalrun.cli.gate import GateCommand, gate
from pytest_evalrun.cli.samples import diff, show
from pytest_evalrun.cli.schema import schema
from pytest_evalrun.cli.starting import awaited_run
from pytest_evalrun.cli.view import view
from pytest_evalrun.errors import ConfigError, EvalrunError
from pytest_evalrun.report.screen import print_json, print_lines, print_table, warn
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.report.listing import ListedPair
    from pytest_evalrun.report.rows import Summary
    from pytest_evalrun.report.runs import FoundRun
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import Suite

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command; a user's mistake is one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is still a name
    try:
        app()
    except EvalrunError as error:
        warn([f"Error: {error}"])
        sys.exit(2)
    except OSError as error:
        warn([f"Error: {error.filename or 'the system'}: {error.strerror}"])
        sys.exit(2)


@app.callback()
def _describe() -> None:
    """Look at suites and runs of pytest-evalrun, and stop, reset or clean a run. To evaluate, run pytest."""


@app.command()
def explain(
    pair: PairArgument,
    suite: Annotated[list[Path] | None, typer.Option(help="Where to look for suites; default: here")] = None,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Show every setting of a pair, its value, and the layer it came from."""
    from pytest_evalrun.report.listing import suites_at
    from pytest_evalrun.report.lookup import find_pair
    from pytest_evalrun.suite.explain import explain as explain_pair

    pairs = (one for found in suites_at(places_of(pair, suite), workdir) for one in found.pairs)
    found = find_pair(pair, pairs)
    rows = ((row.setting, one_line(row.value), row.layer, row.source) for row in explain_pair(found))
    print_table(("setting", "value", "layer", "source"), rows)


@app.command("list")
def list_pairs(
    places: Annotated[list[str] | None, typer.Argument(metavar="[RUN | PATH...]", help="default: here, latest")] = None,
    as_json: JsonOption = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed")] = False,
    expression: ExpressionOption = "",
    ids: Annotated[bool, typer.Option("--ids", help="Node ids to paste, instead of a tree")] = False,
    why: Annotated[bool, typer.Option(help="Say what would run again, and why; looks at data for it")] = True,
    jobs: Annotated[
        bool, typer.Option("--jobs", help="The jobs of the run on a cluster, instead of its pairs")
    ] = False,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """List every pair that pytest would find, and how it stands in a run; then jobs that are not over."""
    from pytest_evalrun.report import listing

    if jobs:
        _print_jobs(find(workdir, (places or ["latest"])[0]), as_json=as_json)
        return
    asked = listing.asked_for(places or [], workdir)
    found = asked.run
    entries, remarks = listing.entries(asked)
    matches = matcher(expression)
    entries = [e for e in entries if (e.failed or not failed) and (matches is None or matches(e.full_id))]
    reasons = _reasons(entries, found) if found and why and not ids else {}
    if as_json:
        print_json([listing.to_json(entry, reasons.get(entry.full_id)) for entry in entries])
    else:
        print_lines(listing.tree(entries, reasons) if found and not ids else listing.flat(entries))
    if found and not (as_json or ids or failed or expression):
        _print_living(found)
    warn(remarks)


def _print_living(found: FoundRun) -> None:
    from pytest_evalrun.monitor.jobs import job_lines, jobs_of

    known = jobs_of(found.paths)
    if known is not None and known.living:
        print_lines(["", known.title, *job_lines(known.living)])


def _print_jobs(found: FoundRun, *, as_json: bool) -> None:
    from pytest_evalrun.monitor.jobs import job_lines, jobs_of

    known = jobs_of(found.paths)
    if as_json:
        print_json(known.to_json() if known else None)
    elif known is None:
        warn([f"run {one_line(found.name)} has no jobs on a cluster"])
    else:
        print_lines([known.title, *job_lines(known.jobs)])


@app.command()
def runs(as_json: JsonOption = False, workdir: WorkDirOption = WORKDIR) -> None:
    """List the runs of a work directory, newest first: how each stands, and the command that made it."""
    from pytest_evalrun.report.runs import HEADER, overviews

    found = list(overviews(workdir))
    if as_json:
        print_json([run.to_json() for run in found])
        return
    print_table(HEADER, (run.cells() for run in found))


@app.command()
def logs(
    pair: PairArgument,
    run: RunArgument = "latest",
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on until the pair is done or the run ends")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="As it was written: what a model wrote may drive your terminal")
    ] = False,
    old_run: OldRunOption = "",
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Print what a pair has logged, safe to show: control characters as escapes, a carriage return as a line's end."""
    from pytest_evalrun.report.known import known_pairs
    from pytest_evalrun.report.logs import follow_logs, read_logs, shown
    from pytest_evalrun.report.lookup import find_pair

    paths = find_asked(workdir, run, old_run).paths
    known = known_pairs(paths)
    found = find_pair(pair, (*known.pairs, *known.limits))
    blocks = (follow_logs if follow else read_logs)(paths, found)
    for block in blocks if raw else shown(blocks):
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()


@app.command()
def retry(run: RunArgument = "latest", workdir: WorkDirOption = WORKDIR) -> None:
    """Print the pytest command that runs again what failed; what failed goes to stderr."""
    from pytest_evalrun.report.retry import retry_of

    found = find(workdir, run)
    again = retry_of(found)
    warn(f"{pair.status}: {pair.full_id}" for pair in again.failed)
    warn([] if again.failed else [f"{found.name}: nothing failed"])
    warn(["*** stands for a secret: write ${NAME} there"] if again.failed and "***" in again.command else [])
    print_lines([again.command] if again.failed else [])


for command in (show, diff, view, stop, reset, clean, devices, schema):
    app.command()(command)
app.command()(agents.controller)
app.command("task-worker")(agents.task_worker)
app.command(cls=agents.TasksCommand)(agents.start)
app.command(cls=GateCommand)(gate)
app.command()(agents.sessions)
app.add_typer(export, name="export")
app.add_typer(baseline, name="baseline")


@app.command()
def report(
    run: RunArgument = "latest",
    merged: Annotated[bool, typer.Option("--merged", help="Merge all predictions into one table a suite too")] = False,
    html: Annotated[bool, typer.Option("--html", help="Make report.html, a page to look at in a browser, too")] = False,
    against: Annotated[
        str | None, typer.Option(metavar="RUN", help="With --html: compare with this run, not with the one before")
    ] = None,
    old_run: OldRunOption = "",
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Make the summary of a run again."""
    from pytest_evalrun.report.known import on_disk, suites_of
    from pytest_evalrun.report.summary import write_summary

    paths = find_asked(workdir, run, old_run).paths
    if against is not None and not html:
        raise ConfigError("--against: it is for --html alone; give both")
    other = None if against is None else find(workdir, against).paths
    suites = suites_of(paths)
    disk = on_disk(paths, suites)
    summary = write_summary(paths, disk.is_gone, disk.skips)
    warn(f"{name}: cannot be read; left out" for name in summary.unreadable)
    print_lines(str(paths.summary / f"summary.{kind}") for kind in ("csv", "md", "txt"))
    if html:
        print_lines([str(_page(paths, summary, suites, other))])
    if merged:
        _merge(paths)


def _page(paths: RunPaths, summary: Summary, suites: list[Suite], against: RunPaths | None) -> Path:
    """Make the page of a run, whether or not something changed."""
    from pytest_evalrun.evaluation.origins import origins_in
    from pytest_evalrun.report.html.report import ReportAsked, write_report
    from pytest_evalrun.suite.secrets import secrets_of

    asked = ReportAsked(paths, summary, against, origins_in(paths, suites), secrets_of(suites))
    try:
        return write_report(asked, always=True)
    except OSError as error:
        raise ConfigError(f"{error.filename or paths.report}: {error.strerror}; the page was not made") from error


def _merge(paths: RunPaths) -> None:
    from pytest_evalrun.report.inputs import inputs_in
    from pytest_evalrun.report.merge import merge_predictions
    from pytest_evalrun.suite.printable import counted

    merge = merge_predictions(paths, inputs=inputs_in(paths))
    warn(f"{file.file}: {problem}; left out" for file in merge.files for problem in file.broken)
    warn(f"{file.file}: its inputs are not shown: {file.unread}" for file in merge.files if file.unread)
    warn(
        f"ERROR: {table} stays as it was, with {counted(rows, 'row')}: the predictions have fewer; "
        "merge_summary.json says what is missing"
        for table, rows in merge.kept.items()
    )
    print_lines(f"{table}" for table in merge.tables)
    print_lines([f"{counted(merge.total_rows, 'row')} from {counted(len(merge.files), 'file')}"])


@app.command()
def monitor(
    run: RunArgument = "latest",
    interval: Annotated[
        float, typer.Option("-i", "--interval", min=0.1, metavar="SECONDS", help="How often it looks")
    ] = 0.5,
    once: Annotated[bool, typer.Option("--once", help="One page, and no more")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object")] = False,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Watch a run from any terminal: how far it is, what runs where, what failed and why."""
    from pytest_evalrun.monitor import monitor as watch

    if once and as_json:
        raise ConfigError("--once and --json: give one of them")
    try:
        root = awaited_run(workdir, run) or find(workdir, run).paths.root
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(watch(root, interval, once=once, as_json=as_json, stream=sys.stdout))


@app.command()
def verify(run: RunArgument = "latest", old_run: OldRunOption = "", workdir: WorkDirOption = WORKDIR) -> None:
    """Check by hash every file that a run vouches for; exit code 1 when something does not hold."""
    from pytest_evalrun.report.verify import verify_run

    paths = find_asked(workdir, run, old_run).paths
    problems = verify_run(paths)
    print_lines(f"{problem.file}: {problem.text}" for problem in problems)
    if problems:
        raise typer.Exit(1)
    print_lines([f"{paths.root}: all that is marked as complete is as it was written"])


def _reasons(entries: Iterable[ListedPair], found: FoundRun) -> dict[str, str]:
    """Say what a launch would do with each pair that it would not just reuse, by full id."""
    from pytest_evalrun.evaluation.selection import verdicts

    pairs = [entry.pair for entry in entries if entry.pair is not None and entry.status != "running"]
    told = verdicts(pairs, found.workdir.root, found.name)
    return {v.pair.full_id: f"{v.action}: {v.reason}" for v in told if v.action not in ("reuse", "skip")}
