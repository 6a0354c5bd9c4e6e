"""Which samples of a pair are shown: first those that a person would look for, then a spread."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.report.html.choosing import MOST, Flipped, SampleChoice, SecondsBins

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.report.html.choosing import Chosen

BETTER = {"right": "higher"}


def line(index: int, *, ok: bool = True, seconds: float | None = 0.01) -> dict[str, Any]:
    return {"index": index, "id": f"s{index}", "status": "ok" if ok else "failed", "seconds": seconds}


def chosen(scores: dict[int, dict[str, Any]], count: int, failed: frozenset[int] = frozenset(), **better) -> Chosen:
    """``scores`` by index; all others are right."""
    pairs = ((line(i, ok=i not in failed), scores.get(i, {"right": 1.0})) for i in range(count))
    return SampleChoice(better or BETTER, Flipped(None)).over(pairs)


def test_of_few_samples_all_are_chosen_in_their_order():
    """There is room for them."""
    found = chosen({3: {"right": 0.0}}, MOST)
    assert list(found.places) == [(i, 0) for i in range(MOST)]
    assert found.counts == {"flipped": 0, "failed": 0, "wrong": 1}
    assert (found.total, found.scored, found.binary) == (MOST, ["right"], ["right"])


def test_of_many_the_failed_and_wrong_ones_are_among_the_chosen():
    """They come first; a spread over all others fills the room."""
    wrong, failed = {17, 5_000, 9_999}, frozenset({1, 7_000})
    found = chosen({i: {"right": 0.0} for i in wrong}, 10_000, failed)
    assert len(found.places) == MOST
    assert list(found.places)[:5] == [(1, 0), (7_000, 0), (17, 0), (5_000, 0), (9_999, 0)]
    quarters = {index // 2_500 for index, _ in found.places}
    assert quarters == {0, 1, 2, 3}


def test_where_most_are_wrong_some_right_ones_are_shown_too():
    """Else nobody sees what goes well."""
    found = chosen({i: {"right": 0.0} for i in range(10_000) if i % 10}, 10_000)
    assert len(found.places) == MOST
    assert any(index % 10 == 0 for index, _ in found.places)
    assert found.counts["wrong"] == 9_000


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_worst_and_best_of_a_graded_metric_are_chosen(better: str):
    """In the metric's own sense."""
    values = [i / 1_000 for i in range(1_000)]
    random.Random(1).shuffle(values)
    scores = {i: {"loss": value} for i, value in enumerate(values)}
    found = chosen(scores, 1_000, loss=better)
    shown = {values[index] for index, _ in found.places}
    assert {0.0, 0.001, 0.999, 0.998} <= shown
    assert found.binary == []
    assert found.counts["wrong"] == 0
    first = values[next(iter(found.places))[0]]
    assert first == (0.0 if better == "higher" else 0.999)


def test_a_share_that_begins_with_zeros_is_no_right_or_wrong():
    """Its first zeros are among the worst."""
    scores = {i: {"f1": 0.0 if i < 3 else 0.25 + i / 4_000} for i in range(1_000)}
    found = chosen(scores, 1_000, f1="higher")
    assert found.binary == []
    assert list(found.places)[:3] == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.parametrize("count", [MOST, 1_000])
def test_a_share_that_begins_with_zeros_makes_no_right_answer_wrong(count: int):
    """Of what is right or wrong alone it is said how many are wrong, however many there are."""
    scores = {i: {"right": float(i != 7), "f1": 0.0 if i < 5 else 0.5} for i in range(count)}
    found = chosen(scores, count, right="higher", f1="higher")
    assert (found.counts["wrong"], found.binary) == (1, ["right"])
    assert (7, 0) in found.places
    if count > MOST:
        assert next(iter(found.places)) == (7, 0)


def test_scores_that_are_none_count_for_nothing():
    """Nor do NaN and text."""
    found = chosen({0: {"right": None}, 1: {"right": float("nan")}, 2: {"right": "yes"}, 3: {}}, 10)
    assert found.counts["wrong"] == 0
    assert found.binary == ["right"]


def before(tmp_path: Path, scores: dict[int, float], name: str = "right") -> Path:
    path = tmp_path / "scores.jsonl"
    path.write_text("".join(json.dumps({"index": i, "id": f"s{i}", name: v}) + "\n" for i, v in scores.items()))
    return path


def test_flips_come_first_and_say_which_way(tmp_path: Path):
    """Lost, or won, by each metric that says right or wrong."""
    path = before(tmp_path, {i: float(i != 700) for i in range(1_000)})
    lines = ((line(i), {"right": float(i != 900)}) for i in range(1_000))
    found = SampleChoice(BETTER, Flipped(path)).over(lines)
    assert list(found.places.items())[:2] == [((700, 0), {"right": "won"}), ((900, 0), {"right": "lost"})]
    assert found.counts["flipped"] == 2


def test_of_a_metric_of_which_less_is_better_a_rise_is_a_loss(tmp_path: Path):
    """As the metric has it."""
    path = before(tmp_path, {0: 0.0, 1: 1.0}, "error")
    flipped = Flipped(path, frozenset({"error"}))
    assert flipped.of(line(0), {"error": 1.0}) == {"error": "lost"}
    assert flipped.of(line(1), {"error": 0.0}) == {"error": "won"}


def test_only_the_same_sample_flips(tmp_path: Path):
    """At its place there may be another by now, or none before; degrees are no flips."""
    path = before(tmp_path, {0: 1.0, 2: 1.0, 3: 0.5})
    flipped = Flipped(path)
    assert flipped.of({"index": 0, "id": "other"}, {"right": 0.0}) == {}
    assert flipped.of(line(1), {"right": 0.0}) == {}
    assert flipped.of(line(2), {"right": 0.0}) == {"right": "lost"}
    assert flipped.of(line(3), {"right": 0.0}) == {}
    assert flipped.of(line(4), {"right": 0.0}) == {}


def test_seconds_are_counted_in_bins_of_rising_width():
    """From microseconds to hours in a few dozen; what was not timed is not counted."""
    bins = SecondsBins()
    for seconds in (0.0, 0.011, 0.012, 1.0, 3600.0, None, "x", -1):
        bins.add(seconds)
    found = bins.histogram()
    assert found is not None
    assert len(found["edges"]) == len(found["counts"]) + 1 < 100
    assert sum(found["counts"]) == 5
    assert sorted(found["edges"]) == found["edges"]
    assert SecondsBins().histogram() is None


def test_seconds_that_are_none_are_not_counted():
    """Of a damaged line, which must not cost the page."""
    bins = SecondsBins()
    for seconds in (float("inf"), float("nan"), -1.0, None, True, "1"):
        bins.add(seconds)
    assert bins.histogram() is None
