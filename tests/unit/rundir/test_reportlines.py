"""What a job tells its launch, line by line."""

from __future__ import annotations

import json

import pytest

from pytest_evalrun.rundir.reportlines import ReportReader, ReportWriter


def test_a_torn_line_costs_no_other(tmp_path):
    """A job that goes on where one was killed in the middle of a line loses that line alone."""
    path = tmp_path / "reports.jsonl"
    writer, reader = ReportWriter(path), ReportReader(path)
    writer.write({"kind": "start", "id": "a"}, {"kind": "item", "id": "a", "reports": []})
    path.write_bytes(path.read_bytes() + b'{"kind":"item","i')
    assert [line["id"] for line in reader.read()] == ["a", "a"]
    writer.write({"kind": "item", "id": "b", "reports": []})
    assert [line["id"] for line in reader.read()] == ["b"]


REPORT = {"nodeid": "a", "outcome": "passed", "when": "call"}
ITEM = {"kind": "item", "id": "a", "reports": [REPORT]}


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\x00",
        b"[1]",
        b"{}",
        {"kind": ["item"]},
        {"kind": "elsewhere"},
        {"kind": "start"},
        {"kind": "start", "id": 7},
        {"kind": "ended", "code": "x"},
        {"kind": "ended", "code": True},
        {"kind": "event", "event": 7},
        {"kind": "refused"},
        {"kind": "warning", "id": "a"},
        {"kind": "item", "id": "a"},
        {"kind": "item", "id": "a", "reports": [7]},
        {"kind": "item", "id": "b", "reports": [REPORT]},
        {"kind": "item", "id": "a", "reports": [REPORT | {"outcome": None}]},
        {"kind": "item", "id": "a", "reports": [REPORT | {"evalrun": "x"}]},
    ],
    ids=lambda line: (line if isinstance(line, bytes) else json.dumps(line).encode()).decode("latin-1"),
)
def test_what_nobody_of_ours_wrote_is_passed_over(tmp_path, line):
    """A file that was edited says nothing where it is wrong, and everything where it is right."""
    path = tmp_path / "reports.jsonl"
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    path.write_bytes(raw + b"\n" + json.dumps(ITEM).encode() + b"\n")
    assert ReportReader(path).read() == [ITEM]


def test_a_file_that_cannot_be_read_is_read_later(tmp_path):
    """Whatever is in its place says nothing, and what comes there is read from its beginning."""
    path = tmp_path / "reports.jsonl"
    reader = ReportReader(path)
    path.mkdir()
    assert reader.read() == []
    path.rmdir()
    ReportWriter(path).write(ITEM)
    assert reader.read() == [ITEM]
