"""What a launch pays for the reports of its jobs, against what xdist's controller pays for those of its worker."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale

if TYPE_CHECKING:
    from pathlib import Path

MOST = 2.0
TESTS = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_passes(number, record_property):
    record_property("top1", 0.5)
"""
# What a job writes; and the two loops of a launching process, each with the processor time that it took.
JOB = """
from pathlib import Path
from pytest_evalrun.rundir.reportlines import ITEM, ReportWriter

reports, lines = {}, []

def pytest_configure(config):
    config.pluginmanager.register(Job(config))

class Job:
    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        told = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        reports.setdefault(report.nodeid, []).append(told)
        if report.when == "teardown":
            lines.append({"kind": ITEM, "id": report.nodeid, "reports": reports.pop(report.nodeid)})

    def pytest_sessionfinish(self):
        ReportWriter(Path("reports.jsonl")).write(*lines)
"""
REPLAYED = """
import time
from pathlib import Path
import pytest
from pytest_evalrun.plugin.engine.replay import Replay
from pytest_evalrun.rundir.reportlines import ReportReader

@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    start = time.process_time()
    replay = Replay(session)
    for line in ReportReader(Path("reports.jsonl")).read():
        replay.item(line)
    Path("seconds").write_text(str(time.process_time() - start))
    return True
"""
RECEIVED = """
import time
from pathlib import Path
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session):
    start = time.process_time()
    result = yield
    if not hasattr(session.config, "workerinput"):
        Path("seconds").write_text(str(time.process_time() - start))
    return result
"""


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Both in processor time: what the worker takes meanwhile is no cost of its controller."""
    count = 10 * scale.pairs
    files = {"test_many.py": TESTS.format(count=count), "job.py": JOB, "replayed.py": REPLAYED, "received.py": RECEIVED}
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text)
    (place / "pytest.ini").write_text("[pytest]\n")
    _pytest(place, "-p", "job")
    ours = min(_seconds(place, "-p", "replayed") for _ in range(scale.rounds))
    theirs = min(_seconds(place, "-p", "received", "-n1") for _ in range(scale.rounds))
    found = ours / theirs
    what = f"reports of {count:,} items: replayed, against xdist's"
    shown = (f"{found:.2f} x", f"{found:.2f} x", f"<= {MOST:g} x")
    return [Figure(what, ours, theirs, *shown, found <= MOST)]


def _seconds(place: Path, *args: str) -> float:
    _pytest(place, *args)
    return float((place / "seconds").read_text())


def _pytest(place: Path, *args: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    subprocess.run(command, cwd=place, env=env, check=True, stdout=subprocess.DEVNULL)
