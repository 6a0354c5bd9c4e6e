"""Our scheduler in real runs: whatever the options, results and exit codes are those of one process."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise

import pytest

MODELS = ("a", "b")
DATASETS = ("one", "two")
PAIRS = sorted(f"echo/{model}/{dataset}" for model in MODELS for dataset in DATASETS)


def lines_of(ran):
    """Outcome and pair of every line that says how a pair ended."""
    return sorted(re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) +(echo/\S+)", ran.output, re.MULTILINE))


def made(project, **top):
    return project.make(MODELS, DATASETS, **top)


def breached(project):
    """One pair of four whose gate does not hold."""
    made(project, gates={"exact_match": {"min": 0.9}})
    project.dataset("two", 8, wrong=4)
    return project


OUTCOMES = sorted(("FAILED" if "two" in pair else "PASSED", pair) for pair in PAIRS)


@pytest.mark.parametrize("workers", ["-n0", "-n1", "-n2", "-n5"])
def test_results_and_exit_codes_do_not_depend_on_workers(project, workers):
    """One process, one worker, more workers than items."""
    ran = breached(project).run("evals", workers)
    assert (ran.code, lines_of(ran)) == (1, OUTCOMES), ran
    for _, pair in OUTCOMES:
        _, task, dataset = pair.split("/")
        assert project.result(task, dataset)["status"] == ("failed" if dataset == "two" else "passed")
        assert [line["index"] for line in project.predictions(task, dataset)] == list(range(8))


def test_after_a_failure_nothing_new_starts(project):
    """What runs is finished; the rest is for the next run."""
    names = [f"d{number:02}" for number in range(10)]
    project.make(("a",), names, gates={"exact_match": {"min": 0.9}}, params={"delay": 0.1})
    for name in names:
        project.dataset(name, 8, wrong=8)
    ran = project.run("evals", "-n2", "-x")
    assert ran.code == 2, ran
    assert 1 <= len(lines_of(ran)) <= 3
    assert "never ran" not in ran


def test_a_module_in_flight_ends_with_the_item_that_runs(project):
    """-x elsewhere: its fixtures are torn down, its other tests do not start."""
    made(project, gates={"exact_match": {"min": 2}})
    (project.root / "evals/test_slow.py").write_text(SLOW)
    ran = project.run("evals", "-n2", "-x")
    assert ran.code == 2, ran
    told = (project.root / "told").read_text().split()
    assert told[0] == "up"
    assert told[-1] == "down"
    assert len(told) < 40


SLOW = """
import time, pathlib, pytest

def tell(word):
    with open("told", "a") as file:
        file.write(word + "\\n")

@pytest.fixture(scope="module")
def resource():
    tell("up")
    yield
    tell("down")

@pytest.mark.parametrize("number", range(40))
def test_slow(resource, number):
    time.sleep(0.2)
    tell("ran")
"""


def test_pytest_exit_in_an_item_ends_the_session(project):
    """It did not crash: nothing is run again, and what never ran is missing from nothing but the counts."""
    made(project)
    (project.root / "evals/test_exit.py").write_text(
        "import pytest\n\ndef test_exit():\n    pytest.exit('enough', returncode=3)\n"
    )
    ran = project.run("evals", "-n2")
    assert ran.code not in (0, 5), ran
    assert "running again" not in ran
    assert "INTERNALERROR" not in ran


def test_workers_that_see_other_items_are_a_usage_error(project):
    """Nothing runs, and the difference is told."""
    made(project)
    (project.root / "evals/test_other.py").write_text(
        "import os, pytest\n\n@pytest.mark.parametrize('name', [os.environ.get('PYTEST_XDIST_WORKER')])\n"
        "def test_other(name):\n    pass\n"
    )
    ran = project.run("evals", "-n2")
    assert ran.code == 4, ran
    assert "Different tests were collected" in ran
    assert "test_other[gw" in ran
    assert lines_of(ran) == []


OWN_SCHEDULER = """
from xdist.scheduler import LoadScheduling

class Mine(LoadScheduling):
    pass

def pytest_xdist_make_scheduler(config, log):
    return Mine(config, log)
"""
SHOW = """
def pytest_terminal_summary(config):
    session = config.pluginmanager.get_plugin("dsession")
    print("scheduler:", type(session.sched).__name__ if session else None)
"""


@pytest.mark.parametrize(
    ("conftest", "args", "name"),
    [
        ("", [], "Scheduler"),
        ("", ["--eval-scheduler=off"], "LoadScheduling"),
        ("", ["--dist=worksteal"], "WorkStealingScheduling"),
        ("", ["--dist=loadfile"], "LoadFileScheduling"),
        (OWN_SCHEDULER, [], "Mine"),
    ],
)
def test_ours_keeps_out_where_the_user_wants_another_one(project, conftest, args, name):
    """And every pair ends as under ours."""
    breached(project)
    (project.root / "conftest.py").write_text(conftest + SHOW)
    ran = project.run("evals", "-n2", *args)
    assert f"scheduler: {name}\n" in ran.output, ran
    assert (ran.code, lines_of(ran)) == (1, OUTCOMES), ran


def test_without_a_pair_xdists_own_scheduler_stays(project):
    """Of a suite that is there and not selected too."""
    made(project)
    (project.root / "conftest.py").write_text(SHOW)
    (project.root / "test_plain.py").write_text("def test_plain():\n    pass\n")
    ran = project.run("test_plain.py", "-n2")
    assert (ran.code, "scheduler: LoadScheduling\n" in ran.output) == (0, True), ran


# ------------------------------------------------------------------ fixtures of ordinary tests

TOLD = """
import pytest

def tell(*words):
    with open("told", "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

@pytest.fixture(scope="session")
def of_session():
    tell("session", "up")
    yield
    tell("session", "down")
    {at_the_end}

@pytest.fixture(scope="package")
def of_package(request):
    tell("package", request.node.name)

def pytest_runtest_protocol(item, nextitem):
    tell("next", item.name, getattr(nextitem, "name", None))
"""
MODULE = """
import pytest
from evals.conftest import tell

@pytest.fixture(scope="module")
def of_module(of_session, of_package):
    tell("module", "{name}", "up")
    yield
    tell("module", "{name}", "down")

@pytest.fixture(scope="class")
def of_class(of_module):
    tell("class", "{name}")

class TestMany:
    @pytest.mark.parametrize("number", range(5))
    def test_many(self, of_class, number):
        tell("ran", "{name}", number)

def test_alone(of_module):
    tell("ran", "{name}", "alone")

def test_pairs(pair, of_module):
    tell("pair", "{name}", pair.id)
"""


def beside(project, at_the_end="pass"):
    """Two modules with fixtures of every scope, and tests of every pair, in the suite's directory."""
    made(project)
    for directory in (project.root / "evals", project.suite):
        (directory / "__init__.py").touch()
    (project.root / "evals/conftest.py").write_text(TOLD.replace("{at_the_end}", at_the_end))
    for name in ("first", "second"):
        (project.suite / f"test_{name}.py").write_text(MODULE.replace("{name}", name))
    return project


def told(project, first):
    return [line.split() for line in (project.root / "told").read_text().splitlines() if line.startswith(first)]


@pytest.mark.parametrize("workers", ["-n0", "-n1", "-n3"])
def test_fixtures_are_set_up_as_often_as_in_one_process(project, workers):
    """Of class, module and package once a module; of the session once a worker; all are torn down.

    Tests of a module keep their order, and know the next one; after the last of a module nobody knows.
    """
    ran = beside(project).run("evals", workers)
    assert ran.code == 0, ran
    assert "24 passed" in ran, ran
    assert Counter(map(tuple, told(project, "module"))) == Counter(
        ("module", name, what) for name in ("first", "second") for what in ("up", "down")
    )
    assert sorted(told(project, "class")) == [["class", "first"], ["class", "second"]]
    assert len(told(project, "package")) <= 2
    ups, downs = told(project, "session up"), told(project, "session down")
    assert len(ups) == len(downs) <= 2
    following = [tuple(line[1:]) for line in told(project, "next") if "test_pair[" not in line[1]]
    assert Counter(name for name, _ in following) == Counter(IN_ORDER * 2)
    assert set(following) - {(IN_ORDER[-1], after) for _, after in following} == set(pairwise(IN_ORDER))


IN_ORDER = (
    *(f"test_many[{number}]" for number in range(5)),
    "test_alone",
    *(f"test_pairs[{model}/{dataset}]" for model in MODELS for dataset in DATASETS),
)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_session_fixture_that_fails_at_the_end_is_an_error(project, workers):
    """xdist's own loop and ours: its teardown is an item's, exit code 1."""
    beside(project, "raise RuntimeError('not torn down')")
    ran = project.run("evals", workers, "-k", "test_first")
    assert ran.code == 1, ran
    assert "not torn down" in ran
    assert "10 passed" in ran
    assert "1 error" in ran


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_module_fixture_that_fails_at_the_end_is_an_error(project, workers):
    """Of the last test of its module."""
    made(project)
    (project.suite / "test_own.py").write_text(FAILS_AT_THE_END)
    ran = project.run("evals", workers)
    assert ran.code == 1, ran
    assert "8 passed, 1 error" in ran, ran
    assert "ERROR evals/echo/test_own.py::test_own[b/two]" in ran


FAILS_AT_THE_END = """
import pytest

@pytest.fixture(scope="module")
def resource():
    yield
    raise RuntimeError("not torn down")

def test_own(pair, resource):
    pass
"""


# ------------------------------------------------------------------ order


# Nobody goes on before both models are loaded.
COUNTED = """
import time

class Model:
    def __init__(self, path=None):
        with open("loads", "a") as file:
            file.write(str(path)[-5] + "\\n")

    def predict(self, batch):
        while len(open("loads").readlines()) < 2:
            time.sleep(0.01)
        time.sleep(0.05 * len(batch))
        return [sample.input for sample in batch]
"""


def test_the_longest_pair_of_the_last_run_starts_first(project):
    """Whatever its size says; and each of two models is loaded once on two workers."""
    project.make(MODELS, ("small", "large"), samples=2)
    project.dataset("large", 60)
    (project.suite / "model.py").write_text(COUNTED)
    assert project.run("evals", "-n2").code == 0
    history = project.workdir / "history.jsonl"
    past = [json.loads(line) for line in history.read_text().splitlines()]
    for entry in past:
        if entry["pair"].endswith("/small"):
            entry["seconds"]["predict"] = 300.0
    history.write_text("".join(json.dumps(entry) + "\n" for entry in past))
    (project.root / "loads").unlink()
    ran = project.run("evals", "-n2", "--eval-run", "new", "--eval-fresh")
    assert ran.code == 0, ran
    assert sorted((project.root / "loads").read_text().split()) == ["a", "b"]
    started = [event["pair"] for event in project.events() if event["event"] == "item_started"]
    assert sorted(started[:2]) == ["echo/a/small", "echo/b/small"]
