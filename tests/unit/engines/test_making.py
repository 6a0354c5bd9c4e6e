"""Engines by name, ours and those of other packages."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from packages import installed

from pytest_evalrun import registry
from pytest_evalrun.engines.making import create_engine, engine_names
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.clusters import ClusterWords

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
NEAR = """
class NearEngine:
    name, throttles = "near", False

    def __init__(self, words, directory):
        self.words, self.directory = words, directory
"""


@pytest.fixture
def near(tmp_path, monkeypatch):
    """Another package, which offers the engine ``near``."""
    points = {registry.ENGINES: {"near": "near_engine:NearEngine"}}
    monkeypatch.syspath_prepend(installed(tmp_path, "near-package", points, near_engine=NEAR))
    yield
    sys.modules.pop("near_engine", None)


def test_the_engine_of_another_package_is_made_as_ours_are(near, tmp_path):
    """It is given the words of the launch and the directory of its jobs."""
    words = ClusterWords(engine="near", root=str(tmp_path))
    engine = create_engine(words, tmp_path / "engine")
    assert (engine.name, engine.words, engine.directory) == ("near", words, tmp_path / "engine")


def test_names_are_those_of_all_packages(near):
    """This machine first, then ours and those of others, none of which is imported for it."""
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"][registry.ENGINES]
    assert engine_names() == ("local", *sorted([*declared, "near"]))
    assert "near_engine" not in sys.modules


@pytest.mark.parametrize("name", ["far", "local", ""])
def test_what_is_no_engine_is_told_with_those_that_are(near, tmp_path, name):
    """This machine is none: whoever runs items here submits nothing."""
    with pytest.raises(ConfigError) as caught:
        create_engine(ClusterWords(engine=name), tmp_path)
    assert str(caught.value) == (
        f"--eval-engine (ini eval_engine): found {name!r}; accepted: local, command, dlc, near, ray, slurm, "
        "or a name that an installed package offers as an entry point of pytest_evalrun.engines"
    )
