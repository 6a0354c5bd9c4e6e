"""The engine `command` on the batch system of the tests' own: real commands, real jobs."""

from __future__ import annotations

import json
import sys
import time

import pytest
from batchsystem import BatchSystem

from pytest_evalrun.engines.command import CommandEngine
from pytest_evalrun.engines.making import create_engine
from pytest_evalrun.engines.protocol import ClusterAway, Handle, Job, JobState, Phase, Resources
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.clusters import ClusterWords


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    with BatchSystem(tmp_path_factory.mktemp("batch") / "b", nodes={"n1": 4}, grace=10.0) as made:
        yield made


@pytest.fixture(autouse=True)
def idle(batch):
    """Each test finds it empty."""
    yield
    for job in batch.living():
        batch.out_of_memory(job.id) if job.pid else batch.cancel(job.id)
    batch.repair_node("n1")
    batch.wait(lambda jobs: all(job.is_over for job in jobs))


def listed(words):
    """As a suite's words are once they were checked."""
    return words | {"states": {state: [word] for state, word in words["states"].items()}}


def engine_of(batch, tmp_path, **more):
    words = ClusterWords("command", batch=listed(batch.words(**more)), root=str(tmp_path))
    return create_engine(words, tmp_path / "engine")


@pytest.fixture
def engine(batch, tmp_path):
    return engine_of(batch, tmp_path)


@pytest.fixture
def job(tmp_path):
    """Make a job of a script."""

    def make(text="sleep 60", name="job", **more):
        script = tmp_path / f"{name}.sh"
        script.write_text(text)
        return Job(name, f"the job {name}", script, tmp_path / f"{name}.log", **more)

    return make


def until(engine, handle, holds):
    """Poll until the job's state ``holds``."""
    end = time.monotonic() + 30
    while not holds(state := engine.poll([handle])[handle]):
        assert time.monotonic() < end, state
        time.sleep(0.03)
    return state


def ended(engine, handle):
    return until(engine, handle, lambda state: state.phase.is_end)


def running(engine, *handles):
    for handle in handles:
        until(engine, handle, lambda state: state.phase is Phase.RUNNING)


def test_jobs_are_submitted_and_end(batch, engine, job, tmp_path):
    """One handle a job in their order; a job that ends well is done, one that does not has failed with its code."""
    jobs = [job("exit 0", "good"), job("exit 3", "bad"), job("kill -9 $$", "killed")]
    handles = engine.submit(jobs, 4)
    assert [handle.name for handle in handles] == ["good", "bad", "killed"]
    states = [ended(engine, handle) for handle in handles]
    assert states == [
        JobState(Phase.DONE, 0, "n1"),
        JobState(Phase.FAILED, 3, "n1"),
        JobState(Phase.FAILED, -9, "n1"),
    ]


def test_a_job_is_told_what_it_asked_for(batch, engine, job, tmp_path):
    """Placeholders are filled into words, whatever they hold; time is three times what is expected; no shell runs."""
    odd = tmp_path / "a b; touch $(echo pwned) 'x"
    odd.mkdir()
    script = odd / "job.sh"
    script.write_text("pwd; echo $CUDA_VISIBLE_DEVICES $GIVEN")
    more = {"minutes": 40.2, "resources": Resources(gpus=2), "environment": {"GIVEN": "yes"}}
    (handle,) = engine.submit([Job("odd", "odd\n--title", script, odd / "job.log", **more)], 1)
    ended(engine, handle)
    assert (odd / "job.log").read_text() == f"{tmp_path}\n0,1 yes\n"
    submitted = batch.job(handle.id)
    assert (submitted.minutes, submitted.gpus) == (121, (0, 1))
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize(("expected", "asked"), [(None, 1440), (2, 30), (15, 45)], ids=str)
def test_how_long_a_job_may_take(engine, job, expected, asked):
    """A day where nobody knows, half an hour at least."""
    assert f"--minutes {asked} " in engine.preview([job(minutes=expected)], 1)


ENDS = {
    "preempted": ("preempt", Phase.PREEMPTED, "preempted by a job of higher priority"),
    "time": ("expire", Phase.TIME, "walltime exceeded"),
    "memory": ("out_of_memory", Phase.MEMORY, "out of memory"),
    "cancelled": ("cancel", Phase.CANCELLED, "cancelled by root"),
    "lost": ("lose", Phase.LOST, "node does not answer"),
}


@pytest.mark.parametrize(("what", "phase", "reason"), ENDS.values(), ids=ENDS)
def test_losses_are_told_apart(batch, engine, job, what, phase, reason):
    """By the words of the cluster, and with its reason."""
    (handle,) = engine.submit([job()], 1)
    running(engine, handle)
    getattr(batch, what)(handle.id)
    state = ended(engine, handle)
    assert (state.phase, state.reason) == (phase, reason)


def test_waiting_has_a_reason_and_running_a_node(batch, engine, job):
    """All jobs are asked for with one command."""
    handles = engine.submit([job(name=f"j{i}") for i in range(5)], 5)
    running(engine, *handles[:4])
    before = len(batch.calls("status"))
    states = list(engine.poll(handles).values())
    assert len(batch.calls("status")) == before + 1
    assert states == [*[JobState(Phase.RUNNING, node="n1")] * 4, JobState(Phase.WAITING, reason="no free slot")]


def test_what_is_not_shown_any_more_is_gone(batch, engine, job, tmp_path):
    """Whether `status` fails for it or shows the others only; what nobody ever submitted, too."""
    handles = engine.submit([job("true", f"j{i}") for i in range(2)], 2)
    for handle in handles:
        ended(engine, handle)
    batch.forget(handles[0].id)
    states = engine.poll([*handles, Handle("999", "x")])
    assert [state.phase for state in states.values()] == [Phase.GONE, Phase.DONE, Phase.GONE]
    shows_all = engine_of(batch, tmp_path, status=batch.command("status"))
    assert [state.phase for state in shows_all.poll(handles).values()] == [Phase.GONE, Phase.DONE]


def test_a_status_that_fails_for_a_job_needs_a_word_for_that(batch, job, tmp_path):
    """Without `gone` nobody knows whether the cluster or the job is away; which word is missing is said."""
    words = batch.words()
    del words["gone"]
    engine = CommandEngine(ClusterWords("command", batch=listed(words)), tmp_path)
    with pytest.raises(ClusterAway, match=r"unknown job 999 \(if that is about a job that has ended, add batch_system"):
        engine.poll([Handle("999", "x")])


def test_what_was_submitted_a_moment_ago_need_not_be_shown(batch, engine, job):
    """It waits for a while, and is gone only then: clusters show jobs late."""
    (handle,) = engine.submit([job("true")], 1)
    batch.forget(handle.id)
    assert engine.poll([handle])[handle] == JobState(Phase.WAITING, reason="not shown yet")


def test_a_word_without_a_meaning_is_no_end(batch, job, tmp_path):
    """Nobody knows whether it is one: it runs, and says which word that is."""
    engine = engine_of(batch, tmp_path, states={"done": "DONE"})
    (handle,) = engine.submit([job("exit 2")], 1)
    state = until(engine, handle, lambda state: "EXIT" in state.reason)
    assert state == JobState(Phase.RUNNING, node="n1", reason="EXIT: batch_system.states has no such word")


def test_a_cluster_that_does_not_answer_is_away(batch, engine, job):
    """Each question says so with its words, nothing is submitted twice, and all goes on when it is back."""
    first = engine.submit([job(name="first")], 1)
    jobs = [job(name="first"), job("true", "second")]
    batch.down()
    try:
        for ask in (lambda: engine.poll(first), lambda: engine.submit(jobs, 2), lambda: engine.cancel(first)):
            with pytest.raises(ClusterAway, match="cannot connect to server"):
                ask()
    finally:
        batch.up()
    handles = engine.submit(jobs, 2)
    assert handles[0] == first[0]
    assert ended(engine, handles[1]).phase is Phase.DONE
    assert [job.name for job in batch.jobs()][-2:] == ["first", "second"]


def test_a_refusal_is_an_error_with_the_words_of_the_cluster(batch, engine, job):
    """What was taken before of the same class is taken back: nobody would have its handle."""
    many = [job(name="taken"), job(name="much", resources=Resources(gpus=9))]
    with pytest.raises(ConfigError, match=r"batch_system.submit: job much was refused: submit: no node has 9 GPUs"):
        engine.submit(many, 2)
    batch.wait(lambda jobs: jobs[-1].name == "taken" and jobs[-1].is_over)
    assert batch.jobs()[-1].state == "CANCEL"


def test_an_answer_without_an_id_is_an_error(batch, job, tmp_path):
    """It says what was printed, and which expression found nothing in it."""
    engine = engine_of(batch, tmp_path, id=r"JOB<(\d+)>")
    with pytest.raises(
        ConfigError, match=r"batch_system.id: found 'JOB.*' finds no id in what `submit` printed: job \d"
    ):
        engine.submit([job()], 1)


def test_without_an_expression_the_id_is_the_last_word(batch, job, tmp_path):
    """As the schema says."""
    words = batch.words()
    del words["id"]
    engine = CommandEngine(ClusterWords("command", batch=listed(words)), tmp_path)
    (handle,) = engine.submit([job()], 1)
    assert handle.id == "queue"


def test_jobs_are_cancelled_gently(batch, engine, job):
    """SIGTERM comes first; jobs that are over or unknown are passed over, and the others end all the same."""
    polite = "trap 'kill $!; exit 75' TERM; echo up; sleep 60 & wait"
    over, first, second = handles = engine.submit([job("true", "over"), job(polite, "a"), job(polite, "b")], 3)
    ended(engine, over)
    batch.wait(lambda jobs: all(one.log.exists() and "up" in one.log.read_text() for one in jobs[-2:]))
    engine.cancel([*handles, Handle("999", "x")])
    assert [ended(engine, one).code for one in (first, second)] == [75, 75]
    assert ended(engine, first).phase is Phase.CANCELLED
    engine.cancel(handles)


def test_what_cannot_be_cancelled_is_told(batch, job, tmp_path):
    """With the words of the command that failed, and which jobs go on."""
    engine = engine_of(batch, tmp_path, cancel="sh -c 'echo not yours >&2; exit 1' {id}")
    (handle,) = engine.submit([job()], 1)
    running(engine, handle)
    with pytest.raises(ConfigError, match=rf"batch_system.cancel: {handle.id} cannot be cancelled: not yours"):
        engine.cancel([handle])


def test_what_is_ending_may_be_refused_again(batch, job, tmp_path):
    """Who cancels a job twice, because it takes its time, is not told that it cannot be cancelled."""
    once = f"sh -c 'mkdir {tmp_path}/once' {{id}}"
    engine = engine_of(batch, tmp_path, cancel=once)
    (handle,) = engine.submit([job()], 1)
    running(engine, handle)
    engine.cancel([handle])
    engine.cancel([handle])
    assert engine.poll([handle])[handle].phase is Phase.RUNNING


def test_jobs_are_found_by_their_names(batch, job, tmp_path):
    """Where `status` shows all jobs and the expression has a group for the name."""
    handles = [engine_of(batch, tmp_path).submit([job(name=name)], 1)[0] for name in ("wanted", "another", "later")]
    state = str(batch.words()["state"]).replace(r"\S+", r"(?P<name>\S+)", 1)
    engine = engine_of(batch, tmp_path, status=batch.command("status"), state=state)
    assert engine.find(["later", "no", "wanted"]) == [handles[2], handles[0]]
    assert engine_of(batch, tmp_path, state=state).find(["wanted"]) == []


def test_what_may_be_submitted_passes(engine, job):
    """Where all three commands are there."""
    engine.check([job(resources=Resources(gpus=99))])


def test_commands_may_be_called_once_a_job(batch, job, tmp_path):
    """`{id}` in place of `{ids}`; within a word all ids stand with commas."""
    one = engine_of(
        batch, tmp_path, status=f"{batch.command('status')} {{id}}", cancel=f"{batch.command('cancel')} {{id}}"
    )
    handles = one.submit([job(name=f"j{i}") for i in range(2)], 2)
    running(one, *handles)
    one.cancel(handles)
    assert {ended(one, handle).phase for handle in handles} == {Phase.CANCELLED}
    code = "import sys; print('1 n RUN - - ' + sys.argv[1])"
    joined = engine_of(batch, tmp_path, status=f"{sys.executable} -c {json.dumps(code)} --jobs={{ids}}")
    first, second = Handle("1", "a"), Handle("2", "b")
    assert joined.poll([first, second])[first].reason == "--jobs=1,2"


def test_without_a_batch_system_there_is_no_engine(tmp_path):
    """It says what is missing, and where that belongs."""
    with pytest.raises(ConfigError, match="--eval-engine command: no suite of this launch says how jobs are submitted"):
        create_engine(ClusterWords("command"), tmp_path)


MISSING = {
    "program": ({"status": "qstta {ids}"}, "batch_system.status: found the program 'qstta', which is not on PATH"),
    "file": ({"cancel": "./bin/qdel {ids}"}, "batch_system.cancel: found the program './bin/qdel', which is not below"),
}


@pytest.mark.parametrize(("more", "told"), MISSING.values(), ids=MISSING)
def test_a_missing_program_is_told_before_anything_is_submitted(batch, job, tmp_path, more, told):
    """With the key that names it; what would be submitted is shown without it."""
    engine = engine_of(batch, tmp_path, **more)
    assert "--name job " in engine.preview([job()], 1)
    with pytest.raises(ConfigError) as caught:
        engine.check([job()])
    assert str(caught.value).startswith(told)
