"""Lines of samples are what each of them says, however many are read at once."""

from __future__ import annotations

import pytest

from pytest_evalrun.rundir.samplelines import SampleLines, sample_lines


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"index":0\n"id":"a"}\n{"index":1,"id":"b"}\n', id="two torn lines that would be one"),
        pytest.param('{"index":1,"id":"b"}\n{"index":0,"id":"a"}\n{"index":1,"id":"c"}\n', id="asked again"),
        pytest.param('{"index":0,"id":"a\\r"}\n{"index":1,"id":"b"}\n{"ind', id="torn end"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_few_lines_are_those_of_many(tmp_path, text):
    file = tmp_path / "lines.jsonl"
    file.write_text(text, newline="")
    assert list(sample_lines(file)) == list(SampleLines(file).ordered())
