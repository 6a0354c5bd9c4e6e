"""Reports that a job wrote do, in the process that launched it, what the same items do there."""

from __future__ import annotations

import json
import os
import re
from xml.etree import ElementTree as ET

import pytest
from support import Ran

from pytest_evalrun.plugin.engine.allure import allure_directory, gather_allure
from pytest_evalrun.rundir.enginepaths import AttemptPaths

TESTS = '''
import sys
import unittest
import warnings

import pytest


class OddWarning(UserWarning):
    """It wants to be told more than a text."""

    def __init__(self, text, more):
        super().__init__(text)


@pytest.fixture
def broken():
    raise RuntimeError("no setup")


@pytest.fixture
def breaks():
    yield
    raise RuntimeError("no teardown")


def test_passes(record_property, capsys):
    record_property("top1", 0.5)
    record_property("who", "me")
    print("said", file=sys.stdout)
    print("muttered", file=sys.stderr)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_numbers(number):
    print("number", number)
    assert number != 2, "it is two"


def test_chain():
    try:
        raise ValueError("first")
    except ValueError as error:
        raise KeyError("second") from error


def test_skips():
    pytest.skip("not today")


@pytest.mark.skip(reason="never")
def test_marked():
    pass


@pytest.mark.xfail(reason="known")
def test_expected():
    assert False


@pytest.mark.xfail
def test_unexpected():
    pass


@pytest.mark.xfail(strict=True, reason="strict")
def test_strict():
    pass


def test_setup(broken):
    pass


def test_teardown(breaks):
    pass


def test_both(breaks):
    assert [1, 2] == [1, 3]


def test_warns():
    warnings.warn("old", DeprecationWarning)
    warnings.warn(OddWarning("odd", 1))


def test_untraced():
    pytest.fail("plainly", pytrace=False)


def test_subtests(subtests):
    for number in range(3):
        with subtests.test("part"):
            assert number != 1


class TestCase(unittest.TestCase):
    def test_of_unittest(self):
        self.assertEqual(1, 2)


class TestClass:
    def test_last(self, record_property):
        record_property("last", [1, 2])
'''

# The two halves of an engine: what a job writes as its items end, and what a launch does with it.
JOB = """
from pathlib import Path

from pytest_evalrun.plugin.engine.replay import warning_line
from pytest_evalrun.rundir.reportlines import ITEM, ReportWriter


def pytest_configure(config):
    config.pluginmanager.register(Job(config))


class Job:
    def __init__(self, config):
        self.config = config
        self.file = ReportWriter(Path("reports.jsonl"))
        self.reports = {}

    def pytest_runtest_logreport(self, report):
        told = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.reports.setdefault(report.nodeid, []).append(told)
        if report.when == "teardown":
            self.file.write({"kind": ITEM, "id": report.nodeid, "reports": self.reports.pop(report.nodeid)})

    def pytest_warning_recorded(self, warning_message, when, nodeid, location):
        self.file.write(warning_line(warning_message, when, nodeid, location))
"""
LAUNCH = """
from pathlib import Path

import pytest

from pytest_evalrun.plugin.engine.replay import Replay
from pytest_evalrun.rundir.reportlines import ITEM, ReportReader


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    wanted = {item.nodeid for item in session.items}
    replay = Replay(session)
    for line in ReportReader(Path("reports.jsonl")).read():
        if line["id"] not in wanted:
            continue
        if line["kind"] != ITEM:
            replay.warning(line)
            continue
        replay.item(line)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    return True
"""


class Replayed:
    """A directory with tests, and what a job told of them; ``here`` runs them, ``replayed`` only hears of them."""

    def __init__(self, root, warm):
        self.root = root
        self._warm = warm
        self._env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}

    def pytest(self, name, *args):
        """Each with a cache and a JUnit file of its own."""
        command = ["pytest", "-rA", f"--junitxml={name}.xml", "-o", f"cache_dir=.cache-{name}", *args]
        return Ran(*self._warm.run(command, self.root, self._env, timeout=60))

    def both(self, *args):
        """A session that ran its items, and one that only heard of them; ``args`` that end a session end no job."""
        (self.root / "reports.jsonl").unlink(missing_ok=True)
        ends = any(arg in ("-x", "--maxfail=3", "--sw") for arg in args)
        here = self.pytest("here", "-p", "job", "--cache-clear", *([] if ends else args))
        if ends:
            here = self.pytest("here", "--cache-clear", *args)
        return here, self.pytest("told", "-p", "launch", "--cache-clear", *args)

    def cache(self, name):
        """What pytest remembers of the last run."""
        found = (self.root / f".cache-{name}" / "v" / "cache").glob("*")
        kept = {path.name: json.loads(path.read_text()) for path in found}
        kept.get("stepwise", {}).pop("last_cache_date_str", None)
        return kept


@pytest.fixture(scope="module")
def tests(tmp_path_factory, warm):
    root = tmp_path_factory.mktemp("replay")
    (root / "pytest.ini").write_text("[pytest]\njunit_logging = all\n")
    (root / "test_all.py").write_text(TESTS)
    (root / "job.py").write_text(JOB)
    (root / "launch.py").write_text(LAUNCH)
    return Replayed(root, warm)


def said(ran):
    """What a person sees, without what takes its time."""
    text = re.sub(r"\b\d+\.\d+s\b", "_s", ran.output)
    return re.sub(r"0x[0-9a-f]+", "0x_", text).replace("told", "here").splitlines()


def junit(path):
    """The file without times, as text; addresses in it are of one process."""
    root = ET.parse(path)
    for element in root.iter():
        for name in ("time", "timestamp"):
            element.attrib.pop(name, None)
    return re.sub(r"0x[0-9a-f]+", "0x_", ET.tostring(root.getroot(), encoding="unicode"))


OPTIONS = {
    "nothing": [],
    "verbose": ["-v"],
    "exitfirst": ["-x"],
    "maxfail": ["--maxfail=3"],
    "stepwise": ["--sw"],
    "durations": ["--durations=5", "--durations-min=0"],
    "warnings": ["-W", "ignore::DeprecationWarning"],
}


@pytest.mark.parametrize("args", OPTIONS.values(), ids=OPTIONS)
def test_a_replayed_session_says_and_keeps_what_one_that_ran_its_items_does(tests, args):
    """The terminal, the exit code, JUnit's file and pytest's cache are the same, up to times."""
    here, replayed = tests.both(*args)
    assert said(replayed) == said(here)
    assert replayed.code == here.code != 0
    assert junit(tests.root / "told.xml") == junit(tests.root / "here.xml")
    assert tests.cache("told") == tests.cache("here")


ALLURE = """
import allure
import pytest


@pytest.fixture
def prepared():
    allure.attach("ready", "of the fixture")


@pytest.mark.parametrize("number", [1, 2])
def test_steps(number, prepared, request):
    with allure.step("a step"):
        allure.attach(f"said {number}", "of the test")
    assert number != 2


def test_skips():
    pytest.skip("not today")
"""


def allure_results(directory):
    """Of each item what Allure's report shows of it, without times and names of files."""
    found = {}
    for path in directory.glob("*-result.json"):
        result = json.loads(path.read_text())
        steps = [
            (step["name"], [(directory / each["source"]).read_text() for each in step.get("attachments", ())])
            for step in result.get("steps", ())
        ]
        containers = [json.loads(each.read_text()) for each in directory.glob("*-container.json")]
        around = [
            before["name"]
            for each in containers
            if result["uuid"] in each.get("children", ())
            for before in each.get("befores", ())
        ]
        found.setdefault(result["name"], []).append((result["status"], steps, sorted(around)))
    return found


def test_allure_has_one_result_an_item(tmp_path, warm, with_allure):
    """Of two attempts the newer counts, with steps, attachments and fixtures: as where the items ran here."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_allure.py").write_text(ALLURE)
    tests = Replayed(tmp_path, warm)
    tests.pytest("here", "--alluredir=here")
    attempts = [AttemptPaths(tmp_path / "engine" / "u001" / number) for number in ("1", "2")]
    tests.pytest("first", f"--alluredir={allure_directory(attempts[0])}", "-k", "1 or skips")
    tests.pytest("second", f"--alluredir={allure_directory(attempts[1])}", "-k", "not skips")
    for _ in range(2):
        gather_allure(attempts, tmp_path / "told")
    expected = allure_results(tmp_path / "here")
    assert len(expected) == 3, expected
    assert allure_results(tmp_path / "told") == expected
