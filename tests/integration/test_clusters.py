"""What lines of scores have besides scores, for whoever compares two models sample by sample."""

from __future__ import annotations

import json

RULES = {"gate_rules": {"cluster": "passage_id"}, "metrics": ["macro_f1", "exact_match"]}


def dataset(project, moved=0):
    rows = [{"x": i % 3, "y": i % 2, "passage_id": f"passage {(i + moved) // 4}"} for i in range(8)]
    (project.suite / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def scores(project):
    file = project.latest / "predictions" / "echo" / "a" / "one.scores.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def as_of_an_earlier_version(project):
    """What that wrote of the metric did not say that a statistic is kept, and none was."""
    marker = project.latest / "state" / "echo" / "a" / "one.complete.state"
    told = json.loads(marker.read_text())
    del told["fingerprint"]["score"]["metrics"]["macro_f1"]["version"]
    marker.write_text(json.dumps(told))


def test_clusters_and_statistics_are_kept_and_nobody_is_asked_for_them(project, tmp_path):
    """A column that the model never sees; an older run, and one whose passages moved, are scored again alone."""
    asked = tmp_path / "asked"
    project.make(**RULES)
    dataset(project)
    assert project.run("evals", ASKED=str(asked)).code == 0
    assert len(asked.read_text().split()) == 8
    asked.unlink()
    first, last = scores(project)[0], scores(project)[-1]
    assert (first["cluster"], first["statistic"]) == ("passage 0", {"macro_f1": [0, 0]})
    assert (last["cluster"], last["statistic"]) == ("passage 1", {"macro_f1": [1, 1]})
    result = project.latest / "results" / "echo" / "a" / "one.json"
    assert {name: metric["bounds"] for name, metric in json.loads(result.read_text())["metrics"].items()} == {
        "macro_f1": [0.0, 1.0],
        "exact_match": [0.0, 1.0],
    }
    as_of_an_earlier_version(project)
    assert "scored again: metrics changed (macro_f1)" in project.run("evals", "--collect-only").output
    assert project.run("evals", ASKED=str(asked)).code == 0
    assert "reused" in project.run("evals", "--collect-only").output
    dataset(project, moved=2)
    assert "which samples belong together changed" in project.run("evals", "--collect-only").output
    assert project.run("evals", ASKED=str(asked)).code == 0
    assert [line["cluster"][-1] for line in scores(project)] == ["0", "0", "1", "1", "1", "1", "2", "2"]
    assert not asked.exists()


def test_a_column_that_is_not_there_is_an_error_with_those_that_are(project):
    """Of its pair, before the model is loaded."""
    project.make(gate_rules={"cluster": "passage"})
    ran = project.run("evals")
    assert ran.code == 1
    assert "one.jsonl:1: sample 0: gate_rules.cluster: no column 'passage'; columns: x, y" in ran.output
