"""How pairs are cut: equal ranges, by position or by id, and data is looked at as little as can be."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.datasets.tables import JsonlReader
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.evaluation.cuts import cut_suite, ranges, wanted
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Suite
from pytest_evalrun.suite.published import dump, load


@pytest.fixture
def cutting(shop, tmp_path):
    """The labels of a pair, cut as discovery does it."""

    def cut(pair):
        suite = Suite("letters", str(shop.root / "evalrun.yaml"), str(shop.root), (pair,))
        return cut_suite(suite, tmp_path / "hashes.db").pairs[0]

    return lambda pair: [cut.label for cut in cut(pair).cuts]


@given(st.integers(1, 5000), st.sampled_from(["shards", "shard_size"]), st.integers(1, 6000))
def test_ranges_cover_every_sample_once_and_are_equal(count, word, value):
    """In order, none is empty, and by number no two differ by more than one sample; by size only the last is less."""
    found = list(ranges(count, word, value))
    assert all(low < high for low, high in found)
    assert (found[0][0], found[-1][1]) == (0, count)
    assert all(before[1] == after[0] for before, after in pairwise(found))
    sizes = [high - low for low, high in found]
    if word == "shards":
        assert len(found) == min(value, count)
        assert max(sizes) - min(sizes) <= 1
    else:
        assert set(sizes[:-1]) <= {value}
        assert sizes[-1] <= value


def test_nothing_is_cut_into_nothing():
    """A dataset without samples has no ranges."""
    assert list(ranges(0, "shards", 4)) == list(ranges(0, "shard_size", 4)) == []


WANTED = {
    "nothing": ([{}], None),
    "a number": ([{"shards": 4}], ("shards", 4)),
    "a size above a number": ([{"shards": 4}, {"shard_size": 10}], ("shard_size", 10)),
    "a number above a size": ([{"shard_size": 10}, {}, {"shards": 2}], ("shards", 2)),
    "unset above": ([{"shards": 4}, {"shards": None}], None),
    "unset, and set again": ([{"shards": 4}, {"shards": None}, {"shards": 3}], ("shards", 3)),
    "the other one unset": ([{"shards": 4}, {"shard_size": None}], ("shards", 4)),
}


@pytest.mark.parametrize(("layers", "expected"), WANTED.values(), ids=WANTED)
def test_the_higher_layer_says_how(shop, layers, expected):
    """Whatever the word; null unsets a word of the layers below."""
    pair = replace(shop.pair(), layers=tuple(Layer("suite", "x", values) for values in layers))
    assert wanted(pair) == expected


def test_labels_are_positions(shop, cutting):
    """A limit counts before cutting."""
    shop.data(count=10)
    assert cutting(shop.pair(shards=3)) == ["0-3", "3-6", "6-10"]
    assert cutting(shop.pair(shard_size=4)) == ["0-4", "4-8", "8-10"]
    assert cutting(shop.pair(shards=2, limit=5)) == ["0-2", "2-5"]
    assert cutting(shop.pair()) == cutting(shop.pair(shards=3, skip="not today")) == []


def numbered(shop, ids, name="numbers"):
    path = shop.root / "data" / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"id": i, "x": 0, "y": 0}) + "\n" for i in ids))
    return path


def test_labels_of_ranges_of_ids_are_ids(shop, cutting):
    """From the first id of a range to the first of the next; after the last id comes one more."""
    numbered(shop, [-5, 10, 11, 20, 300])
    by_id = {"range": "id", "reference": "y"}
    assert cutting(shop.pair("numbers", shards=2, **by_id)) == ["-5-11", "11-301"]
    assert cutting(shop.pair("numbers", shard_size=1, limit=3, **by_id)) == ["-5-10", "10-11", "11-12"]


MISTAKES = {
    "not numbers": (["7", "eight"], r"numbers\.jsonl: range: id needs ids that are whole numbers; found 'eight'"),
    "descending": ([1, 5, 3], r"numbers\.jsonl: range: id needs ids in ascending order; found 3 after 5"),
}


@pytest.mark.parametrize(("ids", "message"), MISTAKES.values(), ids=MISTAKES)
def test_ids_that_make_no_ranges_are_a_usage_error(shop, cutting, ids, message):
    """It names the file and the values."""
    numbered(shop, ids)
    with pytest.raises(ConfigError, match=message):
        cutting(shop.pair("numbers", shards=2, range="id"))


BAD_READER = """
class Reader:
    def __init__(self, *args, **params):
        raise KeyError("boom")
"""


@pytest.mark.parametrize("how", ["missing", "damaged", "empty", "reader"])
def test_a_dataset_that_cannot_be_read_is_left_whole(shop, cutting, how):
    """Its pair says what is wrong with it; collection goes on."""
    path = shop.data()
    (shop.root / "bad.py").write_text(BAD_READER)
    settings = {"format": "./bad.py:Reader"} if how == "reader" else {}
    {"missing": path.unlink, "damaged": lambda: path.write_text("{"), "empty": lambda: path.write_text("")}.get(
        how, lambda: None
    )()
    assert cutting(shop.pair(shards=2, **settings)) == []


@pytest.mark.parametrize("settings", [{"shards": 3}, {"shards": 2, "range": "id"}], ids=["position", "id"])
def test_a_second_collection_reads_nothing(shop, cutting, settings, monkeypatch):
    """What was counted is known by the hashes of the work directory until the file changes."""
    path = numbered(shop, range(20))
    os.utime(path, (1, 1))
    monkeypatch.setattr("pytest_evalrun.rundir.hashes.RACY_NS", 0)
    opened = []
    real = JsonlReader.rows
    monkeypatch.setattr(JsonlReader, "rows", lambda reader: opened.append(1) or real(reader))
    pair = shop.pair("numbers", **settings)
    first = cutting(pair)
    assert opened
    opened.clear()
    assert cutting(pair) == first
    assert opened == []
    numbered(shop, range(50, 80))
    assert cutting(pair) != first
    assert opened


def test_pairs_of_one_dataset_count_it_once(shop, tmp_path, monkeypatch):
    """However many models share it."""
    shop.data()
    counted = []
    real = JsonlReader.identity
    monkeypatch.setattr(JsonlReader, "identity", lambda reader, hashes: counted.append(1) or real(reader, hashes))
    pairs = tuple(shop.pair(task=f"model {i}", shards=2) for i in range(5))
    cut = cut_suite(Suite("letters", "f", str(shop.root), pairs), tmp_path / "hashes.db")
    assert [len(pair.cuts) for pair in cut.pairs] == [2] * 5
    assert len(counted) == 1


def test_a_suite_without_cuts_is_not_looked_at(shop, tmp_path):
    """It comes back as it is, and no hashes are opened."""
    suite = Suite("letters", "f", str(shop.root), (shop.pair("nowhere"),))
    assert cut_suite(suite, tmp_path / "hashes.db") is suite
    assert not (tmp_path / "hashes.db").exists()


def test_cuts_travel_to_the_workers(shop, tmp_path):
    """All processes of a launch see the same shards, whatever happens to the data meanwhile."""
    shop.data()
    suite = cut_suite(Suite("letters", "f", str(shop.root), (shop.pair(shards=2),)), tmp_path / "hashes.db")
    (there,) = load(dump([suite]))
    assert there.pairs[0].cuts == suite.pairs[0].cuts
    assert [shard.id for shard in there.pairs[0].shards()] == ["echo/clean/0-3", "echo/clean/3-6"]
