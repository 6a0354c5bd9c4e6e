"""Predictions: every line that survived counts, and nothing else does."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.predictions import (
    FEW_BYTES,
    FEW_LINES,
    REWRITE_LINES,
    Line,
    PredictionsFile,
    Tally,
    parse_line,
)

COUNT = 12


@pytest.fixture
def disk():
    disk = Disk(interval=3600)
    yield disk
    disk.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "predictions" / "任务 $(x)" / "a.jsonl"


def ok(index: int, prediction: object = "p") -> Line:
    return Line(index, f"s{index}", "ok", prediction, "r", None, 0.25)


def failed(index: int) -> Line:
    return Line(index, f"s{index}", "failed", None, "r", "ValueError: no", None)


def write(path: Path, *lines: Line | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(line.dumps() if isinstance(line, Line) else line for line in lines))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
LINES = st.builds(
    Line,
    index=st.integers(0, COUNT - 1),
    id=st.text(),
    status=st.sampled_from(["ok", "failed"]),
    prediction=VALUES,
    reference=VALUES,
    error=st.none() | st.text(),
    seconds=st.none() | st.floats(0, 1e6),
    detail=st.none() | st.dictionaries(st.text(), VALUES, max_size=2),
    generation=st.none() | st.integers(0, 2),
)


def test_line_is_the_contracts() -> None:
    """A line has the keys of the contract in their order, in compact JSON with letters as they are."""
    line = Line(3, "图", "ok", {"file": "a.png", "size": 3, "sha256": "ab"}, 1, None, 0.5)
    assert line.dumps().decode() == (
        '{"index":3,"id":"图","status":"ok","prediction":{"file":"a.png","size":3,"sha256":"ab"},'
        '"reference":1,"error":null,"seconds":0.5}\n'
    )


@given(LINES)
def test_line_survives(line: Line) -> None:
    """Parsing is the inverse of dumping, for any text and any JSON value; a line is one line."""
    raw = line.dumps()
    assert raw.count(b"\n") == 1
    each = 1 if line.generation is None else 3
    assert parse_line(raw, COUNT * each, each) == line
    assert parse_line(raw, COUNT * 4, 4 - each) is None, "of another number of answers it is no line"


def test_id_that_is_no_utf8_survives() -> None:
    """A file name of foreign bytes is an id like any other."""
    line = ok(1)._replace(id="\udcff")
    assert parse_line(line.dumps(), COUNT) == line


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, object()], ids=["nan", "infinity", "set", "object"]
)
def test_value_that_json_lacks_is_refused(path: Path, disk: Disk, value: object) -> None:
    """Nothing of a batch is written when one of its values cannot be, and the sample is named."""
    progress = PredictionsFile(path).open(disk, COUNT)
    with pytest.raises(PairError, match="sample s1"):
        progress.append([ok(0), ok(1, value)])
    assert progress.done_count == 0
    assert not path.exists()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="blank"),
        pytest.param(b"\0\0\0\n", id="zeros"),
        pytest.param(b"\xff\n", id="no utf-8"),
        pytest.param(b"[]\n", id="list"),
        pytest.param(b"null\n", id="null"),
        pytest.param(ok(1).dumps()[:-1], id="no newline"),
        pytest.param(ok(1).dumps()[:-2] + b"\n", id="cut"),
        pytest.param(ok(1).dumps()[5:], id="head missing"),
        pytest.param(ok(-1).dumps(), id="index below"),
        pytest.param(ok(COUNT).dumps(), id="index above"),
        pytest.param(ok(1).dumps().replace(b":1,", b":true,", 1), id="bool index"),
        pytest.param(ok(1).dumps().replace(b'"ok"', b'"fine"'), id="unknown status"),
        pytest.param(ok(1).dumps().replace(b'"s1"', b"1"), id="id no text"),
        pytest.param(ok(1).dumps().replace(b'"id"', b'"di"'), id="unknown key"),
    ],
)
def test_unsound_line_is_none(raw: bytes) -> None:
    """What is not a whole line of a sample of this dataset is nothing."""
    assert parse_line(raw, COUNT) is None


@given(st.lists(st.tuples(st.integers(0, COUNT - 1), st.booleans()), max_size=40))
def test_tally_counts_the_last_line_of_each(notes: list[tuple[int, bool]]) -> None:
    """Bits and counts agree with a dictionary of the last lines."""
    tally = Tally(COUNT)
    for index, good in notes:
        tally.note(index, good)
    last = dict(notes)
    assert [tally.is_done(i) for i in range(COUNT)] == [last.get(i, False) for i in range(COUNT)]
    assert tally.done_count == sum(last.values())
    assert tally.failed_count == len(last) - sum(last.values())
    indexes = [index for index, _ in notes]
    assert tally.in_order == (indexes == sorted(set(indexes)))


@pytest.mark.parametrize("index", [-1, COUNT])
def test_sample_out_of_range_is_refused(path: Path, disk: Disk, index: int) -> None:
    """An index that the dataset does not have is a mistake of the caller, and nothing is written."""
    progress = PredictionsFile(path).open(disk, COUNT)
    with pytest.raises(IndexError, match=f"answer {index} of {COUNT}"):
        progress.is_done(index)
    with pytest.raises(IndexError):
        progress.append([ok(0), ok(index)])
    assert not path.exists()


@settings(deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, COUNT - 1), st.booleans()), min_size=1, max_size=4), max_size=6),
    st.integers(0, 10_000),
    st.sampled_from([b"", b"\0\0\0\0", b"\0\n"]),
)
def test_any_crash_leaves_what_was_whole(batches: list[list[tuple[int, bool]]], cut: int, garbage: bytes) -> None:
    """Cut at any byte: what survived is exactly the whole lines, and the file carries on from there."""
    with tempfile.TemporaryDirectory() as directory:
        path, disk = Path(directory) / "a.jsonl", Disk(interval=3600)
        progress = PredictionsFile(path).open(disk, COUNT)
        for batch in batches:
            progress.append([ok(i) if good else failed(i) for i, good in batch])
        progress.close()
        content = path.read_bytes() if batches else b""
        kept = content[: cut % (len(content) + 1)]
        path.write_bytes(kept + garbage)

        notes = [note for batch in batches for note in batch][: kept.count(b"\n")]
        last = dict(notes)
        assert PredictionsFile(path).peek(COUNT).done_count == sum(last.values())
        assert path.read_bytes() == kept + garbage, "a look changes nothing"
        progress = PredictionsFile(path).open(disk, COUNT)
        whole = kept[: kept.rfind(b"\n") + 1]
        assert path.read_bytes() == whole
        assert (progress.repaired is None) == (whole == kept + garbage)
        assert [progress.is_done(i) for i in range(COUNT)] == [last.get(i, False) for i in range(COUNT)]
        assert progress.failed_count == len(last) - sum(last.values())

        missing = [i for i in range(COUNT) if not progress.is_done(i)]
        progress.append([ok(i, "again") for i in missing])
        expected = [ok(i, "again" if i in missing else "p") for i in range(COUNT)]
        assert list(progress.ordered()) == expected
        progress.rewrite(disk, progress.ordered())
        assert list(progress.ordered()) == expected
        assert path.read_bytes() == b"".join(line.dumps() for line in expected)
        assert (progress.in_order, progress.done_count) == (True, COUNT)
        progress.close()
        disk.close()


def test_damaged_lines_in_the_middle_are_ignored(path: Path, disk: Disk) -> None:
    """Their samples are asked again; the rest counts, and the damage is told with the torn end."""
    write(path, ok(0), b'{"index":1,\n', b"\xff\n", ok(2), ok(3).dumps()[:9])
    progress = PredictionsFile(path).open(disk, COUNT)
    assert progress.repaired == (
        "a.jsonl: a torn end (9 bytes) was cut off; 2 damaged lines are ignored, the samples are asked again"
    )
    assert [i for i in range(COUNT) if progress.is_done(i)] == [0, 2]
    assert not progress.in_order, "the file is rewritten when the pair is complete"
    progress.append([ok(1)])
    assert [line.index for line in progress.ordered()] == [0, 1, 2]
    progress.close()


def test_one_damaged_line_is_told_in_the_singular(path: Path, disk: Disk) -> None:
    """Texts are for people."""
    write(path, b"x\n", ok(2))
    assert "1 damaged line is ignored" in PredictionsFile(path).open(disk, COUNT).repaired


def test_samples_that_failed_are_asked_again(path: Path, disk: Disk) -> None:
    """A failed line is kept with its reason, and is not done; the last line of a sample wins."""
    progress = PredictionsFile(path).open(disk, COUNT)
    progress.append([ok(0), failed(1)])
    progress.append([])
    assert (progress.done_count, progress.failed_count, progress.is_done(1)) == (1, 1, False)
    progress.close()
    progress = PredictionsFile(path).open(disk, COUNT)
    assert (progress.done_count, progress.failed_count, progress.repaired) == (1, 1, None)
    assert list(progress.ordered()) == [ok(0), failed(1)]
    progress.append([ok(1)])
    assert (progress.done_count, progress.failed_count, progress.in_order) == (2, 0, False)
    assert list(progress.ordered()) == [ok(0), ok(1)]
    progress.close()


def test_full_disk_loses_only_the_batch_at_hand(path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a batch that a full disk took disturbs nothing: its samples are asked again."""
    progress = PredictionsFile(path).open(disk, COUNT)
    progress.append([ok(0), ok(1)])
    write_bytes = os.write

    def half(fd: int, data: bytes) -> int:
        write_bytes(fd, data[: len(data) // 2 + 10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        progress.append([ok(2), ok(3)])
    monkeypatch.undo()
    assert progress.done_count == 2
    progress.append([ok(2, "again"), ok(3, "again")])
    assert list(progress.ordered()) == [ok(0), ok(1), ok(2, "again"), ok(3, "again")]
    progress.close()
    assert list(PredictionsFile(path).open(disk, COUNT).ordered())[2:] == [ok(2, "again"), ok(3, "again")]


def test_rewrite_changes_lines_in_one_step(path: Path, disk: Disk) -> None:
    """New references come into a long file by way of a new one; when that fails, the old one stays."""
    count = REWRITE_LINES + 3
    progress = PredictionsFile(path).open(disk, count)
    progress.append([ok(i) for i in reversed(range(count))])
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        progress.rewrite(disk, (line._replace(seconds=1 / (300 - line.index - 50)) for line in progress.ordered()))
    assert path.read_bytes() == before
    assert not progress.in_order
    progress.rewrite(disk, (line._replace(reference="new") for line in progress.ordered()))
    assert [json.loads(line)["reference"] for line in path.read_text().splitlines()] == ["new"] * count
    progress.append([failed(0)])
    assert (progress.done_count, progress.in_order) == (count - 1, False)
    progress.close()


def test_nothing_predicted_is_nothing_to_read(path: Path, disk: Disk) -> None:
    """Where there is no file, opening makes none, and there are no lines."""
    progress = PredictionsFile(path).open(disk, 0)
    assert list(progress.ordered()) == []
    assert (progress.done_count, progress.in_order, path.exists()) == (0, True, False)
    progress.close()


def test_a_line_says_that_it_was_blanked() -> None:
    """Only where it was: all other lines are as they ever were."""
    line = Line(0, "a", "ok", "***", None, None, 0.5, blanked=True)
    assert json.loads(line.dumps())["blanked"] is True
    assert parse_line(line.dumps(), 1) == line
    assert "blanked" not in json.loads(line._replace(blanked=False).dumps())


class Answer(str):
    """A text of a model's own class."""

    __slots__ = ()


ANSWERS = VALUES | st.builds(Answer, st.text()) | st.tuples(VALUES) | st.just({1: "a"}) | st.just("\udcff")


@given(st.lists(st.tuples(st.integers(0, COUNT - 1), ANSWERS, st.booleans()), max_size=8), st.integers(1, 4))
def test_few_lines_are_what_the_file_would_give(rows: list[tuple[int, object, bool]], size: int) -> None:
    """Whoever reads them right after they were made gets the last line of each sample, in types too."""
    with tempfile.TemporaryDirectory() as directory:
        file, disk = PredictionsFile(Path(directory, "a.jsonl")), Disk(interval=3600)
        progress = file.open(disk, COUNT)
        lines = [ok(index, value) if good else failed(index) for index, value, good in rows]
        for start in range(0, len(lines), size):
            progress.append(lines[start : start + size])
        read = repr(list(file.open(disk, COUNT).ordered()))
        assert [repr(list(progress.ordered())) for _ in range(2)] == [read] * 2
        progress.close()
        disk.close()


def test_memory_holds_few_and_small_lines(path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of samples, or of bytes, lines are read from the file; below, the file is not opened."""
    progress = PredictionsFile(path).open(disk, 2)
    progress.append([ok(0), ok(1)])
    large = PredictionsFile(path.with_name("large")).open(disk, 2)
    large.append([ok(0, "x" * FEW_BYTES), ok(1)])
    many = PredictionsFile(path.with_name("many")).open(disk, FEW_LINES + 1)
    many.append([ok(0)])
    monkeypatch.setattr("pytest_evalrun.rundir.predictions.open_file", lambda path: pytest.fail("opened"))
    assert list(progress.ordered()) == [ok(0), ok(1)]
    for read in (progress, large, many):  # a second time lines are read, too
        with pytest.raises(pytest.fail.Exception, match="opened"):
            list(read.ordered())
