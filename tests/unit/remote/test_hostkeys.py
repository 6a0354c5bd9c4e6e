"""A board is let in only when its key is the one that the user knows; each refusal says what to do."""

from __future__ import annotations

import re
import subprocess

import pytest
from sshd import keygen

from pytest_evalrun.errors import ConfigError


def shown(key) -> str:
    """The fingerprint, by OpenSSH's own account."""
    words = subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], capture_output=True, text=True, check=True).stdout
    return words.split()[1]


def test_known_key_is_let_in(board):
    """A key that known_hosts has under [host]:port is enough."""
    assert board.connection().run("echo in").text == "in\n"


def test_hashed_names_are_known(board):
    """known_hosts may hold hashes in place of names, as Debian writes it."""
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(board.known_hosts)], check=True, capture_output=True)
    assert board.known_hosts.read_text().startswith("|1|")
    assert board.connection().run("echo in").text == "in\n"


def test_unknown_key_is_a_mistake_that_says_what_to_do(board):
    """Without a known key nothing is sent to the board: the fingerprint is shown, and three ways to accept it."""
    board.known_hosts.write_text("")
    with pytest.raises(ConfigError) as caught:
        board.connection().connect()
    text = str(caught.value)
    print_of = shown(board.host_key)
    assert f"not known: ssh-ed25519 {print_of}" in text
    assert f"`ssh -p {board.port} root@127.0.0.1`" in text or f"ssh -p {board.port}" in text
    assert f"`host_key: {print_of}`" in text
    assert "host_key: accept-new" in text
    assert board.known_hosts.read_text() == ""


def test_changed_key_is_a_mistake_that_names_both(board, tmp_path):
    """Another key than the known one is never accepted: both are shown, the file, and how to forget the old one."""
    old = keygen(tmp_path / "old")
    board.know(old)
    for how in ("check", "accept-new"):
        with pytest.raises(ConfigError, match="CHANGED") as caught:
            board.connection(host_key=how).connect()
        assert shown(old) in str(caught.value)
        assert shown(board.host_key) in str(caught.value)
        assert f"ssh-keygen -R '[127.0.0.1]:{board.port}' -f {board.known_hosts}" in str(caught.value)


def test_pinned_fingerprint_needs_no_file(board):
    """A fingerprint in the suite lets the board in, whatever known_hosts says; any other keeps it out."""
    board.known_hosts.write_text("")
    assert board.connection(host_key=shown(board.host_key)).run("echo in").text == "in\n"
    with pytest.raises(ConfigError, match=re.escape(shown(board.host_key))):
        board.connection(host_key="SHA256:" + "A" * 43).connect()


def test_new_key_is_kept_only_on_demand(board):
    """accept-new writes a key that nobody knew down, as OpenSSH does, and from then on it must stay the same."""
    board.known_hosts.write_text("")
    board.connection(host_key="accept-new").connect()
    assert board.known_hosts.read_text().startswith(f"[127.0.0.1]:{board.port} ssh-ed25519 ")
    board.connection().connect()
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[127.0.0.1]:{board.port}", "-f", str(board.known_hosts)], capture_output=True, check=True
    )
    assert found.stdout


def test_key_of_a_known_kind_is_asked_for(tmp_path):
    """A board with several keys is known by any of them: the known one is asked for."""
    from sshd import Sshd

    rsa = keygen(tmp_path / "rsa_key", "rsa")
    with Sshd(tmp_path / "board", extra=f"HostKey {rsa}") as board:
        board.know(rsa)
        assert board.connection().run("echo in").text == "in\n"


def test_damaged_file_is_named(board):
    """A known_hosts file that cannot be read is named, and nobody is let in by it."""
    board.known_hosts.unlink()
    board.known_hosts.mkdir()
    with pytest.raises(ConfigError, match=re.escape(str(board.known_hosts))):
        board.connection().connect()
