"""A log that is limited: its head and its tail stay, and what is missing between them is said."""

from __future__ import annotations

import errno
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.rundir import logfiles
from pytest_evalrun.rundir.logfiles import SHORTEST, LogFile, find_gap

LIMIT = 2 * SHORTEST
LINE = b"line %08d of many\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "one.log"


def fill(log, lines, *, first=0, times=1):
    for number in range(first, first + lines, 100):
        log.write(b"".join(LINE % i for i in range(number, number + 100)))
        if number // 100 % times == 0:
            log.check()
    log.check()


@pytest.mark.parametrize("times", [1, 7, 10**9], ids=["after each write", "now and then", "at the end"])
def test_head_and_tail_are_kept(path, times):
    """Whole lines of both, and the number of bytes between them, however often it was looked at."""
    log = LogFile(path, LIMIT)
    fill(log, 40_000, times=times)
    content = path.read_bytes()
    assert len(content) <= LIMIT
    head, gap, tail = re.split(rb"(\[evalrun: \d+ bytes are left out here; log_limit is 131072 bytes\]\n)", content)
    assert head == b"".join(LINE % i for i in range(len(head) // len(LINE % 0)))
    assert tail == b"".join(LINE % i for i in range(40_000 - len(tail) // len(LINE % 0), 40_000))
    assert min(len(head), len(tail)) > LIMIT / 5
    assert len(head) + int(gap.split()[1]) + len(tail) == 40_000 * len(LINE % 0)


def test_a_log_that_goes_on_later_stays_one_log(path):
    """Another session, with a lower limit too: what was left out before counts in."""
    for first, limit in ((0, LIMIT), (20_000, LIMIT), (40_000, SHORTEST)):
        log = LogFile(path, limit)
        fill(log, 20_000, first=first)
        log.close()
    content = path.read_bytes()
    assert len(content) <= SHORTEST
    with path.open("rb") as file:
        gap = find_gap(file.fileno())
    assert content.count(b"left out") == 1
    assert gap.left_out + len(content) - gap.size == 60_000 * len(LINE % 0)


def test_a_line_without_an_end_is_cut(path):
    """So that the line that tells of it stands alone."""
    log = LogFile(path, LIMIT)
    for _ in range(40):
        log.write(b"x" * 10_000)
    log.check()
    content = path.read_bytes()
    assert len(content) <= LIMIT
    assert re.fullmatch(rb"x+\n\[evalrun: \d+ bytes [^\n]*\]\nx+", content)


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 100))
def test_places_in_a_log_are_found_again(at, left_out, size):
    """What is still there is where it was in all that was ever written; of what is not, the line that says so."""
    gap = logfiles.Gap(at, size, left_out)
    for position in (*range(0, at, 97), *range(at + left_out + 1, at + left_out + 1000, 97)):
        assert gap.position(gap.offset(position)) == position
    assert gap.offset(at + left_out // 2) >= at


def test_a_log_that_was_put_elsewhere_is_left_alone(path):
    """What has its name now is another's."""
    log = LogFile(path, LIMIT)
    log.write(b"x" * 3 * LIMIT)
    path.rename(path.with_suffix(".old"))
    path.write_bytes(b"y" * 3 * LIMIT)
    log.check()
    assert path.stat().st_size == path.with_suffix(".old").stat().st_size == 3 * LIMIT


def test_what_a_full_disk_did_not_take_is_said(path, monkeypatch):
    """In its place and once, when it takes something again; a write that it took in parts is whole."""
    log, real, full = LogFile(path, LIMIT), os.write, [False]

    def write(fd, data):
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data[:3])

    monkeypatch.setattr(os, "write", write)
    for text, full[0] in (
        (b"one\n", False),
        (b"two\n", True),
        (b"three\n", True),
        (b"four\n", False),
        (b"five\n", False),
    ):
        log.write(text)
    said = b"one\n\n[evalrun: 10 bytes of output are lost here: No space left on device]\nfour\nfive\n"
    assert path.read_bytes() == said
