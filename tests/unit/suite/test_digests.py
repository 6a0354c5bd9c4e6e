"""What a pair is and its settings as one short text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_evalrun.suite.digests import difference, digest_of
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Cut
from pytest_evalrun.suite.published import dump, load

SUITE = """\
adapter: ./my.py:Model
params: {1: one, 10: ten, 2: two, key: "${SECRET}"}
metrics: [top1, {./m.py:score: {k: 2}}]
gates: {top1: {min: 0.5}}
models: [{name: a}, {name: b}]
datasets: [{path: clean.csv}]
"""


FILES = {"m.py": "def score(prediction, reference, k): return 1.0\n"}


@pytest.fixture
def pairs(suite):
    suite(SUITE, **FILES)
    return suite.discover().pairs


def test_another_process_finds_the_same(pairs, suite):
    """A digest is the same wherever the same suite is found: here, again, and as it was published to a worker."""
    told = [digest_of(pair) for pair in pairs]
    assert told == [digest_of(pair) for pair in suite.discover().pairs]
    (loaded,) = load(dump([suite.discover()]))
    assert told == [digest_of(pair) for pair in loaded.pairs]
    assert len(set(told)) == 2
    assert [difference(digest, pair) for digest, pair in zip(told, loaded.pairs, strict=True)] == [None, None]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("one", "eins", id="a parameter"),
        pytest.param("SECRET", "OTHER", id="the name of a secret"),
        pytest.param("k: 2", "k: 3", id="a parameter of a metric"),
        pytest.param("min: 0.5", "min: 0.6", id="a gate"),
        pytest.param("gates:", "retries: 7\ngates:", id="a setting that had its default"),
    ],
)
def test_a_changed_setting_is_a_difference_and_its_source_is_named(pairs, suite, old, new):
    """Whatever is set otherwise counts, and who reads of it learns in which file to look."""
    digest = digest_of(pairs[0])
    suite(SUITE.replace(old, new, 1), **FILES)
    changed = suite.discover().pairs[0]
    told = difference(digest, changed)
    assert told is not None
    assert told.endswith("evalrun.yaml (suite)")


def test_what_only_stands_elsewhere_is_no_difference(pairs):
    """The same value from another source, or another line, is the same setting."""
    pair = pairs[0]
    moved = replace(pair, layers=tuple(replace(layer, lines={}, source="moved") for layer in pair.layers))
    again = replace(pair, layers=(*pair.layers, Layer("command line", "--eval-retries", {"retries": 2})))
    assert difference(digest_of(pair), moved) is None
    assert difference(digest_of(pair), again) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"cut": Cut(0, 5, "0-5"), "cuts": (Cut(0, 5, "0-5"),)}, id="a shard"),
        pytest.param({"skip": "not today"}, id="skipped"),
        pytest.param({"suite": "other"}, id="of another suite"),
    ],
)
def test_another_pair_with_the_same_settings_is_a_difference(pairs, change):
    """A pair is more than its settings; where these have no part in it, nobody is sent to look at their files."""
    told = difference(digest_of(pairs[0]), replace(pairs[0], **change))
    assert told == "its model, data or shards"


def test_a_source_that_came_is_told_with_all_that_there_are(pairs):
    """With one source more nobody can say which belongs to which: all are named."""
    pair = pairs[0]
    more = replace(pair, layers=(*pair.layers, Layer("environment", "EVALRUN_RETRIES", {"retries": 3})))
    told = difference(digest_of(pair), more)
    assert told is not None
    assert told.startswith("other sources of settings")
    assert "EVALRUN_RETRIES" in told
