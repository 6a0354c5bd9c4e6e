"""The run in words that stay: a page of it, lines as they come, and how it ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.monitor import sections
from pytest_evalrun.monitor.frame import ending, page
from pytest_evalrun.monitor.launch import carry_on, limit_of
from pytest_evalrun.monitor.renderer import plain
from pytest_evalrun.monitor.screen import theme_for, window
from pytest_evalrun.monitor.tree import TreeView
from pytest_evalrun.report.known import on_disk
from pytest_evalrun.report.plain import selected_lines
from pytest_evalrun.report.rows import read_summary
from pytest_evalrun.rundir.tasklist import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.monitor.reader import SnapshotReader
    from pytest_evalrun.monitor.renderer import Line, Renderer
    from pytest_evalrun.monitor.snapshot import Snapshot
    from pytest_evalrun.report.rows import Summary
    from pytest_evalrun.rundir.layout import RunPaths

PAGE_WIDTH = 100
DIED = 1


def width_of(stream: TextIO) -> int:
    return window(stream)[0] if stream.isatty() else PAGE_WIDTH


def print_page(snapshot: Snapshot, renderer: Renderer, stream: TextIO) -> None:
    """Print one page, and that is all."""
    _print(page(snapshot, TreeView(snapshot.tasks), renderer, width_of(stream)), stream)


def tell(reader: SnapshotReader, renderer: Renderer, stream: TextIO, interval: float) -> int:
    """Print, where nothing can be drawn: a page, then the log and how far the run is, until it ends or has died."""
    snapshot = reader.look()
    if snapshot.standing.word != "ended":
        print_page(snapshot, renderer, stream)
    said = ""
    while snapshot.standing.word not in ("ended", "dead"):
        stream.flush()
        time.sleep(interval)
        snapshot = reader.look()
        stream.writelines(f"{renderer.clean(line)}\n" for line in reader.log.new)
        said = _say_progress(snapshot, renderer, stream, said)
    if snapshot.standing.word == "ended":
        print_end(reader, snapshot, renderer, stream)
        return 0
    if said:
        print_page(snapshot, renderer, stream)
    return DIED


def _say_progress(snapshot: Snapshot, renderer: Renderer, stream: TextIO, said: str) -> str:
    """A line where something ended since the last one; the counts that it told."""
    now = plain(sections.counts(snapshot, renderer, PAGE_WIDTH))
    if now != said:
        stream.write(f"{sections.progress_text(snapshot.progress, with_time=True).strip()}  {now}\n")
    return now


def print_end(reader: SnapshotReader, snapshot: Snapshot, renderer: Renderer, stream: TextIO) -> None:
    """Print how the launch came out: what failed, the tables of what it worked on, and where all others are kept."""
    width, paths = width_of(stream), reader.paths
    suites = {pair.partition("/")[0] for pair in reader.events.timeline.pairs or snapshot.tasks.pairs()}
    _print(ending(snapshot, renderer, width), stream)
    lines = selected_lines(_summary(paths, snapshot), suites, width)
    stream.writelines(f"{renderer.clean(line)}\n" for line in lines)
    stream.write(renderer.clean(f"summary: {paths.summary / 'summary.md'}") + "\n")
    info = snapshot.standing.info
    if info is not None and (snapshot.standing.interrupted or snapshot.counts[Status.PENDING]):
        stream.write(renderer.clean(f"carry on with: {carry_on(info.argv, paths)}") + "\n")


def _summary(paths: RunPaths, snapshot: Snapshot) -> Summary:
    """Read the summary, with first samples as the last launch asked for them.

    Pairs that are gone are outside the means; where all are, it is the suites that cannot be seen.
    """
    info = snapshot.standing.info
    limit = limit_of(info.argv) if info else None
    found = read_summary(paths, lambda *_: False).rows if limit else ()
    limits = {row.key: True for row in found if row.limit == limit}
    try:
        disk = on_disk(paths)
        summary = read_summary(paths, disk.is_gone, disk.skips, limits)
        if summary.present:
            return summary
    except ConfigError:
        pass  # a suite that is being edited
    return read_summary(paths, lambda *_: False, limits=limits)


def _print(lines: Iterable[Line], stream: TextIO) -> None:
    theme = theme_for(stream)
    stream.writelines(f"{theme.paint(line).rstrip()}\n" for line in lines)
