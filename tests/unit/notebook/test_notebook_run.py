"""A run in a notebook: how it is found, what its tables say, and what damage costs."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest
from handmade import HandMadeRun, metric

import pytest_evalrun as er
from pytest_evalrun.errors import ConfigError, EvalrunWarning
from pytest_evalrun.rundir.sessions import open_session
from pytest_evalrun.rundir.tasklist import Status, TaskList
from pytest_evalrun.stats.difference import TANGO
from pytest_evalrun.stats.tango import tango_interval


@pytest.mark.parametrize("wanted", ["latest", "run1", "outputs/run1", "./outputs/latest", Path("outputs/latest")])
def test_a_run_is_found_by_what_it_is_called(hand, tmp_path, monkeypatch, wanted):
    """As the command finds it; what `latest` means is settled when it is loaded."""
    monkeypatch.chdir(tmp_path)
    run = er.load(wanted, workdir="outputs")
    (tmp_path / "outputs/latest").unlink()
    assert (run.name, run.path) == ("run1", hand.paths.root)


def test_a_path_without_a_slash_is_a_path(hand, monkeypatch):
    """A Path is never the name of a run."""
    monkeypatch.chdir(hand.paths.root.parent)
    assert er.load(Path("run1"), workdir="elsewhere").path == hand.paths.root


def test_the_work_directory_is_looked_for_upwards(tmp_path, monkeypatch):
    """A notebook may lie anywhere in the project."""
    root = HandMadeRun(tmp_path / "outputs" / "default" / "run1").paths.root
    (tmp_path / "notebooks" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks" / "deep")
    assert er.load("run1").path == root


def test_without_latest_the_newest_is_guessed_and_said(hand):
    """The link is gone, the run is not."""
    workdir = hand.paths.root.parent
    (workdir / "latest").unlink()
    with pytest.warns(EvalrunWarning, match="nothing says which run is the latest; this is the newest, run1"):
        assert er.load(workdir=workdir).name == "run1"


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("run2", r"run run2: not found among 1 in .*; nearest: run1"),
        ("new", "run new: a run is started by pytest"),
        ("./run1", r"\./run1: no such run"),
    ],
)
def test_a_run_that_is_not_there_is_an_error(hand, tmp_path, monkeypatch, wanted, text):
    """With the names of those that there are."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=text):
        er.load(wanted, workdir="outputs")


def test_no_run_at_all_is_an_error_that_names_the_argument(tmp_path, monkeypatch):
    """Not the option of a command that nobody gave."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^outputs/default: no run here; start one with pytest, or .*: workdir=$"):
        er.load()


def listed(hand, **states):
    """Datasets of the task ``t`` in the run's task list, as they stand."""
    tasks = TaskList([("s/t", "", list(states))])
    for dataset, status in states.items():
        tasks.set("s/t", dataset, status)
    tasks.write(hand.paths.task_list, nullcontext())


def test_pairs_are_all_that_the_run_knows_of(hand, run):
    """Those with a result and those that only the task list has; why one has none."""
    hand.result("s", "t", "d10", total=4, failed=1, metrics={"top1": 0.75})
    hand.result("s", "t", "d9", status="error", environment={"error": "OSError: gone"})
    listed(hand, d10=Status.COMPLETED, new=Status.PENDING)
    frame = run.pairs
    assert frame["pair"].tolist() == ["s/t/d9", "s/t/d10", "s/t/new"]
    assert frame["status"].tolist() == ["error", "passed", "pending"]
    assert frame["reason"].fillna("").tolist() == ["OSError: gone", "", ""]
    assert frame.loc[1, ["samples", "predicted", "failed", "seconds"]].tolist() == [4, 3, 1, 0.4]
    assert frame["p50"].isna().all()


def test_results_are_those_of_the_summary(hand, run):
    """A row a pair and metric with interval and gates; a pair without metrics has one, and no value."""
    breached = {"metric": "top1", "kind": "min", "value": 0.5, "limit": 0.9, "by": 0.4, "holds": False}
    gates = [breached, {"metric": "mae", "kind": "max", "value": 1.0, "limit": 2.0, "by": 0.0, "holds": True}]
    hand.result("s", "t", "a", status="failed", metrics={"top1": 0.5, "mae": metric(1.0, better="lower")}, gates=gates)
    hand.result("s", "t", "b", status="error")
    frame = run.results
    assert list(zip(frame["pair"], frame["metric"].fillna("-"), strict=True)) == [
        ("s/t/a", "top1"),
        ("s/t/a", "mae"),
        ("s/t/b", "-"),
    ]
    assert frame.loc[0, ["value", "low", "high", "n", "better", "holds"]].tolist() == [
        0.5,
        0.45,
        0.55,
        10,
        "higher",
        False,
    ]
    assert frame["holds"].tolist()[1:] == [True, pd.NA]
    assert frame["better"].tolist()[:2] == ["higher", "lower"]
    gates = run.gates
    assert gates["by"].tolist() == [0.4, 0.0]
    assert gates["holds"].tolist() == [False, True]


def test_gates_have_verdict_and_interval(hand, run):
    """As the result has them, more is better; of one by its value alone, and of an earlier version, the value's."""
    old = {"metric": "top1", "kind": "min", "value": 0.5, "limit": 0.9, "by": 0.4, "holds": False}
    told = {"verdict": "INCONCLUSIVE", "tier": "critical", "interval": [-0.03, 0.01], "n": 180, "method": "Tango"}
    judged = old | {"kind": "max_drop", "holds": True} | told | {"p": 0.4, "why": "n=180"}
    hand.result("s", "t", "a", status="failed", metrics={"top1": 0.5}, gates=[old, judged, judged | {"interval": 3}])
    gates = run.gates
    assert gates["verdict"].tolist() == ["FAIL", "INCONCLUSIVE", "INCONCLUSIVE"]
    assert gates["tier"].isna().tolist() == [True, False, False]
    columns = ["low", "high", "n", "method", "p", "why"]
    assert gates.loc[0, columns].isna().all()
    assert gates.loc[1, columns].tolist() == [-0.03, 0.01, 180, "Tango", 0.4, "n=180"]
    assert gates["low"].isna().tolist() == [True, False, True]


def test_history_is_a_row_an_evaluation_and_metric(hand, run):
    """Oldest first; what samples were waited for only where that was measured."""
    entry = {
        "pair": "s/t/d",
        "metrics": {"top1": 0.5, "mae": 2},
        "samples": {"total": 8, "predicted": 7, "failed": 1},
        "seconds": {"total": 1.5, "p50": 0.1, "p95": 0.2},
        "time": "2026-11-21T10:30:15Z",
    }
    lines = [entry, entry | {"timing": 2, "metrics": {}, "time": "2026-11-22T10:30:15Z"}]
    history = hand.paths.root.parent / "history.jsonl"
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    frame = run.history
    assert frame["metric"].fillna("-").tolist() == ["top1", "mae", "-"]
    assert frame["value"].fillna(-1).tolist() == [0.5, 2.0, -1]
    assert frame["p50"].fillna(-1).tolist() == [-1, -1, 0.1]
    assert frame["time"].dt.day.tolist() == [21, 21, 22]
    assert frame["failed"].tolist() == [1, 1, 1]


def test_events_have_the_rest_of_what_they_say_in_one_column(hand, run):
    """What is no column of its own is not lost."""
    event = {"time": "2026-11-21T10:30:15.5Z", "event": "item_finished", "pair": "s/t/d", "worker": "gw0"}
    hand.paths.events.write_text(json.dumps(event | {"outcome": "passed", "reused": True, "limit": 3}) + "\n")
    (row,) = run.events.to_dict("records")
    assert (row["event"], row["worker"], row["outcome"], row["reused"]) == ("item_finished", "gw0", "passed", True)
    assert row["more"] == {"limit": 3}


@pytest.mark.parametrize(
    ("damage", "ask", "text", "left"),
    [
        ("events.jsonl", "events", r"events\.jsonl: cannot be read: line 2", 1),
        ("../history.jsonl", "history", r"history\.jsonl: cannot be read: line 2", 1),
        ("results/s/t/a.json", "results", r"results/s/t/a\.json: cannot be read; the rest is shown", 1),
        ("results/s/t/a.json", "pairs", r"results/s/t/a\.json: damaged; the rest is shown", 2),
    ],
)
def test_damage_costs_itself_and_is_said(hand, run, damage, ask, text, left):
    """The warning points at who asked."""
    for name in ("a", "b"):
        hand.result("s", "t", name, metrics={"top1": 1.0})
    hand.write(hand.paths.root / damage, '{"pair": "s/t/b"}\n{torn\n')
    with pytest.warns(EvalrunWarning, match=text) as caught:
        frame = getattr(run, ask)
    assert len(frame) == left
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name]


def two_runs(hand):
    """The run, and an earlier one in which sample 1 was wrong and sample 2 right."""
    before = HandMadeRun(hand.paths.root.parent / "run0")
    for one, scores, value in ((before, (1, 0, 1, 0), 0.5), (hand, (1, 1, 0, 1), 0.75)):
        one.result("s", "t", "d", metrics={"top1": value})
        one.scores("s", "t", "d", [{"index": i, "top1": score} for i, score in enumerate(scores)])
    before.result("s", "t", "old", metrics={"top1": 1.0})
    return before


@pytest.mark.parametrize("how", ["name", "path", "run"])
def test_diff_is_what_changed_from_the_other_to_this(hand, run, how):
    """By metric and by sample; pairs of one run only are rows too."""
    before = two_runs(hand).paths.root
    other = {"name": "run0", "path": before, "run": er.load(before)}[how]
    frame = run.diff(other)
    assert frame["pair"].tolist() == ["s/t/d", "s/t/old"]
    row = frame.iloc[0]
    assert (row["before"], row["after"], row["change"], row["verdict"]) == (0.5, 0.75, 0.25, "better")
    assert (row["lost"], row["lost_ids"], row["won"], row["won_ids"]) == (1, ["s2"], 2, ["s1", "s3"])
    low, high = tango_interval(4, 1, 2)
    assert (row["low"], row["high"], row["n"], row["method"]) == (pytest.approx(low), pytest.approx(high), 4, TANGO)
    assert frame["remark"].iloc[1] == "only in run0"
    assert run.diff(other, samples=1)["won_ids"].iloc[0] == ["s1"]


def test_a_living_run_is_read_without_touching_it(hand, run):
    """Its session keeps its lock, and no file is made or changed."""
    hand.result("s", "t", "d", metrics={"top1": 1.0})
    listed(hand, d=Status.RUNNING)
    hand.predictions("s", "t", "d", [(0, 1, 1)], tail='{"index": 1')
    session = open_session(hand.paths, ["pytest"])
    try:
        before = listing(hand)
        assert run.pairs["status"].tolist() == ["running"]
        assert len(run.samples("t/d")) == 1
        assert "(running)" in repr(run)
        assert (len(run.results), len(run.events), len(run.history)) == (1, 0, 0)
        assert listing(hand) == before
    finally:
        session.close(clean=True)


def listing(hand):
    return {path: path.stat().st_mtime_ns for path in hand.paths.root.parent.rglob("*")}


def test_a_suite_that_is_wrong_costs_the_inputs(hand, run):
    """The samples are shown all the same."""
    hand.paths.run_json.write_text('{"format": 1, "suites": {"s": "../../evalrun.yaml"}}')
    (hand.paths.root.parents[1] / "evalrun.yaml").write_text("adapter: 7\n")
    hand.result("s", "t", "d", metrics={"top1": 1.0})
    hand.predictions("s", "t", "d", [(0, 1, 1)])
    assert "input" not in run.samples("t/d")
    assert run.pairs["gone"].tolist() == [False]


def test_parquet_needs_pyarrow_and_says_so(run, tmp_path, monkeypatch):
    """Before anything is written."""
    monkeypatch.setattr("pytest_evalrun.notebook.parquet.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="to_parquet: pyarrow is not installed; pip install pyarrow"):
        run.to_parquet(tmp_path / "out")
    assert not (tmp_path / "out").exists()
