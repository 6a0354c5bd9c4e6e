"""Discovered suites as text, and back."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.suite.digests import digest_of
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Suite, Task
from pytest_evalrun.suite.published import dump, handed, handed_on, load

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.dictionaries(text, st.none() | st.booleans() | st.integers() | text | st.lists(text), max_size=3)
layers = st.builds(Layer, text, text, values, st.dictionaries(text, st.integers(), max_size=2))
tasks = st.builds(Task, text, st.none() | text, text, st.none() | text)
datasets = st.builds(Dataset, text, text)


@st.composite
def suites(draw):
    name, root = draw(text), draw(text)
    shared = draw(st.lists(layers, max_size=4))
    stacks = st.lists(st.sampled_from(shared), max_size=4).map(tuple) if shared else st.just(())
    tags = st.lists(text, max_size=2).map(tuple)
    pairs = st.builds(Pair, st.just(name), st.just(root), tasks, datasets, stacks, tags, st.none() | text)
    return Suite(
        name,
        draw(text),
        root,
        tuple(draw(st.lists(pairs, max_size=4))),
        tuple(draw(st.lists(text, max_size=3))),
        draw(st.booleans()),
    )


@given(st.lists(suites(), max_size=2))
def test_what_is_loaded_is_what_was_dumped(found):
    """Every process sees the same pairs."""
    assert load(dump(found)) == found


def test_shared_objects_are_written_once_and_shared_again(suite):
    """A layer of 10,000 pairs is one layer, in the text and after it."""
    suite("limit: 1\nmodels: [{name: a}, {name: b}]\ndatasets: [{path: clean.csv}, {path: noisy.csv}]\n")
    content = dump([suite.discover()])
    assert [len(json.loads(content)[0][key]) for key in ("layers", "tasks", "datasets", "pairs")] == [1, 2, 2, 4]
    (loaded,) = load(content)
    assert len({id(pair.layers[0]) for pair in loaded.pairs}) == 1
    assert loaded.pairs[0].task is loaded.pairs[1].task


def test_loading_imports_neither_yaml_nor_pydantic():
    """Every worker loads; only one process discovers."""
    code = (
        "import sys; from pytest_evalrun.suite.published import load; load('[]'); "
        "print(sorted({'yaml', 'pydantic', 'dotenv'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_settings_resolve_without_yaml_and_pydantic():
    """The same holds for what each item needs."""
    code = (
        "import sys; from pytest_evalrun.suite.layers import *; from pytest_evalrun.suite.pairs import *; "
        "Pair('s', '/', Task('t', None, '/'), Dataset('d', '/d'), (Layer('suite', 'f', {'limit': 1}),)).settings; "
        "print(sorted({'yaml', 'pydantic', 'dotenv'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ------------------------------------------------------------------ handed on to other hosts


def write_suite(place):
    (place / "adapter.py").write_text("def predict(batch):\n    return []\n")
    (place / "base.yaml").write_text("max_batch_size: 4\n")
    (place / "data").write_text('{"x": "a", "y": "a"}\n')
    (place / "evalrun.yaml").write_text(
        "import: base.yaml\nname: handed\nadapter: './adapter.py:predict'\nformat: jsonl\ninputs: [x]\nreference: y\n"
        "metrics: [exact_match]\nmodels: [{name: m}]\ndatasets: [{name: d, path: data}]\n"
    )
    return place / "evalrun.yaml"


def test_handed_on(tmp_path):
    """What was handed on is the suite itself, with the same digests of its pairs."""
    file = write_suite(tmp_path)
    suite = discover(file)
    (tmp_path / "handed").write_text(handed_on(suite))
    (again,) = load(json.loads(handed(tmp_path / "handed", str(file)))["suite"])
    assert again == suite
    assert list(map(digest_of, again.pairs)) == list(map(digest_of, suite.pairs))


@pytest.mark.parametrize("name", ["evalrun.yaml", "base.yaml", "handed"])
@pytest.mark.parametrize("change", ["changed", "gone"])
def test_handed_on_and_changed(tmp_path, name, change):
    """Where one of its files is another by now, or is not there, nobody takes what was handed on."""
    file = write_suite(tmp_path)
    (tmp_path / "handed").write_text(handed_on(discover(file)))
    if change == "gone":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text((tmp_path / name).read_text()[:-1] + "# ")
    assert handed(tmp_path / "handed", str(file)) is None


def test_handed_on_of_another(tmp_path):
    """What was handed on of one suite is nothing for another."""
    file = write_suite(tmp_path)
    (tmp_path / "handed").write_text(handed_on(discover(file)))
    assert handed(tmp_path / "handed", str(tmp_path / "other" / "evalrun.yaml")) is None
