"""Two sides of a pair beside each other: paired, covered, flipped, and estimated by the method that fits."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from comparison_sides import side
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.comparison.compare import Coverage, FlippedSamples, TwoSides, compare
from pytest_evalrun.comparison.conclusion import conclude_drop
from pytest_evalrun.comparison.pairedmetric import paired_metric
from pytest_evalrun.comparison.pairing import matched, read_side
from pytest_evalrun.comparison.side import SampleScores
from pytest_evalrun.errors import PairError
from pytest_evalrun.stats.difference import BETTING, TANGO
from pytest_evalrun.stats.tango import tango_interval


def rows(scores, metric="top1", references=None, clusters=None, statistics=None):
    """Rows of samples by their ids."""
    return [
        SampleScores(
            name,
            (references or {}).get(name, "r"),
            {} if score is None else {metric: float(score)},
            (clusters or {}).get(name),
            {metric: statistics[name]} if statistics and name in statistics else {},
        )
        for name, score in scores.items()
    ]


def many(n, wrong=()):
    return [int(i not in wrong) for i in range(n)]


def test_right_and_wrong_are_paired_and_told_by_tango():
    """Values, flips with their ids, and the interval of the difference."""
    found = compare(side(many(200, {0, 1, 2})), side(many(200, {2, 3}), "run"), "top1")
    assert (found.metric, found.better, found.before, found.after) == ("top1", "higher", 0.985, 0.99)
    assert found.coverage == Coverage(200)
    assert found.flips == FlippedSamples(1, 2, ("s3",), ("s0", "s1"))
    assert found.estimate.method == TANGO
    assert (found.estimate.low, found.estimate.high) == pytest.approx(tango_interval(200, 1, 2))
    assert found.problem is None


def test_of_a_metric_of_which_less_is_better_a_rise_is_a_loss():
    """Values stay in the metric's own unit; the estimate, the flips and what is named lost are of quality."""
    before, after = [0] * 190 + [1] * 10, [1] * 20 + [0] * 180
    found = compare(side(before, better="lower"), side(after, "run", better="lower"), "top1")
    assert (found.before, found.after) == (0.05, 0.1)
    assert found.estimate.value == pytest.approx(-0.05)
    assert (found.flips.lost, found.flips.won) == (20, 10)
    assert found.flips.first_lost[0] == "s0"


def test_bounds_of_scores_are_turned_with_them():
    """A distance of at most 5 is a quality of at least -5."""
    rng = random.Random(1)
    before = [rng.uniform(0, 5) for _ in range(300)]
    told = {"better": "lower", "bounds": [0.0, 5.0]}
    found = compare(side(before, **told), side([x * 0.9 for x in before], "run", **told), "top1")
    assert found.estimate.method == BETTING
    assert (found.worst, found.bounded) == (5.0, True)
    assert found.estimate.low > 0


def test_bounds_of_a_side_that_does_not_tell_them_are_those_of_the_other_or_of_the_metric():
    """Results of earlier versions have none."""
    scores = [0.1 * (i % 9) for i in range(50)]
    told, untold = side(scores, bounds=[0.0, 1.0]), side(scores, "run")
    assert compare(told, untold, "top1").estimate.method == BETTING
    assert compare(untold, told, "top1").estimate.method == BETTING
    assert compare(untold, untold, "top1").estimate.method == "nothing differs (approximate)"
    made = SimpleNamespace(bounds=(0.0, 2.0))
    assert compare(untold, untold, "top1", made=lambda _: made).worst == 2.0


def test_bounds_that_a_score_does_not_keep_are_none():
    """The interval rests on them, so that it is another then."""
    told = {"bounds": [0.0, 1.0]}
    scores = [0.1 * (i % 9) for i in range(50)]
    found = compare(side(scores, **told), side([*scores[:-1], 1.5], "run", **told), "top1")
    assert found.estimate.approximate
    assert not found.bounded
    assert found.worst == 1.5


@given(st.integers(0, 10**6))
def test_the_order_of_samples_changes_nothing(seed):
    """They are paired by id; flips are named in the order of the side before."""
    rng = random.Random(seed)
    before = {f"s{i}": rng.randint(0, 1) for i in range(60)}
    after = {name: rng.randint(0, 1) for name in before}
    shuffled = dict(rng.sample([*after.items()], len(after)))
    one = compare(side((), rows=rows(before)), side((), "run", rows=rows(after)), "top1")
    assert compare(side((), rows=rows(before)), side((), "run", rows=rows(shuffled)), "top1") == one
    assert one.flips.lost == sum(before[name] > after[name] for name in before)


def test_up_to_one_in_a_hundred_may_be_on_one_side_only():
    """They are counted and named, and not compared."""
    one = side(many(200, {0}))
    found = compare(one, side([None, None, *many(198)], "run"), "top1")
    assert found.coverage == Coverage(198, before=2, named=("s0", "s1"))
    assert not found.coverage.complete
    assert found.before == found.after == 1.0
    found = compare(side([None, *many(199)]), side([*many(199)], "run"), "top1")
    assert found.coverage == Coverage(198, before=1, after=1, named=("s199", "s0"))


APART = {
    "gone": (side(many(100)), side(many(97), "run"), r"3 scored in main only, of 100 samples: s97, s98, s99;"),
    "new": (side(many(97)), side(many(100), "run"), r"3 scored in run only, of 100 samples: s97, s98, s99;"),
    "another reference": (
        side((), rows=rows(dict.fromkeys("abcdefghijkl", 1))),
        side((), "run", rows=rows(dict.fromkeys("abcdefghijkl", 1), references={"b": "x", "k": "x"})),
        r"2 with another reference, of 12 samples: b, k;",
    ),
    "all": (side(many(50)), side((), "run", rows=rows({f"t{i}": 1 for i in range(50)})), r"of 100 samples: s0, .*, …;"),
    "all failed": (side(many(5)), side([None] * 5, "run"), r"5 scored in main only, of 5 samples"),
}


@pytest.mark.parametrize(("before", "after", "told"), APART.values(), ids=APART)
def test_more_than_that_is_other_data(before, after, told):
    """How many, the first by their ids, and what mends it."""
    with pytest.raises(PairError, match=told) as raised:
        compare(before, after, "top1")
    assert "main is not of the same samples" in str(raised.value)
    assert "save it again: evalrun baseline save main" in str(raised.value)


def test_samples_that_failed_are_not_mended_by_another_baseline():
    """It would only hide them; but of fewer data there is no other."""
    with pytest.raises(PairError, match=r"if they failed, evaluate them again; if the data have them no more: save it"):
        compare(side(many(5)), side([None] * 5, "run"), "top1")
    with pytest.raises(PairError) as raised:
        compare(side(many(50)), side(many(100), "run"), "top1")
    assert "failed" not in str(raised.value)


def test_a_run_is_evaluated_again_where_it_does_not_fit():
    """There is nothing saved of it."""
    with pytest.raises(PairError, match=r"; evaluate it again$"):
        compare(side(many(50), "run 1", saved=False), side(many(100), "run"), "top1")


def test_first_samples_lack_none_of_the_others():
    """But those among them are missed."""
    before = side(many(1000, {3}))
    found = compare(before, side(many(50), "run"), "top1", partial=True)
    assert found.coverage == Coverage(50)
    assert (found.before, found.after) == (0.98, 1.0)
    with pytest.raises(PairError, match="2 scored in main only"):
        compare(before, side([1, None, None, *many(47)], "run"), "top1", partial=True)


OTHERWISE = {
    "version": (
        {"use": "psnr"},
        {"use": "psnr", "version": 2},
        "metric top1: its version differs between main and run",
    ),
    "parameters": ({"use": "f", "params": {"k": 1}}, {"use": "f", "params": {"k": 2}}, "its parameters differ"),
    "code": ({"use": "./m.py:M", "source": "a"}, {"use": "./m.py:M", "source": "b"}, "its code differs"),
}


@pytest.mark.parametrize(("old", "new", "told"), OTHERWISE.values(), ids=OTHERWISE)
def test_a_metric_that_was_another_is_not_compared(old, new, told):
    """What differs is named, and what mends it."""
    before, after = (side(many(9), name, scoring={"metrics": {"top1": m}}) for name, m in (("main", old), ("run", new)))
    with pytest.raises(PairError) as raised:
        compare(before, after, "top1")
    assert told in str(raised.value)
    assert "evalrun baseline save main" in str(raised.value)


def test_the_same_metric_is_the_same_as_it_is_stored():
    """A tuple comes back as a list; a metric over one of several answers is told by the name of the metric."""
    old, new = ({"metrics": {"top1": {"use": "f", "params": {"k": k}}}} for k in ([1, 2], (1, 2)))
    assert compare(side(many(9), scoring=old), side(many(9), "run", scoring=new), "top1").problem is None
    named = {"metrics": {"f1": {"use": "f1", "version": 1}}}, {"metrics": {"f1": {"use": "f1", "version": 2}}}
    sides = [side(many(9), "x", metric="f1@first", scoring=scoring) for scoring in named]
    with pytest.raises(PairError, match="its version differs"):
        compare(*sides, "f1@first")


def test_which_way_is_better_must_be_the_same():
    """A loss of the one would be a gain of the other."""
    with pytest.raises(PairError, match="which way is better differs"):
        compare(side(many(9)), side(many(9), "run", better="lower"), "top1")


def test_other_rules_are_remarks():
    """The metric is the same, what it was given may not be."""
    old = {"comparison": 1, "answer": {"after": "="}}
    found = compare(side(many(9), scoring=old), side(many(9), "run", scoring={"comparison": 2}), "top1")
    assert found.remarks == ("values are compared by another rule", "answers are taken out in another way")


def test_a_metric_that_one_side_lacks_is_named():
    """With those that it has."""
    with pytest.raises(PairError, match="metric top1: main has no such metric of s/a/one; it has: f1"):
        compare(side(many(9), metric="f1"), side(many(9), "run"), "top1")


def test_a_value_without_scores_has_no_estimate():
    """A program said it of all samples."""
    found = compare(side((), value=0.5), side((), "run", value=0.4), "top1")
    assert (found.estimate, found.problem) == (None, "no scores of single samples")
    assert (found.before, found.after, found.flips) == (0.5, 0.4, None)


def test_a_value_that_is_not_the_mean_of_its_scores_has_no_estimate():
    """Nobody knows what a sample adds to it."""
    found = compare(side(many(50, {1}), value=0.5), side(many(50), "run"), "top1")
    assert found.estimate is None
    assert found.problem.startswith("its value is not the mean")
    assert (found.before, found.after) == (0.5, 1.0)
    assert found.flips.won == 1


def test_sums_may_be_rounded():
    """A mean is one to nine digits."""
    scores = [0.1] * 10
    found = compare(side(scores, value=0.1 + 1e-11, bounds=[0, 1]), side(scores, "run", bounds=[0, 1]), "top1")
    assert found.estimate is not None


def test_digits_that_a_baseline_lacks_are_no_differences():
    """It has 12 of them; all that was measured is the same."""
    scores = [1 / (3 + i) for i in range(40)]
    short = [float(f"{score:.12g}") for score in scores]
    found = compare(side(short), side(scores, "run", saved=False), "top1")
    assert (found.estimate.method, found.estimate.value) == ("nothing differs (approximate)", 0)
    assert found.before == found.after


def test_a_model_against_itself_passes_once_a_loss_would_have_been_seen():
    """Without bounds too: where nothing differs the worst that was ever seen says how far the value may be off."""
    for n, word in ((20, "INCONCLUSIVE"), (400, "PASS")):
        scores = [20.0 + i % 11 for i in range(n)]
        found = compare(side(scores), side(scores, "run"), "top1")
        assert found.problem is None
        assert conclude_drop(found, 0.2).word == word
    found = compare(side([7.5] * 400), side([7.5] * 400, "run"), "top1")
    assert (found.estimate, found.worst) == (None, 0)
    assert found.problem == "all 400 differences are 0, and the metric declares no bounds"


def test_the_mean_of_all_answers_is_a_mean_too():
    """Samples of which some answers failed count as much as others in the comparison."""
    unequal = [SampleScores(f"s{i}", "r", {"top1": 0.5 if i else 1.0}, answers=2 if i else 1) for i in range(10)]
    value = sum(row.scores["top1"] * row.answers for row in unequal) / sum(row.answers for row in unequal)
    found = compare(side((), rows=unequal, value=value), side((), "run", rows=unequal, value=value), "top1")
    assert found.before == pytest.approx(0.55)
    vouched = side((), rows=[replace(row, answers=1) for row in unequal], value=value, mean=True)
    assert compare(vouched, side((), "run", rows=unequal, value=value), "top1").problem == found.problem


@pytest.mark.parametrize(("scores", "problem"), [((1,), "1 sample; 2 are needed")])
def test_one_sample_says_nothing(scores, problem):
    """And is no error."""
    found = compare(side(scores), side(scores, "run"), "top1")
    assert (found.estimate, found.problem) == (None, problem)


def clustered(size, count=10):
    return {f"s{i}": f"c{i // size}" for i in range(size * count)}


def test_samples_of_one_cluster_count_as_one():
    """The interval is wider, and says how many clusters there are."""
    names = [f"s{i}" for i in range(300)]
    before, after = dict.fromkeys(names, 1), {name: int(i % 30 >= 3) for i, name in enumerate(names)}
    groups = {name: f"c{i // 3 % 10}" for i, name in enumerate(names)}
    sides = [side((), name, rows=rows(s, clusters=groups)) for name, s in (("main", before), ("run", after))]
    found = compare(*sides, "top1")
    assert (found.estimate.clusters, found.estimate.n) == (10, 300)
    assert compare(*sides, "top1", clustered=False).estimate.clusters is None


def test_clusters_of_one_are_samples():
    """Then the method is that of samples."""
    names = {f"s{i}": 1 for i in range(50)}
    groups = {name: name for name in names}
    sides = [side((), name, rows=rows(names, clusters=groups)) for name in ("main", "run")]
    assert compare(*sides, "top1").estimate.clusters is None


def test_clusters_are_numbered_by_where_each_comes_first():
    """Whatever they are called: what is drawn of them is the same in each process."""
    names = dict.fromkeys("abcdefgh", 1)
    groups = dict(zip(names, ("z", "z", "q", "a", "q", "z", "m", "a"), strict=True))
    one = read_side(side((), rows=rows(names, clusters=groups)), ["top1"])
    told = {"partial": False, "referred": True}
    found = paired_metric((one, one), matched(one, one), "top1", 3, lambda _: None, **told)
    assert found.clusters().tolist() == [0, 0, 1, 2, 1, 0, 3, 2]


def test_clusters_are_those_of_the_side_after():
    """The data may name others by now; those of a baseline stand in where it names none."""
    names = {f"s{i}": i % 2 for i in range(100)}
    with_clusters = rows(names, clusters={name: str(i % 10) for i, name in enumerate(names)})
    few = rows(names, clusters={name: str(i % 3) for i, name in enumerate(names)})
    assert compare(side((), rows=few), side((), "run", rows=with_clusters), "top1").estimate.clusters == 10
    assert compare(side((), rows=with_clusters), side((), "run", rows=rows(names)), "top1").estimate.clusters == 10
    assert (
        compare(side((), rows=with_clusters), side((), "run", rows=few), "top1").problem == "3 clusters; 6 are needed"
    )


def test_a_relative_margin_keeps_its_share_whichever_way_is_better():
    """95 % of what more of is better, 105 % of what less of is better."""
    before, after = [0.8, 0.9] * 50, [0.8, 0.85] * 50
    found = compare(side(before, bounds=[0, 1]), side(after, "run", bounds=[0, 1]), "top1", keep=0.95)
    assert found.keep == 0.95
    assert found.estimate.value == pytest.approx(0.825 - 0.95 * 0.85)
    told = {"bounds": [0, 1], "better": "lower"}
    found = compare(side(before, **told), side(after, "run", **told), "top1", keep=0.95)
    assert found.keep == pytest.approx(1.05)
    assert found.estimate.value == pytest.approx(1.05 * 0.85 - 0.825)


class Ratio:
    """The ratio of two sums."""

    better = "higher"

    def values_of(self, told):
        parts = np.asarray(told, dtype=float)
        return lambda draws: (draws @ parts[:, 0]) / (draws @ parts[:, 1])


def test_a_value_of_the_corpus_is_drawn_again():
    """By what each sample adds to it, the same samples on both sides."""
    rng = random.Random(3)
    names = [f"s{i}" for i in range(120)]
    counts = {name: [rng.randint(1, 5), 6] for name in names}
    fewer = {name: [max(0, a - 1), b] for name, (a, b) in counts.items()}
    value, less = (sum(a for a, _ in c.values()) / sum(b for _, b in c.values()) for c in (counts, fewer))
    sides = [
        side((), name, rows=rows(dict.fromkeys(names), statistics=told), value=v)
        for name, told, v in (("main", counts, value), ("run", fewer, less))
    ]
    found = compare(*sides, "top1", made=lambda _: Ratio())
    assert (found.before, found.after) == (pytest.approx(value), pytest.approx(less))
    assert found.estimate.approximate
    assert found.estimate.value == pytest.approx(less - value)
    assert found.estimate.low < less - value < found.estimate.high < 0
    assert compare(*sides, "top1").problem == "its value is of all samples together, and is not made again here"


def test_of_another_order_and_fewer_samples_statistics_are_paired_too():
    """A sample without one does not count."""
    names = [f"s{i}" for i in range(400)]
    counts = {name: [i % 5, 6] for i, name in enumerate(names)}
    before = side((), rows=rows(dict.fromkeys(names), statistics=counts), value=1 / 3)
    fewer = {name: counts[name] for name in names[:0:-1]}
    after = side((), "run", rows=rows(dict.fromkeys(names[::-1]), statistics=fewer), value=0.334)
    found = compare(before, after, "top1", made=lambda _: Ratio())
    assert found.coverage == Coverage(399, before=1, named=("s0",))
    assert found.before == found.after


def test_two_samples_of_one_id_are_damage():
    """The id is named."""
    twice = [*rows({"a": 1, "b": 1}), *rows({"b": 0})]
    with pytest.raises(PairError, match="main: s/a/one: two samples are called b; ids are unique"):
        compare(side((), rows=twice), side(many(3), "run"), "top1")


def test_the_first_few_are_named_and_all_are_counted():
    """As many as are asked for."""
    found = compare(side(many(50)), side(many(50, range(20)), "run"), "top1", most_named=3)
    assert (found.flips.lost, found.flips.first_lost) == (20, ("s0", "s1", "s2"))


def test_sides_are_read_once_for_all_their_metrics():
    """However many gates there are."""
    reads = []
    one = side(many(20))

    def counted():
        reads.append(1)
        return iter([SampleScores(f"s{i}", "r", {"top1": 1.0, "f1": 0.5}) for i in range(20)])

    metrics = {name: one.metrics["top1"] | {"value": v} for name, v in (("top1", 1.0), ("f1", 0.5))}
    sides = TwoSides(*(replace(one, metrics=metrics, rows=counted) for _ in range(2)), ["top1", "f1"])
    assert [sides.compare(name).before for name in ("top1", "f1")] == [1.0, 0.5]
    assert len(reads) == 2


def test_who_only_looks_is_told_why_two_cannot_be_compared():
    """Flips are those of the samples that both have."""
    sides = TwoSides(side(many(10, {1})), side(many(5), "run"), ["top1"])
    found = sides.look("top1")
    assert found.problem == "less than 99 % of the samples are the same on both sides"
    assert found.flips.won == 1
    assert sides.apart(2) == ((5, ["s5", "s6"]), (0, []))
    scoring = [{"metrics": {"top1": {"use": use}}} for use in ("a", "b")]
    sides = TwoSides(*(side(many(9), scoring=one) for one in scoring), ["top1"])
    assert sides.look("top1").problem == "it was measured in another way"
    assert sides.look("top1", moved=False).problem is None


def test_who_only_looks_is_told_of_all_flips():
    """Of samples with other labels too: what they are is told apart."""
    names = dict.fromkeys("abcdefghij", 1)
    after = rows(names | {"b": 0, "c": 0}, references={"b": "x"})
    sides = TwoSides(side((), rows=rows(names)), side((), "run", rows=after), ["top1"])
    assert sides.look("top1").flips.first_lost == ("b", "c")
    assert sides.apart(9) == ((0, []), (1, ["b"]))


def test_ids_as_long_as_texts_are_cut_where_they_are_told():
    """Ids may be whole documents; a line in a terminal is none."""
    before, after = rows({"x" * 100_000: 1, "b": 1}), rows({"y" * 100_000: 1, "b": 1})
    twice = [*before, *before]
    for one, most in ((before, 400), (twice, 200)):
        with pytest.raises(PairError) as raised:
            compare(side((), rows=one), side((), "run", rows=after), "top1")
        assert "x" * 80 + "…" in str(raised.value)
        assert len(str(raised.value)) < most


def test_scores_whose_sum_is_beyond_any_float_have_no_estimate(recwarn):
    """Nor a warning, of which a project may make an error."""
    found = compare(side([1e308] * 20, value=1e308), side([1.0] * 20, "run"), "top1")
    assert found.estimate is None
    assert not recwarn.list
