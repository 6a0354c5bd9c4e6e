"""What is wrong with a cluster, a disk or a file is told once and names who is to blame; it costs no result."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import psutil
import pytest
from support import kill_group, wait_for

JOBS = ("evals", "--eval-engine", "command", "--eval-jobs", "2")


@pytest.fixture
def launch(project):
    """``launch(…)``: a launch that goes on beside the test; ``launch.end(…)`` waits for its end."""

    class Launch:
        process = None

        def __call__(self, *words, **env):
            self.process = project.start(*JOBS, *words, **env)
            return self.process

        def end(self, code=0, seconds=240):
            output, _ = self.process.communicate(timeout=seconds)
            assert self.process.returncode == code, output
            assert "INTERNALERROR" not in output and "Traceback" not in output, output
            return output

    one = Launch()
    yield one
    if one.process is not None:
        kill_group(one.process)


def test_reports_that_were_edited(cluster, launch, project):
    """Garbage in a job's reports is passed over, and an item that is said to have passed must have a result."""
    cluster(datasets=("one", "two"), params={"delay": 1})
    process = launch("--eval-crash-retries", "0")
    file = wait_for(lambda: next(project.latest.glob("engine/u001/1/reports.jsonl"), None), process=process)
    wait_for(lambda: b'"start"' in file.read_bytes(), process=process)
    second = "evals/echo/evalrun.yaml::test_pair[a/two]"
    report = {"outcome": "passed", "nodeid": second, "$report_type": "TestReport", "location": ["x", 1, "y"]}
    report |= {"keywords": {}, "longrepr": None, "user_properties": [], "sections": [], "duration": 0.1}
    lie = {"kind": "item", "id": second, "reports": [report | {"when": when} for when in ("setup", "call", "teardown")]}
    garbage = [{"kind": "item"}, {"kind": "ended", "code": "x"}, {"kind": "start", "id": ["x"]}, [1], lie]
    with file.open("ab") as opened:
        opened.write(b"\xff\x00\n" + b"".join(json.dumps(line).encode() + b"\n" for line in garbage))
    said = launch.end()
    assert said.count(f"{second} passed without a result, which is not believed") == 1
    assert "2 passed" in said
    assert project.result("a", "two")["status"] == "passed"


def runs(project):
    return [path for path in project.root.glob("outputs/*/*") if path.is_dir() and not path.is_symlink()]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"submit": "nosuchprogram {script}"}, "batch_system.submit: found the program 'nosuchprogram', which is not"),
        ({"status": "/no/such/status {ids}"}, "batch_system.status: found the program '/no/such/status', which is not"),
        ({"cancel": "/no/such/cancel {ids}"}, "batch_system.cancel: found the program '/no/such/cancel', which is not"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_missing_program_leaves_no_run(cluster, batch, project, words, told):
    """The key and the remedy are told, nothing is submitted, and no directory of a run is made."""
    cluster(batch_system=batch.words(**words))
    ran = project.run(*JOBS)
    assert ran.code == 4, ran
    assert told in ran
    assert not runs(project)
    assert not batch.jobs()


def test_a_cluster_that_takes_no_job_says_why_once(cluster, batch, project):
    """Its words are the one error of the launch, whatever the number of jobs."""
    cluster(models=("a", "b", "c"))
    batch.refuse("no such queue: nightly")
    ran = project.run(*JOBS, "--eval-unit-minutes", "0.001")
    assert ran.code == 4, ran
    assert ran.count("no such queue: nightly") == 1
    assert "INTERNALERROR" not in ran


# What a node sees is a mount namespace of its own, in which a directory is empty.
BLIND = """#!/bin/bash
script="${@: -1}"
printf '#!/bin/bash\\nexec unshare -m sh -c "mount -t tmpfs tmpfs %s && exec bash %s"\\n' "$HIDDEN" "$script" > "$0.job"
exec COMMAND "${@:1:$#-1}" "$0.job"
"""


@pytest.mark.parametrize(
    ("hidden", "told"),
    [
        ("", "every node must see what the launch sees, under the same path"),
        ("outputs", "every node must see what the launch sees, under the same path"),
        ("evals", "this host does not see"),
    ],
    ids=["all", "outputs", "suites"],
)
def test_a_directory_that_nodes_do_not_see(cluster, batch, project, tmp_path, hidden, told):
    """The first job notices, its words are the one error, and no more jobs are submitted."""
    submit = tmp_path / "submit.sh"
    submit.write_text(BLIND.replace("COMMAND", batch.command("submit")))
    submit.chmod(0o755)
    given = "--name {name} --log {log} --gpus {gpus} --minutes {minutes} {script}"
    cluster(models=("a", "b", "c"), batch_system=batch.words(submit=f"{submit} {given}"))
    (project.root / "outputs").mkdir()
    ran = project.run(*JOBS[:-1], "1", "--eval-unit-minutes", "0.001", HIDDEN=str(project.root / hidden))
    assert ran.code == 4, ran
    assert ran.count("ERROR: job 1 ") == 1
    assert told in ran
    assert len(batch.jobs()) == 1


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_disk_that_fills_while_jobs_run(cluster, batch, launch, project, small_disk):
    """Each pair is an error that says so, nothing is tried for ever, and with room made the same command goes on."""
    cluster(datasets=("one", "two", "three"), params={"delay": 0.5})
    # Files may come late on a shared disk; no test waits so long for them.
    (project.root / "conftest.py").write_text(
        "import pytest_evalrun.plugin.engine.inbox as inbox\ninbox.PATIENCE_SECONDS = 1\n"
    )
    where = ("--eval-workdir", str(small_disk / "out"), "--eval-crash-retries", "0")
    process = launch(*where)
    file = wait_for(lambda: next(small_disk.glob("out/2*/engine/u001/1/reports.jsonl"), None), process=process)
    wait_for(lambda: b'"start"' in file.read_bytes(), process=process)
    with pytest.raises(OSError, match="No space left"), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 1024)
    said = launch.end(1)
    assert "3 errors" in said
    assert said.count("tried again, and kept in") <= 1
    assert "No space left on device" in said
    assert len(batch.jobs()) <= 2
    (small_disk / "ballast").unlink()
    assert project.run(*JOBS, *where).code in (0, 1)
    again = project.run(*JOBS, *where)
    assert again.code == 0, again
    assert again.counts == {"passed": 3}


def held(batch, launch, project, *words, **env):
    """A launch whose only job waits; its directory of jobs."""
    batch.hold()
    process = launch(*words, **env)
    batch.wait(lambda jobs: jobs)
    return wait_for(lambda: next(project.latest.glob("engine/u001/1/job.sh"), None), process=process).parents[2]


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (None, "job.json: Expecting property name"),
        ({"items": 7}, "the launch writes it, and nobody edits it"),
        ({"plugin": "0.0.9"}, "and 0.0.9 where the job was submitted; install the same one on both"),
        ({"python": "3.9"}, "and 3.9 where the job was submitted; install the same one on both"),
        ({"items": [{"id": "x.py::test_x"}]}, "x.py::test_x not collected any more: this host does not see"),
    ],
    ids=["garbage", "no list", "plugin", "Python", "another id"],
)
def test_a_job_that_cannot_be_what_was_submitted(cluster, batch, launch, project, changes, told):
    """Of the first job's refusal the launch makes its one error, which says what is wrong; nothing passes."""
    cluster()
    file = held(batch, launch, project) / "u001/1/job.json"
    file.write_text("{garbage") if changes is None else edit(file, **changes)
    batch.hold(False)
    said = launch.end(4)
    assert said.count("ERROR: job 1 refused to begin on n1") == 1
    assert told in said
    assert len(batch.jobs()) == 1


def test_a_unit_that_was_cut_short_by_hand(cluster, batch, launch, project):
    """What a job was not told to run has no report: it goes into another one, and nothing is lost or doubled."""
    cluster(datasets=("one", "two"))
    file = held(batch, launch, project) / "u001/1/job.json"
    edit(file, items=json.loads(file.read_text())["items"][:1])
    batch.hold(False)
    said = launch.end()
    assert "1 of its items have no report" in said
    assert "2 passed" in said
    assert len(batch.jobs()) == 2


def test_settings_that_change_while_a_job_waits(cluster, batch, launch, project):
    """The job is refused, the pair is named, and the same command runs what is wanted now."""
    cluster()
    held(batch, launch, project)
    cluster(max_batch_size=2)
    batch.hold(False)
    said = launch.end(4)
    assert "the settings of echo/a/one changed since the job was submitted" in said
    again = project.run(*JOBS)
    assert again.code == 0, again


def test_jobs_json_that_cannot_be_read(cluster, batch, launch, project):
    """Jobs may live of which nobody knows: the launch says so, submits nothing, and names the remedy."""
    cluster()
    engine = held(batch, launch, project)
    kill_group(launch.process)
    (engine / "jobs.json").write_text("{garbage")
    again = project.run(*JOBS)
    assert again.code == 4, again
    assert "end its jobs by the cluster's own command and remove it" in again
    assert len(batch.jobs()) == 1
    assert project.evalrun("stop")[0] == 2
    for job in batch.living():
        batch.cancel(job.id)
    (engine / "jobs.json").unlink()
    batch.hold(False)
    last = project.run(*JOBS)
    assert last.code == 0, last


def test_a_second_launcher_is_refused(cluster, batch, launch, project):
    """Who has the run is named, with its host; nothing is submitted a second time."""
    cluster()
    held(batch, launch, project)
    second = project.run(*JOBS)
    assert second.code == 4, second
    assert f"is in use by PID {launch.process.pid} on {os.uname().nodename}" in second
    batch.hold(False)
    launch.end()
    assert len(batch.jobs()) == 1


TELLS_SECRETS = """
import os, sys, warnings

class Model:
    def __init__(self, path=None, token=None):
        self.secrets = token + " " + os.environ["OTHER_KEY"]
        print(self.secrets)

    def predict(self, batch):
        warnings.warn(self.secrets)
        os.system("echo $OTHER_KEY; echo $MY_TOKEN 1>&2")
        raise RuntimeError(self.secrets)
"""


def test_secrets_are_in_no_file_and_on_no_terminal(cluster, batch, project):
    """Whatever a model does with them in a job; a node that lacks one is an error that names it and the node."""
    cluster(params={"token": "${MY_TOKEN}"}, secrets_env=["OTHER_KEY"])
    (project.suite / "model.py").write_text(TELLS_SECRETS)
    values = {"MY_TOKEN": "hunter2-swordfish-and-more", "OTHER_KEY": "other-topsecret-value-123"}
    ran = project.run(*JOBS, "-s", **values)
    assert ran.code == 1, ran
    assert "RuntimeError: *** ***" in ran
    files = [path for path in project.root.rglob("*") if path.is_file()]
    for text in (ran, *(path.read_bytes().decode(errors="replace") for path in files)):
        assert not [value for value in values.values() if value in text]
    lacking = project.run(*JOBS)
    assert lacking.code == 1, lacking
    assert f"MY_TOKEN is not set on {os.uname().nodename}" in lacking


def test_names_of_all_kinds(cluster, batch, project):
    """What a shell, a template or pytest would read as something else is a name like any other."""
    project.root = project.root.parent / "a 'b ünï $(x) %s -p"
    project.suite = project.root / "evals" / "echo"
    names = ("a-", "a b", "it's", 'q"q', "ümlaut", "a[0]", "$HOME", "%s", "a::b", "{x}", "a;b", "`b`")
    cluster(models=names)
    ran = project.run(*JOBS)
    assert ran.code == 0, ran
    assert ran.counts == {"passed": len(names)}


AHEAD = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <sys/time.h>
static const long ahead = 7200;
int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += ahead;
    return code;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int code = real(now, zone);
    now->tv_sec += ahead;
    return code;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.mark.parametrize("whose", ["node", "launcher"])
def test_a_clock_that_is_two_hours_off(cluster, batch, project, tmp_path, whose):
    """Results are what they are, and whoever has the right time takes them for complete."""
    library = tmp_path / "ahead.so"
    (tmp_path / "ahead.c").write_text(AHEAD)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "ahead.c", "-ldl"], check=True)
    wrong, right = f"LD_PRELOAD={library}", "-u LD_PRELOAD"
    words = batch.words()
    words["submit"] = f"env {wrong if whose == 'node' else right} {words['submit']}"
    cluster(datasets=("one", "two"), batch_system=words)
    env = {"LD_PRELOAD": str(library)} if whose == "launcher" else {}
    ran = project.run(*JOBS, **env)
    assert ran.code == 0, ran
    assert ran.counts == {"passed": 2}
    again = project.run(*JOBS)
    assert again.code == 0, again
    assert again.count("(reused: unchanged") == 2
    assert len(batch.jobs()) == 1


def test_a_launcher_that_is_stopped_for_a_while(cluster, batch, launch, project):
    """Jobs end meanwhile, and nothing is lost, done twice or taken for dead."""
    cluster(models=("a", "b"), params={"delay": 0.2})
    process = launch("--eval-unit-minutes", "0.001")
    batch.wait(lambda jobs: any(job.state == "RUN" for job in jobs))
    process.send_signal(signal.SIGSTOP)
    batch.wait(lambda jobs: all(job.is_over for job in jobs))
    process.send_signal(signal.SIGCONT)
    said = launch.end()
    assert "2 passed" in said
    assert len(batch.jobs()) == len(batch.calls("submit")) == 2


PRINTS = """
import os

class Model:
    def __init__(self, path=None):
        pass

    def predict(self, batch):
        for _ in range(40):
            print("x" * 1000000)
            os.write(2, b"y" * 1000000)
        return [sample.input for sample in batch]
"""


def test_a_job_that_prints_without_end(cluster, batch, project):
    """Its log has a limit, the launch shows none of it, and its reports stay small."""
    cluster(log_limit="1MB")
    (project.suite / "model.py").write_text(PRINTS)
    ran = project.run(*JOBS)
    assert ran.code == 0, ran
    assert len(ran) < 10000
    (told,) = project.latest.glob("engine/*/1/reports.jsonl")
    (log,) = project.latest.glob("engine/*/1/job.log")
    assert told.stat().st_size + log.stat().st_size < 100_000
    assert all(path.stat().st_size < 2_000_000 for path in project.latest.rglob("*.log"))


HANGS = """#!/bin/bash
[ -e "$0.hangs" ] && exec sleep 1000
exec COMMAND "$@"
"""


def test_a_status_command_that_hangs(cluster, batch, launch, project, tmp_path):
    """Ctrl-C ends a launch that waits for it; jobs are found again by the same command."""
    status = tmp_path / "status.sh"
    status.write_text(HANGS.replace("COMMAND", batch.command("status")))
    status.chmod(0o755)
    cluster(params={"delay": 0.2}, batch_system=batch.words(status=f"{status} {{ids}}"))
    status.with_name("status.sh.hangs").touch()
    process = launch("--eval-on-interrupt", "detach")
    batch.wait(lambda jobs: jobs)
    wait_for(lambda: [child for child in psutil.Process(process.pid).children() if child.name() == "sleep"])
    process.send_signal(signal.SIGINT)
    launch.end(2)
    status.with_name("status.sh.hangs").unlink()
    again = project.run(*JOBS)
    assert again.code == 0, again
    assert len(batch.jobs()) == 1


@pytest.mark.parametrize(
    ("words", "model", "told"),
    [
        ("-p nosuch", {}, "invalid partition specified: nosuch"),
        ("", {"gpus": 9}, "Requested node configuration is not available"),
    ],
    ids=["partition", "GPUs"],
)
def test_what_slurm_can_never_run(slurm, project, words, model, told):
    """Its own words, once, before a run is made."""
    project.make(models=("a", "b"), **model)
    ran = project.run("evals", "--eval-engine", "slurm", f"--eval-slurm={words}", **slurm.env)
    assert ran.code == 4, ran
    assert ran.count(told) == 1
    assert not runs(project)
    assert not slurm.squeue()


def test_a_machine_without_slurm(project):
    """The program is named with the remedy, and no run is made."""
    project.make()
    ran = project.run("evals", "--eval-engine", "slurm", PATH="/nonexistent")
    assert ran.code == 4, ran
    assert "sbatch is not on PATH; start this where Slurm's commands are installed" in ran
    assert not runs(project)
