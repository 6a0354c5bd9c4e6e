"""${NAME}: expanded where it is used, blanked where it would show."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.discovery import Suite
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task
from pytest_evalrun.suite.secrets import (
    BlankedStream,
    Secrets,
    expand,
    secret_names,
    secrets_of,
    written,
)

VALUE = {"key": "${API_KEY}", "urls": ["http://${HOST}:${PORT}/", "$HOST", "${}"], "n": 5, "none": None}


def test_expand_reads_strings_at_any_depth():
    """Only ${NAME} is read; keys, numbers and other dollars stay, and so does the value itself."""
    environ = {"API_KEY": "s3cret", "HOST": "h", "PORT": "80"}
    assert expand(VALUE, environ) == {
        "key": "s3cret",
        "urls": ["http://h:80/", "$HOST", "${}"],
        "n": 5,
        "none": None,
    }
    assert VALUE["key"] == "${API_KEY}"


def test_expanded_values_are_not_expanded_again():
    """A secret may hold a dollar."""
    assert expand("${A}", {"A": "${B}", "B": "x"}) == "${B}"


def test_unset_variable_is_named():
    """The user must know what to set."""
    with pytest.raises(ConfigError, match="the environment variable API_KEY is not set"):
        expand(VALUE, {"HOST": "h", "PORT": "80"})


def test_secret_names_are_found_at_any_depth():
    """What a structure would ask for."""
    assert secret_names(VALUE) == {"API_KEY", "HOST", "PORT"}
    assert secret_names(5) == set()


def test_passwords_of_boards_are_secrets():
    """Their variable is named without ${}, wherever boards are written down."""
    assert secret_names({"devices": [{"name": "b1", "password_env": "P1"}, {"name": "b2"}]}) == {"P1"}
    assert secret_names({"secrets_env": ["K1", "K2"]}) == {"K1", "K2"}


def test_secrets_of_suites(monkeypatch):
    """Of all layers of all pairs, as far as they are set."""
    layer = Layer("suite", "x", {"params": {"a": "${SET}", "b": "${UNSET}"}, "devices": [{"password_env": "BOARD"}]})
    pair = Pair("s", "/", Task("m", None, "/"), Dataset("d", "/d"), (layer,))
    suite = Suite("s", "/evalrun.yaml", "/", (pair,))
    assert secrets_of([suite], {"SET": "x" * 12, "BOARD": "root"}) == Secrets(("root", "x" * 12))


PLAIN = "sk-0123456789abcdef"
ODD = 'it\'s a "se/cret" $HOME `x` \\ 100%+é'
LINES = ["-----BEGIN KEY-----", "MIIEvQIBADANBg/kq+hk==", "iG9w", "-----END KEY-----"]
PEM = "\n".join(LINES) + "\n"
FORMS = {
    "as it is": str,
    "shell": shlex.quote,
    "shell in a shell": lambda text: shlex.join(["sh", "-c", f"tool {shlex.quote(text)}"]),
    "bash": lambda text: (
        subprocess.run(
            ["bash", "-c", 'printf %q "$1"', "bash", text], capture_output=True, text=True, env={"LC_ALL": "C.UTF-8"}
        ).stdout
    ),
    "trace of a shell": lambda text: (
        subprocess.run(
            ["bash", "-xc", ': "$1"', "bash", text], capture_output=True, text=True, env={"LC_ALL": "C.UTF-8"}
        ).stderr
    ),
    "repr": repr,
    "repr beside both quotes": lambda text: repr(f"{text}'\""),
    "repr of bytes": lambda text: repr(text.encode()),
    "ascii": ascii,
    "exception in an exception": lambda text: repr(ValueError(repr({"token": text}))),
    "JSON": json.dumps,
    "JSON with all letters": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps({"body": json.dumps({"key": text})}),
    "URL": quote,
    "URL without slashes": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "CSV": lambda text: text.replace('"', '""'),
    "URL in small letters": lambda text: re.sub("%..", lambda byte: byte[0].lower(), quote(text, safe="")),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("secret", [PLAIN, ODD], ids=["plain", "odd"])
def test_a_secret_is_blanked_in_every_form(secret, form):
    """What stands around it stays, as a shell, Python, JSON or a URL needs it."""
    text = form(secret)
    assert Secrets((secret,)).blank(f"<{text}>").count("***") == 1
    assert not [
        part for part in ("sk-0123", "a \\", "se/cret", "HOME", "cret") if part in Secrets((secret,)).blank(text)
    ]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_each_line_of_a_secret_is_blanked(form):
    """However a key of several lines is written, whole or line by line; the key may hold its newlines as \\n."""
    for secret in (PEM, PEM.replace("\n", "\\n")):
        for text in (PEM, *LINES[1:3]):
            blanked = Secrets((secret,)).blank(form(text))
            assert "MIIE" not in blanked
            assert "BEGIN" not in blanked
    assert "iG9w" not in Secrets((PEM,)).blank(form(PEM))


SHORT = {
    "a path": ("in /root/x and ./root", None),
    "a word": ("root is no rooted word: root", None),
    "a user": ("ssh root@host", None),
    "an assignment of a path": ("HOME=root/x F=root.txt", None),
    "NAME=value": ("export PASS=root; OTHER='root'.", "export PASS=***; OTHER='***'."),
    "Python's environment": ("{'PASS': 'root', 'HOME': '/root'}", "{'PASS': '***', 'HOME': '/root'}"),
    "JSON's environment": ('{"PASS":"root"}', '{"PASS":"***"}'),
}


@pytest.mark.parametrize(("text", "blanked"), SHORT.values(), ids=SHORT.keys())
def test_a_short_secret_is_blanked_where_it_must_be_one(text, blanked):
    """The password `root` is a word of many texts, and no prediction is changed for it."""
    secrets = Secrets(("root",))
    assert secrets.blank(text) == (blanked or text)
    assert secrets.prediction(text) is text


def test_a_short_secret_is_blanked_in_a_command():
    """As a word, behind an option, in the script of a shell and in a URL; never a part of a path."""
    argv = ["/root/tool", "root", "--password=root", "-proot", "db://me:root@host/x", "sh /root/x -k 'root' root"]
    blanked = ["/root/tool", "***", "--password=***", "-p***", "db://me:***@host/x", "sh /root/x -k '***' ***"]
    assert Secrets(("root",)).words(argv) == tuple(blanked)


def test_what_cannot_be_told_from_anything_is_not_blanked():
    """An empty value, blanks and three letters: half of every log would be."""
    secrets = Secrets(("", " ", "abc"))
    assert not secrets
    assert secrets.blank("X=abc abc") == "X=abc abc"
    assert secrets.words(["abc"]) == ("abc",)


@pytest.mark.parametrize(
    ("secrets", "text"),
    [
        (("0123456789ab", "0123456789abcdef"), "0123456789abcdef"),
        (("0123456789ab", "6789abcdefgh"), "0123456789abcdefgh"),
        (("456789abcdef", "0123456789abcdefghij"), "0123456789abcdefghij"),
    ],
    ids=["one begins the other", "one overlaps the other", "one is in the other"],
)
def test_secrets_that_overlap_leave_nothing(secrets, text):
    """Whichever is named first: the rest of one must not stay because another was found in it."""
    for values in (secrets, secrets[::-1]):
        assert Secrets(values).blank(f"<{text}>") == "<***>"


@given(st.text("ab\\'\" ", min_size=12), st.text("ab\\'\" "), st.text("ab\\'\" "))
def test_no_secret_is_left_in_any_text(secret, before, after):
    """Of letters that shells, Python and JSON write otherwise."""
    for value in (secret, secret.strip()):
        if len(value.strip()) >= 12:
            assert value.strip() not in Secrets((value,)).blank(before + secret + after)


def test_what_a_prediction_holds_is_blanked():
    """At any depth, keys too; where there is nothing to blank it is the very same object."""
    secrets = Secrets((PLAIN,))
    assert secrets.prediction({"a": [f"key {PLAIN}", 1, None], PLAIN: True}) == {"a": ["key ***", 1, None], "***": True}
    clean = {"a": [1.5, "x", {"b": None}]}
    assert secrets.prediction(clean) is clean
    assert Secrets((PEM,)).prediction(f"{LINES[1]} {LINES[2]}") == f"*** {LINES[2]}", "a short line may be any word"


def streamed(values, data, sizes=()):
    """What goes on of each piece of the data, of these sizes, and at the end."""
    stream, told = BlankedStream(Secrets(values)), []
    for size in (*sizes, len(data)):
        told.append(stream.feed(data[:size]))
        data = data[size:]
    return [*told, stream.finish()]


@given(st.lists(st.integers(1, 40)), st.booleans())
def test_a_secret_in_two_chunks_is_blanked(sizes, ended):
    """Wherever it is cut; bytes that are no text stay."""
    data = f"a {PLAIN}\n\n{PLAIN}{PLAIN} b\nc {PLAIN}".encode() + b"\xff" + b"\n" * ended
    assert b"".join(streamed((PLAIN,), data, sizes)) == b"a ***\n\n****** b\nc ***\xff" + b"\n" * ended


@given(
    st.lists(st.sampled_from(["a", "b", "ab'", "=", "\\", "\r", "\n", "é", "P=root", "root", "."]), max_size=30),
    st.text("ab'\\é", min_size=12, max_size=14),
    st.lists(st.integers(0, 9)),
)
def test_a_stream_is_blanked_as_one_text_is(pieces, secret, sizes):
    """However it is cut, and in whatever form the secret stands there."""
    values = (secret, "root")
    text = "".join(pieces) + secret[:-1] + "".join(written(secret)) + "".join(pieces) + secret
    assert b"".join(streamed(values, text.encode(), sizes)).decode() == Secrets(values).blank(text)


@pytest.mark.parametrize(
    ("chunk", "told"),
    [
        pytest.param(b"\r 10%|# |", b"\r 10%|# |", id="a progress bar"),
        pytest.param(f"x {PLAIN[:5]}".encode(), b"x ", id="what may become the secret waits"),
        pytest.param(f"x {PLAIN[:5]}\r".encode(), f"x {PLAIN[:5]}\r".encode(), id="a carriage return ends a line"),
        pytest.param(f"x {PLAIN}".encode(), b"x ***", id="a whole one"),
        pytest.param(b"P=root", b"P=", id="a short one, until it is known to be no part of a word"),
        pytest.param(b"the root", b"the ", id="what may be a short one"),
    ],
)
def test_what_is_no_secret_goes_on_at_once(chunk, told):
    """A program that never ends its line is seen to live."""
    assert BlankedStream(Secrets((PLAIN, "root"))).feed(chunk) == told


def test_no_more_waits_than_a_secret_is_long():
    """Of a line that never ends, secrets that overlap without an end included."""
    stream = BlankedStream(Secrets(("a" * 20,)))
    assert stream.feed(b"b" * 5000 + b"a" * 19) == b"b" * 5000
    assert [stream.feed(b"a" * 1000) for _ in range(3)] == [b"***", b"", b""]
    assert stream.feed(b"b") + stream.finish() == b"b"


def test_without_secrets_nothing_is_looked_at():
    """A log of any size costs nothing more."""
    secrets = Secrets()
    text, value = "x", {"a": "x"}
    assert not secrets
    assert secrets.blank(text) is text
    assert secrets.fields(value) is value
