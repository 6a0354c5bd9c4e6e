"""A Ray that is short of everything: what it kills and what it gives up is told from what failed by itself."""

from __future__ import annotations

from functools import partial

import pytest
from rayhost import RayHost

from pytest_evalrun.engines.protocol import ClusterAway, Handle, Job, Phase, Resources
from pytest_evalrun.engines.ray import RayEngine
from pytest_evalrun.suite.clusters import ClusterWords


@pytest.fixture
def poor():
    """Its memory is always nearly used up, and a job may wait for five seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_JOB_START_TIMEOUT_SECONDS", "5")
        patch.setenv("RAY_memory_usage_threshold", "0.001")
        patch.setenv("RAY_memory_monitor_refresh_ms", "100")
        host = RayHost(port=8266)
        try:
            host.add_machine()
            yield host
        finally:
            host.close()


def submitted(engine: RayEngine, job: Job) -> Handle | None:
    """A machine that has just begun may not take jobs yet: a launch tries again, too."""
    try:
        return engine.submit([job], 2)[0]
    except ClusterAway:
        return None


def test_what_ray_itself_ends_is_told_from_what_failed(poor, tmp_path):
    """A job that Ray killed for memory is out of memory; one that waited longer than Ray lets it is preempted."""
    script, log = tmp_path / "job.sh", tmp_path / "job.log"
    script.write_text("sleep 600")
    engine = RayEngine(ClusterWords("ray", ray=poor.address), tmp_path)
    wanted = {"eats": Resources(), "waits": Resources(custom=(("board", 1.0), ("no_such_thing", 1.0)))}
    jobs = [Job(name, name, script, log, resources) for name, resources in wanted.items()]
    handles = [poor.until(partial(submitted, engine, job)) for job in jobs]

    def over():
        states = list(engine.poll(handles).values())
        return states if all(state.phase.is_end for state in states) else None

    eaten, waited = poor.until(over)
    assert eaten.phase is Phase.MEMORY and "running low on memory" in eaten.reason
    assert waited.phase is Phase.PREEMPTED and "RAY_JOB_START_TIMEOUT_SECONDS" in waited.reason
    assert all("\n" not in state.reason and len(state.reason) < 600 for state in (eaten, waited))
