"""Gates over metrics of every kind: each is compared by the method that fits, or says why there is none."""

from __future__ import annotations

import json
import sys

import pytest

# Answers from the column of this name; fails samples whose answer is null; logs what it is asked.
ANSWERS = """
class Model:
    def __init__(self, path=None, column="good"):
        self.column = column

    def predict(self, batch):
        return [self.one(sample.input) for sample in batch]

    def one(self, row):
        answer = row[self.column]
        if answer is None:
            raise ValueError("no answer")
        return answer
"""
# Writes what it has measured, and nothing of single samples.
PROGRAM = """
import json, sys
from pathlib import Path

Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
Path(sys.argv[2], "metrics.json").write_text(json.dumps({"accuracy": float(sys.argv[3])}))
"""


@pytest.fixture
def changed(project):
    """``changed(rows, …)``: a run called ``before`` of the column ``good``, then one of the column ``bad``."""

    def make(rows, metric, gate, **top):
        project.make(datasets=(), models=("a",))
        (project.suite / "model.py").write_text(ANSWERS)
        (project.suite / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        words = {"inputs": ["good", "bad"], "max_batch_size": 1, "retries": 0, "metrics": [metric]} | top
        project.yaml(("a",), ("d",), **words)
        first = project.run("evals")
        assert first.code == 0, first
        project.latest.rename(project.workdir / "before")
        (project.workdir / "latest").unlink()
        name = metric if isinstance(metric, str) else next(iter(metric)).rpartition(":")[2]
        gates = {name: {"baseline": "before"} | gate}
        project.yaml(("a",), ("d",), **words, gates=gates, params={"column": "bad"})
        return project.run("evals")

    return make


def rows(count, bad):
    """``bad`` tells what the second model answers to a sample."""
    return [{"good": "abc"[i % 3], "bad": bad(i), "y": "abc"[i % 3]} for i in range(count)]


def errors(count, bad):
    """Numbers, of which the first model is off by 0, 1 or 2, the second by what ``bad`` tells."""
    return [{"good": i + i % 3, "bad": i + bad(i), "y": i} for i in range(count)]


def gate_of(project):
    (gate,) = project.result("a", "d")["gates"]
    return gate


def test_a_value_of_the_corpus_is_drawn_again(changed, project):
    """Of macro_f1 what each sample adds is known: the same samples are drawn on both sides; approximate."""
    ran = changed(rows(300, lambda i: "a" if i < 60 else "abc"[i % 3]), "macro_f1", {"max_drop": 0.05})
    gate = gate_of(project)
    assert (gate["verdict"], gate["approximate"], gate["n"]) == ("FAIL", True, 300), ran
    assert "bootstrap" in gate["method"]
    low, high = gate["interval"]
    assert low < gate["value"] - gate["before"] < high < -0.05


def test_an_error_that_rose(changed, project):
    """Of a mean without bounds, where lower is better, a share of it is allowed; the interval is of quality."""
    ran = changed(errors(201, lambda i: i % 3 + 1), "mae", {"max_drop": "5%"})
    gate = gate_of(project)
    assert (gate["before"], gate["value"], gate["limit"]) == (1, 2, pytest.approx(1.05))
    assert (gate["verdict"], gate["margin"], gate["approximate"]) == ("FAIL", "5%", True), ran
    assert gate["interval"][0] < -0.95 < gate["interval"][1] < 0
    assert "mae 2 > 1.05 (+0.95 [+" in ran


def test_few_samples_by_an_approximate_method_prove_nothing(changed, project):
    """Unseen losses could be what is allowed, and more, and that is said with the number that is needed."""
    ran = changed(errors(10, lambda i: (i + 1) % 3), "mae", {"max_drop": 0.3})
    gate = gate_of(project)
    assert (gate["verdict"], gate["unsure"]) == ("INCONCLUSIVE", "value"), ran
    assert gate["why"].startswith("10 samples: ")


def test_a_program_that_scores_by_itself(project):
    """Of single samples nothing is known: no interval, whatever the baseline, and that is why it is not sure."""
    project.make(datasets=("d",), models=("a",), samples=4)
    (project.suite / "program.py").write_text(PROGRAM)

    def words(accuracy, **more):
        command = [sys.executable, str(project.suite / "program.py"), "{dataset}", "{output}", str(accuracy)]
        results = {"metrics": "metrics.json"}
        top = {"adapter": "command", "command": command, "results": results, "metrics": [], "datasets": DATA}
        project.yaml(("a",), (), **(top | more))

    DATA = [{"name": "d", "path": "d.jsonl"}]  # noqa: N806 - as above
    words(0.9)
    ran = project.run("evals")
    assert ran.code == 0, ran
    project.latest.rename(project.workdir / "before")
    (project.workdir / "latest").unlink()
    rule = {"max_drop": 0.01, "baseline": "before", "min": 0.5, "by": "interval"}
    words(0.95, gates={"accuracy": rule})
    ran = project.run("evals")
    assert ran.code == 0, ran
    gates = project.result("a", "d")["gates"]
    assert [gate["verdict"] for gate in gates] == ["INCONCLUSIVE", "INCONCLUSIVE"]
    assert gates[0]["why"] == "the program gives the value alone, and it has no interval"
    assert gates[1]["why"] == "no scores of single samples"


def test_samples_that_failed_are_on_one_side_only(changed):
    """Of more than 1 % the two are not of the same data, and the pair is an ERROR that names some of them."""
    lost = rows(200, lambda i: None if i % 50 == 7 else "abc"[i % 3])
    ran = changed(lost, "exact_match", {"max_drop": 0.05}, max_failed=0.05)
    assert ran.counts == {"error": 1}, ran
    assert (
        "gate on exact_match: before is not of the same samples: 4 scored in before only, of 200 samples: 7, 57, "
        in ran
    )


def test_a_few_samples_that_failed(changed, project):
    """What is compared are those that both sides have; the rest is counted."""
    lost = rows(400, lambda i: None if i % 200 == 7 else "abc"[i % 3])
    ran = changed(lost, "exact_match", {"max_drop": 0.05}, max_failed=0.05)
    assert ran.code == 0, ran
    gate = gate_of(project)
    assert gate["coverage"] == {"both": 398, "before": 2, "after": 0, "changed": 0}
    assert gate["n"] == 398


def test_one_sample(changed, project):
    """It proves nothing, and divides by nothing."""
    ran = changed(rows(1, lambda i: "a"), "exact_match", {"max_drop": 0.5})
    assert gate_of(project)["verdict"] == "INCONCLUSIVE", ran


def test_all_failed(changed, project):
    """There is nothing to judge: the pair is the error that it ever was."""
    ran = changed(rows(3, lambda i: None), "exact_match", {"max_drop": 0.5}, max_failed=0.9)
    assert ran.counts == {"error": 1}, ran
    assert "no sample was predicted (of 3)" in ran
    assert project.result("a", "d")["metrics"] == {}


CLUSTERS = {"two": (2, "INCONCLUSIVE", "2 clusters"), "ten": (10, "FAIL", ""), "forty": (40, "FAIL", "")}


@pytest.mark.parametrize(("count", "verdict", "why"), CLUSTERS.values(), ids=CLUSTERS)
def test_questions_about_one_passage_belong_together(changed, project, count, verdict, why):
    """By the method for so many clusters; of fewer than six nothing can be said."""
    samples = rows(400, lambda i: "no" if i * 37 % 101 < 40 else "abc"[i % 3])
    samples = [row | {"passage": f"p{place % count}"} for place, row in enumerate(samples)]
    ran = changed(samples, "exact_match", {"max_drop": 0.1}, gate_rules={"cluster": "passage"})
    gate = gate_of(project)
    assert (gate["verdict"], gate.get("clusters", count)) == (verdict, count), ran
    assert why in gate["why"]


def test_generations_of_a_sample_are_one_unit(changed, project):
    """Their mean is its score, which is between 0 and 1 then."""
    ran = changed(
        rows(100, lambda i: "no" if i < 30 else "abc"[i % 3]), "exact_match", {"max_drop": 0.05}, generations=3
    )
    gate = gate_of(project)
    assert (gate["verdict"], gate["n"], gate["value"]) == ("FAIL", 100, pytest.approx(0.7)), ran


CORPUS = """
class Share:
    better = "higher"

    def __init__(self):
        self.rows, self.fresh = [], []

    def update(self, predictions, references):
        self.fresh = [[int(p == r)] for p, r in zip(predictions, references)]
        self.rows += self.fresh
        return [None] * len(self.fresh)

    def statistic(self):
        return self.fresh

    def result(self):
        from pytest_evalrun.metrics.protocol import MetricValue

        value = sum(row[0] for row in self.rows) / len(self.rows)
        return MetricValue(value, len(self.rows), value, value, self.better)

    def values_of(self, rows):
        BROKEN
        import numpy as np

        values = np.array([row[0] for row in rows], dtype=float)
        return lambda draws: draws @ values / draws.sum(axis=1)
"""


def test_a_metric_of_the_users_own_that_cannot_judge(changed, project):
    """What it raises is its pair's error, with where; what was scored stays, and is judged once it is mended."""
    (project.suite).mkdir(parents=True)
    metric = project.suite / "share.py"
    metric.write_text(CORPUS.replace("BROKEN", "raise KeyError('draws')"))
    ran = changed(
        rows(200, lambda i: "no" if i % 4 == 0 else "abc"[i % 3]), {"./share.py:Share": {}}, {"max_drop": 0.05}
    )
    assert ran.counts == {"error": 1}, ran
    assert "KeyError: 'draws'" in ran
    assert "share.py" in ran
    assert project.result("a", "d")["metrics"]["Share"]["value"] == 0.75
