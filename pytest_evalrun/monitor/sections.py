"""The parts of a frame, each as lines of any length; `frame` gives them their places."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pytest_evalrun.monitor.renderer import EMPTY, Line, Renderer, duration, pad, widest
from pytest_evalrun.monitor.tasks import STATUS_WORDS
from pytest_evalrun.monitor.tree import STYLES
from pytest_evalrun.report.text import display_width, number
from pytest_evalrun.rundir.tasklist import Status
from pytest_evalrun.suite.names import shard_of
from pytest_evalrun.suite.printable import counted, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.monitor.jobs import ShownJob
    from pytest_evalrun.monitor.snapshot import FailedTask, Running, Snapshot, TaskProgress

SHOWN = (Status.COMPLETED, Status.FAILED, Status.RUNNING, Status.PENDING)
NARROW = 60
ROOMY = 100
MOST_JOBS = 60
LEVELS = {"ERROR": "bad", "WARNING": "run", "TASK": "head"}


def head(snapshot: Snapshot, renderer: Renderer, width: int) -> list[Line]:
    """Draw which run it is, how far it is, how many pairs are in each state, and what is wrong."""
    lines = [_title(snapshot, renderer), _bar(snapshot.progress, renderer, width), counts(snapshot, renderer, width)]
    lines += _death(snapshot, renderer, width)
    return lines + [((f"! {renderer.clean(problem)}", "run"),) for problem in snapshot.problems[:3]]


def _title(snapshot: Snapshot, renderer: Renderer) -> Line:
    words, style = _standing(snapshot)
    run, said = (renderer.clean(snapshot.run), "head"), (renderer.clean(words), style)
    # In a small window the first words are all that is seen.
    return (said, ("  ", ""), run) if snapshot.death else (run, ("  ", ""), said)


def _standing(snapshot: Snapshot) -> tuple[str, str]:
    stands, info = snapshot.standing, snapshot.standing.info
    who = f"process {info.pid} on {info.host}" if info else "a process that session.json does not name"
    if stands.word == "none":
        return "no session has begun", "dim"
    if stands.word == "live":
        since = snapshot.progress.seconds
        return f"running{'' if since is None else f' for {duration(since)}'}: {who}", "dim"
    if stands.word == "dead":
        return f"DEAD: {who} ended without a word", "bad"
    if stands.word == "unknown":
        quiet = duration(max(0.0, snapshot.quiet or 0.0))
        return f"{who}, which cannot be asked from here; last sign {quiet} ago", "run"
    if not stands.interrupted:
        return "ended", "ok"
    return f"interrupted by {one_line(info.stopped)}" if info and info.stopped else "interrupted", "run"


def _death(snapshot: Snapshot, renderer: Renderer, width: int) -> list[Line]:
    death = snapshot.death
    if death is None:
        return []
    lines = _told("likely reason: ", renderer.clean(death.reason), "", width)
    if death.evidence:
        lines.append((("  ", ""), (renderer.clean(death.evidence), "dim")))
    return lines + _told("carry on with: ", renderer.clean(death.command), "head", width)


def _told(label: str, text: str, style: str, width: int) -> list[Line]:
    """Folded, not cut: it is there to be typed."""
    first, *rest = textwrap.wrap(label + text, max(1, width), subsequent_indent="  ", break_on_hyphens=False)
    return [((first[: len(label)], "bad"), (first[len(label) :], style)), *(((line, style),) for line in rest)]


def _bar(progress: TaskProgress, renderer: Renderer, width: int) -> Line:
    label = f" {progress_text(progress, with_time=width >= NARROW)}"
    room = max(0, min(width - display_width(label), 80))
    full = int(progress.share * room)
    return ((renderer.glyphs.full * full, "ok"), (renderer.glyphs.rest * (room - full), "dim"), (label, "head"))


def progress_text(progress: TaskProgress, *, with_time: bool) -> str:
    """Cut, not rounded: 100 % is said of nothing that still runs."""
    text = f"{int(progress.share * 100):3d} %  {progress.done}/{progress.selected}"
    if with_time and progress.left is not None and progress.done < progress.selected:
        text += f"  about {duration(progress.left)} left"
    return text


def counts(snapshot: Snapshot, renderer: Renderer, width: int) -> Line:
    """Draw how many pairs are in each state."""
    pieces = [(renderer.glyphs.status[each], STYLES[each], snapshot.counts[each], STATUS_WORDS[each]) for each in SHOWN]
    if snapshot.skipped:
        pieces.append((renderer.glyphs.skipped, "dim", snapshot.skipped, "skipped"))
    if deselected := snapshot.tasks.deselected:
        pieces.append((renderer.glyphs.deselected, "dim", deselected, "deselected"))
    if width < NARROW:
        return tuple((f"{sign}{count} ", style if count else "dim") for sign, style, count, _ in pieces)
    return tuple((f"{sign} {count} {word}   ", style if count else "dim") for sign, style, count, word in pieces)


def running(snapshot: Snapshot, renderer: Renderer, width: int, needle: str) -> list[Line]:
    """A line a pair that runs: its name, and as many facts as fit beside it."""
    found = [each for each in snapshot.running if needle.casefold() in each.pair.casefold()]
    if not found:
        return []
    names = [renderer.clean(each.pair) for each in found]
    facts = _fitting([_facts(each, width) for each in found], width - 4 - min(widest(names), max(width // 3, 12)))
    room = max(1, min(widest(names), width - 4 - widest(facts)))
    sign = (f"  {renderer.glyphs.status[Status.RUNNING]} ", "run")
    lines: list[Line] = []
    for each, name, fact in zip(found, names, facts, strict=True):
        lines.append((sign, (pad(renderer.squeeze(name, room), room), ""), (fact, "dim")))
        if each.sessions is not None:
            lines.append(((f"      {each.sessions.text}", "dim"),))
    title = "Interrupted" if snapshot.standing.word == "dead" else "Running"
    return [_rule(f"{title} ({_how_many(found)})", renderer, width), *lines]


def _how_many(found: list[Running]) -> str:
    """Say how many run, as the counts have it; each shard of a pair that is cut has a line of its own."""
    items = [shard_of(each.pair) for each in found]
    shards = sum(shard is not None for _, shard in items)
    pairs = len({pair for pair, _ in items})
    return f"{pairs}; {counted(shards, 'shard')}" if shards else str(pairs)


def _fitting(facts: list[tuple[str, ...]], room: int) -> list[str]:
    """Columns of facts, each led by its space, as many from the left as there is room for."""
    rows = [""] * len(facts)
    for column in zip(*facts, strict=True):
        wide = widest(column)
        if wide and widest(rows) + wide <= room:
            rows = [row + pad(text, wide) for row, text in zip(rows, column, strict=True)]
    return rows


def _facts(running: Running, width: int) -> tuple[str, ...]:
    """List what matters most first; in a small window nothing is said of failures and retries where there are none."""
    state = running.state
    rate = f"  {_rate(running.rate)}/s" if running.rate else ""
    place = (f"  {running.worker}", f"  {running.slot}" if running.slot else "")
    time = f"  {duration(running.seconds)}" if running.seconds else ""
    if state is None:
        return ("  starting", "", "", "", rate, *place, time)
    if width < NARROW:
        return (f"  {state.current_batch}/{state.total_batches}", "", "", "", rate, *place, time)
    batches = f"  [batch {state.current_batch}/{state.total_batches}]"
    within = f" [in batch {state.batch_completed}/{state.batch_total}]"
    told = width >= ROOMY
    failures = f" [failed {state.failed_batches}]" if told or state.failed_batches else ""
    retries = f" [retried {state.retry_count}]" if told or state.retry_count else ""
    return (batches, within, failures, retries, rate, *place, time)


def _rate(rate: float) -> str:
    return number(rate) if rate < 1 else f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"


def jobs(snapshot: Snapshot, renderer: Renderer, width: int, needle: str) -> list[Line]:
    """Draw the jobs on a cluster that are not over, what runs first; the title counts all."""
    shown = snapshot.jobs
    if shown is None:
        return []
    found = [job for job in shown.living if not needle or needle.casefold() in " ".join(job.cells()).casefold()]
    if needle and not found:
        return []
    lines = [_rule(renderer.clean(shown.title), renderer, width)]
    most = found[:MOST_JOBS]
    facts = _fitting([_job_facts(job, renderer) for job in most], max(width * 2 // 3, width - 30))
    for job, fact in zip(most, facts, strict=True):
        lines.append(((fact, ""), (f"  {renderer.clean(job.reason)}", "dim")))
    return lines


def _job_facts(job: ShownJob, renderer: Renderer) -> tuple[str, ...]:
    """What matters most first; why it waits comes last, for nobody knows how long that is."""
    queued = f"queued {duration(job.queued)}" if job.queued is not None else ""
    ran = f"ran {duration(job.ran)}" if job.ran is not None else ""
    facts = (job.name, job.state, job.job or "", queued, job.node, ran, f"{job.done}/{job.items}")
    return tuple(f"  {renderer.clean(fact)}" if fact else "" for fact in facts)


def failed(snapshot: Snapshot, renderer: Renderer, width: int, needle: str) -> list[Line]:
    """Draw the last ones first, each with the reason."""
    found = [each for each in snapshot.failed if needle.casefold() in each.pair.casefold()]
    if not found:
        return []
    count = len(found) if needle else max(len(found), snapshot.counts[Status.FAILED])
    names = [renderer.clean(each.pair) for each in found]
    room = min(widest(names), max(width // 3, 12))
    lines = [_failed_line(each, name, room, renderer) for each, name in zip(found, names, strict=True)]
    return [_rule(f"Failed ({count})", renderer, width), *lines]


def _failed_line(failed: FailedTask, name: str, room: int, renderer: Renderer) -> Line:
    why = f"{'error: ' if failed.outcome == 'error' else ''}{failed.reason or 'see its log'}"
    shown = pad(renderer.squeeze(name, room), room)
    return ((f"  {renderer.glyphs.status[Status.FAILED]} ", "bad"), (shown, ""), (f"  {renderer.clean(why)}", "dim"))


def slowest(snapshot: Snapshot, renderer: Renderer, width: int, needle: str) -> list[Line]:
    """The pairs that took longest."""
    found = [(pair, seconds) for pair, seconds in snapshot.slowest if needle.casefold() in pair.casefold()]
    if not found:
        return []
    times = [f"{seconds:.2f} s" for _, seconds in found]
    room = widest(times)
    lines: list[Line] = [
        ((f"  {time:>{room}}", "head"), (f"  {renderer.squeeze(renderer.clean(pair), max(8, width - room - 4))}", ""))
        for time, (pair, _) in zip(times, found, strict=True)
    ]
    return [_rule("Slowest", renderer, width), *lines]


def log(snapshot: Snapshot, renderer: Renderer, width: int, needle: str) -> list[Line]:
    """The last lines of those that are known, oldest first."""
    found = [line for line in snapshot.log if needle.casefold() in line.casefold()]
    return [_rule("Log", renderer, width), *(_log_line(line, renderer) for line in found)] if found else []


def _log_line(line: str, renderer: Renderer) -> Line:
    """The day is the same all along; the time is enough."""
    stamp, found, text = line.partition("] [")
    level, closed, said = text.partition("] ")
    if not found or not closed or not stamp.startswith("["):
        return ((f"  {renderer.clean(line)}", "dim"),)
    return ((f"  {stamp[-8:]} ", "dim"), (renderer.clean(said), LEVELS.get(level, "")))


def title(text: str, renderer: Renderer, width: int) -> Line:
    return _rule(text, renderer, width)


def _rule(text: str, renderer: Renderer, width: int) -> Line:
    return ((text, "head"), (" " + renderer.glyphs.rule * max(0, width - display_width(text) - 1), "dim"))


def join(left: Sequence[Line], right: Sequence[Line], widths: tuple[int, int], renderer: Renderer) -> list[Line]:
    """Two columns side by side."""
    count = max(len(left), len(right))
    edge = (f" {renderer.glyphs.edge} ", "dim")
    return [
        (*renderer.fit(_at(left, i), widths[0]), edge, *renderer.fit(_at(right, i), widths[1])) for i in range(count)
    ]


def _at(lines: Sequence[Line], i: int) -> Line:
    return lines[i] if i < len(lines) else EMPTY
