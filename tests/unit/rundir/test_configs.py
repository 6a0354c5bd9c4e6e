"""Snapshots of a launch: complete, readable as YAML, and without any secret."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pytest_evalrun.rundir.configs import write_snapshot
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task
from pytest_evalrun.suite.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 21, 10, 30, 15).astimezone()


@dataclass(frozen=True)
class Suite:
    name: str
    file: str
    pairs: tuple[Pair, ...]


def suite(name: str, tasks: list[str], datasets: list[str], values: dict[str, Any] | None = None) -> Suite:
    base = Layer("suite", f"/{name}/evalrun.yaml", values or {"metrics": ["top1"], "gates": {"top1": {"min": 0.9}}})
    own = {task: Layer("task .run_config", f"/{name}/{task}/.run_config", {"in_subdir": "x"}) for task in tasks}
    pairs = [
        Pair(name, f"/{name}", Task(t, None, f"/{name}/{t}"), Dataset(d, f"/{name}/{d}"), (base, own[t]))
        for t in tasks
        for d in datasets
    ]
    return Suite(name, f"/{name}/evalrun.yaml", tuple(pairs))


def read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_bytes())
    assert isinstance(content, dict)
    return content


def test_snapshot_is_complete(tmp_path: Path) -> None:
    """Command line, options, every layer once and every pair are there, under the time of the launch."""
    suites = [suite("digits", ["mlp", "dir/任务"], ["clean", "noisy"])]
    path = write_snapshot(RunPaths(tmp_path), NOW, suites, ["pytest", "-k", "a b"], options={"eval_run": "latest"})
    assert path == tmp_path / "configs" / "20261121_103015.yaml"
    content = read(path)
    assert content["argv"] == ["pytest", "-k", "a b"]
    assert content["options"] == {"eval_run": "latest"}
    (only,) = content["suites"]
    assert (only["name"], only["file"]) == ("digits", "/digits/evalrun.yaml")
    assert [layer["source"] for layer in only["layers"]] == [
        "/digits/evalrun.yaml",
        "/digits/mlp/.run_config",
        "/digits/dir/任务/.run_config",
    ]
    assert only["layers"][0]["values"] == {"metrics": ["top1"], "gates": {"top1": {"min": 0.9}}}
    assert content["pairs"].split("\n") == [pair.full_id for pair in suites[0].pairs]
    assert "任务" in path.read_text(encoding="utf-8")


def test_second_launch_of_a_second_gets_a_number(tmp_path: Path) -> None:
    """No launch replaces the record of another."""
    names = [write_snapshot(RunPaths(tmp_path), NOW, [], []).name for _ in range(3)]
    assert names == ["20261121_103015.yaml", "20261121_103015_2.yaml", "20261121_103015_3.yaml"]


def test_secrets_are_blanked(tmp_path: Path) -> None:
    """The value of a secret stands nowhere, not even broken up by quotes or lines of YAML."""
    secret = 'it\'s: a\n"secret" ' + "word " * 40
    values = {"params": {"key": [f"Bearer {secret}"], secret: 1, "url": "${URL}"}}
    suites = [suite("s", ["hidden-token"], ["d"], values)]
    path = write_snapshot(
        RunPaths(tmp_path), NOW, suites, [f"--eval-set=params.key={secret}"], Secrets((secret, "hidden-token"))
    )
    content = read(path)
    assert content["argv"] == ["--eval-set=params.key=***"]
    assert content["suites"][0]["layers"][0]["values"] == {"params": {"key": ["Bearer ***"], "***": 1, "url": "${URL}"}}
    assert content["pairs"] == "s/***/d"
    assert "word word" not in path.read_text(encoding="utf-8")
    assert "hidden-token" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        " leading",
        "trailing ",
        "a'b\"c",
        "$(touch x)",
        "- a: b",
        "# no comment",
        "%YAML",
        "\u2028",
        "\x85a",
    ],
)
def test_any_name_comes_back(tmp_path: Path, name: str) -> None:
    """Ids are text, whatever YAML makes of their letters elsewhere."""
    path = write_snapshot(RunPaths(tmp_path), NOW, [suite(name, [name], [name, "d"])], [name])
    assert read(path)["pairs"] == f"{name}/{name}/{name}\n{name}/{name}/d"


def test_broken_letters_do_not_stop_a_launch(tmp_path: Path) -> None:
    """A file name that is no text, or a value that is no builtin, is shown as well as it can be."""
    path = write_snapshot(RunPaths(tmp_path), NOW, [suite("s", ["\udcff"], ["d"])], [], options={"path": tmp_path})
    assert read(path)["options"] == {"path": str(tmp_path)}


def test_ten_thousand_pairs_cost_little(tmp_path: Path) -> None:
    """A snapshot is no burden to a launch (the bound is far above what is measured)."""
    large = suite("s", [f"task{i}" for i in range(100)], [f"dataset{i}" for i in range(100)])
    began = time.perf_counter()
    path = write_snapshot(RunPaths(tmp_path), NOW, [large], [])
    assert time.perf_counter() - began < 2
    assert len(read(path)["pairs"].split("\n")) == 10_000
