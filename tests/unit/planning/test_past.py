"""The history read from its end: newest first, no further than needed, whatever else stands in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.planning import past
from pytest_evalrun.planning.past import newest_lines, read_past


def test_the_newest_evaluation_counts(bench):
    """What a pair took last time is more like today than what it took before."""
    bench.remember("m/d", predict=80)
    bench.remember("m/d", predict=9)
    bench.remember("m/other", predict=3)
    found = read_past(bench.work.history, ["s/m/d"])
    assert found.pairs["s/m/d"].seconds(None) == pytest.approx(10)


def test_an_evaluation_that_was_carried_on_is_scaled_to_the_whole(bench):
    """Of 100 samples 75 were there already: all of them would have taken four times what 25 took."""
    bench.remember("m/d", predict=8, count=100, reused=75, score=1)
    found = read_past(bench.work.history, ["s/m/d"])
    assert found.pairs["s/m/d"].seconds(None) == pytest.approx(4 * 8 + 1)


def test_of_what_asked_nothing_the_usual_sample_tells(bench):
    """Only scored again, or predicted by shards: what predicting took stands with the samples."""
    bench.remember("m/d", load=5, predict=300)
    bench.remember("m/d", predict=0, reused=100, p50=0.02)
    found = read_past(bench.work.history, ["s/m/d"])
    assert (found.pairs["s/m/d"].seconds(None), found.loads) == (pytest.approx(3), {"s/m": 5})


def test_first_samples_tell_only_of_what_was_never_whole(bench):
    """Newer ones than the last whole evaluation, too; their pace is scaled to all of them."""
    bench.remember("m/whole", predict=9)
    bench.remember("m/whole", predict=90, count=10, total=100, limit=10)
    bench.remember("m/quick", predict=1, score=0, count=10, total=100, limit=10)
    found = read_past(bench.work.history, ["s/m/whole", "s/m/quick"])
    assert {name: one.seconds(None) for name, one in found.pairs.items()} == {
        "s/m/whole": pytest.approx(10),
        "s/m/quick": pytest.approx(10),
    }


def test_of_what_asked_nothing_the_throughput_tells(bench):
    """Where that is known, p50 is what somebody waited for a whole batch; where it is not, an older line tells."""
    bench.remember("m/d", predict=0, reused=100, p50=5.0, throughput=50.0)
    assert read_past(bench.work.history, ["s/m/d"]).pairs["s/m/d"].seconds(None) == pytest.approx(3)
    bench.remember("m/d", predict=0, reused=100, p50=5.0, throughput=None)
    assert read_past(bench.work.history, ["s/m/d"]).pairs["s/m/d"].seconds(None) == pytest.approx(3)


def test_the_load_is_the_models_and_no_part_of_a_pairs_seconds(bench):
    """Whoever came first paid it, long ago for some; the newest that is known holds for all of the model."""
    bench.remember("m/a", load=50)
    bench.remember("m/a", load=5)
    bench.remember("m/b")
    found = read_past(bench.work.history, ["s/m/b"])
    assert (found.pairs["s/m/b"].seconds(None), found.loads) == (pytest.approx(10), {"s/m": 5})


def test_lines_that_others_wrote_or_tore_are_passed_over(bench):
    """A history is a file that anybody can write to; nothing in it ends a launch."""
    bench.remember("m/d", predict=9)
    strange = [
        {"pair": "s/m/d"},
        {"pair": "s/m/d", "samples": [], "seconds": 3},
        {"pair": "s/m/d", "samples": {"predicted": "9"}, "seconds": {"total": None}},
        {"pair": "s/m/d", "samples": {"predicted": float("nan")}, "seconds": {"total": float("inf")}},
        {"pair": "s/m/d", "samples": {"predicted": 10**400, "total": 1}, "seconds": {"total": -1}},
        {"pair": 7},
        ["pair"],
    ]
    bench.write("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in strange))
    bench.write('\n\0\0\n{"pair":"s/m/d","sam\n{"pair":"s/m/\\q"}\n{"pair":"s/m/d"')
    with bench.work.history.open("ab") as file:
        file.write(b'\n{"pair":"\xff"}\n{"pair":"s/m/d"')
    assert read_past(bench.work.history, ["s/m/d"]).pairs["s/m/d"].seconds(None) == pytest.approx(10)


@pytest.mark.parametrize("style", [{"separators": (",", ":")}, {"indent": None, "sort_keys": True}])
def test_lines_are_understood_however_they_are_set(bench, style):
    """Spaces and the order of keys belong to whoever wrote the line."""
    bench.remember("m/d")
    entry = json.loads(bench.work.history.read_text())
    bench.work.history.write_text(json.dumps({"time": "now", **entry}, **style) + "\n")
    assert read_past(bench.work.history, ["s/m/d"]).pairs["s/m/d"].seconds(None) == pytest.approx(10)


def test_a_name_in_any_script_is_found(bench):
    """Names stand in the history as they are, quotes and backslashes escaped."""
    bench.remember('任务 "1"/d\\e')
    assert set(read_past(bench.work.history, ['s/任务 "1"/d\\e']).pairs) == {'s/任务 "1"/d\\e'}


def test_reading_ends_where_all_is_known(bench, monkeypatch):
    """A million older lines cost nothing, and neither do lines of pairs that have nothing to do with ours."""
    bench.remember("m/d", predict=80, load=9)
    bench.remember("m/d", load=5)
    bench.remember("other/thing")
    read = []
    entry = past._entry
    monkeypatch.setattr(past, "_entry", lambda line: read.append(line) or entry(line))
    read_past(bench.work.history, ["s/m/d"])
    assert len(list(filter(None, read))) == 1


def test_a_history_without_end_is_left_unread(bench, monkeypatch):
    """Something that was never measured must not make every start read all of the past."""
    bench.remember("m/d")
    for _ in range(20):
        bench.remember("m/other")
    monkeypatch.setattr(past, "BLOCK", 256)
    assert len(list(newest_lines(bench.work.history, most=1024))) < 20
    assert len(list(newest_lines(bench.work.history))) == 22  # what follows the last line end is one too


def test_no_history_is_an_empty_past(tmp_path):
    """Before the first evaluation nothing is known, and that is no error."""
    found = read_past(tmp_path / "history.jsonl", ["s/m/d"])
    assert (found.pairs, found.loads) == ({}, {})


@given(
    lines=st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=20),
    block=st.integers(1, 50),
)
def test_blocks_cut_no_line(tmp_path_factory, lines, block):
    """Wherever a block begins, the lines are those of the file, backwards."""
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(b"\n".join(lines))
    before, past.BLOCK = past.BLOCK, block
    try:
        assert list(newest_lines(path)) == b"\n".join(lines).split(b"\n")[::-1]
    finally:
        past.BLOCK = before
