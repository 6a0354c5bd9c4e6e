"""The session of a job: what its file names and nothing else, told line by line."""

from __future__ import annotations

import pytest
from jobsuite import Jobs


@pytest.fixture
def jobs(project):
    project.make(models=("a", "b"), datasets=("one", "two"), samples=8)
    return Jobs(project)


@pytest.mark.parametrize("workers", [pytest.param(1, id="alone"), pytest.param(2, id="two workers")])
def test_what_the_file_names_is_run_and_told(jobs, workers):
    """A job runs its ids and no others, says that it began, what starts and what came of each, and how it ended."""
    wanted = [jobs.id("b/two"), jobs.id("a/one"), jobs.id("b/one")]
    job = jobs.write(wanted, workers=workers)
    ran = job.run()
    assert ran.code == 0, ran
    assert job.outcomes() == dict.fromkeys(wanted, "passed")
    assert sorted(job.ended) == sorted(wanted)
    if workers == 1:
        assert job.ended == wanted
    kinds = [line["kind"] for line in job.lines]
    assert (kinds[0], kinds[-1], kinds.count("start")) == ("begun", "ended", 3)
    assert job.lines[-1]["code"] == 0
    assert job.result("a", "one")["status"] == "passed"
    told = {(line["event"]["event"], line["event"]["pair"]) for line in job.told("event")}
    assert {("item_finished", "echo/a/one"), ("item_finished", "echo/b/two")} <= told
    assert not {"run_started", "run_finished"} & {event for event, _ in told}
