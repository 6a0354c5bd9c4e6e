"""What is wrong with a cluster, a disk or a file is told once and names who is to blame; it costs no result."""

from __future__ import annotations

import json
import subprocess

import pytest
from batchsystem import BatchSystem
from support import kill_group, wait_for

JOBS = ("evals", "--eval-engine", "command", "--eval-jobs", "2")


@pytest.fixture
def batch(tmp_path):
    with BatchSystem(tmp_path / "batch") as system:
        yield system


@pytest.fixture
def cluster(project, batch):
    """``cluster(models=…)``: a suite whose jobs go to the batch system."""
    return lambda **words: project.make(**({"batch_system": batch.words()} | words))


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
