"""A run as Parquet files, with the real pyarrow: what is read back is what the DataFrames had."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from pytest_evalrun.notebook.columns import FRAMES


@pytest.fixture
def filled(hand):
    """A pair whose predictions are of many kinds, one whose are texts, and one without any."""
    hand.result("s", "t/深", "kinds", metrics={"top1": 0.5})
    hand.predictions("s", "t/深", "kinds", [(0, "x", 1), (1, {"a": [1]}, None), (2, 3.5, "y")])
    hand.scores("s", "t/深", "kinds", [{"index": i, "top1": i % 2} for i in range(3)])
    hand.result("s", "t", "texts", metrics={"top1": 0.5})
    hand.predictions("s", "t", "texts", [(0, "x", "x"), (1, None, "y")])
    hand.result("s", "t", "none", status="error")
    event = {"time": "2026-11-21T10:30:15.5Z", "event": "run_started", "worker": "controller", "argv": ["pytest"]}
    hand.paths.events.write_text(json.dumps(event) + "\n")
    return hand


def test_each_frame_is_a_file(filled, run, tmp_path):
    """Those of samples by suite, task and dataset, as the run's own files are called."""
    files = run.to_parquet(tmp_path / "out")
    names = [file.relative_to(tmp_path / "out").as_posix() for file in files]
    assert names[:5] == [f"{name}.parquet" for name in ("pairs", "results", "gates", "history", "events")]
    assert sorted(names[5:]) == [
        "samples/s/t/none.parquet",
        "samples/s/t/texts.parquet",
        "samples/s/t_深/kinds.parquet",
    ]
    assert run.to_parquet(tmp_path / "few", samples=False) == [tmp_path / "few" / name for name in names[:5]]


def test_dtypes_come_back(filled, run, tmp_path):
    """Of an empty frame too: a column of any kind is text there."""
    run.to_parquet(tmp_path)
    for name in ("pairs", "results", "gates", "history", "events"):
        frame = pd.read_parquet(tmp_path / f"{name}.parquet")
        kinds = [str(dtype).removesuffix("[pyarrow]") for dtype in frame.dtypes]
        assert kinds == [column.dtype.replace("object", "string") for column in FRAMES[name]]
    assert len(pd.read_parquet(tmp_path / "history.parquet")) == 0
    results = pd.read_parquet(tmp_path / "results.parquet")
    assert results["value"].tolist() == run.results["value"].tolist()


def test_values_of_many_kinds_are_json_and_texts_are_texts(filled, run, tmp_path):
    """A column of a file has one kind."""
    run.to_parquet(tmp_path)
    kinds = pd.read_parquet(tmp_path / "samples/s/t_深/kinds.parquet")
    assert kinds["prediction"].tolist() == ['"x"', '{"a": [1]}', "3.5"]
    assert kinds["reference"].fillna("-").tolist() == ["1", "-", '"y"']
    assert kinds["score.top1"].tolist() == [0.0, 1.0, 0.0]
    texts = pd.read_parquet(tmp_path / "samples/s/t/texts.parquet")
    assert texts["prediction"].fillna("-").tolist() == ["x", "-"]
    assert len(pd.read_parquet(tmp_path / "samples/s/t/none.parquet")) == 0
    events = pd.read_parquet(tmp_path / "events.parquet")
    assert events["more"].tolist() == ['{"argv": ["pytest"]}']


def test_files_are_replaced(filled, run, tmp_path):
    """Whoever reads one meanwhile has the old or the new; nothing is left beside."""
    run.to_parquet(tmp_path)
    before = sorted(path for path in tmp_path.rglob("*.parquet"))
    run.to_parquet(tmp_path)
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and "outputs" not in path.parts]
    assert sorted(outside) == before


def test_half_a_character_is_no_end(hand, run, tmp_path):
    """Arrow holds whole ones: it is written as its escape."""
    hand.result("s", "t", "d")
    line = hand.line((0, "\ud800", "x")) | {"error": "\ud800"}
    hand.predictions("s", "t", "d", [])
    hand.paths.pair(hand.key("s", "t", "d")).predictions.write_text(json.dumps(line) + "\n")
    run.to_parquet(tmp_path)
    frame = pd.read_parquet(tmp_path / "samples/s/t/d.parquet")
    assert (frame["error"].iloc[0], frame["prediction"].iloc[0]) == ("\\ud800", "\\ud800")
