"""Files of a run that somebody damaged: each reader says so or passes over them, and none of them ends a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.markers import read_fingerprint, read_marker
from pytest_evalrun.rundir.predictions import PredictionsFile, parse_line
from pytest_evalrun.rundir.processes import Living
from pytest_evalrun.rundir.results import read_history, read_result, timings_in
from pytest_evalrun.rundir.runs import read_run_json
from pytest_evalrun.rundir.sessions import read_session
from pytest_evalrun.rundir.shards import read_range

DEEP = '{"a":' * 50_000 + "1" + "}" * 50_000
DAMAGE = {
    "empty": b"",
    "torn": b'{"format": 1, "ti',
    "nested too deeply": DEEP.encode(),
    "an open end": b"[" * 100_000,
    "deep in a line": b'{"index":0,"id":"a","status":"ok","reference":null,"error":null,"seconds":1,"prediction":'
    + DEEP.encode()
    + b"}\n",
    "binary": bytes(range(256)),
    "a list": b"[1]\n",
    "a number": b"7\n",
    "null": b"null\n",
    "a long number": b"1" * 5000,
}


def refused(path):
    with pytest.raises(ConfigError, match="put it back, or start another run with --eval-run new"):
        read_run_json(RunPaths(path.parent))


READERS = {
    "run.json": refused,
    "session.json": lambda path: read_session(RunPaths(path.parent)),
    "a.complete.state": read_marker,
    "result.json": read_result,
    "a.fingerprint.json": read_fingerprint,
    "worker_args_0_1.json": read_range,
    "0-1.timing.json": lambda path: timings_in(path.parent).samples,
    "history.jsonl": lambda path: list(read_history(path)),
    "processes.jsonl": lambda path: Living(path.parent).look(),
    "line": lambda path: parse_line(path.read_bytes() + b"\n", 10),
    "predictions.jsonl": lambda path: list(PredictionsFile(path).lines()),
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_holds_nothing(tmp_path: Path, name: str, content: bytes) -> None:
    """Whatever lies there instead; `run.json`, without which nothing is known of a run, is told with the remedy."""
    (tmp_path / name).write_bytes(content)
    assert not READERS[name](tmp_path / name)


MANIFEST = [("suites", 5), ("suites", {"a": 5}), ("directories", {"a": 1}), ("directories", [None]), ("boards", 7)]


@pytest.mark.parametrize(("key", "value"), MANIFEST, ids=str)
def test_a_manifest_that_we_did_not_write_is_refused(tmp_path: Path, key: str, value: object) -> None:
    """Its parts are checked where the file is read, not where they are needed."""
    (tmp_path / "run.json").write_text(json.dumps({"format": 1, key: value}))
    with pytest.raises(ConfigError, match=rf"run\.json: {key}: .*; put it back, or"):
        read_run_json(RunPaths(tmp_path))
