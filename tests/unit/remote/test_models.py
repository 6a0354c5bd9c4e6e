"""The model cache: each model goes over once, is believed only while it is the same, and goes as it was asked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sshd import Sshd, busybox, until

import pytest_evalrun
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.faults import BoardError, LinkLost
from pytest_evalrun.remote.models import DROP_ALL, DROP_MODEL, KEEP, ModelCache, model_name

NAME = "task A_$(touch x)_model.onnx"


@pytest.fixture(params=["all tools", "busybox", "no stat"])
def board(request, tmp_path):
    """Boards with and without a cheap way to see that a file is the same."""
    lacking = ("stat",) if request.param == "no stat" else ()
    path = None if request.param == "all tools" else busybox(tmp_path / "bin", lacking)
    with Sshd(tmp_path / "board", path=path) as board:
        yield board


@pytest.fixture
def model(tmp_path):
    """A model file, and its hash."""
    return write(tmp_path / "model.onnx", os.urandom(300_000))


def write(path: Path, data: bytes) -> tuple[Path, str]:
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def cached(board) -> Path:
    return board.home / ".model_cache" / NAME


def test_name_is_that_of_task_run():
    """``<task_safe_name>_model<ext>``."""
    assert model_name("dir/taskA", ".hbm") == "dir_taskA_model.hbm"
    with pytest.raises(ConfigError):
        model_name("a", "/../x")


def test_second_run_uploads_nothing(board, model):
    """What is there is not sent again, by this connection or another; the path is SHARED_MODEL_PATH."""
    first = ModelCache(board.connection()).ensure(model[0], NAME, model[1])
    assert first.uploaded == 300_000
    assert first.path == str(cached(board))
    assert cached(board).read_bytes() == model[0].read_bytes()
    for connection in (board.connection(), board.connection()):
        assert ModelCache(connection).ensure(model[0], NAME, model[1]).uploaded == 0


def test_same_content_under_another_name_is_not_sent_again(board, model):
    """Two tasks with the same model share its bytes."""
    cache = ModelCache(board.connection())
    cache.ensure(model[0], NAME, model[1])
    assert cache.ensure(model[0], "other_model.onnx", model[1]).uploaded == 0
    assert (cached(board).parent / "other_model.onnx").read_bytes() == model[0].read_bytes()
    assert cache.ensure(model[0], NAME, model[1]).uploaded == 0


def test_changed_model_is_sent_again(board, model):
    """Other content under the same name takes the place of the old."""
    cache = ModelCache(board.connection())
    cache.ensure(model[0], NAME, model[1])
    path, digest = write(model[0], b"newer")
    assert cache.ensure(path, NAME, digest).uploaded == 5
    assert cached(board).read_bytes() == b"newer"


def test_model_in_use_is_not_replaced(board, model, tmp_path):
    """Another content under the same name waits until nobody uses the one that is there."""
    user, other = board.connection(), board.connection()
    ModelCache(user).ensure(model[0], NAME, model[1])
    changed = write(tmp_path / "changed.onnx", b"another")
    asked = threading.Event()
    waiting = threading.Thread(target=lambda: ModelCache(other, check=asked.set).ensure(changed[0], NAME, changed[1]))
    waiting.start()
    assert asked.wait(60)
    assert cached(board).read_bytes() == model[0].read_bytes()
    ModelCache(user).release(NAME)
    waiting.join(60)
    assert cached(board).read_bytes() == b"another"


@pytest.mark.parametrize("harm", ["other bytes", "shorter", "longer", "gone", "a link", "a directory"])
def test_damaged_model_is_never_used(board, model, harm):
    """A model that is no longer what was sent, in whatever way, is sent again."""
    cache = ModelCache(board.connection())
    cache.ensure(model[0], NAME, model[1])
    there = cached(board)
    if harm == "other bytes":
        with there.open("r+b") as file:
            file.write(b"damage")
    elif harm == "shorter":
        os.truncate(there, 100)
    elif harm == "longer":
        there.write_bytes(there.read_bytes() + b"x")
    else:
        there.unlink()
    if harm == "a link":
        there.symlink_to(model[0])
    elif harm == "a directory":
        there.mkdir()
    assert cache.ensure(model[0], NAME, model[1]).uploaded == 300_000
    assert not there.is_symlink()
    assert there.read_bytes() == model[0].read_bytes()


def test_five_at_once_upload_once(board, model):
    """Workers that start together wait for the one that uploads, and all have the model then."""
    uploaded = []
    go = threading.Barrier(5)

    def work():
        cache = ModelCache(board.connection())
        go.wait()
        uploaded.append(cache.ensure(model[0], NAME, model[1]).uploaded)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(uploaded) == [0, 0, 0, 0, 300_000]


def test_lock_of_a_killed_worker_is_no_lock(board, model, tmp_path):
    """A worker that is killed in the middle of its upload holds nobody up, and nothing of its upload is used."""
    large, digest = write(tmp_path / "large", os.urandom(4 << 20))
    code = f"""
import os, sys
sys.path[:0] = {[str(Path(pytest_evalrun.__file__).parents[1])]!r}
from pathlib import Path
from pytest_evalrun.remote import models
from pytest_evalrun.remote.connection import Connection
from pytest_evalrun.remote.hosts import Host
def stuck(board, path, target, digest):
    print("uploading", flush=True)
    sys.stdin.read()
models.upload_file = stuck
models.ModelCache(Connection({board.host()!r})).ensure(Path({str(large)!r}), {NAME!r}, {digest!r})
"""
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdout.readline() == b"uploading\n"
    waited = threading.Event()
    outcome = []
    cache = ModelCache(board.connection(), check=waited.set)
    thread = threading.Thread(target=lambda: outcome.append(cache.ensure(large, NAME, digest).uploaded))
    thread.start()
    assert waited.wait(20)
    assert not outcome
    worker.kill()
    worker.wait()
    worker.stdout.close()
    worker.stdin.close()
    thread.join(60)
    assert outcome == [4 << 20]


def test_wait_can_be_ended(board, model, monkeypatch):
    """What ``check`` raises ends the wait for another's upload; one that fails leaves the lock free."""
    ended = threading.Event()

    def fails(*_):
        ended.wait(30)
        raise ZeroDivisionError

    monkeypatch.setattr("pytest_evalrun.remote.models.upload_file", fails)

    def slow():
        with pytest.raises(ZeroDivisionError):
            ModelCache(first).ensure(model[0], NAME, model[1])

    def stop():
        raise InterruptedError

    first, second = board.connection(), board.connection()
    thread = threading.Thread(target=slow)
    thread.start()
    until(lambda: list((board.home / ".model_cache/.locks").glob("*/*")))
    with pytest.raises(InterruptedError):
        ModelCache(second, check=stop).ensure(model[0], NAME, model[1])
    ended.set()
    thread.join(30)
    monkeypatch.undo()
    assert ModelCache(second).ensure(model[0], NAME, model[1]).uploaded == 300_000


def test_upload_that_is_cut_off_is_done_again(tmp_path):
    """A link lost while the model goes over: the next attempt sends all of it, and nothing torn is ever seen."""
    from badlink import Relay

    with Sshd(tmp_path / "board") as board:
        relay = Relay(board.port)
        board.know(board.host_key, f"[127.0.0.1]:{relay.port}")
        path, digest = write(tmp_path / "large", os.urandom(4 << 20))
        cache = ModelCache(board.connection(port=relay.port))
        cache.ensure(*write(tmp_path / "small", b"small")[:1], "small_model", hashlib.sha256(b"small").hexdigest())
        relay.cut_after(1 << 20)
        with pytest.raises(LinkLost):
            cache.ensure(path, NAME, digest)
        assert not cached(board).exists()
        assert cache.ensure(path, NAME, digest).uploaded == 4 << 20
        assert cached(board).read_bytes() == path.read_bytes()
        relay.close()


def test_policies_of_cleaning(board, model):
    """CLEANUP_SHARED_MODELS: 0 keeps the model, 1 removes it after its task, 2 the whole cache at the end."""
    cache = ModelCache(board.connection())
    cache.ensure(model[0], NAME, model[1])
    assert not cache.release(NAME, KEEP, last=True)
    assert not cache.release(NAME, DROP_MODEL, last=False)
    assert not cache.release(NAME, DROP_ALL, last=True)
    assert cached(board).exists()
    assert cache.release(NAME, DROP_MODEL, last=True)
    assert not cached(board).exists()
    cache.ensure(model[0], NAME, model[1])
    cache.release(NAME, DROP_ALL)
    assert cache.clear()
    assert not (board.home / ".model_cache").exists()
    assert cache.clear()


def test_model_in_use_is_not_removed(board, model):
    """What another live connection uses stays, by either policy; when that ends, it may go."""
    mine, other = board.connection(), board.connection()
    for connection in (mine, other):
        ModelCache(connection).ensure(model[0], NAME, model[1])
    cache = ModelCache(mine)
    assert not cache.release(NAME, DROP_MODEL, last=True)
    assert not cache.clear()
    assert cached(board).exists()
    other.close()
    until(lambda: not Path(other._watchdog.directory).exists())
    assert cache.release(NAME, DROP_MODEL, last=True)
    assert cache.clear()


def test_cache_that_is_a_link_is_refused(board, model, tmp_path):
    """A cache that leads out of the home is not written to."""
    (tmp_path / "elsewhere").mkdir()
    (board.home / ".model_cache").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BoardError, match="is a link"):
        ModelCache(board.connection()).ensure(model[0], NAME, model[1])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_hash_must_be_one(board, model):
    """What is no SHA-256 would be a path on the board, and is refused."""
    with pytest.raises(ConfigError, match="no SHA-256"):
        ModelCache(board.connection()).ensure(model[0], NAME, "../x")
