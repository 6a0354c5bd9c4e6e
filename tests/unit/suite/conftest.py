"""Suites written to disk in a line or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.discovery import discover

if TYPE_CHECKING:
    from pathlib import Path

MATRIX = """\
adapter: ./my.py:Model
models: [{name: m1}, {name: m2}]
datasets: [{path: clean.csv}, {path: noisy.csv}]
"""


class Maker:
    """A suite's directory; discovered with an environment of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "evalrun.yaml"

    def __call__(self, text: str = MATRIX, **files: str) -> Maker:
        self.write({"evalrun.yaml": text, "my.py": "class Model: ...\n", "clean.csv": "", "noisy.csv": ""} | files)
        return self

    def write(self, files: dict[str, str]) -> Maker:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return self

    def discover(self, command_line=(), eval_set=(), environ=None):
        return discover(self.file, command_line, eval_set, environ or {})

    def ids(self, **more):
        return [pair.id for pair in self.discover(**more).pairs]

    def settings(self, pair_id: str, **more):
        return self.pair(pair_id, **more).settings

    def pair(self, pair_id: str, **more):
        return next(pair for pair in self.discover(**more).pairs if pair.id == pair_id)

    def problems(self, **more) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.discover(**more)
        return str(caught.value).splitlines()

    def problem(self, **more) -> str:
        """The only problem there is."""
        (problem,) = self.problems(**more)
        return problem


@pytest.fixture
def suite(tmp_path, monkeypatch):
    root = tmp_path / "evals"
    root.mkdir()
    monkeypatch.chdir(tmp_path)
    return Maker(root)


TREE = """\
adapter: ./my.py:Model
discover: {model_file_ext: .bin, in_subdir: in}
"""


@pytest.fixture
def tree(suite):
    """A suite in the tree layout: tasks a (datasets d1, d2) and group/b (dataset d1)."""
    suite(TREE)
    suite.write({"a/m.bin": "", "group/b/m.bin": ""})
    for place in ("a/d1", "a/d2", "group/b/d1"):
        (suite.root / place / "in").mkdir(parents=True)
    return suite
