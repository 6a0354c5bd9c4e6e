"""What survives the death of any process at any instant."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections import Counter

import pytest
from support import kill_alone, kill_group, wait_for

SAMPLES = 400
BATCH = 4


def slow(project, **top):
    """One pair of a hundred batches, a few seconds long."""
    return project.make(samples=SAMPLES, params={"delay": 0.02}, max_batch_size=BATCH, **top)


def progress(project):
    try:
        return len((project.latest / "predictions/echo/a/one.jsonl").read_bytes().splitlines())
    except FileNotFoundError:
        return 0


def started(project, *args, at_least=1, **env):
    """A run that has predicted a few samples more than it found."""
    before = progress(project)
    process = project.start("evals", *args, **env)
    wait_for(lambda: progress(project) >= min(before + at_least, SAMPLES - 1), process=process)
    return process


def undisturbed(project):
    """What an undisturbed run leaves of the pair."""
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in project.predictions("a", "one")]
    return lines, project.result("a", "one")["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_killed_again_and_again_the_results_are_those_of_an_undisturbed_run(project, tmp_path, workers):
    """kill -9 of the whole group and of the controller alone, with a restart at once."""
    log = tmp_path / "asked"
    slow(project)
    chance = random.Random(7)
    kills = 0
    for kill in (kill_group, kill_alone) * 3:
        process = started(project, "-n", workers, at_least=chance.randrange(4, 40), ASKED=str(log))
        kill(process)
        kills += 1
    ran = project.run("evals", "-n", workers, ASKED=str(log))
    assert ran.code == 0, ran
    lines, metrics = undisturbed(project)
    assert [line["index"] for line in lines] == list(range(SAMPLES))
    assert all(line["status"] == "ok" and line["prediction"] == line["reference"] for line in lines)
    assert metrics["exact_match"]["n"] == SAMPLES
    twice = sum(count - 1 for count in Counter(log.read_text().split()).values())
    assert twice <= kills * max(1, int(workers)) * BATCH


def test_killed_then_the_model_changed_equals_a_fresh_run(project, tmp_path):
    """Predictions of the old model never mix with those of the new one."""
    log = tmp_path / "asked"
    slow(project)
    kill_group(started(project, at_least=40))
    (project.suite / "a.bin").write_text("another model")
    ran = project.run("evals", ASKED=str(log))
    assert "re-run: model changed" in ran, ran
    assert len(log.read_text().split()) == SAMPLES


def test_a_torn_last_line_is_cut_off_and_told(evaluated, tmp_path):
    """Only the torn sample is asked again."""
    run = evaluated.latest
    path = run / "predictions/echo/a/one.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    (run / "state/echo/a/one.complete.state").unlink()
    ran = evaluated.run("evals", ASKED=str(tmp_path / "asked"))
    assert ran.code == 0
    assert "torn" in ran, ran
    assert (tmp_path / "asked").read_text().split() == ["7"]
    assert len(evaluated.predictions("a", "one")) == 8


def test_a_corrupt_marker_or_result_is_scored_again(evaluated, tmp_path):
    """No inference is lost over it."""
    for name in ("state/echo/a/one.complete.state", "results/echo/a/one.json"):
        (evaluated.latest / name).write_text('{"torn')
        ran = evaluated.run("evals", ASKED=str(tmp_path / "asked"))
        assert ran.code == 0, (name, ran)
        assert "scored" in ran, (name, ran)
        assert not (tmp_path / "asked").exists(), name
        assert evaluated.result("a", "one")["status"] == "passed", name


def test_corrupt_bookkeeping_is_made_again(evaluated):
    """Nothing that can be rebuilt may stop a run."""
    for name in (".task_list", "state/echo/a/one.state", "../hashes.db", "session.json", "events.jsonl"):
        (evaluated.latest / name).write_bytes(b"\x00garbage\xff" * 100)
        ran = evaluated.run("evals")
        assert ran.code == 0, (name, ran)
        assert "1 passed" in ran, (name, ran)
        assert (evaluated.latest / ".task_list").read_text() == "*echo/a||1\n-one|2\n+summary|1|1\n", name


def test_after_an_unclean_end_markers_are_checked_by_content(evaluated, tmp_path):
    """A power cut may have kept a file's size and lost its content."""
    session = evaluated.latest / "session.json"
    content = json.loads(session.read_text())
    content.pop("ended")
    session.write_text(json.dumps(content))
    path = evaluated.latest / "predictions/echo/a/one.jsonl"
    stat = path.stat()
    path.write_bytes(path.read_bytes()[:-20] + b"\x00" * 20)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    ran = evaluated.run("evals", ASKED=str(tmp_path / "asked"))
    assert ran.code == 0, ran
    assert len(evaluated.predictions("a", "one")) == 8
    assert (tmp_path / "asked").read_text().split() == ["7"]


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_a_run_cleanly(project, workers, name):
    """SIGTERM is as good as Ctrl-C: the summary is made, running becomes pending, the locks are free."""
    slow(project)
    process = started(project, "-n", workers, at_least=20)
    if name == "SIGINT":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2, output
    assert (project.latest / ".task_list").read_text() == "*echo/a||1\n-one|0\n+summary|1|1\n"
    assert "ended" in json.loads((project.latest / "session.json").read_text())
    assert not (project.latest / ".main_pid").exists()
    ran = project.run("evals")
    assert "resumed at" in ran, ran
    assert ran.code == 0


def test_sigterm_to_a_worker_ends_the_run_cleanly(project):
    """Whoever gets the signal, nothing is lost."""
    slow(project)
    process = started(project, "-n", "1", at_least=20)
    pids = (project.latest / "processes/gw0.jsonl").read_text().splitlines()
    os.kill(json.loads(pids[0])["pid"], signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2, output
    assert "ended" in json.loads((project.latest / "session.json").read_text())
    assert project.run("evals").code == 0


def test_a_second_session_is_refused_with_the_holders_pid(project):
    """One run, one live session."""
    slow(project)
    process = started(project, "-n", "1")
    try:
        ran = project.run("evals")
        assert ran.code == 4, ran
        assert str(process.pid) in ran
        assert "new" in ran
    finally:
        kill_group(process)


def test_a_restart_waits_for_the_workers_of_a_killed_controller(project):
    """They live a little longer, and nobody writes beside them."""
    slow(project)
    process = started(project, "-n", "2", at_least=20)
    kill_alone(process)
    before = time.monotonic()
    ran = project.run("evals", "-n", "2")
    assert ran.code == 0, ran
    assert time.monotonic() - before < 60
    assert len(project.predictions("a", "one")) == SAMPLES


def test_a_worker_that_dies_costs_its_pair_only(project):
    """It is run again, then it is an ERROR that says so; the others go on, and the next run carries on with it."""
    project.make(models=("a", "b", "c"))
    killer = "import os\nclass Model:\n    def __init__(self, path=None): self.path = str(path)\n"
    killer += "    def predict(self, batch):\n        if self.path.endswith('b.bin') and batch[0].id == '4':\n"
    killer += "            os.kill(os.getpid(), 9)\n        return [s.input for s in batch]\n"
    (project.suite / "model.py").write_text(killer)
    ran = project.run("evals", "-n", "2")
    assert ran.code == 1, ran
    assert "2 passed, 1 error" in ran, ran
    assert re.search(r"echo/b/one: its worker gw\d died: .* by SIGKILL.*; running again \(1 of 1\)", ran.output), ran
    assert re.search(r"ERROR +echo/b/one  worker died: ended by SIGKILL", ran.output), ran
    assert "*echo/b||1\n-one|3\n" in (project.latest / ".task_list").read_text()
    finished = {e["pair"]: e["outcome"] for e in project.events() if e["event"] == "item_finished"}
    assert finished == {"echo/a/one": "passed", "echo/b/one": "error", "echo/c/one": "passed"}
    assert "worker_lost" in [e["event"] for e in project.events()]
    assert len(project.predictions("b", "one")) == 4
    assert project.result("b", "one")["status"] == "error"
