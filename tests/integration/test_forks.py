"""Models that fork: a child is nobody's signal handler, keeps no lock, and never does what is ours to do."""

from __future__ import annotations

import pytest

from tests.integration.support import Project, kill_group, wait_for

MODEL = '''
import atexit, multiprocessing, os, signal, sys, time

fork = multiprocessing.get_context("fork")
kept = []

def wait():
    time.sleep(600)

def wait_for_the_end():
    while not os.path.exists("ended"):
        time.sleep(0.02)

class Model:
    def __init__(self, path, how):
        self.how = how

    def predict(self, batch):
        getattr(self, self.how)()
        return [sample.input for sample in batch]

    def terminate(self):
        """At once, too: before it has come to anything."""
        for pause in (0, 0, 0, 0, 0.05):
            child = fork.Process(target=wait)
            child.start()
            time.sleep(pause)
            child.terminate()
            child.join(60)
            assert child.exitcode == -signal.SIGTERM, child.exitcode

    def hang_up(self):
        child = fork.Process(target=wait)
        child.start()
        os.kill(child.pid, signal.SIGHUP)
        child.join(60)
        assert child.exitcode == -signal.SIGHUP, child.exitcode

    def alarm(self):
        """Of its own: the limit of the item is the parent's."""
        child = fork.Process(target=lambda: [signal.alarm(1), wait()])
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGALRM, child.exitcode

    def pool(self):
        for _ in range(3):
            with fork.Pool(2) as pool:
                assert pool.map(abs, [-1, -2]) == [1, 2]

    def helper(self):
        """Stays until this process ends."""
        kept.append(fork.Process(target=wait, daemon=True))
        kept[-1].start()

    def die(self):
        """Once, and leaves a helper that stays until the test has seen the run end."""
        if not os.path.exists("died"):
            open("died", "w").close()
            fork.Process(target=wait_for_the_end).start()
            os.kill(os.getpid(), signal.SIGKILL)

    def quit(self):
        self.fork(lambda: sys.exit(7), 7)
        self.fork(lambda: 1 / 0, 1)
        self.fork(lambda: None, 0)

    def tidy(self):
        self.fork(lambda: [atexit._run_exitfuncs(), os._exit(3)], 3)

    def fork(self, work, code):
        """What comes back from the model in the child must end there."""
        child = os.fork()
        if not child:
            kept.append(work())
            raise Done
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code

class Done(SystemExit):
    pass
'''
WAYS = ("terminate", "hang_up", "alarm", "pool", "helper", "quit", "tidy")
OWN = """
import os

def test_own(evaluation):
    child = os.fork()
    if not child:
        assert False, "of the child alone"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    evaluation.record("asked", evaluation.reused)
"""


@pytest.fixture
def project(tmp_path) -> Project:
    project = Project(tmp_path).make([], samples=1)
    (project.suite / "forks.py").write_text(MODEL)
    (project.suite / "model.bin").write_text("weights")
    return project


def write(project, *ways):
    models = [{"name": how, "path": "model.bin", "params": {"how": how}} for how in ways]
    project.yaml([], ["one"], models=models, adapter="./forks.py:Model", timeout=200)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_models_may_fork(project, workers):
    """Children end by signals and pools as without us, helpers hold up no other item of the pair, and what a child
    does at its end is not done to the run."""
    write(project, *WAYS)
    (project.suite / "test_own.py").write_text(OWN)
    ran = project.run("evals", "-n", workers, timeout=120)
    assert ran.code == 0, ran
    assert f"{2 * len(WAYS)} passed" in ran
    assert "KeyboardInterrupt" not in ran
    for how in WAYS:
        assert project.result(how, "one")["status"] == "passed"
        assert len(project.predictions(how, "one")) == 1
    events = [(event["event"], event.get("pair")) for event in project.events()]
    for word in ("item_started", "item_finished"):
        found = sorted(pair for event, pair in events if event == word)
        assert found == sorted(f"echo/{how}/one" for how in WAYS for _ in range(2))
    assert [event for event, _ in events].count("run_finished") == 1


def test_a_worker_that_dies_is_seen_to(project):
    """A helper that it has forked, and that lives on, does not hide its death."""
    write(project, "die")
    process = project.start("evals", "-n", "1")
    try:
        wait_for(lambda: (project.latest / "events.jsonl").exists() and ended(project), 60, process)
        (project.root / "ended").touch()
        output, _ = process.communicate(timeout=60)
    finally:
        (project.root / "ended").touch()
        kill_group(process)
    assert process.returncode == 0, output
    assert "worker gw0 died" in output


def ended(project):
    return any(event["event"] == "run_finished" for event in project.events())
