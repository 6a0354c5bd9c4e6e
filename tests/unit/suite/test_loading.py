"""YAML read safely, with line numbers."""

from __future__ import annotations

import pytest
import yaml

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite import loading
from pytest_evalrun.suite.loading import LARGEST_FILE, dotted, parse_value, plain, read_yaml

PLAIN = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "False": False,
    "12": 12,
    "-3": -3,
    "0x1f": 31,
    "0o17": 15,
    "1.5": 1.5,
    "1e-3": 0.001,
    ".5": 0.5,
    "-.inf": float("-inf"),
    "no": "no",
    "on": "on",
    "12:30": "12:30",
    "2026-11-21": "2026-11-21",
    "1.2.3": "1.2.3",
    "-": "-",
}
BROKEN = {
    "python tag": ("a: 1\nb: !!python/object/apply:os.system [ls]\n", ":2: found the tag", "plain values"),
    "tag of a key": ("!!python/name:os.system a: 1\n", ":1: found the tag", "plain values"),
    "own tag": ("a: !secret x\n", ":1: found the tag '!secret'", "plain values"),
    "key twice": ("a: 1\nb: 2\na: 3\n", ":3: found the key 'a' twice, first in line 1", "each key once"),
    "key of a list": ("? [a, b]\n: 1\n", ":1: found a key that is not text", "`key: value`"),
    "list on top": ("- a\n", ":1: found a list", "a mapping"),
    "text on top": ("hello\n", ":1: found a str", "a mapping"),
    "empty": ("# nothing\n", ":1: found nothing", "a mapping"),
    "two documents": ("a: 1\n---\nb: 2\n", ":2: found a second document", "one document"),
    "not YAML": ("a: [1\nb: 2\n", ": not YAML: ", ""),
    "control character": ("a: \x01\n", ": not YAML: ", ""),
    "alias to itself": ("a: &a [*a]\n", ":1: the alias *a", "an anchor above it"),
    "alias to nothing": ("a: *b\n", ":1: the alias *b", "an anchor above it"),
    "too deep": ("a: " + "[" * 100_000, ":1: nested deeper than 50 levels", "plain settings"),
    "too deep, and whole": ("b: 1\na: " + "[" * 2_000 + "]" * 2_000, ":2: nested deeper than 50 levels", ""),
    "blocks too deep": ("\n".join(" " * i + "a:" for i in range(1_200)), ":52: nested deeper than 50 levels", ""),
    "items too deep": ("a:\n" + "- " * 2_000, ":2: nested deeper than 50 levels", "plain settings"),
    "merge of a scalar": ("<<: 5\n", ":1: <<: 5", "mappings"),
}


def written(tmp_path, text):
    path = tmp_path / "evalrun.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize(("text", "value"), PLAIN.items(), ids=[repr(text) for text in PLAIN])
def test_plain_scalars(text, value):
    """Scalars mean what they look like: words stay words, dates too."""
    assert plain(text) == value
    assert type(plain(text)) is type(value)


def test_quoted_scalars_are_text():
    """Quotes make text of what looks like a number."""
    assert parse_value("['1', \"true\", !!str 2, ! 3]", "here") == ["1", "true", "2", "3"]


@pytest.mark.parametrize("loader", sorted({loading._LOADER, yaml.SafeLoader}, key=str))
@pytest.mark.parametrize(("text", "where", "accepted"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_plain_data_is_refused_with_its_line(monkeypatch, tmp_path, text, where, accepted, loader):
    """Nothing that a file says is executed, unfolded without end, or overwritten in silence, by either parser."""
    monkeypatch.setattr(loading, "_LOADER", loader)
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert where in str(caught.value)
    assert accepted in str(caught.value)


def test_alias_bomb_is_refused(tmp_path):
    """Nine lines must not become a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="aliases repeat more than 10000 values; accepted: fewer"):
        read_yaml(written(tmp_path, "\n".join(lines)))


def test_file_too_large_is_refused(tmp_path):
    """A suite is small; what is not was taken for one by mistake."""
    with pytest.raises(ConfigError, match="larger than"):
        read_yaml(written(tmp_path, "a: " + "x" * LARGEST_FILE))


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path):
    """Latin-1 in the third line is told as such."""
    with pytest.raises(ConfigError, match=r":3: found a byte that is not UTF-8"):
        read_yaml(written(tmp_path, b"a: 1\nb: 2\nc: \xe9\n"))


def test_file_that_cannot_be_read_says_why(tmp_path):
    """A missing file is the user's to fix."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_yaml(str(tmp_path / "none.yaml"))


def test_lines_are_those_of_keys_and_items(tmp_path):
    """Every value knows its line, and what has none knows that of its nearest holder."""
    document = read_yaml(written(tmp_path, "a:\n  b:\n  - 1\n  - c: 2\nd: 3\n"))
    assert document.values == {"a": {"b": [1, {"c": 2}]}, "d": 3}
    assert {dotted(where): line for where, line in document.lines.items() if where} == {
        "a": 1,
        "a.b": 2,
        "a.b[0]": 3,
        "a.b[1]": 4,
        "a.b[1].c": 4,
        "d": 5,
    }
    assert document.place(("a", "b", 1, "x")).endswith(":4: a.b[1].x")


def test_aliases_and_merge_keys_are_unfolded(tmp_path):
    """Anchors are a fair way to say a thing once; of merged mappings the first wins, and the own keys win over all."""
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 3}\nw: {<<: *y}\nv: [*x]\n"
    values = read_yaml(written(tmp_path, text)).values
    assert values["z"] == {"a": 3, "b": 1, "c": 2}
    assert values["w"] == {"b": 2, "c": 2}
    assert values["v"] == [{"a": 1, "b": 1}]


def test_keys_are_text(tmp_path):
    """What stands before the colon is a name, whatever it looks like."""
    assert read_yaml(written(tmp_path, "on: {1: a, null: b}\n")).values == {"on": {"1": "a", "null": "b"}}
