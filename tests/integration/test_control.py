"""To live with a run: the commands as processes of their own, over runs that are real."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import EVALRUN, kill_alone, kill_group, wait_for

SAMPLES = 400
# As slow as the environment says: that is no part of what is evaluated, so a slow run is carried on fast.
PATIENT = """
import os, time
class Model:
    def __init__(self, path=None): ...
    def predict(self, batch):
        time.sleep(float(os.environ.get("DELAY", "0")))
        print("asked", batch[0].id, flush=True)
        return [sample.input for sample in batch]
"""
SLOW_METRIC = (
    "import time\ndef slow(prediction, reference):\n    time.sleep(0.05)\n    return prediction == reference\n"
)
HEAD = "import signal, time\nclass Model:\n    def __init__(self, path=None): ...\n"
SLOW_LOAD = HEAD + "    def load(self):\n        time.sleep(60)\n    def predict(self, batch): ...\n"
DEAF = HEAD + (
    "    def predict(self, batch):\n        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    "        time.sleep(600)\n"
)


# Root may read everything; without these rights it is like anybody else.
PLAIN = "-dac_override,-dac_read_search"
PLAIN_USER = ["setpriv", f"--bounding-set={PLAIN}", f"--inh-caps={PLAIN}"] if os.geteuid() == 0 else []


def slow(project, names=("a",)):
    """A minute of work in many small batches, until it is carried on."""
    project.make(names, samples=SAMPLES)
    (project.suite / "model.py").write_text(PATIENT)
    return project


def states(project):
    try:
        return re.findall(r"^-.*\|([0-3])$", (project.latest / ".task_list").read_text(), re.MULTILINE)
    except OSError:
        return []


def lines_of(project, name):
    try:
        return len((project.latest / name).read_bytes().splitlines())
    except OSError:
        return 0


@pytest.mark.parametrize("workers", ["0", "2"])
def test_stop_then_the_same_command_ends_like_an_undisturbed_run(project, workers):
    """The run's story: background, list, stop, list, carry on."""
    slow(project, names=("a", "b"))
    process = project.start("evals", "-n", workers, DELAY="0.6")
    try:
        wait_for(lambda: lines_of(project, "predictions/echo/a/one.jsonl") >= 8, process=process)
        code, out, _ = project.evalrun("list")
        assert (code, "◐ one  running" in out) == (0, True), out
        code, out, err = project.evalrun("stop")
        assert (code, err) == (0, "")
        assert f"SIGTERM to process {process.pid}" in out
        assert "carry on with: python -m pytest -p no:cacheprovider evals" in out
        process.communicate(timeout=300)
    finally:
        kill_group(process)
    assert "1" not in states(project)
    assert not (project.latest / ".main_pid").exists()
    assert "resumed at" in project.evalrun("list")[1]
    # Its workers may outlive the grace that it gives where the machine is busy.
    assert "is not running: its last session" in project.evalrun("stop")[1]
    ran = project.run("evals", "-n", workers)
    assert ran.code == 0, ran
    for task in ("a", "b"):
        lines = project.predictions(task, "one")
        assert [line["index"] for line in lines] == list(range(SAMPLES))
        assert project.result(task, "one")["metrics"]["exact_match"]["value"] == 1


def begun(project):
    return project.workdir.joinpath("latest").exists() and "1" in states(project)


@pytest.mark.parametrize(
    ("moment", "model", "ready"),
    [
        pytest.param("load", SLOW_LOAD, begun, id="model load"),
        pytest.param("score", None, lambda p: lines_of(p, "predictions/echo/a/one.jsonl") == SAMPLES, id="score"),
        pytest.param("deaf", DEAF, begun, id="a model that hears no SIGTERM"),
    ],
)
@pytest.mark.parametrize("workers", ["0", "1"])
def test_stop_at_any_moment(project, moment, model, ready, workers):
    """Within the grace, or by force after it: no process is left, no pair runs, and the locks are free."""
    (project.suite).mkdir(parents=True)
    (project.suite / "metric.py").write_text(SLOW_METRIC)
    project.make(samples=SAMPLES, **({"metrics": ["./metric.py:slow"]} if moment == "score" else {}))
    if model:
        (project.suite / "model.py").write_text(model)
    process = project.start("evals", "-n", workers)
    try:
        wait_for(lambda: ready(project), process=process)
        members = processes(project)
        code, out, err = project.evalrun("stop", "--grace", "2")
        assert (code, err) == (0, ""), (out, err)
        process.communicate(timeout=300)
        assert process.returncode in (2, -signal.SIGTERM, -signal.SIGKILL)
        assert not [pid for pid in members if is_alive(pid)], out
    finally:
        kill_group(process)
    assert states(project) == ["0"]
    assert not (project.latest / ".running_pids").exists()
    assert "is not running" in project.evalrun("stop")[1]


def processes(project):
    files = (project.latest / "processes").glob("*.jsonl")
    return {json.loads(line)["pid"] for file in files for line in file.read_text().splitlines()}


def is_alive(pid):
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_stop_while_pytest_still_collects(project):
    """There is no run yet, and the process is nobody's to guess."""
    project.make()
    (project.suite.parent / "conftest.py").write_text("import time\nprint('collecting', flush=True)\ntime.sleep(60)\n")
    process = project.start("evals", "-s")
    try:
        assert process.stdout.readline() == "collecting\n"
        code, out, err = project.evalrun("stop")
        assert (code, out) == (2, "")
        assert "no run here" in err
        assert process.poll() is None
    finally:
        kill_group(process)


def test_stop_after_the_controller_was_killed_ends_its_workers(project):
    """They are known by PID and start."""
    slow(project)
    process = project.start("evals", "-n", "2", DELAY="0.6")
    wait_for(lambda: lines_of(project, "predictions/echo/a/one.jsonl") >= 8, process=process)
    kill_alone(process)
    code, _, err = project.evalrun("stop")
    assert (code, err) == (0, "")
    assert not [pid for pid in processes(project) if is_alive(pid)]
    assert states(project) == ["0"]
    kill_group(process)


def test_two_stops_at_once(project):
    """One ends the run, the other says that it is over."""
    slow(project)
    process = project.start("evals", "-n", "2", DELAY="0.6")
    try:
        wait_for(lambda: lines_of(project, "predictions/echo/a/one.jsonl") >= 8, process=process)
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        both = [
            subprocess.Popen(
                [*EVALRUN, "stop", "--grace", "60"],
                cwd=project.root,
                env=environ,
                stdout=subprocess.PIPE,
                text=True,
                stderr=subprocess.STDOUT,
            )
            for _ in range(2)
        ]
        said = [stop.communicate(timeout=300)[0] for stop in both]
        assert [stop.returncode for stop in both] == [0, 0], said
        assert sum("SIGTERM to process" in text for text in said) == 1, said
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 2, output
    finally:
        kill_group(process)
    assert "ended" in json.loads((project.latest / "session.json").read_text())


def test_reset_then_run_again(project):
    """What failed is evaluated again, what passed is reused; the old predictions lie there."""
    project.make(models=("a", "b"), gates={"exact_match": {"min": 0.9}})
    project.dataset("bad", 8, wrong=8)
    project.yaml(("a", "b"), ("one", "bad"), gates={"exact_match": {"min": 0.9}})
    assert project.run().code == 1
    code, out, err = project.evalrun("retry")
    assert out == "python -m pytest -p no:cacheprovider evals --eval-only failed\n"
    assert "failed: echo/a/bad" in err
    code, out, _ = project.evalrun("reset", "--failed", "--dry-run")
    assert (code, len(out.splitlines())) == (0, 2)
    code, out, _ = project.evalrun("reset", "--failed", answer="n\n")
    assert "nothing was changed" in out
    assert states(project) == ["2", "3", "2", "3"]
    code, out, _ = project.evalrun("reset", "--failed", answer="y\n")
    assert code == 0
    assert out.splitlines()[-4:] == [
        "passed  echo/a/one",
        "pending echo/a/bad",
        "passed  echo/b/one",
        "pending echo/b/bad",
    ]
    assert not (project.latest / "failed_tasks.txt").exists()
    ran = project.run()
    assert ran.output.count("reused: unchanged") == 2, ran
    assert (project.latest / "predictions/echo/a/bad.jsonl.old").exists()


def test_while_a_run_is_live_nothing_is_taken_from_it(project):
    """reset and clean name the session and the command that ends it."""
    slow(project)
    process = project.start("evals", DELAY="0.6")
    try:
        wait_for(lambda: begun(project), process=process)
        for command in (["reset", "--yes"], ["clean", "--yes"], ["clean", "--dry-run"]):
            code, out, err = project.evalrun(*command)
            assert (code, out) == (2, ""), command
            assert f"PID {process.pid} on " in err
            assert "evalrun stop" in err
    finally:
        kill_group(process)


def test_clean_leaves_the_tree_as_git_has_it(project):
    """Outputs beside the suite and .skip files included."""
    image = "import numpy\ndef predict(batch, **_): return [numpy.zeros((2, 2), numpy.uint8) for _ in batch]\n"
    project.make()
    (project.suite / "model.py").write_text(image)
    project.yaml((), ("one",), models=[{"name": "a"}, {"name": "b"}], adapter="./model.py:predict",
                 out_subdir=".results", metrics=["exact_match"], reference=None)  # fmt: skip
    (project.suite / "skipped").mkdir()
    (project.suite / "skipped" / ".skip").write_text("not now")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], cwd=project.root, check=True)
    ran = project.run(PYTHONDONTWRITEBYTECODE="1")
    assert list(project.suite.glob(".results/a/one/*.png")), ran
    code, out, _ = project.evalrun("clean", "-k", "a/one", "--yes")
    assert code == 0
    assert not (project.suite / ".results/a").exists()
    assert (project.suite / ".results/b/one").exists()
    code, out, err = project.evalrun("clean", "--yes")
    assert (code, err) == (0, ""), out
    status = subprocess.run(
        ["git", "status", "--porcelain", "--ignored"], cwd=project.root, capture_output=True, text=True, check=True
    )
    assert status.stdout == ""


def test_logs_follow_a_live_pair_to_its_end(project):
    """And end with it, although the run goes on."""
    project.make(samples=40)
    (project.suite / "model.py").write_text(PATIENT)
    process = project.start("evals", "-n", "1", DELAY="0.1")
    try:
        wait_for(lambda: begun(project), process=process)
        code, out, err = project.evalrun("logs", "a/one", "-f")
        assert (code, err) == (0, "")
        assert "asked 0\n" in out
        assert "asked 36\n" in out
        process.communicate(timeout=300)
    finally:
        kill_group(process)
    assert "asked 36\n" in project.evalrun("logs", "echo/a/one")[1]
    code, _, err = project.evalrun("logs", "a/on")
    assert (code, "nearest: echo/a/one" in err) == (2, True)


def test_diff_names_the_samples_that_flipped(project):
    """Between two runs of the same pairs; and the runs are listed."""
    project.make(gates={})
    project.run()
    project.dataset("one", 8, wrong=2)
    assert project.run("evals", "--eval-run", "new").code == 0
    code, out, _ = project.evalrun("runs", "--json")
    newer, older = (run["name"] for run in json.loads(out))
    code, out, err = project.evalrun("diff", older, newer)
    assert (code, err) == (0, "")
    assert "exact_match: 2 right before, wrong now: 0, 1" in out
    assert out.endswith("1 pair in both, 0 of them the same\n")
    code, out, _ = project.evalrun("runs")
    assert [line.split()[0] for line in out.splitlines()] == ["run", newer, older]
    code, out, _ = project.evalrun("list", older)
    assert "✓ one  passed  exact_match 1.000  8 of 8" in out
    assert "references changed" in out


def test_list_says_all_of_a_run(project):
    """Status, metrics, samples, seconds, when, and what would run again; by status and by expression too."""
    project.make(models=("a", "b"), datasets=("one", "数据"), gates={"exact_match": {"min": 0.5}})
    project.dataset("数据", 8, wrong=8)
    project.run()
    (project.suite / "b.bin").write_text("changed")
    code, out, err = project.evalrun("list")
    assert (code, err) == (0, "")
    lines = {" ".join(line.split()[:2]): line for line in out.splitlines()}
    assert re.search(r"✓ one +passed +exact_match 1.000 +8 of 8 +[0-9.e-]+ s +20..-..-..T..:..:..Z$", out, re.MULTILINE)
    assert "run: re-run: model changed" in out
    assert "✗ 数据" in lines
    assert [line.strip()[0] for line in project.evalrun("list", "--failed")[1].splitlines()] == list("ea✗b✗")
    found = json.loads(project.evalrun("list", "latest", "--json", "-k", "not a and 数据")[1])
    assert [(entry["task"], entry["dataset"], entry["status"]) for entry in found] == [("b", "数据", "failed")]
    assert found[0]["metrics"] == {"exact_match": 0.0}
    assert found[0]["next"].startswith("run: ")
    (project.latest / "results/echo/a/one.json").write_text("{torn")
    code, out, err = project.evalrun("list")
    assert code == 0
    assert "! one" in out
    assert "results/echo/a/one.json is damaged; the rest is shown" in err
    assert "one_only" not in out


COMMANDS = (
    ["list", "latest"],
    ["runs"],
    ["logs", "a/one"],
    ["diff", "latest", "latest"],
    ["retry"],
    ["stop"],
    ["reset", "--yes"],
    ["clean", "--yes"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_no_run_at_all(project, command):
    """One line that says how to start one."""
    project.make()
    code, out, err = project.evalrun(*command)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no run here; start one with pytest" in err


@pytest.mark.parametrize("command", [words for words in COMMANDS if words[0] != "runs"], ids=lambda words: words[0])
@pytest.mark.parametrize("what", ["unknown", "newer", "foreign"])
def test_a_run_that_is_none_of_ours(project, command, what):
    """Unknown names get the nearest ones, newer formats and foreign directories an answer; nothing is changed."""
    project.make()
    run = project.workdir / "20261121_103015"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"format": 99 if what == "newer" else 1, "created": "x"}))
    (run / ".task_list").write_text("*echo/a||1\n-one|1\n+summary|1|1\n")
    name, text = {
        "unknown": ("20261121_103016", "20261121_103015"),
        "newer": ("20261121_103015", "written by a newer version"),
        "foreign": ("./evals/echo", "not a run directory"),
    }[what]
    words = command if command[0] not in ("logs", "diff") else [*command[:1], *command[2:], *command[1:2]]
    words = [name if word == "latest" else word for word in words]
    if command[0] == "logs":
        words = ["logs", "a/one", "--run", name]
    elif name not in words:
        words = [words[0], name, *words[1:]]
    before = sorted(path.name for path in run.iterdir())
    code, out, err = project.evalrun(*words)
    if (command[0], what) == ("list", "foreign"):
        assert (code, " one" in out) == (0, True)  # a word that is no run is a path
        return
    assert (code, out) == (2, ""), (words, err)
    assert text in err
    assert sorted(path.name for path in run.iterdir()) == before


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize("where", [".", "20261121_103015", "20261121_103015/results"])
def test_a_directory_without_permission(project, command, where):
    """One line with the path and the reason, or what can be read; never a traceback, and nothing is lost."""
    project.make()
    run = project.workdir / "20261121_103015"
    (run / "results/echo/a").mkdir(parents=True)
    (run / "run.json").write_text('{"format": 1, "created": "x", "suites": {}}')
    (run / ".task_list").write_text("*echo/a||1\n-one|1\n+summary|1|1\n")
    (project.workdir / "latest").symlink_to(run.name)
    (project.workdir / where).chmod(0)
    try:
        code, _, err = project.evalrun(*command, as_user=PLAIN_USER)
    finally:
        (project.workdir / where).chmod(0o755)
    assert code in (0, 2)
    assert code == 0 or (err.startswith("Error: ") and err.count("\n") == 1), err
    assert run.exists() or (where, command[0]) == ("20261121_103015/results", "clean")


def test_an_expression_that_is_none(project):
    """pytest's own words about it."""
    project.make()
    project.run()
    for command, expression in [*(("list", text) for text in ("a and", "a(b=1)", "'")), ("reset", "("), ("clean", "(")]:
        code, out, err = project.evalrun(command, "-k", expression)
        assert (code, out) == (2, ""), err
        assert err.startswith(f"Error: -k {expression}: ")
    code, _, err = project.evalrun("reset", "-k", "nothing")
    assert (code, "no such pair in this run" in err) == (2, True)


@pytest.mark.parametrize("how", ["--json", "--ids"])
def test_a_reader_that_leaves_early_is_no_error(project, how):
    """``evalrun list | head -1`` ends quietly."""
    project.make(models=tuple(f"m{i}" for i in range(300)), datasets=tuple(f"d{i}" for i in range(30)))
    process = subprocess.Popen(
        [*EVALRUN, "list", how],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(30) in (0, 1)


def test_a_sharp_kill_while_cleaning_can_be_finished(project):
    """kill -9 at any moment leaves what a second clean takes."""
    project.make(models=tuple(f"m{i}" for i in range(10)))
    project.run("evals", "-n", "2")
    copy = project.root / "copy"
    shutil.copytree(project.workdir, copy, symlinks=True)
    for delay in (0.0, 0.002, 0.005):
        shutil.rmtree(project.workdir, ignore_errors=True)
        shutil.copytree(copy, project.workdir, symlinks=True)
        process = subprocess.Popen(
            [*EVALRUN, "clean", "--yes"],
            cwd=project.root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.wait()
        process.stdout.close()
        if project.workdir.joinpath("latest").exists():
            code, _, err = project.evalrun("clean", "--yes")
            assert (code, err) == (0, "")
            assert not project.workdir.exists()
