"""A board is let in only when its key is the one that the user knows; each refusal says what to do."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import pytest
from sshd import keygen, until

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote import hostkeys
from pytest_evalrun.remote.hostkeys import KnownKeys
from pytest_evalrun.remote.hosts import Hop

HOP = Hop("board", "board", 22, "me", (), "board", ())


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


GARBAGE = [
    pytest.param(b"@cert-authority * ssh-ed25519 KEY", "@cert-authority", id="authority"),
    pytest.param(b"board 1024 35 1234567890123456789", "SSH 1", id="SSH 1"),
    pytest.param(b"board ssh-ed25519 AAAA", "no names, type and key", id="key that is cut off"),
    pytest.param(b"board ssh-rsa KEY", "no names, type and key", id="key of another type"),
    pytest.param(b"board ssh-ed25519 \xff\x00!", "no names, type and key", id="no letters"),
    pytest.param(b"board", "no names, type and key", id="one word"),
    pytest.param(b"@unheard-of * ssh-ed25519 KEY", "@unheard-of", id="marker that nobody knows"),
]


@pytest.mark.parametrize(("line", "why"), GARBAGE)
def test_line_that_nobody_can_use_says_why(tmp_path, line, why):
    """By its number and in a word, and it is for no server."""
    key = keygen(tmp_path / "key").with_suffix(".pub").read_bytes().split()[1]
    (tmp_path / "known").write_bytes(b"# a comment\n\n" + line.replace(b"KEY", key) + b"\n")
    keys = KnownKeys(replace(HOP, known_hosts=(str(tmp_path / "known"),)))
    (note,) = keys.notes
    assert note.startswith(f"{tmp_path / 'known'}: passed over: line 3 (")
    assert why in note
    assert keys.types == ()


def test_lines_that_nobody_can_use_are_passed_over(board):
    """They are told once, and the lines around them count as ever."""
    key = (board.place / "host_key.pub").read_bytes().split()[1]
    bad = b"".join(param.values[0].replace(b"KEY", key) + b"\n" for param in GARBAGE)
    board.known_hosts.write_bytes(bad + board.known_hosts.read_bytes())
    said = []
    connection = board.connection(say=said.append)
    assert connection.run("echo in").text == "in\n"
    board.kill_sessions()
    until(lambda: connection.lost)
    assert connection.run("echo in").text == "in\n"
    (note,) = [text for text in said if "passed over" in text]
    assert note.count("line ") == 5
    assert note.endswith("and 2 more")


def test_revoked_key_is_refused(board):
    """A key that a file calls revoked is let in by nothing: not by another line, nor by the suite's own word."""
    good = board.known_hosts.read_text()
    words = " ".join((board.place / "host_key.pub").read_text().split()[:2])
    board.known_hosts.write_text(f"{good}@revoked * {words}\n")
    for how in ("check", "accept-new", shown(board.host_key)):
        with pytest.raises(ConfigError, match=rf"revoked.*{board.known_hosts}, line 2;"):
            board.connection(host_key=how).connect()
    board.known_hosts.write_text(f"{good}@revoked elsewhere {words}\n")
    assert board.connection().run("echo in").text == "in\n"


NAMES = [
    "board.lab",
    "BOARD.lab",
    "*.lab",
    "b?ard.lab",
    "b[o]ard.lab",
    "board.la",
    "other,board.lab",
    "*.lab,!board.lab",
    "!board.lab,*.lab",
    "!other.lab,*.lab",
    "*",
    "!board.lab",
    "[board.lab]:2222",
    "[board.lab]:*",
    "[*]:2222",
]


@pytest.mark.parametrize("name", ["board.lab", "[board.lab]:2222"])
@pytest.mark.parametrize("hashed", [False, True], ids=["plain", "hashed"])
def test_names_are_matched_as_openssh_does(tmp_path, name, hashed):
    """Lists, wildcards, negation, ports and hashes name the servers that they name for OpenSSH."""
    words = keygen(tmp_path / "key").with_suffix(".pub").read_text().split()[:2]
    ours, theirs = {}, {}
    for names in NAMES:
        file = tmp_path / "known"
        file.write_text(f"{names} {' '.join(words)}\n")
        if hashed:
            subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
        found = subprocess.run(["ssh-keygen", "-F", name, "-f", str(file)], capture_output=True, check=False)
        ours[names] = bool([line for line in hostkeys._read(str(file)) if line.is_for(name)])
        theirs[names] = bool(found.stdout)
    assert ours == theirs
    assert set(ours.values()) == {True, False}


def test_key_is_known_without_its_port(board):
    """Where a server's port is an unusual one, a line with its bare name will do, but never against one with its port.

    So does OpenSSH.
    """
    board.know(board.host_key, "127.0.0.1")
    assert board.connection().run("echo in").text == "in\n"
    bare = board.known_hosts.read_text()
    board.know(keygen(board.place / "old"))
    board.known_hosts.write_text(board.known_hosts.read_text() + bare)
    with pytest.raises(ConfigError, match="CHANGED"):
        board.connection().connect()


def test_new_key_gets_a_line_of_its_own(board):
    """Also where the last line of the file has no end."""
    board.known_hosts.write_text("# no end")
    board.connection(host_key="accept-new").connect()
    assert board.known_hosts.read_text().splitlines()[1].startswith(f"[127.0.0.1]:{board.port} ")


def test_damaged_file_is_named(board):
    """A known_hosts file that cannot be read is named, and nobody is let in by it."""
    board.known_hosts.unlink()
    board.known_hosts.mkdir()
    with pytest.raises(ConfigError, match=re.escape(str(board.known_hosts))):
        board.connection().connect()
