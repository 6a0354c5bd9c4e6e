"""What a word of ``evalrun gate`` means, and which pairs of it are sides."""

from __future__ import annotations

import json

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.gatesides import baseline_sides, find_compared, run_sides
from pytest_evalrun.report.known import OnDisk
from pytest_evalrun.report.runs import FoundRun, find_run
from pytest_evalrun.rundir.layout import WorkDir

METRIC = {"value": 1.0, "n": 2, "low": 0.3, "high": 1.0, "better": "higher"}
HEAD = {"format": 1, "pair": "s/t/d", "run": "r", "time": "2026-11-29T00:00:00Z", "samples": 2} | {
    "metrics": {"m": METRIC},
    "scoring": {},
    "names": ["m"],
    "statistics": [],
}


@pytest.fixture
def saved(tmp_path):
    """``saved("main")``: the directory of a baseline of one pair, below ``place``."""

    def make(name, place="", **head):
        file = tmp_path / place / "baselines" / name / "s" / "t" / "d.jsonl"
        file.parent.mkdir(parents=True)
        lines = [HEAD | head, ["a", "0" * 12, [1.0]], ["b", "0" * 12, [1.0]]]
        file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return file.parents[2]

    return make


@pytest.fixture
def sides(run):
    """The pairs of the run as sides."""

    def read(disk=None):
        return run_sides(FoundRun(WorkDir(run.paths.root.parent), run.paths), disk)

    return read


def test_a_name_is_a_saved_baseline_before_it_is_a_run(tmp_path, run, saved):
    """``latest`` is always a run; a path is what lies there."""
    workdir, name = run.paths.root.parent, run.paths.root.name
    place = saved(name)
    assert find_compared(name, workdir, [tmp_path]) == [place]
    assert find_compared(name, workdir, []) == find_run(name, workdir)
    (workdir / "latest").symlink_to(name)
    saved("latest")
    assert find_compared("latest", workdir, [tmp_path]).name == name
    assert find_compared(str(place), workdir, []) == [place]
    assert find_compared(str(run.paths.root), workdir, [tmp_path]).paths.root == run.paths.root


def test_what_is_neither_says_where_was_looked(tmp_path, run, saved):
    """Runs with their names, and the directories of baselines."""
    saved("main")
    with pytest.raises(ConfigError, match=r"run mine: not found .*; a saved baseline .* \(looked in .*baselines\)"):
        find_compared("mine", run.paths.root.parent, [tmp_path])
    with pytest.raises(ConfigError, match="no directory called baselines"):
        find_compared("mine", run.paths.root.parent, [])


def test_a_baseline_that_others_may_write_to_is_told_and_not_read(tmp_path, run, saved):
    """Nobody is told that there is none of that name."""
    saved("main").parent.chmod(0o777)
    with pytest.raises(ConfigError, match=r"baseline main: .*others may write to it, so that it is not read"):
        find_compared("main", run.paths.root.parent, [tmp_path])


def test_a_link_to_itself_is_damage_of_its_pair(saved):
    """As any file that cannot be read."""
    place = saved("main")
    file = place / "s" / "t" / "d.jsonl"
    file.unlink()
    file.symlink_to(file)
    assert "s/t/d" in baseline_sides("main", [place]).damaged


def test_a_baseline_may_lie_beside_each_suite(tmp_path, saved):
    """All of its places together; but a pair that is in two of them is of nobody."""
    one, two = saved("main", "one"), saved("main", "two", pair="s/t/e")
    (two / "s" / "t" / "d.jsonl").rename(two / "s" / "t" / "e.jsonl")
    assert list(baseline_sides("main", [one, two]).pairs) == ["s/t/d", "s/t/e"]
    saved("main", "three")
    found = baseline_sides("main", [one, tmp_path / "three" / "baselines" / "main"])
    assert found.pairs == {}
    assert "there are two of it" in found.damaged["s/t/d"]


def test_a_damaged_file_costs_its_pair_alone(saved):
    """It is named; an empty baseline is none."""
    place = saved("main")
    (place / "s" / "t" / "e.jsonl").write_text("{")
    found = baseline_sides("main", [place])
    assert list(found.pairs) == ["s/t/d"]
    assert "e.jsonl:1" in found.damaged["s/t/e"]
    for file in place.glob("*/*/*"):
        file.unlink()
    with pytest.raises(ConfigError, match="the baseline main has no pairs"):
        baseline_sides("main", [place])


def test_pairs_with_scores_are_sides_whether_or_not_they_passed(run, sides):
    """Those that came to nothing say why; one of which only the gates could not be judged was evaluated."""
    for dataset, status in {"passed": "passed", "failed": "failed", "unjudged": "error"}.items():
        run.result("s", "t", dataset, status=status, metrics={"m": 0.5})
    run.result("s", "t", "error", status="error", environment={"error": "no model\nTraceback"})
    run.result("s", "t", "skipped", status="skipped", environment={"skipped": "not today"})
    run.result("s", "t", "gone", metrics={"m": 0.5})
    run.result("s", "t", "torn").write_text("{")
    first = run.result("s", "t", "passed.limit-3", metrics={"m": 0.5})
    first.write_text(first.read_text().replace('"passed.limit-3"', '"passed"'))
    run.write(run.paths.task_list, "*s/t||2\n-passed|2\n-later|0\n+summary|1|2\n")
    there = {("t", dataset): None for dataset in ("passed", "failed", "unjudged", "error", "skipped", "later", "torn")}
    found = sides(OnDisk({"s": there}))
    assert list(found.pairs) == ["s/t/failed", "s/t/passed", "s/t/unjudged"]
    assert found.lacking == {
        "s/t/later": "pending",
        "s/t/error": "it ended in an error: no model",
        "s/t/skipped": "skipped: not today",
        "s/t/gone": "its suite no longer has it",
    }
    assert list(found.damaged) == ["s/t/torn"]
    assert found.remarks == (
        f"1 evaluation of first samples in {run.paths.root.name} left out",
        f"1 pair of {run.paths.root.name} failed in that run; here these gates alone are judged",
    )


def test_values_of_an_earlier_evaluation_are_no_side(run, sides):
    """The last evaluation of the pair ended in an error."""
    run.result("s", "t", "d", metrics={"m": 0.5})
    run.write(run.paths.task_list, "*s/t||1\n-d|3\n+summary|1|1\n")
    found = sides()
    assert found.pairs == {}
    assert found.lacking["s/t/d"].startswith("it ended in an error: ")


def test_pairs_are_chosen_by_their_ids(run, sides):
    """What is damaged or lacking among them too."""
    run.result("s", "t", "a", metrics={"m": 0.5})
    run.result("s", "t", "b", status="error")
    run.result("s", "t", "c").write_text("{")
    found = sides().among(lambda pair: pair.endswith(("a", "c")))
    assert (list(found.pairs), list(found.lacking), list(found.damaged)) == (["s/t/a"], [], ["s/t/c"])
