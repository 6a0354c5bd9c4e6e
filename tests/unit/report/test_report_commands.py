"""The pytest command of a session, to carry on and to try again."""

from __future__ import annotations

import json
import shlex

import pytest

from pytest_evalrun.report.commands import carry_on_command, command_line, retry_command
from pytest_evalrun.report.retry import retry_of
from pytest_evalrun.report.runs import FoundRun
from pytest_evalrun.rundir.layout import WorkDir


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/venv/bin/pytest", "evals/", "-n", "5"], "pytest evals/ -n 5"),
        (["/lib/pytest/__main__.py", "-k", "a b"], "python -m pytest -k 'a b'"),
        ([], "pytest"),
    ],
)
def test_as_it_was_typed(argv, shown):
    """Short, and quoted for a shell."""
    assert command_line(argv) == shown


@pytest.mark.parametrize(
    ("words", "carry_on", "retry"),
    [
        ("evals -n 5", "evals -n 5", "evals -n 5"),
        ("evals -n 2 --eval-retries 2", "evals -n 2 --eval-retries 2", "evals -n 2 --eval-retries 2"),
        ("evals -k x --eval-run new", "evals -k x", "evals"),
        ("evals -kx --eval-run=new --eval-fresh", "evals -kx", "evals"),
        ("e.yaml::test_pair[a] e.yaml::t[b]", "'e.yaml::test_pair[a]' 'e.yaml::t[b]'", "e.yaml"),
        ("evals --eval-limit 3 --ignore evals/a --sw-skip", "evals --eval-limit 3 --ignore evals/a --sw-skip", "evals"),
        ("evals --lf --eval-only=stale -m y --eval-set a=b", "evals --lf --eval-only=stale -m y --eval-set a=b",
         "evals --eval-set a=b"),
    ],
)  # fmt: skip
def test_what_selects_or_begins_anew_goes(words, carry_on, retry):
    """To carry on is the same selection on the same run; to retry is all that failed in it, with the same options."""
    argv = ["pytest", *words.split()]
    assert carry_on_command(argv) == f"pytest {carry_on}"
    assert retry_command(argv) == f"pytest {retry} --eval-only failed"
    assert carry_on_command(argv, "old") == f"pytest {carry_on} --eval-run old"


@pytest.mark.parametrize("argv", [["/bin/pytest", "e", "-n", "2"], ["/home/me/my_program.py", "x"], None])
def test_the_command_for_what_failed(run, argv):
    """From the last launch; where that says nothing, over the suites of the run."""
    suite = run.write(run.paths.root.parent / "suite/evalrun.yaml", "name: s\n")
    run.paths.run_json.write_text(json.dumps({"format": 1, "suites": {"s": "../suite/evalrun.yaml"}}))
    run.result("s", "a", "one", status="failed")
    run.result("s", "b", "one")
    if argv:
        session = {"run_id": "r", "pid": 1, "host": "h", "boot_id": "b", "argv": argv, "started": "t", "format": 1}
        run.paths.session_json.write_text(json.dumps(session))
    found = FoundRun(WorkDir(run.paths.root.parent), run.paths)
    run.paths.task_list.write_text("*s/a||1\n-one|3\n+summary|1|1\n")
    again = retry_of(found)
    start = "pytest e -n 2" if argv and "pytest" in argv[0] else f"pytest {suite}"
    assert [pair.full_id for pair in again.failed] == ["s/a/one"]
    assert again.command == f"{start} --eval-run 'run 1' --eval-only failed"
    (run.paths.root.parent / "latest").symlink_to("run 1")
    assert retry_of(found).command == f"{start} --eval-only failed"


def test_suites_that_the_last_launch_had_not_found_are_named(run, monkeypatch):
    """With all others of which something failed: a launch without a path would look at the named ones alone."""
    root = run.paths.root.parent
    places = {name: f"../it's {name}/evalrun.yaml" for name in ("s", "t", "u")}
    run.paths.run_json.write_text(json.dumps({"format": 1, "suites": places}))
    session = {"run_id": "r", "pid": 1, "host": "h", "boot_id": "b", "started": "t", "format": 1}
    run.paths.session_json.write_text(json.dumps(session | {"argv": ["/bin/pytest", "-n", "2"]}))
    run.paths.task_list.write_text("*s/a||1\n-one|3\n+summary|1|1\n")
    run.result("s", "a", "one", status="failed")
    (root / "latest").symlink_to("run 1")
    found = FoundRun(WorkDir(root), run.paths)
    assert retry_of(found).command == "pytest -n 2 --eval-only failed"
    run.result("t", "a", "one", status="error")
    run.result("u", "a", "one")
    monkeypatch.chdir(root)
    assert shlex.split(retry_of(found).command) == [
        *("pytest", "it's s/evalrun.yaml", "it's t/evalrun.yaml", "-n", "2", "--eval-only", "failed")
    ]
