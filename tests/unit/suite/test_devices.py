"""Boards in a suite: a list or a file, absolute paths, labels; and every mistake that is told before anything runs."""

from __future__ import annotations

import pytest

from pytest_evalrun.suite.devices import devices_of, home_of, model_policy
from pytest_evalrun.suite.runconfig import eval_set_layer

SUITE = "adapter: ssh\nask: batch\ncommand: sh ask.sh {batch} {output}\nresults: {csv: a.csv}\n"
PAIR = "models: [{name: m}]\ndatasets: [{path: clean.csv}]\n"
BOARDS = "devices: [{name: b1, labels: {soc: j5}}, {name: b2, labels: {soc: j6, mem: 8}}]\n"
MISTAKES = {
    "unknown key": (
        "devices:\n  - {name: b1}\n  - {name: b2, prt: 22}\n",
        "evals/evalrun.yaml:9: devices[1].prt: unknown key; did you mean 'port'?",
    ),
    "port": ("devices: [{name: b1, port: 70000}]\n", ":7: devices[0].port: found 70000; accepted: "),
    "no name": ("devices: [{host: b1}]\n", ":7: devices[0].name"),
    "host key": ("devices: [{name: b1, host_key: yes}]\n", ":7: devices[0].host_key: found "),
    "twice": ("devices: [{name: b1}, {name: b1}]\n", ":7: devices: found 2 devices called 'b1'; accepted: each name"),
    "no file": ("devices: boards.yaml\n", ":7: devices: found 'boards.yaml', which does not exist; looked for /"),
    "neither": ("devices: 5\n", ":7: devices: found 5; accepted: a list of boards, or the name of a file"),
    "no board": ("", "devices: there is no board; accepted: devices: [{name: …, host: …}], or a file"),
    "label": (f"{BOARDS}device: {{sok: j5}}\n", "device.sok: no board has this label; did you mean 'soc'?"),
    "value": (f"{BOARDS}device: {{soc: j4}}\n", "device.soc: found 'j4', which no board has; "),
    "labels of two": (f"{BOARDS}device: {{soc: j5, mem: 8}}\n", ":8: device: no board has all of these labels"),
    "gpus": (f"{BOARDS}gpus: 1\n", ":8: gpus: found 1 for a model on a board; accepted: 0"),
    "remote": (f"{BOARDS}remote: true\n", ":8: remote: found with adapter ssh"),
    "policy": (f"{BOARDS}env: {{CLEANUP_SHARED_MODELS: 3}}\n", "CLEANUP_SHARED_MODELS: found '3'; accepted: 0, 1, 2"),
    "keeping": (f"{BOARDS}env: {{CLEANUP_REMOTE_WORKDIR: x}}\n", "CLEANUP_REMOTE_WORKDIR: found 'x'; accepted: 0, 1"),
}
OTHERS = {
    "device without a board": (
        "adapter: ./my.py:Model\ndevice: {soc: j5}\n",
        "device: found with adapter ./my.py:Model",
    ),
    "upload of a script": (
        "adapter: command\nremote: true\nupload: [x]\ncommand: sh x\nresults: {csv: a}\n" + BOARDS,
        "upload: found with remote: true, where the script sends its files",
    ),
    "remote server": (
        "adapter: command\nremote: true\nask: server\ncommand: sh x\n" + BOARDS,
        "remote: found with ask: server",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_name_file_line_and_what_is_accepted(suite, mistake):
    """Whatever is wrong with boards is one line, before anything runs."""
    text, told = MISTAKES[mistake]
    assert told in suite(SUITE + PAIR + text).problem()


@pytest.mark.parametrize("mistake", OTHERS)
def test_what_needs_a_board(suite, mistake):
    """Words for boards stand with adapters that use one, and in a way that can be done."""
    text, told = OTHERS[mistake]
    assert told in suite(PAIR + text).problem()


def test_a_mistake_in_a_file_of_boards_names_that_file(suite):
    """With its own lines."""
    suite(SUITE + PAIR + "devices: lab/boards.yaml\n").write({"lab/boards.yaml": "devices:\n- name: b1\n  slots: 0\n"})
    assert "evals/lab/boards.yaml:3: devices[0].slots: found 0; accepted: " in suite.problem()


def test_paths_are_relative_to_the_file_that_has_them(suite):
    """In the suite to the suite, in a file of boards to that file; ``~`` is the user's home."""
    suite(SUITE + PAIR + "devices: lab/boards.yaml\n")
    suite.write({"lab/boards.yaml": "devices: [{name: b1, identity_file: [k/id, ~/id], known_hosts: ../hosts}]\n"})
    (board,) = devices_of(suite.settings("m/clean"))
    assert board.identity_file[0] == str(suite.root / "lab" / "k" / "id")
    assert board.identity_file[1].startswith("/")
    assert board.known_hosts == str(suite.root / "hosts")
    suite(SUITE + PAIR + "devices: [{name: b1, identity_file: k/id}]\n")
    (board,) = devices_of(suite.settings("m/clean"))
    assert board.identity_file == (str(suite.root / "k" / "id"),)


def test_boards_of_the_command_line_are_found_from_where_the_user_stands(suite, tmp_path):
    """A file or a list, above what the suite says."""
    suite(SUITE + PAIR + BOARDS).write({"../mine.yaml": "devices: [{name: mine, known_hosts: k}]\n"})
    for text in ("devices=mine.yaml", "devices=[{name: mine, known_hosts: k}]"):
        (board,) = devices_of(suite.settings("m/clean", eval_set=[eval_set_layer([text])]))
        assert (board.name, board.host, board.known_hosts) == ("mine", "mine", str(tmp_path / "k"))


def test_labels_choose(suite):
    """All labels that a pair wants, in the order of the suite; numbers are texts; none wants any."""
    suite(SUITE + PAIR + BOARDS)
    assert [spec.name for spec in devices_of(suite.settings("m/clean"))] == ["b1", "b2"]
    suite(SUITE + PAIR + BOARDS + "device: {mem: 8}\n")
    assert [spec.name for spec in devices_of(suite.settings("m/clean"))] == ["b2"]


def test_the_home_of_a_board_is_its_own_or_that_of_the_settings(suite):
    """REMOTE_TASK_HOME of the environment counts as everywhere; models go with their last pair."""
    suite(SUITE + PAIR + "devices: [{name: b1, home: /own}, {name: b2}]\n")
    settings = suite.settings("m/clean", environ={"REMOTE_TASK_HOME": "/data"})
    assert [home_of(spec, settings) for spec in devices_of(settings)] == ["/own", "/data"]
    assert model_policy(settings) == "1"
    assert model_policy(suite.settings("m/clean", environ={"CLEANUP_SHARED_MODELS": "2"})) == "2"
