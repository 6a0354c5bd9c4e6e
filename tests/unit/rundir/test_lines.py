"""Files that grow line by line: whole lines or none, whatever dies or fills up."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.planning.past import newest_lines
from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.lines import (
    Follower,
    LineFile,
    compact_line,
    json_document,
    json_line,
    open_with_parents,
    utc_time,
)
from pytest_evalrun.rundir.markers import facts_of, read_fingerprint, read_marker
from pytest_evalrun.rundir.predictions import PredictionsFile
from pytest_evalrun.rundir.results import read_history, read_result, timings_in
from pytest_evalrun.rundir.samplelines import SampleLines
from pytest_evalrun.rundir.shards import read_range
from pytest_evalrun.rundir.tasklist import read_task_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def disk_of() -> Iterator[Callable[[int], None]]:
    """Files may grow to so many bytes: what a write meets then is what it meets on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("name", ["plain", "with space", "a'b\"c", "$(touch x)", "任务", "x" * 200])
def test_lines_are_appended(tmp_path: Path, name: str) -> None:
    """A file and its directories are made at the first line, and every later one goes after it."""
    path = tmp_path / "new" / name
    file = LineFile(path)
    assert not path.exists()
    assert file.write(b"one\n")
    assert file.write(b"two\n")
    file.close()
    file.close()
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (b"one\ntw", b"one\n"),
        (b"tw", b""),
        (b"one\n", b"one\n"),
        (b"one\n" + b"x" * 200_000, b"one\n"),
    ],
    ids=["torn", "nothing whole", "whole", "torn long ago"],
)
def test_torn_line_is_cut_off(tmp_path: Path, before: bytes, kept: bytes) -> None:
    """A line torn by a crash is cut off before the first line of the next writer."""
    path = tmp_path / "f"
    path.write_bytes(before)
    file = LineFile(path)
    assert file.write(b"new\n")
    file.close()
    assert path.read_bytes() == kept + b"new\n"


def test_full_disk_leaves_no_part_of_a_line(tmp_path: Path, disk_of: Callable[[int], None]) -> None:
    """A full disk takes a line whole or not at all, never raises, and goes on once there is room."""
    path = tmp_path / "f"
    file = LineFile(path)
    assert file.write(b"one\n")
    disk_of(6)
    assert not file.write(b"two\n")
    assert not file.write(b"two\n")
    assert path.read_bytes() == b"one\n"
    disk_of(100)
    assert file.write(b"two\n")
    file.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    """Where no file can be made, writing says so and does not raise."""
    (tmp_path / "file").touch()
    assert not LineFile(tmp_path / "file" / "f").write(b"x\n")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({1}, "{1}"),
        (math.nan, "nan"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ("\udcff", "\udcff"),
        ("任务\n", "任务\n"),
        ([1, None], [1, None]),
    ],
    ids=["set", "nan", "key", "no utf-8", "newline", "plain"],
)
def test_no_line_is_lost_to_a_value(value: object, read: object) -> None:
    """Whatever an event carries becomes one line that JSON can read."""
    line = json_line({"name": "n", "value": value})
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"name": "n", "value": read}


def test_document_is_json_for_people() -> None:
    """A small file is readable in the letters of its names, and by JSON whatever they are."""
    data = json_document({"a": "任务 \udcff"})
    assert "任务".encode() in data
    assert json.loads(data) == {"a": "任务 \udcff"}


def test_time_is_utc_to_the_millisecond() -> None:
    """Times look like the contract says."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", utc_time())


READERS = {
    "marker": (read_marker, None),
    "result": (read_result, None),
    "fingerprint": (read_fingerprint, None),
    "task list": (read_task_list, None),
    "range": (read_range, None),
    "history": (lambda path: list(read_history(path)), []),
    "newest lines": (lambda path: list(newest_lines(path)), []),
    "timing": (lambda path: timings_in(path.rename(path.with_name("0-1.timing.json")).parent).samples, 0),
    "facts": (facts_of, OSError),
    "predictions": (lambda path: PredictionsFile(path).peek(3), OSError),
    "samples": (SampleLines, OSError),
    "line file": (lambda path: LineFile(path).write(b"line\n"), False),
    "appender": (lambda path: Disk().appender(path), OSError),
}


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir], ids=["fifo", "directory"])
@pytest.mark.parametrize(("use", "expected"), READERS.values(), ids=READERS)
def test_nobody_waits_for_what_is_no_file(tmp_path, use, expected, put):
    """A FIFO or a directory in place of a file is none, or an OSError at once."""
    put(tmp_path / "it")
    if expected is OSError:
        with pytest.raises(OSError, match="it"):
            use(tmp_path / "it")
    else:
        assert use(tmp_path / "it") == expected


def test_nothing_is_written_through_a_link_to_nowhere(tmp_path):
    """Who put the link there must not choose where a file is made."""
    (tmp_path / "it").symlink_to(tmp_path / "elsewhere")
    assert not LineFile(tmp_path / "it").write(b"line\n")
    with pytest.raises(OSError, match="it is a link to nowhere"):
        Disk().appender(tmp_path / "it")
    assert not (tmp_path / "elsewhere").exists()


def test_two_that_make_a_file_at_once_share_it(tmp_path):
    """Of many processes that append to one history none finds another's file in its way."""
    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            path = tmp_path / f"{number}" / "history.jsonl"
            assert all(pool.map(lambda _: LineFile(path).write(b"line\n"), range(8)))  # noqa: B023 - done in this round
            assert path.read_bytes() == b"line\n" * 8


@given(st.lists(st.binary(max_size=30), max_size=12))
def test_chunks_make_the_same_lines_as_the_whole(tmp_path_factory, chunks):
    """However a file grows, all its complete lines are seen, in order and once."""
    path = tmp_path_factory.mktemp("grow") / "file"
    follower, seen = Follower(path), []
    for chunk in chunks:
        with path.open("ab") as file:
            file.write(chunk)
        seen += follower.read()
    assert seen == b"".join(chunks).split(b"\n")[:-1]


def test_a_line_without_an_end_waits(tmp_path):
    """Half a line is not shown: its writer has not finished it."""
    path = tmp_path / "file"
    path.write_bytes(b"one\ntw")
    follower = Follower(path)
    assert follower.read() == [b"one"]
    assert follower.read() == []
    path.write_bytes(b"one\ntwo\n")
    assert follower.read() == [b"two"]


def test_a_file_that_is_another_one_is_read_from_its_beginning(tmp_path):
    """Replaced or cut: what was read of the old one says nothing about it."""
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"old\n")
    follower = Follower(path)
    follower.read()
    other.write_bytes(b"new\nlines\n")
    other.rename(path)
    assert follower.read() == [b"new", b"lines"]
    path.write_bytes(b"cut\n")
    assert follower.read() == [b"cut"]


def test_of_a_long_file_only_the_end_is_read(tmp_path):
    """A log of a thousand launches is not read from its beginning; what is appended is."""
    path = tmp_path / "file"
    path.write_bytes(b"long ago\n" * 100 + b"last\n")
    follower = Follower(path, last=5)
    assert follower.read() == [b"last"]
    with path.open("ab") as file:
        file.write(b"next\n")
    assert follower.read() == [b"next"]


def test_no_file_is_no_line(tmp_path):
    """A file may come later, or be a directory."""
    follower = Follower(tmp_path / "file")
    assert follower.read() == []
    assert Follower(tmp_path).read() == []
    (tmp_path / "file").write_bytes(b"came\n")
    assert follower.read() == [b"came"]


class Grade(float):
    """A number of somebody's library."""


NUMBERS = st.integers() | st.integers(-(10**30), 10**30) | st.floats() | st.builds(Grade, st.floats())
TEXTS = st.text() | st.text(st.characters(categories=["Cs", "Cc"]))
KEPT = st.recursive(
    NUMBERS | TEXTS | st.none() | st.booleans() | st.just(uuid.UUID(int=7)) | st.dates(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(TEXTS | st.integers() | st.none(), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), KEPT))
def test_compact_lines_say_what_json_would(fields):
    """Byte for byte, but for how an exponent is written; and what json refuses is refused."""
    strictly = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        said = strictly.encode(fields).encode("utf-8", "backslashreplace") + b"\n"
    except (ValueError, TypeError) as error:
        with pytest.raises(type(error)):
            compact_line(fields, fields.values())
        return
    found = compact_line(fields, fields.values())
    assert repr(json.loads(found)) == repr(json.loads(said))
    assert found == said or re.search(rb"[0-9]e[-+]?[0-9]", said)


def test_where_no_file_can_be_made_although_its_parents_are_there_is_an_error_at_once():
    with pytest.raises(FileNotFoundError):
        open_with_parents("/proc/evalrun-nothing", os.O_WRONLY)
