"""A session that is stopped ends in good order whenever the signal comes, and says who stopped it and what is left."""

from __future__ import annotations

import json
import os
import signal

import pytest
from support import kill_group, wait_for

# The tables take for ever; a merge that takes no notice of the first signal, too.
SLOW = """
import time
from pathlib import Path
from pytest_evalrun.plugin import controller

def summarise(*_):
    Path("finishing").touch()
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            if not Path("stubborn").exists():
                raise

controller.summarise = summarise
"""


@pytest.fixture
def finishing(project):
    """Starts a session that finishes for ever."""
    project.make()
    (project.root / "conftest.py").write_text(SLOW)
    started = []

    def start(*args):
        started.append(project.start("evals", *args))
        wait_for((project.root / "finishing").exists, process=started[0])
        return started[0]

    yield start
    kill_group(started[0])


@pytest.mark.parametrize("args", [(), ("-n1",)], ids=["n0", "n1"])
def test_a_session_that_finishes_is_cut_off_cleanly(project, finishing, args):
    """No traceback and nothing left behind: it was `evalrun stop`, says the run to whoever asks."""
    process = finishing(*args)
    code, said, _ = project.evalrun("stop")
    output, _ = process.communicate()
    assert (code, process.returncode) == (0, pytest.ExitCode.INTERRUPTED), output
    assert "Traceback" not in output
    assert "SIGKILL" not in said
    assert not (project.latest / ".main_pid").exists()
    assert not (project.latest / ".stop.json").exists()
    session = json.loads((project.latest / "session.json").read_text())
    assert session["clean"] is False
    assert "`evalrun stop`" in session["stopped"]
    for command in ("runs", "monitor"):
        assert "interrupted by `evalrun stop`" in project.evalrun(command)[1]
    for told in (said, output):
        assert "nothing is left" in told
        assert "carry on with: python -m pytest -p no:cacheprovider evals" in told


def test_a_second_signal_ends_at_once(project, finishing):
    """The run says all the same that it was interrupted, and by what."""
    (project.root / "stubborn").touch()
    process = finishing()

    def ended():
        os.kill(process.pid, signal.SIGTERM)
        return process.poll() is not None

    wait_for(ended)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert not (project.latest / ".main_pid").exists()
    assert "interrupted by SIGTERM" in project.evalrun("runs")[1]


DEAF = """
import time

class Model:
    def __init__(self, path=None):
        pass

    def predict(self, batch):
        open("begun", "w").close()
        try:
            time.sleep(0.05)
        except KeyboardInterrupt:
            pass
        return [sample.input for sample in batch]
"""


@pytest.mark.parametrize("args", [(), ("-n1",)], ids=["n0", "n1"])
def test_an_interrupt_that_was_swallowed_comes_again(project, args):
    """A model, or Python itself where a generator closes, may drop it: the session ends all the same, unkilled."""
    project.make(samples=10000)
    (project.suite / "model.py").write_text(DEAF)
    process = project.start("evals", *args)
    try:
        wait_for((project.root / "begun").exists, process=process)
        said = project.evalrun("stop")[1]
        output, _ = process.communicate()
    finally:
        kill_group(process)
    assert "SIGKILL" not in said
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=["n0", "n2"])
def test_of_two_first_starts_one_is_refused(project, args):
    """The second waits until the first has named the run, and is refused as any second session is."""
    project.make(samples=10000, params={"delay": 0.05})
    both = [project.start("evals", *args) for _ in range(2)]
    try:
        refused = wait_for(lambda: next((one for one in both if one.poll() is not None), None))
        holder = next(one for one in both if one is not refused)
        output, _ = refused.communicate()
        assert refused.returncode == pytest.ExitCode.USAGE_ERROR, output
        assert f"is in use by PID {holder.pid}" in output
        assert len([path for path in project.workdir.iterdir() if path.is_dir() and not path.is_symlink()]) == 1
    finally:
        for one in both:
            kill_group(one)


def test_the_next_session_sweeps_what_kills_have_left(project, tmp_path):
    """The launch's directory in the temp directory, and files on their way to become others; a living writer's stay."""
    project.make(samples=10000, params={"delay": 0.05})
    (temp := tmp_path / "temp").mkdir()
    process = project.start("evals", TMPDIR=str(temp))
    try:
        wait_for(lambda: (project.latest / "state/echo/a/one.state").exists(), process=process)
    finally:
        kill_group(process)
    left = [project.latest / f".run.json.{process.pid}.7.tmp", project.latest / f"state/.a.state.{process.pid}.9.tmp"]
    kept = project.latest / f".run.json.{os.getpid()}.7.tmp"
    for path in (*left, kept):
        path.touch()
    assert list(temp.glob("evalrun-*")) != []
    project.yaml(("a",), ("one",))
    project.dataset("one", 8)
    ran = project.run("evals", TMPDIR=str(temp))
    assert ran.code == 0, ran
    assert list(temp.glob("evalrun-*")) == []
    assert [path for path in (*left, kept) if path.exists()] == [kept]


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_it_says_what_is_left_and_how_to_carry_on(project, number, word):
    """In the terminal, whichever way it was stopped."""
    project.make(datasets=("one", "two"), models=("a",), samples=4000, params={"delay": 0.01})
    process = project.start("evals", "-n2")
    try:
        wait_for(lambda: (project.latest / "state/echo/a/one.state").exists(), process=process)
        os.killpg(process.pid, number) if number == signal.SIGINT else os.kill(process.pid, number)
        output, _ = process.communicate()
    finally:
        kill_group(process)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert f"evalrun: stopping: {word}" in output
    assert f"stopped by {word}: 2 of 2 pairs are left" in output
    assert "carry on with: python -m pytest -p no:cacheprovider evals -n2" in output
