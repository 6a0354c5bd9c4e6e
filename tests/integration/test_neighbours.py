"""Beside a suite the rest of a project notices nothing: its fixtures, parameters, markers, files and outcomes."""

from __future__ import annotations

import logging
import os
import signal
import threading

import pytest
from support import Project

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
        {"conftest.py": "pytest_plugins = ['plug']", "plug.py": own("gpus"), **takes("gpus", "evals/echo")},
        {"passed": 1},
    ),
    "fails": (
        {"conftest.py": own("pair"), "tests/test_a.py": "def test_a(pair):\n    assert pair == 'ours'\n"},
        {"failed": 1},
    ),
    "with parameters": (
        {
            "conftest.py": "import pytest\n@pytest.fixture(params=[1, 2, 3])\ndef pair(request):\n    return request.param\n",
            "evals/echo/test_a.py": "def test_a(pair):\n    assert pair > 0\n",
        },
        {"passed": 3},
    ),
    "theirs and ours": (
        {
            "conftest.py": own("pair"),
            "evals/echo/test_a.py": "def test_a(pair, evaluation):\n    assert pair == 'theirs'\n    assert evaluation.metrics\n",
        },
        {"passed": 2},
    ),
    "parameter": (
        {
            "evals/echo/test_a.py": "import pytest\n@pytest.mark.parametrize('pair', [1, 2, 3])\ndef test_a(pair):\n    assert pair in (1, 2, 3)\n"
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
            "evals/echo/conftest.py": "def pytest_generate_tests(metafunc):\n    if 'pair' in metafunc.fixturenames and "
            "metafunc.module.__name__ == 'test_a':\n        metafunc.parametrize('pair', [1, 2, 3])\n",
            "evals/echo/test_a.py": "def test_a(pair):\n    assert pair in (1, 2, 3)\n",
        },
        {"passed": 3},
    ),
    "fixture of a class": (
        {
            "evals/echo/test_a.py": "import pytest\nclass TestA:\n    @pytest.fixture\n    def evaluation(self):\n        return 5\n"
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
            "evals/echo/test_a.py": "import unittest\ndef test_a():\n    pass\nclass TestB(unittest.TestCase):\n    def test_b(self):\n        pass\n",
            "tests/test_c.py": "def test_c(seed, pair):\n    assert pair == 'theirs'\n",
        },
        {"passed": 3},
    ),
    "ours by itself": (
        {
            "evals/echo/conftest.py": "import pytest\n@pytest.fixture(autouse=True)\ndef seed(pair):\n    assert pair.id\n",
            "evals/echo/test_a.py": "def test_a():\n    pass\n",
            "tests/test_c.py": "def test_c():\n    pass\n",
        },
        {"passed": 3},
    ),
    "parameter gpus": (
        {
            "evals/echo/test_a.py": "import pytest\n@pytest.mark.parametrize('gpus', [1, 2])\ndef test_a(gpus):\n    assert gpus in (1, 2)\n"
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
            "evals/echo/test_a.py": "import pytest\n@pytest.mark.usefixtures('evaluation')\ndef test_a(request):\n    assert request.getfixturevalue('pair').id\n"
        },
        {"passed": 2},
    ),
    "doctest": (
        {"evals/echo/a.py": '"""\n>>> 1 + 1\n2\n"""\n', "pytest.ini": "[pytest]\naddopts = --doctest-modules\n"},
        {"passed": 1},
    ),
}


@pytest.fixture
def suite(pytester):
    """Two pairs, and pytest in this process."""
    return Project(pytester.path).make(models=("a", "b"))


def write(project, files):
    for name, text in files.items():
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def outcomes(result):
    found = result.parseoutcomes()
    assert "warnings" not in found
    return found


@pytest.mark.parametrize(("files", "expected"), CASES.values(), ids=CASES.keys())
def test_names_of_a_project_are_its_own(pytester, suite, files, expected):
    """Who has a fixture, a parameter or a marker of our names keeps it; our items have ours, and nothing is skipped."""
    write(suite, files)
    result = pytester.runpytest_inprocess(".", "-p", "no:cacheprovider", "-p", "no:xdist")
    assert outcomes(result) == {**expected, "passed": expected.get("passed", 0) + SUITE["passed"]}
