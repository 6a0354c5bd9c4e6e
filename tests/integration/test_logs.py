"""What a pair says goes to its log, live; debuggers and ``-s`` work as ever; secrets are written nowhere."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from support import kill_group, wait_for

WORDS = [f"said by {way}" for way in ("print", "stderr", "logging", "descriptor", "child", "grandchild")]
TALK = """
import logging, os, subprocess, sys, time

def predict(batch):
    print("said by print")
    print("said by stderr", file=sys.stderr)
    logging.getLogger("model").info("said by logging")
    os.write(1, b"said by descriptor\\n")
    subprocess.run(["sh", "-c", "echo said by child; sh -c 'echo said by grandchild >&2'"])
    while "GO" in os.environ and not os.path.exists(os.environ["GO"]):
        time.sleep(0.01)
    return [sample.input for sample in batch]
"""


@pytest.fixture
def talking(project):
    """One pair of one batch whose model speaks in every way that there is."""
    return with_model(project, TALK)


def with_model(project, text, size=8, **top):
    project.make()
    (project.suite / "model.py").write_text(text)
    top = {"adapter": "./model.py:predict"} | top
    project.yaml((), ("one",), models=[{"name": "a"}], max_batch_size=size, **top)
    return project


def log_of(project):
    try:
        return (project.latest / "logs/infer/echo/a/one.log").read_text()
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_everything_goes_to_the_log_while_the_item_runs(talking, tmp_path, workers):
    """print, stderr, logging, descriptors and child processes; nothing of it reaches the terminal."""
    process = talking.start("evals", "-n", workers, GO=str(tmp_path / "go"))
    try:
        wait_for(lambda: all(words in log_of(talking) for words in WORDS), process=process)
        (tmp_path / "go").touch()
        output, _ = process.communicate(timeout=300)
    finally:
        kill_group(process)
    assert process.returncode == 0, output
    assert "said by" not in output
    assert log_of(talking).count("said by") == len(WORDS)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_without_capture_there_is_a_copy_on_the_terminal(talking, workers):
    """-s tees: the log has everything all the same."""
    ran = talking.run("evals", "-s", "-n", workers)
    assert ran.code == 0, ran
    for words in WORDS:
        assert words in ran, ran
        assert words in log_of(talking)


def under_debugger(project, *args, typed):
    """A run whose standard input is what somebody types."""
    return subprocess.run(
        project.command("evals", "-s", "--pdb", *args),
        cwd=project.root,
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_breakpoint_in_an_adapter_reaches_its_prompt(project):
    """Under -s --pdb nothing is redirected, and the run goes on after it."""
    with_model(project, "def predict(batch):\n    breakpoint()\n    return [sample.input for sample in batch]\n")
    done = under_debugger(project, typed="p 'size', len(batch)\nc\n")
    assert done.returncode == 0, done.stdout
    assert "(Pdb) ('size', 8)" in done.stdout, done.stdout
    assert project.result("a", "one")["status"] == "passed"


def test_leaving_the_debugger_leaves_the_session(project):
    """`q` fails no sample and asks for no post-mortem; the next session carries on."""
    text = "def predict(batch):\n    if batch[0].index: breakpoint()\n    return [sample.input for sample in batch]\n"
    with_model(project, text, size=4)
    done = under_debugger(project, typed="q\n")
    assert done.returncode == 2, done.stdout
    assert "Quitting debugger" in done.stdout
    assert "post_mortem" not in done.stdout
    done = under_debugger(project, typed="c\n")
    assert done.returncode == 0, done.stdout
    assert "resumed at 4 of 8 samples" in done.stdout


def test_post_mortem_shows_the_error(project):
    """Where a model cannot be had, --pdb stops where the error is."""
    with_model(project, "1 / 0\n")
    done = under_debugger(project, typed="p 'here', 6 * 7\nq\n")
    assert "('here', 42)" in done.stdout, done.stdout
    assert "ZeroDivisionError" in done.stdout, done.stdout


def test_a_failure_shows_the_end_of_the_log(project):
    """With the place of the whole of it."""
    text = "def predict(batch):\n    for i in range(2000): print('line', i)\n    raise ValueError('broken')\n"
    with_model(project, text, retries=0)
    ran = project.run("evals", "-n", "1")
    assert ran.code == 1, ran
    assert "logs/infer/echo/a/one.log" in ran, ran
    assert "line 1999" in ran
    assert "line 7\n" not in ran


SECRET = "swordfish-4711"
LEAKY = f"""
import logging, os, subprocess, sys

def predict(batch, token):
    assert token == {SECRET!r}
    print("token", token, flush=True)
    logging.getLogger("model").warning("token %s", token)
    os.write(2, b"token " + token.encode() + b"\\n")
    subprocess.run(["sh", "-c", 'echo "token $0"', token])
    if any(sample.id == "3" for sample in batch):
        raise ValueError("refused: " + token)
    return [sample.input for sample in batch]
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_the_value_of_a_secret_is_written_nowhere(project, workers):
    """Not in logs, snapshots, events, arguments, results or predictions, and not on the terminal."""
    project.make(datasets=("one", "two"))
    (project.suite / "model.py").write_text(LEAKY)
    (project.suite / "two.jsonl").write_text('{"x": 1, "y": 1}\n')
    project.yaml(
        (),
        ("one", "two"),
        adapter="./model.py:predict",
        models=[{"name": "a", "params": {"token": "${TOKEN}"}}],
        retries=0,
    )
    ran = project.run("evals", "-n", workers, "-k", f"not {SECRET}", TOKEN=SECRET)
    assert ran.code == 1, ran
    assert "1 passed" in ran, ran
    assert "1 error" in ran, ran
    assert "***" in log_of(project)
    project.run("evals", "-n", workers, "--eval-mode", "viz", "-k", f"not {SECRET}", TOKEN=SECRET)
    leaks = [path for path in project.workdir.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert not leaks
    assert SECRET not in ran.output, ran
    assert "refused: ***" in json.dumps(project.predictions("a", "one"))
    assert "${TOKEN}" in next((project.latest / "configs").iterdir()).read_text()
    assert os.environ.get("TOKEN") is None


@pytest.mark.parametrize("kind", ["a model", "a program"])
def test_a_log_has_a_limit(project, kind):
    """Whoever writes without an end: the log keeps its beginning and its end, and says what lies between."""
    talk = "for i in range(9000): print('line', i, 'x' * 100)\n"
    if kind == "a model":
        text = f"def predict(batch):\n    {talk}    return [sample.input for sample in batch]\n"
        with_model(project, text, log_limit="200kB")
    else:
        command = "python worker.py"
        with_model(
            project, "", adapter="command", command=command, results={"metrics": "{output}/m.json"}, log_limit=200_000
        )
        (project.suite / "worker.py").write_text(talk)
    ran = project.run("evals", "-n", "1")
    log = log_of(project)
    assert len(log) <= 200_000, ran
    assert "line 0 x" in log, ran
    assert "line 8999 x" in log, ran
    assert log.count("bytes are left out here; log_limit is 200000 bytes]") == 1
    assert "left out here" in project.evalrun("logs", "a/one")[1]
