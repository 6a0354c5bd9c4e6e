"""The model on a board: where it is loaded, when it moves, who gets the board afterwards, and what stays there."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from sshd import ME, Sshd, until

from pytest_evalrun.errors import PairError
from pytest_evalrun.predicting.boardmodel import MOST_LOSSES
from pytest_evalrun.predicting.boards import Boards
from pytest_evalrun.predicting.services import WorkerServices
from pytest_evalrun.predicting.ways import board_model
from pytest_evalrun.remote.boardnotes import BoardNotes
from pytest_evalrun.remote.faults import BoardGone, LinkLost
from pytest_evalrun.remote.link import Limits
from pytest_evalrun.remote.models import ModelCache
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task


class Fleet:
    """Boards and a pair that may run on any of them."""

    def __init__(self, root, boards):
        self.root = root
        self.boards = boards
        self.notes = BoardNotes(root / "launch")
        self.events = []
        self.said = []
        self.workers = []
        (root / "m.bin").write_text("weights")

    def worker(self):
        self.workers.append(Boards(self.notes, self.said.append))
        return self.workers[-1]

    def model(self, worker=None, *, path="m.bin", task="t", **env):
        devices = [
            {
                "name": f"b{number}",
                "host": "127.0.0.1",
                "port": board.port,
                "user": ME,
                "identity_file": [str(board.key)],
                "known_hosts": str(board.known_hosts),
            }
            for number, board in enumerate(self.boards, 1)
        ]
        values = {"adapter": "ssh", "ask": "batch", "command": "true {batch}", "devices": devices, "env": env}
        layer = Layer("suite", "x", values)
        place = str(self.root / path) if path else None
        pair = Pair("s", str(self.root), Task(task, place, str(self.root)), Dataset("d", str(self.root)), (layer,))
        around = WorkerServices(event=lambda name, *_, **told: self.events.append((name, told)), say=self.said.append)
        return board_model(pair, worker or self.worker(), digest, around)

    def uploads(self):
        return [told["device"] for name, told in self.events if name == "uploaded"]

    def cached(self, number=1):
        return sorted(path.name for path in (self.boards[number - 1].home / ".model_cache").glob("[!.]*"))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """Two boards; who goes is not waited for long."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EVALRUN_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setattr(Limits.__init__, "__defaults__", (5.0, 0.3, 2.0, 2, 1, 0.5))
    with Sshd(tmp_path / "b1") as one, Sshd(tmp_path / "b2") as two:
        fleet = Fleet(tmp_path, [one, two])
        yield fleet
        for worker in fleet.workers:
            worker.close()


def test_a_model_goes_to_a_board_once(fleet):
    """Whoever loads it: the second time it is there, and that board is preferred."""
    for _ in range(3):
        model = fleet.model()
        model.load()
        assert model.path == str(fleet.boards[0].home / ".model_cache" / "t_model.bin")
        assert Path(model.path).read_text() == "weights"
        model.close()
    assert fleet.uploads() == ["b1"]


def test_two_models_have_two_boards_and_free_them(fleet):
    """A board is its model's until that is closed or killed."""
    first, second = fleet.model(), fleet.model(task="u")
    first.load()
    second.load()
    assert {first.board.name, second.board.name} == {"b1", "b2"}
    first.close()
    second.kill()
    third, fourth = fleet.model(task="v"), fleet.model(task="w")
    third.load()
    fourth.load()
    assert {third.board.name, fourth.board.name} == {"b1", "b2"}
    third.close()
    fourth.close()
    third.close()


def lost(fleet, cut):
    """A loaded model whose board was cut off."""
    model = fleet.model()
    model.load()
    cut(fleet.boards[0])
    until(lambda: model.connection.lost)
    return model


def test_a_lost_link_is_made_again(fleet):
    """And the model is looked for again: another may have taken it away meanwhile."""
    model = lost(fleet, Sshd.kill_sessions)
    Path(model.path).unlink()
    generation = model.steadily(model.ready)
    assert generation == 2
    assert Path(model.path).read_text() == "weights"
    assert not model.broken
    model.close()


def test_a_board_that_does_not_come_back_is_set_aside_for_all(fleet):
    """It is waited for once; the model is broken, loads elsewhere, and nobody of the launch tries that board again."""
    model = lost(fleet, Sshd.stop)
    with pytest.raises(BoardGone, match=r"device b1 is set aside: .*cannot be reached"):
        model.steadily(model.ready)
    assert model.broken
    model.close()
    for _ in range(2):
        again = fleet.model()
        again.load()
        assert again.board.name == "b2"
        again.close()
    assert fleet.uploads() == ["b1", "b2"]


def test_a_link_that_never_holds_is_given_up(fleet):
    """So many losses in a row are enough, though the board can be reached."""
    model = fleet.model()
    model.load()

    def work():
        raise LinkLost("again")

    with pytest.raises(BoardGone, match=rf"b1 is set aside: {MOST_LOSSES} times in a row: again"):
        model.steadily(work)
    assert model.broken
    model.close()


def test_who_is_interrupted_while_connecting_again_does_not_give_the_board_up(fleet):
    """The link was closed by who ends the item, which is no fault of the board: the next model has it."""
    model = lost(fleet, Sshd.kill_sessions)
    model.interrupt()
    with pytest.raises(LinkLost, match="the connection was closed here"):
        model.recover(LinkLost("gone"), 1)
    assert not model.broken
    model.kill()
    again = fleet.model()
    again.load()
    assert again.board.name == "b1"
    again.close()


def test_none_left_is_an_error_with_the_reason_of_each(fleet):
    """At once, in words."""
    for board in fleet.boards:
        board.stop()
    with pytest.raises(PairError, match=r"b1: set aside: .*cannot be reached.*b2: set aside: .*cannot be reached"):
        fleet.model().load()


@pytest.mark.parametrize(("policy", "finished", "stays"), [("0", True, True), ("1", False, True), ("1", True, False)])
def test_a_model_goes_with_the_last_pair_of_its_task(fleet, policy, finished, stays):
    """Where its policy says so: 1 and nothing else, once the launch says that the task is over."""
    model = fleet.model(CLEANUP_SHARED_MODELS=policy)
    model.load()
    if finished:
        fleet.notes.finish("s/t")
    model.close()
    assert fleet.cached() == ["t_model.bin"] * stays


def test_another_worker_keeps_the_model_that_it_uses(fleet):
    """The last who uses it takes it away."""
    fleet.boards[1:] = []
    one, two = fleet.worker(), fleet.worker()
    first = fleet.model(one)
    first.load()
    other = two.connection(first.board.spec, "")
    ModelCache(other).ensure(fleet.root / "m.bin", "t_model.bin", digest(fleet.root / "m.bin"))
    fleet.notes.finish("s/t")
    first.close()
    assert fleet.cached() == ["t_model.bin"]
    ModelCache(other).release("t_model.bin", 1, last=True)
    assert fleet.cached() == []


def test_what_cannot_travel_is_an_error_on_every_board(fleet):
    """A directory is no file; a task without a model has none, and is told none."""
    (fleet.root / "dir").mkdir()
    with pytest.raises(PairError, match="what goes to a board is one file"):
        fleet.model(path="dir").load()
    model = fleet.model(path=None)
    model.load()
    assert model.path == ""
    assert fleet.uploads() == []
    model.close()
