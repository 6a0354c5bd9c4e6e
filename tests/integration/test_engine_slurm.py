"""Jobs on a real Slurm: how they are submitted, what is said of them, and what became of them."""

from __future__ import annotations

import itertools
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex

import pytest
from slurmhost import Slurm, belonging_called

from pytest_evalrun.engines.protocol import ClusterAway, Handle, Job, JobState, Phase, Resources
from pytest_evalrun.engines.slurm import SlurmEngine
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.clusters import ClusterWords

# What job.sh does: the program gets what the shell gets, and is waited for.
PATIENT = """
trap 'kill -TERM $child' TERM USR1
sleep 600 & child=$!
wait $child
echo asked; exit 75
"""


class Cluster:
    """A launch's engine, and jobs that are scripts of a line or two."""

    def __init__(self, directory: Path, slurm) -> None:
        self.slurm = slurm
        self.directory = directory / "engine"
        self.engine = self.another()
        self._units = itertools.count(1)

    def another(self, words: str = "") -> SlurmEngine:
        """As another launch of the run has it."""
        return SlurmEngine(ClusterWords("slurm", slurm=words, root=str(self.directory.parent)), self.directory)

    def job(self, body: str = "sleep 600", **needs) -> Job:
        unit = f"u{next(self._units):03}"
        place = self.directory / unit / "1"
        place.mkdir(parents=True)
        (place / "job.sh").write_text(f"#!/bin/bash\n{body}\n")
        name = f"evalrun-run1-{unit}-1-{token_hex(2)}"
        return Job(name, f"run1 {unit}/1: mlp/clean", place / "job.sh", place / "job.log", Resources(**needs))

    def submit(self, *jobs: Job, at_once: int = 64, words: str = "") -> list[Handle]:
        return (self.another(words) if words else self.engine).submit(jobs, at_once)

    def one(self, body: str = "sleep 600", words: str = "", **needs) -> Handle:
        return self.submit(self.job(body, **needs), words=words)[0]

    def state(self, handle: Handle) -> JobState:
        return self.engine.poll([handle])[handle]

    def until(self, handle: Handle, *phases: Phase) -> JobState:
        return self.slurm.until(lambda: (state := self.state(handle)).phase in phases and state, " ".join(phases))

    def ended(self, handle: Handle) -> JobState:
        return self.slurm.until(lambda: (state := self.state(handle)).phase.is_end and state, "the job ends")

    def log(self, handle: Handle) -> str:
        _, _, unit, attempt, _ = handle.name.split("-")
        file = self.directory / unit / attempt / "job.log"
        return file.read_text() if file.exists() else ""

    def says(self, handle: Handle, words: str) -> str:
        return self.slurm.until(lambda: words in (said := self.log(handle)) and said, words)


@pytest.fixture
def cluster(tmp_path, slurm, monkeypatch):
    for name, value in slurm.env.items():
        monkeypatch.setenv(name, value)
    yield Cluster(tmp_path / "a run, 100%", slurm)
    slurm.clear()


@pytest.fixture(scope="module", autouse=True)
def limited(tmp_path_factory):
    """A job that goes on until its time limit, on a Slurm of its own: it looks at limits each half a minute."""
    with Slurm() as patient, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(patient.conf))
        cluster = Cluster(tmp_path_factory.mktemp("limited"), patient)
        body = "trap 'echo noticed' USR1; while true; do sleep 0.1; done"
        handle = cluster.one(body, words="--time=2 --signal=B:USR1@110")
        patch.undo()
        yield cluster, handle


# ---- submitted


def test_one_array(cluster):
    """Jobs of one class are one array, of which no more run than may at once; each writes into its attempt's log."""
    jobs = [cluster.job(f"echo I am {number}; sleep 600") for number in range(4)]
    handles = cluster.submit(*jobs, at_once=2)
    assert [handle.id.partition("_")[2] for handle in handles] == ["0", "1", "2", "3"]
    assert len({handle.id.partition("_")[0] for handle in handles}) == 1
    assert [handle.name for handle in handles] == [job.name for job in jobs]
    for number, handle in enumerate(handles[:2]):
        cluster.says(handle, f"I am {number}")
    cluster.slurm.until(lambda: cluster.state(handles[3]).reason == "JobArrayTaskLimit", "the scheduler says why")
    states = cluster.engine.poll(handles)
    assert [states[handle].phase for handle in handles] == [Phase.RUNNING] * 2 + [Phase.WAITING] * 2
    assert states[handles[0]].node in cluster.slurm.nodes()
    cluster.engine.cancel(handles[:1])
    cluster.says(handles[2], "I am 2")


def test_what_it_is_asked_for(cluster):
    """A job has its GPUs, starts in the project, is called as we call it, and says of which run it is."""
    handle = cluster.one("echo $CUDA_VISIBLE_DEVICES in $PWD; sleep 600", gpus=2)
    assert cluster.says(handle, "in").startswith(f"0,1 in {cluster.directory.parent}")
    shown = cluster.slurm.show(handle.id)
    assert f"JobName={handle.name}" in shown
    assert "Comment=run1 u001/1: mlp/clean" in shown
    assert "Requeue=0" in shown


@pytest.mark.parametrize(
    ("words", "flags", "expected"),
    [
        ("--nice=7 --mem=300M", "", ["Nice=7", "MinMemoryNode=300M"]),
        ("-w n3", "", ["ReqNodeList=n3"]),
        ("", "--mem=400M", ["MinMemoryNode=400M"]),
        ("--mem=300M", "--mem=400M", ["MinMemoryNode=400M"]),
        ("--comment 'of the site'", "", ["Comment=of the site"]),
        ("--requeue --time=30", "", ["Requeue=1", "TimeLimit=00:30:00"]),
        ("--job-name=other --array=0-9 --output=/dev/null", "", ["ArrayTaskId=0", "JobName=evalrun-"]),
        ("", "", ["TimeLimit=UNLIMITED"]),
    ],
    ids=["options", "pair", "flags of the pair", "the pair's win", "quoted", "ours give way", "fixed", "none"],
)
def test_words_verbatim(cluster, words, flags, expected):
    """The user's words reach sbatch as they are, those of the pair after those of the launch; they win over ours
    where they may, and what the launch finds its jobs by is not theirs to say."""
    handle = cluster.one(words=f"-H {words}", flags=flags)
    shown = cluster.slurm.show(handle.id)
    assert [one for one in expected if one not in shown] == []


def test_preview_is_the_command(cluster):
    """The line that is shown is what a shell would submit the same jobs with."""
    jobs = [cluster.job("true"), cluster.job("true")]
    engine = cluster.another("-p spot --comment 'a b'")
    line = engine.preview(jobs, 1)
    assert line.startswith("sbatch '--comment=run1 u001/1: mlp/clean and 1 more' --no-requeue ")
    assert "-p spot --comment 'a b'" in line
    assert "--array=0-1%1" in line
    assert not list(cluster.directory.glob("slurm*"))


def test_submitted_once(cluster):
    """Who submits jobs again, because nobody answered the first time, gets those of the first time."""
    jobs = [cluster.job(), cluster.job()]
    first = cluster.submit(*jobs)
    assert cluster.submit(*jobs) == first
    assert len(cluster.slurm.jobs()) >= 2
    assert len(cluster.slurm.squeue("-r").splitlines()) == 2


def test_found_by_name(cluster):
    """Another launch finds jobs by the names that we gave them, waiting ones too, and no others, in any order."""
    jobs = [cluster.job() for _ in range(3)]
    handles = cluster.submit(*jobs, at_once=1)
    other = cluster.submit(cluster.job())
    assert cluster.another().find([jobs[0].name, jobs[2].name, "evalrun-run1-u9-1-abcd"]) == [handles[0], handles[2]]
    assert cluster.another().find([job.name for job in reversed(jobs)]) == handles[::-1]
    assert cluster.another().find([other[0].name]) == other
    assert cluster.another().find([]) == []


# ---- what became of them


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("true", JobState(Phase.DONE, 0, "n1", "COMPLETED")),
        ("exit 3", JobState(Phase.FAILED, 3, "n1", "FAILED (NonZeroExitCode)")),
        ("exit 75", JobState(Phase.FAILED, 75, "n1", "FAILED (NonZeroExitCode)")),
        ("kill -SEGV $$", JobState(Phase.FAILED, -11, "n1", "FAILED (JobLaunchFailure)")),
    ],
    ids=["0", "3", "75", "signal"],
)
def test_ends_by_itself(cluster, body, expected):
    """A job that ends by itself has its exit code, or the signal as a negative one."""
    assert cluster.ended(cluster.one(body, words="-w n1")) == expected


def test_memory(cluster):
    """A job that Slurm ends for its memory says so, in Slurm's words, though its state is FAILED."""
    body = "exec python3 -c 'import time; a = bytearray(3 * 10**8); time.sleep(60)'"
    state = cluster.ended(cluster.one(body, words="--mem=50M"))
    assert state.phase is Phase.MEMORY
    assert "exceeded memory limit" in state.reason


def test_waits_in_slurms_words(cluster):
    """A job that waits says why, as Slurm does: held, for resources, for a node that is drained."""
    held = cluster.one(words="-H")
    cluster.slurm.drain("n2")
    drained = cluster.one(words="-w n2")
    full = cluster.submit(*[cluster.job(gpus=4) for _ in range(4)])
    assert cluster.state(held).reason == "JobHeldUser"
    cluster.slurm.until(lambda: "n2" in cluster.state(drained).reason)
    assert cluster.state(drained).reason.startswith("ReqNodeNotAvail, ")
    states = cluster.slurm.until(
        lambda: (
            (states := [state for state in cluster.engine.poll(full).values() if state.phase is Phase.WAITING])
            and len(states) == 1
            and states[0].reason
            and states
        )
    )
    assert "Resources" in states[0].reason or "Priority" in states[0].reason or "Node" in states[0].reason


def test_drained_while_it_runs(cluster):
    """A job on a node that is drained meanwhile goes on."""
    go = cluster.directory / "go"
    handle = cluster.one(f"until [ -e {shlex.quote(str(go))} ]; do sleep 0.1; done", words="-w n2")
    cluster.until(handle, Phase.RUNNING)
    cluster.slurm.drain("n2")
    go.touch()
    assert cluster.ended(handle).phase is Phase.DONE


def test_cancelled_by_us(cluster):
    """A job that is cancelled gets SIGTERM and may end in peace; one that waits never starts; those that are over, or
    unknown, are passed over."""
    running, waiting, _ = cluster.submit(cluster.job(PATIENT), cluster.job(), cluster.job(), at_once=1)
    over = cluster.one("true")
    cluster.ended(over)
    cluster.until(running, Phase.RUNNING)
    cluster.slurm.until(lambda: belonging_called(cluster.slurm.conf, "sleep"))
    cluster.engine.cancel([running, waiting, over, Handle("999999_0", "x")])
    cluster.engine.cancel([])
    assert cluster.ended(running).phase is Phase.CANCELLED
    assert "asked" in cluster.log(running)
    assert cluster.ended(waiting) == JobState(Phase.CANCELLED, None, "", "CANCELLED while it waited")


@pytest.mark.parametrize("jobs", [1, 3], ids=["alone", "one of three"])
def test_cancelled_while_it_waits(cluster, jobs):
    """A job that somebody cancels before it started is cancelled, though Slurm lists it no more; the others wait on."""
    handles = cluster.submit(*[cluster.job() for _ in range(jobs)], words="-H")
    assert cluster.state(handles[0]).phase is Phase.WAITING
    cluster.slurm.call("scancel", handles[0].id)
    states = cluster.engine.poll(handles)
    assert states[handles[0]].phase is Phase.CANCELLED
    assert [states[handle].phase for handle in handles[1:]] == [Phase.WAITING] * (jobs - 1)


def test_preempted(cluster):
    """A job that gives way to others is preempted, with SIGTERM, and is not queued again by Slurm itself."""
    handle = cluster.one(PATIENT, words="-p spot --exclusive -w n4")
    cluster.until(handle, Phase.RUNNING)
    cluster.slurm.until(lambda: belonging_called(cluster.slurm.conf, "sleep"))
    urgent = cluster.one("sleep 600", words="-p main --exclusive -w n4")
    state = cluster.ended(handle)
    assert (state.phase, state.reason, state.node) == (Phase.PREEMPTED, "PREEMPTED", "n4")
    assert "asked" in cluster.log(handle)
    cluster.until(urgent, Phase.RUNNING)


def test_requeued_by_hand(cluster):
    """Queueing a job again is refused by Slurm; where its owner allows it, it waits and runs in the same attempt,
    writing on in the same log."""
    handle = cluster.one("echo start $SLURM_RESTART_COUNT.; sleep 600")
    cluster.says(handle, "start .")
    with pytest.raises(RuntimeError, match="disabled"):
        cluster.slurm.call("scontrol", "requeue", handle.id)
    cluster.slurm.call("scontrol", "update", f"JobId={handle.id}", "Requeue=1")
    cluster.slurm.call("scontrol", "requeue", handle.id)
    cluster.until(handle, Phase.WAITING)
    cluster.slurm.until(lambda: cluster.state(handle).reason == "BeginTime")  # once its first start is over

    def begun():
        state = cluster.state(handle)
        if state.phase is Phase.WAITING:
            cluster.slurm.start_soon(handle.id)
        return state.phase is Phase.RUNNING

    cluster.slurm.until(begun)
    said = cluster.says(handle, "start 1.")
    assert said.index("start .") < said.index("start 1.")
    assert cluster.state(handle).phase is Phase.RUNNING


def test_suspended(cluster):
    """A job that is suspended is not over, and says so."""
    handle = cluster.one("sleep 600")
    cluster.until(handle, Phase.RUNNING)
    cluster.slurm.call("scontrol", "suspend", handle.id)
    assert cluster.state(handle) == JobState(Phase.RUNNING, None, cluster.state(handle).node, "SUSPENDED")
    cluster.slurm.call("scontrol", "resume", handle.id)
    assert cluster.state(handle).reason == ""


def test_node_is_lost(cluster):
    """The jobs of a node that goes away are lost; another node's go on."""
    lost, kept = cluster.one(words="-w n1"), cluster.one(words="-w n2")
    cluster.until(lost, Phase.RUNNING)
    cluster.until(kept, Phase.RUNNING)
    cluster.slurm.kill_node("n1")
    state = cluster.ended(lost)
    assert (state.phase, state.node) == (Phase.LOST, "n1")
    assert state.reason.startswith("NODE_FAIL")
    assert cluster.state(kept).phase is Phase.RUNNING


def test_administrator_gives_a_node_up(cluster):
    """A node that its administrator says is down has lost its jobs."""
    handle = cluster.one(words="-w n3")
    cluster.until(handle, Phase.RUNNING)
    cluster.slurm.down("n3")
    assert cluster.ended(handle).phase is Phase.LOST


def test_forgotten(cluster, monkeypatch):
    """What Slurm knows nothing of is gone, also beside others; nothing is asked where there are no jobs."""
    known, unknown = cluster.one(), Handle("999999_0", "evalrun-run1-u9-1-abcd")
    assert cluster.state(unknown) == JobState(Phase.GONE)
    states = cluster.engine.poll([known, unknown])
    assert [states[known].phase.is_end, states[unknown].phase] == [False, Phase.GONE]
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nonexistent")
        assert cluster.engine.poll([]) == {}


def test_controller_away(cluster):
    """While no controller answers, everything says so in Slurm's words; jobs go on, and are known to the next."""
    handle = cluster.one("sleep 600")
    cluster.until(handle, Phase.RUNNING)
    cluster.slurm.kill_controller()
    asked = (
        lambda: cluster.engine.poll([handle]),
        lambda: cluster.engine.cancel([handle]),
        lambda: cluster.submit(cluster.job("true")),
        lambda: cluster.engine.check([cluster.job("true")]),
    )
    with ThreadPoolExecutor() as threads:
        answers = [threads.submit(ask) for ask in asked]
    for answer in answers:
        with pytest.raises(ClusterAway, match="Unable to contact slurm controller"):
            answer.result()
    cluster.slurm.start_controller()
    assert cluster.state(handle).phase is Phase.RUNNING


# ---- refused


@pytest.mark.parametrize(
    ("words", "needs", "expected"),
    [
        ("-p nowhere", {}, "invalid partition specified: nowhere"),
        ("", {"gpus": 5}, "Requested node configuration is not available"),
        ("--quotatype=spot", {}, "unrecognized option '--quotatype=spot'"),
        ("--gres=tpu:1", {}, "Invalid generic resource (gres) specification"),
        ("", {"flags": "-p nowhere"}, "invalid partition specified: nowhere"),
    ],
    ids=["partition", "GPUs", "option of another Slurm", "resource", "the pair's flags"],
)
def test_never_runs(cluster, words, needs, expected):
    """What this cluster can never run is told before anything is submitted, once, in Slurm's words and with ours."""
    jobs = [cluster.job(**needs), cluster.job(**needs)]
    with pytest.raises(ConfigError) as raised:
        cluster.another(words).check(jobs)
    assert str(raised.value).count(expected) == 1
    assert "sbatch --no-requeue" in str(raised.value)
    assert words in str(raised.value)
    assert cluster.slurm.squeue() == ""


@pytest.mark.parametrize("away", ["drain", "down"])
def test_what_no_node_can_run_now(cluster, away):
    """Where all nodes are drained or down, what one of them could run waits for it; what none has is refused still."""
    for node in cluster.slurm.nodes():
        getattr(cluster.slurm, away)(node)
    cluster.engine.check([cluster.job(gpus=4)])
    with pytest.raises(ConfigError, match="Requested node configuration is not available"):
        cluster.engine.check([cluster.job(gpus=5)])
    assert cluster.slurm.squeue() == ""


def test_check_accepts(cluster):
    """What can run is not submitted by being checked."""
    cluster.engine.check([cluster.job(), cluster.job(gpus=4)])
    assert cluster.slurm.squeue() == ""


def test_larger_than_an_array_may_be(cluster, monkeypatch):
    """More jobs than an array may have are refused in Slurm's words, with the limit and what makes fewer."""
    jobs = [cluster.job("true")] * 1002
    with pytest.raises(
        ConfigError, match=r"1002 jobs: Invalid job array specification \(MaxArraySize is 1001; .*unit-min"
    ):
        cluster.engine.submit(jobs, 4)


def test_no_slurm_here(cluster, monkeypatch):
    """Where there is no sbatch the error names it, and where to start."""
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nonexistent")
        with pytest.raises(ConfigError, match="sbatch is not on PATH; start this where Slurm's commands are installed"):
            cluster.engine.check([cluster.job()])


def test_words_that_no_shell_reads(cluster):
    """A quote that is not closed is the user's mistake, and names where it stands."""
    with pytest.raises(ConfigError, match="--eval-slurm: found"):
        cluster.another("--comment 'a")
    with pytest.raises(ConfigError, match="slurm: found"):
        cluster.engine.check([cluster.job(flags="'")])


def test_node_without_the_directory(cluster):
    """A node that does not see the run's directory says so, or Slurm does that there is no log."""
    handle = cluster.one(words="-H")
    (place,) = (cluster.directory / "slurm").iterdir()
    hidden = place.rename(place.with_name("hidden"))
    cluster.slurm.call("scontrol", "release", handle.id)
    cluster.slurm.until(lambda: cluster.slurm.jobs()[handle.id] == "FAILED")
    hidden.rename(place)
    state = cluster.state(handle)
    assert state.phase is Phase.FAILED
    assert f"see {place}/0.log? It wrote none" in state.reason


def test_tastes_of_the_user(cluster, monkeypatch):
    """Variables by which people change what squeue shows and scancel asks change nothing."""
    for name, value in {
        "SQUEUE_FORMAT": "%u",
        "SQUEUE_STATES": "COMPLETED",
        "SQUEUE_PARTITION": "spot",
        "SQUEUE_SORT": "i",
        "SCANCEL_INTERACTIVE": "1",
        "SCANCEL_STATE": "PENDING",
    }.items():
        monkeypatch.setenv(name, value)
    handle = cluster.one()
    cluster.until(handle, Phase.RUNNING)
    assert cluster.engine.find([handle.name]) == [handle]
    cluster.engine.cancel([handle])
    assert cluster.ended(handle).phase is Phase.CANCELLED


def test_time_limit(limited, monkeypatch):
    """Before its time limit a job is told so by USR1, at its shell alone; one that goes on ends by it."""
    cluster, handle = limited
    monkeypatch.setenv("SLURM_CONF", str(cluster.slurm.conf))
    cluster.says(handle, "noticed")
    cluster.slurm.call("scontrol", "update", f"JobId={handle.id}", "EndTime=now")
    state = cluster.ended(handle)
    assert (state.phase, state.reason) == (Phase.TIME, "TIMEOUT (TimeLimit)")
