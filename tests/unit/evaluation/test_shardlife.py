"""The steps of a shard: several start at one moment, and what they show of themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from threading import Thread

import pytest

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation import shardlife
from pytest_evalrun.evaluation.cuts import ranges
from pytest_evalrun.evaluation.selection import verdicts
from pytest_evalrun.evaluation.steps import Steps
from pytest_evalrun.evaluation.stored import locked
from pytest_evalrun.rundir import state
from pytest_evalrun.rundir.layout import paths_of
from pytest_evalrun.rundir.locks import is_locked
from pytest_evalrun.rundir.state import parse
from pytest_evalrun.suite.pairs import Cut


@pytest.fixture(autouse=True)
def counting_is_quick(monkeypatch):
    """However long it took here: a state that was slow to count is not counted at every end of a shard."""
    monkeypatch.setattr("pytest_evalrun.rundir.state.SHORT_COUNT", 60.0)


@pytest.fixture
def pair(shop):
    """Twelve samples in four shards."""
    shop.data(count=12)
    return cut(shop.pair(max_batch_size=2), 4)


def cut(pair, number, count=12):
    return replace(pair, cuts=tuple(Cut(low, high, f"{low}-{high}") for low, high in ranges(count, "shards", number)))


@pytest.fixture
def paths(evaluator):
    return lambda pair: paths_of(evaluator.context().paths, pair)


def test_a_shard_predicts_its_range_and_no_more(shop, evaluator, pair, paths):
    """No result, no marker: that is its pair's business."""
    evaluation = evaluator(pair.shards()[1])
    assert (evaluation.result, evaluation.reused, evaluation.predicted) == (None, False, 3)
    assert shop.asked() == ["s3", "s4", "s5"]
    assert not paths(pair).marker.exists()
    again = evaluator(pair.shards()[1])
    assert (again.reused, again.reason) == (True, "reused: all its samples were predicted before")
    assert shop.notes() == []


def test_a_shard_of_a_complete_pair_is_reused_without_a_look_at_predictions(evaluator, pair, paths):
    """And it leaves nothing behind."""
    for item in (*pair.shards(), pair):
        evaluator(item)
    assert {evaluator(shard).reason for shard in pair.shards()} == {"reused: its pair is complete"}
    assert not paths(pair).shard_predictions.exists()


ONE = """
import json, sys
from pathlib import Path
from pytest_evalrun.evaluation.context import Context, Launch
from pytest_evalrun.evaluation.life import evaluate
from pytest_evalrun.suite.published import load

run, workdir, place, suite = sys.argv[1:]
context = Context(Launch(run, workdir, "launch", fresh=True), f"gw{place}")
(pair,) = load(Path(suite).read_text())[0].pairs
sys.stdin.readline()
evaluate(pair.shards()[int(place)], context)
context.close()
"""


@pytest.mark.parametrize("change", ["model", "nothing"])
def test_shards_that_start_at_one_moment_make_room_once(shop, evaluator, pair, paths, tmp_path, change):
    """Of a new model, and with --eval-fresh: no shard sets aside what another has just predicted."""
    from pytest_evalrun.suite.pairs import Suite
    from pytest_evalrun.suite.published import dump

    for item in (*pair.shards(), pair):
        evaluator(item, run_id="before")
    shop.notes()
    if change == "model":
        (shop.root / "weights.bin").write_bytes(b"WEIGHTS")
    file = tmp_path / "suite.json"
    file.write_text(dump([Suite("letters", "f", str(shop.root), (pair,))]))
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ONE, str(evaluator.run), str(evaluator.workdir), str(place), str(file)],
            stdin=subprocess.PIPE,
        )
        for place in range(4)
    ]
    for process in started:
        process.stdin.write(b"go\n")
        process.stdin.close()
    assert [process.wait(60) for process in started] == [0] * 4
    assert sorted(shop.asked(), key=lambda name: int(name[1:])) == [f"s{i}" for i in range(12)]
    assert evaluator(pair).result.samples["predicted"] == 12
    assert paths(pair).fingerprint.with_name("clean.fingerprint.json.old").exists()


def test_a_model_is_loaded_while_nobody_waits_for_the_lock(shop, evaluator, pair, paths, monkeypatch):
    """Whoever waits may hold the GPU that it needs."""
    evaluator(pair.shards()[0])
    (shop.root / "weights.bin").write_bytes(b"WEIGHTS")
    held = []
    real = Steps.load

    def load(steps, plan):
        held.append((plan.action, is_locked(paths(pair).lock)))
        return real(steps, plan)

    monkeypatch.setattr(Steps, "load", load)
    evaluator(pair.shards()[1])
    assert held[0] == ("run", False)


def test_a_shard_is_locked_while_it_runs(evaluator, pair, paths, monkeypatch):
    """So others can tell that somebody is at it; its pair is not, or shards would wait for each other."""
    shard, seen = pair.shards()[0], []
    real = shardlife._predict

    def look(*args):
        seen.append((is_locked(paths(shard).lock), is_locked(paths(pair).lock)))
        return real(*args)

    monkeypatch.setattr(shardlife, "_predict", look)
    assert not is_locked(paths(shard).lock)
    evaluator(shard, shared=True)
    assert seen == [(True, False)]
    assert not is_locked(paths(shard).lock)


def test_a_shard_that_is_asked_for_twice_is_done_once(shop, evaluator, pair):
    """The second waits for the first and finds its predictions."""
    shard = pair.shards()[0]
    threads = [Thread(target=evaluator, args=(shard,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert shop.asked() == ["s0", "s1", "s2"]


def test_a_model_that_does_not_load_costs_no_predictions(shop, evaluator, pair, paths):
    """Nothing is set aside for it, however many shards try."""
    for item in (*pair.shards(), pair):
        evaluator(item)
    before = paths(pair).predictions.read_bytes()
    broken = cut(shop.pair(params={"nonsense": 1}), 4)
    for shard in broken.shards():
        with pytest.raises(PairError, match="does not fit what it is given"):
            evaluator(shard)
    with pytest.raises(PairError, match=r"0 of 4 shards are complete, .*parameters changed"):
        evaluator(broken)
    assert paths(pair).predictions.read_bytes() == before
    assert evaluator(pair).reused


# ------------------------------------------------------------------ the state


def state_of(paths, pair):
    return parse(paths(pair).state.read_text())


def progress(now):
    return now.current_batch, now.total_batches, now.batch_completed, now.batch_total, now.total_data


def test_the_state_of_a_pair_counts_its_shards_together(evaluator, pair, paths):
    """Those that have not begun are counted by their batches to come; samples of batches at hand add up."""
    assert all(shard.cut.size == 3 for shard in pair.shards())
    evaluator(pair.shards()[0])
    assert progress(state_of(paths, pair.shards()[0])) == (2, 2, 1, 1, 3)
    assert progress(state_of(paths, pair)) == (2, 8, 1, 1, 12)
    evaluator(pair.shards()[3])
    assert progress(state_of(paths, pair)) == (4, 8, 2, 2, 12)
    for item in (*pair.shards()[1:3], pair):
        evaluator(item)
    assert progress(state_of(paths, pair)) == (8, 8, 4, 4, 12)
    assert not paths(pair).shard_states.exists()


def test_what_an_earlier_launch_left_is_not_counted(evaluator, pair, paths):
    """A shard that finds all done says so; one that has not begun is still to come."""
    evaluator(pair.shards()[0], run_id="first")
    evaluator(pair.shards()[1], run_id="first")
    evaluator(pair.shards()[2], run_id="second")
    assert progress(state_of(paths, pair)) == (2, 8, 1, 1, 12)
    evaluator(pair.shards()[0], run_id="second")
    assert progress(state_of(paths, pair)) == (2, 6, 1, 1, 12)


def test_many_shards_are_not_counted_all_the_time(evaluator, pair, paths, monkeypatch):
    """Where counting takes its time it is put off, and the pair's own item makes it right."""
    evaluator(pair.shards()[0])
    monkeypatch.setattr(state, "SHORT_COUNT", 0.0)
    monkeypatch.setattr(state, "MOST_SHARE", 1e-9)
    for shard in pair.shards()[1:]:
        evaluator(shard)
    assert progress(state_of(paths, pair)) == (4, 8, 2, 2, 12)
    evaluator(pair)
    assert progress(state_of(paths, pair)) == (8, 8, 4, 4, 12)


def test_a_damaged_state_of_a_shard_counts_as_not_begun(evaluator, pair, paths):
    """It never costs the shard anything."""
    evaluator(pair.shards()[0])
    paths(pair.shards()[0]).state.write_text("nonsense")
    evaluator(pair.shards()[1])
    assert progress(state_of(paths, pair)) == (2, 8, 1, 1, 12)


# ------------------------------------------------------------------ what would be done


def told(evaluator, pair):
    items = [*pair.shards(), pair]
    found = [(v.action, v.size, v.reason) for v in verdicts(items, evaluator.workdir, evaluator.run.name)]
    return found[:-1], found[-1]


@pytest.fixture
def run(evaluator):
    """A run that others find by its name."""
    evaluator.run.mkdir(parents=True)
    (evaluator.run / "run.json").write_text(json.dumps({"format": 1, "manifest": {}}))
    return evaluator.run


def test_each_shard_has_a_verdict_of_its_own(shop, evaluator, pair, run):
    """Its own size and how far it came, wherever its samples were predicted."""
    assert told(evaluator, pair) == ([("run", 3, "new")] * 4, ("run", None, "new"))
    evaluator(pair.shards()[1])
    evaluator(cut(pair, 3).shards()[0])
    shards, whole = told(evaluator, pair)
    assert shards == [
        ("reuse", 3, "reused: all its samples were predicted before"),
        ("reuse", 3, "reused: all its samples were predicted before"),
        ("resume", 3, "new"),
        ("resume", 3, "new"),
    ]
    assert whole == ("resume", 12, "resumed at 6 of 12 samples")
    for item in (*pair.shards(), pair):
        evaluator(item)
    shards, whole = told(evaluator, pair)
    assert shards == [("reuse", 3, "reused: its pair is complete")] * 4
    assert whole[:2] == ("reuse", 12)
    (shop.root / "weights.bin").write_bytes(b"WEIGHTS")
    shards, whole = told(evaluator, pair)
    assert shards == [("run", 3, "re-run: model changed")] * 4
    assert whole == ("run", 12, "re-run: model changed")


def test_verdicts_change_nothing(evaluator, pair, run):
    """They only look."""
    evaluator(pair.shards()[0])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    told(evaluator, pair)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_lock_that_nobody_holds_is_free(evaluator, pair, paths):
    """It dies with its process, and with its block."""
    shard = pair.shards()[0]
    with locked(paths(shard), shared=True):
        assert is_locked(paths(shard).lock)
    assert not is_locked(paths(shard).lock)


def test_fresh_costs_nothing_where_the_model_does_not_load(shop, evaluator, pair):
    """What is there is put aside only when the model is there that shall make it anew; then by the first shard."""
    for item in (*pair.shards(), pair):
        evaluator(item, run_id="one")
    broken = cut(shop.pair(max_batch_size=2, params={"nonsense": 1}), 4)
    for shard in broken.shards():
        with pytest.raises(PairError, match="does not fit what it is given"):
            evaluator(shard, run_id="two", fresh=True)
    assert evaluator(pair, run_id="three").reused
    shop.notes()
    for item in (*pair.shards(), pair):
        assert not evaluator(item, run_id="four", fresh=True).reused
    assert len(shop.asked()) == 12
