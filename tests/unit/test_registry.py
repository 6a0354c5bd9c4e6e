"""Kinds by name: who offers them, and what is told where two do or where they cannot be had."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packages import installed

from pytest_evalrun import registry
from pytest_evalrun.errors import ConfigError

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("group", [registry.ADAPTERS, registry.READERS, registry.METRICS])
def test_ours_are_offered_as_those_of_others_are(group):
    """What pyproject.toml declares is installed, ours, and can be loaded."""
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"][group]
    assert declared.keys() <= registry.names(group)
    for name, value in declared.items():
        offer = registry.find(group, name)
        assert (offer.value, offer.is_ours) == (value, True)
        assert offer.load().__name__ == value.partition(":")[2]


def test_nobody_offers_it():
    """An unknown name is no error here: whoever asks knows what else would do."""
    assert registry.find(registry.METRICS, "no such") is None


def test_two_packages_with_one_name(tmp_path, monkeypatch):
    """Who asks for the name is told both; other names of the same packages are as good as ever."""
    for package, name in (("first-one", "also"), ("second-one", "else")):
        points = {registry.METRICS: {"near": "nowhere:near", name: "nowhere:near"}}
        monkeypatch.syspath_prepend(installed(tmp_path / package, package, points))
    with pytest.raises(
        ConfigError, match="found 'near', the name of one metric in each of the packages second-one and"
    ):
        registry.find(registry.METRICS, "near")
    assert registry.find(registry.METRICS, "also").package == "first-one"
    assert {"near", "also", "else"} < registry.names(registry.METRICS)


def test_ours_are_not_taken_over(tmp_path, monkeypatch):
    """A package that offers a name of ours hurts who asks for it, and is named."""
    points = {registry.METRICS: {"top1": "nowhere:near"}}
    monkeypatch.syspath_prepend(installed(tmp_path, "taker", points))
    with pytest.raises(ConfigError, match=r"found 'top1', .* packages taker and pytest-evalrun"):
        registry.find(registry.METRICS, "top1")


BROKEN = {
    "no module": ("no_such_module:Kind", None, "ModuleNotFoundError"),
    "no attribute": ("halfway:Kind", "", "AttributeError"),
    "fails": ("halfway:Kind", "1 / 0", "ZeroDivisionError"),
}


@pytest.mark.parametrize(("value", "source", "error"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_loaded_names_package_and_entry_point(tmp_path, monkeypatch, value, source, error):
    """The line says whose it is, what was declared, and why it failed."""
    modules = {} if source is None else {"halfway": source}
    monkeypatch.syspath_prepend(installed(tmp_path, "half-way", {registry.ADAPTERS: {"half": value}}, **modules))
    monkeypatch.delitem(sys.modules, "halfway", raising=False)
    offer = registry.find(registry.ADAPTERS, "half")
    with pytest.raises(ConfigError) as caught:
        offer.load()
    told = f"adapter half of the package half-way (entry point half = {value}) cannot be loaded: {error}"
    assert str(caught.value).startswith(told)


def test_names_are_known_without_importing_anything():
    """Neither what they stand for, nor what describes it."""
    code = (
        "import sys; from pytest_evalrun import registry\n"
        "print(sorted(registry.names(registry.ADAPTERS))[:2], registry.find(registry.METRICS, 'psnr').name)\n"
        "print([m for m in sys.modules if m.startswith('pytest_evalrun.') or m in ('pydantic', 'numpy', 'pytest')])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "['command', 'http'] psnr",
        "['pytest_evalrun.errors', 'pytest_evalrun.registry']",
    ]
