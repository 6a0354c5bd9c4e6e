"""The log of a pair, as it is and as it grows."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.known import known_pairs
from pytest_evalrun.report.logs import follow_logs, read_logs, shown
from pytest_evalrun.rundir.logfiles import SHORTEST, LogFile
from pytest_evalrun.rundir.sessions import open_session


@pytest.fixture
def pair(run):
    """One that is running."""
    run.paths.task_list.write_text("*s/a||1\n-one|1\n+summary|1|1\n")
    return known_pairs(run.paths).pairs[0]


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_both_logs_in_the_order_of_the_stages(run, pair):
    """Byte for byte: what a model prints need not be text."""
    files = run.paths.pair(pair.key)
    run.write(files.eval_log, "scored\n")
    run.write(files.infer_log, "")
    files.infer_log.write_bytes(b"\xff\x00 loaded\n")
    assert b"".join(read_logs(run.paths, pair)) == b"\xff\x00 loaded\nscored\n"


def test_shards_speak_first(run, pair):
    """In the order of the dataset; one that begins later is followed too."""
    files = run.paths.pair(pair.key)
    for name in ("one/1000-1250", "one/250-500"):
        run.write(files.infer_log.parent / f"{name}.log", f"{name}\n")
    run.write(files.infer_log, "gathered\n")
    assert b"".join(read_logs(run.paths, pair)) == b"one/250-500\none/1000-1250\ngathered\n"
    session = open_session(run.paths, ["pytest"])
    steps = [lambda: run.write(files.infer_log.parent / "one/0-250.log", "late\n"), lambda: session.close(clean=True)]
    assert b"".join(follow_logs(run.paths, pair, lambda: steps.pop(0)())).endswith(b"gathered\nlate\n")


def test_no_log_yet(run, pair):
    """It says how the pair stands, and how to wait for it."""
    with pytest.raises(ConfigError, match="it is pending; with -f: wait"):
        list(read_logs(run.paths, pair))


def test_following_ends_with_the_session(run, pair):
    """What is written before the end is read; a log that does not exist yet is waited for."""
    session = open_session(run.paths, ["pytest"])
    log = run.paths.pair(pair.key).infer_log
    steps = [
        lambda: run.write(log, "one\n"),
        lambda: append(log, "two\n"),
        lambda: run.write(log, "2\n"),  # replaced by a shorter one
        lambda: (append(log, "end\n"), session.close(clean=True)),
    ]
    got = b"".join(follow_logs(run.paths, pair, lambda: steps.pop(0)()))
    assert got == b"one\ntwo\n2\nend\n"


def test_following_ends_when_the_pair_is_done(run, pair):
    """Though the session goes on; one that was done before may be evaluated again, and is followed."""
    session = open_session(run.paths, ["pytest"])
    log = run.paths.pair(pair.key).infer_log
    done = run.paths.task_list.read_text().replace("one|1", "one|2")
    steps = [lambda: run.write(log, "one\n"), lambda: run.paths.task_list.write_text(done)]
    assert b"".join(follow_logs(run.paths, pair, lambda: steps.pop(0)())) == b"one\n"
    steps = [lambda: None, lambda: run.paths.task_list.write_text("torn"), lambda: session.close(clean=True)]
    assert b"".join(follow_logs(run.paths, pair, lambda: steps.pop(0)())) == b"one\n"
    assert steps == []


def test_shown_it_is_safe_wherever_it_is_cut():
    """In lines: control characters are escapes, a carriage return ends a line, what is no text is told as such."""
    text = "\x1b[31mred\r\n10%\r20%\r\u202egnp 任务\n".encode() + b"caf\xe9\n"
    for size in range(1, len(text) + 1):
        blocks = (text[at : at + size] for at in range(0, len(text), size))
        assert b"".join(shown(blocks)).decode() == "\\x1b[31mred\n10%\n20%\n\\u202egnp 任务\ncaf\ufffd\n"


def test_a_log_that_is_shortened_is_followed(run, pair):
    """Nothing comes twice, and the line that says what is missing comes where somebody was too slow to see it."""
    session = open_session(run.paths, ["pytest"])
    log = LogFile(run.paths.pair(pair.key).infer_log, SHORTEST)
    number = 0

    def write(lines):
        nonlocal number
        log.write(b"".join(b"line %07d\n" % i for i in range(number, number + lines)))
        number += lines
        log.check()

    steps = [*[lambda: write(1000)] * 30, lambda: write(50_000), lambda: session.close(clean=True)]
    write(1000)
    lines = b"".join(follow_logs(run.paths, pair, lambda: steps.pop(0)())).splitlines()
    missing = next(i for i, line in enumerate(lines) if b"left out here" in line)
    assert lines[:missing] == [b"line %07d" % i for i in range(31_000)]
    assert lines[missing + 1 :] == [b"line %07d" % i for i in range(81_000 - len(lines[missing + 1 :]), 81_000)]
    assert len(lines[missing + 1 :]) > 1000
