"""The batch system that other tests rely on does what it says: jobs are processes, and they end as they are told."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from batchsystem import BatchSystem


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    with BatchSystem(tmp_path_factory.mktemp("batch") / "b", nodes={"n1": 1, "n2": 1}, grace=0.5) as made:
        yield made


@pytest.fixture(autouse=True)
def idle(batch):
    """Each test finds it empty."""
    yield
    for job in batch.living():
        batch.out_of_memory(job.id) if job.pid else batch.cancel(job.id)
    for node in ("n1", "n2"):
        batch.repair_node(node)
    batch.wait(lambda jobs: all(job.is_over for job in jobs))


def call(batch, *words):
    return subprocess.run(shlex.split(batch.command(*words)), capture_output=True, text=True)


def put(batch, tmp_path, text, *words, name="job"):
    """Submit a script; its ident."""
    script = tmp_path / f"{name}.sh"
    script.write_text(text)
    done = call(batch, "submit", "--name", name, "--log", str(tmp_path / f"{name}.log"), *words, str(script))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[1]


def ended(batch, ident):
    batch.wait(lambda jobs: batch.job(ident).is_over)
    return batch.job(ident)


def running(batch, *ids):
    batch.wait(lambda jobs: all(batch.job(ident).state == "RUN" for ident in ids))


POLITE = "trap 'kill $!; echo heard; exit 75' TERM; echo up; sleep 60 & wait"
STUBBORN = "trap '' TERM; echo up; sleep 60"


def begun(batch, ident):
    batch.wait(lambda jobs: "up" in (batch.job(ident).log.read_text() if batch.job(ident).log.exists() else ""))


def test_a_job_runs_its_script_and_leaves_its_code(batch, tmp_path):
    """The log has all that the script says, the job its exit code, and what it left behind is killed."""
    ident = put(batch, tmp_path, 'echo "gpus $CUDA_VISIBLE_DEVICES"; echo oops >&2; sleep 60 & exit 3', "--gpus", "2")
    job = ended(batch, ident)
    assert (job.state, job.code, job.log.read_text()) == ("EXIT", 3, "gpus 0,1\noops\n")
    assert batch.processes(ident) == []


def test_slots_are_few(batch, tmp_path):
    """No more jobs run than there are slots; the next begins when one ends."""
    first, second, third = (put(batch, tmp_path, "sleep 60", name=f"j{i}") for i in range(3))
    running(batch, first, second)
    assert batch.job(third).state == "QUEUED"
    assert "no free slot" in call(batch, "status", third).stdout
    batch.out_of_memory(first)
    running(batch, third)
    assert batch.job(first).state == "OOM"


@pytest.mark.parametrize(
    ("what", "state"), [("preempt", "PREEMPT"), ("expire", "TIMELIMIT"), ("cancel", "CANCEL")], ids=str
)
@pytest.mark.parametrize(("script", "code"), [(POLITE, 75), (STUBBORN, 137)], ids=["polite", "stubborn"])
def test_a_job_is_told_before_it_is_killed(batch, tmp_path, what, state, script, code):
    """SIGTERM first, SIGKILL after the grace; the state says who wanted it."""
    ident = put(batch, tmp_path, script)
    begun(batch, ident)
    getattr(batch, what)(ident)
    job = ended(batch, ident)
    assert (job.state, job.code) == (state, code)
    assert ("heard" in job.log.read_text()) == (code == 75)


def test_a_node_dies_with_all_of_its_jobs(batch, tmp_path):
    """What runs there is lost, what runs elsewhere goes on, and nothing is started there."""
    first, second = (put(batch, tmp_path, "sleep 60", name=f"j{i}") for i in range(2))
    running(batch, first, second)
    assert batch.kill_node("n1") == [first]
    assert batch.job(first).state == "LOST" and batch.processes(first) == []
    third = put(batch, tmp_path, "sleep 60", name="j3")
    assert batch.job(second).state == "RUN" and batch.job(third).state == "QUEUED"
    batch.repair_node("n1")
    running(batch, third)


def test_jobs_outlive_the_process_that_has_the_queue(batch, tmp_path):
    """While it is dead each command fails; the next one takes over what runs, with its code."""
    ident = put(batch, tmp_path, f"echo up; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 4")
    begun(batch, ident)
    batch.down()
    assert "cannot connect" in call(batch, "status", ident).stderr
    (tmp_path / "go").touch()
    batch.up()
    assert ended(batch, ident).code == 4


def test_what_it_has_forgotten_it_does_not_know(batch, tmp_path):
    """``status`` fails for what is unknown, and shows the others all the same."""
    first, second = (put(batch, tmp_path, "true", name=f"j{i}") for i in range(2))
    ended(batch, first), ended(batch, second)
    batch.forget(first)
    done = call(batch, "status", first, second)
    assert (done.returncode, done.stderr) == (1, f"status: unknown job {first}\n")
    assert done.stdout == f"{second} j1 DONE 0 {batch.job(second).node} \n"


def test_a_job_may_begin_again(batch, tmp_path):
    """By hand, under its id and from the top, once the queue is not held any more; its code tells what kills it."""
    ident = put(batch, tmp_path, "echo up; sleep 60")
    begun(batch, ident)
    batch.hold()
    try:
        batch.requeue(ident)
        batch.wait(lambda jobs: batch.job(ident).pid is None and not batch.processes(ident))
        assert "held" in call(batch, "status", ident).stdout
    finally:
        batch.hold(False)
    batch.wait(lambda jobs: batch.job(ident).log.read_text() == "up\nup\n")
    batch.kill(ident)
    assert (ended(batch, ident).state, ended(batch, ident).code) == ("EXIT", 137)


def test_it_refuses(batch, tmp_path):
    """What no node has is refused, and everything while it is told to."""
    words = ("submit", "--name", "n", "--log", str(tmp_path / "log"))
    assert "no node has 9 GPUs" in call(batch, *words, "--gpus", "9", "job.sh").stderr
    batch.refuse("the queue is closed")
    try:
        assert call(batch, *words, "job.sh").stderr == "submit: the queue is closed\n"
    finally:
        batch.refuse(None)


def test_a_lost_job_may_come_back(batch, tmp_path):
    """One whose node cannot be reached stands still, and goes on when it is let."""
    ident = put(
        batch, tmp_path, f"echo up; for i in $(seq 600); do sleep 0.05; [ -e {tmp_path}/go ] && echo back; done"
    )
    begun(batch, ident)
    batch.lose(ident)
    (tmp_path / "go").touch()
    assert batch.job(ident).state == "LOST" and batch.processes(ident)
    batch.thaw(ident)
    batch.wait(lambda jobs: "back" in batch.job(ident).log.read_text())
    for pid in batch.processes(ident):
        subprocess.run(["kill", "-9", str(pid)], check=False)


def test_nothing_is_left(tmp_path):
    """When it is left, jobs that run, that were stopped and that are deaf are dead."""
    with BatchSystem(tmp_path / "batch") as batch:
        ids = [put(batch, tmp_path, STUBBORN, name=f"j{i}") for i in range(2)]
        for ident in ids:
            begun(batch, ident)
        batch.freeze(ids[0])
    assert batch.processes() == []
