"""Clean on boards: what goes has the names of the run's own manifest, and nobody who lives uses it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sshd import ME, Sshd, busybox, free_port, until

from pytest_evalrun.control.remote import clean_boards, plan_boards
from pytest_evalrun.control.selection import selected
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.models import ModelCache
from pytest_evalrun.remote.places import CACHE, claim
from pytest_evalrun.suite.devices import DeviceSpec

WORK = ("task_a_one", "task_b_one")
MODELS = ("a_model.onnx", "b_model.onnx")


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch, tmp_path):
    """Neither the agent nor the keys of whoever runs the tests open a door."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(params=["all tools", "busybox"])
def any_board(request, tmp_path):
    path = busybox(tmp_path / "bin") if request.param == "busybox" else None
    with Sshd(tmp_path / "board", path=path) as board:
        yield board


@pytest.fixture
def board(tmp_path):
    with Sshd(tmp_path / "board") as board:
        yield board


def spec_of(board, name="b1", **more):
    known = str(board.known_hosts)
    given = {"user": ME, "port": board.port, "identity_file": (str(board.key),), "known_hosts": known}
    return DeviceSpec(name, board.address, **(given | more))


def entry(spec, work=WORK, models=MODELS, home=""):
    return {"spec": asdict(spec), "home": home, "work": list(work), "models": list(models)}


def remember(found, *entries):
    content = json.loads(found.paths.run_json.read_text()) | {"boards": list(entries)}
    found.paths.run_json.write_text(json.dumps(content))
    return found


@pytest.fixture
def run(place, board):
    """Of two tasks with one dataset, on one board."""
    return remember(place.run(), entry(spec_of(board)))


def directory(path, file="data"):
    path.mkdir(parents=True)
    (path / file).write_text("x" * 5000)
    return path


def cached(board, *names):
    (board.home / CACHE).mkdir(exist_ok=True)
    for name in names:
        (board.home / CACHE / name).write_text("weights")


def tree(home):
    """Names below the home, with what links say and when each was changed last."""
    found = {}
    for path in sorted(home.rglob("*")):
        facts = path.lstat()
        found[str(path.relative_to(home))] = (facts.st_mtime_ns, facts.st_ino)
    return found


def names(home):
    return sorted(path.name for path in home.iterdir())


def plan(found, matches=None):
    known = selected(found.paths, None)
    return plan_boards(found, selected(found.paths, matches) if matches else None, known)


def do(found, matches=None):
    plans = plan(found, matches)
    done = clean_boards([one for one in plans if not one.trouble])
    assert [one.trouble for one in done] == [""] * len(done)
    return plans


def test_what_the_run_made_goes_and_nothing_else(place, any_board, tmp_path):
    """With ranges and numbers behind its names; a user's own files, and names that only begin alike, stay."""
    found = remember(place.run(), entry(spec_of(any_board)))
    precious = directory(tmp_path / "precious")
    for name in ("", "_2", "_100", "_0-250", "_250-500_3"):
        directory(any_board.home / f"task_a_one{name}")
    (any_board.home / "task_b_one").symlink_to(precious)
    (any_board.home / "task_a_one" / "link").symlink_to(precious)
    cached(any_board, "a_model.onnx", ".evalrun-0a1b2c3d-b_model.onnx", "other_model.onnx", "c_model.onnx")
    mine = [
        "task_other",
        "task_a_one_1",
        "task_a_one_101",
        "task_a_one_two",
        "task_a_one_2_0-250",
        "task_a",
        "xtask_a_one",
    ]
    for name in mine:
        directory(any_board.home / name)
    (any_board.home / "notes").write_text("mine")
    (one,) = do(found)
    assert names(any_board.home) == sorted([*mine, "notes", CACHE])
    assert [name for name in names(any_board.home / CACHE) if name.endswith("onnx")] == [
        "c_model.onnx",
        "other_model.onnx",
    ]
    assert (precious / "data").exists()
    assert len(one.goes) == 8


def test_only_looking_changes_nothing(run, board):
    """What a dry run asks for leaves every name and every time as it was, also what a dead session left."""
    directory(board.home / "task_a_one", ".evalrun-owner")
    cached(board, "a_model.onnx")
    (board.home / CACHE / ".users" / "a_model.onnx" / "0123456789abcdef.1").mkdir(parents=True)
    before = tree(board.home)
    (one,) = plan(run)
    assert tree(board.home) == before
    assert sorted(found.name for found in one.goes) == [f"{CACHE}/a_model.onnx", "task_a_one"]
    (line, _) = sorted(one.lines(), reverse=True)
    assert line.startswith("board b1: task_a_one  ")
    assert line.endswith(" kB")


def ended(connection):
    """Closed, and the board knows."""
    connection.close()
    until(lambda: not Path(connection._watchdog.directory).exists())


def test_what_a_live_session_uses_stays(place, any_board, tmp_path):
    """Its model and its work directory, and both are told; those of the dead go."""
    found = remember(place.run(), entry(spec_of(any_board)))
    alive = any_board.connection()
    for name in MODELS:
        (tmp_path / name).write_text(name)
        digest = hashlib.sha256(name.encode()).hexdigest()
        ModelCache(alive if name == "a_model.onnx" else any_board.connection()).ensure(tmp_path / name, name, digest)
    ended(any_board._connections[-1])
    claim(alive, "task_a_one")
    directory(any_board.home / "task_b_one")
    (one,) = plan(found)
    told = "stays: a live session uses it"
    assert [line for line in one.lines() if told in line] == [
        f"board b1: task_a_one  {told}",
        f"board b1: {CACHE}/a_model.onnx  {told}",
    ]
    do(found)
    assert names(any_board.home) == [CACHE, "task_a_one"]
    assert (any_board.home / CACHE / "a_model.onnx").exists()
    assert not (any_board.home / CACHE / "b_model.onnx").exists()


def test_what_is_taken_up_meanwhile_stays(run, board, tmp_path):
    """Between the list and the answer somebody may have begun to use it, or have made something new."""
    directory(board.home / "task_a_one")
    cached(board, "a_model.onnx")
    plans = plan(run)
    alive = board.connection()
    claim(alive, "task_a_one")
    (tmp_path / "m").write_text("weights")
    ModelCache(alive).ensure(tmp_path / "m", "a_model.onnx", hashlib.sha256(b"weights").hexdigest())
    directory(board.home / "task_b_one")
    (done,) = clean_boards(plans)
    assert (done.goes, done.trouble) == ((), "")
    assert names(board.home) == [CACHE, "task_a_one", "task_b_one"]
    assert (board.home / CACHE / "a_model.onnx").exists()


def test_an_empty_cache_goes_too(run, board, tmp_path):
    """A board on which only this run ever was is left as it was found; one model of somebody else keeps the cache."""
    first = board.connection()
    (tmp_path / "m").write_text("weights")
    ModelCache(first).ensure(tmp_path / "m", "a_model.onnx", hashlib.sha256(b"weights").hexdigest())
    ended(first)
    cached(board, "other_model.onnx")
    do(run)
    assert [path.name for path in (board.home / CACHE).rglob("*") if path.is_file()] == ["other_model.onnx"]
    (board.home / CACHE / "other_model.onnx").unlink()
    cached(board, "a_model.onnx")
    do(run)
    assert names(board.home) == []


def test_only_what_belongs_to_the_chosen_pairs_goes(place, board):
    """A model stays while a pair of its task does; so does the directory of its server."""
    work = ("task_a_one", "task_a_one_2", "task_a_two", "task_b_one", "task_a_.server", "task_b_.server")
    states = "*s/a|psnr|3\n-one|2\n-one_2|2\n-two|2\n*s/b||1\n-one|3\n+summary|2|4\n"
    found = remember(place.run(states=states), entry(spec_of(board), work=work))
    for name in (*work, "task_a_one_3", "task_a_one_2_2"):
        directory(board.home / name)
    cached(board, *MODELS)
    do(found, lambda full_id: full_id == "s/a/one")
    left = {*work, "task_a_one_2_2", CACHE} - {"task_a_one"}
    assert set(names(board.home)) == left
    do(found, lambda full_id: full_id in ("s/a/one_2", "s/b/one"))
    assert set(names(board.home)) == left - {"task_a_one_2", "task_a_one_2_2", "task_b_one", "task_b_.server"}
    assert [name for name in names(board.home / CACHE) if name in MODELS] == ["a_model.onnx"]


def test_a_damaged_task_list_gives_no_model_away(place, board):
    """Pairs that only the manifest knows of still need the model of their task."""
    found = remember(place.run(states="damaged"), entry(spec_of(board), work=(*WORK, "task_a_two", "task_a_.server")))
    directory(board.home / "task_a_one")
    directory(board.home / "task_a_.server")
    cached(board, *MODELS)
    do(found)
    assert names(board.home) == []
    directory(board.home / "task_a_one")
    directory(board.home / "task_a_.server")
    cached(board, *MODELS)
    do(found, lambda full_id: full_id in ("s/a/one", "s/b/one"))
    assert names(board.home) == [CACHE, "task_a_.server"]
    assert [name for name in names(board.home / CACHE) if name in MODELS] == ["a_model.onnx"]


def test_two_suites_with_the_same_names_share_a_directory(place, board):
    """It goes with both, not with one of them."""
    found = remember(place.run(states="*s/a||1\n-one|2\n*t/a||1\n-one|2\n+summary|2|2\n"), entry(spec_of(board)))
    directory(board.home / "task_a_one")
    cached(board, "a_model.onnx")
    do(found, lambda full_id: full_id == "s/a/one")
    assert names(board.home) == [CACHE, "task_a_one"]
    do(found, lambda full_id: full_id.endswith("/a/one"))
    assert names(board.home) == []


def test_a_limited_evaluation_is_of_its_pair(place, board):
    """``limit`` gives the results another name, and the work directory not."""
    found = remember(place.run(), entry(spec_of(board)))
    place.limited(found.paths, "a", 8)
    directory(board.home / "task_a_one")
    do(found, lambda full_id: full_id.startswith("s/a/"))
    assert names(board.home) == []


def test_names_of_another_run_are_its_own(place, board):
    """``task_a_one_2`` may be the second of ``one``; where another run has a dataset of that name it is not."""
    remember(place.run("20261120_000000"), entry(spec_of(board), work=("task_a_one_2",), models=()))
    found = remember(place.run(), entry(spec_of(board)))
    for name in ("task_a_one_2", "task_a_one_2_2", "task_a_one_3"):
        directory(board.home / name)
    do(found)
    assert names(board.home) == ["task_a_one_2", "task_a_one_2_2"]


def test_boards_that_cannot_be_reached_cost_only_themselves(place, board):
    """Each is told with the reason and with what may be left there; the others are cleaned."""
    dead = spec_of(board, "b2", port=free_port())
    strange = replace(spec_of(board, "b3"), known_hosts="/nonexistent", user="x")
    found = remember(place.run(), entry(dead), entry(spec_of(board)), entry(strange))
    directory(board.home / "task_a_one")
    plans = do(found)
    assert [bool(one.trouble) for one in plans] == [True, False, True]
    assert names(board.home) == []
    complaint = plans[0].complaint()
    assert "Connection refused" in complaint
    assert complaint.endswith(
        f"what is there of task_a_one, task_b_one, {CACHE}/a_model.onnx, {CACHE}/b_model.onnx stays"
    )
    assert "host key is not known: ssh-ed25519 SHA256:" in plans[2].complaint()


def test_a_home_of_its_own_is_where_it_looks(place, board, tmp_path):
    """What has the same name elsewhere on the board is not touched."""
    found = remember(place.run(), entry(spec_of(board), home=str(tmp_path / "data")))
    directory(tmp_path / "data" / "task_a_one")
    directory(board.home / "task_a_one")
    (one,) = do(found)
    assert names(board.home) == ["task_a_one"]
    assert names(tmp_path / "data") == []
    assert next(one.lines()).startswith(f"board b1: {tmp_path}/data/task_a_one  ")


def test_links_in_the_cache_are_not_followed(run, board, tmp_path):
    """A cache, or its notes, that lead elsewhere are left alone with all that lies there."""
    precious = tmp_path / "precious"
    for name in ("a_model.onnx", "0123/a_model.onnx"):
        (precious / name).parent.mkdir(parents=True, exist_ok=True)
        (precious / name).write_text("mine")
    before = tree(precious)
    (board.home / CACHE).symlink_to(precious)
    do(run)
    assert tree(precious) == before
    (board.home / CACHE).unlink()
    cached(board, "a_model.onnx")
    (board.home / CACHE / ".index").symlink_to(precious)
    do(run)
    assert tree(precious) == before
    assert (board.home / CACHE / "a_model.onnx").exists()


@pytest.mark.parametrize("name", ["notes", "task_a/..", "../x", f"{CACHE}/a", CACHE, "", "/etc", "task_"])
def test_a_manifest_with_other_names_is_refused(place, board, name):
    """Nothing but work directories can be named as such: nobody is asked, nothing goes."""
    found = remember(place.run(), entry(spec_of(board), work=("task_a_one", name)))
    directory(board.home / "task_a_one")
    with pytest.raises(ConfigError):
        plan(found)
    assert names(board.home) == ["task_a_one"]


@pytest.mark.parametrize("name", ["../notes", ".index", ".locks", ".users", "", "..", "a/b", ".evalrun-00112233-a"])
def test_a_manifest_with_other_models_is_refused(place, board, name):
    """Nor but models in the cache."""
    found = remember(place.run(), entry(spec_of(board), models=("a_model.onnx", name)))
    cached(board, "a_model.onnx")
    with pytest.raises(ConfigError):
        plan(found)
    assert names(board.home / CACHE) == ["a_model.onnx"]


def test_a_run_without_boards_asks_nobody(place):
    """--remote is no mistake then."""
    assert plan(place.run()) == []


def test_the_lock_of_a_model_is_given_back(run, board, tmp_path):
    """Who asks for the model afterwards uploads it, and waits for nobody."""
    cached(board, "a_model.onnx")
    do(run)
    (tmp_path / "m").write_text("weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    again = ModelCache(board.connection()).ensure(tmp_path / "m", "a_model.onnx", digest)
    assert Path(again.path).read_text() == "weights"
    assert os.listdir(board.home / CACHE / ".locks" / "a_model.onnx") == []  # noqa: PTH208
    shutil.rmtree(board.home / CACHE)
