"""Runs written by hand below a work directory, with a suite whose models write beside it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pytest_evalrun.report.runs import find_run
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.predictions import named_file
from pytest_evalrun.suite.names import safe_name
from pytest_evalrun.suite.pairs import PairKey

# sshd.py, which the tests of boards use as well
sys.path.insert(0, str(Path(__file__).parents[2]))

SUITE = {
    "name": "s",
    "adapter": "./model.py:predict",
    "models": [{"name": "a"}, {"name": "b"}],
    "datasets": [{"name": "one", "path": "one.jsonl"}],
    "format": "jsonl",
    "inputs": ["x"],
    "reference": "y",
    "metrics": ["exact_match"],
    "out_subdir": ".res",
}
STATES = "*s/a|psnr|1\n-one|2\n*s/b||1\n-one|3\n+summary|2|2\n"


class Place:
    """``evals`` with a suite, and ``outputs/default`` with a run of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.suite = root / "evals"
        self.workdir = root / "outputs" / "default"
        self.suite.mkdir(parents=True)
        self.workdir.mkdir(parents=True)
        (self.workdir / ".gitignore").write_text("*\n")
        (self.suite / "evalrun.yaml").write_text(json.dumps(SUITE))
        (self.suite / "model.py").write_text("def predict(batch): return [s.input for s in batch]\n")
        (self.suite / "one.jsonl").write_text('{"x": 1, "y": 1}\n')

    def run(self, name="20261121_103015", directories=(), states=STATES):
        paths = RunPaths(self.workdir / name)
        paths.root.mkdir()
        suites = {"s": os.path.relpath(self.suite / "evalrun.yaml", paths.root)}
        content = {"format": 1, "created": "2026-11-21T10:30:15Z", "suites": suites, "directories": list(directories)}
        paths.run_json.write_text(json.dumps(content))
        paths.task_list.write_text(states)
        for task in ("a", "b"):
            self.pair(paths, "s", task, "one")
        latest = self.workdir / "latest"
        latest.unlink(missing_ok=True)
        latest.symlink_to(name)
        return find_run(name, self.workdir)

    def pair(self, paths, suite, task, dataset, status="passed"):
        """Every file that a pair may have, each with a word in it; the result is one that can be read."""
        files = paths.pair(PairKey(safe_name(suite), safe_name(task), safe_name(dataset)))
        for path in (files.marker, files.state, files.infer_log, files.eval_log, files.scores):
            put(path, "x")
        put(files.predictions, names("image.png", 3) + "\n")
        put(files.fingerprint, "{}")
        put(files.outputs / "image.png", "png")
        result = {"suite": suite, "task": task, "dataset": dataset, "status": status, "metrics": {}, "samples": {}}
        put(files.result, json.dumps(result | {"seconds": {}, "gates": [], "fingerprint": {}, "environment": {}}))
        return files

    def limited(self, paths, task, limit, status="passed"):
        """An evaluation of the first samples of ``one``."""
        files = self.pair(paths, "s", task, f"one.limit-{limit}", status)
        files.result.write_text(files.result.read_text().replace(f"one.limit-{limit}", "one"))


def names(file, size):
    """A line of predictions whose answer is a file that the model wrote."""
    return json.dumps({"index": 0, "id": "0", "prediction": named_file(file, size, "0" * 64)}, separators=(",", ":"))


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def tree_of(root):
    """Every file and link below a directory, relative, with what it says."""
    found = {}
    for directory, names, files in os.walk(root):
        for path in (Path(directory, name) for name in names + files):
            if path.is_symlink() or path.is_file():
                found[str(path.relative_to(root))] = str(path.readlink()) if path.is_symlink() else path.read_text()
    return found


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "project")


@pytest.fixture(name="put")
def put_fixture():
    return put


@pytest.fixture(name="tree_of")
def tree_of_fixture():
    return tree_of
