"""What may stand in a command and in results."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.programs.commands import knows_ranges, mistakes
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.settings import resolve
from pytest_evalrun.suite.template import escaped, fill, names_in, words_of

CSV = {"csv": "a.csv"}


def settings_of(**values):
    return resolve([Layer("suite", "evalrun.yaml", {"adapter": "command"} | values)])


@given(st.text(max_size=30), st.text(max_size=9))
def test_escaped_text_means_itself(text, value):
    """A text with its braces doubled has no placeholder and becomes itself, whatever stands around it."""
    template = f"{escaped(text)}{{x}}{escaped(text)}"
    assert names_in(template) == ["x"]
    assert fill(template, {"x": value}) == f"{text}{value}{text}"


@pytest.mark.parametrize("text", ["{", "{ x }", "a {1}", "{}", "{x-y}"])
def test_lone_braces_are_told(text):
    """A brace that begins no placeholder is a mistake, and the remedy is told."""
    with pytest.raises(ConfigError, match=r"accepted: \{NAME\} for a placeholder, \{\{ for a brace"):
        names_in(text)


def test_words():
    """A text is split as a shell splits it, a list is taken as it is."""
    assert words_of("a 'b c' \"$(d)\"") == ["a", "b c", "$(d)"]
    assert words_of(("a", "b c")) == ["a", "b c"]


GOOD = {
    "table": {"command": "run {low} {high} {k}", "results": CSV, "params": {"k": 1}, "rows": "any"},
    "batch": {"command": ["run", "{batch}", "{inputs}"], "ask": "batch", "results": {"files": "{stem}.png"}},
    "server": {"command": "serve {model} {gpus}", "ask": "server"},
    "shell": {"command": "a | b '{{print}}' {inputs}x", "ask": "batch", "shell": True, "results": CSV},
    "metrics": {"command": "run", "results": {"metrics": "m.json"}},
    "shards": {"command": "run {low}", "results": {"csv": "a_{low}.csv"}, "shards": 3},
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_settings(kind):
    """What the page says is let in."""
    assert list(mistakes(settings_of(**GOOD[kind]))) == []


BAD = {
    "no command": ({"results": CSV}, "adapter", "needs a command"),
    "empty": ({"command": " ", "results": CSV}, "command", "accepted: a program and its arguments"),
    "list for a shell": ({"command": ["a"], "shell": True, "results": CSV}, "command", "a list with shell: true"),
    "range of a batch": ({"command": "a {low}", "ask": "batch", "results": CSV}, "command", "{low} with ask: batch"),
    "inputs inside": ({"command": "a x{inputs}", "ask": "batch", "results": CSV}, "command", "a word of its own"),
    "results of a server": ({"command": "a", "ask": "server", "results": CSV}, "results", "child protocol"),
    "one file for all": ({"command": "a", "results": {"files": "x.png"}}, "results.files", "{id} or {stem}"),
    "placeholder": ({"command": "a", "results": {"csv": "{id}.csv"}}, "results.csv", "unknown placeholder {id}"),
    "brace": ({"command": "a", "results": {"csv": "{.csv"}}, "results.csv", "{{ for a brace"),
    "any file": ({"command": "a", "results": {"files": "{id}"}, "rows": "any"}, "rows", "accepted: any for results in"),
    "column of files": (
        {"command": "a", "results": {"files": "{id}", "prediction": "x"}},
        "results.prediction",
        "accepted: with csv, jsonl",
    ),
    "metrics of a batch": (
        {"command": "a", "ask": "batch", "results": {"metrics": "m"}},
        "results.metrics",
        "accepted: ask: pair",
    ),
    "metrics of shards": ({"command": "a {low}", "results": {"metrics": "m"}, "shards": 2}, "results.metrics", "parts"),
    "shards of one file": ({"command": "a {low}", "results": CSV, "shards": 2}, "results.csv", "{low} or {high}"),
    "shards without ranges": ({"command": "a", "results": CSV, "shard_size": 2}, "command", "{low} and {high}"),
}


@pytest.mark.parametrize("kind", BAD)
def test_mistakes(kind):
    """Each mistake is told with its key and what is accepted."""
    settings, key, text = BAD[kind]
    found = list(mistakes(settings_of(**settings)))
    assert [k for k, _ in found] == [key]
    assert text in found[0][1]


def test_who_knows_ranges():
    """A program knows of ranges when its command names one of their ends."""
    assert knows_ranges(settings_of(command=["a", "--from={low}"]))
    assert not knows_ranges(settings_of(command="a {{low}} {output}"))
