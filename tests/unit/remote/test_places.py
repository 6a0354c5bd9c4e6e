"""Work directories, and what may be taken away from a board: ours, and nothing that a link leads to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sshd import Sshd, busybox, until

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.faults import BoardError
from pytest_evalrun.remote.places import CACHE, checked, claim, left_behind, remove, work_name


@pytest.fixture(params=["all tools", "busybox"])
def board(request, tmp_path):
    """A board whose shell is this host's, or BusyBox's."""
    path = busybox(tmp_path / "bin") if request.param == "busybox" else None
    with Sshd(tmp_path / "board", path=path) as board:
        yield board


def tree(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


def test_names_are_those_of_task_run():
    """``task_<task>_<dataset>``, with no slash in it."""
    assert work_name("taskA", "dataset1") == "task_taskA_dataset1"
    assert work_name("dir/task A", "it's") == "task_dir_task A_it's"


def test_directory_is_claimed_empty_and_removed(board):
    """A pair gets an empty directory below the resolved home, and takes it away afterwards, whatever is in it."""
    connection = board.connection()
    work = claim(connection, "task_a $(touch x)")
    place = Path(work.path)
    assert place == board.home.resolve() / "task_a $(touch x)"
    assert [path.name for path in place.iterdir()] == [".evalrun-owner"]
    (place / "deep").mkdir()
    (place / "deep" / "file").touch()
    work.remove()
    assert tree(board.home) == []


def test_directory_of_a_live_session_is_not_taken(board):
    """Two sessions with the same pair get two directories; one's own, and a dead one's, are emptied."""
    first, second, third = board.connection(), board.connection(), board.connection()
    mine = claim(first, "task_a")
    (Path(mine.path) / "mine").touch()
    assert claim(second, "task_a").name == "task_a_2"
    assert claim(third, "task_a").name == "task_a_3"
    assert (Path(mine.path) / "mine").exists()
    assert claim(first, "task_a").name == "task_a"
    assert not (Path(mine.path) / "mine").exists()
    first.close()
    until(lambda: not Path(first._watchdog.directory).exists())
    assert left_behind(second) == ["task_a"]
    assert claim(second, "task_a").name == "task_a"
    assert left_behind(second) == []


def test_directory_that_somebody_else_has_by_now_is_left_alone(board):
    """After a lost link another session may have claimed it: it is not ours to remove any more."""
    first, second = board.connection(), board.connection()
    mine = claim(first, "task_a_b")
    first.close()
    until(lambda: claim(second, "task_a_b").name == "task_a_b")
    first.connect()
    mine.remove()
    assert (board.home / "task_a_b").is_dir()
    claim(second, "task_a_b").remove()
    assert not (board.home / "task_a_b").exists()


def test_what_was_left_is_listed(board):
    """Work directories that no live session has are told, with odd names too; other files are not."""
    for name in ("task_a b", "task_$(x)", "other"):
        (board.home / name).mkdir()
    (board.home / "task_link").symlink_to("/etc")
    assert sorted(left_behind(board.connection())) == ["task_$(x)", "task_a b", "task_link"]


def test_home_may_be_a_link(tmp_path):
    """A home that is a link, or a REMOTE_TASK_HOME that is one, is resolved once; below it all works."""
    with Sshd(tmp_path / "board") as board:
        real = tmp_path / "real"
        real.mkdir()
        (tmp_path / "link").symlink_to(real)
        connection = board.connection(home=str(tmp_path / "link"))
        work = claim(connection, "task_a")
        assert work.path == f"{real}/task_a"
        work.remove()
        assert tree(real) == []


def test_home_that_is_not_there(board):
    """A REMOTE_TASK_HOME that the board does not have is told by its name."""
    with pytest.raises(BoardError, match="entering /no/such failed"):
        claim(board.connection(home="/no/such"), "task_a")


def test_links_are_removed_and_not_followed(board, tmp_path):
    """A link among what is removed goes; what it leads to stays."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (board.home / "task_link").symlink_to(precious)
    (board.home / "task_dir").mkdir()
    (board.home / "task_dir" / "link").symlink_to(precious)
    connection = board.connection()
    remove(connection, "task_link")
    remove(connection, "task_dir")
    assert tree(board.home) == []
    assert (precious / "file").exists()
    (board.home / "task_a").symlink_to(precious)
    claim(connection, "task_a").remove()
    assert tree(board.home) == []
    assert (precious / "file").exists()


def test_cache_behind_a_link_is_not_emptied(board, tmp_path):
    """A model cache that is a link leads out of the home: nothing in it is removed; the link itself may go."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "model").touch()
    (board.home / CACHE).symlink_to(precious)
    connection = board.connection()
    with pytest.raises(BoardError, match="a link leads out"):
        remove(connection, f"{CACHE}/model")
    remove(connection, CACHE)
    assert (precious / "model").exists()
    assert tree(board.home) == []


def test_what_is_gone_is_no_error(board):
    """Removing twice, or without a cache, does nothing."""
    for name in ("task_x", CACHE, f"{CACHE}/x"):
        remove(board.connection(), name)
    assert tree(board.home) == []


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", ".", "..", "task_", "x", "/task_a", "task_a/..", "task_a/b", "../task_a", ".model_cache/..", ".ssh"),
        *(".model_cache/", ".model_cache/a/b", ".model_cache/.", "task_a\nb", "~", "task_a\0", ".model_cachex", "*"),
    ],
)
def test_other_names_are_refused_here(board, name):
    """Nothing but work directories and the cache can even be named."""
    with pytest.raises(ConfigError, match="only task_"):
        remove(board.connection(), name)


@pytest.mark.parametrize(
    "name", ["/", ".", "..", "task_a/../..", "../x", ".ssh", ".model_cache/..", ".model_cache/a/b"]
)
def test_other_names_are_refused_there(board, name, monkeypatch):
    """The board checks once more: even a name that came through by our mistake removes nothing."""
    (board.home / ".ssh").mkdir()
    (board.home / CACHE / "a" / "b").mkdir(parents=True)
    (board.home / "task_a").mkdir()
    before = tree(board.home)
    monkeypatch.setattr("pytest_evalrun.remote.places.checked", lambda name: name)
    with pytest.raises(BoardError):
        remove(board.connection(), name)
    assert tree(board.home) == before


@given(st.text())
def test_what_may_be_removed_stays_below(name):
    """No text that is accepted leads out of the home."""
    try:
        checked(name)
    except ConfigError:
        return
    assert os.path.normpath(f"/home/{name}").startswith(("/home/task_", f"/home/{CACHE}"))
