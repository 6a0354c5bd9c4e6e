"""Results: what is written is read, what is damaged is None."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.results import Result, iter_results, read_result

if TYPE_CHECKING:
    from pathlib import Path

RESULT = Result(
    suite="套件",
    task='a/"b"',
    dataset="d $(x)",
    status="passed",
    metrics={"top1": {"value": 0.5, "n": 4, "low": 0.1, "high": 0.9, "better": "higher"}},
    samples={"total": 4, "predicted": 4, "failed": 0, "reused": 0},
    seconds={"load": 0.1, "predict": 1.0, "score": 0.1, "total": 1.2, "p50": None, "p95": None},
    gates=[{"metric": "top1", "holds": True}],
    fingerprint={"prediction": {}, "score": {}},
    environment={"python": "3.11"},
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_result_survives_the_file(tmp_path: Path) -> None:
    """Reading is the inverse of writing, and each field is a line of its own."""
    path = write(tmp_path / "a.json", RESULT.dumps())
    assert read_result(path) == RESULT
    assert len(path.read_text().splitlines()) == 12
    assert list(json.loads(path.read_text())) == list(RESULT.to_json())


@pytest.mark.parametrize("timing", [None, 1, "2"])
def test_latencies_of_another_timing_are_none(tmp_path: Path, timing: object) -> None:
    """Before 2 they were a batch's time divided by its size, which nobody waited for."""
    seconds = {**RESULT.seconds, "p50": 0.5, "p95": 0.6, "throughput": 7.0}
    values = RESULT.to_json() | {"timing": timing, "seconds": seconds}
    old = read_result(write(tmp_path / "a.json", json.dumps(values)))
    assert [old.seconds[name] for name in ("p50", "p95", "throughput")] == [None, None, 7.0]
    new = read_result(write(tmp_path / "b.json", json.dumps(values | {"timing": 2})))
    assert [new.seconds[name] for name in ("p50", "p95")] == [0.5, 0.6]


def test_usage_is_optional(tmp_path: Path) -> None:
    """A result without it is one of a model that was not asked over an endpoint; what is no object is left out."""
    usage = {"requests": 2, "attempts": 3, "input": 10, "output": 4, "cached": 0, "finish": {"stop": 2}}
    told = replace(RESULT, usage=usage)
    assert read_result(write(tmp_path / "a.json", told.dumps())) == told
    assert "usage" not in RESULT.to_json()
    damaged = json.dumps(RESULT.to_json() | {"usage": [1]})
    assert read_result(write(tmp_path / "b.json", damaged)) == RESULT


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"status": "fine"}, id="unknown status"),
        pytest.param({"metrics": [1]}, id="metrics no object"),
        pytest.param({"metrics": {"top1": 0.5}}, id="bare metric"),
        pytest.param({"metrics": {"top1": {"n": 4}}}, id="metric without value"),
        pytest.param({"suite": None}, id="no name"),
    ],
)
def test_damaged_result_is_none(tmp_path: Path, change: dict) -> None:
    """A result that is not what the contract says is no result."""
    assert read_result(write(tmp_path / "a.json", json.dumps(RESULT.to_json() | change))) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\0\0", "{}"])
def test_text_that_is_no_result_is_none(tmp_path: Path, text: str) -> None:
    """So is any other text, or no file."""
    assert read_result(write(tmp_path / "a.json", text)) is None
    assert read_result(tmp_path / "b.json") is None


def test_number_that_json_lacks_is_refused() -> None:
    """NaN in a result is an error of the pair, which is named."""
    with pytest.raises(PairError, match=r'套件/a/"b"/d'):
        replace(RESULT, environment={"x": float("nan")}).dumps()


def test_results_are_streamed_in_order(tmp_path: Path) -> None:
    """All pairs, damaged ones too; not what user tests recorded, nor files on their way."""
    for name in ["s/t/b.json", "s/t/a.json", "s/a/z.json", "r/t/d.limit-10.json"]:
        write(tmp_path / name, RESULT.dumps())
    write(tmp_path / "s/t/c.json", "{")
    for name in ["s/t/a/test_x.json", "s/t/.a.json.1.tmp", "s/t/a.json.old", "s/stray.json", "s/t/.b.json"]:
        write(tmp_path / name, RESULT.dumps())
    found = {path.relative_to(tmp_path).as_posix(): result for path, result in iter_results(tmp_path)}
    assert list(found) == ["r/t/d.limit-10.json", "s/a/z.json", "s/t/a.json", "s/t/b.json", "s/t/c.json"]
    assert found.pop("s/t/c.json") is None
    assert set(map(str, found.values())) == {str(RESULT)}
    assert list(iter_results(tmp_path / "none")) == []
