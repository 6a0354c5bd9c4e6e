"""Saved baselines as files: where they are found, and that nothing in them is trusted."""

from __future__ import annotations

import json
import os

import pytest

from pytest_evalrun.comparison.baselinefile import (
    MOST_BYTES,
    baseline_places,
    directories_of,
    file_among,
    is_baseline_name,
    read_baseline,
    read_head,
)
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.pairs import PairKey

KEY = PairKey("s", "a", "one")
HEAD = {
    "format": 1,
    "pair": "s/a/one",
    "run": "20261129_101500",
    "time": "2026-11-29T10:15:00Z",
    "samples": 2,
    "metrics": {"top1": {"value": 0.5, "n": 2, "low": 0.1, "high": 0.9, "better": "higher"}},
    "scoring": {"metrics": {"top1": {"use": "top1", "params": {}}}},
    "names": ["top1"],
    "statistics": [],
}


def write(path, lines=(["s0", "aa", [1]], ["s1", "bb", [0]]), **head):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in (HEAD | head, *lines)))
    return path


def saved(directory, name="main", key=KEY, **more):
    return write(directory / "baselines" / name / key.suite / key.task / f"{key.dataset}.jsonl", **more)


def find_baseline(root, name, key):
    """As gates look for it."""
    return file_among(directories_of(root, name), name, key)


@pytest.fixture
def suite(tmp_path):
    """A suite two levels below the root of a repository."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "evals" / "digits").mkdir(parents=True)
    return tmp_path / "evals" / "digits"


def test_what_was_written_is_read(tmp_path):
    """Scores by the names of the head; parts that are left off are empty."""
    lines = [["s0", "aa", [1]], ["s1", "bb", [None, 0.25], "c1", [None, [1, 2]]], ["s2", "cc", []]]
    metrics = dict.fromkeys(("top1", "mae", "f1"), HEAD["metrics"]["top1"])
    told = {"samples": 3, "metrics": metrics, "names": ["top1", "mae"], "statistics": ["mae", "f1"]}
    side = read_baseline(saved(tmp_path, lines=lines, **told), "main")
    assert (side.name, side.pair, side.saved) == ("main", "s/a/one", True)
    first, second, third = side.rows()
    assert (first.id, first.reference, first.scores, first.cluster, first.statistics) == (
        "s0",
        "aa",
        {"top1": 1},
        None,
        {},
    )
    assert (second.scores, second.cluster, second.statistics) == ({"mae": 0.25}, "c1", {"f1": [1, 2]})
    assert third.scores == {}
    assert [row.id for row in side.rows()] == ["s0", "s1", "s2"]  # anew each time


def test_the_head_is_read_alone(tmp_path):
    """Whatever stands below it."""
    path = write(tmp_path / "one.jsonl")
    path.write_text(path.read_text().splitlines()[0] + "\nnonsense\n")
    assert (read_head(path).samples, read_head(path).names) == (2, ["top1"])


@pytest.mark.parametrize(
    ("key", "pair"),
    [
        (KEY, "s/a/one"),
        (KEY._replace(task="b"), "s/b/one"),
        (KEY._replace(dataset="two"), "s/a/two"),
        (KEY._replace(suite="t"), "t/a/one"),
    ],
)
def test_a_file_is_of_the_pair_in_whose_place_it_lies(tmp_path, key, pair):
    """Who copies it to another pair's place means that: a gate of that pair finds it there."""
    assert read_head(saved(tmp_path, key=key)).pair == pair


def test_a_pair_in_its_place_keeps_its_own_name(tmp_path):
    """Slashes of a task are none in a file's name."""
    assert read_head(saved(tmp_path, key=PairKey("s", "a_b", "one"), pair="s/a/b/one")).pair == "s/a/b/one"


HEADS = {
    "empty": ("", ":1: the file is empty"),
    "no JSON": ("nonsense\n", ":1: found nonsense, expected the head"),
    "a list": ("[1]\n", ":1: found [1], expected the head"),
    "a pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "a conflict": ("<<<<<<< HEAD\n", ":1: found <<<<<<< HEAD, expected the head"),
    "newer": (json.dumps(HEAD | {"format": 2}), ":1: format: found 2, accepted: 1; a newer version wrote it"),
    "no format": (json.dumps({"pair": "x"}), ":1: format: found None, accepted: 1"),
    "samples": (json.dumps(HEAD | {"samples": "2"}), ":1: samples: found '2', expected a whole number"),
    "metrics": (json.dumps(HEAD | {"metrics": []}), ":1: metrics: found [], expected an object"),
    "a value": (
        json.dumps(HEAD | {"metrics": {"top1": {"better": "higher"}}}),
        ":1: metrics: top1: found {'better': 'higher'}, expected a value and which way is better",
    ),
    "NaN": (
        json.dumps(HEAD | {"metrics": {"top1": {"value": float("nan"), "better": "higher"}}}),
        ":1: metrics: top1: found {'value': nan",
    ),
    "a value beyond any float": (
        json.dumps(HEAD | {"metrics": {"top1": {"value": 10**400, "better": "higher"}}}),
        ":1: metrics: top1: found {'value': 1000",
    ),
    "an empty line": ("\n", ":1: found an empty line, expected the head"),
    "bounds": (
        json.dumps(HEAD | {"metrics": {"top1": HEAD["metrics"]["top1"] | {"bounds": [0, "1"]}}}),
        ":1: metrics: top1: found {'value': 0.5",
    ),
    "names": (json.dumps(HEAD | {"names": ["top5"]}), ":1: names: found 'top5', accepted: those in metrics"),
    "an unhashable name": (json.dumps(HEAD | {"names": [["top1"]]}), ":1: names: found ['top1']"),
}


@pytest.mark.parametrize(("text", "problem"), HEADS.values(), ids=HEADS)
def test_a_head_that_is_not_ours_is_refused(tmp_path, text, problem):
    """With file, line, what was found, and what mends it."""
    path = tmp_path / "one.jsonl"
    path.write_text(text)
    for read in (lambda: read_head(path), lambda: read_baseline(path, "main")):
        with pytest.raises(PairError) as raised:
            read()
        assert f"one.jsonl{problem}" in str(raised.value) or problem in str(raised.value)


LINES = {
    "no JSON": ("nonsense", ":3: found nonsense, expected id, reference and scores"),
    "a conflict": ("=======", ":3: found =======, expected id"),
    "an object": ('{"id": "s1"}', ":3: found {"),
    "too short": ('["s1", "bb"]', ":3: found ["),
    "too long": ('["s1","bb",[0],null,[],1]', ":3: found ["),
    "an id that is no text": ('[1,"bb",[0]]', ":3: found ["),
    "more scores than names": ('["s1","bb",[0,1]]', ":3: found ["),
    "statistics of nobody": ('["s1","bb",[0],null,[1]]', ":3: found ["),
    "statistics that are none": ('["s1","bb",[0],null,1]', ":3: found ["),
    "NaN": ('["s1","bb",[NaN]]', ":3: top1: found nan, accepted: finite numbers"),
    "infinite": ('["s1","bb",[1e999]]', ":3: top1: found inf, accepted: finite numbers"),
    "beyond any float": (f'["s1","bb",[{10**400}]]', ":3: top1: found 1000"),
    "text": ('["s1","bb",["0"]]', ":3: top1: found '0', accepted: finite numbers"),
    "true": ('["s1","bb",[true]]', ":3: top1: found True, accepted: finite numbers"),
    "cut off": (None, ":2: the file ends after 1 of 2 samples"),
    "more than are said": ('["s1","bb",[0]]\n["s2","cc",[0]]', ":4: the file ends after 3 of 2 samples"),
    "nested deeply": ('["s1","bb",' + "[" * 500 + "]" * 500 + "]", ":3: found ["),
}


@pytest.mark.parametrize(("line", "problem"), LINES.values(), ids=LINES)
def test_a_line_that_is_damaged_is_refused(tmp_path, line, problem):
    """With file and line, whatever a merge or an editor has made of it."""
    path = write(tmp_path / "one.jsonl", [["s0", "aa", [1]]])
    path.write_text(path.read_text() + (f"{line}\n" if line else ""))
    side = read_baseline(path, "main")
    with pytest.raises(PairError) as raised:
        list(side.rows())
    assert f"one.jsonl{problem}" in str(raised.value)
    assert f"evalrun baseline save {path.parents[2].name} --force" in str(raised.value)


def test_more_than_20_mb_is_refused_with_the_figure(tmp_path):
    """Before any of it is read."""
    path = tmp_path / "one.jsonl"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1_200_000)
    with pytest.raises(PairError, match=r"one\.jsonl: found 21\.2 MB, accepted: 20 MB"):
        read_head(path)


def test_no_file_and_a_fifo_are_errors(tmp_path):
    """Nobody waits for a FIFO."""
    with pytest.raises(PairError, match=r"No such file"):
        read_head(tmp_path / "one.jsonl")
    os.mkfifo(tmp_path / "fifo.jsonl")
    with pytest.raises(PairError, match=r"it is no file"):
        read_head(tmp_path / "fifo.jsonl")


NAMES = {"main": True, "v1.2-rc_3": True, "_x": True, "latest": False, "": False, ".hidden": False, "-x": False}
NAMES |= {"a/b": False, "..": False, "a b": False, "größe": False, "a\n": False, "x" * 101: False}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_baseline_may_be_called(name):
    """A name is never a path, an option, or the latest run."""
    assert is_baseline_name(name) is NAMES[name]


def test_a_baseline_is_found_from_the_suite_upwards(suite, tmp_path):
    """As far as the repository goes."""
    assert find_baseline(suite, "main", KEY) is None
    file = saved(tmp_path)
    assert find_baseline(suite, "main", KEY) == file
    assert find_baseline(suite, "other", KEY) is None
    assert [*baseline_places(suite)] == [tmp_path / "baselines"]
    near = saved(suite, "near")
    assert find_baseline(suite, "near", KEY) == near
    assert [*baseline_places(suite)] == [suite / "baselines", tmp_path / "baselines"]


def test_nothing_is_found_above_the_repository(suite, tmp_path):
    """What lies there belongs to somebody else."""
    saved(tmp_path)
    (suite.parent / ".git").write_text("gitdir: elsewhere")  # as of a worktree
    assert find_baseline(suite, "main", KEY) is None


def test_first_samples_have_the_baseline_of_their_pair(suite, tmp_path):
    """There are no others."""
    file = saved(tmp_path)
    assert find_baseline(suite, "main", KEY.limited(10)) == file


def test_the_same_pair_in_two_places_is_an_error(suite, tmp_path):
    """Both are named: nobody may guess which was meant."""
    one, two = saved(suite), saved(tmp_path)
    with pytest.raises(PairError) as raised:
        find_baseline(suite, "main", KEY)
    assert str(one) in str(raised.value)
    assert str(two) in str(raised.value)
    assert find_baseline(tmp_path, "main", KEY) == two


def test_other_pairs_of_one_name_may_lie_elsewhere(suite, tmp_path):
    """Each suite may have its own part."""
    one = saved(suite)
    two = saved(tmp_path, key=PairKey("s", "b", "one"))
    assert find_baseline(suite, "main", KEY) == one
    assert find_baseline(suite, "main", PairKey("s", "b", "one")) == two


def test_a_baseline_without_the_pair_names_what_it_has(suite):
    """And what mends it."""
    saved(suite)
    with pytest.raises(
        PairError, match=r"has no s/b/one; it has: s/a/one; save it again: evalrun baseline save main --force"
    ):
        find_baseline(suite, "main", PairKey("s", "b", "one"))


def test_what_is_no_file_in_the_place_of_one_is_named(suite):
    """It has the pair's name, so that nobody is told that the pair is missing."""
    file = saved(suite)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(
        PairError, match=r"one\.jsonl: it is no file; save it again: evalrun baseline save main --force"
    ):
        find_baseline(suite, "main", KEY)


def test_a_directory_that_others_may_write_to_is_not_read(suite):
    """Whoever may write there decides what passes."""
    saved(suite)
    (suite / "baselines").chmod(0o777)
    assert [*baseline_places(suite)] == []
    with pytest.raises(PairError, match=r"others may write to it, so that it is not read; .* chmod go-w"):
        find_baseline(suite, "main", KEY)
    (suite / "baselines").chmod(0o775)  # our own group's
    assert find_baseline(suite, "main", KEY) is not None


def test_a_directory_of_somebody_else_is_not_read_where_everybody_may_make_one(suite, monkeypatch):
    """As in /tmp, where a suite may lie too."""
    saved(suite)
    suite.chmod(0o1777)
    owner = (suite / "baselines").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)  # only root could give it away
    assert [*baseline_places(suite)] == []
    suite.chmod(0o755)
    assert [*baseline_places(suite)] == [suite / "baselines"]
    (suite / "baselines").chmod(0o775)  # a group that may not be ours
    assert [*baseline_places(suite)] == []


def test_links_do_not_lead_out_of_the_place(suite, tmp_path):
    """What is committed cannot make us read what is elsewhere."""
    outside = write(tmp_path / "secret.jsonl")
    file = saved(suite)
    file.unlink()
    file.symlink_to(outside)
    with pytest.raises(PairError, match=r"a link leads out of"):
        find_baseline(suite, "main", KEY)
    file.unlink()
    file.symlink_to(saved(suite, "other"))
    assert find_baseline(suite, "main", KEY) == file


def test_a_place_that_is_a_link_out_is_refused(suite, tmp_path):
    """The directory of baselines itself lies in its suite."""
    saved(tmp_path / "elsewhere")
    (suite / "baselines").symlink_to(tmp_path / "elsewhere" / "baselines")
    with pytest.raises(PairError, match=r"a link leads out of"):
        find_baseline(suite, "main", KEY)
