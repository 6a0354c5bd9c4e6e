"""The directory of baselines: saved whole or not at all, by whoever saves one, and nothing else is touched."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from comparison_sides import side

from pytest_evalrun.comparison import baselinestore
from pytest_evalrun.comparison.baselinefile import read_baseline, read_head
from pytest_evalrun.comparison.baselinestore import (
    PairToSave,
    find_saved,
    remove_baseline,
    save_baseline,
    saved_baselines,
)
from pytest_evalrun.comparison.side import SampleScores, Side
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.suite.pairs import PairKey

TIME = "2026-11-29T10:15:00Z"


def pair(task="a", scores=(1, 0, 1), **told):
    return PairToSave(PairKey("s", task, "one"), side(scores, "run 1", **told), TIME)


def names(directory):
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def test_a_side_comes_back_as_it_was_saved(tmp_path):
    """Ids of any letters, clusters, statistics, scores to 12 digits; the rest of a metric but its table."""
    rows = [
        SampleScores("größe\udc80\n", "aa", {"top1": 1 / 3, "mae": 2.0}, "c1", {"top1": [1, 0.1, "x"], "f1": 1.0}),
        SampleScores("s1", "bb", {"mae": 1e-30}),
        SampleScores("s2", "cc", {}, "c2"),
        SampleScores("s3", "dd", {"top1": 1.0}, None, {"f1": [None, 2]}),
    ]
    metrics = {
        "top1": {
            "value": 2 / 3,
            "n": 2,
            "low": 0.1,
            "high": 0.9,
            "better": "higher",
            "table": {"x": 1},
            "bounds": [0, 1],
        },
        "mae": {"value": 1.0, "n": 2, "low": 0.1, "high": 0.9, "better": "lower"},
        "f1": {"value": 0.5, "n": 2, "low": 0.1, "high": 0.9, "better": "higher"},
    }
    scoring = {"metrics": {"top1": {"use": "top1", "params": {"eps": 0.1234567890123456}}}}
    one = Side("run 1", "s/a/one", metrics, lambda: iter(rows), scoring)
    saved = save_baseline(tmp_path, "main", [PairToSave(PairKey("s", "a", "one"), one, TIME)])
    head = saved.heads[0]
    assert (head.pair, head.run, head.time, head.samples) == ("s/a/one", "run 1", TIME, 4)
    assert (head.names, head.statistics, head.binary) == (["top1", "mae"], ["top1", "f1"], [])
    assert head.metrics["top1"] == {
        "value": 0.666666666667,
        "n": 2,
        "low": 0.1,
        "high": 0.9,
        "better": "higher",
        "bounds": [0, 1],
    }
    again = read_baseline(head.file, "main")
    found = [*again.rows()]
    assert [row.id for row in found] == [row.id for row in rows]
    assert [row.cluster for row in found] == ["c1", None, "c2", None]
    assert [row.statistics for row in found] == [row.statistics for row in rows]
    assert type(found[0].statistics["f1"]) is float  # it may be a label
    assert [row.scores for row in found] == [{"top1": 0.333333333333, "mae": 2}, {"mae": 1e-30}, {}, {"top1": 1}]
    assert again.scoring == scoring


def test_lines_are_compact_and_the_same_each_time(tmp_path):
    """A commit of what did not change changes nothing."""
    file = save_baseline(tmp_path, "main", [pair()]).heads[0].file
    before = file.read_bytes()
    assert before.splitlines()[1:] == [b'["s0","r",[1]]', b'["s1","r",[0]]', b'["s2","r",[1]]']
    assert read_head(file).binary == ["top1"]
    save_baseline(tmp_path, "main", [pair()], force=True)
    assert file.read_bytes() == before


def test_a_mean_of_unequal_numbers_of_answers_is_vouched_for(tmp_path):
    """Of three answers to two samples: the mean of samples is another, and only the run knows."""
    rows = [SampleScores("s0", "r", {"top1": 0.5}, answers=2), SampleScores("s1", "r", {"top1": 0.0})]
    one = side((), rows=rows, value=1 / 3)
    head = save_baseline(tmp_path, "main", [PairToSave(PairKey("s", "a", "one"), one, TIME)]).heads[0]
    assert head.metrics["top1"]["mean"] is True
    assert "mean" not in save_baseline(tmp_path, "other", [pair(value=0.9)]).heads[0].metrics["top1"]


def test_what_is_there_is_replaced_only_by_force(tmp_path):
    """Whole: pairs that are not saved now are gone, unless the others are kept."""
    save_baseline(tmp_path, "main", [pair("a"), pair("b")])
    with pytest.raises(ConfigError, match="it is there already; --force replaces it"):
        save_baseline(tmp_path, "main", [pair("a")])
    save_baseline(tmp_path, "main", [pair("a", (0, 0))], force=True, others=True)
    assert names(tmp_path) == ["main/s/a/one.jsonl", "main/s/b/one.jsonl"]
    assert read_head(tmp_path / "main/s/a/one.jsonl").samples == 2
    assert read_head(tmp_path / "main/s/b/one.jsonl").samples == 3
    save_baseline(tmp_path, "main", [pair("a")], force=True)
    assert names(tmp_path) == ["main/s/a/one.jsonl"]


def test_what_somebody_else_put_there_is_never_removed(tmp_path):
    """Neither by a new one nor by rm."""
    saved = save_baseline(tmp_path, "main", [pair()])
    note = saved.directory / "README.md"
    note.write_text("why")
    for change in (lambda: save_baseline(tmp_path, "main", [pair()], force=True), lambda: remove_baseline(saved)):
        with pytest.raises(ConfigError, match=r"README\.md: it is not of a baseline; move it elsewhere"):
            change()
    assert names(tmp_path) == ["main/README.md", "main/s/a/one.jsonl"]


def test_over_20_mb_nothing_is_left_and_the_figure_is_told(tmp_path, monkeypatch):
    """All pairs together; the largest are named."""
    for module in (baselinestore, sys.modules["pytest_evalrun.comparison.baselinelines"]):
        monkeypatch.setattr(module, "MOST_BYTES", 1_500)
    save_baseline(tmp_path, "main", [pair("a")])
    with pytest.raises(ConfigError) as raised:
        save_baseline(tmp_path, "main", [pair("a"), pair("b", [1] * 1000), pair("c")], force=True)
    assert re.search(r"baseline main: 1\d\.\d kB in 3 pairs, and nothing was saved", str(raised.value))
    assert re.search(r"the largest: s/b/one 1\d\.\d kB, s/a/one", str(raised.value))
    assert "-k" in str(raised.value)
    assert names(tmp_path) == ["main/s/a/one.jsonl"]
    assert [path.name for path in tmp_path.iterdir()] == ["main"]


def test_a_damaged_side_leaves_what_was_there(tmp_path):
    """And nothing beside it."""
    save_baseline(tmp_path, "main", [pair("a")])

    def torn():
        yield SampleScores("s0", "r", {"top1": 1.0})
        raise PairError("scores.jsonl: line 2 cannot be read")

    bad = PairToSave(PairKey("s", "b", "one"), Side("run", "s/b/one", {}, torn), TIME)
    with pytest.raises(PairError, match="line 2"):
        save_baseline(tmp_path, "main", [pair("a", (0,)), bad], force=True)
    assert names(tmp_path) == ["main/s/a/one.jsonl"]
    assert read_head(tmp_path / "main/s/a/one.jsonl").samples == 3
    assert [path.name for path in tmp_path.iterdir()] == ["main"]


KILLED = """
import os, sys
from pathlib import Path
sys.path[:0] = {path!r}
from test_baselinestore import pair
from pytest_evalrun.comparison import baselinestore
put = baselinestore._put
baselinestore._put = lambda *args: os.kill(os.getpid(), 9)
baselinestore.save_baseline(Path({place!r}), "main", [pair("b")], force=True)
"""


def test_a_killed_save_leaves_the_old_one_and_the_next_sweeps(tmp_path):
    """What it had written aside is hidden, and goes with the next save."""
    save_baseline(tmp_path, "main", [pair("a")])
    code = KILLED.format(path=sys.path, place=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parent)
    assert done.returncode == -signal.SIGKILL
    assert [saved.name for saved in saved_baselines(tmp_path)] == ["main"]
    assert names(tmp_path / "main") == ["s/a/one.jsonl"]
    assert len([*tmp_path.iterdir()]) == 2
    save_baseline(tmp_path, "other", [pair("a")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["main", "other"]


def test_without_an_exchange_the_old_one_goes_aside_first(tmp_path, monkeypatch):
    """On a file system that cannot let two directories change places."""
    monkeypatch.setattr(baselinestore, "exchanged", lambda *_: False)
    save_baseline(tmp_path, "main", [pair("a")])
    save_baseline(tmp_path, "main", [pair("b")], force=True)
    assert names(tmp_path) == ["main/s/b/one.jsonl"]


@pytest.mark.parametrize("name", ["latest", "../x", "a/b", "", ".x"])
def test_a_name_that_none_may_have_is_the_users_mistake(tmp_path, name):
    """It is told what is accepted, and nothing is made."""
    for ask in (lambda: save_baseline(tmp_path / "b", name, [pair()]), lambda: find_saved(tmp_path / "b", name)):
        with pytest.raises(ConfigError, match=r"baseline name: found .* accepted: letters, digits"):
            ask()
    assert not (tmp_path / "b").exists()


def test_nothing_is_written_through_links(tmp_path):
    """Neither the directory of baselines nor one of them is somewhere else."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "baselines").symlink_to("elsewhere")
    with pytest.raises(ConfigError, match="it is a link"):
        save_baseline(tmp_path / "baselines", "main", [pair()])
    (tmp_path / "elsewhere" / "main").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="it is a link"):
        save_baseline(tmp_path / "elsewhere", "main", [pair()], force=True)
    assert names(tmp_path) == []
    save_baseline(tmp_path, "true", [pair()])
    (tmp_path / "false").symlink_to("true")
    with pytest.raises(ConfigError, match="it is no directory of a baseline"):
        remove_baseline(find_saved(tmp_path, "false"))
    assert names(tmp_path) == ["true/s/a/one.jsonl"]


def test_what_a_link_leads_to_elsewhere_is_not_listed(tmp_path):
    """No gate would read it."""
    (outside,) = save_baseline(tmp_path / "elsewhere", "main", [pair()]).heads
    (file,) = (head.file for head in save_baseline(tmp_path / "baselines", "main", [pair()]).heads)
    file.unlink()
    file.symlink_to(outside.file)
    (found,) = saved_baselines(tmp_path / "baselines")
    assert found.heads == ()
    assert re.search(r"a link leads out of", found.problems[0])


def test_what_is_in_the_way_is_named(tmp_path):
    """A file in the place of the directory, or of a baseline."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file.*was not saved"):
        save_baseline(tmp_path / "file", "main", [pair()])
    (tmp_path / "main").write_text("")
    with pytest.raises(ConfigError, match="it is no directory of a baseline"):
        save_baseline(tmp_path, "main", [pair()], force=True)


def test_baselines_are_listed_with_what_is_damaged(tmp_path):
    """What is no baseline is not."""
    assert saved_baselines(tmp_path / "none") == []
    save_baseline(tmp_path, "main", [pair("a"), pair("b")])
    save_baseline(tmp_path, "v1", [pair("a")])
    (tmp_path / "v1/s/a/two.jsonl").write_text("nonsense")
    (tmp_path / "notes").mkdir()
    main, v1 = saved_baselines(tmp_path)
    assert (main.name, len(main.heads), main.samples, main.runs, main.time) == ("main", 2, 6, ["run 1"], TIME)
    assert main.size == sum(head.file.stat().st_size for head in main.heads)
    assert (v1.samples, len(v1.problems)) == (3, 1)
    with pytest.raises(ConfigError, match=r"baseline v2: there is none in .*; there are: main, v1"):
        find_saved(tmp_path, "v2")


def test_a_baseline_is_removed_whole(tmp_path):
    """Damaged or not."""
    save_baseline(tmp_path, "main", [pair("a"), pair("b")])
    (tmp_path / "main/s/a/two.jsonl").write_text("nonsense")
    remove_baseline(find_saved(tmp_path, "main"))
    assert [*tmp_path.iterdir()] == []


def test_the_head_is_json_for_everybody(tmp_path):
    """One object in the first line."""
    file = save_baseline(tmp_path, "main", [pair()]).heads[0].file
    head = json.loads(file.read_text().splitlines()[0])
    assert list(head) == [
        *("format", "pair", "run", "time", "samples", "metrics", "scoring", "names", "statistics", "binary"),
    ]
