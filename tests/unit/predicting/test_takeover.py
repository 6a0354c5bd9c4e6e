"""Answers of earlier predictions are kept where what would be sent is what was sent for them."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import SampleError
from pytest_evalrun.predicting.takeover import LINES, take_over
from pytest_evalrun.predicting.work import PairWork
from pytest_evalrun.rundir.aside import OLD, STALE, earlier_predictions, set_aside
from pytest_evalrun.rundir.markers import write_fingerprint
from pytest_evalrun.rundir.predictions import Line, PredictionsFile


class Sends:
    """What would be sent of a sample is its input, and one answer of several is drawn for itself."""

    def digest(self, sample):
        if sample.input == "unreadable":
            raise SampleError("unreadable")
        return f"{sample.input}" if not sample.generation else f"{sample.input} {sample.generation}"


def old_line(index, sent, answer, **more):
    """A line of an endpoint that gives its requests no ids: they are told apart by how long they took."""
    seconds, detail = index + 0.5, {"digest": sent, "finish_reason": "stop"}
    return Line(index, f"old{index}", "ok", answer, "old", None, seconds, detail, **more)


def questions(inputs, each=1):
    return [Sample(i, f"s{i}", value, f"r{i}", g) for i, value in enumerate(inputs) for g in range(each)]


@pytest.fixture
def pair_of(shop, context):
    """``pair_of(count, **words)``: the work of a pair, its open file in it."""

    def make(count, **words):
        pair = shop.pair("m", **words)
        paths = context.paths.pair(pair.key)
        progress = PredictionsFile(paths.predictions, words.get("generations", 1)).open(context.disk, count)
        return PairWork(pair, paths, progress, context, range(count))

    return make


@pytest.fixture
def old(tmp_path):
    """``old(*lines)``: a file of lines, or of raw bytes."""

    def write(*lines, name="old.jsonl"):
        file = tmp_path / name
        file.write_bytes(b"".join(line if isinstance(line, bytes) else line.dumps() for line in lines))
        return file

    return write


def kept(work):
    """Index → what was kept for it."""
    return {line.index: line.prediction for line in work.progress.ordered()}


def test_lines_are_those_of_today(pair_of, old):
    """The answer and what was told of it stay; index, id and reference are the sample's own."""
    work = pair_of(3)
    file = old(old_line(7, "a", "A", blanked=True), old_line(8, "b", "B"))
    assert take_over(work, Sends(), questions(["new", "b", "a"]), [file]) == 2
    b, a = work.progress.ordered()
    assert a == Line(2, "s2", "ok", "A", "r2", None, 7.5, {"digest": "a", "finish_reason": "stop"}, blanked=True)
    assert (b.index, b.id, b.reference, b.prediction) == (1, "s1", "r1", "B")


USELESS = {
    "failed": json.dumps({**old_line(0, "a", None)._asdict(), "status": "failed", "generation": None}).encode() + b"\n",
    "torn": old_line(0, "a", "A").dumps()[:-9],
    "without an end": old_line(0, "a", "A").dumps()[:-1],
    "without a digest": Line(0, "s", "ok", "a", "a", None, 0.5).dumps(),
    "of another format": b'{"index":0,"status":"ok","detail":{"digest":"a"},"later":1}\n',
    "no object": b'["digest":"a"]\n',
}


@pytest.mark.parametrize("raw", USELESS.values(), ids=USELESS)
def test_lines_that_are_of_no_use(pair_of, old, raw):
    """What failed is asked again, and what is damaged is no answer."""
    work = pair_of(1)
    assert take_over(work, Sends(), questions(["a"]), [old(raw)]) == 0
    assert kept(work) == {}


def test_each_line_is_of_one_sample(pair_of, old):
    """Two samples that ask the same have two answers; where there is one, the other is asked."""
    work = pair_of(4)
    take_over(
        work, Sends(), questions(["a", "b", "a", "a"]), [old(old_line(0, "a", 1)), old(old_line(5, "a", 2), name="2")]
    )
    assert kept(work) == {0: 1, 2: 2}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abcd")), st.data())
def test_no_answer_is_lost_and_none_is_had_twice(pair_of, old, sent, wanted, data):
    """Of each question as many answers are taken over as there are, or as there are samples that ask it."""
    work = pair_of(len(wanted))
    work.paths.predictions.unlink(missing_ok=True)
    work = pair_of(len(wanted))
    lines = [old_line(i, question, i) for i, question in enumerate(sent)]
    half = data.draw(st.integers(0, len(lines)))
    taken = take_over(work, Sends(), questions(wanted), [old(*lines[:half]), old(*lines[half:], name="2")])
    assert Counter(wanted[i] for i in kept(work)) == Counter(sent) & Counter(wanted)
    assert len(set(kept(work).values())) == taken
    assert all(sent[answer] == wanted[i] for i, answer in kept(work).items())
    work.progress.close()


def test_a_line_that_was_taken_over_before_is_one(pair_of, old):
    """It lies in both files, and is the answer of one sample."""
    work = pair_of(2)
    again = old_line(3, "a", "A")._replace(index=9, id="other", reference="other")
    assert take_over(work, Sends(), questions(["a", "a"]), [old(old_line(3, "a", "A")), old(again, name="2")]) == 1


def test_answers_to_one_sample_are_told_apart(pair_of, old):
    """Each of several answers is found by what was sent for it; one that stood alone is the first of them."""
    work = pair_of(4, generations=2)
    file = old(old_line(0, "a", "only"), old_line(4, "b 1", "second", generation=1))
    assert take_over(work, Sends(), questions(["a", "b"], each=2), [file]) == 2
    assert [(line.id, line.generation, line.prediction) for line in work.progress.ordered()] == [
        ("s0", 0, "only"),
        ("s1", 1, "second"),
    ]


def test_samples_without_a_prompt_are_passed_over(pair_of, old):
    """They fail when they are asked, and no other sample with them."""
    work = pair_of(2)
    assert take_over(work, Sends(), questions(["unreadable", "a"]), [old(old_line(0, "a", "A"))]) == 1


def test_a_second_time_everybody_finds_what_it_found(pair_of, old):
    """Killed in the middle, what was kept is kept, and no line is given twice."""
    count = 3 * LINES
    inputs = ["same" if i % 2 else f"q{i}" for i in range(count)]
    file = old(*[old_line(i, value, i) for i, value in enumerate(inputs) if i != 5])
    work = pair_of(count)
    whole = take_over(work, Sends(), questions(inputs), [file])
    wanted = kept(work)
    work.progress.close()
    work.paths.predictions.unlink()

    work = pair_of(count)
    looks = iter([None, KeyboardInterrupt()])

    def look():
        if error := next(looks):
            raise error

    context = SimpleNamespace(check_launcher=look)
    dying = PairWork(work.pair, work.paths, work.progress, context, work.positions)
    with pytest.raises(KeyboardInterrupt):
        take_over(dying, Sends(), questions(inputs), [file])
    assert work.progress.done_count == 2 * LINES
    assert take_over(work, Sends(), questions(inputs), [file]) == whole - 2 * LINES
    assert kept(work) == wanted
    assert len(set(wanted.values())) == len(wanted) == count - 1


def test_what_was_asked_meanwhile_stays(pair_of, old):
    """A sample that is done is done; its line of before is given to nobody else."""
    work = pair_of(2)
    work.progress.append([Line(0, "s0", "ok", "asked", "r0", None, 0.1)])
    assert take_over(work, Sends(), questions(["a", "a"]), [old(old_line(0, "a", 1), old_line(1, "a", 2))]) == 1
    assert kept(work) == {0: "asked", 1: 2}


def test_where_earlier_predictions_lie(shop, context):
    """Put aside, of shards, of first samples and of all; nothing that is older than what was made again on purpose."""
    pair = shop.pair("m")
    paths = context.paths.pair(pair.key)

    def predict(name, parts):
        file = PredictionsFile(paths.predictions).open(context.disk, 1)
        file.append([old_line(0, name, name)])
        file.close()
        write_fingerprint(context.disk, paths.fingerprint, parts, "launch")

    def found(limit=None):
        return [
            file.read_text().partition('"digest":"')[2][0]
            for file in earlier_predictions(context.paths.pair(pair.key.limited(limit)))
        ]

    predict("a", {"inputs": "1"})
    assert found() == []
    assert found(3) == ["a"]
    set_aside(paths, STALE)
    predict("b", {"inputs": "2"})
    assert found() == ["a"]
    assert found(3) == ["b", "a"]
    shards = paths.shard_predictions.with_name(paths.shard_predictions.name + STALE)
    shards.mkdir()
    (shards / "0-5.jsonl").write_bytes(old_line(0, "s", "s").dumps())
    (paths.predictions.parent / f"{pair.dataset.name}.limit-5.scores.jsonl").write_bytes(b"")
    assert found() == ["a", "s"]
    set_aside(paths, OLD)
    assert found() == []
    predict("c", {"inputs": "3"})
    set_aside(paths, STALE)
    assert found() == ["c"]
    assert found(3) == ["c", "s"]
