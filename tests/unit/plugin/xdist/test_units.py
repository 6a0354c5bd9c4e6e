"""Which items travel together, what they are expected to take, and what they wait for."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.planning.costs import Estimate
from pytest_evalrun.plugin.items import HOME
from pytest_evalrun.plugin.xdist.units import BLOCK, ORDINARY_SECONDS, Told, asked, told_of, units_of
from pytest_evalrun.slots.need import Need
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task


def pair(task, dataset):
    layers = (Layer("suite", "evalrun.yaml", {"adapter": "./m.py:M"}),)
    return Pair("s", "/", Task(task, None, "/"), Dataset(dataset, "/d"), layers)


def made(ids, *, modules=(), tests=None, seconds=3.0, load=1.0, needs=None):
    """Units of ids such as ``evalrun.yaml::test_pair[m/d]``; what has no brackets is an ordinary test."""
    pairs = {nodeid: pair(*nodeid.partition("[")[2][:-1].split("/")) for nodeid in ids if "[" in nodeid}
    estimates = {found.full_id: Estimate(seconds, load, "history") for found in pairs.values()}
    return units_of(ids, pairs, Told(frozenset(modules), tests or {}), estimates, needs or {})


SUITE = "s/evalrun.yaml::test_pair"
# A module's fixture that passes for ours.
GPUS = f"def gpus(): pass\ngpus.__module__ = {HOME!r}\ngpus = pytest.fixture(gpus)"


def test_a_pair_travels_alone():
    """With its model, its seconds, its load and its GPUs."""
    units = made([f"{SUITE}[m/d]", f"{SUITE}[m/e]", f"{SUITE}[n/d]"], needs={"s/n/d": Need(2)})
    assert [unit.indices for unit in units] == [(0,), (1,), (2,)]
    assert [(unit.work.model, unit.work.seconds, unit.work.load, unit.work.need) for unit in units] == [
        ("s/m", 3.0, 1.0, Need()),
        ("s/m", 3.0, 1.0, Need()),
        ("s/n", 3.0, 1.0, Need(2)),
    ]


def test_ordinary_tests_travel_with_their_module():
    """In their order, though others stand between them."""
    units = made(["t.py::a", f"{SUITE}[m/d]", "t.py::b", "u.py::C::c"])
    assert sorted(unit.indices for unit in units) == [(0, 2), (1,), (3,)]
    module = next(unit for unit in units if unit.indices == (0, 2))
    assert module.work.seconds == 2 * ORDINARY_SECONDS
    assert not module.work.need


def test_large_modules_travel_in_blocks():
    """As xdist would deal them out; but not where the tests of a module share fixtures."""
    ids = [f"t.py::test[{number}]" for number in range(2 * BLOCK + 1)]
    every = tuple(range(len(ids)))
    blocks = units_of(ids, {}, Told(), {}, {})
    assert [unit.indices for unit in blocks] == [every[:BLOCK], every[BLOCK:-1], every[-1:]]
    assert {unit.work.model for unit in blocks} == {"module t.py"}
    assert [unit.indices for unit in units_of(ids, {}, Told(frozenset(["t.py"])), {}, {})] == [every]


def test_tests_of_pairs_stay_together_where_they_share_fixtures():
    """Only there; the module then needs what its neediest test needs."""
    ids = ["t.py::own[m/d]", "t.py::own[m/e]"]
    assert sorted(unit.indices for unit in made(ids)) == [(0,), (1,)]
    (unit,) = made(ids, modules=["t.py"], needs={"s/m/e": Need(2)}, tests={ids[0]: Need(1, 40.0)})
    assert unit.indices == (0, 1)
    assert (unit.work.seconds, unit.work.need) == (6.0, Need(2))


@pytest.mark.parametrize(
    ("one", "other", "need"),
    [
        (Need(), Need(devices=("b1", "b2")), Need(devices=("b1", "b2"))),
        (Need(devices=("b1", "b2")), Need(devices=("b2",)), Need(devices=("b2",))),
        (Need(devices=("b2",)), Need(1, 40.0), Need(1, 40.0)),
    ],
)
def test_a_module_waits_for_what_is_hardest_to_have(one, other, need):
    """A board before nothing, the narrower choice of boards, GPUs before boards; in whichever order they come."""
    ids = ["t.py::own[m/d]", "t.py::own[m/e]"]
    for needs in ({"s/m/d": one, "s/m/e": other}, {"s/m/d": other, "s/m/e": one}):
        (unit,) = made(ids, modules=["t.py"], needs=needs)
        assert unit.work.need == need


def test_every_item_is_in_one_unit():
    """And every unit has a place of its own."""
    ids = [f"{SUITE}[m/d{n}]" for n in range(5)] + [f"t{n % 2}.py::a{n}" for n in range(6)]
    units = made(ids)
    assert sorted(index for unit in units for index in unit.indices) == list(range(len(ids)))
    assert len({unit.work.place for unit in units}) == len(units)


def test_what_workers_tell_travels():
    """As text, because it is published in a file."""
    needs = {"a.py::t": Need(2, 40.0, 3), "b.py::t": Need(devices=("b1", "b2"))}
    told = Told(frozenset({"b.py", "a.py"}), needs, {"a.py::t[x]": "s/m/d", "ü::t[x]": "s/ü/d/0-9"}, ordered=True)
    assert Told.loads(told.dumps()) == told


@pytest.mark.parametrize(
    ("text", "together"),
    [
        ("def test_a(tmp_path, request): pass", False),
        ("@pytest.fixture(scope='session')\ndef s(): pass\ndef test_a(s): pass", False),
        ("@pytest.fixture(scope='module')\ndef m(): pass\ndef test_a(m): pass", True),
        ("@pytest.fixture(scope='class', autouse=True)\ndef m(): pass\ndef test_a(): pass", True),
        ("@pytest.fixture(scope='package')\ndef m(): pass\n@pytest.fixture\ndef n(m): pass\ndef test_a(n): pass", True),
        ("def setup_module(): pass\ndef test_a(): pass", True),
        ("class TestA:\n    @classmethod\n    def setup_class(cls): pass\n    def test_a(self): pass", True),
        ("import unittest\nclass TestA(unittest.TestCase):\n    def test_a(self): pass", True),
    ],
)
def test_modules_with_wide_fixtures_are_told(pytester, text, together):
    """Also of those that come by themselves, by another fixture, or by old names."""
    items = pytester.getitems("import pytest\n" + text)
    told = told_of(items, lambda item: None)
    assert bool(told.modules) == together


@pytest.mark.parametrize(
    ("marker", "need"),
    [
        ("", Need(1)),
        ("@pytest.mark.gpus(2)", Need(2)),
        ("@pytest.mark.gpus(2, 40)", Need(2, 40)),
        ("@pytest.mark.gpus(count=2, per_gpu=3)", Need(2, 0.0, 3)),
        ("@pytest.mark.gpus(memory=8)", Need(1, 8)),
    ],
)
def test_the_fixture_gpus_asks_as_its_marker_says(pytester, marker, need):
    """One GPU where it says nothing."""
    pytester.makeini("[pytest]\nmarkers = gpus: x")
    text = f"import pytest\n{GPUS}\n{marker}\ndef test_a(gpus): pass\ndef test_b(): pass"
    told = told_of(pytester.getitems(text), lambda item: None)
    assert list(told.needs.values()) == [need]


@pytest.mark.parametrize(
    "marker",
    ["'a100'", "kind=3", "0", "True", "1, 0, 0", "1, 2, 3, 4", "1, count=1", "memory=-1", "memory=float('nan')"],
)
def test_a_marker_that_says_something_else_is_told_by_its_test(pytester, marker):
    """Naming what it says and what is accepted; until then nothing is reserved for the test."""
    pytester.makeini("[pytest]\nmarkers = gpus: x")
    text = f"import pytest\n{GPUS}\n@pytest.mark.gpus({marker})\ndef test_a(gpus): pass"
    (item,) = pytester.getitems(text)
    assert told_of([item], lambda item: None).needs == {}
    with pytest.raises(ConfigError, match=r"found @pytest.mark.gpus\(.+accepted: gpus\(count=1"):
        asked(item, None)


OTHERS = {
    "fixture": "@pytest.fixture\ndef gpus(): pass\n@pytest.mark.gpus('a100', kind=3)\ndef test_a(gpus): pass",
    "parameter": "@pytest.mark.parametrize('gpus', [1, 2])\ndef test_a(gpus): pass",
    "marker": "@pytest.mark.gpus('a100', kind=3)\ndef test_a(): pass",
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_what_others_call_gpus_reserves_nothing(pytester, text):
    """A fixture, a parameter and a marker of a project are its own."""
    pytester.makeini("[pytest]\nmarkers = gpus: x")
    assert told_of(pytester.getitems(f"import pytest\n{text}"), lambda item: None).needs == {}


def test_the_fixture_gpus_of_a_pair_on_a_board_is_about_gpus(pytester):
    """The board is its model's; one GPU, as where the pair says nothing."""
    settings = {"adapter": "ssh", "devices": [{"name": "b1"}]}
    found = Pair("s", "/", Task("m", None, "/"), Dataset("d", "/d"), (Layer("suite", "evalrun.yaml", settings),))
    text = f"import pytest\n{GPUS}\ndef test_a(gpus): pass"
    assert list(told_of(pytester.getitems(text), lambda _: found).needs.values()) == [Need(1)]
