"""Beside a suite the rest of a project notices nothing: its fixtures, parameters, markers, files and outcomes."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from support import Project

pytestmark = pytest.mark.usefixtures("all_of_pytest")

SUITE = {"passed": 2}
CONFTEST = "import pytest\n@pytest.fixture\ndef {name}():\n    return 'theirs'\n"
TAKES = "def test_takes({name}):\n    assert {name} == 'theirs'\n"


def takes(name, *places):
    return {f"{place}/test_takes_{number}.py": TAKES.format(name=name) for number, place in enumerate(places)}


def own(name):
    return CONFTEST.format(name=name)


# Files beside a suite of two pairs → how many tests end how; the suite's own two pass in any case.
CASES = {
    "pair of the root": ({"conftest.py": own("pair"), **takes("pair", "tests", "evals/echo")}, {"passed": 2}),
    "device of the middle": ({"evals/conftest.py": own("device"), **takes("device", "evals/echo")}, {"passed": 1}),
    "evaluation beside": (
        {"evals/echo/conftest.py": own("evaluation"), **takes("evaluation", "evals/echo")},
        {"passed": 1},
    ),
    "gpus of a plugin": (
        {
            "conftest.py": "pytest_plugins = ['plug']",
            "plug.py": own("gpus"),
            "pytest.ini": "[pytest]\npythonpath = .\n",
            **takes("gpus", "evals/echo"),
        },
        {"passed": 1},
    ),
    "fails": (
        {"conftest.py": own("pair"), "tests/test_a.py": "def test_a(pair):\n    assert pair == 'ours'\n"},
        {"failed": 1},
    ),
    "with parameters": (
        {
            "conftest.py": "import pytest\n@pytest.fixture(params=[1, 2, 3])\ndef pair(request):\n"
            "    return request.param\n",
            "evals/echo/test_a.py": "def test_a(pair):\n    assert pair > 0\n",
        },
        {"passed": 3},
    ),
    "theirs and ours": (
        {
            "conftest.py": own("pair"),
            "evals/echo/test_a.py": "def test_a(pair, evaluation):\n    assert pair == 'theirs'\n"
            "    assert evaluation.metrics\n",
        },
        {"passed": 2},
    ),
    "parameter": (
        {
            "evals/echo/test_a.py": "import pytest\n@pytest.mark.parametrize('pair', [1, 2, 3])\ndef test_a(pair):\n"
            "    assert pair in (1, 2, 3)\n"
        },
        {"passed": 3},
    ),
    "parameter beside ours": (
        {
            "evals/echo/test_a.py": "import pytest\n@pytest.mark.parametrize('pair, x', [(1, 2)])\n"
            "def test_a(pair, x, evaluation):\n    assert (pair, x) == (1, 2)\n    assert evaluation.pair.id\n"
        },
        {"passed": 2},
    ),
    "parameter through a fixture of its own": (
        {
            "evals/echo/test_a.py": "import pytest\n@pytest.fixture\ndef pair(request):\n    return -request.param\n"
            "@pytest.mark.parametrize('pair', [1, 2, 3], indirect=True)\ndef test_a(pair):\n    assert pair < 0\n"
        },
        {"passed": 3},
    ),
    "parameter by a hook": (
        {
            "evals/echo/conftest.py": "def pytest_generate_tests(metafunc):\n"
            "    if 'pair' in metafunc.fixturenames and "
            "metafunc.module.__name__.endswith('test_a'):\n        metafunc.parametrize('pair', [1, 2, 3])\n",
            "evals/echo/test_a.py": "def test_a(pair):\n    assert pair in (1, 2, 3)\n",
        },
        {"passed": 3},
    ),
    "fixture of a class": (
        {
            "evals/echo/test_a.py": "import pytest\nclass TestA:\n    @pytest.fixture\n    def evaluation(self):\n"
            "        return 5\n"
            "    def test_a(self, evaluation):\n        assert evaluation == 5\n"
        },
        {"passed": 1},
    ),
    "an override asks for ours": (
        {
            "evals/echo/test_a.py": "import pytest\n@pytest.fixture\ndef pair(pair):\n    return pair.id\n"
            "def test_a(pair, evaluation):\n    assert pair == evaluation.pair.id\n"
        },
        {"passed": 2},
    ),
    "by itself": (
        {
            "conftest.py": own("pair") + "@pytest.fixture(autouse=True)\ndef seed(pair):\n    pass\n",
            "evals/echo/test_a.py": "import unittest\ndef test_a():\n    pass\nclass TestB(unittest.TestCase):\n"
            "    def test_b(self):\n        pass\n",
            "tests/test_c.py": "def test_c(seed, pair):\n    assert pair == 'theirs'\n",
        },
        {"passed": 3},
    ),
    "ours by itself": (
        {
            "evals/echo/conftest.py": "import pytest\n@pytest.fixture(autouse=True)\ndef seed(pair):\n"
            "    assert pair.id\n",
            "evals/echo/test_a.py": "def test_a():\n    pass\n",
            "tests/test_c.py": "def test_c():\n    pass\n",
        },
        {"passed": 3},
    ),
    "parameter gpus": (
        {
            "evals/echo/test_a.py": "import pytest\n@pytest.mark.parametrize('gpus', [1, 2])\ndef test_a(gpus):\n"
            "    assert gpus in (1, 2)\n"
        },
        {"passed": 2},
    ),
    "marker gpus": (
        {"evals/echo/test_a.py": "import pytest\n@pytest.mark.gpus('a100', kind=3)\ndef test_a():\n    pass\n"},
        {"passed": 1},
    ),
    "marker gpus with ours": (
        {"evals/echo/test_a.py": "import pytest\n@pytest.mark.gpus('a100', kind=3)\ndef test_a(gpus):\n    pass\n"},
        {"errors": 1},
    ),
    "elsewhere there are none": ({"tests/test_a.py": "def test_a(evaluation):\n    pass\n"}, {"errors": 1}),
    "asked for too late": (
        {"evals/echo/test_a.py": "def test_a(request):\n    request.getfixturevalue('evaluation')\n"},
        {"failed": 1},
    ),
    "used without a name": (
        {
            "evals/echo/test_a.py": "import pytest\n@pytest.mark.usefixtures('evaluation')\ndef test_a(request):\n"
            "    assert request.getfixturevalue('pair').id\n"
        },
        {"passed": 2},
    ),
    "doctest": (
        {"evals/echo/a.py": '"""\n>>> 1 + 1\n2\n"""\n', "pytest.ini": "[pytest]\naddopts = --doctest-modules\n"},
        {"passed": 1},
    ),
}


# What lies beside a suite alone can be tried in one session, each with a suite of its own.
BESIDE = {name: case for name, case in CASES.items() if all(file.startswith("evals/echo/") for file in case[0])}
WIDER = {name: case for name, case in CASES.items() if name not in BESIDE}
RUN = (".", "-p", "no:cacheprovider", "-p", "no:xdist", "--import-mode=importlib")


@pytest.fixture
def suite(pytester):
    """Two pairs, evaluated by pytest in this process."""
    project = Project(pytester.path).make(models=("a", "b"), adapter="./model.py:predict")
    (project.suite / "model.py").write_text("def predict(batch):\n    return [sample.input for sample in batch]\n")
    return project


def write(project, files):
    for name, text in files.items():
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def outcomes(reports):
    """How many tests ended how, in the words of pytest's last line."""
    words = Counter()
    for report in reports:
        if report.when == "call" or not report.passed:
            words["errors" if report.failed and report.when != "call" else report.outcome] += 1
    return words


def with_suite(expected):
    return Counter(expected) + Counter(SUITE)


@pytest.mark.parametrize(("files", "expected"), WIDER.values(), ids=WIDER.keys())
def test_names_of_a_project_are_its_own(pytester, suite, files, expected):
    """Who has a fixture, a parameter or a marker of our names keeps it; our items have ours, and nothing is skipped."""
    write(suite, files)
    reports = pytester.inline_run(*RUN).getreports("pytest_runtest_logreport")
    assert outcomes(reports) == with_suite(expected)


def test_names_beside_a_suite_are_its_projects(pytester, suite):
    """Likewise of modules and of a conftest.py beside a suite."""
    places = {name: name.replace(" ", "_") for name in BESIDE}
    for name, place in places.items():
        shutil.copytree(suite.suite, suite.root / "evals" / place)
        write(suite, {file.replace("/echo/", f"/{place}/"): text for file, text in BESIDE[name][0].items()})
    shutil.rmtree(suite.suite)
    reports = pytester.inline_run(*RUN).getreports("pytest_runtest_logreport")
    found = {
        name: outcomes(report for report in reports if report.nodeid.startswith(f"evals/{place}/"))
        for name, place in places.items()
    }
    assert found == {name: with_suite(expected) for name, (_, expected) in BESIDE.items()}


def test_a_test_named_like_a_pair_is_no_item_of_ours(suite):
    """Under xdist the launching process knows tests by their names alone; one that fails leaves the pair as it is."""
    text = "import pytest\n@pytest.mark.parametrize('name', ['a/one', 'b/one'])\ndef test_a(name):\n    assert False\n"
    write(suite, {"evals/echo/test_a.py": text})
    ran = suite.run(".", "-n", "2")
    assert "2 failed, 2 passed" in ran, ran
    assert "FAILED  echo/a/one::test_a" not in ran, ran
    assert [line for line in (suite.latest / ".task_list").read_text().splitlines() if "one" in line] == ["-one|2"] * 2


def test_under_dist_each_pairs_are_refused_and_other_tests_run(suite):
    """Each pair is one ERROR on each worker; no run is made."""
    write(
        suite,
        {
            "tests/test_a.py": "def test_a():\n    pass\n",
            "evals/echo/test_b.py": "def test_b(pair):\n    assert pair.id\n",
        },
    )
    ran = suite.run(".", "--dist", "each", "--tx", "2*popen")
    assert ran.code == 1, ran
    assert "6 passed, 4 errors" in ran, ran
    assert "--dist each would evaluate every pair on every worker; use --dist load" in ran, ran
    assert not (suite.root / "outputs").exists()


def test_of_what_never_ran_only_pairs_are_listed(suite):
    """With -x pytest says nothing of ordinary tests that were not run, and neither do we."""
    write(suite, {"a/test_a.py": "def test_a():\n    assert False\ndef test_b():\n    pass\n"})
    ran = suite.run("a", "evals", "-x")
    assert ran.code == 1, ran
    assert "2 items never ran" in ran, ran
    assert "test_b" not in ran, ran


def test_only_runs_are_kept_from_collection(pytester, suite):
    """A project may have had its own outputs/default, and tests in it, before there was a run."""
    write(suite, {f"outputs/default/{name}": "def test_x():\n    pass\n" for name in ("test_x.py", "mine/test_y.py")})
    for _ in range(2):
        assert outcomes(pytester.inline_run(*RUN).getreports("pytest_runtest_logreport")) == with_suite({"passed": 2})
    (suite.latest / "outputs").mkdir()
    (suite.latest / "outputs" / "test_z.py").write_text("def test_z():\n    assert False\n")
    assert outcomes(pytester.inline_run(*RUN).getreports("pytest_runtest_logreport")) == with_suite({"passed": 2})


LIGHT = """
import sys
def test_light():
    assert not {"pydantic", "numpy", "pandas", "psutil"} & set(sys.modules)
    assert not {f"pytest_evalrun.plugin.{name}" for name in ("fixtures", "controller")} & set(sys.modules)
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_foreign_file_is_passed_over_with_a_line(project, workers):
    """It switches nothing on and is no warning; who names it on the command line is told what is wrong with it."""
    write(project, {"vendor/x/evalrun.yaml": "- a list\n", "vendor/x/test_a.py": LIGHT, "pytest.ini": "[pytest]\n"})
    ran = project.run(".", "-n", workers, "-W", "error")
    assert ran.code == 0, ran
    assert "1 passed" in ran, ran
    assert ran.output.count("vendor/x/evalrun.yaml:1: found a list") == 1, ran
    assert not (project.root / "outputs").exists()
    ran = project.run("vendor/x/evalrun.yaml", "-n", workers)
    assert ran.code == 4, ran
    assert "vendor/x/evalrun.yaml:1: found a list" in ran, ran


def test_a_foreign_file_below_a_suite_changes_nothing_there(pytester, suite):
    """Tests below it belong to the suite above."""
    write(
        suite,
        {
            "evals/echo/x/evalrun.yaml": "jobs: []\n",
            "evals/echo/x/test_a.py": "def test_a(pair):\n    assert pair.id\n",
        },
    )
    assert outcomes(pytester.inline_run(*RUN).getreports("pytest_runtest_logreport")) == with_suite({"passed": 2})


def test_items_speak_of_their_own_pair(pytester, suite):
    """Reports show a test's docstring and its parameters: a sentence, and the pair's id."""
    suite.yaml(("a", "b"), ("one",), adapter="./model.py:predict", shards=2)
    items, _ = pytester.inline_genitems("evals", "-p", "no:cacheprovider")
    shown = {repr(item.callspec.params["pair"]): item.function.__doc__ for item in items}
    assert shown.keys() == {f"{model}/one{cut}" for model in "ab" for cut in ("", "/0-4", "/4-8")}
    assert shown["a/one"] == "Model a on dataset one, of the suite echo."
    assert shown["b/one/4-8"] == "Model b on dataset one, samples 4-8, of the suite echo."
    assert {item.module.__doc__ for item in items} == {f"The suite in {suite.suite / 'evalrun.yaml'}."}


def test_sessions_in_one_process_leave_nothing_behind(pytester, suite):
    """Signals, threads, logging, the directory and the descriptors are as before; each session sees what is there."""

    def around():
        handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)]
        threads = sorted(thread.name for thread in threading.enumerate())
        descriptors = Path("/proc/self/fd")
        opened = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
        return handlers, threads, logging.getLogger().handlers[:], Path.cwd(), opened

    assert pytester.inline_run(*RUN).ret == 0
    before = around()
    assert pytester.inline_run(*RUN).ret == 0
    assert around() == before
    suite.dataset("one", 8, wrong=2)
    assert pytester.inline_run(*RUN).ret == 0
    assert suite.result("a", "one")["metrics"]["exact_match"]["value"] == 0.75
    suite.yaml(("a",), ("one",), metrics=["typo"])
    assert pytester.inline_run(*RUN).ret == 4
    assert around() == before


NESTED = """
import json
pytest_plugins = "pytester"
SUITE = {suite!r}

def test_inner(pytester):
    for name, text in SUITE.items():
        pytester.path.joinpath(name).write_text(text)
    for _ in range(2):
        pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist").assert_outcomes(passed=2)
"""


def test_a_suite_may_be_tried_inside_of_a_test(suite):
    """Twice in a process that has met none before: what Python is made to forget in between is found again."""
    files = {path.name: path.read_text() for path in suite.suite.iterdir() if path.is_file()}
    shutil.rmtree(suite.suite)
    write(suite, {"tests/test_nested.py": NESTED.replace("{suite!r}", repr(files))})
    ran = suite.run(".")
    assert ran.code == 0, ran
    assert "1 passed" in ran, ran
