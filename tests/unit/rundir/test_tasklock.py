"""The lock of the task list: where the seed put it, and trusted only as far as it is ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir import tasklock
from pytest_evalrun.rundir.tasklock import TaskListLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534
HOLDER = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"


@pytest.fixture
def temp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory that is open to all users, as /tmp is."""
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    shutil.rmtree(place)


@pytest.fixture
def by_another(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Does something as another user; who is not root does it himself, and is another user from then on."""

    def do(work: Callable[[], object]) -> None:
        if os.geteuid() != 0:
            work()
            monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
            return
        child = os.fork()
        if child == 0:
            os.setuid(NOBODY)
            os.umask(0)
            work()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

    return do


def test_lock_lies_where_the_seed_put_it(temp: Path) -> None:
    """The lock file is named after the work directory, closed to others, and goes when the session ends."""
    lock = TaskListLock(Path("/some/where"))
    assert lock.path == temp / "task_locks_6611a274397349dcb117eb47063762cb" / "task_list.lock"
    before = os.umask(0)
    try:
        with lock:
            assert (lock.directory.stat().st_mode & 0o777, lock.path.stat().st_mode & 0o777) == (0o700, 0o600)
    finally:
        os.umask(before)
    with lock:
        assert lock.path.exists()
    lock.cleanup()
    assert not lock.directory.exists()
    lock.cleanup()


def test_directory_of_others_stays(temp: Path, tmp_path: Path) -> None:
    """A lock directory with another file in it is left where it is."""
    lock = TaskListLock(tmp_path)
    with lock:
        (lock.directory / "other").touch()
    lock.cleanup()
    assert [path.name for path in lock.directory.iterdir()] == ["other"]


def test_held_lock_is_an_error_after_a_while(temp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process on the lock is waited for, then named by its file; its lock is never removed."""
    monkeypatch.setattr(tasklock, "LOCK_TIMEOUT", 0.1)
    lock = TaskListLock(tmp_path)
    with lock:
        pass
    argv = [sys.executable, "-c", HOLDER, str(lock.path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(ConfigError, match=r"task_list\.lock: another process holds"), lock:
            pass
        lock.cleanup()
        assert lock.path.exists()
        child.kill()
    with lock:
        pass


def test_file_that_was_tidied_away_meanwhile_is_no_lock(temp: Path, tmp_path: Path) -> None:
    """Whoever cleans up while another one waits leaves no lock on a file that nobody else finds."""
    first, second = TaskListLock(tmp_path), TaskListLock(tmp_path)
    second._open()
    first.cleanup()
    with first:
        assert not second._try()
    with second:
        assert not first._try()


def of_a_link(place: Path, victims: Path) -> None:
    place.symlink_to(victims)


def of_a_dangling_link(place: Path, victims: Path) -> None:
    place.symlink_to(victims / "nowhere")


def of_a_file(place: Path, victims: Path) -> None:
    place.write_text("")


def of_a_directory(place: Path, victims: Path) -> None:
    place.mkdir(0o777)


def of_a_link_in_a_directory(place: Path, victims: Path) -> None:
    place.mkdir(0o777)
    (place / "task_list.lock").symlink_to(victims / "task_list.lock")


def of_a_pipe_in_a_directory(place: Path, victims: Path) -> None:
    place.mkdir(0o777)
    os.mkfifo(place / "task_list.lock")


PLANTS = [
    of_a_link,
    of_a_dangling_link,
    of_a_file,
    of_a_directory,
    of_a_link_in_a_directory,
    of_a_pipe_in_a_directory,
]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_what_another_user_has_put_there_is_left_alone(temp, by_another, tmp_path, plant) -> None:
    """No link of his is followed, nothing is written or removed: the lock is had elsewhere, which is told once."""
    victims = tmp_path / "victims"
    victims.mkdir()
    (victims / "task_list.lock").write_text("precious")
    (victims / "task_list.lock").chmod(0o600)
    said: list[str] = []
    lock, other = TaskListLock(tmp_path, said.append), TaskListLock(tmp_path)
    by_another(lambda: plant(lock.directory, victims))
    planted = sorted((path, path.lstat()[:7]) for path in temp.rglob("*"))  # but for the time of the last access
    for _ in range(2):
        with lock:
            assert not other._try()
    with other:
        assert not lock._try()
    lock.cleanup()
    (line,) = said
    assert f"{lock.directory} is not trusted" in line
    assert sorted((path, path.lstat()[:7]) for path in temp.rglob("*")) == planted
    assert (victims / "task_list.lock").read_text() == "precious"
    assert (victims / "task_list.lock").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["victims"]


def test_our_own_directory_is_closed(temp: Path, tmp_path: Path) -> None:
    """One of ours that was open to others is used once it is not any more; what they may have put there is not."""
    said: list[str] = []
    lock = TaskListLock(tmp_path, said.append)
    lock.directory.mkdir()
    lock.directory.chmod(0o777)
    with lock:
        assert lock.path.parent == lock.directory
        assert lock.directory.stat().st_mode & 0o777 == 0o700
    assert said == []
    lock.path.unlink()
    lock.path.symlink_to(tmp_path / "victim")
    with lock:
        assert lock.path.parent == tmp_path
    assert not (tmp_path / "victim").exists()
    assert len(said) == 1


def test_place_that_cannot_be_locked_at_all_is_named(temp: Path, tmp_path: Path) -> None:
    """Where neither place will do, the error names the file."""
    lock = TaskListLock(tmp_path / "nowhere")
    lock.directory.touch()
    with pytest.raises(ConfigError, match=r"nowhere/task_list\.lock: cannot lock the task list"), lock:
        pass
