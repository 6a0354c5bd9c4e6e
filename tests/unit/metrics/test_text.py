"""Rules of the metrics on text."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import PairError
from pytest_evalrun.metrics.text import ExactMatch


@pytest.mark.parametrize(
    ("prediction", "reference", "params", "score"),
    [
        pytest.param("猫", "猫", {}, 1.0, id="same"),
        pytest.param("cat ", "cat", {}, 0.0, id="space-counts"),
        pytest.param("cat\n", " cat", {"strip": True}, 1.0, id="strip"),
        pytest.param("Straße", "STRASSE", {"ignore_case": True}, 1.0, id="ignore-case"),
        pytest.param("Cat", "cat", {}, 0.0, id="case-counts"),
        pytest.param("7", "07", {}, 0.0, id="both-text"),
        pytest.param(7, 7.0, {}, 1.0, id="numbers"),
        pytest.param("7", 7.0, {}, 1.0, id="text-beside-number"),
        pytest.param("7.0", 7.0, {}, 1.0, id="as-a-program-writes-it"),
        pytest.param(" 7\n", 7, {"strip": True}, 1.0, id="strip-beside-number"),
        pytest.param(" 7", 7, {}, 0.0, id="blank-beside-number"),
        pytest.param("07", 7, {}, 0.0, id="zero-beside-number"),
        pytest.param("3.10", 3.1, {}, 0.0, id="other-digits-beside-number"),
        pytest.param("1e3", 1000, {}, 0.0, id="exponent-beside-number"),
        pytest.param("1_000", 1000, {}, 0.0, id="underscore-beside-number"),
        pytest.param("1e+22", 1e22, {}, 1.0, id="exponent-as-it-is-written"),
        pytest.param("seven", 7, {}, 0.0, id="word-beside-number"),
        pytest.param("True", True, {}, 1.0, id="boolean"),
        pytest.param("1", True, {}, 0.0, id="digit-beside-boolean"),
        pytest.param(1, True, {}, 0.0, id="number-beside-boolean"),
        pytest.param("", "", {}, 1.0, id="empty"),
        pytest.param("9007199254740993", 9007199254740993, {}, 1.0, id="beyond-floats"),
    ],
)
def test_exact_match(prediction, reference, params, score):
    """Text equals text to the letter unless told otherwise, and a number what would be written of it."""
    assert ExactMatch(**params).update([prediction], [reference]) == [score]


@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        pytest.param(["a"], "a", r"the prediction is a list \['a'\]; it needs text or a number", id="list"),
        pytest.param("a", {"b": 1}, "the reference is a mapping", id="mapping"),
        pytest.param(None, "a", "the prediction is None", id="none"),
        pytest.param(float("nan"), 1, "the prediction is nan", id="nan"),
        pytest.param(1, float("inf"), "the reference is inf", id="inf"),
        pytest.param("a", None, "a sample has no reference; it needs text or a number for every sample", id="missing"),
    ],
)
def test_unfit(prediction, reference, message):
    """What is neither text nor a number names the metric, what was found and what is needed."""
    with pytest.raises(PairError, match=f"metric exact_match: {message}"):
        ExactMatch().update([prediction], [reference])


def test_long_values_are_shortened_in_messages():
    """An error stays readable when a prediction is a whole document."""
    with pytest.raises(PairError) as error:
        ExactMatch().update([["x" * 5000]], ["a"])
    assert len(str(error.value)) < 200
