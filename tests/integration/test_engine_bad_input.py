"""What is wrong with a cluster, a disk or a file is told once and names who is to blame; it costs no result."""

from __future__ import annotations

import json

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
