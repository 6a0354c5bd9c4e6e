"""Programs of a cluster are started though the machine cannot at a moment; what is no program is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_evalrun.engines import calling
from pytest_evalrun.engines.calling import TRIES, call_program
from pytest_evalrun.engines.protocol import ClusterAway


@pytest.fixture
def busy(tmp_path):
    """A program that is just being written: the system refuses to start it until its file is closed."""
    path = tmp_path / "submit"
    path.write_bytes(Path("/bin/cat").read_bytes())
    path.chmod(0o755)
    file = path.open("ab")
    yield path, file
    file.close()


def test_what_could_not_be_started_for_a_moment_is_started_then(busy, monkeypatch):
    """It has done nothing before, so that nothing is done twice."""
    path, file = busy
    monkeypatch.setattr(calling.time, "sleep", lambda _: file.close())
    assert call_program([str(path)], patience=60, text="said").stdout == "said"


def test_what_cannot_be_started_for_long_is_asked_again_later(busy, monkeypatch):
    """The cluster may be there: that is no mistake of the user's."""
    path, _ = busy
    pauses = []
    monkeypatch.setattr(calling.time, "sleep", pauses.append)
    with pytest.raises(ClusterAway, match="cannot be started here now: Text file busy"):
        call_program([str(path)], patience=60)
    assert len(pauses) == TRIES - 1


def test_what_is_no_program_is_told_at_once(tmp_path, monkeypatch):
    """To ask again would not help."""
    monkeypatch.setattr(calling.time, "sleep", lambda _: pytest.fail("it waited"))
    with pytest.raises(FileNotFoundError):
        call_program([str(tmp_path / "missing")], patience=60)


def test_what_hangs_is_the_clusters():
    """A program that does not end in time is ended."""
    with pytest.raises(ClusterAway, match=r"has not ended within 0\.05 s"):
        call_program(["sleep", "60"], patience=0.05)
