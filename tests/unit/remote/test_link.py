"""Connections: who is let in and how, how fast, and how soon a dead one is noticed."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from sshd import ME, QUICK, Sshd, free_port, keygen, until

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote import command
from pytest_evalrun.remote import connection as connection_module
from pytest_evalrun.remote.connection import Connection
from pytest_evalrun.remote.faults import BoardError, LinkLost, Refused
from pytest_evalrun.remote.hosts import Host

AS_ROOT = os.geteuid() == 0


def test_small_answers_do_not_wait_for_each_other(board):
    """paramiko leaves Nagle's algorithm on, at 40 ms a command: ours is off."""
    transport = board.connection().link().transport
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_fastest_cipher_is_chosen_and_unsafe_ones_are_not_offered(board):
    """AES-GCM, which paramiko puts last, comes first; CBC and 3DES are not there to be chosen."""
    transport = board.connection().link().transport
    assert transport.local_cipher == transport.remote_cipher == "aes128-gcm@openssh.com"
    assert not [name for name in transport.get_security_options().ciphers if "cbc" in name or "des" in name]


def test_server_without_the_fast_ciphers_is_served(tmp_path):
    """Where the server knows no AES-GCM, counter mode with a hash is used."""
    with Sshd(tmp_path / "board", extra="Ciphers aes256-ctr") as board:
        assert board.connection().run("echo in").text == "in\n"


def test_wrong_key_is_a_mistake_that_says_what_was_tried(board, tmp_path):
    """A key that does not open is the user's mistake: what was tried is named, and how to try by hand."""
    wrong = keygen(tmp_path / "wrong")
    with pytest.raises(ConfigError, match=f"does not let .* in .*tried: the keys {wrong}.*ssh -p {board.port}"):
        board.connection(identity_files=(str(wrong),)).connect()


def test_agent_opens(board, tmp_path, monkeypatch):
    """A key that the agent holds needs no file."""
    path = tmp_path / "agent.sock"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        until(path.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        with pytest.raises(ConfigError, match="the agent's keys"):
            board.connection(identity_files=()).connect()
        subprocess.run(["ssh-add", "-q", str(board.key)], check=True)
        assert board.connection(identity_files=()).run("echo in").text == "in\n"
    finally:
        agent.terminate()
        agent.wait()


def test_password_comes_from_the_environment(board, monkeypatch):
    """The suite names a variable, never a password; a variable that is not set is the user's mistake."""
    with pytest.raises(ConfigError, match="BOARD_PASSWORD, which is not set"):
        board.connection(password_env="BOARD_PASSWORD").connect()
    monkeypatch.setenv("BOARD_PASSWORD", "wrong")
    with pytest.raises(ConfigError, match="the password in BOARD_PASSWORD") as caught:
        board.connection(password_env="BOARD_PASSWORD", identity_files=()).connect()
    assert "wrong" not in str(caught.value)


if AS_ROOT and sys.platform == "linux":  # who else could give a user a password that only one server knows?

    def test_right_password_opens(tmp_path, monkeypatch):
        """With no key at all, and whatever is in it."""
        password = "a b$(touch x)'é"
        crypt = ctypes.CDLL("libcrypt.so.1").crypt
        crypt.restype = ctypes.c_char_p
        (tmp_path / "shadow").write_bytes(b"%s:%s:::::::\n" % (ME.encode(), crypt(password.encode(), b"$6$salt$")))
        own = 'mount --bind "$0" /etc/shadow && exec "$@"'
        monkeypatch.setenv("BOARD_PASSWORD", password)
        board = Sshd(tmp_path / "board", extra="PasswordAuthentication yes\nPubkeyAuthentication no")
        with ExitStack() as stack:
            stack.push(board)
            board.start(("unshare", "-m", "sh", "-c", own, str(tmp_path / "shadow")))
            board.wait()
            connection = board.connection(password_env="BOARD_PASSWORD", identity_files=())
            assert connection.run("echo in").text == "in\n"


@pytest.mark.parametrize("hops", [1, 2])
def test_way_through_other_servers(tmp_path, hops):
    """A board behind one or two servers works like one that is near, its life line included."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Sshd(tmp_path / f"server{number}")) for number in range(hops)]
        board = stack.enter_context(Sshd(tmp_path / "board"))
        text = "".join(
            f"Host hop{number}\n HostName 127.0.0.1\n Port {server.port}\n IdentityFile {server.key}\n"
            for number, server in enumerate(servers)
        )
        (tmp_path / "config").write_text(text)
        known = "".join(server.known_hosts.read_text() for server in [*servers, board])
        (tmp_path / "known").write_text(known)
        jump = ",".join(f"hop{number}" for number in range(hops))
        connection = board.connection(
            config=str(tmp_path / "config"), jump=jump, known_hosts=(str(tmp_path / "known"),)
        )
        assert connection.run('echo "$HOME"').text == f"{board.home}\n"
        servers[0].kill_sessions()
        until(lambda: connection.lost)
        assert connection.run("echo again").text == "again\n"


def test_board_behind_a_server_that_cannot_reach_it(board):
    """Of several servers the error names the one that could not be reached, and through which."""
    (board.place / "config").write_text(f"Host door\n HostName 127.0.0.1\n Port {board.port}\n")
    host = board.host(port=free_port(), jump="door", config=str(board.place / "config"))
    board.know(board.host_key, "127.0.0.1", f"[127.0.0.1]:{board.port}")
    with pytest.raises((LinkLost, ConfigError), match="door"):
        Connection(host, limits=QUICK).connect()


def test_nobody_answers(tmp_path):
    """A port where nobody listens, and a name that does not exist, are told at once."""
    for host in (Host("127.0.0.1", port=free_port()), Host("no-such-board.invalid")):
        with pytest.raises(LinkLost, match="cannot be reached: "):
            Connection(host, limits=QUICK).connect()


def test_server_that_says_nothing(tmp_path):
    """A port that takes connections and never speaks SSH is given up within the limit."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = Host("127.0.0.1", port=silent.getsockname()[1])
        with pytest.raises(LinkLost, match="cannot be reached"):
            Connection(host, limits=QUICK.__class__(connect=0.5)).connect()


def test_silence_is_noticed_within_seconds(board, relay):
    """A link that takes everything and answers nothing is dead: who waits for the board is told so, and why.

    paramiko waits for ever there, keep-alives or not, and ends with exit code -1 where the kernel does notice.
    """
    connection = board.connection(port=relay.port)
    connection.connect()
    errors = []

    def wait():
        try:
            connection.run("sleep 60")
        except LinkLost as error:
            errors.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: len(board.sessions()) > 0)
    relay.freeze()
    waiting.join(120)
    assert not waiting.is_alive()
    assert f"nothing was heard from it for {QUICK.quiet:g} s" in errors[0]
    assert connection.lost
    relay.cut()
    relay.thaw()


def test_silence_under_load_is_noticed(board, relay):
    """Also where the sender is stuck in the full buffers of the dead link."""
    connection = board.connection(port=relay.port)
    connection.connect()
    with pytest.raises(LinkLost), connection.start("cat > /dev/null") as command:
        relay.freeze()
        for _ in range(1000):
            assert command.send(bytes(1 << 20))
    relay.cut()
    relay.thaw()


def test_busy_link_is_not_taken_for_dead(board):
    """A board that is silent because its program is, lives: it answers the beats."""
    connection = board.connection()
    assert connection.run("sleep 3; echo awake").text == "awake\n"


def test_lost_connection_is_made_again(board, relay):
    """After a loss the next call connects again, and says what it does; a call that was cut off says so itself."""
    said = []
    connection = board.connection(port=relay.port, say=said.append)
    assert connection.run("echo one").text == "one\n"
    relay.cut(refuse=True)
    until(lambda: connection.lost)
    threading.Timer(1.0, lambda: setattr(relay, "_refusing", False)).start()
    assert connection.run("echo two").text == "two\n"
    assert connection.connects == 2
    assert said
    assert all("trying again" in line for line in said)


@pytest.mark.parametrize("way", ["to the board", "from the board"])
def test_link_that_is_cut_while_it_is_made_again(board, relay, monkeypatch, way):
    """Wherever that happens, in the greeting, the keys, the login or the start of the watchdog, it is tried again."""
    monkeypatch.setattr(connection_module, "FIRST_PAUSE", 0.01)
    said = []
    connection = board.connection(port=relay.port, say=said.append)
    connection.connect()
    cut, size = {
        "to the board": (relay.cut_after, relay.sent),
        "from the board": (relay.cut_after_receiving, relay.received),
    }[way]
    for point in range(1, size, size // 9):
        said.clear()
        relay.cut()
        until(lambda: connection.lost)
        cut(point)
        assert connection.run("echo in").text == "in\n", point
        assert ["; trying again" in line for line in said] == [True], point


def test_silence_while_it_is_made_again(board, relay, monkeypatch):
    """A link that goes silent in the middle of the login is lost, whatever the authentication is said to have done."""
    monkeypatch.setattr(connection_module, "FIRST_PAUSE", 0.01)
    said = []
    connection = board.connection(port=relay.port, say=said.append, limits=replace(QUICK, connect=1.0))
    connection.connect()
    size = relay.sent
    relay.cut()
    until(lambda: connection.lost)
    monkeypatch.setattr(relay, "cut", lambda **_: relay.freeze())
    relay.cut_after(size // 3)  # the keys are exchanged, the login has begun
    mending = threading.Thread(target=lambda: until(lambda: said) and relay.thaw())
    mending.start()
    assert connection.run("echo in").text == "in\n"
    mending.join()
    assert all("; trying again" in line for line in said)


@pytest.mark.parametrize("tries", [6, 1], ids=["asked on", "thrown out"])
def test_login_that_is_refused_is_not_tried_again(tmp_path, tries):
    """A board that does not let us in any more says so itself: nobody waits for it to change its mind."""
    with Sshd(tmp_path / "board", extra=f"MaxAuthTries {tries}") as board:
        said = []
        connection = board.connection(say=said.append, limits=replace(QUICK, reconnect=600))
        connection.connect()
        (board.place / "authorized_keys").write_text("")
        board.kill_sessions()
        until(lambda: connection.lost)
        with pytest.raises(Refused, match="does not let"):
            connection.run("echo")
        assert said == []


def test_watchdog_that_cannot_be_started_is_not_tried_again(tmp_path):
    """A board whose shell ends with an exit code is at fault itself, and says why."""
    with Sshd(tmp_path / "board", extra="ForceCommand echo no more >&2; exit 7") as board:
        connection = board.connection()
        with pytest.raises(BoardError, match="no watchdog can be started: no more"):
            connection.connect()


def test_board_that_does_not_come_back_is_given_up(board, relay):
    """After the limit the last reason is told."""
    connection = board.connection(port=relay.port, limits=QUICK.__class__(reconnect=0.6))
    connection.connect()
    relay.close()
    until(lambda: connection.lost)
    with pytest.raises(LinkLost, match="cannot be reached"):
        connection.run("echo")


def test_command_that_is_cut_off_has_no_exit_code(board):
    """A server that dies closes its channels as if all were well: that is a loss, not the end of a command."""
    connection = board.connection()
    with connection.start("echo begun; sleep 60") as command:
        assert command.receive(100, 10) == b"begun\n"
        board.kill_sessions()
        with pytest.raises(LinkLost):
            while command.receive(100, 10):
                pass
            command.code(10)


def test_command_that_takes_too_long(board):
    """A limit of time is an error of its own, and the connection stays."""
    connection = board.connection()
    with pytest.raises(TimeoutError):
        connection.run("sleep 60", timeout=0.2)
    assert connection.run("echo still").text == "still\n"


def test_threads_share_a_connection(board):
    """Many threads at once use one connection, which is made once."""
    connection = board.connection()
    answers = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(connection.run('echo "$1"', str(n)).text)) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers, key=int) == [f"{n}\n" for n in range(20)]
    assert connection.connects == 1


def test_import_is_cheap():
    """paramiko is loaded when a board is asked for, never by importing the room."""
    code = (
        "import sys, pytest_evalrun.remote.connection, pytest_evalrun.remote.transfer, pytest_evalrun.remote.models,"
        "pytest_evalrun.remote.boards.survey, pytest_evalrun.slots.devices;"
        "print([m for m in ('paramiko', 'psutil', 'pydantic', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_noise_of_start_files_is_told(tmp_path):
    """A board whose shell talks before it works is told to be silent, not misunderstood."""
    with Sshd(tmp_path / "board", extra="ForceCommand echo hello; cat") as board:
        connection = board.connection()
        with pytest.raises(BoardError, match="silence its start files"):
            connection.connect()


def test_closing_is_quick_and_can_be_repeated(board):
    """A connection may be closed twice, or before it was ever made."""
    connection = board.connection()
    connection.close()
    connection.connect()
    begun = time.monotonic()
    connection.close()
    connection.close()
    assert time.monotonic() - begun < 10


def test_close_ends_the_attempts_to_connect_again(tmp_path):
    """At once, from another thread; and nobody connects again by the way, until somebody says so."""
    with Sshd(tmp_path / "board") as board:
        said, errors = [], []
        connection = Connection(board.host(), limits=replace(QUICK, reconnect=600), say=said.append)
        connection.connect()
        board.stop()

        def wait():
            try:
                connection.link()
            except LinkLost as error:
                errors.append(str(error))

        until(lambda: connection.lost)
        waiting = threading.Thread(target=wait)
        waiting.start()
        until(lambda: said)
        connection.close()
        waiting.join(60)
        assert "was closed here" in errors[0]
        board.start()
        with pytest.raises(LinkLost, match="was closed here"):
            connection.run("echo no")
        connection.connect()
        assert connection.run("echo yes").text == "yes\n"


@pytest.mark.parametrize(
    ("script", "data", "out"),
    [
        pytest.param("head -c 3000000 /dev/zero >&2; echo out; exit 3", b"", b"out\n", id="errors"),
        pytest.param("cat; cat /dev/null >&2; exit 3", b"x" * 12_000_000, b"x" * 12_000_000, id="output while told"),
        pytest.param("head -c 3000000 /dev/zero >&2; cat; exit 3", b"in", b"in", id="errors before it is told"),
    ],
)
def test_a_command_may_say_as_much_as_it_likes(board, script, data, out):
    """On both streams and in any order: nobody waits for a stream that nobody reads."""
    done = board.connection().run(script, data=data)
    assert (done.code, done.out) == (3, out)
    assert len(done.err) < 100_000, "only the end of complaints is kept"


def test_a_command_that_never_stops_speaking_costs_no_memory(board, monkeypatch):
    """It is a fault of the board."""
    monkeypatch.setattr(command, "MOST_OUTPUT", 1 << 20)
    with pytest.raises(BoardError, match="a command wrote more than 1 MiB"):
        board.connection().run("cat /dev/zero")
