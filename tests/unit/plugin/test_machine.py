"""What a machine has against what is asked: usage errors, skips, slots, and no look where nobody asks."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from pytest_evalrun.plugin import machine
from pytest_evalrun.plugin.machine import Machine, slots_of
from pytest_evalrun.slots import gpus as drivers
from pytest_evalrun.slots import visible
from pytest_evalrun.slots.gpus import Gpu
from pytest_evalrun.slots.need import GB, Need
from pytest_evalrun.slots.visible import Found
from pytest_evalrun.suite.devices import asks_for_boards
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task

SUITE = """
adapter: ./model.py:predict
models: [{name: small}, {name: large, gpus: 2}]
datasets: [{name: one, path: one.jsonl}]
format: jsonl
inputs: [x]
metrics: [exact_match]
"""


class Driver:
    """As much of NVML as is asked for when nothing is leased."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def free_memory(self, gpu):
        return gpu.free

    def users(self, gpu):
        return []

    def reason(self, gpu):
        return ""


@pytest.fixture
def host(monkeypatch, tmp_path):
    """Sets the GB that are free of the 80 of each GPU; no GPU may be looked for before."""
    monkeypatch.setenv("EVALRUN_SLOTS_DIR", str(tmp_path / "slots"))

    def unasked(*_, **__):
        raise AssertionError("nobody asked for a GPU")

    def have(*free):
        found = Found(tuple(gpu(index, gigabytes) for index, gigabytes in enumerate(free)))
        monkeypatch.setattr(visible, "find_gpus", lambda *_, **__: found)
        monkeypatch.setattr(drivers, "Nvml", Driver)

    monkeypatch.setattr(visible, "find_gpus", unasked)
    monkeypatch.setattr(drivers, "Nvml", unasked)
    return have


def gpu(index, free):
    return Gpu(str(index), index, f"GPU-{index}", "Fake A100", 80 * GB, free * GB)


def pair(name="one", skip=None, **settings):
    layer = Layer("suite", "evalrun.yaml", settings)
    return Pair("letters", ".", Task("a", None, "."), Dataset(name, f"{name}.jsonl"), (layer,), skip=skip)


ANY = Need(devices=("@one:", "root@two:2222"))
ONE = Need(devices=("@one:",))
DEVICES = [
    {"name": "one", "labels": {"soc": "j5", "ram": "4"}},
    {"name": "b2", "host": "two", "user": "root", "port": 2222, "slots": 3},
]


def on_board(name="one", **settings):
    return pair(name, **{"adapter": "ssh", "devices": DEVICES} | settings)


@pytest.fixture
def no_network(monkeypatch):
    def connected(*_, **__):
        raise AssertionError("a board was spoken to")

    monkeypatch.setattr(socket.socket, "connect", connected)


def test_nobody_asks(host, tmp_path):
    """Then no driver is opened and no directory of leases made; skipped pairs ask for nothing."""
    found = Machine([pair(), pair("two", gpus=0), pair("three", gpus=4, skip="not today")], {}, None)
    assert (found.needs, found.gpus, found.lacking, found.slots()) == ({}, (), {}, 0)
    assert not (tmp_path / "slots").exists()


def test_needs_that_can_be_met(host):
    """By the pair's full name, beside those of tests; the line at the start tells GPUs and room."""
    host(80, 20)
    found = Machine([pair(gpus=2), pair("two", gpus=1, min_gpu_memory=40)], {"test_x.py::test_x": Need(1)}, None)
    assert found.needs == {"letters/a/one": Need(2), "letters/a/two": Need(1, 40)}
    assert found.slots() == 2
    gpus = "GPU 0 Fake A100 (80.0 of 80.0 GB free), GPU 1 Fake A100 (20.0 of 80.0 GB free)"
    assert list(found.lines()) == [f"{gpus}; room for 2 models at once"]


LACKING = {
    "one": ([pair(gpus=3)], {}, "letters/a/one: needed: 3 GPUs"),
    "several": ([pair(gpus=3), pair("two", gpus=3)], {}, "letters/a/one and 1 more: needed: 3 GPUs"),
    "a test": ([], {"test_x.py::test_x": Need(3)}, "test_x.py::test_x: needed: 3 GPUs"),
    "one is optional": ([pair(gpus=3, optional=True), pair("two", gpus=3)], {}, "letters/a/two: needed: 3 GPUs"),
    "memory": (
        [pair(gpus=1, min_gpu_memory=90)],
        {},
        "1 GPU with 90 GB free; this host has:\n  GPU 0  Fake A100  80.0 of",
    ),
}


@pytest.mark.parametrize(("pairs", "tests", "words"), LACKING.values(), ids=LACKING)
def test_needs_that_cannot_be_met(host, pairs, tests, words):
    """A usage error that names who asks, what for, what there is, and how else."""
    host(80, 80)
    with pytest.raises(pytest.UsageError) as error:
        Machine(pairs, tests, None)
    assert words in str(error.value)
    assert "or write `optional: true`" in str(error.value)


def test_every_lack_is_told_at_once(host):
    """Not one after the other, run by run."""
    host(80)
    with pytest.raises(pytest.UsageError) as error:
        Machine([pair(gpus=3), pair("two", gpus=1, min_gpu_memory=90)], {}, None)
    assert "needed: 3 GPUs" in str(error.value)
    assert "needed: 1 GPU with 90 GB free" in str(error.value)


def test_who_is_patient_leaves_used_memory_to_the_items(host):
    """But not what no wait would give."""
    host(20, 20)
    found = Machine([pair(gpus=1, min_gpu_memory=40)], {}, None, patient=True)
    assert found.needs == {"letters/a/one": Need(1, 40)}
    assert not found.lacking
    for need in ({"gpus": 1, "min_gpu_memory": 90}, {"gpus": 3}):
        with pytest.raises(pytest.UsageError, match="this host has"):
            Machine([pair(**need)], {}, None, patient=True)


def test_what_is_optional_is_no_error(host):
    """It needs nothing, for it is skipped; the reason is one line."""
    host(80)
    found = Machine([pair(gpus=3, optional=True), pair("two", gpus=1)], {}, None)
    assert found.needs == {"letters/a/two": Need(1)}
    (reason,) = found.lacking.values()
    assert found.lacking.keys() == {"3 GPUs"}
    assert reason.startswith("needed: 3 GPUs; this host has: GPU 0 Fake A100 80.0 of 80.0 GB free")
    assert found.slots() == 1


SLOTS = {
    "one each": ([pair(gpus=1)], 4),
    "two each": ([pair(gpus=2)], 2),
    "shared": ([pair(gpus=1, workers_per_gpu=3)], 12),
    "the most numerous": ([pair(gpus=4), pair("two", gpus=1)], 4),
    "boards": ([pair(gpus=4), on_board(device={"soc": "j5"}), on_board("two")], 4),
    "one board": ([on_board(device={"soc": "j5"})], 1),
}


@pytest.mark.parametrize(("pairs", "count"), SLOTS.values(), ids=SLOTS)
def test_slots(host, pairs, count):
    """As many as there can be models of the kind of which there can be most."""
    host(80, 80, 80, 80)
    assert Machine(pairs, {}, None).slots() == count


class Options:
    gpus = None

    def command_line(self):
        return []

    def eval_set(self):
        return []


def test_slots_of_suites_on_disk(host, tmp_path):
    """A broken suite is told later, by its collection."""
    host(80, 80, 80)
    file = tmp_path / "evalrun.yaml"
    file.write_text(SUITE)
    (tmp_path / "model.py").write_text("def predict(batch): return batch\n")
    (tmp_path / "one.jsonl").write_text("{}")
    assert slots_of([file], Options()) == 1
    boards = "devices: [{name: b1}, {name: b2, slots: 4}]\ncommand: 'true'\nask: batch\nresults: {csv: out.csv}"
    (tmp_path / "a.bin").write_text("weights")
    on_boards = SUITE.replace("adapter: ./model.py:predict", f"adapter: ssh\n{boards}").replace(", gpus: 2", "")
    file.write_text(on_boards)
    assert slots_of([file], Options()) == 5
    file.write_text(SUITE.replace("gpus: 2", "gpus: 9"))
    assert slots_of([file], Options()) == 0
    file.write_text("adapter: 7")
    assert slots_of([file], Options()) == 0


def test_to_ask_is_cheap():
    """A pair that asks for nothing is known by its layers alone."""
    assert not machine.asks_for_gpus(pair())
    assert machine.asks_for_gpus(pair(gpus=1))


def test_boards_are_needed_by_who_speaks_of_them(host, no_network):
    """By the keys of those that would do, without a word to any; the line at the start tells labels and room."""
    found = Machine([on_board(), on_board("two", device={"soc": "j5"}), pair("three")], {}, None)
    assert found.needs == {"letters/a/one": ANY, "letters/a/two": ONE}
    assert (found.gpus, found.lacking, found.slots()) == ((), {}, 4)
    assert list(found.lines()) == ["boards: one (soc j5, ram 4), b2; room for 4 models at once"]
    assert found.pool().devices == {"@one:": 1, "root@two:2222": 3}


def test_the_only_board_of_a_pair_is_left_to_it(host):
    """Whoever can go elsewhere is planned for elsewhere."""
    pool = Machine([on_board(), on_board("two", device={"soc": "j5"})], {}, None).pool()
    assert pool.take("a", ANY)
    assert pool.place(ONE) is not None


def test_who_uses_no_board_after_all_needs_none(host):
    """The command line may say another adapter than the suite; skipped pairs, and pairs that are cut, need none."""
    pairs = [on_board(skip="not today"), on_board("two", adapter="command", command="true")]
    found = Machine(pairs, {}, None)
    assert (found.needs, found.boards, list(found.lines())) == ({}, {}, [])


GONE = {"@one:": ("one", "no answer"), "root@two:2222": ("b2", "no\nkey")}


def test_without_a_board_others_do(host):
    """It is not planned with; who needs it and no other is skipped with the reason, if that is optional."""
    found = Machine([on_board(), on_board("two", device={"soc": "j5"}, optional=True)], {}, None)
    found.do_without({"@one:": GONE["@one:"]})
    assert found.lacking == {str(ONE): "no board: one: no answer"}
    assert found.needs == {"letters/a/one": ANY}
    assert found.pool().devices == {"root@two:2222": 3}
    assert found.slots() == 3


def test_without_any_board_its_pairs_are_planned_as_if_nothing_was_needed(host):
    """Why there is none is told to all of them: who is optional is skipped for that, the others find out at once."""
    found = Machine([on_board(), on_board("two", optional=True), on_board("three", gpus=0)], {}, None)
    found.do_without(GONE)
    assert (found.needs, found.boards, found.slots()) == ({}, {}, 0)
    assert found.lacking == {str(ANY): "no board: one: no answer; b2: no key"}


def test_boards_that_are_gone_for_the_same_reason_are_told_together(host):
    """Ten boards without power are one reason."""
    found = Machine([on_board(optional=True)], {}, None)
    found.do_without({key: (name, "no answer") for key, (name, _) in GONE.items()})
    assert found.lacking == {str(ANY): "no board: one, b2: no answer"}


def test_to_ask_for_boards_is_cheap_too():
    """By the layers alone, before any settings are resolved."""
    no_board, no_program = pair(adapter="command"), pair(adapter="./m.py:M", devices=DEVICES)
    assert not asks_for_boards(no_board)
    assert not asks_for_boards(no_program)
    assert asks_for_boards(on_board())
    assert asks_for_boards(pair(adapter="command", devices=DEVICES, remote=True))
    assert not {"settings"} & {*vars(no_board), *vars(no_program)}


@pytest.mark.parametrize("option", [[], ["--collect-only"], ["-n2"]])
def test_suites_without_boards_never_import_what_speaks_to_them(tmp_path, option):
    """Nor does the plan of a dry run: paramiko takes a quarter of a second."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "evalrun.yaml").write_text(SUITE.replace(", gpus: 2", "").replace("metrics", "reference: x\nmetrics"))
    (tmp_path / "model.py").write_text("def predict(batch): return [sample.input for sample in batch]\n")
    (tmp_path / "one.jsonl").write_text('{"x": 1}\n')
    check = "assert not {'paramiko', 'pytest_evalrun.remote.boards.manager'} & {*sys.modules}"
    (tmp_path / "conftest.py").write_text(f"import sys\ndef pytest_unconfigure(config):\n    {check}")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *option]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
