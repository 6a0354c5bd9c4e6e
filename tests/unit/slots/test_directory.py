"""The directory of locks: open to all users of a host, and safe among them; real files, real kernel locks."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.slots.directory import DEFAULT, Holder, LeaseDirectory, _make

NAME = "GPU-x.lock"
NOBODY = 65534


@pytest.fixture
def place(tmp_path):
    return tmp_path / "slots"


@pytest.fixture
def directory(place):
    return LeaseDirectory(place)


@pytest.fixture
def strict_umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


def give_back(*locks):
    for lock in locks:
        lock.close()


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


def test_directory_is_open_to_all(place, strict_umask):
    """Whatever the umask, all users may make lock files in the directory and use those of others."""
    directory = LeaseDirectory(place)
    locks = directory.take("GPU-x", 2, 0)
    assert mode(place) == 0o1777
    assert {mode(place / "GPU-x.lock"), mode(place / "GPU-x.0")} == {0o666}
    give_back(*locks)


def test_place_is_told_by_the_environment(monkeypatch, tmp_path):
    """EVALRUN_SLOTS_DIR moves the directory; parents are made."""
    monkeypatch.setenv("EVALRUN_SLOTS_DIR", str(tmp_path / "a" / "b"))
    assert LeaseDirectory().path == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    assert str(DEFAULT) == "/tmp/pytest-evalrun-slots"


def test_directory_made_by_many_at_once(place):
    """However many processes come first together, they end up in one directory."""
    barrier = threading.Barrier(8)
    errors = []

    def make():
        barrier.wait()
        try:
            LeaseDirectory(place)
        except ConfigError as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [path.name for path in place.parent.iterdir()] == ["slots"]


def test_directory_that_was_made_meanwhile_is_used(directory):
    """Who comes second, when the first has locks there already, leaves them as they are and no trace of its own."""
    give_back(*directory.take("GPU-x", 1, 0))
    _make(directory.path)
    assert (directory.path / NAME).exists()
    assert [path.name for path in directory.path.parent.iterdir()] == ["slots"]


def test_directory_closed_to_us_is_told(directory, monkeypatch):
    """Where we may not make lock files, mode and other place are named."""
    monkeypatch.setattr(os, "access", lambda path, how: False)
    with pytest.raises(ConfigError, match="you may not make lock files in it; have it made 1777, or choose another"):
        LeaseDirectory(directory.path)


def test_planted_link_is_no_directory(place, tmp_path):
    """A symbolic link in place of the directory is refused, wherever it leads."""
    (tmp_path / "elsewhere").mkdir()
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"is a symbolic link.*EVALRUN_SLOTS_DIR"):
        LeaseDirectory(place)
    place.unlink()
    place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="is a symbolic link"):
        LeaseDirectory(place)


def test_file_is_no_directory(place):
    """A file in place of the directory, or of its parent, is refused."""
    place.write_text("")
    with pytest.raises(ConfigError, match="is no directory"):
        LeaseDirectory(place)
    with pytest.raises(ConfigError, match="cannot be made: Not a directory"):
        LeaseDirectory(place / "below" / "it")


@pytest.mark.parametrize("bits", [0o777, 0o770, 0o703])
def test_directory_where_others_may_replace_files_is_refused(place, bits):
    """Who may remove a lock file can give one GPU twice: without the sticky bit nobody else may write there."""
    place.mkdir()
    place.chmod(bits)
    with pytest.raises(ConfigError, match=f"mode 0{bits:o}.*chmod 1777"):
        LeaseDirectory(place)


@pytest.fixture
def give_away(monkeypatch):
    """Makes something another user's; who may not do that becomes another user himself."""

    def give(path):
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: NOBODY)

    return give


@pytest.mark.parametrize("bits", [0o755, 0o700, 0o777])
def test_directory_of_another_user_is_refused(place, give_away, bits):
    """He may replace the lock files of all: only root's, our own, and a sticky one are trusted."""
    place.mkdir()
    place.chmod(bits)
    give_away(place)
    with pytest.raises(ConfigError, match=r"belongs to user \d+, who may replace.*made 1777.*EVALRUN_SLOTS_DIR"):
        LeaseDirectory(place)
    place.chmod(0o1777)
    assert not LeaseDirectory(place).is_held(NAME)


def test_lock_file_is_its_holders(directory, give_away):
    """One that another user made is made anew before it is ours, and only when nobody has it."""
    other = directory.lock(NAME)
    give_away(directory.path / NAME)
    assert directory.lock(NAME) is None
    give_back(other)
    before = (directory.path / NAME).stat().st_ino
    keeper = os.open(directory.path / NAME, os.O_RDONLY)  # so that its number is not used again
    locks = directory.take("GPU-x", 1, 0)
    assert (directory.path / NAME).stat().st_ino != before
    assert directory.is_held(NAME)
    give_back(*locks)
    os.close(keeper)


def test_lock_file_of_another_user_that_must_stay_is_a_lock(directory, give_away, monkeypatch):
    """In a sticky directory only he may remove it: the kernel's lock on it counts all the same."""

    def refused(path, **_):
        raise PermissionError(1, "Operation not permitted")

    give_back(directory.lock(NAME))
    give_away(directory.path / NAME)
    monkeypatch.setattr(Path, "unlink", refused)
    locks = directory.take("GPU-x", 1, 0)
    assert directory.is_held(NAME)
    give_back(*locks)


def test_private_directory_will_do(place):
    """Who shares with nobody may keep the directory to himself."""
    place.mkdir(0o700)
    place.chmod(0o700)
    assert not LeaseDirectory(place).is_held(NAME)
    assert mode(place) == 0o700


def test_lock_is_had_once(directory):
    """An exclusive lock is had by one, a shared one by many, until the last descriptor is closed."""
    first = directory.lock(NAME)
    assert directory.lock(NAME, shared=True) is None
    copy = os.dup(first.fileno())
    give_back(first)
    assert directory.is_held(NAME)
    os.close(copy)
    shared = [directory.lock(NAME, shared=True) for _ in range(2)]
    assert None not in shared
    assert directory.lock(NAME) is None
    give_back(*shared)
    assert not directory.is_held(NAME)


def test_shared_gpu_has_so_many_places(directory):
    """A GPU is had alone, or by as many at once as each of them allows."""
    alone = directory.take("GPU-x", 1, 0)
    assert directory.take("GPU-x", 2, 0) == ()
    give_back(*alone)
    pairs = [directory.take("GPU-x", 2, 0) for _ in range(2)]
    assert all(len(locks) == 2 for locks in pairs)
    assert directory.take("GPU-x", 2, 0) == ()
    assert directory.take("GPU-x", 1, 0) == ()
    third = directory.take("GPU-x", 3, 0)
    assert len(third) == 2
    give_back(*pairs[0], *pairs[1], *third)
    assert directory.holders("GPU-x") == ()


def test_holders_are_told(directory):
    """A lock file says who has the lease, since when and with how much memory; nobody has what is not locked."""
    locks = directory.take("GPU-x", 1, 40)
    (holder,) = directory.holders("GPU-x")
    assert (holder.pid, holder.user) == (os.getpid(), pwd.getpwuid(os.geteuid()).pw_name)
    assert holder.memory == 40
    assert datetime.now(UTC) - holder.since < timedelta(minutes=5)
    give_back(*locks)
    assert directory.holders("GPU-x") == ()
    shared = [directory.take("GPU-x", 3, memory) for memory in (1, 2)]
    assert [holder.memory for holder in directory.holders("GPU-x")] == [1, 2]
    give_back(*shared[0], *shared[1])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"[" * 900,
        b'{"pid": "x", "user": "a", "since": "2026-01-01", "memory": 0}',
        b'{"pid": 1, "user": "a", "since": "today", "memory": 0}',
        b'{"pid": Infinity, "user": "a", "since": "2026-01-01", "memory": 0}',
    ],
)
def test_lock_file_that_says_nothing_is_held_all_the_same(directory, text):
    """What is written in a lock file never matters to who has it."""
    locks = directory.take("GPU-x", 1, 0)
    (directory.path / NAME).write_bytes(text)
    assert directory.holders("GPU-x") == (Holder(0, "", None),)
    assert str(Holder(0, "", None)) == "another process"
    give_back(*locks)


def test_lock_file_cannot_play_with_the_terminal(directory):
    """Of what others wrote a person sees a number, a plain word and a time; absurd amounts do not count."""
    locks = directory.take("GPU-x", 1, 0)
    lie = {"pid": 7, "user": "\x1b[2Jann\n" + "x" * 100, "since": "2026-01-02T03:04:05+00:00", "memory": float("nan")}
    (directory.path / NAME).write_text(json.dumps(lie))
    (holder,) = directory.holders("GPU-x")
    assert (holder.user, holder.memory) == ("??2Jann?" + "x" * 24, 0)
    assert str(holder).startswith("process 7 of ??2Jann?")
    assert "(since 2026-01-0" in str(holder)
    give_back(*locks)


def test_holder_in_words():
    """A lease of today is told with the time alone."""
    now = datetime.now(UTC)
    assert str(Holder(123, "ann", now)) == f"process 123 of ann (since {now.astimezone():%H:%M})"


def test_planted_link_is_not_followed(directory, tmp_path):
    """A symbolic link in place of a lock file is refused by name, and what it leads to stays as it is."""
    victim = tmp_path / "victim"
    (directory.path / NAME).symlink_to(victim)
    with pytest.raises(ConfigError, match=rf"{NAME}: cannot be used as a lock: it is a symbolic link; remove it"):
        directory.take("GPU-x", 1, 0)
    assert not victim.exists()


def test_second_name_of_a_file_is_not_written(directory, tmp_path):
    """A hard link in place of a lock file could be any file of ours: it is refused and not written."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.link(victim, directory.path / NAME)
    with pytest.raises(ConfigError, match="it is no plain file with one name"):
        directory.take("GPU-x", 1, 0)
    assert victim.read_text() == "precious"


def test_pipe_holds_nobody_up(directory):
    """A named pipe in place of a lock file is refused, not waited for."""
    os.mkfifo(directory.path / NAME)
    with pytest.raises(ConfigError, match="it is no plain file"):
        directory.take("GPU-x", 1, 0)


def test_file_that_was_tidied_away_is_made_again(directory):
    """A lock counts only on the file that others will find; a directory that is gone is made again."""
    (directory.path / NAME).touch()
    old = os.open(directory.path / NAME, os.O_RDWR)
    fcntl.flock(old, fcntl.LOCK_EX)
    assert directory.is_held(NAME)
    (directory.path / NAME).unlink()
    assert not directory.is_held(NAME)
    os.close(old)
    shutil.rmtree(directory.path)
    assert not directory.is_held(NAME)
    assert mode(directory.path) == 0o1777


def test_file_of_another_user_is_opened_as_it_is(directory, monkeypatch):
    """A file that exists is never asked to be created: kernels refuse that to others in a directory like this."""
    plain = os.open

    def protected(path, flags, *rest):
        if flags & os.O_CREAT and os.path.lexists(path):
            raise PermissionError(13, "fs.protected_regular")
        return plain(path, flags, *rest)

    monkeypatch.setattr(os, "open", protected)
    for _ in range(2):
        give_back(*directory.take("GPU-x", 1, 0))


def test_file_that_may_only_be_read_is_a_lock_all_the_same(directory, monkeypatch):
    """Who may not write a lock file can hold it; only messages are poorer."""
    plain = os.open

    def closed(path, flags, *rest):
        if flags & os.O_RDWR and not flags & os.O_CREAT:
            raise FileNotFoundError if not os.path.lexists(path) else PermissionError
        return plain(path, flags, *rest)

    give_back(*directory.take("GPU-x", 1, 0))
    (directory.path / NAME).write_text("")
    monkeypatch.setattr(os, "open", closed)
    locks = directory.take("GPU-x", 1, 0)
    assert directory.holders("GPU-x") == (Holder(0, "", None),)
    give_back(*locks)


def test_file_that_may_not_be_opened_is_told(directory, monkeypatch):
    """A lock file closed to us for good names itself and the remedy."""

    def closed(path, flags, *rest):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(ConfigError, match=f"{NAME}: cannot be opened: Permission denied; remove it"):
        directory.lock(NAME)


def test_file_that_another_process_makes_first_is_used(directory, monkeypatch):
    """Of two that make one lock file at once, the second opens what the first made."""
    plain = os.open
    made = []

    def second(path, flags, *rest):
        if flags & os.O_CREAT and not made:
            made.append(path)
            path.touch()
        return plain(path, flags, *rest)

    monkeypatch.setattr(os, "open", second)
    give_back(*directory.take("GPU-x", 1, 0))
    assert made == [directory.path / NAME]


def test_user_without_a_name_is_a_number(directory, monkeypatch):
    """In a container a user may have no entry in the password file."""

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    locks = directory.take("GPU-x", 1, 0)
    assert [holder.user for holder in directory.holders("GPU-x")] == [str(os.geteuid())]
    give_back(*locks)


@pytest.mark.parametrize("replaced", [True, False])
def test_file_removed_between_open_and_lock_is_not_ours(directory, monkeypatch, replaced):
    """Who locked a file that was removed meanwhile tries again with the new one."""
    flock = fcntl.flock
    opened = []

    def replaced_first(fd, how):
        if not opened:
            (directory.path / NAME).unlink()
            if replaced:
                (directory.path / NAME).touch()
        opened.append(os.fstat(fd).st_ino)
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", replaced_first)
    lock = directory.lock(NAME)
    assert os.fstat(lock.fileno()).st_ino == (directory.path / NAME).stat().st_ino
    assert len(opened) == 2
    give_back(lock)


def test_courtesy_is_not_waited_for_long(directory):
    """A process that was stopped while it chose holds the others up for a moment only."""
    with directory.choosing(), directory.choosing():
        locks = directory.take("GPU-x", 1, 0)
        give_back(*locks)


def test_lock_that_cannot_be_had_is_told(directory, monkeypatch):
    """A file system without locks is the configuration's fault, and the remedy is named."""

    def no_locks(fd, how):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(ConfigError, match="cannot be locked: Function not implemented; choose another directory"):
        directory.lock(NAME)


def test_two_users_share_a_host(host):
    """Whoever came first, leases of one user are respected by the other: the modes let both in, and root tries it."""
    place = Path(tempfile.mkdtemp(prefix="evalrun-users-"))  # pytest's own directories are closed to other users
    try:
        place.chmod(0o755)
        shared = place / "slots"
        host.nvml.state = place / "nvml.txt"
        host.nvml.gpus(80)
        host.nvml.state.chmod(0o644)
        host.slots = shared
        first = host.start()
        assert first.do("take(1)") == ["0"]
        modes = {mode(path) for path in shared.iterdir()}
        assert (mode(shared), modes) == (0o1777, {0o666})
        other = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
        second = host.start(AS_USER=str(other)) if other != os.geteuid() else host.start()
        assert second.do("os.geteuid()") == other
        respects_each_other(first, second)
        second.kill()  # another user has nowhere to write what it ran through
    finally:
        shutil.rmtree(place)


def respects_each_other(first, second) -> None:
    assert second.do("take(1)") is None
    assert first.do("release()") is None
    assert second.do("take(1, 0, 2)") == ["0"]
    assert first.do("take(1)") is None
    assert first.do("take(1, 0, 2)") == ["0"]
    user = second.do("__import__('pwd').getpwuid(os.geteuid()).pw_name")
    assert f"process {second.pid} of {user} (since " in first.do("waiting_words()")
