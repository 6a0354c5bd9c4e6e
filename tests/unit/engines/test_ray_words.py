"""What the engine ray says before there is a cluster, or Ray itself; the rest is tried on a real one, in tox."""

from __future__ import annotations

import shlex
import sys
from itertools import pairwise

import pytest

from pytest_evalrun.engines.making import create_engine
from pytest_evalrun.engines.protocol import Job, Resources
from pytest_evalrun.engines.rayjobs import VARIABLES
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.clusters import ClusterWords

ADDRESS = "http://head:8265"


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def job(directory, resources):
    return Job("evalrun-r-u001-1-abcd", "r u001", directory / "job.sh", directory / "job.log", resources)


def test_a_cluster_must_be_named(tmp_path):
    """Without an address, by option or environment, nothing is guessed: an error says both."""
    with pytest.raises(ConfigError, match=r"--eval-ray-address http://HEAD:8265 .*, or RAY_ADDRESS in the environment"):
        create_engine(ClusterWords("ray"), tmp_path)


@pytest.mark.parametrize("name", VARIABLES)
def test_the_command_is_known_without_ray_and_without_a_cluster(tmp_path, monkeypatch, name):
    """A preview asks nobody; the address is Ray's own variable where no option has one."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv(name, ADDRESS)
    engine = create_engine(ClusterWords("ray"), tmp_path)
    words = shlex.split(engine.preview([job(tmp_path, Resources(gpus=2, custom=(("board", 0.5),)))], 1))
    options = dict(pairwise(words))
    assert words[:3] == ["ray", "job", "submit"] and options["--address"] == ADDRESS
    assert (options["--entrypoint-num-gpus"], options["--entrypoint-resources"]) == ("2", '{"board": 0.5}')


def test_without_ray_its_extra_is_named(tmp_path, monkeypatch):
    """Where Ray is not installed, the error of the first question says how it is."""
    monkeypatch.setitem(sys.modules, "ray", None)
    engine = create_engine(ClusterWords("ray", ray=ADDRESS), tmp_path)
    with pytest.raises(ConfigError, match=r'pip install "pytest-evalrun\[ray\]"'):
        engine.find(["x"])


def test_a_gpu_has_one_word_alone(tmp_path):
    """A GPU among Ray's resources would be counted by nobody: an error names the word that counts."""
    engine = create_engine(ClusterWords("ray", ray=ADDRESS), tmp_path)
    with pytest.raises(ConfigError, match=r"ray\.resources: found GPU; accepted: `gpus: N`"):
        engine.preview([job(tmp_path, Resources(custom=(("GPU", 1.0),)))], 1)
