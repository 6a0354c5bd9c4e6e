"""What continuous integration learns of a run: JUnit's properties, GitHub's annotations and page, the verdict."""

from __future__ import annotations

import json
import os
import re
from xml.etree import ElementTree as ET

import pytest

GATES = {"exact_match": {"min": 0.9}}
KEY = "sk-0123456789abcdef"
OWN = """
import os

def test_own(evaluation):
    evaluation.record("token", os.environ["KEY"])
"""
FAILS = """
class Model:
    def __init__(self, path=None):
        raise RuntimeError("no weights: 50% of\\n::error::them")

    def predict(self, batch):
        return []
"""


def properties(file, test="test_pair"):
    """By the name of the test case, those of JUnit's file: name → value."""
    cases = ET.parse(file).getroot().iter("testcase")
    return {
        case.get("name"): {entry.get("name"): entry.get("value") for entry in case.iter("property")}
        for case in cases
        if case.get("name").startswith(test)
    }


@pytest.fixture
def mixed(cluster, project):
    """Two pairs, of which one breaches its gate; jobs may run them."""
    cluster(datasets=("one", "two"), gates=GATES)
    project.dataset("two", 8, wrong=4)
    return project


HOW = {
    "here": ["-n0"],
    "workers": ["-n2"],
    "xunit1": ["-n0", "-o", "junit_family=xunit1"],
    "jobs": ["--eval-engine", "command", "--eval-jobs", "2"],
}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_junit_says_what_was_measured_and_judged(mixed, how):
    """Values, intervals, samples and gates, whoever ran the pair and whether it passed; numbers of old stay numbers."""
    assert mixed.run("evals", *how, "--junitxml=junit.xml").code == 1
    found = properties(mixed.root / "junit.xml")
    assert sorted(found) == ["test_pair[a/one]", "test_pair[a/two]"]
    good, bad = found["test_pair[a/one]"], found["test_pair[a/two]"]
    metric = mixed.result("a", "two")["metrics"]["exact_match"]
    assert re.fullmatch(r"[\d.]+ s", bad.pop("seconds"))
    assert {name for name in bad if name.startswith("seconds.")} == {"seconds.p50", "seconds.p95"}
    assert {name: value for name, value in bad.items() if not name.startswith("seconds")} == {
        "exact_match": "0.5",
        "exact_match.interval": f"[{metric['low']:.6g}, {metric['high']:.6g}] at 95 %",
        "exact_match.samples": "8 samples",
        "gate.exact_match.min": "FAIL: 0.5 < 0.9 by 0.4",
        "samples": "8 of 8 samples",
    }
    assert good["gate.exact_match.min"] == "PASS: 1 > 0.9"


def test_junit_holds_no_secret(project):
    """Whatever a test records."""
    project.make(params={"key": "${KEY}"})
    (project.suite / "model.py").write_text("def predict(batch, key): return [sample.input for sample in batch]\n")
    project.yaml(("a",), ("one",), adapter="./model.py:predict", params={"key": "${KEY}"})
    (project.suite / "test_own.py").write_text(OWN)
    ran = project.run("evals", "-n2", "--junitxml=junit.xml", KEY=KEY)
    assert ran.code == 0, ran
    (own,) = properties(project.root / "junit.xml", "test_own").values()
    assert own["test_own.token"] == "***"
    assert KEY not in (project.root / "junit.xml").read_text()


def github(project, **more):
    return {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(project.root), **more}


def commands(ran):
    """The lines that GitHub would obey."""
    return [line for line in ran.output.splitlines() if line.startswith("::")]


@pytest.mark.parametrize("how", [HOW["here"], HOW["workers"], HOW["jobs"]], ids=["here", "workers", "jobs"])
def test_github_is_told_of_each_breached_gate_and_error_once(mixed, how):
    """At the gate's own line, by the process that was started, as GitHub wants it escaped; a model commands nothing."""
    (mixed.suite / "broken.py").write_text(FAILS)
    models = [{"name": "a", "path": "a.bin"}, {"name": "b,b:c", "adapter": "./broken.py:Model", "path": "a.bin"}]
    content = json.loads((mixed.suite / "evalrun.yaml").read_text())
    mixed.yaml((), (), **(content | {"models": models}))
    ran = mixed.run("evals", *how, **github(mixed))
    assert ran.code == 1
    yaml = (mixed.suite / "evalrun.yaml").read_text().splitlines()
    line = next(number for number, text in enumerate(yaml, 1) if '"min"' in text)
    file = "file=evals/echo/evalrun.yaml"
    *errors, breached = commands(ran)
    assert "\\x3a:error::them" in ran
    assert (
        breached == f"::error {file},line={line},title=gate breached%3A echo/a/two::exact_match 0.5000 < 0.9000 (min)"
    )
    assert [text.partition("::not made: RuntimeError: no weights")[0] for text in errors] == [
        f"::error {file},title=ERROR%3A echo/b%2Cb%3Ac/{dataset}" for dataset in ("one", "two")
    ], ran
    assert all(text.endswith(": 50%25 of") for text in errors)
    again = mixed.run("evals", "-k", "a/one", **github(mixed))
    assert (again.code, commands(again)) == (0, []), "of pairs that this launch has nothing to do with"


def test_elsewhere_nothing_is_said(mixed):
    """Nor where something else calls itself so."""
    assert commands(mixed.run("evals")) == []
    assert commands(mixed.run("evals", GITHUB_ACTIONS="")) == []


def test_githubs_page_begins_with_the_verdict(mixed, tmp_path):
    """The summary behind what is there already."""
    page = tmp_path / "page.md"
    page.write_text("of another step\n")
    assert mixed.run("evals", GITHUB_STEP_SUMMARY=str(page)).code == 1
    before, verdict, rest = page.read_text().split("\n", 2)
    assert before == "of another step"
    assert verdict == "# FAILED: 1 of 2 pairs failed (1 gate breached); 1 passed"
    assert r"- echo/a/two: exact_match 0.5000 \< 0.9000 (min)" in rest
    assert "| a | 1.000 | 0.5000 ✗ |" in rest
    summary = (mixed.latest / "summary/summary.md").read_text()
    assert page.read_text() == f"of another step\n{summary.rstrip()}\n\n"


def directory(place):
    place.mkdir()


IN_THE_WAY = {
    "a directory": (directory, "Is a directory"),
    "a FIFO": (os.mkfifo, ""),
    "a full page": (lambda place: place.write_bytes(b"x" * ((1 << 20) - 90)), "has no room"),
}


@pytest.mark.parametrize(("make", "told"), IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_a_page_that_cannot_be_written_fails_nothing(evaluated, tmp_path, make, told):
    """It is said, and the run ends as it would have; a page keeps to what GitHub takes."""
    page = tmp_path / "page.md"
    make(page)
    ran = evaluated.run("evals", GITHUB_STEP_SUMMARY=str(page))
    assert ran.code == 0
    assert "evalrun: GITHUB_STEP_SUMMARY" in ran
    assert told in ran
    if page.is_file():
        assert page.stat().st_size <= 1 << 20
        assert page.read_text().endswith("PASSED: the only pair passed\n\n")


def test_a_part_of_a_run_is_not_taken_for_all_of_it(project):
    """The terminal says how the whole run stands, in the words of its report, where pytest speaks of a part alone."""
    project.make(models=("a", "b"))
    part = project.run("evals", "-k", "a/one")
    verdict = "PENDING: 1 of 2 pairs without a result yet; 1 passed"
    assert f"the whole run: {verdict}" in part
    assert (project.latest / "summary/summary.md").read_text().startswith(f"# {verdict}\n")
    whole = project.run("evals")
    assert "the whole run" not in whole
    assert (project.latest / "summary/summary.md").read_text().startswith("# PASSED: all 2 pairs passed\n")


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_an_error_behind_a_breached_gate_is_an_error(mixed, workers):
    """Its old values stay, and neither verdict nor annotation takes them for those of today; until it is well."""
    assert mixed.run("evals", workers).code == 1
    model = (mixed.suite / "model.py").read_text()
    (mixed.suite / "model.py").write_text(model.replace("return [", "raise RuntimeError('no power')\n        return ["))
    ran = mixed.run("evals", workers, "--eval-set", "retries=0", **github(mixed))
    assert ran.code == 1
    assert [line.partition("title=")[2].partition(":")[0] for line in commands(ran)] == [
        "ERROR%3A echo/a/one",
        "ERROR%3A echo/a/two",
    ]
    text = (mixed.latest / "summary/summary.md").read_text()
    assert text.startswith("# ERROR: all 2 pairs ended in an error (2 of them with values of an earlier evaluation)\n")
    assert text.count("no power") == 4
    (mixed.suite / "model.py").write_text(model)
    mixed.run("evals", workers)
    text = (mixed.latest / "summary/summary.md").read_text()
    assert text.startswith("# FAILED: 1 of 2 pairs failed (1 gate breached); 1 passed\n")
