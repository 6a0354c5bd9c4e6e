"""Workers that are killed at any moment: the run ends as if nothing had happened, or says what is missing."""

from __future__ import annotations

import os
import random
import re
import time
from xml.etree import ElementTree as ET

import pytest
from support import kill_group, wait_for

MODELS = ("a", "b", "c")
DATASETS = ("one", "two", "three", "four")
PAIRS = [f"echo/{model}/{dataset}" for model in MODELS for dataset in DATASETS]
ROUNDS = 5

# The model whose file is named in ``dies`` takes its worker along, so many times, after its first batch of a pair.
DEADLY = """
import os, time
from pathlib import Path

class Model:
    def __init__(self, path=None, delay=0.0, dies=None):
        self.delay, self.name = delay, Path(path).stem
        self.times = (dies or {}).get(self.name, 0)

    def predict(self, batch):
        time.sleep(self.delay)
        if int(batch[0].id) >= 4 and len(list(Path().glob(f"death-{self.name}-*"))) < self.times:
            Path(f"death-{self.name}-{time.monotonic_ns()}").touch()
            os.kill(os.getpid(), 9)
        return [sample.input for sample in batch]
"""


def kill(pid):
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass


def deadly(project, models=("a", "b", "c", "d"), **dies):
    """One dataset; of the models, those that are named kill so many times: b once, where none is."""
    project.make(models=models, params={"dies": dies or {"b": 1}})
    (project.suite / "model.py").write_text(DEADLY)
    return project


def deaths(project, model="b"):
    return len([*project.root.glob(f"death-{model}-*")])


def lines_of(output):
    """Outcome and pair of every line that says how a pair ended."""
    return sorted(re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) +(echo/\S+)", output, re.MULTILINE))


# ------------------------------------------------------------------ at random moments


@pytest.fixture(scope="module")
def undisturbed():
    return [("PASSED", pair) for pair in sorted(PAIRS)]


# What dies before it has said a word ends xdist's own start, long before anybody knows of a suite.
UP = """
import os
from pathlib import Path

def pytest_sessionstart(session):
    if hasattr(session.config, "workerinput"):  # the variable of that name is our own worker's, too
        Path(f"up-{os.getpid()}").touch()
"""


def up(project):
    return {int(path.name.removeprefix("up-")) for path in project.root.glob("up-*")}


def disturbed(project, chance, *args):
    """A fresh run with three workers of which some are killed; how many, and how it ended."""
    (project.root / "conftest.py").write_text(UP)
    before, killed = up(project), set()
    process = project.start("evals", "-n3", "--eval-run", "new", *args)
    try:
        wait_for(lambda: len(up(project) - before) == 3, process=process)
        for pause in [chance.uniform(0.0, 0.6) for _ in range(chance.randrange(1, 5))]:
            time.sleep(pause)  # the moment is what is random
            if process.poll() is None and (victims := sorted(up(project) - before - killed)):
                killed.add(victim := chance.choice(victims))
                kill(victim)
        output, _ = process.communicate(timeout=300)
        return len(killed), process.returncode, output
    finally:
        kill_group(process)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_killed_workers_change_neither_results_nor_exit_code(project, undisturbed, part):
    """Ten rounds in all, with one to four kills each: every pair once in the summary, exit code 0."""
    project.make(models=MODELS, datasets=DATASETS, samples=8, params={"delay": 0.03})
    seed = int(os.environ.get("EVALRUN_SEED", random.randrange(1 << 30)))
    print(f"EVALRUN_SEED={seed}")
    chance, kills = random.Random(seed + part), []
    while len(kills) < ROUNDS:
        count, code, output = disturbed(project, chance, "--eval-crash-retries=9")
        assert (code, lines_of(output)) == (0, undisturbed), f"seed {seed}, after {kills}:\n{output}"
        kills += [count] if count else []  # a run that was over before it was disturbed is none of the rounds
    print(f"workers killed: {kills}")


# ------------------------------------------------------------------ one item that kills

ALL = [("PASSED", f"echo/{model}/one") for model in "abcd"]
ONE_LOST = [("ERROR", "echo/b/one"), *[line for line in ALL if "/b/" not in line[1]]]


def test_a_worker_that_dies_once_costs_nothing_but_a_second_try(project, tmp_path):
    """Told at once; the results, the exit code and the JUnit file are those of a run without a death."""
    ran = deadly(project).run("evals", "-n2", f"--junitxml={tmp_path}/junit.xml")
    assert (ran.code, lines_of(ran.output)) == (0, ALL), ran
    assert "echo/b/one: its worker gw" in ran
    assert "was ended by SIGKILL, as the system does when memory runs out; running again (1 of 1)" in ran
    assert "4 passed" in ran
    assert cases(tmp_path / "junit.xml") == [f"test_pair[{model}/one]" for model in "abcd"]
    assert len(project.predictions("b", "one")) == 8


def cases(path):
    """The names of the test cases in a JUnit file."""
    return sorted(case.get("name", "") for case in ET.parse(path).iter("testcase"))


@pytest.mark.parametrize("retries", [0, 2])
def test_an_item_that_always_kills_is_an_error_that_names_the_signal(project, retries):
    """It is run so many times again, and no more; nothing else suffers."""
    ran = deadly(project, b=99).run("evals", "-n2", "--eval-crash-retries", str(retries))
    assert (ran.code, lines_of(ran.output)) == (1, sorted(ONE_LOST)), ran
    assert "was ended by SIGKILL" in ran
    assert "3 passed, 1 error" in ran
    assert deaths(project) == retries + 1


def test_many_crashes_do_not_end_the_session(project):
    """Each item that kills uses up its own tries, not those of the session: 4 a worker are xdist's."""
    ran = deadly(project, models=("a", "b", "z"), a=99, b=99).run("evals", "-n1", "--eval-crash-retries=2")
    assert ran.code == 1, ran
    assert "1 passed, 2 errors" in ran, ran
    assert deaths(project, "a") + deaths(project) == 6


def test_the_last_item_is_run_again_when_the_others_have_gone_home(project):
    """A replacement is the only worker left, and finds its way."""
    deadly(project, models=("a", "b"))
    (project.suite / "model.py").write_text(DEADLY.replace("time.sleep(self.delay)", "time.sleep(self.times and 1)"))
    ran = project.run("evals", "-n2")
    assert (ran.code, lines_of(ran.output)) == (0, ALL[:2]), ran


def test_without_restarts_what_never_ran_is_listed(project):
    """xdist would end with exit code 0."""
    ran = deadly(project).run("evals", "-n1", "--max-worker-restart=0")
    assert ran.code == 1, ran
    ended = {pair for _, pair in lines_of(ran.output)}
    missing = [pair for _, pair in ALL if pair not in ended]
    assert missing
    assert f"{len(missing)} item" in ran
    assert all(f"evals/echo/evalrun.yaml::test_pair[{pair.removeprefix('echo/')}]" in ran for pair in missing), ran


GOES = """
import os, pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    if hasattr(session.config, "workerinput"):
        os._exit(3)
"""


def test_workers_that_die_before_they_run_anything_end_the_run_some_time(project):
    """They use up xdist's restarts: the run ends, and says what never ran."""
    deadly(project)
    (project.root / "conftest.py").write_text(GOES)
    ran = project.run("evals", "-n2", "--max-worker-restart=3")
    assert ran.code == 1, ran
    assert "4 items never ran" in ran, ran


TEARDOWN = """
import os, pytest

@pytest.fixture
def deadly(pair):
    yield
    if pair.id == "b/one":
        os._exit(7)

def test_own(pair, deadly):
    pass
"""


def test_a_test_whose_worker_dies_while_it_is_torn_down_passed_and_is_an_error(project):
    """As with any error of a teardown; it is not run again, or it would pass twice."""
    project.make(models=("a", "b"))
    (project.suite / "test_own.py").write_text(TEARDOWN)
    ran = project.run("evals", "-n2")
    assert ran.code == 1, ran
    assert "4 passed, 1 error" in ran, ran
    assert "it ended with exit code 7" in ran


def test_an_ordinary_test_that_kills_is_not_run_again(project):
    """As without the plugin; what comes after it in its module runs."""
    project.make(models=("a",))
    plain = "import os\ndef test_kills(): os.kill(os.getpid(), 9)\ndef test_after(): pass\n"
    (project.root / "evals/test_plain.py").write_text(plain)
    ran = project.run("evals", "-n2")
    assert ran.code == 1, ran
    assert "2 passed" in ran, ran
    assert "crashed while running 'evals/test_plain.py::test_kills'" in ran


# ------------------------------------------------------------------ with xdist's own schedulers

OTHERS = [["--eval-scheduler=off"], ["--dist=worksteal"], ["--dist=loadfile"], ["--dist=loadscope"]]


@pytest.mark.parametrize("args", OTHERS)
def test_another_scheduler_runs_an_item_again_too(project, tmp_path, args):
    """One that dies once costs nothing, and no count and no report knows of it; one that always does is an error after
    as many tries."""
    ran = deadly(project, b=1, c=99).run("evals", "-n2", *args, f"--junitxml={tmp_path}/junit.xml")
    lost = [("ERROR", "echo/c/one"), *[line for line in ALL if "/c/" not in line[1]]]
    assert (ran.code, lines_of(ran.output)) == (1, lost), ran
    assert "echo/b/one: its worker gw" in ran
    assert "running again (1 of 1)" in ran
    assert "3 passed, 1 error in" in ran
    assert len(cases(tmp_path / "junit.xml")) == 4
    assert (deaths(project), deaths(project, "c")) == (1, 2)
