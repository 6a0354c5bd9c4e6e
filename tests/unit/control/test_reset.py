"""Reset: pairs are to be evaluated again, and nothing of what was there is lost."""

from __future__ import annotations

import pytest

from pytest_evalrun.control.reset import plan_reset, reset, task_lines
from pytest_evalrun.control.selection import selected
from pytest_evalrun.errors import ConfigError


def do(found, matches=None, *, failed=False):
    plans = plan_reset(found, selected(found.paths, matches, failed=failed))
    return plans, reset(found, plans)


def test_predictions_and_results_become_old_and_logs_and_outputs_stay(place, tree_of):
    """State and marker go; the other pair is untouched, and so is everything outside the run."""
    found = place.run()
    before, outside = tree_of(found.paths.root), tree_of(place.suite)
    plans, changed = do(found, lambda full_id: "a/" in full_id)
    assert [plan.pair.full_id for plan in plans] == ["s/a/one"]
    assert changed == 1
    after = tree_of(found.paths.root)
    renamed = {"predictions/s/a/one.jsonl", "predictions/s/a/one.scores.jsonl", "results/s/a/one.json"}
    renamed |= {"predictions/s/a/one.fingerprint.json"}
    gone = {"state/s/a/one.state", "state/s/a/one.complete.state"}
    expected = {name: text for name, text in before.items() if name not in renamed | gone}
    expected |= {f"{name}.old": before[name] for name in renamed}
    expected[".task_list"] = before[".task_list"].replace("psnr|1\n-one|2", "psnr|1\n-one|0")
    expected["failed_tasks.txt"] = "s/b/one\n"
    assert after == expected
    assert tree_of(place.suite) == outside


def test_twice_keeps_what_was_first_aside_only_where_nothing_is_new(place):
    """A second reset finds nothing to do, and loses no .old for it."""
    found = place.run()
    do(found)
    plans, _ = do(found)
    assert plans == []
    assert (found.paths.root / "predictions/s/a/one.jsonl.old").read_text().startswith('{"index":0')


def test_only_what_failed(place):
    """By result or by task list."""
    found = place.run()
    plans, _ = do(found, failed=True)
    assert [plan.pair.full_id for plan in plans] == ["s/b/one"]
    assert list(task_lines(found.paths)) == ["passed  s/a/one", "pending s/b/one"]


def test_shards_and_what_tests_recorded_go_aside_too(place, put):
    """Whatever lies below a pair's own name, the files of an agent too."""
    found = place.run()
    names = "predictions/s/a/one/0-250.jsonl", "results/s/a/one/test_latency.json", "state/s/a/one/0-250.state"
    for name in (*names, "agents/s/a/one/runs.jsonl"):
        put(found.paths.root / name, "x")
    do(found)
    assert (found.paths.root / "predictions/s/a/one.old/0-250.jsonl").exists()
    assert (found.paths.root / "results/s/a/one.old/test_latency.json").exists()
    assert (found.paths.root / "agents/s/a/one.old/runs.jsonl").exists()
    assert not (found.paths.root / "state/s/a/one").exists()


def test_a_link_in_the_way_is_an_error_before_anything_is_changed(place, tmp_path, tree_of):
    """Who keeps predictions elsewhere by a link is told, and keeps them."""
    found = place.run()
    (found.paths.root / "predictions").rename(tmp_path / "big disk")
    (found.paths.root / "predictions").symlink_to(tmp_path / "big disk")
    before = tree_of(found.paths.root), tree_of(tmp_path / "big disk")
    with pytest.raises(ConfigError, match="symbolic link"):
        do(found)
    assert before == (tree_of(found.paths.root), tree_of(tmp_path / "big disk"))


def test_a_damaged_list_does_not_hide_pairs(place):
    """Results and state files speak of them too, and damage is told."""
    found = place.run(states="torn")
    (found.paths.root / "results/s/a/one.json").write_text("{torn")
    plans, changed = do(found)
    assert [plan.pair.full_id for plan in plans] == ["s/a/one", "s/b/one"]
    assert changed is None
    assert "is damaged" in next(task_lines(found.paths))
    assert not (found.paths.root / "state/s/a/one.complete.state").exists()


def test_a_line_says_what_becomes_of_a_pair(place):
    """For the list before the question."""
    found = place.run()
    plan = plan_reset(found, selected(found.paths, None))[0]
    assert plan.line().startswith("s/a/one  becomes .old: predictions/s/a/one.jsonl, ")
    assert plan.line().endswith("; goes: state/s/a/one.complete.state, state/s/a/one.state")
