"""${NAME}: expanded where it is used, blanked where it would show."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.secrets import blank, expand, secret_names

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


def test_blank_replaces_values_but_not_short_ones():
    """A longer secret that holds a shorter one goes first; three letters would blank half of every log."""
    assert blank("a s3cret-long s3cret abc", ["s3cret", "abc", "s3cret-long"]) == "a *** *** abc"
