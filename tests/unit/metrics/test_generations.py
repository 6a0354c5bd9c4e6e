"""Rules of the metrics over all answers of a sample."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.generations import Majority, PassAt, PassHat, ScoredRow
from pytest_evalrun.metrics.intervals import wilson


def rows(*answers, sample=0, right="a"):
    """Rows of one sample; None is no answer, which is wrong."""
    return [ScoredRow(sample, answer, float(answer == right), answer is not None) for answer in answers]


MAJORITIES = {
    "most often": (["b", "a", "a"], 1.0),
    "most often wrong": (["a", "b", "b"], 0.0),
    "a tie goes to the first": (["a", "b"], 1.0),
    "a tie goes to the first, which is wrong": (["b", "a"], 0.0),
    "no answer is no vote": ([None, None, "a"], 1.0),
    "no answer at all": ([None, None], 0.0),
    "a single one": (["a"], 1.0),
}


@pytest.mark.parametrize(("answers", "score"), MAJORITIES.values(), ids=MAJORITIES)
def test_majority(answers, score):
    """The answer that was given most often has its own score, and stands at the sample's first row."""
    assert Majority().update_scored(rows(*answers)) == [score, *[None] * (len(answers) - 1)]


def test_votes_for_one_answer_in_several_spellings():
    """7, 7.0 and "7" are one answer, and an object is one whatever the order of its keys."""
    answers = [1, "7", 7, 7.0, {"a": 1, "b": 2}, {"b": 2, "a": 1}]
    assert Majority().update_scored(rows(*answers, right="7"))[0] == 1.0


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 7))
def test_chances_are_those_of_all_draws(right, k):
    """pass@k and pass^k are the shares of all draws of k answers with one that is right, and with no other."""
    scored = [ScoredRow(0, i, float(hit), True) for i, hit in enumerate(right)]
    draws = list(combinations(right, k))
    for metric, of_draw in ((PassAt(k=k), any), (PassHat(k=k), all)):
        found = metric.update_scored(scored)[0]
        assert found == (pytest.approx(sum(map(of_draw, draws)) / len(draws)) if draws else None)


def test_values_of_the_papers():
    """Of 5 answers 2 are right: pass@1 is 2/5, pass@3 1 - 1/10; pass^2 1/10."""
    scored = rows("a", "a", "b", "b", "b")
    assert PassAt(k=1).update_scored(scored)[0] == pytest.approx(0.4)
    assert PassAt(k=3).update_scored(scored)[0] == pytest.approx(0.9)
    assert PassHat(k=2).update_scored(scored)[0] == pytest.approx(0.1)


def test_n_counts_samples():
    """Samples with fewer answers than k are left out; the interval is over samples."""
    metric = PassAt(k=2)
    metric.update_scored([*rows("a", "a"), *rows("a", sample=1), *rows("b", "b", sample=2)])
    result = metric.result()
    assert (result.value, result.n) == (0.5, 2)
    assert (result.low, result.high) == wilson(1, 2)


def test_misuse():
    """k is a whole number from 1; less-is-better has no right answers; alone there is nothing to be made of."""
    with pytest.raises(ConfigError, match="metric pass_at: k is 0; accepted: a whole number from 1"):
        PassAt(k=0)
    metric = PassHat(of="wer")
    metric.better = "lower"
    with pytest.raises(PairError, match="metric pass_hat: of wer, of which less is better"):
        metric.result()
    with pytest.raises(PairError, match="metric majority: it is made of the scores of another metric"):
        Majority().update(["a"], ["a"])
