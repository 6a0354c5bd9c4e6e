"""What a session made in the directory of an attempt comes into the run, as if it had been made there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support import Project

from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.publish import publish_pair, publish_partial
from pytest_evalrun.rundir.runs import begin_run, sweep_run
from pytest_evalrun.rundir.sessions import open_session
from pytest_evalrun.suite.discovery import discover

# Answers with pictures, which are files in the run; says something; ends in trouble once ENDS samples were asked.
MODEL = """
import os
import numpy as np

asked = 0


def predict(batch, **_):
    global asked
    asked += len(batch)
    if asked > int(os.environ.get("ENDS", 100)):
        raise RuntimeError("that is enough")
    print("asked", len(batch))
    return [np.full((2, 2), int(sample.input), np.uint8) for sample in batch]


def is_picture(prediction, reference):
    return prediction.exists()
"""
USERS = """
def test_own(evaluation):
    evaluation.record("twice", 2)
"""


SHM = Path("/dev/shm")


class Engine:
    """A suite, a run, and attempts of its unit, each made by a session of its own."""

    def __init__(self, root):
        self.project = Project(root)
        self.run = WorkDir(self.project.workdir).run("run")
        begin_run(self.run)

    @property
    def pairs(self):
        return discover(self.project.suite / "evalrun.yaml", environ={}).pairs

    def attempt(self, number=1, *args, **env):
        """Run a session as a job does; its paths, and how it ended."""
        paths = EnginePaths(self.run).attempt("u001", number)
        begin_run(paths.run)
        ran = self.project.run("evals", f"--eval-workdir={paths.workdir.root}", f"--eval-run={number}", *args, **env)
        return paths, ran

    def here(self, *args, **env):
        """The same command without an engine."""
        return self.project.run("evals", "--eval-run=run", *args, **env)

    def history(self):
        path = WorkDir(self.project.workdir).history
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def engine(project):
    made = Engine(project.root)
    made.project.make(samples=6)
    return made


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    """A pair with a file for each answer and a test of the user's own; an attempt that ended, one that did not."""
    made = Engine(tmp_path_factory.mktemp("pictured") / "project")
    made.project.make(samples=6)
    made.project.yaml(
        (), ("one",), models=[{"name": "a", "adapter": "./own.py:predict"}], metrics=["./own.py:is_picture"]
    )
    (made.project.suite / "own.py").write_text(MODEL)
    (made.project.suite / "test_own.py").write_text(USERS)
    done, ran = made.attempt(1)
    assert ran.code == 0, ran
    half, ran = made.attempt(2, ENDS="4")
    assert ran.code == 1, ran
    return made, done, half


def tree(root):
    """Every file of the pairs below a run: name → content; what a session alone keeps is left out."""
    kinds = ("predictions", "results", "state", "logs", "outputs", "agents", "shards", "costs")
    found = {}
    for kind in kinds:
        for path in sorted((root / kind).rglob("*")):
            if path.is_file() and not path.name.endswith(".lock"):
                data = path.read_bytes()
                if ".fingerprint.json" in path.name:
                    data = json.loads(data)
                    del data["launch"]
                found[str(path.relative_to(root))] = data
    return found


def differences(one, other):
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def test_a_published_pair_is_reused_here(engine):
    """Nothing is asked again, nothing scored again, and the run has the files that a session here makes."""
    attempt, ran = engine.attempt()
    assert ran.code == 0, ran
    publish_pair(attempt, engine.run, engine.pairs[0], marked=True)
    published = tree(engine.run.root)
    again = engine.here("-v", ASKED=str(engine.project.root / "asked"))
    assert "reused" in again, again
    assert not (engine.project.root / "asked").exists()
    assert published == {name: data for name, data in tree(engine.run.root).items() if name in published}
    assert set(published) == set(tree(attempt.root))
    assert [line["pair"] for line in engine.history()] == ["echo/a/one"]


@pytest.fixture
def memory():
    """A directory in memory, where there is one: ext4 makes files slowly where thousands were removed just now."""
    with TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as directory:
        yield Path(directory)


def begun(engine, tmp_path):
    """A copy of all of it, for a test of its own."""
    copy = Engine(tmp_path / "project")
    shutil.rmtree(copy.project.root)
    shutil.copytree(engine.project.root, copy.project.root, symlinks=True)
    return copy, [EnginePaths(copy.run).attempt("u001", number) for number in (1, 2)]


def test_every_kind_of_file_of_a_pair_is_published(pictured, tmp_path):
    """Predictions, scores, files of the model, results, what tests recorded, logs, state and marker: as they are."""
    engine, (done, _) = begun(pictured[0], tmp_path)
    publish_pair(done, engine.run, engine.pairs[0], marked=True)
    assert tree(engine.run.root) == tree(done.root)
    kinds = {name.split("/")[0] for name in tree(engine.run.root)}
    assert kinds == {"predictions", "results", "state", "logs", "outputs"}
    assert "results/echo/a/one/test_own.json" in tree(engine.run.root)


class Unsynced(Disk):
    """What a process writes outlives the process without that."""

    def mark(self, path, *, vouches=False):
        pass


def launches(run):
    """What two launches, one after the other, say of themselves in the run; to hold it is not what is tested here."""
    for _ in range(2):
        open_session(run, ["pytest"]).close(clean=True)
        yield run.session_json.read_bytes()


def killed(step, action):
    """Do this in a process that dies at its so many-th look at the file system; whether it came so far."""
    pid = os.fork()
    if pid == 0:
        left = [step]

        def look(event, _):
            if event in ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.utime"):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(look)
        try:
            action()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def nothing(engine, half):
    """The run has nothing of the pair."""


def begun_before(engine, half):
    """The run has the first samples of the same pair."""
    publish_partial(half, engine.run, engine.pairs[0])


def stale(engine, half):
    """The run has a pair of another fingerprint."""
    begun_before(engine, half)
    path = engine.run.pair(engine.pairs[0].key).fingerprint
    path.write_text(path.read_text().replace('"model"', '"other"'))
    path.with_name("one.scores.jsonl").write_text("old\n")


@pytest.mark.parametrize(
    ("before", "fresh"),
    [(nothing, False), (begun_before, False), (stale, False), (begun_before, True)],
    ids=["nothing there", "begun before", "another fingerprint", "fresh"],
)
def test_publishing_that_was_killed_is_done_again(pictured, memory, before, fresh):
    """Killed at any step, then done again by another launch, it comes to the same files and one line of history."""
    made, (done, half) = begun(pictured[0], memory / "made")
    before(made, half)
    home = made.project.workdir
    kept = memory / "kept"
    first, second = launches(made.run)
    shutil.copytree(home, kept, symlinks=True)
    pair, wanted, steps = made.pairs[0], None, 0

    def publish():
        publish_pair(done, made.run, pair, fresh=fresh, marked=True, disk=Unsynced())

    while True:
        shutil.rmtree(home)
        shutil.copytree(kept, home, symlinks=True)
        if wanted is not None:
            steps += 1
            made.run.session_json.write_bytes(first)
            if not killed(steps, publish):
                break
        made.run.session_json.write_bytes(second)
        sweep_run(WorkDir(home), made.run, deep=True)
        publish()
        found = tree(made.run.root), len(made.history())
        wanted = wanted or found
        assert differences(found[0], wanted[0]) == [], f"killed at step {steps}"
        assert found[1] == 1, f"killed at step {steps}"
    assert steps > 30
