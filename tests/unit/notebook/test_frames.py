"""DataFrames have their columns and dtypes whatever a run holds."""

from __future__ import annotations

import pandas as pd
import pytest

from pytest_evalrun.notebook.columns import FRAMES, SAMPLES, FrameColumn
from pytest_evalrun.notebook.frames import frame_of, frame_of_rows

SUITABLE = {
    "string": "x",
    "Int64": 3,
    "Float64": 0.5,
    "boolean": True,
    "object": {"a": [1]},
    "datetime64[ns, UTC]": "2026-11-21T10:30:15.123Z",
}


@pytest.mark.parametrize("name", FRAMES)
def test_dtypes_are_the_same_without_rows(name):
    """Whoever writes code over an empty run has written it over a full one."""
    columns = FRAMES[name]
    full = frame_of_rows(columns, [{c.name: c.words[0] if c.words else SUITABLE[c.dtype] for c in columns}, {}])
    assert [str(dtype) for dtype in full.dtypes] == [column.dtype for column in columns]
    assert full.iloc[1].isna().all()
    assert not full.iloc[0].isna().any()
    empty = frame_of_rows(columns, [])
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


@pytest.mark.parametrize("name", ["pairs", "results", "gates", "history", "events", "diff"])
def test_an_empty_run_has_all_columns(hand, run, name):
    """Nothing was evaluated yet, and every table is there."""
    frame = run.diff(run) if name == "diff" else getattr(run, name)
    assert list(frame) == [column.name for column in FRAMES[name]]
    assert [str(dtype) for dtype in frame.dtypes] == [column.dtype for column in FRAMES[name]]
    assert frame.empty


def test_a_pair_without_predictions_has_no_samples(hand, run):
    """It is known by its result alone: the columns that every pair has, and no rows."""
    hand.result("s", "t", "d", status="error")
    frame = run.samples("t/d")
    assert list(frame) == [column.name for column in SAMPLES]
    assert [str(dtype) for dtype in frame.dtypes] == [column.dtype for column in SAMPLES]
    assert frame.empty


@pytest.mark.parametrize(
    ("dtype", "damaged"),
    [
        ("Int64", 2**70),
        ("Int64", [1]),
        ("Int64", 1.5),
        ("Float64", 10**400),
        ("Float64", {"a": 1}),
        ("Float64", "much"),
        ("boolean", "yes"),
        ("category", ["ok"]),
        ("category", "unheard of"),
        ("datetime64[ns, UTC]", "yesterday"),
        ("datetime64[ns, UTC]", "9999-01-01T00:00:00Z"),
        ("datetime64[ns, UTC]", 7),
    ],
)
def test_a_value_that_does_not_fit_costs_itself(dtype, damaged):
    """A damaged line takes no other one with it."""
    good = {"category": "ok"}.get(dtype) or SUITABLE[dtype]
    column = FrameColumn("x", dtype, "", ("ok",) if dtype == "category" else ())
    frame = frame_of([column], {"x": [good, damaged, None]})
    assert str(frame["x"].dtype) == dtype
    assert frame["x"].isna().tolist() == [False, True, True]


def test_values_of_any_kind_stay_what_they_are():
    """Lists of one length are no second dimension, and null is None."""
    values = [[1, 2], [3, 4], {"a": 1}, "x", 1, True, None]
    frame = frame_of([FrameColumn("x", "object", "")], {"x": values})
    assert frame["x"].tolist() == values
    assert frame["x"].iloc[-1] is None


def test_moments_are_of_one_unit_and_zone():
    """With and without a fraction, in one column."""
    values = ["2026-11-21T10:30:15.123Z", "2026-11-21T10:30:15Z", "2026-11-21T11:30:15+01:00"]
    frame = frame_of([FrameColumn("x", "datetime64[ns, UTC]", "")], {"x": values})
    assert frame["x"].iloc[1] == frame["x"].iloc[2] == pd.Timestamp("2026-11-21T10:30:15", tz="UTC")
    assert frame["x"].iloc[0] - frame["x"].iloc[1] == pd.Timedelta(milliseconds=123)
