"""The boards of a launch, real ones: who is set aside, what is a mistake, what goes before and after."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from sshd import ME, Sshd, free_port, keygen, until

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.plugin.machine import Machine, on_boards
from pytest_evalrun.remote.boardnotes import BoardNotes
from pytest_evalrun.remote.boards import manager as fleets
from pytest_evalrun.remote.boards.manager import BoardManager
from pytest_evalrun.remote.models import ModelCache
from pytest_evalrun.remote.places import claim
from pytest_evalrun.slots.devices import Device, DevicePool
from pytest_evalrun.slots.directory import LeaseDirectory
from pytest_evalrun.slots.need import Need
from pytest_evalrun.suite.devices import DeviceSpec
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch, tmp_path):
    """Neither the agent nor the keys of whoever runs the tests open a door, and no lease is anybody else's."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EVALRUN_SLOTS_DIR", str(tmp_path / "slots"))


@pytest.fixture
def board(tmp_path):
    with Sshd(tmp_path / "board") as board:
        yield board


def dead(board, name="dead"):
    return board.entry(name, port=free_port())


def pair(*devices, task="a", dataset="x", skip=None, **settings):
    layer = Layer("suite", "evalrun.yaml", {"adapter": "ssh", "devices": list(devices)} | settings)
    return Pair("s", "/s", Task(task, None, "/s"), Dataset(dataset, "/s/x"), (layer,), skip=skip)


@pytest.fixture
def launch(tmp_path):
    """A fleet for pairs, with its machine, its notes and what it said."""

    def make(*pairs, others=None):
        machine, notes, said = Machine(pairs, others or {}, None), BoardNotes(tmp_path / "notes"), []
        ids = {f"s::{number}": one for number, one in enumerate(pairs)}
        fleet = BoardManager(machine.boards, on_boards(ids), notes, said.append)

        def look():
            machine.do_without(fleet.look())

        return SimpleNamespace(machine=machine, notes=notes, said=said, fleet=fleet, ids=list(ids), look=look)

    return make


def aside(notes):
    """What workers of the launch find there, by the names of boards."""
    told = [json.loads(path.read_text()) for path in notes.aside.glob("*.json")] if notes.aside.exists() else []
    return {each["device"]: each["reason"] for each in told}


# ------------------------------------------------------------------ before anything starts


def test_boards_that_answer_are_left_as_they_are(board, launch):
    """Nothing is said, nothing set aside, nothing made on them, and no connection stays open."""
    one = launch(pair(board.entry()))
    one.look()
    assert (one.said, aside(one.notes), len(one.machine.boards)) == ([], {}, 1)
    assert list(board.home.iterdir()) == []
    until(lambda: not board.sessions())


def test_lines_of_known_hosts_that_nobody_can_use_are_told(board, launch):
    """Once, however many boards are known by the file; with the mistake where no other line knows the board."""
    good = board.known_hosts.read_text()
    authority = f"@cert-authority * {' '.join(board.host_key.with_suffix('.pub').read_text().split()[:2])}\n"
    board.known_hosts.write_text(authority + good)
    one = launch(pair(board.entry(), board.entry("b2")))
    one.look()
    (line,) = one.said
    assert line.startswith(f"{board.known_hosts}: passed over: line 1 (@cert-authority")
    board.known_hosts.write_text(authority)
    with pytest.raises(ConfigError, match=r"not known(.|\n)*passed over: line 1 \(@cert-authority"):
        launch(pair(board.entry())).look()


def test_a_board_that_is_down_is_set_aside_for_every_process(board, launch):
    """With its reason in one line, and the others go on; of who needs no other one the optional are skipped."""
    down = dead(board)
    one = launch(
        pair(board.entry(), down), pair(down, task="b", optional=True), pair(board.entry("same"), down, task="c")
    )
    one.look()
    (line,) = one.said
    assert line.startswith("board dead set aside: cannot be reached: Connection refused")
    assert list(aside(one.notes)) == ["dead"]
    (reason,) = one.machine.lacking.values()
    assert reason == f"no board: dead: {aside(one.notes)['dead']}"
    assert one.machine.needs.keys() == {"s/a/x", "s/c/x"}
    identity = f"{ME}@127.0.0.1:{down['port']}"
    pool = DevicePool(LeaseDirectory(), [Device("another name", identity)], notes=one.notes.aside)
    assert "Connection refused" in str(pool.states()[0])


def test_boards_that_only_tests_ask_for_are_looked_at_too(board, launch):
    """Their pair runs here, and names the board for them."""
    down = dead(board)
    one = launch(
        pair(board.entry(), down, adapter="command", command="true"),
        others={"t.py::t": Need(devices=(DeviceSpec.of(down).key,))},
    )
    assert one.machine.slots() == 1
    one.look()
    assert (list(aside(one.notes)), one.machine.slots(), one.machine.needs) == (["dead"], 0, {})


def test_a_board_that_refuses_our_key_is_set_aside(board, launch, tmp_path):
    """It is in order, and others may get in: no mistake of the suite."""
    stranger = keygen(tmp_path / "stranger")
    one = launch(pair(board.entry(identity_file=[str(stranger)])))
    one.look()
    assert f"does not let {ME} in" in aside(one.notes)["b1"]
    assert one.machine.needs == {}
    assert all("does not let" in reason for reason in one.machine.lacking.values())


def test_every_unknown_or_changed_host_key_is_a_mistake(board, launch, tmp_path):
    """All are told before anything is set aside or removed, each with its fingerprint and how to accept it."""
    (board.home / "task_a_x").mkdir()
    other = keygen(tmp_path / "other")
    changed = tmp_path / "changed"
    changed.write_text(f"[127.0.0.1]:{board.port} {' '.join(Path(f'{other}.pub').read_text().split()[:2])}\n")
    unknown = board.entry("new", known_hosts=str(tmp_path / "nothing"))
    one = launch(pair(board.entry(), unknown, board.entry("old", known_hosts=str(changed)), dead(board)))
    with pytest.raises(ConfigError) as error:
        one.look()
    first, second = str(error.value).splitlines()
    assert "host key is not known: ssh-ed25519 SHA256:" in first
    assert "`host_key: SHA256:" in first
    assert "host key has CHANGED" in second
    assert second.count("SHA256:") == 2
    assert "ssh-keygen -R" in second
    assert (one.said, aside(one.notes), (board.home / "task_a_x").exists()) == ([], {}, True)


def test_a_password_that_is_nowhere_is_a_mistake(board, launch, monkeypatch):
    """So is all that could not be understood: waiting would not help."""
    monkeypatch.delenv("NO_SUCH", raising=False)
    with pytest.raises(ConfigError, match="NO_SUCH, which is not set"):
        launch(pair(board.entry(password_env="NO_SUCH"))).look()


def test_a_board_that_says_nothing_is_not_waited_for_longer_than_is_bearable(board, launch, monkeypatch):
    """It takes the connection and is silent; the others are looked at meanwhile."""
    monkeypatch.setattr(fleets, "PATIENCE", fleets.PATIENCE.__class__(connect=2.0, quiet=2.0, reconnect=0.0))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = launch(pair(board.entry(), board.entry("silent", port=silent.getsockname()[1])))
        one.look()
    assert list(aside(one.notes)) == ["silent"]
    assert [spec.name for spec in one.machine.boards.values()] == ["b1"]


def test_a_home_that_is_not_there_matters_to_who_wants_it(board, launch):
    """The board is set aside only where none of its homes can be entered."""
    here, nowhere = board.entry(home=str(board.home)), board.entry(home="/nonexistent")
    one = launch(pair(here), pair(nowhere, task="b"))
    one.look()
    assert aside(one.notes) == {}
    assert "entering /nonexistent failed" in one.said[0]
    one = launch(pair(nowhere))
    one.look()
    assert "entering /nonexistent failed" in aside(one.notes)["b1"]


def test_what_a_dead_session_left_of_these_pairs_goes(board, launch):
    """Ranges, servers and second names of it, told in a line; nothing that lives, is kept, or is another pair's."""
    for name in ("x", "x_2", "x_0-250", "x_0-250_3", "y", "x_1", "x_old", "xx", "keep", "keep_2", "keep_3"):
        (board.home / f"task_a_{name}").mkdir()
    (board.home / "task_b_.server").mkdir()
    (board.home / "task_a_keep_3" / "result").write_text("to be looked into")
    (board.home / "elsewhere").mkdir()
    (board.home / "task_a_x_4").symlink_to(board.home / "elsewhere")
    claim(board.connection(), "task_a_x_9")
    keep = pair(board.entry(), dataset="keep", env={"CLEANUP_REMOTE_WORKDIR": "0"})
    skipped = pair(board.entry(), dataset="y", skip="not today")
    server = pair(board.entry(), task="b", ask="server")
    one = launch(pair(board.entry()), keep, skipped, pair(board.entry(), dataset="keep_2"), server)
    one.look()
    left = {path.name.removeprefix("task_a_") for path in board.home.iterdir()}
    assert left == {"y", "x_1", "x_old", "xx", "keep", "keep_3", "x_9", "elsewhere"}
    (line,) = one.said
    assert line.startswith("board b1: removed 7 work directories of a session that died: task_a_")
    assert line.endswith(" and 2 more")


# ------------------------------------------------------------------ meanwhile


def test_the_end_of_a_task_is_told_once(board, launch, monkeypatch):
    """When the last of its items has its outcome, whichever that is; items that report twice count once."""
    told = []
    monkeypatch.setattr(BoardNotes, "finish", lambda _, task: told.append(task))
    pairs = [pair(board.entry()), pair(board.entry(), dataset="y"), pair(board.entry(), task="b")]
    one = launch(*pairs, pair(board.entry(), dataset="z", skip="not today"), pair(adapter="command", task="c"))
    for nodeid in ("s::0", "s::0", "s::2", "s::4", "s::3", "unknown"):
        one.fleet.ended(nodeid)
    assert told == ["s/b"]
    for _ in range(2):
        one.fleet.ended("s::1")
    assert told == ["s/b", "s/a"]


# ------------------------------------------------------------------ at the end


def put(board, notes, device, tmp_path, **policies):
    """Models on the board as workers leave them, whose connections have ended."""
    for name, policy in policies.items():
        content = name.encode()
        (tmp_path / name).write_bytes(content)
        connection = board.connection()
        notes.use(DeviceSpec.of(device), "", f"{name}_model.bin", policy)
        ModelCache(connection).ensure(tmp_path / name, f"{name}_model.bin", hashlib.sha256(content).hexdigest())
        connection.close()


def models(board):
    return {path.name for path in (board.home / ".model_cache").glob("*_model.bin")}


def test_models_go_by_their_policies(board, launch, tmp_path):
    """Those of policy 1 one by one; what is kept, and what another session put there, stays."""
    one = launch(pair(board.entry()))
    put(board, BoardNotes(tmp_path / "others"), board.entry(), tmp_path, other="1")
    put(board, one.notes, board.entry(), tmp_path, kept="0", first="1", second="1")
    assert one.fleet.tidy() == []
    assert models(board) == {"kept_model.bin", "other_model.bin"}


def test_the_whole_cache_goes_where_that_is_asked_for(board, launch, tmp_path):
    """Policy 2, unless somebody else uses a model of it."""
    one = launch(pair(board.entry()))
    put(board, one.notes, board.entry(), tmp_path, every="2", first="1")
    connection = board.connection()
    ModelCache(connection).ensure(tmp_path / "first", "first_model.bin", hashlib.sha256(b"first").hexdigest())
    assert one.fleet.tidy() == []
    assert models(board) == {"every_model.bin", "first_model.bin"}
    connection.close()
    assert one.fleet.tidy() == []
    assert not (board.home / ".model_cache").exists()


def test_where_nothing_is_due_nobody_connects(board, launch, tmp_path):
    """To keep a model is to leave the board alone, also one that has died."""
    one = launch(pair(board.entry()))
    one.notes.use(DeviceSpec.of(board.entry()), "", "kept_model.bin", "0")
    one.notes.use(DeviceSpec.of(dead(board)), "", "", "1")
    board.stop()
    assert one.fleet.tidy() == []


def test_a_board_that_has_died_costs_a_line(board, launch, tmp_path):
    """The others are tidied all the same."""
    one = launch(pair(board.entry()))
    put(board, one.notes, board.entry(), tmp_path, first="1")
    one.notes.use(DeviceSpec.of(dead(board)), "", "lost_model.bin", "1")
    (line,) = one.fleet.tidy()
    assert line.startswith("board dead: models may be left there: board 127.0.0.1 (")
    assert "Connection refused" in line
    assert models(board) == set()


def test_notes_that_are_damaged_cost_a_line(board, launch):
    """A session does not lose its end to them."""
    one = launch(pair(board.entry()))
    one.notes.use(DeviceSpec.of(board.entry()), "", "m.bin", "1")
    (note,) = one.notes.aside.parent.glob("used-*.json")
    note.write_text("nonsense")
    (line,) = one.fleet.tidy()
    assert line.startswith("what was used of boards cannot be read")
