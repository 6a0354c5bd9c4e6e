"""Which names are refused, and what their files are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.suite.names import LONGEST, clashes, refusal, safe_name

SOUND = {
    "spaces": "my model",
    "quotes": 'it\'s "quoted"',
    "shell": "$(touch x)",
    "Chinese": "任务A",
    "200 letters": "x" * 200,
    "200 Chinese letters": "任" * 200,
    "dots": "v1.5",
    "pipe": "a|b",
    "like a glob": "[a]*",
}
REFUSED = {
    "empty": ("", "task", "it is empty"),
    "blank": ("  ", "task", "it is empty"),
    "newline": ("a\nb", "task", "line end"),
    "line separator": ("a\u2028b", "task", "line end"),
    "NUL": ("a\0b", "task", "NUL"),
    "control": ("a\x1bb", "dataset", "cannot be shown"),
    "half a character": ("a\udc80b", "dataset", "cannot be shown"),
    "parent": ("..", "task", "'..'"),
    "parent inside": ("a/../b", "task", "'..'"),
    "empty part": ("a//b", "task", "empty"),
    "dot part": ("a/./b", "task", "'.'"),
    "trailing slash": ("a/", "task", "empty"),
    "leading dash": ("-a", "task", "starts with '-'"),
    "leading slash": ("/a", "task", "starts with '/'"),
    "slash in a dataset": ("a/b", "dataset", "slash"),
    "slash in a suite": ("a/b", "suite", "slash"),
    "like a shard": ("0-250", "dataset", "shards"),
    "like a marker": ("a.complete", "dataset", "'.complete'"),
    "like old predictions": ("a.stale", "dataset", "'.stale'"),
    "like the first samples": ("a.limit-10", "dataset", "'.limit-10'"),
    "like a fresh start": ("a.old", "dataset", "'.old'"),
    "like scores": ("a.scores", "dataset", "'.scores'"),
}


@pytest.mark.parametrize("name", SOUND.values(), ids=SOUND.keys())
def test_odd_names_are_accepted(name):
    """Names that only look odd work everywhere."""
    assert refusal(name, "dataset") is None


@pytest.mark.parametrize(("name", "what", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_names_say_why(name, what, reason):
    """A refused name is quoted with what it names and the reason."""
    problem = refusal(name, what)
    assert problem.startswith(f"{what} name {name!r} is refused: ")
    assert reason in problem


@pytest.mark.parametrize("name", ["0-250", "a.complete", "a.old", "org/model"])
def test_what_is_refused_for_datasets_may_be_a_task(name):
    """Shards and markers are files of datasets, so tasks are free to be called like them; they may have slashes."""
    assert refusal(name, "task") is None


def test_safe_name_keeps_letters_and_replaces_slashes():
    """People find their files by the names they gave."""
    assert safe_name("组/任务 A") == "组_任务 A"
    assert safe_name("e\u0301") == "\u00e9"


def test_clash_names_both():
    """Two names with the same files, up to case, are told in one line."""
    assert clashes(["a/b", "x", "A_b"], "task") == [
        "tasks 'a/b' and 'A_b' would have the same files; give one of them another `name`"
    ]
    assert clashes(["a", "a"], "dataset") == ["two datasets are called 'a'; give one of them another `name`"]


names = st.text(min_size=1, max_size=250).filter(lambda name: refusal(name, "task") is None)


@given(names)
def test_safe_name_is_one_short_path_component(name):
    """However odd a name, its file lies where it should, with room for suffixes."""
    safe = safe_name(name)
    assert "/" not in safe
    assert safe not in {"", ".", ".."}
    assert len(safe.encode()) <= LONGEST + 13


@given(names, names)
def test_names_that_do_not_clash_have_files_of_their_own(one, other):
    """Where no clash is told, no file is shared, not even where letters have no case."""
    if not clashes([one, other], "task"):
        assert safe_name(one).casefold() != safe_name(other).casefold()


@pytest.mark.parametrize("letter", ["x", "任"])
def test_long_names_that_differ_at_the_end_stay_apart(letter):
    """The hash is over the whole name."""
    assert safe_name(letter * 200 + "1") != safe_name(letter * 200 + "2")
