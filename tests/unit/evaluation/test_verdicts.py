"""What would happen to each pair: said before anything runs, and without changing anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.evaluation.selection import select, verdicts
from pytest_evalrun.rundir.tasklist import Status, TaskList
from pytest_evalrun.suite.pairs import Cut

HALVES = (Cut(0, 3, "0-3"), Cut(3, 6, "3-6"))


@pytest.fixture
def run(evaluator):
    """A run directory named `run 1`, as a session would have made it."""
    evaluator.run.mkdir(parents=True)
    (evaluator.run / "run.json").write_text('{"format": 1}')
    (evaluator.workdir / "latest").symlink_to("run 1")
    return evaluator.run


@pytest.fixture
def plan(evaluator):
    """Actions and reasons for pairs."""
    return lambda *pairs: [(v.action, v.reason) for v in verdicts(pairs, evaluator.workdir, "latest")]


def test_without_a_run_everything_is_new(shop, plan):
    """Nothing is read then, not even the datasets."""
    assert plan(shop.pair("none"), shop.pair(skip="too slow")) == [("run", "new"), ("skip", "too slow")]


def test_a_verdict_a_pair(shop, evaluator, run, plan):
    """Reused, scored again, run again, resumed, new, skipped or in error: as the launch itself would find."""
    for name in ("clean", "labels", "changed", "killed", "shut"):
        shop.data(name)
        evaluator(shop.pair(name))
    shop.data("labels", wrong={1})
    shop.data("changed", count=3)
    files = evaluator.context().paths.pair(shop.pair("killed").key)
    files.marker.unlink()
    files.predictions.write_bytes(b"".join(files.predictions.read_bytes().splitlines(keepends=True)[:2]))
    (shop.root / "data" / "shut.jsonl").unlink()
    shop.notes()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    names = ("clean", "labels", "changed", "killed", "shut", "new")
    found = dict(zip(names, plan(*(shop.pair(name) for name in names)), strict=True))
    assert {name: action for name, (action, _) in found.items()} == {
        "clean": "reuse", "labels": "score", "changed": "run", "killed": "resume", "shut": "error", "new": "run"
    }  # fmt: skip
    assert found["labels"][1] == "scored again: references changed"
    assert found["changed"][1] == "re-run: dataset changed"
    assert found["killed"][1] == "resumed at 2 of 6 samples"
    assert "cannot be read" in found["shut"][1]
    assert found["new"][1] == "new"
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert shop.notes() == []


def test_of_first_samples_only_they_are_counted(shop, evaluator, run):
    """A plan does not promise all the others."""
    shop.data("clean")
    limited = shop.pair(limit=2)
    evaluator(limited)
    assert [v.size for v in verdicts([limited], evaluator.workdir, "latest")] == [2]


def test_what_was_damaged_or_lies_aside_is_told(shop, evaluator, run, plan):
    """Both are stale; of the one the model is asked, the other is scored alone; nothing is changed by looking."""
    for name in ("damaged", "aside", "clean"):
        shop.data(name)
        evaluator(shop.pair(name))
    path = evaluator.context().paths.pair(shop.pair("damaged").key).predictions
    path.write_bytes(path.read_bytes().replace(b'"prediction":3', b'"prediction":7'))
    shop.data("aside", count=3)
    evaluator(shop.pair("aside"))
    shop.data("aside")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    pairs = [shop.pair(name) for name in ("damaged", "aside", "clean")]
    (mend, back, reuse) = plan(*pairs)
    assert mend == ("run", "re-run: predictions/letters/echo/damaged.jsonl changed after it was marked")
    assert back == ("score", "found again: its predictions were put aside (dataset changed)")
    assert reuse[0] == "reuse"
    shards = [shard for pair in pairs[:2] for shard in replace(pair, cuts=HALVES).shards()]
    assert [action for action, _ in plan(*shards)] == ["run", "run", "reuse", "reuse"]
    assert select("stale", pairs, evaluator.workdir, "latest") == {pair.full_id for pair in pairs[:2]}
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_skipped_pairs_are_not_looked_at(shop, run, plan):
    """Their reason is all there is to say."""
    assert plan(shop.pair("none", skip="too slow")) == [("skip", "too slow")]


def test_a_readers_fault_is_that_pairs_verdict(shop, evaluator, run, plan):
    """The others are judged all the same."""
    shop.data()
    evaluator(shop.pair())
    (shop.root / "r.py").write_text(
        "class Failing:\n    def __init__(self, path): pass\n    def __iter__(self): return iter(())\n"
        "    def identity(self, hashes): raise KeyError('no such split')\n"
    )
    actions = plan(shop.pair(format="./r.py:Failing"), shop.pair())
    assert actions[0] == ("error", "KeyError: 'no such split'")
    assert actions[1][0] == "reuse"


SELECTED = {
    "unfinished": {"pending", "running", "failed", "unknown"},
    "failed": {"failed"},
}


@pytest.mark.parametrize(("only", "names"), SELECTED.items(), ids=SELECTED)
def test_selection_by_state(shop, evaluator, run, only, names):
    """By the run's own task list, which knows what pytest's cache does not after a kill."""
    states = {"pending": 0, "running": 1, "done": 2, "failed": 3}
    tasks = TaskList([("letters/echo", "", list(states))])
    for name, state in states.items():
        tasks.set("letters/echo", name, Status(state))
    (run / ".task_list").write_text(tasks.render())
    pairs = [shop.pair(name) for name in (*states, "unknown")]
    assert select(only, pairs, evaluator.workdir, "latest") == {f"letters/echo/{name}" for name in names}


@pytest.mark.parametrize(
    ("left", "only"),
    [("failed", {"unfinished", "failed"}), ("error", {"unfinished", "failed"}), ("passed", set())],
)
def test_what_the_last_launch_knew_nothing_of_stands_as_an_earlier_one_left_it(shop, evaluator, run, left, only):
    """The task list is of the suites of one launch: what failed before in another is still to be found."""
    shop.data()
    evaluator(shop.pair())
    tasks = TaskList([("other/echo", "", ["one"])])
    (run / ".task_list").write_text(tasks.render())
    result = run / "results/letters/echo/clean.json"
    result.write_text(result.read_text().replace('"passed"', f'"{left}"'))
    found = {word for word in ("unfinished", "failed") if select(word, [shop.pair()], evaluator.workdir, "latest")}
    assert found == only
    listed = TaskList([("letters/echo", "", ["clean"])])
    (run / ".task_list").write_text(listed.render())
    assert select("failed", [shop.pair()], evaluator.workdir, "latest") == set()
    assert select("unfinished", [shop.pair()], evaluator.workdir, "latest") == {"letters/echo/clean"}


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"torn"], ids=["missing", "no text", "torn"])
def test_without_a_task_list_nothing_is_finished(shop, evaluator, run, content):
    """A list that is damaged says as much as none."""
    if content is not None:
        (run / ".task_list").write_bytes(content)
    assert select("unfinished", [shop.pair()], evaluator.workdir, "latest") == {"letters/echo/clean"}
    assert select("failed", [shop.pair()], evaluator.workdir, "latest") == set()


def test_a_pair_whose_samples_all_failed_is_not_new(shop, evaluator, run, plan):
    """Something is there: what failed is asked again."""
    shop.data()
    with pytest.raises(PairError, match="no sample was predicted"):
        evaluator(shop.pair(params={"bad": [f"s{i}" for i in range(6)]}))
    listed = plan(shop.pair(params={"bad": [f"s{i}" for i in range(6)]}))
    assert listed == [("resume", "resumed at 0 of 6 samples: 6 failed before")]


def test_stale_is_what_would_be_made_again(shop, evaluator, run):
    """Not what is new, nor what is unchanged."""
    for name in ("clean", "changed"):
        shop.data(name)
        evaluator(shop.pair(name))
    shop.data("changed", count=3)
    pairs = [shop.pair(name) for name in ("clean", "changed", "new")]
    assert select("stale", pairs, evaluator.workdir, "latest") == {"letters/echo/changed"}


def test_a_run_of_a_newer_version_is_refused(shop, evaluator, run):
    """Nothing is guessed about files of a format that is not known here."""
    (run / "run.json").write_text('{"format": 99}')
    with pytest.raises(ConfigError, match="newer version"):
        select("failed", [shop.pair()], evaluator.workdir, "latest")
