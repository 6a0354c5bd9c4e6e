"""Writes that are whole or not at all, and syncs that lose no error."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from pytest_evalrun.rundir import durable
from pytest_evalrun.rundir.durable import Disk, write_atomic

ODD = ["two words", 'it\'s "quoted"', "$(touch x)", "任务A", "n" * 200, "new\nline", "\udcff\udcfe"]


@pytest.fixture
def disk():
    disk = Disk(interval=3600)  # nothing happens by itself
    yield disk
    disk.close()


@pytest.fixture
def synced(monkeypatch):
    """The paths that are synced, in order."""
    paths: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: paths.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    return paths


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_file_is_written_with_its_parents(tmp_path: Path, name: str) -> None:
    """Directories that are missing are made, whatever the names are, and nothing else is left there."""
    path = tmp_path / name / name
    write_atomic(path, "first")
    write_atomic(str(path), b"second")
    assert path.read_bytes() == b"second"
    assert [p.name for p in path.parent.iterdir()] == [name]


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the new content only, and leaves no temporary file."""
    path = tmp_path / "a"
    write_atomic(path, "old")
    monkeypatch.setattr(durable, "write_all", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_private_file_is_never_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private file is its owner's from its first byte on, whatever was there before it, also aside."""
    file, left = tmp_path / "token", tmp_path / ".token.1.tmp"
    for path in (file, left):
        path.write_text("old")
        path.chmod(0o666)
    monkeypatch.setattr(durable, "_aside", lambda _: str(left))
    opened_before = left.open()
    write_atomic(file, "secret", private=True)
    assert file.read_text() == "secret" and file.stat().st_mode & 0o777 == 0o600
    with opened_before:
        assert opened_before.read() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_reader_meets_old_or_new(tmp_path: Path) -> None:
    """A reader never sees a part of a file, or none."""
    path = tmp_path / "a"
    texts = ["a" * 50_000, "b" * 70_000]
    write_atomic(path, texts[0])
    writer = threading.Thread(target=lambda: [write_atomic(path, texts[i % 2]) for i in range(200)])
    writer.start()
    while writer.is_alive():
        assert path.read_text() in texts
    writer.join()


def test_replacing_block_that_raises_changes_nothing(tmp_path: Path, disk: Disk) -> None:
    """What comes in pieces becomes the file at the end of the block, and only there."""
    path = tmp_path / "a"
    with disk.replacing(path) as file:
        file.write("1")
        assert not path.exists()
        file.write(b"2")
    with pytest.raises(TypeError), disk.replacing(path) as file:
        file.write(len(os.fspath(path)))
    assert path.read_text() == "12"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_foreign_bytes_of_a_name_stay_valid_json(tmp_path: Path, disk: Disk) -> None:
    """A file name that is not UTF-8 survives the way through a JSON file."""
    disk.append_line(tmp_path / "a", {"id": "\udcff"})
    assert json.loads((tmp_path / "a").read_text()) == {"id": "\udcff"}


def test_lines_of_several_appenders_stay_whole(tmp_path: Path, disk: Disk) -> None:
    """Writers of one file do not tear each other's lines."""
    path = tmp_path / "deep" / "a"
    appenders = [disk.appender(path) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda a=a, c=c: [a.write(c * 2000 + "\n") for _ in range(50)])
        for a, c in zip(appenders, "abcd", strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for appender in appenders:
        appender.close()
        appender.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 200
    assert all(len(set(line)) == 1 and len(line) == 2000 for line in lines)


def test_half_a_line_spoils_no_other(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a full disk took of a line is closed off before the next line."""
    appender = disk.appender(tmp_path / "a")
    write = os.write

    def half(fd: int, data: bytes) -> int:
        write(fd, data[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        appender.write("first\n")
    monkeypatch.undo()
    appender.write("second\n")
    appender.close()
    assert (tmp_path / "a").read_text() == "fir\nsecond\n"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of descriptors are read from /proc")
def test_data_is_synced_before_what_vouches_for_it(tmp_path: Path, disk: Disk, synced: list[str]) -> None:
    """Markers go after all data, and names of files after their content."""
    disk.write(tmp_path / "marker", "", vouches=True)
    disk.append_line(tmp_path / "data", {})
    disk.write(tmp_path / "gone", "")
    (tmp_path / "gone").unlink()
    assert disk.flush() == []
    here = str(tmp_path)
    assert synced == [f"{here}/data", here, f"{here}/marker", here]
    disk.flush()
    assert len(synced) == 4, "clean files are not synced again"


def test_many_files_are_synced_at_once(tmp_path: Path, disk: Disk, synced: list[str], monkeypatch) -> None:
    """Beyond some number of files the file system is synced, not each file; without that call, each file."""
    if durable._syncfs() is None:
        pytest.skip("no syncfs here")
    for i in range(durable.MANY + 1):
        disk.write(tmp_path / str(i), "")
    (tmp_path / "0").unlink()
    assert disk.flush() == []
    assert synced == []
    monkeypatch.setattr(durable, "_syncfs", lambda: None)
    for i in range(durable.MANY + 1):
        disk.write(tmp_path / str(i), "")
    assert disk.flush() == []
    assert len(synced) == durable.MANY + 2


def test_thread_syncs_and_outlives_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that fails is told, file and all, by the next flush; the thread goes on."""
    failed, went_on = threading.Event(), threading.Event()

    def fsync(fd: int) -> None:
        if failed.is_set():
            went_on.set()
            return
        failed.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    disk = Disk(interval=0.01)
    disk.write(tmp_path / "a", "")
    assert failed.wait(10)
    disk.write(tmp_path / "b", "")
    assert went_on.wait(10)
    (error,) = disk.close()
    assert (error.errno, error.filename) == (errno.EIO, str(tmp_path / "a"))
    assert disk.errors == [error]
    assert disk.close() == []


def test_failed_syncfs_is_told(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot be synced is an error too."""
    monkeypatch.setattr(durable, "_syncfs", lambda: lambda fd: -1)
    monkeypatch.setattr(durable, "MANY", 0)
    disk.write(tmp_path / "a", "")
    (error,) = disk.flush()
    assert error.filename == str(tmp_path / "a")


def test_disk_can_be_used_after_close(tmp_path: Path, disk: Disk, synced: list[str]) -> None:
    """What is written late is synced by the next close."""
    disk.write(tmp_path / "a", "")
    disk.close()
    synced.clear()
    disk.write(tmp_path / "b", "")
    disk.close()
    assert synced[0] == str(tmp_path / "b")


def test_late_write_comes_at_flush_and_may_fail(disk: Disk) -> None:
    """What was put off is written once; an error of it is kept like any other."""
    calls: list[int] = []

    def write() -> None:
        calls.append(1)
        full()

    disk.later(write)
    disk.later(write)
    assert [e.errno for e in disk.flush()] == [errno.ENOSPC]
    assert disk.flush() == []
    assert calls == [1]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
