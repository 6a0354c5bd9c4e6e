"""Rules of the metrics on answers: options, numbers, JSON."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.answers import Choice, JsonMatch, NumberMatch

CITIES = ["Paris", "Lyon", "Nice"]
CHOICES = {
    "letters": ("B", "B", CITIES, 1.0),
    "small letter": ("b", "B", CITIES, 1.0),
    "another letter": ("A", "B", CITIES, 0.0),
    "place from 0": ("B", 1, CITIES, 1.0),
    "text": ("B", "Lyon", CITIES, 1.0),
    "text was answered": ("Lyon", "B", CITIES, 1.0),
    "letter beyond the options": ("D", "B", CITIES, 0.0),
    "no letter": ("I think Lyon", "B", CITIES, 0.0),
    "digits are a text": ("C", "5", ["1", "3", "5"], 1.0),
    "letters before texts that are letters": ("A", "A", ["B", "A"], 1.0),
    "no options": ("C", 2, None, 1.0),
}


def chooser(options, **params):
    metric = Choice(**params)
    metric.options_of = None if options is None else lambda sample: sample.options
    return metric, [SimpleNamespace(options=options)]


@pytest.mark.parametrize(("prediction", "reference", "options", "score"), CHOICES.values(), ids=CHOICES)
def test_choice(prediction, reference, options, score):
    """A letter is compared with the reference's letter, its place from 0, or its text."""
    metric, samples = chooser(options)
    assert metric.update([prediction], [reference], samples) == [score]


@pytest.mark.parametrize(
    ("reference", "options", "message"),
    [
        pytest.param("D", CITIES, "the reference is text 'D'; it needs one of 3 options", id="letter"),
        pytest.param(3, CITIES, "the reference is 3; it needs one of 3 options", id="place"),
        pytest.param("1", CITIES, "the reference is text '1'; it needs one of 3 options", id="digits"),
        pytest.param(None, CITIES, "a sample has no reference", id="missing"),
        pytest.param(
            "Lyon", None, "it needs a letter, or a place .* with `options: COLUMN`", id="text-without-options"
        ),
    ],
)
def test_a_reference_that_is_no_option(reference, options, message):
    """It is a mistake of the dataset, not a wrong answer."""
    metric, samples = chooser(options)
    with pytest.raises(PairError, match=message):
        metric.update(["A"], [reference], samples)


NUMBERS = {
    "thousands": ("1,000", 1000, {}, 1.0),
    "reference with thousands": (1000.0, "1,000", {}, 1.0),
    "percentage": ("50%", 0.5, {}, 1.0),
    "percentages": ("50 %", "50%", {}, 1.0),
    "percentage beside a bare number": ("50%", 50, {}, 0.0),
    "currency": ("$3.50", 3.5, {}, 1.0),
    "full stop": ("42.", "42", {}, 1.0),
    "rounding of floats": (0.1 + 0.2, 0.3, {}, 1.0),
    "other digits": ("3.14", "3.1416", {}, 0.0),
    "absolute": ("3.14", "3.1416", {"abs": 0.01}, 1.0),
    "relative": ("99", 100, {"rel": 0.01}, 1.0),
    "just beyond": ("98.9", 100, {"rel": 0.01}, 0.0),
    "no number": ("I do not know", 3, {}, 0.0),
    "in a sentence": ("it is 3", 3, {}, 0.0),
    "list": ([3], 3, {}, 0.0),
    "beyond floats": (10**400, 10**400, {}, 1.0),
    "beyond floats, another": (10**400, 3, {}, 0.0),
}


@pytest.mark.parametrize(("prediction", "reference", "params", "score"), NUMBERS.values(), ids=NUMBERS)
def test_number(prediction, reference, params, score):
    """Numbers are compared by value, as people write them; what is none is a wrong answer."""
    assert NumberMatch(**params).update([prediction], [reference]) == [score]


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1))
def test_every_number_is_itself(number, tolerance):
    """Whatever the tolerances."""
    assert NumberMatch(rel=tolerance).update([number, str(number)], [number, repr(number)]) == [1.0, 1.0]


JSON = {
    "order of keys": ('{"a": 1, "b": [2]}', {"b": [2], "a": 1}, None, 1.0),
    "order of a list": ([1, 2], [2, 1], None, 0.0),
    "one and 1.0": ("1.0", 1, None, 1.0),
    "true is not 1": ({"a": True}, {"a": 1}, None, 0.0),
    "one key more": ({"a": 1, "b": 2}, {"a": 1}, None, 0.0),
    "only fields": ({"a": 1, "b": 2}, {"a": 1, "b": 3}, ["a"], 1.0),
    "nested field": ({"a": [{"b": 2}]}, '{"a": [{"b": 2, "c": 1}]}', ["a[0].b"], 1.0),
    "field that is missing": ({}, {"a": 1}, ["a"], 0.0),
    "no JSON": ("well, {", {"a": 1}, None, 0.0),
    "plain text": ("cat", "cat", None, 1.0),
}


@pytest.mark.parametrize(("prediction", "reference", "fields", "score"), JSON.values(), ids=JSON)
def test_json_match(prediction, reference, fields, score):
    """Values are equal as JSON has them, of all or of the fields that are named."""
    assert JsonMatch(fields=fields).update([prediction], [reference]) == [score]


def test_a_reference_without_the_field():
    """What cannot be compared is no wrong answer."""
    with pytest.raises(PairError, match=r"metric json_match: the reference .* it needs every path of `fields`"):
        JsonMatch(fields=["b"]).update([{"b": 1}], [{"a": 1}])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: NumberMatch(abs=-1), "metric number: abs is -1; accepted: a number from 0", id="abs"),
        pytest.param(lambda: NumberMatch(rel="1%"), "metric number: rel is '1%'; accepted: a number from 0", id="rel"),
        pytest.param(
            lambda: JsonMatch(fields="a"), "json_match: fields is 'a'; accepted: a list of paths", id="fields"
        ),
        pytest.param(lambda: JsonMatch(fields=["a["]), "accepted: keys and places, as in path", id="path"),
    ],
)
def test_parameters(make, message):
    """A wrong parameter names the value found and those accepted."""
    with pytest.raises(ConfigError, match=message):
        make()
