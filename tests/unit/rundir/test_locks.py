"""Locks of files: had by one, or shared; on the file that others find; and never kept by a forked child."""

from __future__ import annotations

import fcntl
import os
import threading
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.rundir.locks import FileLock, is_locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "锁 $(x)"


@pytest.fixture
def fork() -> Iterator[Callable[[Callable[[], object]], bool]]:
    """A child that does something and stays until the test ends; what is given back is whether that went well."""
    children: list[tuple[int, int]] = []

    def start(work: Callable[[], object]) -> bool:
        told, tell = os.pipe()
        waits, stay = os.pipe()
        child = os.fork()
        if not child:
            os.close(stay)
            try:
                work()
                os.write(tell, b"well")
            finally:
                os.close(tell)
                os.read(waits, 1)
                os._exit(0)
        children.append((child, stay))
        os.close(tell)
        os.close(waits)
        answer = os.read(told, 4)
        os.close(told)
        return answer == b"well"

    yield start
    for child, stay in children:
        os.close(stay)
        os.waitpid(child, 0)


def test_a_lock_is_had_by_one_or_shared(path: Path) -> None:
    """Alone it keeps out everybody, shared only who wants it alone; a second close does nothing."""
    with FileLock(path) as first, FileLock(path) as second:
        assert first.take()
        assert not second.take()
        assert not second.take(shared=True)
        first.close()
        first.close()
        assert second.take(shared=True)
        with FileLock(path) as third:
            assert third.take(shared=True)
            assert not third.take()


def test_it_is_waited_for(path: Path) -> None:
    """For some time, or for as long as it takes."""
    holder = FileLock(path)
    holder.take()
    with FileLock(path) as lock:
        assert not lock.take(wait=0.05, poll=0.001)
        freed = threading.Timer(0.1, holder.close)
        freed.start()
        assert lock.take(wait=None)
        freed.join()


def test_a_copy_of_the_descriptor_keeps_it(path: Path) -> None:
    """That is how a supervisor has the lease of a worker that died."""
    lock = FileLock(path)
    lock.take()
    copy = os.dup(lock.fileno())
    lock.close()
    assert is_locked(path)
    os.close(copy)
    assert not is_locked(path)


@pytest.mark.parametrize("how", ["taken", "opened anew", "shared"])
def test_a_forked_child_keeps_no_lock(path: Path, fork, how: str) -> None:
    """One that outlives its parent's part in the lock holds nobody up."""
    with FileLock(path) as lock:
        if how == "opened anew":
            path.unlink()
        assert lock.take(shared=how == "shared")
        assert fork(lambda: None)
    with FileLock(path) as lock:
        assert lock.take()


def test_a_forked_child_does_not_give_it_back(path: Path, fork) -> None:
    """The lock stays its parent's, whatever the child closes."""
    with FileLock(path) as lock:
        assert lock.take()

        def close() -> None:
            assert not lock.is_open
            lock.close()

        assert fork(close)
        assert is_locked(path)


def test_a_forked_child_takes_locks_of_its_own(path: Path, fork) -> None:
    """What it opens itself is its own."""
    mine: list[FileLock] = []

    def take() -> None:
        mine.append(FileLock(path))
        assert mine[0].take()

    assert fork(take)
    assert is_locked(path)


@pytest.mark.parametrize("wait", [0.0, None])
def test_a_file_removed_before_it_was_locked_is_opened_anew(path: Path, wait: float | None) -> None:
    """A lock counts only on the file that others will find."""
    with FileLock(path) as lock:
        path.unlink()
        assert lock.take(wait=wait)
        assert is_locked(path)
        assert os.path.samestat(path.stat(), os.fstat(lock.fileno()))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(os.mkfifo, id="a pipe"),
        pytest.param(os.mkdir, id="a directory"),
        pytest.param(lambda path: path.symlink_to("elsewhere"), id="a link to nowhere"),
        pytest.param(lambda path: [(path.parent / "file").touch(), path.symlink_to("file")], id="a link to a file"),
    ],
)
@pytest.mark.parametrize("opened", [FileLock, FileLock.with_parents])
def test_what_is_no_plain_file_is_refused(path: Path, make, opened) -> None:
    """Nobody waits for the other end of a pipe, and no link leads to another file."""
    make(path)
    with pytest.raises(OSError, match=r"."):
        opened(path)
    assert not is_locked(path)


def test_a_place_that_is_missing(path: Path) -> None:
    """The directory of a lock is made only where that is wanted, and never to ask."""
    below = path / "a" / "b"
    assert not is_locked(below)
    with pytest.raises(FileNotFoundError):
        FileLock(below)
    assert not path.exists()
    with FileLock.with_parents(below) as lock:
        assert lock.take()
        assert is_locked(below)


def test_a_file_system_without_locks_is_told(path: Path, monkeypatch) -> None:
    """As the system's error; nothing stays open."""

    def no_locks(fd: int, how: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    lock = FileLock(path)
    with pytest.raises(OSError, match="Function not implemented"):
        lock.take()
    assert not lock.is_open
    assert not is_locked(path)
