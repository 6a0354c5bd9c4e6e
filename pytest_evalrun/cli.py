"""The ``evalrun`` command: what there is, what a run says, and whether it still holds."""

from __future__ import annotations

import json
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pytest_evalrun.errors import ConfigError, EvalrunError
from pytest_evalrun.report.text import columns, number, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_evalrun.report.rows import Row
    from pytest_evalrun.report.samples import Places, ScoredSample
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.discovery import Suite
    from pytest_evalrun.suite.pairs import Pair

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

PairArgument = Annotated[str, typer.Argument(metavar="PAIR", help="task/dataset, suite/task/dataset, or a pytest id")]
WorkDirOption = Annotated[Path, typer.Option("--workdir", help="Directory above the runs")]
RunOption = Annotated[str, typer.Option("--run", help="latest, or a run's name")]
WORKDIR = Path("outputs/default")


def main() -> None:
    """Run the command; a user's mistake is one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is still a name
    try:
        app()
    except EvalrunError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201 - this is the program's output
        sys.exit(2)


@app.callback()
def _describe() -> None:
    """Look at suites and runs of pytest-evalrun. To evaluate, run pytest."""


@app.command()
def explain(
    pair: PairArgument,
    suite: Annotated[list[Path] | None, typer.Option(help="Where to look for suites; default: here")] = None,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Show every setting of a pair, its value, and the layer it came from."""
    from pytest_evalrun.report.lookup import find_pair
    from pytest_evalrun.suite.explain import explain as explain_pair

    found = find_pair(pair, _pairs(_suites(_where(pair, suite), workdir)))
    rows = ((row.setting, one_line(row.value), row.layer, row.source) for row in explain_pair(found))
    _print_table(("setting", "value", "layer", "source"), rows)


@app.command("list")
def list_pairs(
    paths: Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", help="default: here")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list")] = False,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """List every pair that pytest would find, and what the latest run says of it."""
    found = [_listed(pair, suite) for suite in _suites(paths, workdir) for pair in suite.pairs]
    statuses = _statuses(workdir)
    for entry in found:
        entry["status"] = statuses.get((entry["suite"], entry["task"], entry["dataset"]))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    rows = [(f"{e['suite']}/{e['task']}/{e['dataset']}", e["nodeid"], _status(e)) for e in found]
    _print_lines(columns([("pair", "node id", "status"), *rows]))


@app.command()
def show(
    pair: PairArgument,
    worst: Annotated[int | None, typer.Option(metavar="N", min=1, help="The N samples with the worst scores")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="The samples that were answered wrongly")] = False,
    metric: Annotated[str | None, typer.Option(help="By which metric; default: the first that fits")] = None,
    run: RunOption = "latest",
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Show what a run says of a pair, and the samples behind it."""
    from pytest_evalrun.report import samples
    from pytest_evalrun.report.lookup import find_pair
    from pytest_evalrun.report.rows import read_summary

    if worst is not None and wrong:
        raise ConfigError("--worst and --wrong: give one of them")
    paths = _run(workdir, run)
    row = find_pair(pair, read_summary(paths, lambda *_: False).rows)
    if worst is not None:
        _print_samples(samples.worst(paths, row.key, metric, worst, _places(paths, row)))
    elif wrong:
        _print_samples(samples.wrong(paths, row.key, metric, _places(paths, row)))
    else:
        _print_result(row)


@app.command()
def report(
    merged: Annotated[bool, typer.Option("--merged", help="Merge all predictions into one table a suite too")] = False,
    run: RunOption = "latest",
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Make the summary of a run again."""
    from pytest_evalrun.report.gone import gone_from_disk
    from pytest_evalrun.report.merge import merge_predictions
    from pytest_evalrun.report.summary import write_summary

    paths = _run(workdir, run)
    summary = write_summary(paths, gone_from_disk(paths))
    for name in summary.unreadable:
        typer.echo(f"{name}: cannot be read; left out", err=True)
    _print_lines(str(paths.summary / f"summary.{kind}") for kind in ("csv", "md", "txt"))
    if merged:
        merge = merge_predictions(paths)
        for file in merge.files:
            _complain(file.file, file.broken)
        _print_lines(f"{table}" for table in merge.tables)
        typer.echo(f"{merge.total_rows} rows from {len(merge.files)} files")


@app.command()
def verify(run: RunOption = "latest", workdir: WorkDirOption = WORKDIR) -> None:
    """Check by hash every file that a run vouches for; exit code 1 when something does not hold."""
    from pytest_evalrun.report.verify import verify_run

    paths = _run(workdir, run)
    problems = verify_run(paths)
    _print_lines(f"{one_line(problem.file)}: {problem.text}" for problem in problems)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{paths.root}: all that is marked as complete is as it was written")


def _run(workdir: Path, name: str) -> RunPaths:
    from pytest_evalrun.rundir.layout import WorkDir
    from pytest_evalrun.rundir.runs import check_format, resolve_run

    if name == "new":
        raise ConfigError("--run new: a run is started by pytest; accepted: latest, or a run's name")
    paths = resolve_run(WorkDir(workdir.absolute()), name)
    if paths is None:
        raise ConfigError(f"{workdir}: no run here; start one with pytest, or name its directory with --workdir")
    check_format(paths)
    return paths


def _suites(paths: Sequence[Path] | None, workdir: Path) -> Iterator[Suite]:
    from pytest_evalrun.report.walk import find_suites

    found = False
    for suite in find_suites(paths or [Path()], workdir):
        found = True
        yield suite
    if not found:
        where = ", ".join(str(path.absolute()) for path in paths or [Path()])
        raise ConfigError(f"no evalrun.yaml found: looked in {where} and below")


def _where(pair: str, paths: Sequence[Path] | None) -> Sequence[Path] | None:
    """A pasted pytest id says itself where its suite is."""
    file = Path(pair.partition("::")[0])
    return [file] if paths is None and "::" in pair and file.is_file() else paths


def _pairs(suites: Iterable[Suite]) -> Iterator[Pair]:
    for suite in suites:
        yield from suite.pairs


def _listed(pair: Pair, suite: Suite) -> dict[str, Any]:
    file = Path(suite.file)
    here = Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    return {
        "suite": pair.suite,
        "task": pair.task.name,
        "dataset": pair.dataset.name,
        "nodeid": f"{shown.as_posix()}::test_pair[{pair.id}]",
        "model": pair.task.path,
        "data": pair.dataset.path,
        "tags": list(pair.tags),
        "skip": pair.skip,
    }


def _statuses(workdir: Path) -> dict[tuple[str, str, str], str]:
    """What the latest run says; nothing where there is no run that can be read, which is no reason not to list."""
    from pytest_evalrun.report.rows import read_summary

    try:
        paths = _run(workdir, "latest")
    except ConfigError:
        return {}
    return {(r.suite, r.task, r.dataset): r.status for r in read_summary(paths, lambda *_: False).rows}


def _status(entry: dict[str, Any]) -> str:
    return f"skipped: {entry['skip']}" if entry["skip"] else entry["status"] or "-"


def _places(paths: RunPaths, row: Row) -> Places | None:
    """Where the pair's files lie, if its suite is still there to say so."""
    from pytest_evalrun.evaluation.outputs import output_directory
    from pytest_evalrun.report.samples import Places
    from pytest_evalrun.rundir.runs import read_run_json
    from pytest_evalrun.suite.discovery import discover

    # Relative to the run, as the manifest has it: a copied tree finds its own suites.
    file = (paths.root / read_run_json(paths).get("suites", {}).get(row.suite, "")).resolve()
    try:
        pairs = discover(file).pairs if file.is_file() else ()
        names = (row.suite, row.task, row.of)
        pair = next((pair for pair in pairs if (pair.suite, pair.task.name, pair.dataset.name) == names), None)
        if pair is None:
            return None
        inputs = Path(pair.dataset.path, pair.settings.in_subdir or "") if pair.settings.format == "files" else None
        return Places(output_directory(pair, paths.pair(row.key)), inputs)
    except ConfigError:
        return None


def _print_result(row: Row) -> None:
    counts = ", ".join(f"{count} {name}" for name, count in row.samples.items())
    seconds = "" if row.seconds is None else f"; {number(row.seconds)} s"
    typer.echo(f"{one_line(row.full_id)}: {row.status}; samples: {counts}{seconds}")
    if row.error:
        typer.echo(row.error)
    if row.metrics:
        _print_table(("metric", "value", "95 % interval", "n", "better", "gate"), _metric_rows(row))


def _metric_rows(row: Row) -> Iterator[tuple[str, ...]]:
    for name, metric in row.metrics.items():
        interval = f"{number(metric['low'])} to {number(metric['high'])}"
        gates = "; ".join(_gate(gate) for gate in row.gates if gate["metric"] == name)
        yield name, number(metric["value"]), interval, str(metric["n"]), metric["better"], gates


def _gate(gate: Mapping[str, Any]) -> str:
    verdict = "holds" if gate["holds"] else f"breached by {number(gate['by'])}"
    return f"{gate['kind']} {number(gate['limit'])} {verdict}"


def _print_samples(samples: Iterable[ScoredSample]) -> None:
    rows = [
        (str(s.index), s.id, _shown(s.prediction), one_line(s.reference), f"{s.score:.6g}", s.metric, s.file or "")
        for s in samples
    ]
    _print_table(("index", "id", "prediction", "reference", "score", "metric", "file"), rows)


def _shown(prediction: Any) -> str:
    """A file by its name: size and hash say nothing to a person."""
    is_file = isinstance(prediction, dict) and prediction.keys() == {"file", "size", "sha256"}
    return one_line(prediction["file"] if is_file else prediction)


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table that folds on a terminal; aligned plain text, nothing folded, into a pipe."""
    if not sys.stdout.isatty():
        _print_lines(columns([header, *rows]))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))  # Text: names are no markup
    Console().print(table)


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


def _complain(file: str, problems: Iterable[str]) -> None:
    for problem in problems:
        typer.echo(f"{file}: {problem}; left out", err=True)
