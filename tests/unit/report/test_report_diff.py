"""Two runs side by side."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun.report.diff import diff_runs
from pytest_evalrun.rundir.runs import note_skipped
from pytest_evalrun.stats.difference import TANGO
from pytest_evalrun.stats.tango import tango_interval


@pytest.fixture
def two(run, tmp_path):
    """Two runs of the same pairs."""
    return run, type(run)(tmp_path / "outputs" / "run 2")


def scores(values, metric="top1"):
    return [{"index": i, metric: value} for i, value in enumerate(values)]


def tango(n, lost, won):
    low, high = tango_interval(n, lost, won)
    return f"{low:+.3g} to {high:+.3g} at 95 % by {TANGO}, n={n}"


def lines(two, **options):
    return list(diff_runs(two[0].paths, two[1].paths, **options).lines("old", "new"))


def test_metrics_and_the_samples_that_flipped(two):
    """In the metric's own sense of better, with the ids of the samples."""
    for run, value, right in ((two[0], 0.5, [1, 1, 0, 0]), (two[1], 0.25, [0, 0, 1, 0])):
        run.result("s", "a", "one", metrics={"top1": value, "mae": {"value": value, "better": "lower"}})
        run.scores("s", "a", "one", scores(right))
    assert lines(two, most=1) == [
        "s/a/one  passed",
        f"  top1  0.5000 → 0.2500  (-0.25, worse, may be chance; {tango(4, 2, 1)})",
        "  mae  0.5000 → 0.2500  (-0.25, better; no interval: no scores of single samples)",
        "  top1: 2 right before, wrong now: s0 and 1 more",
        "  top1: 1 wrong before, right now: s2",
        "1 pair in both, 0 of them the same",
    ]


def test_what_lines_of_scores_have_besides_flips_nothing(two):
    """Neither a cluster nor a statistic is a score, even where it is 0 or 1."""
    for run, value in ((two[0], 0), (two[1], 1)):
        run.result("s", "a", "one", metrics={"rmse": 0.5})
        run.scores("s", "a", "one", [{"index": 0, "rmse": 1, "cluster": value, "statistic": {"rmse": value}}])
    assert lines(two) == ["1 pair in both, 1 of them the same"]


def test_samples_that_flipped_are_told_with_the_interval_though_the_value_is_the_same(two):
    """As many were lost as won."""
    for run, right in ((two[0], [1, 0, 1, 0]), (two[1], [0, 1, 1, 0])):
        run.result("s", "a", "one", metrics={"top1": 0.5})
        run.scores("s", "a", "one", scores(right))
    assert lines(two)[1:3] == [
        f"  top1  0.5000 → 0.5000  (same; {tango(4, 1, 1)})",
        "  top1: 1 right before, wrong now: s0",
    ]


def test_samples_with_several_answers_are_more_or_less_often_right(two):
    """They are one unit each; that as many were lost as won is a difference still."""
    for run, right in ((two[0], ((1, 1), (0, 0), (1, 0))), (two[1], ((1, 0), (0, 1), (0, 1)))):
        run.result("s", "a", "one", metrics={"top1": 0.5})
        each = [{"index": i, "generation": g, "top1": r} for i, rs in enumerate(right) for g, r in enumerate(rs)]
        run.scores("s", "a", "one", each)
    told = lines(two)
    assert told[1].startswith("  top1  0.5000 → 0.5000  (same; ")
    assert told[2:4] == [
        "  top1: 1 less often right than before: s0",
        "  top1: 1 more often right than before: s1",
    ]


def test_of_a_metric_of_which_less_is_better_the_ones_are_wrong(two):
    """An error that was 0 and is 1 is a sample lost."""
    for run, wrong in ((two[0], [0, 1]), (two[1], [1, 1])):
        run.result("s", "a", "one", metrics={"miss": {"value": sum(wrong) / 2, "better": "lower"}})
        run.scores("s", "a", "one", scores(wrong, "miss"))
    assert "  miss: 1 right before, wrong now: s0" in lines(two)


def test_a_pair_that_is_skipped_in_one_run_has_no_samples_to_compare(two):
    """Whatever older scores lie there."""
    for run, right in ((two[0], [1, 1]), (two[1], [1, 0])):
        run.result("s", "a", "one", metrics={"top1": sum(right) / 2})
        run.scores("s", "a", "one", scores(right))
    note_skipped(two[1].paths, {"s/a/one": "labels are wrong"})
    assert lines(two) == ["s/a/one  passed → skipped", "  top1  1.000 → -", "1 pair in both, 0 of them the same"]


SCORED = {
    "code": ({"top1": {"source": "1"}}, {"top1": {"source": "2"}}, "metric top1: its code differs"),
    "parameters": ({"f": {"params": {"k": 1}}}, {"f": {"params": {"k": 3}}}, "metric f: its parameters differ"),
    "version": ({"psnr": {}}, {"psnr": {"version": 2}}, "metric psnr: its version differs"),
    "another": ({"m": {"use": "mae"}}, {"m": {"use": "rmse"}}, "metric m: its name differs"),
    "same": ({"m": {"use": "mae"}}, {"m": {"use": "mae"}}, None),
    "unknown": ({"m": {"use": "mae"}}, None, None),
}


@pytest.mark.parametrize(("old", "new", "remark"), SCORED.values(), ids=SCORED)
def test_metrics_that_are_not_the_same_are_told(two, old, new, remark):
    """Equal values or not: who compares them must know; of a result that does not say it, nothing is said."""
    for run, metrics in ((two[0], old), (two[1], new)):
        fingerprint = {} if metrics is None else {"score": {"references": "r", "comparison": 2, "metrics": metrics}}
        run.result("s", "a", "one", metrics={"top1": 0.5}, fingerprint=fingerprint)
    found = diff_runs(two[0].paths, two[1].paths)
    told = list(found.lines("old", "new"))
    assert told == ([] if remark is None else ["s/a/one  passed", f"  {remark}"]) + [
        f"1 pair in both, {1 if remark is None else 0} of them the same"
    ]
    assert found.same == (remark is None)


def test_other_references_are_told(two):
    """Then the same predictions have other scores."""
    for run, references in zip(two, "12", strict=True):
        run.result("s", "a", "one", fingerprint={"score": {"references": references, "comparison": 2, "metrics": {}}})
    assert "  the references differ" in lines(two)


def test_answers_that_are_taken_out_in_another_way_are_told(two):
    """Equal predictions may have other answers."""
    for run, answer in zip(two, ({"after": "="}, {"first_line": True}), strict=True):
        score = {"references": "r", "comparison": 2, "metrics": {}, "answer": answer}
        run.result("s", "a", "one", fingerprint={"score": score})
    assert "  answers are taken out in another way" in lines(two)


def test_runs_are_the_same_only_where_all_of_both_could_be_compared(two):
    """A pair of one only and a file that cannot be read are differences."""
    for run in two:
        run.result("s", "a", "one", metrics={"top1": 0.5})
    assert diff_runs(two[0].paths, two[1].paths).same
    path = two[1].result("s", "b", "one")
    assert not diff_runs(two[0].paths, two[1].paths).same
    path.write_text("{")
    assert not diff_runs(two[0].paths, two[1].paths).same


def test_equal_runs_have_nothing_to_tell(two):
    """One line says how much was compared."""
    for run in two:
        run.result("s", "a", "one", metrics={"top1": 0.5})
        run.scores("s", "a", "one", scores([1, 0]))
    assert lines(two) == ["1 pair in both, 1 of them the same"]


def test_pairs_and_metrics_of_one_only(two):
    """They are named, on which side."""
    two[0].result("s", "a", "gone", metrics={"top1": 0.5})
    two[1].result("s", "a", "new", metrics={"top1": 0.5})
    two[0].result("s", "b", "one", status="error")
    two[1].result("s", "b", "one", metrics={"top1": 0.5})
    assert lines(two) == [
        "only in old: s/a/gone",
        "only in new: s/a/new",
        "s/b/one  error → passed",
        "  top1  - → 0.5000",
        "1 pair in both, 0 of them the same",
    ]


def test_other_samples_are_no_flips(two):
    """A changed dataset or a failed sample is said to be that."""
    for run in two:
        run.result("s", "a", "one", metrics={"top1": 0.5})
    two[0].scores("s", "a", "one", scores([1, 1, 0]))
    two[1].scores("s", "a", "one", [{"index": 0, "id": "other", "top1": 0}, {"index": 1, "top1": 1}])
    assert lines(two)[1:-1] == ["  3 samples scored on one side only: s0, s2, other"]


def test_damage_is_named(two):
    """And the rest is compared."""
    two[0].write(two[0].paths.root / "results/s/a/one.json", "{torn")
    two[1].result("s", "a", "one")
    found = diff_runs(two[0].paths, two[1].paths)
    assert found.damaged == ("run 1/results/s/a/one.json",)
    assert [pair.status for pair in found.different] == [("damaged", "passed")]


BITS = st.lists(st.sampled_from([0, 1, None, 0.5]), max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(BITS, BITS)
def test_the_law_of_flips(two, before, after):
    """What was lost one way is won the other way; a metric that knows more than right and wrong has no flips."""
    for run, values in zip(two, (before, after), strict=True):
        run.result("s", "a", "one", metrics={"top1": 0.5})
        run.scores("s", "a", "one", scores(values))
    (there,), (back,) = (
        diff_runs(*sides, 100).pairs for sides in ([r.paths for r in two], [r.paths for r in two[::-1]])
    )
    there, back = list(there.flips.values()), list(back.flips.values())
    both = [(b, a) for b, a in zip(before, after, strict=False) if None not in (b, a)]
    expected = (sum(b > a for b, a in both), sum(b < a for b, a in both))
    if any(0.5 in pair for pair in both):
        assert there == back == []
    else:
        assert [(f.lost, f.won) for f in there] == ([expected] if any(expected) else [])
        assert [(f.won, f.lost) for f in back] == [(f.lost, f.won) for f in there]


def limited(run, dataset, right):
    """An evaluation of so many first samples."""
    name = f"{dataset}.limit-{len(right)}"
    path = run.result("s", "a", name, metrics={"top1": sum(right) / len(right)})
    path.write_text(path.read_text().replace(f'"{name}"', f'"{dataset}"'))
    run.scores("s", "a", name, scores(right))


def test_first_samples_are_compared_where_the_whole_is_not(two):
    """As many with as many, the most there are; they are no pairs of their own, and no part of one."""
    for run, last in ((two[0], 1), (two[1], 0)):
        run.result("s", "a", "whole", metrics={"top1": 0.5})
        run.write(run.paths.task_list, "*s/a||2\n-whole|2\n-quick|0\n+summary|1|2\n")
        limited(run, "whole", [1, last])
        limited(run, "quick", [last])
        limited(run, "quick", [1, last])
    limited(two[0], "quick", [1, 1, 1])
    assert lines(two) == [
        "s/a/quick (first 2 samples)  passed",
        f"  top1  1.000 → 0.5000  (-0.5, worse, may be chance; {tango(2, 1, 0)})",
        "  top1: 1 right before, wrong now: s1",
        "2 pairs in both, 1 of them the same",
    ]
