"""What pairs are expected to take, from the best that is known of each."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_evalrun.planning.costs import LEAST, Estimate, estimates, work_of
from pytest_evalrun.slots.need import Need


@pytest.fixture
def expected(bench):
    """Estimates of pairs in their order, in a run that is there."""
    return lambda *pairs, fresh=False: [*estimates(pairs, bench.work, bench.run, fresh=fresh).values()]


@pytest.fixture
def mark(bench):
    """Write the marker of a pair, so many seconds younger than its model and data."""

    def write(pair, age=10):
        marker = bench.run.pair(pair.key).marker
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        newest = Path(pair.dataset.path).stat().st_mtime
        os.utime(marker, (newest + age, newest + age))

    return write


def test_the_past_of_a_pair_says_most(bench, expected):
    """Seconds of its own, the load of its model."""
    bench.remember("m/d", load=5)
    assert expected(bench.pair("m/d")) == [Estimate(pytest.approx(10), 5, "history")]


def test_prompts_share_the_model_that_they_are_sent_to(bench):
    """A worker that holds it pays no load for the next prompt."""
    plain = bench.pair("m/d")
    asked = [replace(plain, task=replace(plain.task, name=f"m@{prompt}", prompt=prompt)) for prompt in ("a", "b")]
    works = [work_of(0, pair, Estimate(1, 5, "history"), Need(1)) for pair in (plain, *asked)]
    assert [work.model for work in works] == [f"{plain.suite}/m"] * 3


def test_a_limit_makes_less_of_it(bench, expected):
    """A tenth of the samples takes a tenth of the predicting; a limited past is scaled up in the same way."""
    bench.remember("m/d", predict=8, score=2, count=100)
    bench.remember("m/few", predict=8, score=2, count=10, total=100)
    pairs = [bench.pair("m/d", limit=10), bench.pair("m/d", limit=1000), bench.pair("m/few")]
    assert [expected(pair)[0].seconds for pair in pairs] == pytest.approx([1, 10, 100])


def test_a_new_pair_takes_the_samples_of_its_dataset_at_the_pace_of_its_model(bench, expected):
    """How many samples, other models have found out; how long each takes, the model has shown elsewhere."""
    bench.remember("fast/small", predict=1, score=0, count=100, load=3)
    bench.remember("slow/large", predict=90, score=0, count=300)
    pair = bench.pair("fast/large")
    assert expected(pair) == [Estimate(pytest.approx(3), 3, "samples")]
    assert expected(bench.pair("fast/large", limit=100)) == [Estimate(pytest.approx(1), 3, "samples")]


def test_a_new_model_takes_what_others_took(bench, expected):
    """The median, so that one slow model does not speak for all."""
    for name, seconds in (("a", 1), ("b", 2), ("c", 60)):
        bench.remember(f"{name}/d", predict=seconds, score=0)
    (found,) = expected(bench.pair("new/d"))
    assert (found.seconds, found.source) == (pytest.approx(2), "samples")


def test_a_model_without_a_file_loads_as_long_as_others(bench, expected):
    """What is only code may load anything; that others did is all there is to go by."""
    bench.remember("a/d", load=3)
    assert expected(bench.pair("code/d", model=None)) == [Estimate(pytest.approx(10), 3, "samples")]


def test_sizes_speak_where_nothing_was_measured(bench, expected):
    """More data takes longer, and so does a larger model; how long, only the order counts."""
    small, large = expected(bench.pair("m/small", data=10_000), bench.pair("m/large", data=90_000))
    heavy, light = expected(bench.pair("heavy/small", model=9_000_000), bench.pair("light/small"))
    assert {one.source for one in (small, large, heavy, light)} == {"size"}
    assert large.seconds > small.seconds
    assert heavy.seconds > light.seconds
    assert heavy.load > light.load


def test_bytes_are_weighed_by_what_was_measured(bench, expected):
    """A model that took 10 s for 1,000 bytes takes 30 s for 3,000; so does one that was never seen."""
    bench.remember("m/known", predict=10, score=0)
    known, new = bench.pair("m/known", data=1000), bench.pair("m/new", data=3000)
    assert expected(known, new, bench.pair("other/newer", data=3000))[1:] == [
        Estimate(pytest.approx(30), pytest.approx(0, abs=0.1), "size"),
        Estimate(pytest.approx(30), pytest.approx(0, abs=0.1), "size"),
    ]


def test_alone_a_new_dataset_takes_what_its_model_usually_takes(bench, expected):
    """Selected alone, there are no other pairs' bytes to compare with."""
    bench.remember("m/known", load=2)
    assert expected(bench.pair("m/new")) == [Estimate(pytest.approx(10), 2, "size")]


def test_a_limit_bounds_what_sizes_say(bench, expected):
    """Three samples of a huge dataset are three samples."""
    whole, few = expected(bench.pair("m/big", data=9_000_000)), expected(bench.pair("m/big", limit=3))
    assert few[0].seconds < whole[0].seconds / 10


def test_a_directory_is_neither_listed_nor_walked(bench, expected, monkeypatch):
    """It may hold 100,000 files: its own size says how many names are in it."""

    def refuse(*args, **options):
        raise AssertionError("nobody looks into directories here")

    for name in ("listdir", "scandir", "walk"):
        monkeypatch.setattr(os, name, refuse)
    (bench.root / "images.jsonl/in").mkdir(parents=True)
    (found,) = expected(bench.pair("m/images", in_subdir="in"))
    assert (found.source, found.seconds >= LEAST) == ("size", True)


def test_what_is_not_there_is_like_the_others(bench, expected):
    """A dataset without a path on this machine, a model that is code: the usual, or a second."""
    pair = bench.pair("code/gone", data=None, model=None)
    assert expected(pair) == [Estimate(1.0, 0.0, "size")]
    bench.remember("m/d", load=4)
    assert expected(bench.pair("m/d"), pair)[1] == Estimate(pytest.approx(10), 4, "size")


def test_a_marked_pair_will_be_reused(bench, expected, mark):
    """It takes next to nothing and needs no model: unless --eval-fresh asks for all of it again."""
    pair = bench.pair("m/d")
    mark(pair)
    bench.remember("m/d", load=5)
    assert expected(pair) == [Estimate(LEAST, 0.0, "finished")]
    assert expected(pair, fresh=True) == [Estimate(pytest.approx(10), 5, "history")]


@pytest.mark.parametrize("changed", ["d.jsonl", "m.bin", "model.py"])
def test_a_marker_older_than_what_it_vouches_for_is_not_believed(bench, expected, mark, changed):
    """Data, model or adapter look newer: the pair will be made again."""
    pair = bench.pair("m/d")
    mark(pair)
    path = bench.root / changed
    path.touch()
    marked = bench.run.pair(pair.key).marker.stat().st_mtime
    os.utime(path, (marked + 1, marked + 1))
    assert expected(pair)[0].source == "size"


def test_a_limited_pair_is_not_finished_by_a_full_result(bench, expected, mark):
    """--eval-limit asks for an evaluation of its own."""
    mark(bench.pair("m/d"))
    assert expected(bench.pair("m/d", limit=3))[0].source == "size"


def test_in_a_new_run_nothing_is_finished(bench, mark):
    """Markers of another run are not of this one."""
    pair = bench.pair("m/d")
    mark(pair)
    assert estimates([pair], bench.work, None, fresh=False)["s/m/d"].source == "size"


def test_a_skipped_pair_takes_nothing(bench, expected):
    """And it needs no model."""
    bench.remember("m/d", load=5)
    assert expected(bench.pair("m/d", skip="not today")) == [Estimate(LEAST, 0.0, "skipped")]


def test_nothing_takes_no_time_at_all(bench, expected):
    """A plan of zeros would put everything into one lane."""
    bench.remember("m/d", predict=1e-9, score=0)
    found = expected(bench.pair("m/d"), bench.pair("empty/none", data=0))
    assert min(one.seconds for one in found) >= LEAST


def test_settings_are_not_resolved(bench, expected, monkeypatch):
    """Ten thousand pairs would pay for it before the first one starts."""
    from pytest_evalrun.suite import settings

    monkeypatch.setattr(settings, "resolve", lambda layers: pytest.fail("resolved"))
    assert len(expected(bench.pair("m/d", limit=3))) == 1
