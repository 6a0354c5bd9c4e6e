"""The tables of a run are made after its session, and one of the rows of each pair whose programs wrote some."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.plugin.options import Options
    from pytest_evalrun.report.mergerun import Mergeable
    from pytest_evalrun.report.rows import Summary
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.rundir.live import LiveRun
    from pytest_evalrun.suite.pairs import Pair, PairKey, Suite
    from pytest_evalrun.suite.secrets import Secrets


def summarise(paths: RunPaths, suites: Iterable[Suite], limits: Mapping[PairKey, bool]) -> Summary:
    """Write what is under ``summary/``. ``limits``: of first samples, what this launch made, and if it scored it."""
    from pytest_evalrun.report.known import on_disk
    from pytest_evalrun.report.summary import write_summary

    disk = on_disk(paths, suites)
    return write_summary(paths, disk.is_gone, disk.skips, limits)


def page_remarks(paths: RunPaths, suites: Collection[Suite], summary: Summary | None) -> list[str]:
    """Make the page where a result changed. Whatever goes wrong with it is one remark, and no more."""
    from pytest_evalrun.evaluation.origins import origins_in
    from pytest_evalrun.report.html.report import ReportAsked, write_report
    from pytest_evalrun.report.summary import no_collection
    from pytest_evalrun.suite.secrets import secrets_of

    if summary is None:
        return []
    try:
        with no_collection():
            # Where the launch ends nobody guards what a user's reader does: a pair that nobody told of has no inputs.
            origin = origins_in(paths, suites, files_alone=True)
            write_report(ReportAsked(paths, summary, origin=origin, secrets=secrets_of(suites)))
    except Exception as error:  # noqa: BLE001 - it shows what there is, and must not cost any of it
        what = f"{type(error).__name__}: {error}"
        return [f"{paths.report.name} could not be made: {what}; `evalrun report --html` makes it again"]
    return []


def left_lines(live: LiveRun, workdir: Path, by: str) -> list[str]:
    """Say who stopped a session, what is left of the run, and the command that carries it on."""
    from pytest_evalrun.report.commands import carry_on_command
    from pytest_evalrun.report.runs import called
    from pytest_evalrun.rundir.layout import WorkDir
    from pytest_evalrun.rundir.tasklist import left_in_words

    info = live.session.info
    return [
        f"stopped by {info.stopped or by}: {left_in_words(live.tasks.counts())}",
        f"carry on with: {carry_on_command(info.argv, called(WorkDir(workdir), live.paths))}",
    ]


def summarise_again(options: Options, suites: Collection[Suite]) -> tuple[str, Summary, list[str]]:
    """The name of the run that is there, its tables made anew, and what is to be said of its page.

    Raises ConfigError where there is no run.
    """
    from pytest_evalrun.plugin.urls import written_argv
    from pytest_evalrun.rundir.layout import WorkDir
    from pytest_evalrun.rundir.live import existing_run
    from pytest_evalrun.suite.secrets import secrets_of

    with existing_run(WorkDir(options.workdir), options.run, secrets_of(suites).words(written_argv())) as paths:
        summary = summarise(paths, suites, {})
        return paths.root.name, summary, page_remarks(paths, suites, summary)


def merge_programs(live: LiveRun, pairs: Iterable[Pair]) -> tuple[list[str], bool]:
    """Merge, and say what people should know of it, and whether the tables have all rows of complete pairs.

    In a run without programs nothing is looked at.
    """
    paths = live.paths
    if not (paths.root / "shards").is_dir() and not (paths.summary / "merge_summary.json").is_file():
        return [], True
    from pytest_evalrun.report.mergerun import ERROR, MissingRows, merge_run

    wholes = {pair.whole.full_id: pair.whole for pair in pairs if pair.skip is None}
    mergeable = filter(None, (_mergeable(pair, live.secrets) for pair in wholes.values()))
    remarks = merge_run(paths, mergeable, lambda line: live.log.write("INFO", line))
    for remark in remarks:
        live.log.write("ERROR" if remark.startswith(ERROR) else "WARNING", remark.removeprefix(ERROR))
    return remarks, not any(isinstance(remark, MissingRows) for remark in remarks)


def _mergeable(pair: Pair, secrets: Secrets) -> Mergeable | None:
    from pytest_evalrun.datasets import create_reader
    from pytest_evalrun.report.mergerun import Mergeable
    from pytest_evalrun.rundir.layout import key_of

    def ids() -> Iterator[str]:
        samples = create_reader(pair.dataset, pair.settings, pair.root)
        return (sample.id for sample in islice(samples, pair.settings.limit))

    return Mergeable.of(key_of(pair), pair.full_id, pair.settings, ids, secrets.prediction)
