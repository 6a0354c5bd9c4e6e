"""A run from the first item to the summary, and what of it is reused."""

from __future__ import annotations

import csv
import json
import os
import shutil

import pytest

pytestmark = pytest.mark.measured


def settled(path):
    """The file's stat as it was, so that only its content can tell."""
    stat = path.stat()
    return stat.st_atime_ns, stat.st_mtime_ns


def asked(path):
    return path.read_text().split() if path.exists() else []


def test_a_pair_leaves_every_file_of_the_contract(project):
    """The tree of the run directory is what others read."""
    project.make()
    assert project.run("evals").code == 0
    run = project.latest
    for name in (
        "run.json",
        ".task_list",
        "task_run.log",
        "events.jsonl",
        "session.json",
        "session.lock",
        "members.lock",
        "predictions/echo/a/one.jsonl",
        "predictions/echo/a/one.fingerprint.json",
        "predictions/echo/a/one.scores.jsonl",
        "results/echo/a/one.json",
        "state/echo/a/one.state",
        "state/echo/a/one.complete.state",
        "logs/infer/echo/a/one.log",
        "logs/eval/echo/a/one.log",
        "summary/summary.csv",
        "summary/summary.md",
        "summary/summary.txt",
        "summary/merge_summary.json",
    ):
        assert (run / name).is_file(), name
    assert (run / ".task_list").read_text() == "*echo/a||1\n-one|2\n+summary|1|1\n"
    assert not (run / ".main_pid").exists()
    assert json.loads((run / "run.json").read_text())["format"] == 1
    assert (project.workdir / ".gitignore").read_text().strip() == "*"
    assert len((project.workdir / "history.jsonl").read_text().splitlines()) == 1
    assert len(list((run / "configs").iterdir())) == 1
    events = [event["event"] for event in project.events()]
    assert events[0] == "run_started"
    assert events[-1] == "run_finished"
    assert {"item_started", "model_loaded", "item_finished", "model_unloaded"} <= set(events)


def test_the_state_file_has_the_seven_fields_in_their_lines(project):
    """Monitors read lines 2 to 8 without parsing."""
    project.make(samples=10)
    project.run("evals")
    lines = (project.latest / "state/echo/a/one.state").read_text().splitlines()
    assert lines[0].startswith("#")
    assert [line.partition("=")[0] for line in lines[1:8]] == [
        "RUNNING_CURRENT_BATCH",
        "RUNNING_TOTAL_BATCHES",
        "RUNNING_BATCH_COMPLETED",
        "RUNNING_BATCH_TOTAL",
        "RUNNING_FAILED_BATCHES",
        "RUNNING_RETRY_COUNT",
        "RUNNING_TIMESTAMP",
    ]
    assert lines[1:5] == [
        "RUNNING_CURRENT_BATCH=3",
        "RUNNING_TOTAL_BATCHES=3",
        "RUNNING_BATCH_COMPLETED=2",
        "RUNNING_BATCH_TOTAL=2",
    ]
    assert lines[8:10] == ["MAX_BATCH_SIZE=4", "TOTAL_DATA=10"]


def test_a_second_run_asks_the_model_nothing(project, tmp_path):
    """Reuse is the default, and every pair says why."""
    project.make(models=("a", "b"), datasets=("one", "two"))
    project.run("evals", "-n", "2")
    ran = project.run("evals", "-n", "2", ASKED=str(tmp_path / "asked"))
    assert ran.code == 0
    assert ran.output.count("reused: unchanged since") == 4, ran
    assert asked(tmp_path / "asked") == []


def test_a_copy_elsewhere_is_reused(project, tmp_path):
    """A fingerprint is content: new places and new times do not matter."""
    project.make(models=("a", "b"))
    project.run("evals")
    shutil.copytree(project.root, tmp_path / "copy", symlinks=True, copy_function=shutil.copy)
    project.root, project.suite = tmp_path / "copy", tmp_path / "copy/evals/echo"
    ran = project.run("evals", ASKED=str(tmp_path / "asked"))
    assert ran.output.count("reused: unchanged since") == 2, ran
    assert asked(tmp_path / "asked") == []


def test_one_byte_of_one_input_changed_means_inference(project, tmp_path):
    """Even with the size as it was and the mtime put back."""
    project.make(datasets=("one", "two"), samples=3)
    project.run("evals")
    path = project.suite / "one.jsonl"
    times = settled(path)
    path.write_text(path.read_text().replace('"x": 1', '"x": 7'))
    os.utime(path, ns=times)
    ran = project.run("evals", ASKED=str(tmp_path / "asked"))
    assert "re-run: dataset changed" in ran, ran
    assert len(asked(tmp_path / "asked")) == 3
    assert "reused: unchanged" in ran


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            {"metrics": [{"exact_match": {"ignore_case": True}}]}, "metrics changed (exact_match)", id="metric"
        ),
        pytest.param({"metrics": ["exact_match", "mae"]}, "metrics changed (mae)", id="another metric"),
    ],
)
def test_another_metric_means_scoring_only(evaluated, tmp_path, change, reason):
    """Re-scoring never re-infers."""
    evaluated.yaml(("a",), ("one",), **change)
    ran = evaluated.run("evals", ASKED=str(tmp_path / "asked"))
    assert f"scored again: {reason}" in ran, ran
    assert asked(tmp_path / "asked") == []


def test_new_references_mean_scoring_only(project, tmp_path):
    """The prediction lines then show today's references."""
    project.make(samples=4)
    project.run("evals")
    project.dataset("one", samples=4, wrong=1)
    ran = project.run("evals", ASKED=str(tmp_path / "asked"))
    assert "scored again: references changed" in ran, ran
    assert asked(tmp_path / "asked") == []
    assert project.result("a", "one")["metrics"]["exact_match"]["value"] == 0.75
    assert [line["reference"] for line in project.predictions("a", "one")] == [-1, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        pytest.param("a.bin", "other weights", "model changed", id="model"),
        pytest.param("model.py", None, "adapter source changed", id="adapter"),
    ],
)
def test_another_model_means_inference(evaluated, tmp_path, name, text, reason):
    """Of the model, content and adapter source count."""
    path = evaluated.suite / name
    path.write_text(text if text is not None else path.read_text() + "\n# changed\n")
    ran = evaluated.run("evals", ASKED=str(tmp_path / "asked"))
    assert f"re-run: {reason}" in ran, ran
    assert len(asked(tmp_path / "asked")) == 8
    assert (evaluated.latest / "predictions/echo/a/one.jsonl.stale").exists()


def test_batch_size_and_retries_are_not_part_of_the_fingerprint(evaluated, tmp_path):
    """How the samples are cut is not what was asked."""
    ran = evaluated.run("evals", "--eval-batch-size", "2", "--eval-retries", "0", ASKED=str(tmp_path / "asked"))
    assert "reused: unchanged" in ran, ran
    assert asked(tmp_path / "asked") == []


def test_a_breached_gate_fails_the_item_with_a_table(project):
    """FAILED always means quality."""
    project.make(gates={"exact_match": {"min": 0.9}})
    project.dataset("one", samples=8, wrong=2)
    ran = project.run("evals")
    assert ran.code == 1
    assert "1 failed" in ran, ran
    assert "echo/a/one: 1 gate breached" in ran
    assert "exact_match  0.75   min   0.9    0.15" in ran
    assert "::test_pair[a/one] - exact_match 0.75 < 0.9\n" in ran
    assert project.result("a", "one")["status"] == "failed"
    assert (project.latest / ".task_list").read_text().splitlines()[1] == "-one|3"
    assert (project.latest / "failed_tasks.txt").read_text() == "echo/a/one\n"
    assert (project.latest / "state/echo/a/one.complete.state").exists()


def test_a_reused_result_is_judged_by_todays_gates(project, tmp_path):
    """A new gate needs no new evaluation."""
    project.make()
    project.dataset("one", samples=8, wrong=2)
    assert project.run("evals").code == 0
    project.yaml(("a",), ("one",), gates={"exact_match": {"min": 0.9}})
    ran = project.run("evals", ASKED=str(tmp_path / "asked"))
    assert ran.code == 1
    assert asked(tmp_path / "asked") == []
    assert project.result("a", "one")["status"] == "failed"
    project.yaml(("a",), ("one",), gates={"exact_match": {"min": 0.5}})
    assert project.run("evals").code == 0
    assert project.result("a", "one")["status"] == "passed"
    assert project.run("evals").code == 0


@pytest.mark.parametrize(("baseline", "code"), [(0.78, 0), (0.9, 1)])
def test_a_drop_is_measured_from_a_value(project, baseline, code):
    """max_drop from a number in the suite."""
    project.make(gates={"exact_match": {"max_drop": 0.05, "baseline": baseline}})
    project.dataset("one", samples=8, wrong=2)
    assert project.run("evals").code == code


def test_a_drop_is_measured_from_a_committed_summary(evaluated):
    """A copy of an earlier summary.csv is the baseline."""
    shutil.copy(evaluated.latest / "summary/summary.csv", evaluated.suite / "baseline.csv")
    evaluated.yaml(("a",), ("one",), gates={"exact_match": {"max_drop": 0.1, "baseline": "baseline.csv"}})
    assert evaluated.run("evals").code == 0
    evaluated.dataset("one", samples=8, wrong=2)
    ran = evaluated.run("evals")
    assert ran.code == 1
    assert "max_drop" in ran, ran


def test_the_summary_covers_all_of_the_run(project):
    """-k a today and -k b tomorrow make one table."""
    project.make(models=("a", "b"))
    project.run("evals", "-k", "a/one")
    project.run("evals", "-k", "b/one")
    with (project.latest / "summary/summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == (
        "suite,task,dataset,status,metric,value,samples,predicted,failed,seconds,n,low,high,limit".split(",")
    )
    assert [row["task"] for row in rows] == ["a", "b"]


def test_a_pair_that_is_gone_is_outside_the_means(project):
    """It stays in the run, and is listed apart."""
    project.make(models=("a", "b"))
    project.run("evals")
    project.yaml(("a",), ("one",))
    project.run("evals")
    text = (project.latest / "summary/summary.md").read_text()
    table, _, rest = text.partition("Gone")
    assert "| b" not in table
    assert "b" in rest


def test_one_model_is_loaded_once_for_the_datasets_that_follow(project):
    """A loaded model is kept, one at a time."""
    project.make(models=("a", "b"), datasets=("one", "two", "three"))
    project.run("evals", "-n0")
    events = [event["event"] for event in project.events()]
    assert events.count("model_loaded") == 2
    assert events.count("model_unloaded") == 2


def test_junit_and_the_terminal_agree(project):
    """Metrics are properties of the JUnit case."""
    project.make(models=("a", "b"))
    ran = project.run("evals", "-n", "2", "--junitxml", "junit.xml")
    assert "2 passed" in ran
    text = (project.root / "junit.xml").read_text()
    assert 'tests="2"' in text
    assert '<property name="exact_match" value="1.0"' in text


def test_an_upgraded_library_is_a_warning_and_no_new_work(evaluated, tmp_path):
    """Versions are recorded, and are no part of the fingerprint."""
    fake = tmp_path / "newer" / "numpy-99.0.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 99.0\n")
    ran = evaluated.run("evals", "-n", "2", PYTHONPATH=str(fake.parent), ASKED=str(tmp_path / "asked"))
    assert ran.code == 0, ran
    assert "became 99.0; --eval-fresh makes it again" in ran, ran
    assert "reused: unchanged since" in ran
    assert asked(tmp_path / "asked") == []


def test_a_model_that_does_not_load_costs_no_predictions(evaluated, tmp_path):
    """Put right again, the pair is reused."""
    source = (evaluated.suite / "model.py").read_text()
    (evaluated.suite / "model.py").write_text(source.replace("self.delay = delay", "raise OSError('half a copy')"))
    ran = evaluated.run("evals")
    assert "half a copy" in ran, ran
    (evaluated.suite / "model.py").write_text(source)
    ran = evaluated.run("evals", ASKED=str(tmp_path / "asked"))
    assert "reused: unchanged since" in ran, ran
    assert asked(tmp_path / "asked") == []


def test_a_skipped_pair_is_in_the_summary_until_it_is_evaluated(project):
    """The summary has every pair."""
    project.make(models=("a", "b"))
    entries = [{"name": "a", "path": "a.bin", "skip": "not today"}, {"name": "b", "path": "b.bin"}]
    project.yaml((), ("one",), models=entries)
    project.run("evals")
    assert "| a | skipped |" in (project.latest / "summary/summary.md").read_text()
    project.yaml(("a", "b"), ("one",))
    assert project.run("evals").code == 0
    assert "skipped" not in (project.latest / "summary/summary.md").read_text()


def test_a_pair_that_is_skipped_since_it_failed_counts_nowhere(project, tmp_path):
    """Its old result stays for later: no table, list, difference, retry or count has it until it is wanted again."""
    project.make(models=("a", "b"), datasets=("one", "two"))
    project.dataset("two", 8, wrong=8)
    gates = {"exact_match": {"min": 0.9}}
    project.yaml(("a", "b"), ("one", "two"), gates=gates)
    assert project.run("evals").code == 1
    first = project.latest.name
    held = [{"name": "one", "path": "one.jsonl"}, {"name": "two", "path": "two.jsonl", "skip": "labels are wrong"}]
    project.yaml(("a", "b"), (), datasets=held, gates=gates)
    assert "skipped" in project.evalrun("list", "--no-why", "-k", "a/two")[1]
    assert project.evalrun("report")[0] == 0
    assert csv_rows(project)["a", "two"] == ("skipped", "")
    ran = project.run("evals", "-k", "a/one or a/two")
    assert ran.code == 0, ran
    assert "1 passed, 1 skipped" in ran, ran
    assert "0.0000" not in ran, ran
    assert "✗" not in ran, ran
    assert {key: row[0] for key, row in csv_rows(project).items()} == {
        ("a", "one"): "passed", ("b", "one"): "passed", ("a", "two"): "skipped", ("b", "two"): "skipped"
    }  # fmt: skip
    assert "| mean | 1.000 | - | 1.000 (2 of 4) |" in (project.latest / "summary/summary.md").read_text()
    for entry in json.loads(project.evalrun("list", "--json", "-k", "two")[1]):
        assert (entry["status"], entry["skip"], entry["metrics"]) == ("skipped", "labels are wrong", {})
    assert project.evalrun("list", "--failed")[1] == ""
    assert project.evalrun("retry")[1:] == ("", f"{first}: nothing failed\n")
    assert "skipped: labels are wrong" in project.evalrun("show", "a/two")[1]
    assert json.loads(project.evalrun("monitor", "--json")[1])["counts"]["skipped"] == 2
    project.yaml(("a", "b"), ("one", "two"), gates=gates)
    ran = project.run("evals", ASKED=str(tmp_path / "asked"))
    assert "2 failed, 2 passed" in ran, ran
    assert asked(tmp_path / "asked") == []


def csv_rows(project):
    """Task and dataset → status and value."""
    lines = (project.latest / "summary/summary.csv").read_text().splitlines()
    return {(row["task"], row["dataset"]): (row["status"], row["value"]) for row in csv.DictReader(lines)}
