"""Files to boards of all kinds and back: whole or not at all, whatever happens on the way."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from pathlib import Path

import pytest
from sshd import Sshd, only, tool, until

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.faults import ArrivedWrong, BoardError, LinkLost
from pytest_evalrun.remote.tarstream import TarEntry
from pytest_evalrun.remote.transfer import Moved, download, upload, upload_file

ODD = ["plain", "with blank", "it's", "$(touch x)", "back\\slash", "é" * 80, "-n", "sub/dir/deep", ".hidden", "a*b"]


def files(place: Path, names=ODD, size=3000) -> list[TarEntry]:
    entries = []
    for number, name in enumerate(names):
        path = place / "files" / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size + number))
        entries.append(TarEntry(path, name))
    return entries


def content(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def sent(entries) -> dict[str, bytes]:
    return {entry.name: entry.path.read_bytes() for entry in entries}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_batches_go_and_come_back_whole(any_board, tmp_path):
    """Names of any kind go to boards with any tools, and come back; nothing but them is there."""
    entries = files(tmp_path)
    connection = any_board.connection()
    size = sum(entry.path.stat().st_size for entry in entries)
    assert upload(connection, entries, f"{any_board.home}/task_x/in 1") == Moved(len(entries), size)
    assert content(any_board.home) == {f"task_x/in 1/{name}": data for name, data in sent(entries).items()}
    assert download(connection, f"{any_board.home}/task_x/in 1", tmp_path / "out") == Moved(len(entries), size)
    assert content(tmp_path / "out") == sent(entries)
    assert sorted(path.name for path in tmp_path.glob("out/.*")) == [".hidden"]


def test_large_file_goes_whole(any_board, tmp_path):
    """One file, checked against the hash that it shall have."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(3_000_001))
    target = f"{any_board.home}/.model_cache/it's a $(touch x)"
    assert upload_file(any_board.connection(), path, target, digest(path)) == Moved(1, 3_000_001)
    assert content(any_board.home) == {".model_cache/it's a $(touch x)": path.read_bytes()}


def test_newer_batch_takes_the_place_of_an_older_one(any_board, tmp_path):
    """A directory is replaced as a whole: no file of the batch before stays."""
    connection = any_board.connection()
    upload(connection, files(tmp_path, ["old", "both"]), f"{any_board.home}/task_x/in")
    newer = files(tmp_path, ["new", "both"])
    upload(connection, newer, f"{any_board.home}/task_x/in")
    assert content(any_board.home / "task_x/in") == sent(newer)


def test_a_directory_is_made_empty_beside_it(any_board, tmp_path):
    """Whether it was there or not: what a program wrote for the batch before is not its answer to this one."""
    (tmp_path / "a").write_text("new")
    out = any_board.home / "out $(x) é"
    for _ in range(2):
        upload(any_board.connection(), [TarEntry(tmp_path / "a", "a")], str(any_board.home / "task_batch"), str(out))
        assert list(out.iterdir()) == []
        (out / "answers.csv").write_text("old")


def test_download_replaces_files_and_leaves_others(board, tmp_path):
    """What came back stands in place of the older files of the same names; others are not touched."""
    upload(board.connection(), files(tmp_path, ["a", "sub/b"]), f"{board.home}/task_x")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("older")
    (out / "mine").write_text("mine")
    download(board.connection(), f"{board.home}/task_x", out)
    assert sorted(content(out)) == ["a", "mine", "sub/b"]
    assert (out / "a").stat().st_size == 3000


def test_no_files_are_a_batch_too(any_board, tmp_path):
    """Nothing goes over as nothing, and comes back so."""
    assert upload(any_board.connection(), [], f"{any_board.home}/task_x") == Moved(0, 0)
    assert download(any_board.connection(), f"{any_board.home}/task_x", tmp_path / "out") == Moved(0, 0)


def test_what_is_not_there_cannot_be_fetched(any_board, tmp_path):
    """A directory that does not exist on the board is told by its name, and nothing is left here."""
    with pytest.raises(BoardError, match="no-such"):
        download(any_board.connection(), f"{any_board.home}/no-such", tmp_path / "out")
    assert content(tmp_path / "out") == {}
    assert not list((tmp_path / "out").iterdir())


def test_links_of_a_board_are_not_followed(board, tmp_path):
    """A link that a program left stays there, wherever it leads: nothing outside is read or written."""
    (board.home / "out").mkdir()
    (board.home / "out" / "x").symlink_to("/etc/passwd")
    (board.home / "out" / "y").write_text("plain")
    download(board.connection(), f"{board.home}/out", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["y"]


def test_hard_links_of_a_board_are_refused(board, tmp_path):
    """At once, however much would follow, and with nothing of it here."""
    (board.home / "out").mkdir()
    (board.home / "out" / "x").write_text("plain")
    (board.home / "out" / "y").hardlink_to(board.home / "out" / "x")
    with (board.home / "out" / "z").open("wb") as file:
        file.truncate(50 << 20)  # more than fits into what is under way
    with pytest.raises(BoardError, match="a hard link"):
        download(board.connection(), f"{board.home}/out", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["../x", "/x", "a\nb"])
def test_names_that_leave_are_refused(board, tmp_path, name):
    """No file of a batch can be written beside it."""
    entry = TarEntry(files(tmp_path, ["a"])[0].path, name)
    with pytest.raises(ConfigError):
        upload(board.connection(), [entry], f"{board.home}/task_x")


def broken(tmp_path, name: str, script: str) -> str:
    """A PATH in which one program is another."""
    names = "sh tar cat rm mkdir mv find sort sed grep head tee sha256sum wc df cut sleep true stat uname ls".split()
    path = only(tmp_path / "bin", tuple(set(names) - {name}))
    (tmp_path / "bin" / name).write_text(f"#!/bin/sh\nreal={tool(name)}\n{script}\n")
    (tmp_path / "bin" / name).chmod(0o755)
    return path


def test_batch_that_arrives_changed_is_thrown_away(tmp_path):
    """A board that writes something else than it was sent is found out, and nobody sees what it wrote."""
    entries = files(tmp_path, ["a", "b"])
    path = broken(tmp_path, "tar", '"$real" "$@"; rc=$?; [ -f b ] && echo x >> b; exit $rc')
    with Sshd(tmp_path / "board", path=path) as board:
        with pytest.raises(ArrivedWrong, match=r"files arrived changed: ./b: FAILED"):
            upload(board.connection(), entries, f"{board.home}/task_x")
        assert not (board.home / "task_x").exists()


def test_file_that_arrives_changed_is_thrown_away(tmp_path):
    """Likewise a single file; and one that is changed here while it is sent."""
    path = tmp_path / "large"
    path.write_bytes(bytes(1000))
    with Sshd(tmp_path / "board") as board:
        with pytest.raises(ArrivedWrong, match="did not arrive as it was"):
            upload_file(board.connection(), path, f"{board.home}/x", "0" * 64)
        assert list(board.home.iterdir()) == []


def test_batch_that_is_sent_changed_is_found_out_by_boards_that_make_hashes_late(tmp_path):
    """A board that sends back something else than it has is found out."""
    path = broken(tmp_path, "tar", 'case $1 in -cf) echo x >> b ;; esac 2>/dev/null; exec "$real" "$@"')
    with Sshd(tmp_path / "board", path=path) as board:
        (board.home / "out").mkdir()
        for name in "ab":
            (board.home / "out" / name).write_bytes(bytes(50_000_000 if name == "a" else 10))
        error = failure(lambda: download(board.connection(), f"{board.home}/out", tmp_path / "out"))
        # Where the hash was made after the change, that is what the board has.
        if error is None:
            assert (tmp_path / "out" / "b").read_bytes() == (board.home / "out" / "b").read_bytes()
        else:
            assert "came back changed: b" in str(error)


def failure(call):
    try:
        call()
    except ArrivedWrong as error:
        return error
    return None


@pytest.mark.parametrize("after", [100_000, 1_500_000, 2_900_000])
def test_upload_that_is_cut_off_leaves_nothing_to_be_seen(board, relay, tmp_path, after):
    """A link lost in the middle of a file or a batch: the old content stays, and trying again succeeds."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(3_000_000))
    target = board.home / "model"
    target.write_bytes(b"old")
    connection = board.connection(port=relay.port)
    connection.connect()
    relay.cut_after(after)
    with pytest.raises(LinkLost):
        upload_file(connection, path, str(target), digest(path))
    assert target.read_bytes() == b"old"
    upload_file(connection, path, str(target), digest(path))
    assert target.read_bytes() == path.read_bytes()
    entries = files(tmp_path, [str(number) for number in range(30)], size=100_000)
    relay.cut_after(after)
    with pytest.raises(LinkLost):
        upload(connection, entries, f"{board.home}/task_x")
    assert not (board.home / "task_x").exists()
    upload(connection, entries, f"{board.home}/task_x")
    assert content(board.home / "task_x") == sent(entries)


def test_download_that_is_cut_off_leaves_nothing_to_be_seen(board, tmp_path):
    """A link lost on the way back: no file of the batch is there."""
    (board.home / "out").mkdir()
    (board.home / "out" / "a").write_bytes(bytes(200_000_000))
    connection = board.connection()
    connection.connect()
    out = tmp_path / "out"
    killer = threading.Thread(target=lambda: (until(lambda: list(out.glob(".evalrun-*/a"))), board.kill_sessions()))
    killer.start()
    with pytest.raises(LinkLost):
        download(connection, f"{board.home}/out", out)
    killer.join()
    assert list(out.iterdir()) == []


def test_directory_that_cannot_be_written(board, tmp_path):
    """A board that refuses says so in its own words, and how much is free."""
    (board.home / "file").write_text("")
    with pytest.raises(BoardError, match=r"writing .* failed: .*MB are free there|unknown"):
        upload(board.connection(), files(tmp_path, ["a"]), f"{board.home}/file/task_x")


def test_many_batches_one_after_the_other(board, tmp_path):
    """tar's blocks match on both sides: no batch, of whatever size, ends with its channel torn."""
    connection = board.connection()
    for number in range(24):
        entries = files(tmp_path, [str(each) for each in range(number % 5 + 1)], size=number * 1777)
        upload(connection, entries, f"{board.home}/task_x")
        assert content(board.home / "task_x") == sent(entries)
    assert connection.connects == 1


if os.geteuid() == 0 and Path("/proc").exists():

    @pytest.fixture
    def small_disk(tmp_path):
        """A directory on a disk of 2 MB."""
        place = tmp_path / "small"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], check=True)
        yield place
        subprocess.run(["umount", "-l", str(place)], check=True)

    @pytest.mark.parametrize("tar", [True, False])
    def test_full_disk_is_told_and_leaves_nothing(small_disk, tmp_path, tar):
        """A disk that is full is the board's error, in its words, with what is free; nothing of the upload is left."""
        from sshd import busybox

        path = None if tar else busybox(tmp_path / "bin", ("tar",))
        entries = files(tmp_path, ["a", "b", "c"], size=1_500_000)
        with Sshd(tmp_path / "board", path=path) as board:
            connection = board.connection()
            with pytest.raises(BoardError):
                upload(connection, entries, f"{small_disk}/task_x")
            with pytest.raises(BoardError, match=r"[Nn]o space left on device.*MB are free there|cannot be written"):
                large = tmp_path / "large"
                large.write_bytes(bytes(5_000_000))
                upload_file(connection, large, f"{small_disk}/model", digest(large))
            assert list(small_disk.iterdir()) == []
            assert connection.connects == 1
