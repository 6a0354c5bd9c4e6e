"""Cells of a matrix: shade, signs and words."""

from __future__ import annotations

import pytest

from pytest_evalrun.report.html.cells import cell_of, occurring
from pytest_evalrun.report.html.model import Cell, Grid


@pytest.mark.parametrize(
    ("facts", "css"),
    [
        pytest.param({"holds": True, "distance": 0.0}, "h1", id="just holds"),
        pytest.param({"holds": True, "distance": 0.05}, "h2", id="holds"),
        pytest.param({"holds": True, "distance": 0.5}, "h3", id="far inside"),
        pytest.param({"holds": False, "distance": -0.001}, "b1", id="just breached"),
        pytest.param({"holds": False, "distance": -0.3}, "b3", id="far off"),
        pytest.param({"holds": False}, "b1", id="a limit of nothing has no share"),
        pytest.param({}, "plain", id="no gate"),
        pytest.param({"value": None, "marks": ("error",)}, "error", id="error"),
        pytest.param({"value": None}, "none", id="nothing"),
    ],
)
def test_shade_is_the_distance_to_the_gate(facts, css):
    """The shade says on which side of its gate a value is, and how far."""
    assert cell_of(Cell("p", "0.5", **{"value": 0.5} | facts)).css == css


def test_every_colour_has_a_sign():
    """Whoever sees no colours reads a sign, and whoever sees nothing its words."""
    worse = cell_of(Cell("p", "0.5", 0.5, holds=False, distance=-0.1, trend="worse"))
    assert [(each.sign, each.words) for each in worse.signs] == [("✗", "breached"), ("▼", "worse than before")]
    same = cell_of(Cell("p", "0.5", 0.5, holds=True, distance=0.1, trend="same"))
    assert [(each.sign, each.words) for each in same.signs] == [("✓", "holds"), ("=", "same as before")]


def test_words_tell_gate_distance_and_before():
    """The words of a cell say what its shade and its signs mean in numbers."""
    shown = cell_of(
        Cell("p", "0.5", 0.5, 0.4, 0.6, 8, 10, False, -0.25, "top1 min 0.7", "worse", "0.6000", ("limited",))
    )
    assert shown.title == "gate: top1 min 0.7; 25.0% off; before: 0.6000; 8 of 10 samples"
    assert shown.interval == "0.4000 – 0.6000"
    assert shown.marks == ("limited",)


def test_an_undecided_gate_has_a_sign_of_its_own():
    """Beside that of whether it holds, in words too; the legend explains it where it occurs."""
    cell = Cell("p", "0.5", 0.5, holds=True, gate="max_drop 0.49", undecided=True)
    shown = cell_of(cell)
    assert [(each.sign, each.words) for each in shown.signs] == [("✓", "holds"), ("?", "undecided")]
    assert shown.title == "gate: max_drop 0.49, undecided"
    assert occurring([Grid("s", "m", "higher", ("a",), ("d",), ((cell,),))]) == {"gate", "undecided"}


def test_a_state_is_told_once():
    """A cell whose text is its state has no mark that says it again."""
    assert cell_of(Cell("p", "error", marks=("error",))).marks == ()


def test_the_legend_explains_what_occurs():
    """What no cell of the matrices has needs no explanation."""
    cells = ((Cell("p", "1", 1.0, 0.9, 1.0, trend="same"), None), (Cell("p", "2", 2.0, marks=("old",)), None))
    assert occurring([Grid("s", "m", "higher", ("a", "b"), ("c", "d"), cells)]) == {"trend", "interval", "none", "old"}
    assert occurring([]) == set()
