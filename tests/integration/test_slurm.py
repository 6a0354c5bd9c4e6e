"""The same command on a real Slurm: what comes out is what would have come out here, whatever dies meanwhile."""

from __future__ import annotations

import os
import re
import shlex
import signal
from functools import partial
from pathlib import Path

import psutil
import pytest
from nvml import FakeNvml
from slurmhost import NODES
from slurmsuite import BATCH, FOR_EVER, on_slurm
from support import kill_alone, wait_for

GREEDY = """
        if self.name == "big" and "SLURM_JOB_ID" in os.environ:
            self.much = bytearray(400 << 20)
            time.sleep(60)
"""


@pytest.fixture
def there(tmp_path, slurm, monkeypatch):
    """``there.make(…)``: a suite whose jobs go to Slurm."""
    yield from on_slurm(tmp_path, slurm, monkeypatch)


def test_the_same_command_gives_the_same_summary(there):
    """Rows differ in seconds alone, models ran on nodes, and a second time all is reused and nothing goes out."""
    there.make(models=("a", "b"), datasets=("one", "two", "three"))
    ran = there.run()
    assert ran.code == 0, ran
    assert ran.counts == {"passed": 6}
    assert {node for _, _, node, _ in there.loaded()} <= set(NODES)
    assert len(there.units()) == 6
    there.check()
    jobs = there.slurm.jobs()
    again = there.run()
    assert again.counts == {"passed": 6}
    assert "reused" in again
    assert there.slurm.jobs() == jobs


def test_what_is_optional_is_skipped(there):
    """Where no node has what a pair needs, and it is optional: the others are evaluated as if it were not there."""
    there.make(models=("a", "b"), overrides=[{"match": "b/*", "gpus": 9, "optional": True}])
    ran = there.run()
    assert ran.code == 0, ran
    assert ran.counts == {"passed": 2, "skipped": 2}


def test_scripts_have_all_that_their_command_names(there, tmp_path):
    """--eval-scripts leaves the array's own script, too, and its elements are the scripts of the units."""
    there.make(models=("a", "b"))
    scripts = tmp_path / "scripts"
    for _ in range(2):  # what was written before is replaced
        ran = there.run("--collect-only", "--eval-scripts", str(scripts))
        assert ran.code == 0, ran
    array = Path(shlex.split((scripts / "submit.sh").read_text())[-1])
    assert array.is_file()
    elements = [array.with_name(f"{number}.sh").resolve() for number in range(len(list(scripts.glob("u*.sh"))))]
    assert elements == sorted(scripts.glob("u*.sh"))


# ---- what dies


def test_the_launcher_is_killed(there):
    """Its jobs go on, the same command finds them, and no sample is asked twice."""
    there.make(samples=24, pace=0.2)
    launcher = there.launch()
    there.hold(2 * BATCH, launcher)
    kill_alone(launcher)
    output = there.finish(there.launch())
    assert "found 2 units of an earlier launch: u001, u002" in output
    assert len(there.attempts()) == 2
    there.check()


def test_a_job_is_killed(there):
    """Its pair goes on in another job at the batch that was lost."""
    there.make(samples=24, pace=0.2)
    launcher = there.launch()
    there.hold(4 * BATCH, launcher)
    _, pid, _, _ = there.loaded()[0]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(there.attempts()) == 3, process=launcher)
    assert re.search("job .* was killed by signal 9 on n. .*; 1 item to go on", there.finish(launcher))
    there.check(again=BATCH)


def test_a_node_dies(there):
    """Its jobs are lost, which is nobody's fault: another node goes on with them."""
    there.make(samples=24, pace=0.2)
    launcher = there.launch("--eval-crash-retries", "0")
    there.hold(4 * BATCH, launcher)
    _, _, node, _ = there.loaded()[0]
    lost = sum(place == node for _, _, place, _ in there.loaded())
    there.slurm.kill_node(node)
    wait_for(lambda: len(there.attempts()) == 2 + lost, process=launcher)
    output = there.finish(launcher)
    assert output.count(f" was lost on {node} (NODE_FAIL") == lost
    there.check(again=lost * BATCH)


def test_the_controller_dies(there):
    """Jobs go on, the launch waits for the next controller, and says so once."""
    there.make(samples=16, pace=0.2)
    launcher = there.launch()
    there.until_asked(2 * BATCH, launcher)
    there.slurm.kill_controller()
    wait_for(lambda: there.asked().total() == 2 * 16)
    there.slurm.start_controller()
    output = there.finish(launcher)
    assert output.count("the cluster does not answer") <= 1
    there.check()


def test_cancelled_by_hand(there):
    """Somebody's scancel is an error of the job's pairs that says so, and the same command goes on where they were."""
    there.make(samples=40, pace=0.3)
    launcher = there.launch()
    there.until_asked(4 * BATCH, launcher)
    handle = there.job()["handle"]
    there.slurm.call("scancel", handle)
    there.slurm.until(lambda: there.slurm.jobs()[handle] == "CANCELLED", "it is cancelled")
    there.pace(0)
    output, _ = launcher.communicate(timeout=300)
    assert launcher.returncode == 1, output
    assert f"job {handle} was cancelled on the cluster (by an administrator?)" in output
    assert re.search("1 passed, .*1 error", output), output
    again = there.run()
    assert again.code == 0, again
    assert "resumed at" in again
    there.check()


def test_requeued_by_hand(there):
    """A job that Slurm starts again goes on in its own directory: nothing is submitted for it."""
    there.make(samples=40, pace=0.3)
    launcher = there.launch(slurm="--requeue")
    there.until_asked(4 * BATCH, launcher)
    handle = there.job()["handle"]
    there.slurm.call("scontrol", "requeue", handle)
    there.slurm.until(lambda: there.slurm.jobs()[handle] == "PENDING", "the job waits")
    there.slurm.start_soon(handle)
    there.finish(launcher)
    assert len(there.attempts()) == 2
    there.check()


@pytest.mark.slow
def test_a_time_limit_that_is_too_short(there):
    """What a job could not end in its time goes on in smaller units, at the batch that was lost."""
    there.make(datasets=("one", "two", "three"), samples=24, pace=0.2)
    launcher = there.launch(minutes=10)
    there.hold(2 * BATCH, launcher)
    assert len(there.units()) == 1
    # Slurm looks at limits each half a minute only.
    there.slurm.call("scontrol", "update", f"JobId={there.job()['handle']}", "EndTime=now")
    wait_for(lambda: len(there.units()) == 3, process=launcher)
    output = there.finish(launcher)
    assert "reached its time limit" in output
    assert "3 items to go on in 2 jobs" in output
    there.check(again=BATCH)


def test_a_node_is_drained(there):
    """Jobs that it has go on, and what waits runs elsewhere."""
    there.make(datasets=("one", "two"), samples=8, pace=0.3)
    launcher = there.launch(jobs=1)
    there.hold(BATCH, launcher)
    first = there.job()["node"]
    there.slurm.drain(first)
    there.finish(launcher)
    nodes = [one["node"] for one in there.attempts()]
    assert nodes[0] == first != nodes[1]
    there.check()


def test_a_zombie_changes_nothing(there):
    """A job on a node that Slurm has given up, whose processes were stopped and go on after all: its unit was run
    again meanwhile, and whatever it writes now is looked at by nobody."""
    there.make(datasets=("one",), samples=24, pace=0.2)
    launcher = there.launch()
    there.hold(3 * BATCH, launcher)
    node, zombies = there.stop_node_of_first_job()
    wait_for(lambda: len(there.loaded()) == 2, process=launcher)
    there.pace(0.2)
    there.until_asked(24, launcher)
    for one in zombies:
        one.resume()
    output = there.finish(launcher)
    assert f"was lost on {node}" in output
    psutil.wait_procs(zombies, timeout=60)
    kept = [there.summary(), there.answers()]
    again = there.run()
    assert "reused" in again
    assert [there.summary(), there.answers()] == kept
    # The zombie asks on its own account.
    there.check(again=24)


def test_a_zombie_has_the_directory(there):
    """Where Slurm itself starts a lost job again, the zombie holds the directory of both: the job is refused there,
    and goes on in another."""
    there.make(datasets=("one",), samples=24, pace=0.2)
    launcher = there.launch(slurm="--requeue")
    there.hold(3 * BATCH, launcher)
    _, zombies = there.stop_node_of_first_job()
    handle = there.attempts()[0]["handle"]
    there.slurm.until(lambda: there.slurm.jobs()[handle] == "PENDING", "the job waits again")
    there.slurm.start_soon(handle)
    wait_for(lambda: len(there.loaded()) == 2, process=launcher)
    there.pace(0.2)
    there.until_asked(24, launcher)
    for one in zombies:
        one.resume()
    assert re.search(
        r"refused to begin on n\d: .*/engine/u001/1 is in use by .*; 1 item to go on", there.finish(launcher)
    )
    psutil.wait_procs(zombies, timeout=60)
    there.check(again=24)


def test_a_preempted_job(there):
    """It ends after the batch at hand, nobody is blamed, and its pair goes on there: no sample is asked twice."""
    there.make(datasets=("one",), samples=40, pace=0.3)
    launcher = there.launch("--eval-crash-retries", "0", slurm="-p spot -w n4 --exclusive")
    there.until_asked(4 * BATCH, launcher)
    urgent = there.slurm.call("sbatch", "--parsable", "-o/dev/null", "-w", "n4", "--exclusive", "--wrap", "sleep 600")
    wait_for(lambda: len(there.attempts()) == 2, process=launcher)
    there.slurm.call("scancel", urgent)
    assert "was preempted on n4 (PREEMPTED); 1 item to go on" in there.finish(launcher)
    there.check()


def test_a_model_that_needs_too_much_memory(there):
    """Its pair is an error that says so in Slurm's words, and the others go on."""
    there.make(models=("big", "a"), datasets=("one",))
    model = there.project.suite / "model.py"
    model.write_text(model.read_text().replace("    def predict", GREEDY + "\n    def predict"))
    ran = there.run(minutes=10)
    assert ran.code == 1, ran
    assert ran.counts == {"passed": 1, "error": 1}, ran
    assert re.search("was killed for memory on n. .*while it ran .*big/one", ran), ran
    assert len(there.attempts()) == 2


# ---- what is selected


def test_detached(there):
    """With --eval-on-interrupt detach Ctrl-C leaves jobs alone, and the same command takes their results."""
    there.make(samples=16, pace=0.2)
    launcher = there.launch("--eval-on-interrupt", "detach")
    there.until_asked(2 * BATCH, launcher)
    os.kill(launcher.pid, signal.SIGINT)
    output, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 2, output
    assert "go on; the same command finds them" in output
    assert there.slurm.squeue()
    there.slurm.until(lambda: not there.slurm.squeue(), "jobs end by themselves")
    again = there.run()
    assert again.code == 0, again
    assert len(there.attempts()) == 2
    there.check()


def test_ctrl_c(there):
    """Jobs are cancelled, end after the batch at hand, and a run here goes on there."""
    there.make(samples=24, pace=0.4)
    launcher = there.launch()
    there.until_asked(4 * BATCH, launcher)
    os.kill(launcher.pid, signal.SIGINT)
    output, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 2, output
    there.slurm.until(lambda: not there.slurm.squeue(), "no job is left")
    here = there.project.run("evals")
    assert here.code == 0, here
    assert "resumed at" in here
    there.check()


def test_what_is_selected(there):
    """Options that select items, or samples of them, select what goes out, as they do here."""
    there.make(models=("a", "b"), gates={"exact_match": {"min": 0.5}})
    there.project.dataset("two", 8, wrong=8)
    run = partial(there.run, "-p", "cacheprovider", "--eval-fresh", minutes=10)
    everything = [f"echo/{model}/{dataset}" for model in "ab" for dataset in ("one", "two")]
    failed = everything[1::2]
    selections = [
        ([], everything),
        (["--lf"], failed),
        (["--eval-only", "failed"], failed),
        (["-k", "a/one"], everything[:1]),
    ]
    for words, pairs in selections:
        before = set(there.units())
        ran = run(*words)
        assert ran.code == int(pairs != everything[:1]), ran
        assert sorted(there.pairs_of(set(there.units()) - before)) == pairs, words
    ran = run("--eval-limit", "5", "-k", "a/one")
    assert ran.code == 0, ran
    assert there.asked_of("a", "one") == 2 * 8 + 5


# ---- GPUs


def test_gpus(there, tmp_path):
    """A job sees the GPUs that Slurm has given it, each of them is one job's alone, and what waits says why."""
    nvml = FakeNvml(tmp_path).gpus(80, 80, 80, 80)
    exported = ",".join(f"{k}={v}" for k, v in (nvml.env | {"EVALRUN_SLOTS_DIR": str(tmp_path / "slots")}).items())
    there.make(datasets=[f"d{i}" for i in range(6)], pace=FOR_EVER, gpus=1)
    launcher = there.launch(jobs=6, slurm=f"-w n1 --export=ALL,{exported}")
    there.until_asked(4 * BATCH, launcher)
    wait_for(lambda: len(there.waiting()) == 2 and all(one["reason"] for one in there.waiting()), process=launcher)
    _, listed, _ = there.project.evalrun("list", "--jobs")
    assert len(re.findall(r"u00[56] +\d+_[45] +waiting .* Resources", listed)) == 2, listed
    assert sorted(gpu for _, _, _, gpu in there.loaded()) == ["0", "1", "2", "3"]
    there.finish(launcher)
    assert len(there.loaded()) == 6
    there.check("--eval-gpus-per-item", "0")
