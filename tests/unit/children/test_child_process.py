"""A program asked line by line: whatever it does, we learn what it was, and can go on."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from pytest_evalrun.children import channel
from pytest_evalrun.children.faults import ChildError, ModelDied
from pytest_evalrun.children.output import TAIL_BYTES, last_lines
from pytest_evalrun.errors import PairError

ECHO = """while read -r line; do echo "$line"; done"""
READY = """echo '{"type":"ready"}'; """


def test_messages_go_there_and_back(start):
    """One answer a request; empty lines are nothing."""
    child = start.shell('while read -r line; do echo; echo "$line"; done')
    for number in range(3):
        child.send({"type": "predict", "number": number})
        assert child.receive(30) == {"type": "predict", "number": number}


def test_pids_are_told_before_anything_happens(start):
    """Supervisor first; both are what the child says of itself, and the program leads a group."""
    child = start.shell(ECHO)
    assert start.pids == [child.supervisor_pid, child.pid]
    assert os.getpgid(child.pid) == child.pid
    assert child.poll() is child.returncode is None
    assert child.fate() == "has not ended"


DEATHS = {
    "exit code": ("echo going >&2; exit 3", ModelDied, 3, "ended with exit code 3; the end of its output:\ngoing"),
    "good exit": ("exit 0", ModelDied, 0, "ended with exit code 0; it wrote no other output"),
    "signal": ("kill -SEGV $$", ModelDied, -signal.SIGSEGV, "was ended by SIGSEGV; it wrote no"),
    "rubbish": ("echo hello; read x", ChildError, None, "a line that is not JSON ("),
    "last rubbish": ("printf '{'", ChildError, None, "): '{'; it wrote no other output"),
    "no object": ("echo '[1]'; read x", ChildError, None, "a line that is no message, an object with a type: '[1]'"),
    "no type": ("echo '{\"type\": 1}'; read x", ChildError, None, "a line that is no message"),
}


@pytest.mark.parametrize(("script", "kind", "code", "message"), DEATHS.values(), ids=DEATHS)
def test_the_error_says_what_the_program_did(start, script, kind, code, message):
    """How it ended or what it wrote, and the end of its output; the pair is to blame, not the suite."""
    child = start.shell(script, name="the process of model m")
    with pytest.raises(kind) as caught:
        child.receive(30)
    assert str(caught.value).startswith("the process of model m ")
    assert message in str(caught.value)
    assert getattr(caught.value, "returncode", None) == code
    assert isinstance(caught.value, PairError)


def test_twenty_lines_of_output_are_kept(start):
    """The last ones, of however much there was."""
    child = start.shell("seq 100000 >&2; exit 1")
    with pytest.raises(ModelDied) as caught:
        child.receive(30)
    assert str(caught.value).splitlines()[1:] == [str(number) for number in range(99981, 100001)]


def test_a_last_line_needs_no_newline(start):
    """Some programs end without."""
    assert start.shell("""printf '{"type":"ready"}'""").receive(30) == {"type": "ready"}


def test_a_program_that_closes_its_answers_is_told(start, monkeypatch):
    """It lives, but nothing can come of it."""
    monkeypatch.setattr("pytest_evalrun.children.process.LAST_MOMENT_SECONDS", 0.1)
    child = start.shell("exec >&-; read line; sleep 1000")
    with pytest.raises(ChildError, match="closed its standard output, and did not end"):
        child.receive(30)
    child.end(0)
    assert child.returncode == -signal.SIGKILL


def test_a_program_that_does_not_listen_is_no_error_before_its_answer(start):
    """What it wrote before it ended comes first, then how it ended."""
    child = start.shell(READY + "exit 2")
    child.wait(30)
    child.send({"type": "load", "filler": "x" * 1_000_000})
    assert child.receive(30) == {"type": "ready"}
    with pytest.raises(ModelDied, match="exit code 2"):
        child.receive(30)


def test_silence_has_a_limit(start):
    """And the program can be asked on."""
    child = start.shell("read a; " + READY + "read b")
    with pytest.raises(TimeoutError, match=r"the program did not answer in 0\.01 s"):
        child.receive(0.01)
    child.send_line(b"\n")
    assert child.receive(30) == {"type": "ready"}
    with pytest.raises(TimeoutError, match=r"did not end in 0\.01 s"):
        child.wait(0.01)


def test_a_line_without_end_is_cut_off(start, monkeypatch):
    """A program that prints for ever costs no more memory than the longest answer."""
    monkeypatch.setattr(channel, "LONGEST_LINE", 1 << 20)
    child = start.shell("exec cat /dev/zero")
    with pytest.raises(ChildError, match=r"wrote more than .* without a newline"):
        child.receive(30)
    with pytest.raises(ChildError, match="without a newline"):
        child.send({"type": "predict", "filler": "x" * 1_000_000})


class AlarmError(Exception):
    """Raised by a signal handler, in the middle of whatever was going on."""


@pytest.fixture
def alarm():
    """Rings after a moment, again and again: wherever the main thread is by then."""

    def ring(*_):
        raise AlarmError

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.1)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_waiting_can_be_interrupted(start, alarm, lives):
    """By an exception of a signal handler; the program can be ended then."""
    child = start.shell("sleep 1000")
    alarm()
    with pytest.raises(AlarmError):
        child.receive()
    alarm()
    with pytest.raises(AlarmError):
        child.wait()
    child.end(0)
    assert not lives(child.pid)


def test_sending_can_be_interrupted(start, alarm, lives):
    """To a program that does not read."""
    child = start.shell("sleep 1000")
    alarm()
    with pytest.raises(AlarmError):
        child.send({"type": "predict", "filler": "x" * 10_000_000})
    child.end(0)
    assert not lives(child.pid)


def test_ending_can_be_interrupted(start, alarm, lives):
    """And done again; once done it does nothing any more."""
    child = start.shell("trap '' TERM; echo ready; while :; do sleep 0.01; done")
    child._channel.receive(30, lambda: True)
    alarm()
    with pytest.raises(AlarmError):
        child.end(600)
    child.end(0)
    child.end()
    assert not lives(child.pid)


def test_an_interrupted_start_leaves_nothing(start, lives, wait_until):
    """Whatever the caller does with the PIDs, nothing stays behind where that fails."""
    told = []

    def refuse(pid):
        told.append(pid)
        if len(told) == 2:
            raise AlarmError

    with pytest.raises(AlarmError):
        start.shell("sleep 1000", started=refuse)
    assert not any(map(lives, told))


def test_a_context_ends_its_program(start, lives):
    """However it is left."""
    with pytest.raises(AlarmError), start.shell("sleep 1000", grace=0.01) as child:
        raise AlarmError
    assert not lives(child.pid)


BOTH_AT_ONCE = """
import sys
sys.stdout.write('{"type":"predictions","filler":"' + "y" * 10_000_000 + '"}\\n')
sys.stdout.flush()
print(f'{{"type":"read","length":{len(sys.stdin.readline())}}}')
"""


def test_large_messages_that_cross_do_not_lock(start):
    """The program writes ten megabytes before it reads ten."""
    child = start.python(BOTH_AT_ONCE)
    child.send({"filler": "x" * 10_000_000})
    assert len(child.receive(60)["filler"]) == 10_000_000
    assert child.receive(60) == {"type": "read", "length": 10_000_000 + len('{"filler":""}\n')}


def test_output_belongs_to_what_was_asked(start):
    """What a program wrote before its answer is handed on before the answer is."""
    child = start.shell('while read -r line; do seq 2000 >&2; echo "$line"; done')
    for count in range(1, 20):
        child.send({"type": "predict"})
        child.receive(30)
        assert start.output.count(b"\n") == count * 2000


def test_both_streams_are_output_without_the_protocol(start):
    """Of a program that is only listened to; however much it is, what is kept of it does not grow."""
    child = start.shell("echo out; echo err >&2; head -c 50000000 /dev/zero", stdout="output", stdin=False)
    assert child.wait(60) == 0
    child.end()
    assert start.output[:8] == b"out\nerr\n"
    assert len(start.output) == 50_000_008
    assert len(child.last_lines) <= 1 << 14


def test_a_log_that_cannot_be_written_stops_nothing(start):
    """The program must not wait for a reader for ever."""

    def full(chunk):
        raise OSError(errno.ENOSPC, "no space")

    assert start.shell("seq 100000 >&2; exit 5", output=full).wait(30) == 5
    assert start.shell("seq 100000 >&2; exit 6", output=None).wait(30) == 6


def test_a_program_gets_its_arguments_environment_and_directory(start, tmp_path):
    """As they are, and no more: nothing is ever executed that is in a name."""
    odd = ["a b", "'\"", "$(touch x)", "`touch x`", "新\n"]
    script = (
        "import os, sys, json\nprint(json.dumps([sys.argv[1:], os.environ['ODD'], 'HOME' in os.environ, os.getcwd()]))"
    )
    env = {"ODD": "$(x)", "LC_CTYPE": "C.UTF-8"}
    child = start(sys.executable, "-c", script, *odd, env=env, cwd=str(tmp_path), stdout="output", stdin=False)
    child.wait(30)
    child.end()
    found, value, inherited, directory = json.loads(start.output)
    assert (found, value, directory) == (odd, "$(x)", str(tmp_path.resolve()))
    assert not inherited
    assert list(tmp_path.iterdir()) == []


def test_a_program_starts_in_the_directory_that_we_are_in(start, tmp_path, monkeypatch):
    """Not in that of a supervisor, which may be older."""
    start.shell("exit 0").end()
    monkeypatch.chdir(tmp_path)
    child = start.shell("pwd -P", stdout="output")
    child.wait(30)
    child.end()
    assert start.output.decode().strip() == str(tmp_path.resolve())


def test_a_program_is_found_on_the_path_that_it_is_given(start, tmp_path):
    """On its own, not on ours."""
    (tmp_path / "tool").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "tool").chmod(0o755)
    assert start("tool", env={"PATH": str(tmp_path)}).wait(30) == 9


UNSTARTABLE = {
    "missing": (["./none"], {}, "./none: the program cannot be used: No such file or directory"),
    "not on the path": (["no-such-program"], {}, "no-such-program: the program cannot be used: No such file"),
    "not executable": (["./data"], {}, "./data: the program cannot be used: Permission denied"),
    "no program": (["./text"], {}, "./text: the program cannot be used: Exec format error"),
    "no directory": (["/bin/sh"], {"cwd": "/none"}, "/none: the directory to start it in cannot be used: No such file"),
    "NUL": (["/bin/sh", "a\0b"], {}, "'/bin/sh' cannot be started: a NUL in an argument"),
}


@pytest.mark.parametrize(("argv", "more", "message"), UNSTARTABLE.values(), ids=UNSTARTABLE)
def test_a_program_that_cannot_be_started_says_why(start, tmp_path, argv, more, message):
    """What and why; and the next program starts."""
    (tmp_path / "data").write_text("x")
    (tmp_path / "text").write_text("x")
    (tmp_path / "text").chmod(0o755)
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(ChildError) as caught:
        start(*argv, **({"cwd": str(tmp_path)} | more))
    assert str(caught.value).startswith(message)
    assert len(list(Path("/dev/fd").iterdir())) <= before + 1
    assert start.shell("exit 8").wait(30) == 8


@pytest.mark.parametrize(
    ("manager", "hint"),
    [
        ("apt-get", "; it is not installed, or not on the PATH: `apt-get install openssh-client` installs it"),
        ("brew", "; it is not installed, or not on the PATH: `brew install openssh` installs it"),
        ("none", ""),
    ],
)
def test_a_missing_program_says_how_it_is_had(start, tmp_path, monkeypatch, manager, hint):
    """By what this system installs with; of programs that nobody knows, nothing is said."""
    (tmp_path / manager).write_text("#!/bin/sh\n")
    (tmp_path / manager).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = os.strerror(errno.ENOENT)
    for program, told in (("ssh", hint), ("my-own", "")):
        with pytest.raises(ChildError) as caught:
            start(program, env={"PATH": str(tmp_path)})
        assert str(caught.value) == f"{program}: the program cannot be used: {reason}{told}"


def test_secrets_are_in_no_argument_list(start):
    """Anybody may read that; the environment is the program's own."""
    child = start.shell(ECHO, env={**os.environ, "TOKEN": "s3cr3t-value"})
    for pid in (child.pid, child.supervisor_pid):
        assert "s3cr3t" not in str(psutil.Process(pid).cmdline())
    assert psutil.Process(child.pid).environ()["TOKEN"] == "s3cr3t-value"
    assert "TOKEN" not in psutil.Process(child.supervisor_pid).environ()


def test_programs_that_know_no_stacks_are_left_alone(start):
    """The signal would end them."""
    child = start.shell(ECHO)
    child.dump_stacks()
    child.send({"type": "x"})
    assert child.receive(30) == {"type": "x"}


STACKS = """
import faulthandler, signal, time
faulthandler.register(signal.SIGUSR2)
def stuck_here():
    print('{"type":"ready"}', flush=True)
    time.sleep(1000)
stuck_here()
"""


def test_stacks_are_waited_for_but_not_for_ever(start, wait_until):
    """As output, before the call returns; a program that is not ready for the signal ignores it."""
    deaf = start.shell(ECHO, stacks=signal.SIGUSR2)
    deaf.dump_stacks(0.05)
    assert deaf.poll() is None
    told = start.python(STACKS, stacks=signal.SIGUSR2)
    told.receive(30)
    told.dump_stacks(30)
    assert b"in stuck_here" in start.output
    deaf.end(0)
    deaf.dump_stacks()


def test_a_half_of_a_line_is_not_among_the_last_lines():
    """What is kept of the output may begin within a secret; a line that is all there is stays."""
    assert last_lines(b"x" * (TAIL_BYTES - 4) + b"\nend") == "end"
    assert last_lines(b"first\nend\n") == "first\nend"
    assert last_lines(b"x" * TAIL_BYTES) == "x" * TAIL_BYTES


def test_one_failure_of_a_log_silences_nothing_else(start):
    """What it did not take is said where it is missing, once, and all that follows is there."""
    heard = []

    def full_twice(data):
        heard.append(data)
        if len(heard) <= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    child = start.shell(
        'for word in one two three four; do echo $word >&2; echo \'{"type":"x"}\'; read go; done', output=full_twice
    )
    for _ in range(4):
        child.receive(30)
        child.send({"type": "go"})
    assert child.wait(30) == 0
    child.end()
    said = b"".join(heard[2:])
    assert said == b"\n[evalrun: 8 bytes of output are lost here: No space left on device]\nthree\nfour\n"
