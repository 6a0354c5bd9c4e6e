"""The user's own test functions, classes and readers, beside or below an evalrun.yaml."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.measured

OWN = """
import pytest

def test_answers(evaluation):
    lines = list(evaluation.predictions)
    evaluation.record("answers", [line.prediction for line in lines])
    evaluation.record("mean", sum(line.prediction for line in lines) / len(lines))
    assert evaluation.metrics["exact_match"] == 1
    assert evaluation.result.samples["total"] == 8
    assert evaluation.pair.full_id.startswith("echo/")

@pytest.mark.parametrize("scale", [1, 2])
class TestScaled:
    def test_scaled(self, evaluation, scale):
        evaluation.record("scaled", scale * evaluation.metrics["exact_match"])
        assert scale == 1, "too large"
"""
BELOW = """
def test_names(pair):
    assert pair.suite == "echo"
    assert pair.settings.max_batch_size == 4
    assert pair.task.path.endswith(f"{pair.task.name}.bin")
"""
PLAIN = """
import logging, sys, pytest

def test_quiet(capsys):
    print("to capsys")
    assert capsys.readouterr().out == "to capsys\\n"

def test_loud(caplog):
    print("loud print")
    print("loud error", file=sys.stderr)
    logging.getLogger("user").warning("loud record")
    assert caplog.messages == ["loud record"]
    assert False

@pytest.fixture
def broken():
    raise RuntimeError("fixture")

def test_broken(broken):
    pass

@pytest.mark.skip(reason="skipped by its user")
def test_skipped():
    pass

@pytest.mark.xfail
def test_known():
    assert False
"""


ODD = """
import pytest

@pytest.mark.xdist_group("one group")
@pytest.mark.parametrize("other", ["one-b/two", "x::y[z]"])
def test_odd(evaluation, other):
    pass
"""


WAYS = {
    "ours": [],
    "xdist's": ["--eval-scheduler=off"],
    "groups": ["--dist=loadgroup"],
    "rootdir elsewhere": ["-c", "elsewhere/pytest.ini"],
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_else_a_node_id_says_is_about_no_pair(project, way):
    """Another parameter may be called like a pair, have brackets or colons; a group may stand behind them all.

    And the file in front may not be where it seems to be.
    """
    project.make(models=("a", "one-b"), datasets=("one", "two"))
    (project.root / "elsewhere").mkdir()
    (project.root / "elsewhere/pytest.ini").write_text("[pytest]\n")
    (project.suite / "test_odd.py").write_text(ODD)
    ran = project.run("evals/echo/test_odd.py", "-n2", *way)
    assert ran.code == 0, ran
    for pair in ("a/one", "a/two", "one-b/one", "one-b/two"):
        assert ran.output.count(f"PASSED  echo/{pair}::test_odd  ") == 2, ran


@pytest.mark.parametrize("workers", ["0", "2"])
def test_functions_of_the_user_share_the_pairs(project, tmp_path, workers):
    """Whatever asks for a pair, its model is asked once a sample; own metrics go beside the pair's result."""
    project.make(models=("a", "b"), datasets=("one", "two"))
    (project.suite / "test_own.py").write_text(OWN)
    below = project.suite / "checks"
    below.mkdir()
    (below / "test_below.py").write_text(BELOW)
    ran = project.run("evals", "-n", workers, f"--junitxml={tmp_path / 'report.xml'}", ASKED=str(tmp_path / "asked"))
    assert ran.code == 1, ran
    assert "4 failed, 16 passed" in ran, ran
    assert "too large" in ran
    assert len((tmp_path / "asked").read_text().split()) == 4 * 8
    assert (tmp_path / "report.xml").read_text().count('<property name="test_answers.mean" value="3.5"') == 4
    summary = (project.latest / "summary/summary.csv").read_text()
    for name, value in (("test_answers.mean", 3.5), ("test_scaled[2].scaled", 2.0)):
        assert summary.count(f",{name},{value},") == 4
    assert "PASSED  echo/a/one::test_answers" in ran, ran
    own = project.latest / "results/echo/b/two"
    assert json.loads((own / "test_answers.json").read_text()) == {
        "suite": "echo",
        "task": "b",
        "dataset": "two",
        "test": "test_answers",
        "values": {"answers": list(range(8)), "mean": 3.5},
        "fingerprint": project.result("b", "two")["fingerprint"],
    }
    scaled = [json.loads(path.read_text())["values"]["scaled"] for path in sorted(own.glob("test_scaled*.json"))]
    assert scaled == [1.0, 2.0]
    assert project.result("a", "one")["status"] == "passed"


def test_a_function_that_takes_only_the_pair_leaves_its_state_alone(project):
    """It says nothing about whether the pair is evaluated."""
    project.make()
    assert project.run("evals").code == 0
    before = (project.latest / ".task_list").read_text()
    assert before.splitlines()[1] == "-one|2"
    (project.suite / "test_below.py").write_text(BELOW + "\ndef test_fails(pair):\n    assert False\n")
    ran = project.run("evals/echo/test_below.py")
    assert "1 failed, 1 passed" in ran, ran
    assert (project.latest / ".task_list").read_text() == before


def test_other_parameters_alone_are_enough_to_open_the_run(project):
    """No item of such a launch has the plain id of a pair."""
    project.make()
    (project.suite / "test_both.py").write_text(
        "import pytest\n\n@pytest.mark.parametrize('s', [1, 2])\n"
        "def test_both(s, evaluation):\n    assert evaluation.metrics\n"
    )
    for workers in ("0", "1"):
        ran = project.run("evals/echo/test_both.py", "-n", workers)
        assert ran.code == 0, ran
        assert "2 passed" in ran, ran
    assert (project.latest / ".task_list").read_text().splitlines()[1] == "-one|2"


def test_a_suite_without_adapter_only_feeds_functions(project):
    """It has no items of its own."""
    project.make(models=("a", "b"))
    content = json.loads((project.suite / "evalrun.yaml").read_text())
    del content["adapter"]
    (project.suite / "evalrun.yaml").write_text(json.dumps(content))
    (project.suite / "test_own.py").write_text(BELOW)
    ran = project.run("evals", "-n", "1")
    assert ran.code == 0, ran
    assert "2 passed" in ran, ran
    ran = project.run("evals", "--collect-only", "-q")
    assert "evalrun.yaml::" not in ran, ran


@pytest.mark.parametrize("workers", ["0", "2"])
def test_ordinary_tests_beside_a_suite_are_as_ever(project, workers):
    """Their outcome, capture and log are pytest's own; none of it reaches a pair's log."""
    project.make(models=("a", "b"))
    (project.suite / "test_plain.py").write_text(PLAIN)
    ran = project.run("evals", "-n", workers, "-rs")
    assert ran.code == 1, ran
    assert "1 failed, 3 passed, 1 skipped, 1 xfailed, 1 error" in ran, ran
    for words in ("Captured stdout call", "Captured stderr call", "Captured log call", "skipped by its user"):
        assert words in ran, ran
    for words in ("loud print", "loud error", "loud record"):
        assert words in ran, ran
        assert not [path for path in project.latest.rglob("*.log") if words in path.read_text()]


def test_code_by_path_serves_in_every_place(project):
    """A reader, an adapter function, a metric function and a metric class of the user's, with their parameters."""
    project.make()
    (project.suite / "rows.py").write_text(
        "def rows(path, start=0):\n"
        "    for i in range(start, start + 6):\n"
        "        yield {'id': f'row-{i}', 'input': i, 'reference': i + 1}\n"
    )
    (project.suite / "half.py").write_text(
        "def near(prediction, reference, by=0):\n    return abs(prediction - reference) <= by\n\n"
        "class Worst:\n    better = 'lower'\n"
        "    def compute(self, predictions, references):\n"
        "        return max(abs(p - r) for p, r in zip(predictions, references))\n"
    )
    project.yaml(
        (),
        (),
        adapter="./model.py:predict",
        models=[{"name": "double", "params": {"factor": 1}}],
        datasets=[{"name": "rows", "path": "one.jsonl", "format": "./rows.py:rows", "reader": {"start": 4}}],
        metrics=[{"./half.py:near": {"by": 1}}, {"./half.py:near": {"name": "exact"}}, "./half.py:Worst"],
        inputs=[],
        reference=None,
    )
    (project.suite / "model.py").write_text(
        "def predict(batch, factor):\n    return [s.input * factor for s in batch]\n"
    )
    ran = project.run("evals")
    assert ran.code == 0, ran
    result = project.result("double", "rows")
    assert {name: m["value"] for name, m in result["metrics"].items()} == {"near": 1.0, "exact": 0.0, "Worst": 1.0}
    assert result["metrics"]["Worst"]["better"] == "lower"
    assert [line["id"] for line in project.predictions("double", "rows")] == [f"row-{i}" for i in range(4, 10)]
    (project.suite / "rows.py").write_text((project.suite / "rows.py").read_text() + "# changed\n")
    assert "re-run: dataset changed" in project.run("evals")
