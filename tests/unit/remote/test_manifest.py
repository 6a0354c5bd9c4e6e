"""What a run is told of its boards before anything is put on one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_evalrun.predicting import boardmodel
from pytest_evalrun.remote.manifest import boards_of
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Suite, Task

B1, B2 = {"name": "b1", "host": "10.0.0.5", "labels": {"soc": "j5"}}, {"name": "b2", "password_env": "SECRET"}


def suite(*pairs):
    return Suite("s", "/s/evalrun.yaml", "/s", pairs)


def pair(task="a", dataset="one", /, skip=None, model="/m/a.onnx", **values):
    layer = Layer("suite", "/s/evalrun.yaml", {"adapter": "ssh", "devices": [B1, B2]} | values)
    return Pair("s", "/s", Task(task, model, "/s"), Dataset(dataset, "/d"), (layer,), skip=skip)


def names(records):
    return {(record.spec.name, record.home): (record.work, record.models) for record in records}


def test_every_board_that_would_do_is_named():
    """With the work directory of each pair and the model of each task, once, by names that are safe for files."""
    found = names(boards_of([suite(pair(), pair("a", "two"), pair("dir/b c", "任务", model="/m/b.tar.gz"))]))
    work = ("task_a_one", "task_a_two", "task_dir_b c_任务")
    assert found == dict.fromkeys([("b1", ""), ("b2", "")], (work, ("a_model.onnx", "dir_b c_model.gz")))


def test_labels_and_homes_count():
    """A board that the pair does not want is not named, and one that has several homes is named with each."""
    first = pair(device={"soc": "j5"}, env={"REMOTE_TASK_HOME": "/data"})
    second = pair("b", device={"soc": "j5"}, model=None)
    found = names(boards_of([suite(first, second)]))
    assert found == {("b1", "/data"): (("task_a_one",), ("a_model.onnx",)), ("b1", ""): (("task_b_one",), ())}


@pytest.mark.parametrize("more", [{"adapter": "command"}, {"adapter": "./m.py:M"}, {"skip": "not now"}])
def test_pairs_that_use_no_board_are_not_named(more):
    """Devices may stand in a suite whose pairs are evaluated here, or not at all."""
    assert boards_of([suite(pair(**more))]) == []


def test_scripts_with_their_own_ssh_are_named():
    """``remote: true`` leaves the same directories."""
    assert set(names(boards_of([suite(pair(adapter="command", remote=True))]))) == {("b1", ""), ("b2", "")}


def test_servers_have_a_directory_for_their_task():
    """A program that is kept running works beside the directories of the pairs that it is asked for."""
    (found, _) = boards_of([suite(pair(ask="server"), pair("a", "two", ask="server"))])
    assert found.work == (f"task_a_{boardmodel.SERVER}", "task_a_one", "task_a_two")


def test_no_settings_are_resolved_where_no_board_is_spoken_of():
    """10,000 pairs of other suites cost nothing."""
    plain = pair(adapter="./m.py:M")
    boards_of([suite(plain)])
    assert "settings" not in vars(plain)


def test_only_names_are_kept():
    """A password stays in its variable."""
    (_, found) = boards_of([suite(pair())])
    assert found.to_json()["spec"]["password_env"] == "SECRET"


def test_no_library_of_ssh_is_loaded():
    """A launch whose pairs are all reused must not pay for it."""
    code = (
        "import sys; from pytest_evalrun.remote.manifest import boards_of\n"
        "from pytest_evalrun.suite.layers import Layer\n"
        "from pytest_evalrun.suite.pairs import *\n"
        "layer = Layer('suite', 'x', {'adapter': 'ssh', 'devices': [{'name': 'b'}]})\n"
        "pair = Pair('s', '/s', Task('a', '/m.bin', '/s'), Dataset('d', '/d'), (layer,))\n"
        "assert boards_of([Suite('s', 'x', '/s', (pair,))])\n"
        "sys.exit('paramiko' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
