"""Files that grow or are replaced, read no more than they changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.monitor.follow import Directory, Follower, signature


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
    assert signature(tmp_path / "none") is None


def test_a_directory_is_listed_when_something_came_or_went(tmp_path):
    """Names with the suffix, sorted; hidden ones are on their way to become a file."""
    directory = Directory(tmp_path / "events", ".jsonl")
    assert not directory.look()
    (tmp_path / "events").mkdir()
    for name in ("gw1.jsonl", "gw0.jsonl", ".gw2.jsonl", "notes.txt"):
        (tmp_path / "events" / name).touch()
    assert directory.look()
    assert directory.names == ["gw0.jsonl", "gw1.jsonl"]
    assert not directory.look()
