"""Streams of tar: what is written can be read by anybody's tar, and what is read is not believed."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.faults import ArrivedWrong, BoardError
from pytest_evalrun.remote.tarstream import (
    RECORD,
    SUMS,
    Readable,
    TarEntry,
    TarWriter,
    check_name,
    differing,
    header,
    read_files,
    write_down,
)


def reading(data: bytes) -> Readable:
    return Readable(io.BytesIO(data).read)


def archive(*members: tuple[str, bytes], kind=tarfile.REGTYPE, link="") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, link
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@given(st.lists(st.binary(max_size=3000), max_size=8))
def test_what_is_written_is_read(tmp_path_factory, contents):
    """Any files come out as they went in, with their hashes, in whole records."""
    place = tmp_path_factory.mktemp("files")
    entries = []
    for number, content in enumerate(contents):
        (place / str(number)).write_bytes(content)
        entries.append(TarEntry(place / str(number), f"in/{number} é"))
    writer = TarWriter(entries)
    data = b"".join(writer)
    assert len(data) % RECORD == 0
    read = {name: content.read() for name, _, content in tar_without_sums(data)}
    assert read == {entry.name: content for entry, content in zip(entries, contents, strict=True)}
    assert writer.sums == {name: hashlib.sha256(content).hexdigest() for name, content in read.items()}
    assert writer.size == sum(map(len, contents))


def tar_without_sums(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(info.name, info.size, tar.extractfile(info)) for info in tar if info.name != SUMS] if data else []


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
        lambda name: not name.endswith("/")  # a directory's, and never a file's
    ),
    st.integers(0, 1 << 40),
    st.integers(0, 1 << 34),
)
def test_heads_are_understood(name, size, mtime):
    """Every name, size and time is what Python's tarfile reads, long names and huge files included."""
    stream = io.BytesIO(header(name, size, 0o644, mtime) + bytes(1024))
    info = tarfile.open(fileobj=stream, errors="surrogateescape").next()  # noqa: SIM115 - of memory
    assert (info.name, info.size, info.mtime, info.mode, info.isreg()) == (name, size, mtime, 0o644, True)


def test_list_of_hashes_is_as_sha256sum_reads_it(tmp_path):
    """The last member says the hash of each file, in the words of sha256sum."""
    (tmp_path / "a").write_bytes(b"content")
    with tarfile.open(fileobj=io.BytesIO(b"".join(TarWriter([TarEntry(tmp_path / "a", "b c")])))) as tar:
        text = tar.extractfile(SUMS).read().decode()
    assert text == f"{hashlib.sha256(b'content').hexdigest()}  ./b c\n"


def test_program_stays_one(tmp_path):
    """Whether a file can be run is all that is kept of its rights."""
    for mode, expected in ((0o700, 0o755), (0o600, 0o644)):
        (tmp_path / "a").write_bytes(b"")
        (tmp_path / "a").chmod(mode)
        with tarfile.open(fileobj=io.BytesIO(b"".join(TarWriter([TarEntry(tmp_path / "a", "a")])))) as tar:
            assert tar.next().mode == expected


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../x", "a//b", "a\nb", "a\0b", SUMS, "a/"])
def test_names_that_leave_are_refused(name):
    """No name that leads out of its directory, or that a list cannot hold, goes to a board or comes from one."""
    with pytest.raises(ConfigError):
        check_name(name)
    if name and "\0" not in name and not name.endswith("/"):
        with pytest.raises(BoardError):  # to ask for it once more would change nothing
            list(read_files(reading(archive((name, b"x")))))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_only_files_are_taken(kind):
    """Links and devices stay on the board: `latest.log -> 7.log` is no reason to fail."""
    assert list(read_files(reading(archive(("x", b""), kind=kind, link="/etc/passwd")))) == []


def test_hard_links_are_refused():
    """They cannot be told from a copy of something that was not sent."""
    with pytest.raises(BoardError, match="a hard link"):
        list(read_files(reading(archive(("x", b""), kind=tarfile.LNKTYPE, link="/etc/passwd"))))


@pytest.mark.parametrize("end", [0, 100, 512, 600, 5000])
def test_stream_that_was_cut_off_is_an_error(tmp_path, end):
    """What ends too early is told, and never taken for a short file."""
    data = archive(("x", bytes(5000)))[:end]
    with pytest.raises(ArrivedWrong):
        for name, size, content in read_files(reading(data)):
            write_down(content, size, tmp_path / name)


def test_nothing_is_written_over(tmp_path):
    """What arrives makes new files only."""
    (tmp_path / "x").write_text("mine")
    with pytest.raises(FileExistsError):
        write_down(io.BytesIO(b"theirs"), 6, tmp_path / "x")


def test_file_that_shrinks_is_an_error(tmp_path, monkeypatch):
    """A file that becomes shorter while it is sent breaks the stream, and says so."""
    path = tmp_path / "a"
    path.write_bytes(bytes(3 << 20))
    with pytest.raises(ArrivedWrong, match="became shorter"):
        for _ in TarWriter([TarEntry(path, "a")]):
            path.write_bytes(b"")


def test_directories_do_not_travel(tmp_path):
    """Only files are sent; a directory in their place is the caller's mistake."""
    with pytest.raises((ConfigError, OSError)):
        list(TarWriter([TarEntry(tmp_path, "a")]))


def test_differences_are_named():
    """What is missing, new or other on one of two sides."""
    assert differing({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "x", "d": "4"}) == ["b", "c", "d"]
