"""Both kinds of data in a suite, by real pytest."""

from __future__ import annotations

import os
import subprocess
import sys

import datasets
import pyarrow as pa
from pyarrow import parquet

SUITE = """
adapter: ./model.py:Model
models: [{name: echo}]
datasets:
  - {name: table, format: parquet, path: table.parquet}
  - {name: saved, format: hf, path: saved}
  - {name: pinned, format: hf, path: "hf://we/sums", reader: {split: test}, skip: SKIP}
inputs: [x]
reference: y
metrics: [exact_match]
"""
MODEL = "class Model:\n    def predict(self, batch): return [sample.input for sample in batch]\n"


def run(place, *words):
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-rs", *words]
    done = subprocess.run(argv, cwd=place, env=os.environ, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_pairs_are_evaluated_and_reused(tmp_path):
    """A second run asks nothing; rows that changed are evaluated again, and nothing else."""
    columns = {"x": [f"{n}" for n in range(5)], "y": [f"{n}" for n in range(5)]}
    suite = tmp_path / "evals"
    suite.mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (suite / "evalrun.yaml").write_text(SUITE)
    (suite / "model.py").write_text(MODEL)
    parquet.write_table(pa.table(columns), suite / "table.parquet")
    datasets.Dataset.from_dict(columns).save_to_disk(suite / "saved")
    code, said = run(tmp_path)
    assert (code, "2 passed, 1 skipped" in said) == (0, True), said
    code, said = run(tmp_path, "--collect-only")
    assert said.count("reused") == 2, said
    parquet.write_table(pa.table(columns | {"x": ["9"] * 5}), suite / "table.parquet")
    code, said = run(tmp_path)
    assert (code, "2 passed, 1 skipped" in said) == (0, True), said
    assert "re-run: dataset changed" in said, said
    assert "echo/saved" in said, said


def test_an_unpinned_name_is_the_error_of_its_pair(tmp_path):
    """The others are evaluated."""
    suite = tmp_path / "evals"
    suite.mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (suite / "evalrun.yaml").write_text(
        SUITE.replace(", skip: SKIP", "").replace("saved", "other").replace("other}", "other, skip: x}")
    )
    (suite / "model.py").write_text(MODEL)
    (suite / "other").mkdir()
    parquet.write_table(pa.table({"x": ["a"], "y": ["a"]}), suite / "table.parquet")
    code, said = run(tmp_path)
    assert (code, "1 passed, 1 skipped, 1 error" in said) == (1, True), said
    assert "found no revision; accepted: the 40 digits of a commit of we/sums" in said, said
