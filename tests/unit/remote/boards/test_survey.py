"""How boards stand: what can be used, what cannot, and why."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from sshd import QUICK, free_port

from pytest_evalrun.remote.boards.survey import CachedModel, Wanted, health, survey
from pytest_evalrun.remote.hosts import Host
from pytest_evalrun.remote.models import ModelCache
from pytest_evalrun.remote.places import claim

SOON = replace(QUICK, reconnect=0.0)


def test_board_tells_how_it_stands(any_board, tmp_path):
    """Load, disk, cached models and what a dead session left, of a board with any tools."""
    (tmp_path / "model").write_bytes(b"12345")
    digest = hashlib.sha256(b"12345").hexdigest()
    connection = any_board.connection()
    ModelCache(connection).ensure(tmp_path / "model", "a b_model.onnx", digest)
    claim(connection, "task_live")
    (any_board.home / "task_dead").mkdir()
    (found,) = survey([Wanted(any_board.host())], SOON)
    assert (found.trouble, found.home) == ("", str(any_board.home))
    assert found.models == (CachedModel("a b_model.onnx", 5),)
    assert found.left_behind == ("task_dead",)
    assert found.load is not None
    assert 0 < found.disk_free < found.disk_size


def test_board_whose_link_was_lost_meanwhile_is_well(board, relay):
    """Between two models too a board is waited for: a loss, and one more at the next attempt, set none aside."""
    connection = board.connection(port=relay.port)
    assert health(connection) is None
    size = relay.sent
    relay.cut()
    relay.cut_after(size // 2)
    assert health(connection) is None


def test_boards_that_cannot_be_used_say_why(board):
    """Each in its place: not reachable, key not known, name not sensible, home not there."""
    lost = Host("127.0.0.1", port=free_port())
    strange = board.host(known_hosts=("/nonexistent",))
    wanted = [Wanted(lost), Wanted(board.host()), Wanted(strange), Wanted(Host("a b")), Wanted(board.host(), "/no")]
    found = survey(wanted, SOON)
    assert [bool(each.trouble) for each in found] == [True, False, True, True, True]
    assert "Connection refused" in found[0].trouble
    assert "host key is not known: ssh-ed25519 SHA256:" in found[2].trouble
    assert "no name of a host" in found[3].trouble
    assert "entering /no failed" in found[4].trouble


def test_no_boards_are_no_error():
    """Nothing to look at gives nothing."""
    assert survey([]) == []


def test_health_is_a_reason_or_none(board):
    """Before a pair is given to a board it is asked once, in one attempt."""
    assert health(board.connection()) is None
    dead = board.connection(port=free_port())
    assert "cannot be reached" in health(dead)
