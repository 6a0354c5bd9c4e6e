"""PASS, FAIL or INCONCLUSIVE, and what each rests on in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from comparison_sides import side

from pytest_evalrun.comparison.compare import Coverage, MetricComparison, compare
from pytest_evalrun.comparison.conclusion import FAIL, INCONCLUSIVE, PASS, conclude_bound, conclude_drop, verdict_word
from pytest_evalrun.stats.estimate import IntervalEstimate
from pytest_evalrun.stats.power import least_n, n_for_pass


def estimate(low, high, n=100, **more):
    return IntervalEstimate((low + high) / 2, low, high, n, "betting interval", **more)


def found(low, high, **more):
    told = {name: more.pop(name) for name in ("worst", "keep", "bounded") if name in more}
    return MetricComparison("f1", "higher", 0.8, 0.79, Coverage(100), estimate(low, high, **more), **told)


def flipped(n, lost, won=0):
    """A comparison of 0/1 scores."""
    before = [1] * (n - won) + [0] * won
    after = [0] * lost + [1] * (n - lost)
    return compare(side(before), side(after, "run"), "top1")


WORDS = [(-0.01, 0.02, PASS), (-0.02, 0.02, PASS), (-0.05, -0.03, FAIL), (-0.05, -0.02, INCONCLUSIVE)]
WORDS += [(-0.03, 0.01, INCONCLUSIVE), (0.01, 0.02, PASS), (-0.02 - 1e-14, 0, PASS)]


@pytest.mark.parametrize(("low", "high", "word"), WORDS)
def test_an_interval_against_the_drop_that_is_allowed(low, high, word):
    """PASS where all of it is allowed, FAIL where nothing of it is; a limit in floating point is the limit."""
    assert conclude_drop(found(low, high), 0.02).word == word


def test_what_passed_or_failed_is_told_by_its_interval():
    """With the method and n."""
    assert conclude_drop(found(-0.01, 0.02), 0.02).why == "-0.01 to +0.02 (betting interval, n=100)"
    assert conclude_drop(found(-0.05, -0.03, clusters=25), 0.02).why.endswith("n=100, 25 clusters)")


def test_too_few_samples_for_any_pass_are_told_by_the_least():
    """Nothing flipped, and still it is not enough."""
    conclusion = conclude_drop(flipped(100, 0), 0.01)
    assert conclusion.word == INCONCLUSIVE
    least = least_n(0.01)
    wanted = f"{n_for_pass(0.01, 0.0):,} for an 80 % chance at ± 0.01"
    assert conclusion.why == (
        f"n=100, discordance 0: {wanted}; PASS needs {least:,} samples at least, unless it got better"
    )


def test_enough_for_a_pass_but_unsure_is_told_by_the_samples_that_would_do():
    """By how often samples flip."""
    conclusion = conclude_drop(flipped(250, 10, 10), 0.02)
    wanted = n_for_pass(0.02, 0.08)
    assert conclusion.word == INCONCLUSIVE
    assert conclusion.why == f"n=250, discordance 0.08: {wanted:,} for an 80 % chance at ± 0.02"


def test_a_margin_of_nothing_is_never_proved():
    """And no number of samples would do."""
    assert conclude_drop(flipped(100, 1), 0.0).why == "n=100: no number of samples proves a margin of 0"


def test_bounded_scores_are_told_by_the_least_or_by_how_the_interval_narrows():
    """Four times the samples halve it."""
    few = conclude_drop(found(-0.3, 0.3, n=10, bounded=True, worst=1.0), 0.02)
    assert "PASS needs" in few.why
    more = conclude_drop(found(-0.04, 0.04, n=1000, bounded=True, worst=1.0), 0.02)
    assert more.why == "1,000 samples, ± 0.04: about 4,000 for ± 0.02"
    clustered = conclude_drop(found(-0.04, 0.04, n=1000, clusters=30), 0.02)
    assert clustered.why == "30 clusters, ± 0.04: about 120 for ± 0.02"


def test_where_there_are_enough_samples_the_drop_itself_is_at_the_limit():
    """More of them need not decide it."""
    conclusion = conclude_drop(flipped(400, 5), 0.02)
    assert conclusion.word == INCONCLUSIVE
    assert conclusion.why == "n=400: the limit of -0.02 lies in the interval"
    assert conclude_drop(found(-0.03, -0.01), 0.02).why == ("n=100: the limit of -0.02 lies in the interval")


def test_an_approximate_method_says_nothing_where_unseen_losses_could_make_up_the_margin():
    """Whatever its interval says."""
    conclusion = conclude_drop(found(-0.001, 0.001, n=20, approximate=True, worst=1.0), 0.02)
    assert conclusion.word == INCONCLUSIVE
    assert conclusion.why == "20 samples: 183 are needed; betting interval (approximate)"
    assert conclude_drop(found(-0.001, 0.001, n=183, approximate=True, worst=1.0), 0.02).word == PASS
    clustered = found(-0.001, 0.001, n=500, clusters=20, approximate=True, worst=1.0)
    assert conclude_drop(clustered, 0.02).why.startswith("20 clusters: 183 are needed")
    alike = found(-0.001, 0.001, n=20, approximate=True, worst=1.0)
    alike = replace(alike, estimate=replace(alike.estimate, method="nothing differs (approximate)"))
    assert conclude_drop(alike, 0.02).why == "20 samples: 183 are needed; nothing differs (approximate)"
    nothing = conclude_drop(alike, 0.0).why
    assert nothing == "no number of samples proves a margin of 0; nothing differs (approximate)"


def test_what_was_seen_to_be_lost_fails_though_units_are_few():
    """Unseen losses would make it worse; where nothing is decided, the number that PASS needs is the reason."""
    few = {"n": 20, "approximate": True, "worst": 1.0}
    assert conclude_drop(found(-0.9, -0.1, **few), 0.02).word == FAIL
    undecided = conclude_drop(found(-0.9, 0.1, **few), 0.02)
    assert (undecided.word, undecided.why[:26]) == (INCONCLUSIVE, "20 samples: 183 are needed")


def test_a_relative_margin_is_judged_against_nothing():
    """Its share is in the estimate; what it is worth decides how many are needed."""
    conclusion = conclude_drop(found(0.001, 0.05, n=91, approximate=True, worst=1.0, keep=0.95), 0.0)
    assert conclusion.word == PASS  # 5 % of 0.8 are 0.04: 91 samples
    assert conclude_drop(found(0.001, 0.05, n=90, approximate=True, worst=1.0, keep=0.95), 0.0).word == INCONCLUSIVE
    assert conclude_drop(found(-0.05, -0.001, keep=0.95), 0.0).word == FAIL
    assert "for ± 0.04" in conclude_drop(found(-0.05, 0.05, keep=0.95), 0.0).why


def test_without_an_estimate_the_reason_is_the_reason():
    """As the comparison told it."""
    nothing = MetricComparison("f1", "higher", 0.8, 0.79, Coverage(5), problem="5 clusters; 6 are needed")
    assert conclude_drop(nothing, 0.02) == conclude_bound(None, "5 clusters; 6 are needed", 0.5, lowest=True)
    assert conclude_drop(nothing, 0.02).word == INCONCLUSIVE


BOUNDS = [(0.95, 0.97, 0.94, True, PASS), (0.90, 0.93, 0.94, True, FAIL), (0.90, 0.97, 0.94, True, INCONCLUSIVE)]
BOUNDS += [(0.1, 0.2, 0.3, False, PASS), (0.4, 0.5, 0.3, False, FAIL), (0.2, 0.4, 0.3, False, INCONCLUSIVE)]
BOUNDS += [(0.94, 0.97, 0.94, True, PASS), (0.1, 0.3, 0.3, False, PASS)]


@pytest.mark.parametrize(("low", "high", "limit", "lowest", "word"), BOUNDS)
def test_the_interval_of_a_value_against_a_bound(low, high, limit, lowest, word):
    """All of it on the good side, or none."""
    conclusion = conclude_bound(estimate(low, high), None, limit, lowest=lowest)
    assert conclusion.word == word
    decided = f"{low:.4g} to {high:.4g} (betting interval, n=100)"
    assert conclusion.why == ("n=100: the limit lies in the interval" if word == INCONCLUSIVE else decided)


def test_gates_of_earlier_versions_have_the_verdict_of_their_value():
    """They wrote none."""
    assert [verdict_word(gate) for gate in ({"holds": True}, {"holds": False}, {"holds": True, "verdict": FAIL})] == [
        PASS,
        FAIL,
        FAIL,
    ]


def test_where_lower_is_better_reasons_are_in_the_metrics_own_unit():
    """As the change beside them: a loss is a rise, and so is what is allowed."""
    lower = replace(found(-0.03, -0.01), better="lower")
    assert conclude_drop(lower, 0.02).why == "n=100: the limit of +0.02 lies in the interval"
    assert conclude_drop(lower, 0.05).why == "+0.01 to +0.03 (betting interval, n=100)"


def test_of_a_relative_margin_the_limit_in_the_interval_is_0():
    """It is of ``after - keep x before``, which has the margin in it already."""
    kept = found(-0.03, 0.05, keep=0.9)
    assert conclude_drop(kept, 0.0).why == "n=100: the limit of 0 lies in the interval"
    assert conclude_drop(replace(kept, better="lower"), 0.0).why.endswith("the limit of 0 lies in the interval")
