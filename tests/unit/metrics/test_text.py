"""Rules of the metrics on text."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.intervals import wilson
from pytest_evalrun.metrics.text import ExactMatch, Includes, RegexMatch, TokenF1, squad_words


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


INCLUDES = {
    "in the text": ("It is Lyon, I think", "Lyon", {}, 1.0),
    "another case": ("it is lyon", "Lyon", {}, 0.0),
    "case ignored": ("it is LYON", "Lyon", {"ignore_case": True}, 1.0),
    "not there": ("It is Nice", "Lyon", {}, 0.0),
    "any of several": ("It is Nice", ["Lyon", "Nice"], {}, 1.0),
    "a number": ("It is 7", 7, {}, 1.0),
}


@pytest.mark.parametrize(("prediction", "reference", "params", "score"), INCLUDES.values(), ids=INCLUDES)
def test_includes(prediction, reference, params, score):
    """The reference, or any of several, stands in the text."""
    assert Includes(**params).update([prediction], [reference]) == [score]


def test_an_empty_reference_is_in_no_text():
    """Else everything would be right."""
    with pytest.raises(PairError, match="metric includes: the reference is text ''; it needs text that is not empty"):
        Includes().update(["a"], [""])


PATTERNS = {
    "the reference": ("It is 42.", r"\b42\b", {}, 1.0),
    "of all": ("42", None, {"pattern": r"\d+"}, 1.0),
    "whole text": ("It is 42", None, {"pattern": r"\d+", "full": True}, 0.0),
    "case counts": ("lyon", "Lyon", {}, 0.0),
    "case ignored": ("lyon", "Lyon", {"ignore_case": True}, 1.0),
}


@pytest.mark.parametrize(("prediction", "reference", "params", "score"), PATTERNS.values(), ids=PATTERNS)
def test_regex(prediction, reference, params, score):
    """The pattern given, or that which the reference is, is found in the prediction."""
    assert RegexMatch(**params).update([prediction], [reference]) == [score]


def test_patterns_that_are_none():
    """A broken pattern is the user's mistake; a broken reference is that of its pair."""
    with pytest.raises(ConfigError, match=r"metric regex: pattern is '\('; accepted: a regular expression"):
        RegexMatch(pattern="(")
    with pytest.raises(PairError, match=r"metric regex: the reference is text '\('; it needs a regular expression"):
        RegexMatch().update(["a"], ["("])


# What the official script of SQuAD 2.0 says of these.
SQUAD = {
    "equal but for articles and case": ("The Normans", "normans", 1.0),
    "punctuation": ("10th, century!", "10th century", 1.0),
    "half of the words": ("in the 10th century", "10th and 11th centuries", 2 / 7),
    "repeated words count once each": ("cat cat dog", "cat dog dog", 2 / 3),
    "nothing in common": ("Denmark", "Norway", 0.0),
    "best of several": ("Denmark, Iceland", ["Norway", "Denmark"], 2 / 3),
    "only an article": ("the", "a", 1.0),
    "nothing said": ("", "Denmark", 0.0),
    "a number": (7, "7", 1.0),
}


@pytest.mark.parametrize(("prediction", "reference", "score"), SQUAD.values(), ids=SQUAD)
def test_f1(prediction, reference, score):
    """Words are those of SQuAD's normalisation, and of several references the best counts."""
    assert TokenF1().update([prediction], [reference]) == [pytest.approx(score)]


def test_words_of_squad():
    """Lower case, no punctuation, no English articles, blanks of any kind between."""
    assert squad_words("The  quick,\nbrown-fox is an A!") == ["quick", "brownfox", "is"]


def test_f1_is_a_mean_with_an_interval():
    """Samples without an answer count 0; scores of 0 and 1 have the interval of a share."""
    metric = TokenF1()
    metric.update(["a cat", "dog"], ["cat", "cat"])
    assert metric.unanswered(["cat"]) == [0.0]
    result = metric.result()
    assert (result.value, result.n) == (pytest.approx(1 / 3), 3)
    assert (result.low, result.high) == wilson(1, 3)


@pytest.mark.parametrize(
    ("made", "prediction", "reference", "message"),
    [
        pytest.param(Includes, {"a": 1}, "a", "includes: the prediction is a mapping .*; it needs text", id="mapping"),
        pytest.param(TokenF1, "a", None, "f1: a sample has no reference", id="no-reference"),
        pytest.param(
            TokenF1, "a", [], r"f1: the reference is a list \[\]; it needs text, or a list", id="none-of-list"
        ),
        pytest.param(RegexMatch, ["a"], "a", "regex: the prediction is a list", id="list"),
    ],
)
def test_what_is_no_text(made, prediction, reference, message):
    """It names metric, value found and values accepted."""
    with pytest.raises(PairError, match=message):
        made().update([prediction], [reference])
