"""What is around a run and not its business: where rootdir is, what the shell does, what pytest was told."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from support import wait_for

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n1"])


@WORKERS
def test_rootdir_may_be_elsewhere(project, workers):
    """With ``-c`` node ids are not relative to rootdir, and a user's own test is found as well."""
    project.make()
    (project.suite / "test_own.py").write_text("def test_own(evaluation):\n    assert evaluation.metrics\n")
    (project.root / "ci").mkdir()
    (project.root / "ci" / "pytest.ini").write_text("[pytest]\n")
    ran = project.run("evals", workers, "-c", "ci/pytest.ini", "--eval-workdir", str(project.workdir))
    assert ran.code == 0, ran
    assert "2 passed" in ran
    assert (project.latest / ".task_list").read_text().splitlines()[1] == "-one|2"


def test_the_end_of_the_shell_is_not_the_end_of_the_run(project):
    """At -n0 the parent is a shell: nohup and a closed terminal are no reason to stop."""
    project.make(samples=40, params={"delay": 0.2})
    command = shlex.join(project.command("evals", "-n0"))
    log = project.root / "out.txt"
    subprocess.run(["sh", "-c", f"nohup {command} > {shlex.quote(str(log))} 2>&1 &"], cwd=project.root, check=True)
    # The shell makes the file when it comes to it.
    wait_for(lambda: log.exists() and " in " in log.read_text().rpartition("\n=")[2])
    assert "1 passed" in log.read_text()


@WORKERS
def test_collection_errors_can_be_passed_over(project, workers):
    """With ``--continue-on-collection-errors`` the pairs are evaluated all the same."""
    project.make()
    (project.root / "evals" / "test_bad.py").write_text("import no_such_module\n")
    ran = project.run("evals", workers, "--continue-on-collection-errors")
    assert "1 passed, 1 error" in ran


def test_pytest_may_capture_nothing_at_all(project):
    """Without pytest's own capture plugin there is none to pause."""
    project.make()
    ran = project.run("evals", "-p", "no:capture")
    assert ran.code == 0, ran


@pytest.mark.parametrize(
    ("workers", "args"),
    [("-n0", ["--collect-only"]), ("-n0", ["--eval-only", "failed"]), ("-n1", ["--eval-only", "stale"])],
)
def test_a_run_that_is_not_there_is_a_usage_error_of_whoever_looks_at_it(project, workers, args):
    """Nobody meets a traceback for a mistyped name."""
    project.make()
    ran = project.run("evals", workers, "--eval-run", "nope", *args)
    assert ran.code == 4, ran
    assert "--eval-run nope: no such run" in ran
    assert "Traceback" not in ran
    assert "INTERNALERROR" not in ran


@WORKERS
@pytest.mark.parametrize("fault", ["raise SystemExit(3)", "raise ValueError('half a letter: \\udcff')"])
def test_what_a_model_raises_costs_its_pair_only(project, workers, fault):
    """sys.exit() in a model, and a message that cannot be sent to another process, leave the next pair alone."""
    project.make(models=("bad", "good"), retries=0)
    file = project.suite / "model.py"
    file.write_text(file.read_text() + f"        if self.weight.endswith('bad'): {fault}\n        return BACK\n")
    text = file.read_text().replace("        return [sample.input for sample in batch]\n", "")
    file.write_text(text.replace("return BACK", "return [sample.input for sample in batch]"))
    ran = project.run("evals", workers)
    assert ran.code == 1, ran
    assert "1 passed, 1 error" in ran
    assert project.result("bad", "one")["status"] == "error"


@WORKERS
def test_fresh_predictions_without_a_model_are_a_usage_error(evaluated, workers):
    """--eval-mode eval makes no predictions: those that are there stay where they are."""
    ran = evaluated.run("evals", workers, "--eval-fresh", "--eval-mode", "eval")
    assert ran.code == 4, ran
    assert "--eval-fresh puts predictions aside" in ran
    assert len(evaluated.predictions("a", "one")) == 8


def test_repeated_items_of_one_pair_do_not_write_at_once(project):
    """Whatever repeats tests: the second item of a pair waits for the first one and reuses its result."""
    project.make(samples=12, params={"delay": 0.2})
    (project.root / "conftest.py").write_text(
        "import pytest\n"
        "def pytest_generate_tests(metafunc):\n"
        "    metafunc.fixturenames.append('again')\n"
        "    metafunc.parametrize('again', [1, 2])\n"
        "@pytest.fixture\n"
        "def again(request):\n"
        "    return request.param\n"
    )
    asked = project.root / "asked.txt"
    ran = project.run("evals", "-n2", ASKED=str(asked))
    assert "2 passed" in ran
    assert len(asked.read_text().splitlines()) == 12


def test_show_finds_the_files_of_samples_from_anywhere(project):
    """The manifest names suites relative to the run, so that it does not matter where the command is called."""
    project.make(datasets=())
    files = {"format": "files", "labels": "labels.csv"}
    project.yaml(["a"], [], datasets=[{"name": "one", "path": "one"}], **files)
    model = "class Model:\n    def __init__(self, path): ...\n    def predict(self, batch): return [1]\n"
    (project.suite / "model.py").write_text(model)
    (project.suite / "one").mkdir()
    (project.suite / "one" / "a.txt").write_text("a")
    (project.suite / "one" / "labels.csv").write_text("id,label\na.txt,2\n")
    ran = project.run("evals")
    assert ran.code == 0, ran
    command = [
        sys.executable,
        "-c",
        "from pytest_evalrun.cli import main; main()",
        "show",
        "echo/a/one",
        "--wrong",
    ]
    shown = subprocess.run([*command, "--workdir", str(project.workdir)], capture_output=True, text=True, check=True)
    assert str(project.suite / "one" / "a.txt") in shown.stdout


def test_the_work_directory_is_no_place_for_tests(evaluated):
    """Also where pytest walks the whole evaluated: what a model wrote there is never run."""
    written = evaluated.latest / "outputs" / "test_written.py"
    written.parent.mkdir(exist_ok=True)
    written.write_text("def test_written():\n    assert False\n")
    ran = evaluated.run(".")
    assert ran.code == 0, ran
