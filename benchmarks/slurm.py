"""64 units of nothing on a real Slurm against an array of bare pytests, and what a launch costs while they wait.

The Slurm is that of `make evals-slurm`: four nodes on this machine, so jobs share its cores with the launch.
"""

from __future__ import annotations

import re
import shlex
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.harness import Figure, Scale, Spent, Timed, environment, ratio, write_suite

sys.path.insert(0, str(Path(__file__).parents[1] / "evals" / "slurm"))

from fournodes import NotInstalled, Slurm

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS, MANY = 64, 500
MOST, MORE = 1.5, 2.0
LATE = 1.0  # seconds after a report's file was closed
SHARE = 0.02  # of a core
WATCHED = 20.0
# So short that each model has a unit of its own.
ON = ("--eval-engine", "slurm", "--eval-unit-minutes", "0.0001")
FEW, EACH = 4, 12  # jobs, and the items that each of them reports
# A test's time by the clock of this machine: in a job when its line is written, in the launch when it is told.
TIMES = """
import os, time
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_logreport(report):
    result = yield
    if report.when == "teardown":
        with open(os.environ["TIMES"], "a") as file:
            file.write(f"{WHO} {report.nodeid} {time.time()}\\n")
    return result

def pytest_configure(config):
    global WHO
    WHO = "job" if config.getoption("eval_job") else "launch"
"""


def measure(scale: Scale, place: Path) -> list[Figure]:
    """All on one Slurm; where there is none, nothing is measured, and it is said how one is installed."""
    try:
        with Slurm() as slurm:
            figures = [_side_by_side(slurm, scale, place), _late(slurm, place)]
            return [*figures, *(figure for units in (UNITS, MANY) for figure in _waiting(slurm, place, units))]
    except NotInstalled as error:
        print(f"slurm: not measured: {error}")
        return []


def _side_by_side(slurm: Slurm, scale: Scale, place: Path) -> Figure:
    """From each command to its end; all that Slurm will do at once, for both."""
    bare, suite = _write_bare(place / "bare"), write_suite(place / "units", UNITS, 1)
    kept = tuple(slurm.env.items())
    ours = Timed(suite, (*ON, "--eval-jobs", str(UNITS)), pairs=UNITS, environment=kept)
    spent: dict[str, list[Spent]] = {"ours": [], "bare": []}
    ours.run()  # bytecode, for both
    for _ in range(scale.rounds):
        spent["bare"].append(_run_array(slurm, bare))
        slurm.until(lambda: not slurm.squeue())
        spent["ours"].append(ours.run())
        slurm.until(lambda: not slurm.squeue())
    what = f"{UNITS} units of nothing on Slurm, to the summary, against an array of bare pytests"
    figure = ratio(what, spent, MOST, MORE)
    return Figure(what, figure.ours, figure.theirs, figure.found, "", figure.target, figure.held)


def _write_bare(directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "one_test.py").write_text("def test_one():\n    pass\n")
    words = shlex.join([sys.executable, "-m", "pytest", "one_test.py"])
    (directory / "job.sh").write_text(f"#!/bin/bash\n{words}\n")
    return directory


def _run_array(slurm: Slurm, bare: Path) -> Spent:
    start = time.perf_counter()
    wishes = ("--wait", f"--array=0-{UNITS - 1}", f"--chdir={bare}", f"--output={bare}/%a.log")
    command = ["sbatch", *wishes, str(bare / "job.sh")]
    subprocess.run(command, env=environment() | slurm.env, check=True, stdout=subprocess.DEVNULL)
    spent = Spent(time.perf_counter() - start, 1.0)
    if (passed := sum("1 passed" in log.read_text() for log in bare.glob("*.log"))) != UNITS:
        raise SystemExit(f"{bare}: {passed} of {UNITS} tests passed")
    for log in bare.glob("*.log"):
        log.unlink()
    return spent


# --- how late the launch is ------------------------------------------------------------------------------------------


def _late(slurm: Slurm, place: Path) -> Figure:
    """The time between a job's line and the launch's report, of all items of a few jobs."""
    suite = write_suite(place / "late", FEW, EACH)
    (suite / "adapter.py").write_text(
        "import time\n\n\ndef predict(batch):\n    time.sleep(0.1)\n    return [sample.input for sample in batch]\n"
    )
    (suite / "times.py").write_text(TIMES)
    told = suite / "times.txt"
    more = {**slurm.env, "TIMES": str(told), "PYTHONPATH": str(suite)}
    Timed(suite, (*ON, "-p", "times"), pairs=FEW * EACH, environment=tuple(more.items())).run()
    times: dict[str, dict[str, float]] = {"job": {}, "launch": {}}
    for line in told.read_text().splitlines():
        who, rest = line.split(" ", 1)
        nodeid, when = rest.rsplit(" ", 1)
        times[who][nodeid] = float(when)
    late = sorted(when - times["job"][nodeid] for nodeid, when in times["launch"].items())
    if len(late) != FEW * EACH:
        raise SystemExit(f"{suite}: {len(late)} of {FEW * EACH} items were reported")
    middle = statistics.median(late)
    what = f"a report in the launch after the job closed the file, median of {len(late)} (the latest {late[-1]:.2f} s)"
    return Figure(what, middle, LATE, f"{middle:.2f} s", "", f"<= {LATE:g} s", late[-1] <= LATE)


# --- while jobs wait -------------------------------------------------------------------------------------------------


def _waiting(slurm: Slurm, place: Path, units: int) -> list[Figure]:
    """What a launch takes of a core, and asks of Slurm, while no node takes its jobs."""
    suite = write_suite(place / f"waiting{units}", units, 1)
    slurm.call("sbatch", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap", "sleep 600")
    with _launch(suite, slurm, units) as process:
        slurm.until(lambda: len(slurm.squeue("-r", "-o", "%i").splitlines()) > units, "the jobs wait")
        time.sleep(2)
        seen, asked, start = psutil.Process(process.pid), _asked(slurm), time.perf_counter()
        before = seen.cpu_times()
        time.sleep(WATCHED)
        after = seen.cpu_times()
        seconds = time.perf_counter() - start
        questions = (_asked(slurm) - asked) / seconds
    slurm.clear()
    own = (after.user + after.system - before.user - before.system) / seconds
    theirs = (after.children_user + after.children_system - before.children_user - before.children_system) / seconds
    what = f"a launch while {units} jobs wait, of a core (squeue itself: {theirs:.1%})"
    asks = f"questions to Slurm while {units} jobs wait"
    return [
        Figure(what, own, SHARE, f"{own:.1%}", "", f"<= {SHARE:.0%}", own <= SHARE),
        Figure(asks, 1.0, 1.0, f"{questions:.2f} / s", "", "<= 1 / s", questions <= 1.0),
    ]


@contextmanager
def _launch(suite: Path, slurm: Slurm, units: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "pytest", "-q", *ON, "--eval-jobs", str(units)]
    env = environment() | slurm.env
    with subprocess.Popen(command, cwd=suite, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def _asked(slurm: Slurm) -> int:
    """How often the controller was asked about jobs, by whomsoever: nobody but the launch does, meanwhile."""
    asked = re.findall(r"REQUEST_JOB_\w*INFO\w*\s+\( *\d+\)\s+count:(\d+)", slurm.call("sdiag"))
    return sum(map(int, asked))
