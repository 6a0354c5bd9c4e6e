"""A pair by what people type."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.lookup import find_pair


@dataclass(frozen=True)
class Pair:
    suite: str
    id: str

    @property
    def full_id(self):
        return f"{self.suite}/{self.id}"


PAIRS = [
    Pair("digits", "mlp/clean"),
    Pair("digits", "mlp/noisy"),
    Pair("letters", "mlp/noisy"),
    Pair("digits", "org/模型 [A]/clean"),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param("mlp/clean", 0, id="task/dataset"),
        pytest.param("letters/mlp/noisy", 2, id="suite/task/dataset"),
        pytest.param("evals/x/evalrun.yaml::test_pair[mlp/clean]", 0, id="pasted"),
        pytest.param(" evals/x/evalrun.yaml::test_pair[mlp/clean]\n", 0, id="pasted with white space"),
        pytest.param("evals/letters/evalrun.yaml::test_pair[mlp/noisy]", 2, id="pasted, its directory decides"),
        pytest.param("evals/x/test_mine.py::TestIt::test_it[mlp/clean]", 0, id="a user's own test"),
        pytest.param("evals/x/evalrun.yaml::test_pair[org/模型 [A]/clean]", 3, id="brackets in a name"),
        pytest.param(r"x/evalrun.yaml::test_pair[org/\u6a21\u578b [A]/clean]", 3, id="escaped as pytest prints it"),
        pytest.param("mlp/clean/0-250", 0, id="a shard"),
    ],
)
def test_a_pair_is_found(wanted, expected):
    """Every way of naming a pair leads to it."""
    assert PAIRS[expected] is find_pair(wanted, PAIRS)


def test_two_suites_with_one_pair():
    """The message names those that fit alike."""
    with pytest.raises(ConfigError, match="several suites have it; name one of: digits/mlp/noisy, letters/mlp/noisy"):
        find_pair("mlp/noisy", PAIRS)


def test_an_unknown_pair_names_the_nearest():
    """A typing mistake is met with what was probably meant."""
    with pytest.raises(ConfigError, match="pair mlp/claen: not found among 4; nearest: digits/mlp/clean"):
        find_pair("mlp/claen", PAIRS)


def test_nothing_is_near():
    """Then a few of those that are there."""
    with pytest.raises(ConfigError, match="there are: digits/mlp/clean"):
        find_pair("??", PAIRS)


def test_no_pairs_at_all():
    """An empty run says so."""
    with pytest.raises(ConfigError, match="no pairs here at all"):
        find_pair("a/b", [])
