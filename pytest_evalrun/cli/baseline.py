"""The commands ``evalrun baseline``: what gates compare with, saved to be committed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_evalrun.cli.common import (
    WORKDIR,
    ExpressionOption,
    JsonOption,
    RunArgument,
    WorkDirOption,
    YesOption,
    find,
    matcher,
)
from pytest_evalrun.cli.project import baselines_of
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.screen import print_json, print_lines, print_table, warn
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from pytest_evalrun.comparison.baselinestore import SavedBaseline

baseline = typer.Typer(
    no_args_is_help=True, help="Save what gates compare with, sample by sample, and look at what is saved."
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What gates and people call it, such as main")]
DirOption = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", show_default="baselines in pytest's rootdir", help="Where baselines are"),
]


@baseline.command()
def save(
    name: NameArgument,
    run: RunArgument = "latest",
    expression: ExpressionOption = "",
    directory: DirOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the one of that name; with -k only these pairs of it")
    ] = False,
    breached: Annotated[bool, typer.Option("--breached", help="Pairs that breached their gates, too")] = False,
    workdir: WorkDirOption = WORKDIR,
) -> None:
    """Save scores, sample by sample, of the pairs of a run: to be committed, for gates with `baseline: NAME`."""
    from pytest_evalrun.comparison.baselinefile import is_ours
    from pytest_evalrun.comparison.baselinestore import check_name, megabytes, save_baseline
    from pytest_evalrun.report.sides import savable

    check_name(name)
    paths = find(workdir, run).paths
    chosen = savable(paths, matcher(expression), breached=breached)
    if not chosen.pairs:
        warn(chosen.remarks)
        asked = f" that match -k {expression}" if expression else ""
        raise ConfigError(f"run {paths.root.name}: it has no results{asked} to save; nothing was saved")
    place = directory or baselines_of()
    saved = save_baseline(place, name, chosen.pairs, force=force, others=bool(expression))
    _print_files(saved)
    print_lines([f"{_counts(saved)}, {megabytes(saved.size)}; saved of run {paths.root.name}"])
    kept = len(saved.heads) - len(chosen.pairs)
    warn([f"{counted(kept, 'pair')} kept as before"] if kept else [])
    warn(chosen.remarks)
    warn(
        [] if is_ours(place) else [f"{place}: others may write to it, so that gates do not read it: chmod go-w {place}"]
    )


def _print_files(saved: SavedBaseline) -> None:
    from pytest_evalrun.comparison.baselinestore import megabytes

    rows = [
        (str(head.file), f"{head.samples:,}", megabytes(head.file.stat().st_size), ", ".join(head.names))
        for head in saved.heads
    ]
    print_table(("file", "samples", "size", "scores of"), rows)


def _counts(saved: SavedBaseline) -> str:
    samples = f"{saved.samples:,} sample{'s' if saved.samples != 1 else ''}"
    return f"baseline {saved.name}: {counted(len(saved.heads), 'pair')}, {samples}"


@baseline.command("list")
def list_baselines(directory: DirOption = None, as_json: JsonOption = False) -> None:
    """List the baselines that are saved."""
    from pytest_evalrun.comparison.baselinestore import megabytes, saved_baselines

    place = directory or baselines_of()
    found = saved_baselines(place)
    warn(problem for saved in found for problem in saved.problems)
    if as_json:
        print_json([_to_json(saved) for saved in found])
    elif not found:
        warn([f"{place}: no baseline here; save one with `evalrun baseline save NAME`"])
    else:
        rows = [
            (saved.name, str(len(saved.heads)), f"{saved.samples:,}", ", ".join(saved.runs), saved.time)
            for saved in found
        ]
        sizes = [(*row, megabytes(saved.size)) for row, saved in zip(rows, found, strict=True)]
        print_table(("baseline", "pairs", "samples", "run", "evaluated", "size"), sizes)


@baseline.command()
def show(name: NameArgument, directory: DirOption = None, as_json: JsonOption = False) -> None:
    """Show a baseline: each pair and metric, its value and how many samples are behind it."""
    from pytest_evalrun.comparison.baselinestore import find_saved, megabytes
    from pytest_evalrun.report.text import number

    saved = find_saved(directory or baselines_of(), name)
    warn(saved.problems)
    if as_json:
        print_json(_to_json(saved))
        return
    print_lines([f"{_counts(saved)}, {megabytes(saved.size)}"])
    rows = [
        (head.pair, metric, number(told["value"]), str(told.get("n", "")), told["better"], head.run, head.time)
        for head in saved.heads
        for metric, told in head.metrics.items()
    ]
    if rows:
        print_table(("pair", "metric", "value", "n", "better", "run", "evaluated"), rows)


@baseline.command("rm")
def remove(name: NameArgument, directory: DirOption = None, yes: YesOption = False) -> None:
    """Remove a baseline: its files, and nothing that somebody else has put there."""
    from pytest_evalrun.comparison.baselinestore import find_saved, megabytes, remove_baseline
    from pytest_evalrun.control.ask import agreed

    saved = find_saved(directory or baselines_of(), name)
    lines = [str(head.file) for head in saved.heads] + list(saved.problems)
    if agreed(lines, f"remove {_counts(saved)}", yes=yes, dry_run=False):
        remove_baseline(saved)
        print_lines([f"removed {megabytes(saved.size)}"])


def saved_at(word: str, directory: Path | None) -> SavedBaseline | None:
    """The baseline of a name, or in a directory; None where there is none."""
    from pytest_evalrun.comparison.baselinefile import files_in, is_baseline_name
    from pytest_evalrun.comparison.baselinestore import look_at

    is_path = "/" in word
    if not is_path and not is_baseline_name(word):
        return None
    place = Path(word) if is_path else (directory or baselines_of()) / word
    is_one = place.is_dir() and not (place / "run.json").exists() and bool(files_in(place))
    return look_at(place) if is_one else None


def _to_json(saved: SavedBaseline) -> dict[str, object]:
    pairs = [
        {name: getattr(head, name) for name in ("pair", "run", "time", "samples")}
        | {"file": str(head.file), "metrics": dict(head.metrics)}
        for head in saved.heads
    ]
    told = {"name": saved.name, "samples": saved.samples, "size": saved.size, "time": saved.time, "runs": saved.runs}
    return {**told, "problems": list(saved.problems), "pairs": pairs}
