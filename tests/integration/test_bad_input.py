"""What is wrong is said with its place, and hurts nobody else."""

from __future__ import annotations

import json

import pytest


def usage_error(ran, *words):
    assert ran.code == 4, ran
    for word in words:
        assert word in ran, ran
    assert "Traceback" not in ran, ran
    assert "passed" not in ran, ran


# Of every stage of reading one mistake: tests/unit/suite/test_mistakes.py has the others, and names those of names.
@pytest.mark.parametrize(
    ("workers", "top", "words"),
    [
        pytest.param("0", {"metrcs": ["top1"]}, ("evalrun.yaml:", "metrcs", "metrics"), id="unknown key"),
        pytest.param("2", {"models": [{"name": "a", "path": "gone.bin"}]}, ("gone.bin",), id="model missing"),
        pytest.param("2", {"models": [{"name": "a\nb"}]}, ("name",), id="newline in a name"),
    ],
)
def test_a_broken_suite_is_a_usage_error_and_nothing_runs(project, workers, top, words):
    """Exit code 4, no traceback, no run directory."""
    project.make()
    project.yaml(("a",), ("one",), **top)
    usage_error(project.run("evals", "-n", workers), *words)
    assert not (project.root / "outputs").exists()


def test_two_suites_of_one_name_are_refused(project):
    """Both are named."""
    project.make(name="same")
    other = project.root / "evals" / "other"
    other.mkdir()
    (other / "evalrun.yaml").write_text((project.suite / "evalrun.yaml").read_text())
    for name in ("model.py", "a.bin", "one.jsonl"):
        (other / name).write_text((project.suite / name).read_text())
    usage_error(project.run("evals", "-n", "2"), "echo/evalrun.yaml", "other/evalrun.yaml", "same")
    wrong = project.run("evals", "--eval-set", "max_batch_size=no")
    usage_error(wrong, "--eval-set max_batch_size=no: found 'no'")
    assert wrong.output.count("max_batch_size=no") == 2  # in the header, and once for both suites


def test_yaml_that_is_no_suite_is_refused(project):
    """With the file and the line; nothing is constructed."""
    project.make()
    (project.suite / "evalrun.yaml").write_text("name: !!python/object/apply:os.system [echo owned]\n")
    ran = project.run("evals")
    usage_error(ran, "evalrun.yaml")
    assert "owned" not in ran.output.replace("echo owned", "")


def test_a_latest_that_points_nowhere_is_refused(project):
    """With the remedy."""
    project.make()
    project.workdir.mkdir(parents=True)
    (project.workdir / "latest").symlink_to("20200101_000000")
    usage_error(project.run("evals"), "latest", "--eval-run new")
    assert project.run("evals", "--eval-run", "new").code == 0


def test_a_run_of_a_newer_format_is_left_alone(evaluated):
    """It is not changed, not even its time."""
    path = evaluated.latest / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    before = sorted((p, p.stat().st_mtime_ns) for p in evaluated.latest.rglob("*"))
    usage_error(evaluated.run("evals"), "99")
    assert before == sorted((p, p.stat().st_mtime_ns) for p in evaluated.latest.rglob("*"))


def test_a_work_directory_that_cannot_be_made_is_refused(project):
    """A file in its way stands for a read-only place, which root would not notice."""
    project.make()
    (project.root / "outputs").write_text("a file")
    usage_error(project.run("evals"), "outputs", "--eval-workdir")


BROKEN_DATA = {
    "empty": ("", ""),
    "unlabelled": ('{"id": 1, "x": 1}\n', "'y'"),
    "torn": ('{"id": 1, "x": 1, "y": 1}\n{torn\n', "torn.jsonl:2"),
    "twice": ("".join(f'{{"id": {i}, "x": 1, "y": 1}}\n' for i in (1, 2, 1)), "lines 1 and 3"),
}


def test_broken_data_is_an_error_of_its_pairs_only(project):
    """Exit code 1, and file and line of what is wrong, of an id that is there twice too; the other pairs go on."""
    project.make(datasets=("good", *BROKEN_DATA))
    (project.suite / "good.jsonl").write_text('{"id": 1, "x": 1, "y": 1}\n')
    for name, (text, _) in BROKEN_DATA.items():
        (project.suite / f"{name}.jsonl").write_text(text)
    project.yaml(("a",), ("good", *BROKEN_DATA), id_column="id")
    ran = project.run("evals", "-n", "2")
    assert ran.code == 1, ran
    assert "1 passed, 4 errors" in ran, ran
    assert project.result("a", "good")["status"] == "passed"
    assert "-good|2\n-empty|3\n" in (project.latest / ".task_list").read_text()
    for name, (_, told) in BROKEN_DATA.items():
        result = project.result("a", name)
        error = result["environment"]["error"]
        assert (result["status"], f"{name}.jsonl" in error, told in error) == ("error", True, True), error
        assert f"{name}.jsonl" in ran, ran


BROKEN_MODELS = {
    "raises": ("raise ValueError('bad shape (3, 4)')", "bad shape (3, 4)"),
    "NaN": ("return [float('nan')] * len(batch)", "nan"),
    "no JSON": ("return [object()] * len(batch)", "object"),
    "too few": ("return [1]", "1 predictions"),
}


def test_a_model_that_fails_is_an_error_of_its_pairs(project):
    """Failed samples are recorded with their reason, never as wrong answers."""
    project.make(models=("good", *BROKEN_MODELS))
    bodies = "".join(f"        if self.name == {name!r}: {body}\n" for name, (body, _) in BROKEN_MODELS.items())
    (project.suite / "model.py").write_text(
        "from pathlib import Path\n"
        "class Model:\n"
        "    def __init__(self, path=None): self.name = Path(path).stem\n"
        f"    def predict(self, batch):\n{bodies}        return [sample.input for sample in batch]\n"
    )
    ran = project.run("evals")
    assert ran.code == 1, ran
    assert "1 passed, 4 errors" in ran, ran
    assert project.result("good", "one")["status"] == "passed"
    for name, (_, told) in BROKEN_MODELS.items():
        assert told in project.result(name, "one")["environment"]["error"]
        assert told in ran, ran
        assert not (project.latest / f"state/echo/{name}/one.complete.state").exists()
    assert {line["status"] for line in project.predictions("raises", "one")} == {"failed"}


def test_a_metric_unfit_for_the_predictions_is_an_error_of_the_pair(project):
    """It names the metric and what it found."""
    project.make(datasets=("one", "two"))
    (project.suite / "one.jsonl").write_text('{"x": "text", "y": "text"}\n')
    project.yaml(("a",), ("one", "two"), metrics=["rmse"])
    ran = project.run("evals")
    assert "1 passed" in ran and "1 error" in ran, ran
    assert "rmse" in ran


def test_a_few_failed_samples_may_be_allowed(project):
    """max_failed as a count; every metric says n of N."""
    project.make(max_failed=1, samples=8)
    (project.suite / "model.py").write_text(
        "def predict(batch):\n"
        "    if any(s.id == '3' for s in batch):\n        raise ValueError('three')\n"
        "    return [s.input for s in batch]\n"
    )
    project.yaml(("a",), ("one",), adapter="./model.py:predict", models=[{"name": "a"}], max_failed=1)
    ran = project.run("evals")
    assert ran.code == 0, ran
    result = project.result("a", "one")
    assert result["samples"] == {"total": 8, "predicted": 7, "failed": 1, "reused": 0}
    assert result["metrics"]["exact_match"]["n"] == 7
    failed = [line for line in project.predictions("a", "one") if line["status"] == "failed"]
    assert [line["id"] for line in failed] == ["3"]
    assert "three" in failed[0]["error"]


def test_only_what_may_pass_is_retried(project, tmp_path):
    """A lost connection is tried again; the retries are counted in the state file and told in an event."""
    project.make(samples=4)
    (project.suite / "model.py").write_text(
        "from pathlib import Path\n"
        "def predict(batch):\n"
        f"    tries = Path({str(tmp_path / 'tries')!r})\n"
        "    with tries.open('a') as file: file.write('x')\n"
        "    if len(tries.read_text()) == 1: raise ConnectionError('reset')\n"
        "    return [s.input for s in batch]\n"
    )
    project.yaml(("a",), ("one",), adapter="./model.py:predict", models=[{"name": "a"}])
    assert project.run("evals").code == 0
    assert (tmp_path / "tries").read_text() == "xx"
    assert "RUNNING_RETRY_COUNT=1\n" in (project.latest / "state/echo/a/one.state").read_text()
    assert [e["event"] for e in project.events()].count("batch_retried") == 1


def test_three_whole_batches_in_a_row_end_the_pair(project, tmp_path):
    """A model that is broken is not asked a thousand times."""
    project.make(samples=100)
    (project.suite / "model.py").write_text(
        "def predict(batch):\n"
        f"    with open({str(tmp_path / 'tries')!r}, 'a') as file: file.write('x')\n"
        "    raise ValueError('broken')\n"
    )
    project.yaml(("a",), ("one",), adapter="./model.py:predict", models=[{"name": "a"}])
    ran = project.run("evals")
    assert "3 whole batches failed in a row" in ran, ran
    assert len((tmp_path / "tries").read_text()) == 3 * 7


def test_all_skipped_is_no_result(project):
    """Exit code 5, with a line why."""
    project.make(models=("a",))
    project.yaml(
        (),
        (),
        models=[{"name": "a", "path": "a.bin", "skip": "not today"}],
        datasets=[{"name": "one", "path": "one.jsonl"}],
    )
    ran = project.run("evals")
    assert ran.code == 5, ran
    assert "not today" in ran
    assert "no result" in ran
