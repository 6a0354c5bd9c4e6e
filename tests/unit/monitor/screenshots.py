"""Draws the monitor's pictures of the documentation: ``python tests/unit/monitor/screenshots.py docs``."""

from __future__ import annotations

import io
import re
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pytest_evalrun.monitor.death import Death
from pytest_evalrun.monitor.frame import View, frame
from pytest_evalrun.monitor.launch import LaunchState
from pytest_evalrun.monitor.renderer import UNICODE, Renderer
from pytest_evalrun.monitor.screen import STYLES
from pytest_evalrun.monitor.snapshot import FailedTask, Running, Snapshot, TaskProgress
from pytest_evalrun.monitor.tasks import Tasks
from pytest_evalrun.monitor.tree import TreeView
from pytest_evalrun.rundir.sessions import SessionInfo
from pytest_evalrun.rundir.state import RunningState
from pytest_evalrun.rundir.tasklist import Status, TaskList

SIZE = (104, 30)
DATASETS = ["clean", "noisy", "rotated"]
ARGV = ("/usr/bin/pytest", "evals/", "-n", "3")
INFO = SessionInfo("1", 48213, None, "gpu-box", "", ARGV, "2026-11-21T10:30:15.000Z")
NOW = [("digits/mlp", "noisy", 7, 0, 0), ("digits/mlp_int8", "clean", 4, 1, 2), ("reviews/svc", "clean", 2, 0, 0)]
LOG = (
    "[2026-11-21 10:34:02] [TASK] start: digits/mlp/noisy",
    "[2026-11-21 10:34:40] [ERROR] ✗ failed: digits/logreg/rotated: 1 gate breached",
    "[2026-11-21 10:34:41] [TASK] start: digits/mlp_int8/clean",
    "[2026-11-21 10:35:07] [INFO] ✓ passed: reviews/logreg/rotated: new",
    "[2026-11-21 10:35:07] [TASK] start: reviews/svc/clean",
)


def tasks(directory):
    names = ["digits/logreg", "digits/mlp", "digits/mlp_int8", "reviews/logreg", "reviews/svc"]
    listed = TaskList((name, "", DATASETS) for name in names)
    done = [("digits/logreg", each) for each in DATASETS] + [("reviews/logreg", each) for each in DATASETS]
    for task, dataset in [*done, ("digits/mlp", "clean")]:
        listed.set(task, dataset, Status.COMPLETED)
    listed.set("digits/logreg", "rotated", Status.FAILED)
    for task, dataset, *_ in NOW:
        listed.set(task, dataset, Status.RUNNING)
    listed.write(directory / ".task_list", nullcontext())
    found = Tasks(directory / ".task_list")
    found.look()
    found.set_skipped(["reviews/svc/huge"])
    return found


def running(number, task, dataset, batch, failed, retried):
    state = RunningState(batch, 10, 12, 20, failed, retried, 0, 20, 200)
    return Running(
        f"{task}/{dataset}", f"gw{number}", f"GPU {number}", 26.0 + 9 * batch, batch / 10, 18.5 + batch, state
    )


def snapshot(found, death=None):
    return Snapshot(
        run="20261121_103015",
        standing=LaunchState("dead" if death else "live", INFO),
        progress=TaskProgress(15, 7, 0.55, 312.0, None if death else 255.0),
        counts=found.counts(),
        skipped=1,
        running=tuple(running(i, *each) for i, each in enumerate(NOW)),
        failed=(FailedTask("digits/logreg/rotated", "failed", 41.2, "1 gate breached"),),
        slowest=(("digits/mlp/clean", 71.34), ("digits/logreg/rotated", 41.2), ("digits/logreg/clean", 38.05)),
        log=LOG,
        problems=(),
        death=death,
        quiet=None,
        tasks=found,
    )


def picture(shown):
    """SVG without fonts from elsewhere: a page that shows it asks nobody."""
    console = Console(record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor", width=SIZE[0])
    for line in frame(shown, TreeView(shown.tasks), View(), Renderer(UNICODE, "utf-8"), SIZE):
        console.print(Text.assemble(*((text, STYLES[style]) for text, style in line)), no_wrap=True, crop=False)
    svg = console.export_svg(title="evalrun monitor", unique_id="monitor")
    return re.sub(r"\s*@font-face \{.*?\n    \}", "", svg, flags=re.DOTALL)


def draw(directory):
    """Both pictures; their names."""
    with tempfile.TemporaryDirectory() as place:
        found = tasks(Path(place))
        evidence = "[2026-11-21 10:35:31] [ERROR] worker gw1: torch.OutOfMemoryError: CUDA out of memory"
        death = Death("it ran out of memory", evidence, "pytest evals/ -n 3")
        pictures = {"monitor.svg": picture(snapshot(found)), "monitor-dead.svg": picture(snapshot(found, death))}
    for name, svg in pictures.items():
        (directory / name).write_text(svg, encoding="utf-8")
    return list(pictures)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
