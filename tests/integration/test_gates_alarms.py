"""At the end of a session: which gates of its suites got worse beyond chance, though many were looked at."""

from __future__ import annotations

import json

import pytest

GATE = {"metric": "exact_match", "kind": "max_drop", "value": 0.5, "before": 0.75, "margin": 0.02, "baseline": "main"}
GATE |= {"limit": 0.73, "by": 0.0, "holds": True, "verdict": "PASS", "tier": "critical", "confidence": 0.95}
GATE |= {"n": 1000, "interval": [-0.3, -0.2], "discordance": 0.08, "method": "Tango's score interval"}


def compared(project, place, **more):
    """Let a result have a gate that was compared sample by sample."""
    file = project.latest / "results" / "echo" / f"{place}.json"
    result = json.loads(file.read_text())
    result["gates"] = [GATE | more]
    file.write_text(json.dumps(result))


def alarms(ran):
    """What the end of a session says of them."""
    return [line for line in ran.output.splitlines() if line.startswith("alarms (")]


@pytest.fixture
def three(project):
    """Three pairs, two of which were compared: one of them is worse."""
    project.make(datasets=("one", "two", "three"))
    assert project.run().code == 0
    compared(project, "a/one", p=0.5)
    compared(project, "a/two", p=1e-6)
    return project


@pytest.mark.parametrize("workers", ["0", "2"], ids=["-n0", "-n2"])
def test_all_of_a_suite_is_looked_at_whatever_was_selected(three, workers):
    """And no outcome follows: the gate itself says PASS."""
    ran = three.run("evals", "-n", workers, "-k", "three")
    assert (ran.code, ran.counts["passed"]) == (0, 1), ran
    first, second = alarms(ran)
    assert first.startswith(
        "alarms (echo): 1 of 2 gates got worse beyond chance: a/two exact_match -0.25 against main (p"
    )
    assert second.startswith("alarms (echo): if nothing had changed, all 2 would PASS with a chance of ")
    assert second.endswith(", were they independent")


def test_tables_that_are_made_again_have_them_too(three):
    """No item is run for it."""
    ran = three.run("evals", "--eval-mode", "viz")
    assert ran.code == 0, ran
    assert len(alarms(ran)) == 2


def test_at_q_there_are_none(three):
    """As there are no tables."""
    assert alarms(three.run("evals", "-q")) == []


def test_gates_by_value_alone_are_no_alarms(project):
    """Of one number nobody knows what is chance; who has no gates is not told of them either."""
    project.make(gates={"exact_match": {"min": 0.5}})
    ran = project.run()
    assert (ran.code, alarms(ran)) == (0, []), ran


WRONG = """
class Model:
    def __init__(self, path, wrong=0):
        self.wrong = wrong

    def predict(self, batch):
        return [-1 if sample.input < self.wrong else sample.input for sample in batch]
"""


@pytest.mark.parametrize("workers", ["0", "2"], ids=["-n0", "-n2"])
def test_a_model_that_got_worse_is_an_alarm(project, workers):
    """Of those that were compared with a saved baseline; gates that are advisory are told of, and are no alarms."""
    datasets = ("same", "worse", "advised")

    def make(wrong=0, **more):
        project.make(models=("a",), datasets=datasets, samples=300)
        (project.suite / "model.py").write_text(WRONG)
        overrides = [{"match": "a/worse", "params": {"wrong": wrong}}]
        overrides += [{"match": "a/advised", "params": {"wrong": wrong}} | more.pop("advised", {})]
        project.yaml(("a",), datasets, overrides=overrides, **more)

    make()
    assert project.run().code == 0
    assert project.evalrun("baseline", "save", "main")[0] == 0
    gate = {"max_drop": 0.02, "baseline": "main", "tier": "critical"}
    make(30, gates={"exact_match": gate}, advised={"gates": {"exact_match": {"tier": "advisory"}}})
    ran = project.run("evals", "-n", workers)
    assert (ran.code, ran.counts) == (1, {"failed": 1, "passed": 2}), ran
    first, second = alarms(ran)
    named = "a/worse exact_match -0.1 against main (p below 0.0001, adjusted below 0.0001, Holm)"
    assert first == f"alarms (echo): 1 of 2 gates got worse beyond chance: {named}"
    assert second.startswith("alarms (echo): if nothing had changed, all 2 would PASS with a chance of ")
    assert "advisory: exact_match 0.9 < 0.98" in ran, ran
