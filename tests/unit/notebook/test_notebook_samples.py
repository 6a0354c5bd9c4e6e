"""The samples of a pair as a DataFrame: the same as every other reader of them sees."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pandas as pd
import pytest

from pytest_evalrun.errors import ConfigError, EvalrunWarning, PairError
from pytest_evalrun.notebook.samples import samples_of
from pytest_evalrun.report import samplecolumns
from pytest_evalrun.report.records import records
from pytest_evalrun.report.samplecolumns import read_columns
from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.rundir.samplelines import SampleLines
from pytest_evalrun.suite.pairs import PairKey


def frame_of_pair(hand, inputs=None, *, live=False):
    problems: list[str] = []
    inputs = Inputs() if inputs is None else inputs
    frame = samples_of(hand.paths.pair(hand.key("s", "t", "d")), None, inputs, problems, live=live)
    return frame, problems


@pytest.mark.parametrize("generations", [1, 3])
def test_it_says_what_records_say(hand, generations):
    """Whatever order lines lie in, however often an answer is there: the last one of each, in dataset order."""
    chance = random.Random(generations)
    places = [(i, g) for i in range(20) for g in range(generations)]
    written = [*chance.sample(places, len(places)), *chance.sample(places, 10)]
    lines = [
        hand.line((i, f"p{n}", f"r{i}")) | ({"generation": g} if generations > 1 else {})
        for n, (i, g) in enumerate(written)
    ]
    hand.predictions("s", "t", "d", lines)
    scored = chance.sample(places, 15)
    hand.scores("s", "t", "d", [{"index": i, "generation": g, "top1": i % 2, "answer": f"a{i}"} for i, g in scored])
    frame, problems = frame_of_pair(hand)
    found = list(records(hand.paths.pair(hand.key("s", "t", "d"))))
    assert problems == []
    assert len(found) == len(frame) == len(places)
    for record, row in zip(found, frame.itertuples(index=False), strict=True):
        generation = None if pd.isna(row.generation) else row.generation
        assert (record.index, record.id, record.generation) == (row.index, row.id, generation)
        assert (record.prediction, record.reference, record.answer) == (row.prediction, row.reference, row.answer)
    scores = [None if pd.isna(score) else score for score in frame["score.top1"]]
    assert scores == [record.scores.get("top1") for record in found]


def test_values_are_of_the_kinds_of_json(hand):
    """Predictions stay what they are; a failed sample has a reason, and no score."""
    failed = hand.line((3, None, 1)) | {"status": "failed", "error": "OSError: gone", "seconds": None}
    hand.predictions("s", "t", "d", [(0, "x", 1), (1, {"a": [1]}, [1, 2]), (2, 3.5, True), failed])
    hand.scores("s", "t", "d", [{"index": i, "mae": 0.5, "no_answer": "empty"} for i in range(3)])
    frame, _ = frame_of_pair(hand)
    assert frame["prediction"].tolist() == ["x", {"a": [1]}, 3.5, None]
    assert frame["reference"].tolist() == [1, [1, 2], True, 1]
    assert frame["status"].tolist() == ["ok", "ok", "ok", "failed"]
    assert frame["error"].isna().tolist() == [True, True, True, False]
    assert frame["seconds"].sum() == pytest.approx(0.03)
    assert frame["score.mae"].isna().tolist() == [False, False, False, True]
    assert frame["no_answer"].tolist()[:3] == ["empty"] * 3


def test_what_lines_of_scores_have_besides_is_no_score(hand):
    """Which cluster a sample is of, and what it adds to a value of the corpus: to frames and records no metric."""
    hand.predictions("s", "t", "d", [(0, "a", "a"), (1, "b", "a")])
    told = [{"index": i, "macro_f1": 1 - i, "cluster": "7", "statistic": {"macro_f1": ["a", "a"]}} for i in range(2)]
    hand.scores("s", "t", "d", told)
    frame, problems = frame_of_pair(hand)
    assert (problems, [name for name in frame if name.startswith("score.")]) == ([], ["score.macro_f1"])
    found = records(hand.paths.pair(hand.key("s", "t", "d")))
    assert [record.scores for record in found] == [{"macro_f1": 1}, {"macro_f1": 0}]


def test_scores_are_in_the_order_of_the_result(hand, run):
    """Metrics as the suite names them; one that scores no single samples has no column."""
    hand.result("s", "t", "d", metrics={"top1": 1.0, "macro_f1": 0.9, "mae": 0.1})
    hand.predictions("s", "t", "d", [(0, 1, 1)])
    hand.scores("s", "t", "d", [{"index": 0, "other": 1, "mae": 2, "top1": 0.0}])
    assert [name for name in run.samples("t/d") if name.startswith("score.")] == [
        "score.top1",
        "score.mae",
        "score.other",
    ]


@pytest.mark.parametrize("live", [False, True])
def test_a_torn_end_is_damage_unless_it_is_being_written(hand, live):
    """What a living session has not finished is nobody's trouble."""
    hand.predictions("s", "t", "d", [(0, 1, 1)], tail='{"index": 1, "id"')
    frame, problems = frame_of_pair(hand, live=live)
    assert frame["index"].tolist() == [0]
    assert [problem.endswith("its end is torn; the rest is shown") for problem in problems] == ([] if live else [True])


def test_damaged_lines_cost_themselves_and_are_named(hand, run):
    """A warning names the file and the first of them."""
    hand.result("s", "t", "d", metrics={"top1": 1.0})
    hand.predictions("s", "t", "d", [(0, 1, 1), {"index": "x"}, (1, 1, 1), {"index": -1}, (2, 1, 1)])
    with pytest.warns(EvalrunWarning, match=r"d\.jsonl: line 2 cannot be read and 1 more; the rest is shown"):
        frame = run.samples("t/d")
    assert frame["index"].tolist() == [0, 1, 2]


def test_scores_that_cannot_be_read_cost_the_scores(hand, run):
    """The predictions are shown without them."""
    hand.result("s", "t", "d")
    hand.predictions("s", "t", "d", [(0, 1, 1)])
    hand.paths.pair(hand.key("s", "t", "d")).scores.mkdir()
    with pytest.warns(EvalrunWarning, match=r"scores\.jsonl: it is no file; the rest is shown"):
        frame = run.samples("t/d")
    assert frame["prediction"].tolist() == [1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        '{"index": 0}\n[1]\n{"index": 1e3}\n',
        "\0\0\n\xff\xfe\n",
        '{"index": 0, "x": 123456789012345678901234567890}\n',
        '{"index": 0, "x": NaN}\n{"index": 3, "x": "\\ud800"}\n',
        '{"index": 0, "x": ' + "[" * 300 + "]" * 300 + "}\n",
        '{"index": 9, "y": 1}\n{"index": 9, "x": 2}\n',
        '{"index": 99999999999, "x": 1}\n{"index": true}\n{"index": 0, "generation": null}\n',
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 512])
def test_columns_are_those_of_the_careful_reader(tmp_path, monkeypatch, text, chunk):
    """A few lines at a time or one by one: they agree on what is a line, and on what it says."""
    monkeypatch.setattr(samplecolumns, "CHUNK", chunk)
    path = tmp_path / "lines.jsonl"
    path.write_bytes(text.encode("latin-1") + b'{"index": 2, "id": "b"}\n{"index": 1, "id": "a"}\n')
    careful, found = SampleLines(path), read_columns(path)
    names = ("index", "id", "x", "y")
    rows = list(zip(*map(found.of, names), strict=True))
    assert repr(rows) == repr([tuple(map(line.get, names)) for line in careful.ordered()])
    assert found.broken == careful.broken


@pytest.mark.parametrize(
    ("names", "value", "columns", "cell"),
    [
        pytest.param((), "what?", ["input"], "what?", id="one without a name"),
        pytest.param(("question",), "what?", ["input.question"], "what?", id="one"),
        pytest.param(("a", "b"), {"a": 1, "b": [2]}, ["input.a", "input.b"], 1, id="several"),
        pytest.param((), Path("/data/x.png"), ["input"], "/data/x.png", id="a file"),
        pytest.param(("pixels",), object(), ["input.pixels"], "<object>", id="no value of JSON"),
    ],
)
def test_what_was_asked_stands_beside_it(hand, names, value, columns, cell):
    """A sample that is another one by now has none."""
    hand.predictions("s", "t", "d", [(0, 1, 1), (1, 1, 1)])
    inputs = Inputs(names, lambda: iter([("s0", value), ("another", value)]))
    frame, _ = frame_of_pair(hand, inputs)
    assert [name for name in frame if name.startswith("input")] == columns
    assert frame[columns[0]].tolist() == [cell, None]


def test_inputs_that_end_early_are_told(hand):
    """What of the dataset could be read is shown."""

    def samples():
        yield "s0", "x"
        raise PairError("data.csv: it is gone")

    hand.predictions("s", "t", "d", [(0, 1, 1), (1, 1, 1)])
    inputs = Inputs((), samples)
    frame, _ = frame_of_pair(hand, inputs)
    assert frame["input"].tolist() == ["x", None]
    assert inputs.problems == ["data.csv: it is gone"]


def test_the_words_of_a_judge_stand_beside_its_score(hand, run):
    """In a column of their own, by the metric that it judged for."""
    spec = {"judge": {"use": "judge"}}
    hand.result("s", "t", "d", metrics={"judge": 0.5}, fingerprint={"score": {"metrics": spec}})
    hand.predictions("s", "t", "d", [(0, 1, 1), (1, 1, 1)])
    hand.scores("s", "t", "d", [{"index": 0, "judge": 1.0}, {"index": 1, "judge": None}])
    verdicts = hand.paths.pair(hand.key("s", "t", "d")).judged_verdicts
    hand.write(verdicts, json.dumps(hand.line((1, "GRADE: ?", None))) + "\n")
    frame = run.samples("t/d")
    assert str(frame["judge.judge"].dtype) == "string"
    assert frame["judge.judge"].isna().tolist() == [True, False]
    assert frame["judge.judge"].iloc[1] == "GRADE: ?"


def test_first_samples_are_asked_for_by_their_own_name(hand, run):
    """An evaluation of the first samples is never taken for the whole."""
    hand.result("s", "t", "d")
    hand.predictions("s", "t", "d", [(0, "whole", 1)])
    limited = hand.paths.pair(PairKey("s", "t", "d").limited(1)).predictions
    hand.write(limited, json.dumps(hand.line((0, "first", 1))) + "\n")
    hand.result("s", "t", "d")
    assert run.samples("t/d")["prediction"].tolist() == ["whole"]
    (limited.parent / "d.limit-1.fingerprint.json").write_text("{}")
    assert run.samples("t/d.limit-1")["prediction"].tolist() == ["first"]


def test_an_unknown_pair_names_the_nearest(hand, run):
    """As the command does."""
    hand.result("s", "t", "words")
    with pytest.raises(ConfigError, match="pair t/wrods: not found among 1; nearest: s/t/words"):
        run.samples("t/wrods")
