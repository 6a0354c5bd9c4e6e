"""worker_args files: what they hold, and that nothing breaks them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.markers import write_fingerprint
from pytest_evalrun.rundir.shards import RangeFiles, WorkerArgs, plain, read_ranges
from pytest_evalrun.suite.pairs import PairKey


@pytest.fixture
def files(tmp_path):
    disk = Disk()
    yield RangeFiles(RunPaths(tmp_path).pair(PairKey("s", "t", "d")), disk)
    disk.close()


def test_round_trip(files):
    """What is written is read again, in the order of the positions."""
    ranges = [WorkerArgs(5, 9, ("a", "b c"), {"K": "v"}, positions=(5, 9)), WorkerArgs(-3, 5, positions=(0, 5))]
    for args in ranges:
        files.write(args)
    assert list(read_ranges(files.paths.programs)) == [ranges[1], ranges[0]]
    assert {path.name for path in files.paths.programs.iterdir()} == {"worker_args_5_9.json", "worker_args_-3_5.json"}


def test_fields_of_the_contract(files):
    """The file has the fields that other programs look for."""
    files.write(WorkerArgs(0, 2).ended_as("failed", error="no", returncode=3))
    values = json.loads(files.paths.worker_args(0, 2).read_text())
    names = ("low", "high", "command", "env", "status", "pid", "started", "ended", "returncode", "rows", "error")
    assert [name for name in values if name in names] == list(names)
    assert (values["status"], values["returncode"], values["error"]) == ("failed", 3, "no")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"low": 1}', '{"low": 0, "high": 1, "status": "odd", "positions": [0, 1]}']
)
def test_damaged_files_are_left_out(files, text):
    """A file that somebody damaged is not there."""
    files.write(WorkerArgs(0, 1, positions=(0, 1)))
    files.paths.worker_args(1, 2).write_text(text)
    assert [args.low for args in read_ranges(files.paths.programs)] == [0]


VALUES = {
    "int64": (np.int64(3), 3),
    "float32": (np.float32(0.5), 0.5),
    "bool": (np.bool_(True), True),
    "nan": (float("nan"), "nan"),
    "infinity": (np.float64(math.inf), "inf"),
    "array": (np.arange(3), [0, 1, 2]),
    "series": (pd.Series([1, 2], index=["a", "b"]), {"a": 1, "b": 2}),
    "time": (pd.Timestamp("2026-01-02"), "2026-01-02 00:00:00"),
    "nothing": (pd.NaT, "NaT"),
    "path": (Path("/a/b"), "/a/b"),
    "set": ({2, 1}, [1, 2]),
    "keys": ({np.int64(1): np.int64(2), "x": None}, {"1": 2, "x": None}),
    "object": (Ellipsis, "Ellipsis"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_of_every_library(files, kind):
    """Values of numpy and pandas, and all others, become what JSON has."""
    value, expected = VALUES[kind]
    assert plain(value) == expected
    files.write_args({"value": value})
    assert json.loads(files.paths.args.read_text()) == {"value": expected}


def test_generations(files):
    """Predictions of another fingerprint, or begun by another launch, are another generation."""
    disk = files._disk
    found = {files.generation()}
    for parts, launch in (({"a": 1}, "one"), ({"a": 2}, "one"), ({"a": 1}, "two")):
        write_fingerprint(disk, files.paths.fingerprint, parts, launch)
        found.add(files.generation())
    assert len(found) == 4
