"""Programs on a board: what they are given, what they say as they say it, and how they end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest
from sshd import until

from pytest_evalrun.children.faults import ModelDied
from pytest_evalrun.remote.faults import BoardError, LinkLost
from pytest_evalrun.remote.program import RemoteProgram

FLOOD = "head -c 3000000 /dev/zero"
FLOODED = 3_000_000


@pytest.fixture
def start(board):
    """Start a program on a board."""
    connection = board.connection()
    programs = []

    def start(*words, **more):
        given = {"cwd": str(board.home)} | more
        programs.append(RemoteProgram(connection, words, **given))
        return programs[-1]

    yield start
    for program in programs:
        program.end(0)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("exit 0", 0, "ended with exit code 0"),
        ("exit 3", 3, "ended with exit code 3"),
        ("exit 137", 137, "ended with exit code 137"),
        ("kill -KILL $$", -9, "was ended by SIGKILL"),
        ("kill -SEGV $$", -11, "was ended by SIGSEGV"),
        ("kill -TERM $$", -15, "was ended by SIGTERM"),
    ],
)
def test_exit_code_and_signal_are_told_apart(start, script, code, words):
    """Exit code 137 is not SIGKILL: a signal is a negative number, as of any process here."""
    program = start("sh", "-c", script)
    assert program.wait(20) == code
    assert program.poll() == code
    assert program.fate() == words


def test_output_comes_as_it_is_written(start):
    """What a program writes, to either stream, is handed on while it runs."""
    heard = []
    program = start("sh", "-c", "echo one; echo two >&2; read go; echo three", output=heard.append, stdin=True)
    until(lambda: b"".join(heard) == b"one\ntwo\n")
    assert program.poll() is None
    assert program.fate() == "has not ended"
    program.send_line(b"go\n")
    assert program.wait(20) == 0
    assert b"".join(heard) == b"one\ntwo\nthree\n"
    assert program.last_lines == "one\ntwo\nthree"


def test_output_before_a_loss_or_end_is_complete(start):
    """A program that writes much and ends at once loses nothing of it."""
    heard = []
    program = start("sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", output=heard.append)
    assert program.wait(60) == 0
    assert b"".join(heard) == b"".join(b"line %d\n" % number for number in range(20000))


def test_words_and_environment_arrive_as_they_are(start, board):
    """Arguments, values and directories with blanks, quotes and $(…) are text on the other side."""
    odd = "a 'b' \"c\" $(touch x) `touch x` ; touch x \\ 名"
    (board.home / odd.replace("/", "")).mkdir()
    heard = []
    words = ["sh", "-c", 'printf "%s|" "$1" "$VALUE"; pwd', "sh", odd]
    program = start(*words, env={"VALUE": odd}, cwd=f"{board.home}/{odd}", output=heard.append)
    assert program.wait(20) == 0
    assert b"".join(heard).decode() == f"{odd}|{odd}|{board.home}/{odd}\n"
    assert not list(board.home.rglob("x"))


def test_program_that_is_not_there(start):
    """What cannot be run ends with the shell's own words and code."""
    program = start("no-such-program")
    assert program.wait(20) == 127
    assert "no-such-program" in program.last_lines
    with pytest.raises(BoardError, match=r"could not be started: .*no-such-directory"):
        start("true", cwd="/no-such-directory")


def test_answers_come_line_by_line(start):
    """A server is talked with over its standard input and output; what it says beside that is output."""
    heard = []
    script = 'echo ready; while read -r word; do echo "log $word" >&2; echo "answer $word"; done; echo bye'
    program = start("sh", "-c", script, stdin=True, answers=True, output=heard.append)
    assert program.receive_line(20) == b"ready"
    for word in (b"one", b"two"):
        program.send_line(word + b"\n")
        assert program.receive_line(20) == b"answer " + word
    program.end_input()
    assert program.receive_line(20) == b"bye"
    with pytest.raises(ModelDied, match=r"ended with exit code 0; the end of its output:\nlog one\nlog two"):
        program.receive_line(20)
    assert b"".join(heard) == b"log one\nlog two\n"


@pytest.mark.parametrize("limit", [None, 20], ids=["no limit", "a limit"])
def test_what_a_server_says_beside_its_answers_holds_nothing_up(start, limit):
    """Answers and errors share a window of 2 MiB: neither waits until somebody listens to the other."""
    heard = []
    script = f'while read -r n; do {FLOOD} >&2; echo "answer $n"; done'
    program = start("sh", "-c", script, stdin=True, answers=True, output=lambda data: heard.append(len(data)))
    for word in (b"one", b"two"):
        program.send_line(word + b"\n")
        assert program.receive_line(limit) == b"answer " + word
    program.end_input()
    assert program.wait(20) == 0
    assert sum(heard) == 2 * FLOODED


def test_answer_that_does_not_come(start):
    """A time-out of an answer leaves the program running: it can still be asked."""
    program = start("cat", stdin=True, answers=True)
    with pytest.raises(TimeoutError, match=r"did not answer in 0.2 s"):
        program.receive_line(0.2)
    program.send_line(b"x" * 100_000 + b"\n")
    assert program.receive_line(20) == b"x" * 100_000


def test_death_says_how_and_shows_the_end_of_the_output(start):
    """A server that dies is told by its signal and its last words."""
    program = start("sh", "-c", "echo dying >&2; kill -KILL $$", answers=True)
    with pytest.raises(
        ModelDied, match=r"on board 127.0.0.1 was ended by SIGKILL; the end of its output:\ndying"
    ) as caught:
        program.receive_line(20)
    assert caught.value.returncode == -9


def test_end_is_by_force_after_the_grace(start):
    """SIGTERM first, so that a program can tidy up; what ignores it is killed when the grace is over."""
    heard = []
    polite = start(
        "sh", "-c", 'trap "echo tidied; exit 7" TERM; echo up; while :; do sleep 0.05; done', output=heard.append
    )
    until(lambda: heard)
    polite.end(10)
    assert polite.returncode == 7
    assert b"tidied" in b"".join(heard)
    deaf = start("sh", "-c", 'trap "" TERM; echo up; while :; do sleep 0.05; done', output=heard.append)
    until(lambda: b"".join(heard).count(b"up") == 2)
    begun = time.monotonic()
    deaf.end(1)
    assert deaf.returncode == -9
    assert time.monotonic() - begun < 15


def test_limit_of_time_leaves_the_choice(start):
    """A wait that takes too long raises, and the program runs on until it is ended."""
    program = start("sleep", "300")
    with pytest.raises(TimeoutError):
        program.wait(0.2)
    program.end(0)
    assert program.returncode in (-15, -9)


def test_lost_link_is_told_to_who_waits(start, board):
    """Who waits for a program when the link is lost is told so; no exit code is made up."""
    program = start("sleep", "300")
    errors = []

    def wait():
        try:
            program.wait()
        except LinkLost as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    board.kill_sessions()
    thread.join(20)
    assert errors
    program.end()
    assert program.returncode is None


def test_failure_of_a_log_is_told(start):
    """What the receiver of the output raises, as on a full disk, comes out where the end is waited for.

    What is written later is still handed on.
    """
    heard = []

    def full_at_first(data):
        if not heard:
            heard.append(b"")
            raise OSError(28, "No space left on device")
        heard.append(data)

    program = start("sh", "-c", "echo one; read go; echo two", output=full_at_first, stdin=True)
    until(lambda: heard)
    program.send_line(b"go\n")
    with pytest.raises(OSError, match="No space left"):
        program.wait(20)
    assert b"".join(heard) == b"\n[evalrun: 4 bytes of output are lost here: No space left on device]\ntwo\n"


def test_program_has_a_group_of_its_own(start):
    """A program leads its process group, so that all of it can be ended and nothing else."""
    heard = []
    program = start("sh", "-c", "read a b c d group rest < /proc/self/stat; echo $group", output=heard.append)
    program.wait(20)
    assert int(b"".join(heard)) == program.pid


def test_closed_input_is_an_end_of_file(start):
    """A program that is not to be sent anything finds its input at the end."""
    heard = []
    assert start("sh", "-c", "cat; echo over", output=heard.append).wait(20) == 0
    assert b"".join(heard) == b"over\n"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only there it can be told whose a daemon is")
@pytest.mark.parametrize("how", ["ended", "by itself", "cut off"])
def test_a_daemon_ends_with_its_program(board, start, how):
    """However the program ends: what it put into a session of its own ends, too, and no other process does."""
    script = "setsid sh -c 'trap \"\" HUP; echo $$ > daemon; exec sleep 300' & while ! [ -s daemon ]; do :; done; $1"
    other = start("sleep", "300")
    program = start("sh", "-c", script, "sh", "exit 0" if how == "by itself" else "sleep 300")
    until(lambda: (board.home / "daemon").exists() and (board.home / "daemon").read_text().strip())
    daemon = int((board.home / "daemon").read_text())
    if how == "ended":
        program.end(0)
    elif how == "by itself":
        assert program.wait(60) == 0
    else:
        other.end(0)
        board.kill_sessions()
    until(lambda: not psutil.pid_exists(daemon) or psutil.Process(daemon).status() == psutil.STATUS_ZOMBIE)
    assert how == "cut off" or other.poll() is None
