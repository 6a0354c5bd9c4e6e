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

from pytest_evalrun.evaluation.cuts import cut_suite
from pytest_evalrun.rundir.durable import Disk, write_atomic
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.publish import NotYet, publish_pair, publish_partial, tidy
from pytest_evalrun.rundir.runs import begin_run, sweep_run
from pytest_evalrun.rundir.sessions import open_session
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.layers import Layer

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


# What is never written to, but replaced as a whole.
REPLACED = (
    *(".state", ".fingerprint.json", ".scores.jsonl", "results/echo/a/one.json", ".timing.json", "test_own.json"),
    ".fragment",
)


def test_an_attempt_that_goes_on_writing_changes_nothing_in_the_run(pictured, memory):
    """Files that grow get more lines, those of the model are written anew in place, others are replaced: as before."""
    made, (done, _) = begun(pictured[0], memory)
    publish_pair(done, made.run, made.pairs[0], marked=True)
    published = tree(made.run.root)
    for path in (path for path in done.root.rglob("*") if path.is_file()):
        if str(path).endswith(REPLACED):
            write_atomic(path, "of a zombie")
        else:
            with path.open("r+b") as file:
                file.write(b"zombie")
                file.seek(0, os.SEEK_END)
                file.write(b"and more of it\n")
    assert differences(tree(made.run.root), published) == []


def test_what_can_have_no_second_name_is_copied(pictured, tmp_path, memory):
    """An attempt on another file system than the run is published as any."""
    made, (done, _) = begun(pictured[0], tmp_path)
    elsewhere = memory / "engine"
    shutil.move(made.run.root / "engine", elsewhere)
    (made.run.root / "engine").symlink_to(elsewhere)
    publish_pair(done, made.run, made.pairs[0], marked=True)
    assert differences(tree(made.run.root), tree(done.root)) == []


@pytest.mark.parametrize(
    "late",
    [
        "state/echo/a/one.complete.state",
        "predictions/echo/a/one.jsonl",
        "predictions/echo/a/one.scores.jsonl",
        "predictions/echo/a/one.fingerprint.json",
        "results/echo/a/one.json",
    ],
)
def test_a_file_that_is_not_here_yet_is_waited_for(pictured, memory, late):
    """As long as it lacks, or is shorter than its marker says, the run has no marker, and the history no line."""
    made, (done, _) = begun(pictured[0], memory)
    path, pair = done.root / late, made.pairs[0]
    data = path.read_bytes()
    for there in (None, data[: len(data) // 2]):
        path.unlink(missing_ok=True)
        if there is not None:
            path.write_bytes(there)
        with pytest.raises(NotYet, match=path.name):
            publish_pair(done, made.run, pair, marked=True)
        assert not made.run.pair(pair.key).marker.exists()
        assert made.history() == []
    path.write_bytes(data)
    publish_pair(done, made.run, pair, marked=True)
    assert differences(tree(made.run.root), tree(done.root)) == []
    assert len(made.history()) == 1


def test_a_pair_that_did_not_end_keeps_its_lines_and_says_why(pictured, memory):
    """An error comes with its log and with what was predicted; the next launch asks only for the others."""
    made, (_, half) = begun(pictured[0], memory)
    publish_pair(half, made.run, made.pairs[0])
    result = json.loads((made.run.results / "echo/a/one.json").read_text())
    assert result["status"] == "error"
    assert "that is enough" in (made.run.root / "logs/infer/echo/a/one.log").read_text()
    ran = made.here("-v")
    assert "resumed at 4 of 6" in ran, ran
    assert ran.code == 0, ran


def test_no_line_of_the_run_is_lost_to_an_attempt_that_has_fewer(pictured, memory):
    """Lines are added, each sample once; published twice, they are the same."""
    made, (done, half) = begun(pictured[0], memory)
    predictions = made.run.pair(made.pairs[0].key).predictions
    publish_partial(half, made.run, made.pairs[0])
    lines = predictions.read_bytes().splitlines(keepends=True)
    done.run.pair(made.pairs[0].key).marker.unlink()
    predictions.write_bytes(b"".join(lines[1:]) + lines[0][:10])
    for _ in range(2):
        publish_partial(done, made.run, made.pairs[0])
        publish_partial(half, made.run, made.pairs[0])
        found = [json.loads(line)["index"] for line in predictions.read_bytes().splitlines() if line.endswith(b"}")]
        assert found == [1, 2, 3, 4, 5, 0, 4, 5]  # 4 and 5 had failed


def test_an_error_hides_no_result_and_old_predictions_stay_beside_the_new(pictured, memory):
    """What was measured before stays the result until there is another; predictions of another model go aside."""
    made, (done, half) = begun(pictured[0], memory)
    pair = made.pairs[0]
    publish_pair(done, made.run, pair, marked=True)
    ours = made.run.pair(pair.key)
    stored = ours.fingerprint.read_text()
    ours.fingerprint.write_text(stored.replace('"identity"', '"other"'))
    result, predictions = ours.result.read_bytes(), ours.predictions.read_bytes()
    publish_pair(half, made.run, pair)
    assert ours.result.read_bytes() == result
    assert ours.predictions.with_name("one.jsonl.stale").read_bytes() == predictions
    made_there = half.run.pair(pair.key).predictions.read_bytes()  # samples that failed have two lines there
    assert made_there.startswith(ours.predictions.read_bytes())
    assert not ours.marker.exists()


def test_logs_of_a_pair_follow_each_other(pictured, memory):
    """What an earlier attempt said stays before what the next one says, however often it is published."""
    made, (done, half) = begun(pictured[0], memory)
    for _ in range(2):
        publish_pair(half, made.run, made.pairs[0])
    for _ in range(2):
        publish_pair(done, made.run, made.pairs[0], marked=True)
    logs = [attempt.run.pair(made.pairs[0].key).infer_log.read_bytes() for attempt in (half, done)]
    assert made.run.pair(made.pairs[0].key).infer_log.read_bytes() == b"".join(logs)


def test_of_an_attempt_that_is_over_what_it_said_stays(pictured, memory):
    """All else goes; and who comes to publish it once more finds that it was done."""
    made, (done, half) = begun(pictured[0], memory)
    for attempt, marked in ((done, True), (half, False)):
        attempt.job.write_text("{}")
        attempt.log.write_text("said")
        publish_pair(attempt, made.run, made.pairs[0], marked=marked)
    published = tree(made.run.root)
    for attempt in (done, half):
        tidy(attempt)
        left = {path.name for path in attempt.root.iterdir()}
        assert left == {"job.json", "job.log", "run.json", "logs", "published.all"}
        publish_pair(attempt, made.run, made.pairs[0], marked=True)
    assert not tree(done.root)
    assert set(tree(half.root)) == {"logs/eval/echo/a/one.log", "logs/infer/echo/a/one.log"}
    assert differences(tree(made.run.root), published) == []


def test_quick_looks_have_files_of_their_own(engine):
    """The first samples, and a run with all of them, are published beside each other."""
    limited, ran = engine.attempt(1, "--eval-limit=2")
    assert ran.code == 0, ran
    layer = Layer("command line", "--eval-limit", {"limit": 2})
    pair = discover(engine.project.suite / "evalrun.yaml", [layer], environ={}).pairs[0]
    publish_pair(limited, engine.run, pair, marked=True)
    assert differences(tree(engine.run.root), tree(limited.root)) == []
    again = engine.here("--eval-limit=2", "-v", ASKED=str(engine.project.root / "asked"))
    assert "reused" in again, again
    assert not (engine.project.root / "asked").exists()


def test_what_shards_made_is_gathered_by_their_pair_here(engine):
    """Each shard is published from an attempt of its own; the pair asks for nothing, and scores all of it."""
    layer = Layer("command line", "--eval-shards", {"shards": 2})
    suite = discover(engine.project.suite / "evalrun.yaml", [layer], environ={})
    (pair,) = cut_suite(suite, engine.project.root / "hashes.db").pairs
    for number, shard in enumerate(pair.shards(), 1):
        others = [f"evals/echo/evalrun.yaml::test_pair[{each.id}]" for each in (*pair.shards(), pair) if each != shard]
        attempt, ran = engine.attempt(number, "--eval-shards=2", *(f"--deselect={each}" for each in others))
        assert ran.counts["passed"] == 1, ran
        publish_pair(attempt, engine.run, shard)
    ran = engine.here("--eval-shards=2", "-v", ASKED=str(engine.project.root / "asked"))
    assert ran.code == 0, ran
    assert not (engine.project.root / "asked").exists()
    assert engine.project.result("a", "one")["samples"]["predicted"] == 6


def test_what_was_there_before_a_fresh_launch_is_old(pictured, memory):
    """All of it goes aside once, with its result, and the new lies in its place; of this launch nothing goes."""
    made, (done, _) = begun(pictured[0], memory)
    publish_pair(done, made.run, made.pairs[0], marked=True)
    before = tree(made.run.root)
    session = open_session(made.run, ["pytest"])
    for _ in range(2):
        publish_pair(done, made.run, made.pairs[0], fresh=True, marked=True)
    session.close(clean=True)
    after = tree(made.run.root)
    assert [name for name in differences(after, before) if name in before] == []
    assert after["predictions/echo/a/one.jsonl.old"] == before["predictions/echo/a/one.jsonl"]
    assert after["results/echo/a/one.json.old"] == before["results/echo/a/one.json"]


def test_runs_of_agents_come_too(pictured, memory):
    """Each line once, behind those that were there; of sessions under way nothing comes."""
    made, (done, _) = begun(pictured[0], memory)
    ours, theirs = (run.pair(made.pairs[0].key) for run in (made.run, done.run))
    theirs.agent_directory.mkdir(parents=True)
    theirs.agent.runs.write_bytes(b'{"index":0}\n')
    theirs.agent.sessions.write_bytes(b"{}")
    for _ in range(2):
        publish_pair(done, made.run, made.pairs[0], marked=True)
        assert ours.agent.runs.read_bytes() == b'{"index":0}\n'
        assert not ours.agent.sessions.exists()


def test_what_answers_cost_is_counted_once(pictured, memory):
    """A job's ledger grows with each pair: the run has all whole lines of it, each once."""
    made, (done, _) = begun(pictured[0], memory)
    costs = done.run.costs / "gw0.jsonl"
    costs.parent.mkdir(exist_ok=True)
    for more in (b'{"cost":1}\n{"cost":', b"2}\n"):
        with costs.open("ab") as file:
            file.write(more)
        for _ in range(2):
            publish_pair(done, made.run, made.pairs[0], marked=True)
            found = (made.run.costs / "u001-1-gw0.jsonl").read_bytes()
            assert found == costs.read_bytes().rpartition(b"\n")[0] + b"\n"
