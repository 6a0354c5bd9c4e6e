"""Grades are read off a judge's text: the last one counts, on the scale or not at all."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.judge import Judge, Scale, Unread

LETTERS = {"C": 1, "P": 0.5, "I": 0}


@pytest.mark.parametrize(
    ("scale", "text", "points"),
    [
        pytest.param([0, 1], "GRADE: 0.5", 0.5, id="a number"),
        pytest.param([1, 5], "good\nGRADE: 4\n", 4, id="its own line"),
        pytest.param([1, 5], "GRADE: 2 would be mean.\n\nGRADE: 3", 3, id="the last"),
        pytest.param([1, 5], "**GRADE:** 4", 4, id="bold word"),
        pytest.param([1, 5], "**GRADE: 4**", 4, id="bold line"),
        pytest.param([1, 5], "Grade: [[4]]", 4, id="brackets"),
        pytest.param([1, 5], "grade : `4`.", 4, id="small"),
        pytest.param([-1, 1], "GRADE: -0.5", -0.5, id="below nought"),
        pytest.param([1, 2, 3], "GRADE: 2", 2, id="a list"),
        pytest.param([1, 2, 3], "GRADE: 2.0", 2, id="a list, by value"),
        pytest.param(LETTERS, "GRADE: P", 0.5, id="letter"),
        pytest.param(LETTERS, "GRADE: p.", 0.5, id="small letter"),
        pytest.param([0, 1], "<think>GRADE: 0</think>GRADE: 1", 1, id="after thinking"),
        pytest.param([0, 1], "GRADE (quoted): 0\nGRADE: 1", 1, id="beside one that was quoted"),
    ],
)
def test_last_grade_counts(scale, text, points):
    """In the forms that models write it."""
    assert Scale.of(scale).read(text) == points


@pytest.mark.parametrize(
    ("scale", "text", "why"),
    [
        pytest.param([0, 1], "", "no line", id="nothing"),
        pytest.param([0, 1], "I would say 1.", "no line", id="no word"),
        pytest.param([0, 1], "UPGRADE: 1", "no line", id="another word"),
        pytest.param([0, 1], "GRADE (quoted): 1", "no line", id="quoted"),
        pytest.param([0, 1], "GRADE: 2", "'2' is not on the scale", id="too much"),
        pytest.param([0, 1], "GRADE: 0.5\nGRADE: 2", "'2' is not on the scale", id="the last is wrong"),
        pytest.param([0, 1], "GRADE: nan", "'nan' is not on the scale", id="no number"),
        pytest.param([1, 5], "GRADE: 4/5", "'4/5' is not on the scale", id="a fraction"),
        pytest.param([1, 2, 3], "GRADE: 2.5", "'2.5' is not on the scale", id="between"),
        pytest.param(LETTERS, "GRADE: X", "'X' is not on the scale", id="unknown letter"),
        pytest.param([0, 1], "<think>GRADE: 1", "not ended thinking", id="cut off"),
        pytest.param([0, 1], "GRADE: 1 <think></think> well", "no line", id="only in thought"),
    ],
)
def test_what_is_no_grade_is_unread(scale, text, why):
    """Never 0, and never the nearest that would be one."""
    with pytest.raises(Unread, match=why):
        Scale.of(scale).read(text)


@pytest.mark.parametrize("scale", [None, 1, [], [1], [1, 1], [2, 1], ["a", "b"], {"C": 1}, {"C": "1"}, [True, False]])
def test_what_is_no_scale_is_refused(scale):
    """With what would be one."""
    with pytest.raises(ConfigError, match=r"scale: found .*; accepted: "):
        Scale.of(scale)


class Given(list):
    def why_none(self):
        return "none of 2 verdicts could be read"


def judge(given, **words):
    made = Judge(model={}, **words)
    made.verdicts = Given(given)
    return made


def test_mean_of_what_was_given():
    """Over the verdicts that there are, fed in whatever chunks; its interval lies around it."""
    metric = judge([1.0, None, 0.0, 1.0])
    assert metric.update("ab", "ab") + metric.update("cd", "cd") == [1.0, None, 0.0, 1.0]
    value = metric.result()
    assert (value.value, value.n, value.better) == (pytest.approx(2 / 3), 3, "higher")
    assert value.low <= value.value <= value.high


def test_answers_of_one_sample_say_less_than_as_many_samples():
    """The interval counts samples, not answers, and is as wide as that."""

    def interval(indexes):
        metric = judge([1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
        metric.update("abcdef", "abcdef", [SimpleNamespace(index=index) for index in indexes])
        value = metric.result()
        return value.high - value.low

    assert interval([0, 0, 1, 1, 2, 2]) > interval(range(6))


def test_nothing_judged_is_an_error():
    """Whoever made the verdicts says why."""
    metric = judge([None, None])
    metric.update("ab", "ab")
    with pytest.raises(PairError, match="metric judge: none of 2 verdicts could be read"):
        metric.result()


def test_without_verdicts_there_are_no_scores():
    """As where one sample is looked at apart; and a verdict too few is never somebody else's."""
    assert Judge(model={}).update("ab", "ab") == [None, None]
    with pytest.raises(PairError, match="less verdicts than answers"):
        judge([1.0]).update("ab", "ab")


@pytest.mark.parametrize("better", ["", "best", None])
def test_direction_is_one_of_two(better):
    """Or it is said what is accepted."""
    with pytest.raises(ConfigError, match=r"better is .*; accepted: higher, lower"):
        Judge(model={}, better=better)
