"""Stages, limits, fresh starts, runs and options, each from the command line to what lies on disk."""

from __future__ import annotations

import json

import pytest
from support import kill_group, wait_for

pytestmark = pytest.mark.measured

MARKER = "state/echo/a/one.complete.state"


def asked(tmp_path):
    """The ids that the model was asked since the last look."""
    path = tmp_path / "asked"
    ids = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return ids


def listed(project):
    """The line of the pair in the task list."""
    return (project.latest / ".task_list").read_text().splitlines()[1]


def test_infer_then_eval(project, tmp_path):
    """infer predicts and marks nothing; eval scores what is there and never asks the model."""
    log = {"ASKED": str(tmp_path / "asked")}
    project.make()
    ran = project.run("evals", "--eval-mode", "eval", **log)
    assert ran.code == 1, ran
    assert "1 error" in ran, ran
    assert "0 of 8 samples are predicted" in ran
    assert asked(tmp_path) == []
    ran = project.run("evals", "--eval-mode", "infer", "-n", "1", **log)
    assert ran.code == 0, ran
    assert len(asked(tmp_path)) == 8
    assert not (project.latest / MARKER).exists()
    assert listed(project) == "-one|0"
    ran = project.run("evals", "--eval-mode", "eval", **log)
    assert ran.code == 0, ran
    assert asked(tmp_path) == []
    assert project.result("a", "one")["metrics"]["exact_match"]["n"] == 8
    assert listed(project) == "-one|2"


def test_viz_makes_the_summary_again_and_runs_no_item(project):
    """Where there is no run it is a usage error."""
    project.make()
    ran = project.run("evals", "--eval-mode", "viz", "-n", "1")
    assert ran.code == 4, ran
    assert "there is no run yet" in ran
    project.run("evals")
    before = (project.latest / "summary/summary.csv").read_bytes()
    (project.latest / "summary/summary.csv").unlink()
    ran = project.run("evals", "--eval-mode", "viz", "-n", "1")
    assert ran.code == 0, ran
    assert "made again; no item was run" in ran
    assert "passed" not in ran
    assert (project.latest / "summary/summary.csv").read_bytes() == before


def test_a_limited_evaluation_is_never_taken_for_a_full_one(project, tmp_path):
    """It has files of its own, says its coverage, and leaves the full result and the task list alone."""
    log = {"ASKED": str(tmp_path / "asked")}
    project.make(samples=20)
    ran = project.run("evals", "--eval-limit", "10", **log)
    assert ran.code == 0, ran
    assert "10 of 20 samples" in ran
    assert "limit=10" in ran
    assert len(asked(tmp_path)) == 10
    assert listed(project) == "-one|0"
    assert not (project.latest / "results/echo/a/one.json").exists()
    limited = json.loads((project.latest / "results/echo/a/one.limit-10.json").read_text())
    assert (limited["samples"]["total"], limited["samples"]["predicted"]) == (20, 10)
    assert "echo (first 10 samples): exact_match" in ran
    _, listing, remarks = project.evalrun("list")
    assert "limit" not in listing
    assert remarks == "1 result of --eval-limit left out; `evalrun clean --limits` removes such\n"
    ran = project.run("evals", **log)
    assert (ran.code, len(asked(tmp_path))) == (0, 20), ran
    assert "first 10" not in ran, ran
    assert "first 10" not in (project.latest / "summary/summary.md").read_text()
    assert [line.split(",")[2] + line[-3:] for line in summary_rows(project)] == ["one.0,", "one,10"]
    full = (project.latest / "results/echo/a/one.json").read_bytes()
    ran = project.run("evals", "--eval-limit", "10", **log)
    assert "reused: unchanged" in ran, ran
    project.yaml(("a",), ("one",), gates={"exact_match": {"min": 2}})
    assert project.run("evals", "--eval-limit", "5", **log).code == 1
    assert len(asked(tmp_path)) == 5
    assert (project.latest / "results/echo/a/one.json").read_bytes() == full
    assert listed(project) == "-one|2"


def test_results_of_a_limit_are_found_by_their_name_and_cleaned_alone(project):
    """Nobody takes one that failed for the pair, and whoever wants them gone loses nothing else."""
    project.make(samples=20, gates={"exact_match": {"min": 0.9}})
    assert project.run("evals").code == 0
    full = (project.latest / "results/echo/a/one.json").read_bytes()
    project.yaml(("a",), ("one",), gates={"exact_match": {"min": 2}})
    assert project.run("evals", "--eval-limit", "5").code == 1
    assert "echo/a/one (first 5 samples): " in (project.latest / "task_run.log").read_text()
    assert "first 5 samples): failed" in project.evalrun("show", "a/one.limit-5")[1]
    assert project.evalrun("retry")[1] == ""
    failed = json.loads(project.evalrun("monitor", "--json")[1])["failed"]
    assert [one["pair"] for one in failed] == ["echo/a/one (first 5 samples)"]
    code, removed, _ = project.evalrun("clean", "--limits", "--dry-run")
    assert (code, "one.limit-5.json" in removed, "one.json" in removed) == (0, True, False)
    assert "nobody answered, nothing was changed" in project.evalrun("clean", "--limits")[1]
    assert "with the next launch, or `evalrun report`" in project.evalrun("clean", "--limits", "--yes")[1]
    assert project.evalrun("report")[0] == 0
    assert len(summary_rows(project)) == 1
    assert not list(project.latest.rglob("*limit*"))
    assert (project.latest / "results/echo/a/one.json").read_bytes() == full
    assert project.evalrun("verify")[0] == 0
    assert project.evalrun("clean", "--limits", "--yes")[1] == "nothing to do\n"


def summary_rows(project):
    return (project.latest / "summary/summary.csv").read_text().splitlines()[1:]


def test_fresh_makes_the_selected_pairs_again(project, tmp_path):
    """What was there becomes .old; killed in the middle, the next run carries on with the fresh half."""
    log = {"ASKED": str(tmp_path / "asked")}
    project.make(samples=200, models=("a", "b"), params={"delay": 0.01}, max_batch_size=4)
    assert project.run("evals", **log).code == 0
    assert len(asked(tmp_path)) == 400
    predictions = project.latest / "predictions/echo/a/one.jsonl"
    process = project.start("evals", "--eval-fresh", "-k", "a/one", **log)
    old = predictions.with_name("one.jsonl.old")
    wait_for(lambda: old.exists() and predictions.exists() and predictions.read_bytes().count(b"\n") > 40, 60, process)
    kill_group(process)
    assert (project.latest / "results/echo/a/one.json.old").exists()
    ran = project.run("evals", **log)
    assert ran.code == 0, ran
    assert "resumed at" in ran, ran
    assert "reused: unchanged" in ran
    assert 200 <= len(asked(tmp_path)) <= 204
    assert len(old.read_bytes().splitlines()) == 200
    assert [line["index"] for line in project.predictions("a", "one")] == list(range(200))


def test_eval_set_beats_every_layer_and_says_what_is_wrong_with_it(project):
    """Dots lead into mappings; all errors are told at once, as one usage error."""
    project.make(max_batch_size=4)
    project.dataset("one", 8, wrong=4)
    sets = ("max_batch_size=3", "gates.exact_match.min=0.75", "params.delay=0.0")
    ran = project.run("evals", *(word for item in sets for word in ("--eval-set", item)))
    assert ran.code == 1, ran
    assert "exact_match  0.5    min   0.75   0.25" in ran, ran
    assert "MAX_BATCH_SIZE=3\n" in (project.latest / "state/echo/a/one.state").read_text()
    wrong = ("typo=1", "max_batch_size.x=1", "max_batch_size=many", "nothing")
    ran = project.run("evals", *(word for item in wrong for word in ("--eval-set", item)))
    assert ran.code == 4, ran
    assert "Traceback" not in ran, ran
    for words in ("unknown key 'typo'", "max_batch_size has no keys", "'many'", "KEY=VALUE"):
        assert words in ran, ran


def test_a_run_is_chosen_by_its_name(project):
    """latest carries on, new starts another, a name picks one; an unknown name lists those that there are."""
    project.make()
    assert project.run("evals").code == 0
    first = project.latest.name
    assert "(new)" in project.run("evals", "--eval-run", "new")
    second = project.latest.name
    assert second != first
    ran = project.run("evals", "--eval-run", first)
    assert "reused: unchanged" in ran, ran
    assert project.latest.name == first
    ran = project.run("evals", "--eval-run", "2020")
    assert ran.code == 4, ran
    assert first in ran
    assert second in ran


def test_every_option_has_an_ini_key_of_the_same_name(project):
    """The command line wins, the header shows what differs from the default, a bad value names its key."""
    project.make()
    ini = "[pytest]\neval_workdir = my out\neval_batch_size = 2\neval_set =\n    retries=1\n    max_failed=3\n"
    (project.root / "pytest.ini").write_text(ini)
    ran = project.run("evals")
    assert ran.code == 0, ran
    assert "evalrun: workdir=my out, set=retries=1 max_failed=3, batch-size=2" in ran
    run = (project.root / "my out/latest").resolve()
    assert "MAX_BATCH_SIZE=2\n" in (run / "state/echo/a/one.state").read_text()
    ran = project.run("evals", "--eval-workdir", "other", "--eval-batch-size", "8")
    assert ran.code == 0, ran
    assert "MAX_BATCH_SIZE=8\n" in (project.root / "other/latest/state/echo/a/one.state").read_text()
    for key, value, word in (("eval_mode", "infre", "infer"), ("eval_limit", "ten", "whole number")):
        (project.root / "pytest.ini").write_text(f"[pytest]\n{key} = {value}\n")
        ran = project.run("evals")
        assert ran.code == 4, ran
        for text in (key, value, word):
            assert text in ran, ran


def test_the_work_directory_is_relative_to_rootdir(project):
    """Wherever the user stands."""
    project.make()
    root, project.root = project.root, project.suite
    ran = project.run("evalrun.yaml")
    assert ran.code == 0, ran
    assert (root / "outputs/default/latest/summary/summary.md").exists()
    assert not (project.suite / "outputs").exists()
