from __future__ import annotations

import sys
from pathlib import Path

import pytest

# sshd.py and badlink.py, which the integration tests use as well
sys.path.insert(0, str(Path(__file__).parents[2]))


@pytest.fixture
def board(tmp_path):
    """A board with all the tools of this host."""
    from sshd import Sshd

    with Sshd(tmp_path / "board") as board:
        yield board


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch, tmp_path):
    """Neither the agent nor the keys of whoever runs the tests open a door."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def relay(board):
    """A port that leads to the board, and can go bad."""
    from badlink import Relay

    relay = Relay(board.port)
    names = f"[127.0.0.1]:{board.port}", f"[127.0.0.1]:{relay.port}"
    board.know(board.host_key, *names)
    yield relay
    relay.close()


@pytest.fixture(params=["all tools", "busybox", "no hashes", "no tar", "no tar, no sftp"])
def any_board(request, tmp_path):
    """Boards that lack one thing or another."""
    from sshd import Sshd, busybox

    lacking = {"no hashes": ("sha256sum", "tee"), "no tar": ("tar",), "no tar, no sftp": ("tar",)}
    path = None if request.param == "all tools" else busybox(tmp_path / "bin", lacking.get(request.param, ()))
    with Sshd(tmp_path / "board", path=path, sftp="no sftp" not in request.param) as board:
        yield board
