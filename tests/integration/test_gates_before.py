"""What a gate can see is told before its pair is asked: in the plan, and in one block when the first item starts."""

from __future__ import annotations

import json

import pytest

from pytest_evalrun.stats.power import chance_of_pass, least_n, n_for_pass, visible_drop

LEAST = least_n(0.02)
TITLE = "what gates can see, and how likely they PASS if nothing changed:"


def saved(project, samples, name="main", dataset="one", right=0.9, **head):
    """A baseline of the pair as `evalrun baseline save` writes it: its head, and a line a sample."""
    value = round(samples * right) / samples
    told = {"format": 1, "pair": f"echo/a/{dataset}", "run": "20261101_101500", "time": "2026-11-01T10:15:00Z"}
    told |= {"samples": samples, "scoring": {}, "names": ["exact_match"], "statistics": [], "binary": ["exact_match"]}
    metric = {"value": value, "n": samples, "low": 0.5, "high": 1.0, "better": "higher", "bounds": [0, 1]}
    told |= {"metrics": {"exact_match": metric}} | head
    lines = [[str(place), "0" * 12, [int(place < samples * right)]] for place in range(samples)]
    file = project.suite / "baselines" / name / "echo" / "a" / f"{dataset}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in [told, *lines]))


def gated(project, samples=8, baseline="main", datasets=("one",), rules=None, **gate):
    """A suite whose pairs may drop by 0.02."""
    gates = {"exact_match": {"max_drop": 0.02, "baseline": baseline} | gate}
    words = {"gate_rules": rules} if rules else {}
    return project.make(samples=samples, datasets=datasets, gates=gates, **words)


def told(ran):
    """The lines below the title."""
    _, _, below = ran.output.partition(TITLE)
    lines = below.splitlines()[1:]
    return [line.strip().removeprefix("impossible: ") for line in lines if " exact_match " in line]


def test_the_plan_says_it_and_a_run_says_it_once(project):
    """With how many samples PASS is possible, which drop would be seen, and how likely PASS is; whoever runs items."""
    saved(gated(project, 1000), 1000)
    chance, seen = chance_of_pass(1000, 0.02, 0.1), visible_drop(1000, 0.1, margin=0.02)
    parts = [
        f"1,000 samples, PASS possible from {LEAST} on",
        f"a drop of {seen:.2g} would be seen",
        f"PASS with a chance of {chance * 100:.0f} %, 80 % from {n_for_pass(0.02, 0.1):,} samples on",
        "discordance 0.1, assumed",
    ]
    line = f"echo/a/one exact_match max_drop 0.02 against main: {'; '.join(parts)}"
    for words in (["--collect-only"], ["--collect-only", "-q"], ["-n", "0"], ["-n", "2"]):
        ran = project.run("evals", "--eval-run", "new", *words)
        assert told(ran) == [line], ran
        assert ran.output.count(TITLE) == 1, ran


def test_at_q_a_run_says_nothing(project):
    """Letters suffice."""
    saved(gated(project), 8)
    assert TITLE not in project.run("evals", "-q")


def test_with_an_engine_it_is_said_once(cluster, project):
    """By the launch; its jobs are sessions of their own, and whose logs are full already."""
    words = {"gates": {"exact_match": {"max_drop": 0.02, "baseline": "main"}}}
    cluster(datasets=("one", "two"), **words)
    saved(project, 8)
    saved(project, 8, dataset="two")
    ran = project.run("evals", "--eval-engine", "command", "--eval-jobs", "2")
    assert (ran.output.count(TITLE), len(told(ran))) == (1, 2), ran
    logs = [file for file in project.latest.rglob("*") if file.is_file() and b"what gates can see" in file.read_bytes()]
    assert logs == []


@pytest.mark.parametrize(("tier", "error"), [("critical", True), ("supporting", False)])
def test_who_cannot_pass_is_told_first(project, tier, error):
    """Of a critical gate that its pair will be an error, before anything is loaded for it."""
    gated(project, datasets=("many", "few"), rules={"tier": tier})
    saved(project, 500, dataset="many")
    saved(project, 100, dataset="few")
    ran = project.run("evals", "--collect-only")
    first, second = told(ran)
    assert first.startswith(
        f"echo/a/few exact_match max_drop 0.02 against main: 100 samples, and PASS needs {LEAST} unless"
    )
    assert second.startswith("echo/a/many ")
    assert ("1 pair will be an ERROR before its model is loaded" in ran) == error
    assert ("critical: an ERROR before the model is loaded" in first) == error


def test_first_samples_are_fewer(project):
    """``--eval-limit`` caps what a baseline has."""
    saved(gated(project, 1000), 1000)
    ran = project.run("evals", "--collect-only", "--eval-limit", "50")
    assert [line.partition(": ")[2].partition(" unless")[0] for line in told(ran)] == [
        f"50 samples, and PASS needs {LEAST}"
    ], ran


def test_a_baseline_that_is_not_there_is_told_before_hours_of_work(project):
    """It may be a slip of the pen; the run that is to become it goes on all the same."""
    gated(project, baseline="mian")
    ran = project.run("evals", "--collect-only")
    assert told(ran) == [
        "echo/a/one exact_match max_drop 0.02 against mian: samples not counted yet; no baseline mian yet"
    ], ran


@pytest.mark.parametrize("text", ["", "{", "[1]\n", '{"format": 9}\n', "\0\n"], ids=repr)
def test_a_baseline_that_is_damaged_is_told_too(project, text):
    """And costs the plan nothing else."""
    saved(gated(project), 8)
    (project.suite / "baselines" / "main" / "echo" / "a" / "one.jsonl").write_text(text)
    ran = project.run("evals", "--collect-only")
    (line,) = told(ran)
    assert ran.code == 0, ran
    assert "one.jsonl:1: " in line


def test_gates_by_value_alone_are_not_told_of(project):
    """What they can see nobody can say: no line, no title."""
    gated(project, baseline=0.5, datasets=("one", "two"))
    assert "gates can see" not in project.run("evals", "--collect-only").output


def test_who_has_no_gates_is_told_nothing(project):
    """No line, no title."""
    project.make()
    assert "what gates can see" not in project.run("evals") + project.run("evals", "--collect-only")


def test_a_run_can_be_the_baseline(project):
    """Its first samples tell whether its scores are 0 or 1."""
    project.make(samples=300)
    assert project.run("evals").code == 0
    name = project.latest.name
    gated(project, 300, baseline=name)
    (line,) = told(project.run("evals", "--collect-only"))
    assert f"against {name}: 300 samples, PASS possible from {LEAST} on; " in line
    assert line.endswith("; discordance 0.1, assumed")


def test_what_flipped_last_time_is_what_is_expected(project):
    """The last result knows it, in a new run too."""
    saved(gated(project, 1000), 1000)
    project.run("evals")
    file = project.latest / "results" / "echo" / "a" / "one.json"
    result = json.loads(file.read_text())
    gate = {"metric": "exact_match", "kind": "max_drop", "interval": [-0.01, 0.01], "n": 900, "discordance": 0.05}
    file.write_text(json.dumps(result | {"status": "passed", "gates": [gate]}))
    for words in ([], ["--eval-run", "new"]):
        (line,) = told(project.run("evals", "--collect-only", *words))
        assert line.endswith("; discordance 0.05, as last time")


def test_bounds_that_are_held_by_an_interval_are_told_by_the_last_result(project):
    """Without one nobody knows the metric."""
    project.make(samples=50, gates={"exact_match": {"min": 0.94, "by": "interval"}})
    assert "what it can see is known once there is a result" in project.run("evals", "--collect-only")
    project.run("evals")
    file = project.latest / "results" / "echo" / "a" / "one.json"
    result = json.loads(file.read_text())
    result["metrics"]["exact_match"]["bounds"] = [0, 1]
    file.write_text(json.dumps(result))
    (line,) = told(project.run("evals", "--collect-only"))
    assert line == "echo/a/one exact_match min 0.94, by its interval: 50 samples, and PASS needs 61 even of the best"


def test_twenty_are_named_and_the_rest_is_counted(project):
    """A matrix of thousands is no page to read."""
    datasets = tuple(f"d{place}" for place in range(30))
    gated(project, datasets=datasets)
    for dataset in datasets:
        saved(project, 1000, dataset=dataset)
    ran = project.run("evals", "--collect-only")
    assert len(told(ran)) == 20
    assert "… 10 more gates\n" in ran


@pytest.mark.parametrize("workers", ["0", "2"], ids=["-n0", "-n2"])
def test_what_was_told_comes_true(project, tmp_path, workers):
    """A critical gate that cannot PASS is an error, and the model is asked nothing: neither is there time to lose."""
    project.make(samples=100)
    assert project.run("evals").code == 0
    code, _, errors = project.evalrun("baseline", "save", "main")
    assert code == 0, errors
    gated(project, 100, rules={"tier": "critical"})
    asked = tmp_path / "asked"
    ran = project.run("evals", "-n", workers, "--eval-run", "new", ASKED=str(asked))
    assert "1 pair will be an ERROR before its model is loaded" in ran, ran
    needed = f"100 samples, and PASS needs {LEAST} unless it got better; critical: an ERROR before the model is loaded"
    assert told(ran) == [f"echo/a/one exact_match max_drop 0.02 against main: {needed}"], ran
    assert (ran.code, ran.counts["error"], asked.exists()) == (1, 1, False), ran


def test_a_saved_baseline_tells_what_its_scores_are(project):
    """As `evalrun baseline save` writes it, and as the next comparison finds them."""
    project.make(samples=300)
    assert project.run("evals").code == 0
    assert project.evalrun("baseline", "save", "main")[0] == 0
    gated(project, 300)
    (line,) = told(project.run("evals", "--collect-only"))
    assert line.endswith("; discordance 0.1, assumed")
    ran = project.run("evals")
    assert ran.code == 0, ran
    (line,) = told(project.run("evals", "--collect-only"))
    assert line.endswith("; discordance 0, as last time")
