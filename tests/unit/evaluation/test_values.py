"""One value through every reader, every way to answer, every metric and a gate: one rule says what is right."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.pairs import Dataset

METRICS = ("top1", {"topk": {"k": 1}}, "macro_f1", "confusion", "exact_match")
NAMES = ("top1", "topk", "macro_f1", "confusion", "exact_match")
# What is wanted, and an answer that is another: by a digit, by a letter, by a blank.
VALUES = {
    "text": ("cat", "Cat"),
    "number": (3, 4),
    "negative": (-3, 3),
    "decimal": (0.5, 0.25),
    "boolean": (True, False),
    "big integer": (12345678901234567890, 12345678901234567891),
    "beyond 64 bit": (2**70 + 1, 2**70),
    "blank": (" ", ""),
    "empty": ("", " "),
    "blank around": (" cat", "cat"),
    "version": ("3.10", "3.1"),
    "ending in zero": ("1.0", "1"),
    "exponent": ("12E12", "12000000000000"),
    "long exponent": ("47583311587E59", "4.7583311587e+69"),
    "zeros": ("007", "7"),
    "underscore": ("1_000", "1000"),
    "word for no number": ("infinity", "nan and inf"),
    "word for yes": ("yes", "true"),
    "comma and quote": ('a,"b"', "a"),
    "lines": ("two\nlines", "two"),
}
MODEL = """
import json
from pathlib import Path

def predict(batch):
    answers = json.loads((Path(__file__).parent / "answers.json").read_text())
    return [answers[sample.id] for sample in batch]
"""


def written(value):
    """What a program writes into a cell."""
    return value if isinstance(value, str) else json.dumps(value)


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[written(cell) for cell in row] for row in rows])


def write_jsonl(path, header, rows):
    path.write_text("".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows))


@pytest.fixture
def judged(shop, evaluator):
    """``judged(source, way, wanted, answers)``: the evaluation, and the scores of each sample."""

    def dataset(source, wanted):
        rows = [(f"s{i}", value) for i, value in enumerate(wanted)]
        path = shop.root / "data" / f"d.{source}"
        if source == "jsonl":
            write_jsonl(path, ("id", "y"), rows)
        elif source == "csv":
            write_csv(path, [("id", "y"), *rows])
        else:
            path.mkdir()
            for name, _ in rows:
                (path / name).write_text("")
            write_csv(path / "labels.csv", [("id", "label"), *rows])
        return path

    def answering(way, rows):
        if way == "python":
            (shop.root / "answer.py").write_text(MODEL)
            (shop.root / "answers.json").write_text(json.dumps(dict(rows)))
            return {"adapter": "./answer.py:predict"}
        file = shop.root / f"answers.{way}"
        if way == "csv":
            write_csv(file, [("id", "answer"), *rows])
        else:
            write_jsonl(file, ("id", "answer"), rows)
        command = {"adapter": "command", "command": ["cp", "{answers}", "{output}"], "params": {"answers": str(file)}}
        return command | {"results": {way: file.name, "prediction": "answer"}}

    def judge(source, way, wanted, answers):
        settings = answering(way, [(f"s{i}", value) for i, value in enumerate(answers)])
        files = {"labels": "labels.csv", "reference": None, "id_column": None}
        kind = files if source == "files" else {"inputs": ["id"]}
        gates = {name: {"min": 1} for name in NAMES}
        pair = shop.pair(format=source, **{"metrics": METRICS, "gates": gates, "max_batch_size": 50} | kind | settings)
        pair = replace(pair, dataset=Dataset("d", str(dataset(source, wanted))))
        evaluation = evaluator(pair)
        scores = evaluator.context().paths.pair(pair.key).scores.read_text().splitlines()
        lines = [json.loads(line) for line in scores]
        return evaluation, [tuple(line[name] for name in NAMES) for line in lines]

    return judge


@pytest.mark.parametrize("source", ["csv", "jsonl", "files"])
@pytest.mark.parametrize("way", ["python", "csv", "jsonl"])
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_one_rule_for_every_way_that_a_value_takes(judged, source, way, right):
    """Whoever answers what is wanted is right, whoever answers something else is not, whatever either was read from."""
    values = {name: pair for name, pair in VALUES.items() if source == "jsonl" or pair[0] != ""}
    answers = [pair[0] if right else pair[1] for pair in values.values()]
    evaluation, scores = judged(source, way, [pair[0] for pair in values.values()], answers)
    assert dict(zip(values, scores, strict=True)) == dict.fromkeys(values, (float(right),) * len(NAMES))
    assert evaluation.metrics == dict.fromkeys(NAMES, float(right))
    assert len(evaluation.breached) == (0 if right else len(NAMES))


@pytest.mark.parametrize("source", ["csv", "files"])
def test_an_empty_cell_is_a_missing_label(judged, source):
    """CSV cannot tell an empty text from nothing, and a label is needed."""
    with pytest.raises(PairError, match="label missing"):
        judged(source, "python", ["a", ""], ["a", ""])


def test_null_is_a_missing_label(judged):
    """JSON can."""
    with pytest.raises(PairError, match="label missing"):
        judged("jsonl", "python", ["a", None], ["a", ""])
