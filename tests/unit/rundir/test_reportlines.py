"""What a job tells its launch, line by line."""

from __future__ import annotations

from pytest_evalrun.rundir.reportlines import ReportReader, ReportWriter


def test_a_torn_line_costs_no_other(tmp_path):
    """A job that goes on where one was killed in the middle of a line loses that line alone."""
    path = tmp_path / "reports.jsonl"
    writer, reader = ReportWriter(path), ReportReader(path)
    writer.write({"kind": "start", "id": "a"}, {"kind": "item", "id": "a"})
    path.write_bytes(path.read_bytes() + b'{"kind":"item","i')
    assert [line["id"] for line in reader.read()] == ["a", "a"]
    writer.write({"kind": "item", "id": "b"})
    assert [line["id"] for line in reader.read()] == ["b"]
