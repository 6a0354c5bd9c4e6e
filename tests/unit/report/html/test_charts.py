"""Drawings of the page: where points, ticks, lines and names stand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.report.html.charts import BOTTOM, LEFT, LETTER, RIGHT, TOP, bars, plot_of, sparkline
from pytest_evalrun.report.html.model import Scatter, ScatterPoint

finite = st.floats(-1e12, 1e12, allow_nan=False)


def scatter(*points):
    return Scatter("t", "x", "y", tuple(ScatterPoint(f"p{i}", f"model {i}", *point) for i, point in enumerate(points)))


@given(st.lists(st.tuples(finite, finite, st.booleans()), max_size=30))
def test_points_and_ticks_stand_within_their_axes(points):
    """Whatever the values are, points and ticks stand between the ends of their axes, and there are few ticks."""
    plot = plot_of(scatter(*points))
    assert len(plot.dots) == len(points)
    assert all(LEFT <= dot.x <= RIGHT and TOP <= dot.y <= BOTTOM for dot in plot.dots)
    assert all(LEFT <= tick.at <= RIGHT for tick in plot.x_ticks)
    assert all(TOP <= tick.at <= BOTTOM for tick in plot.y_ticks)
    assert 2 <= len(plot.x_ticks) <= 14


def test_larger_is_farther_right_and_up():
    """Values grow to the right and upwards."""
    low, high = sorted(plot_of(scatter((1, 0.2, False), (5, 0.9, False))).dots, key=lambda dot: dot.anchor)
    assert low.x < high.x
    assert low.y > high.y


def test_wide_ranges_are_logarithmic():
    """Values of which the largest is many times the smallest stand on an axis of powers of ten, and it says so."""
    wide = plot_of(scatter((0.001, 1, False), (0.1, 1, False), (10, 1, False)))
    assert wide.is_log
    first, second, third = (dot.x for dot in wide.dots)
    assert second - first == pytest.approx(third - second, abs=0.2)
    assert not plot_of(scatter((0, 1, False), (10, 1, False))).is_log
    assert not plot_of(scatter((1, 1, False), (10, 1, False))).is_log


def test_ticks_are_round():
    """Ticks are round numbers."""
    assert [tick.text for tick in plot_of(scatter((0, 0.1, False), (8, 0.9, False))).x_ticks] == [
        "0",
        "2",
        "4",
        "6",
        "8",
        "10",
    ]


def test_what_is_not_finite_is_left_out():
    """A point that has no place is not drawn."""
    assert len(plot_of(scatter((math.nan, 1, False), (1, math.inf, False), (1, 1, False))).dots) == 1


def test_pareto_line_runs_from_left_to_right():
    """The line joins its points in the order of the axis; a single one is no line."""
    plot = plot_of(scatter((5, 0.9, True), (1, 0.2, True), (4, 0.1, False)))
    assert [float(each.split(",")[0]) for each in plot.front.split()] == sorted(
        dot.x for dot in plot.dots if dot.pareto
    )
    assert plot_of(scatter((5, 0.9, True))).front == ""


def test_names_cover_no_other_name():
    """Names stand beside each other; one that has no room is left out, its point is not."""
    plot = plot_of(scatter(*((1 + i * 1e-4, 1, i == 0) for i in range(50))))
    named = [dot for dot in plot.dots if dot.name.text]
    assert len(plot.dots) == 50
    assert 2 <= len(named) < 50
    assert any(dot.pareto for dot in named)
    places = sorted((dot.name.y, dot.name.x) for dot in named if dot.name.side == "mid")
    assert all(two[0] != one[0] or two[1] - one[1] >= LETTER * len("model 1") for one, two in pairwise(places))


def test_sparkline_ends_with_the_last_value():
    """The line goes from the first to the last value, the highest on top."""
    drawn = sparkline([0.1, 0.9, 0.5])
    places = [tuple(map(float, each.split(","))) for each in drawn.points.split()]
    assert places[-1] == (drawn.x, drawn.y)
    assert places[1][1] < places[2][1] < places[0][1]
    assert drawn.words == "from 0.1000 to 0.5000"
    assert sparkline([math.nan]).points


def test_shares_fill_the_bar():
    """Each status has its share of the bar, in the order of the verdict's words."""
    shares = bars({"passed": 3, "error": 1})
    assert [share.word for share in shares] == ["error", "passed"]
    assert [round(share.width) for share in shares] == [25, 75]
    assert all(0 < two.start - one.start - one.width < 1 for one, two in pairwise(shares))
    assert bars({}) == []
