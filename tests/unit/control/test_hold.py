"""Holding a run: no launch meanwhile, no worker, and no trace where it is refused."""

from __future__ import annotations

import os

import pytest

from pytest_evalrun.control.hold import held, holding
from pytest_evalrun.errors import ConfigError, RunBusy
from pytest_evalrun.rundir.sessions import join_session, open_session


def test_no_session_begins_meanwhile(place):
    """And it begins as soon as the run is let go."""
    paths = place.run().paths
    with held(paths), pytest.raises(RunBusy):
        open_session(paths, ["pytest"])
    open_session(paths, ["pytest"]).close(clean=True)


def test_a_live_session_is_named(place):
    """With the command that ends it."""
    paths = place.run().paths
    session = open_session(paths, ["/x/bin/pytest", "evals", "-k", "a b"])
    for hold in (lambda: held(paths), lambda: holding(paths, dry_run=True)):
        with pytest.raises(RunBusy, match=r"PID \d+ on .* \(pytest evals -k 'a b'\); end it first: evalrun"), hold():
            pass
    session.close(clean=True)


def test_a_worker_that_lives_on_is_waited_for_by_nobody(place):
    """It still writes: refused."""
    paths = place.run().paths
    session = open_session(paths, ["pytest"])
    member = join_session(paths, session.run_id)
    session.close(clean=True)
    with pytest.raises(RunBusy, match="still work in it"), held(paths):
        pass
    member.close()
    with held(paths):
        pass


def test_looking_leaves_no_trace(place, tree_of):
    """A dry run makes no file of a lock."""
    paths = place.run().paths
    before = tree_of(paths.root)
    with holding(paths, dry_run=True):
        pass
    assert tree_of(paths.root) == before


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir], ids=["fifo", "directory"])
def test_a_lock_that_is_no_file_is_refused(place, put):
    """Nothing is taken away from a run of which others may hold the lock elsewhere."""
    paths = place.run().paths
    put(paths.session_lock)
    with pytest.raises(ConfigError, match="cannot be locked"), held(paths):
        pass


def test_a_lock_that_is_a_link_is_refused(place, tmp_path):
    """What it points to is not ours to open."""
    paths = place.run().paths
    paths.session_lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be locked"), held(paths):
        pass
    assert not (tmp_path / "elsewhere").exists()
