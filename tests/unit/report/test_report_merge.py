"""All predictions of a run in one table a suite."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.report.merge import COLUMNS, merge_predictions
from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.rundir.samplelines import SampleLines


def rows_of(run, suite="s"):
    with (run.paths.summary / f"{suite}_merged.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_are_merged_in_order(run):
    """Tasks and datasets in natural order, samples in dataset order, values as they are."""
    for task in ("t10", "t2"):
        run.result("s", task, "d", total=2)
        run.predictions("s", task, "d", [(1, "007", 7), (0, {"a": [1]}, True)])
    merge = merge_predictions(run.paths)
    rows = rows_of(run)
    assert tuple(rows[0]) == COLUMNS
    assert [(r["task"], r["index"]) for r in rows] == [("t2", "0"), ("t2", "1"), ("t10", "0"), ("t10", "1")]
    assert [(r["prediction"], r["reference"]) for r in rows[:2]] == [('{"a": [1]}', "true"), ("007", "7")]
    assert merge.total_rows == 4


def test_names_are_raw_names(run):
    """The table has the names that the user gave, not those of files."""
    run.result("s", "org/模型 A", "d", total=1)
    run.predictions("s", "org/模型 A", "d", [(0, 1, 1)])
    merge_predictions(run.paths)
    assert rows_of(run)[0]["task"] == "org/模型 A"


def test_a_pair_without_result_is_merged_too(run):
    """What is predicted so far counts, under the names of its files."""
    run.predictions("s", "t", "d", [(0, 1, 1)])
    merge_predictions(run.paths)
    assert [(r["task"], r["dataset"], r["index"]) for r in rows_of(run)] == [("t", "d", "0")]


def test_missing_and_doubled_samples_are_counted(run):
    """The last line of a sample wins; merge_summary.json names what is missing and doubled."""
    run.result("s", "t", "d", total=6)
    run.predictions("s", "t", "d", [(0, "old", 1), (3, 1, 1), (0, "new", 1)])
    merge_predictions(run.paths)
    assert [row["prediction"] for row in rows_of(run)] == ["new", "1"]
    file = "predictions/s/t/d.jsonl"
    assert {
        "files": [{"file": file, "rows": 2}],
        "total_rows": 2,
        "missing": [{"file": file, "count": 4, "first": [1, 2, 4, 5]}],
        "doubled": [{"file": file, "count": 1, "first": [0]}],
    } == json.loads((run.paths.summary / "merge_summary.json").read_text())


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param('{"index": 1, "id', id="torn"),
        pytest.param('{"index": 1, "id": "s1", "status": "ok"}', id="no line end"),
        pytest.param("\xff\n", id="not JSON"),
        pytest.param('{"index": 999999999999}\n', id="index out of all bounds"),
        pytest.param("[]\n", id="not an object"),
    ],
)
def test_a_broken_line_is_named_and_the_rest_merged(run, tail):
    """One damaged line costs one sample, and the file is left as it is."""
    path = run.predictions("s", "t", "d", [(0, 1, 1)], tail)
    before = path.read_bytes()
    merge = merge_predictions(run.paths)
    assert merge.files[0].broken == ["line 2 cannot be read"]
    assert len(rows_of(run)) == 1
    assert before == path.read_bytes()


def test_what_was_asked_stands_behind_under_its_own_names(run):
    """Every pair of a suite has all columns, empty where it is not asked so, or nobody knows any more."""
    asked = {
        "t1": Inputs(("text", "id"), lambda: iter([("s0", {"text": 'a\rb,"c"', "id": 7}), ("s1", {"text": "x"})])),
        "t2": Inputs((), lambda: iter([("s0", Path("/data/0.png"))])),
        "t3": Inputs(),
    }
    for task in asked:
        run.predictions("s", task, "d", [(0, 1, 1), (1, 2, 2)])
    merge_predictions(run.paths, inputs=lambda suite, task, dataset: asked[task])
    rows = rows_of(run)
    assert tuple(rows[0]) == (*COLUMNS, "text", "input.id", "input")
    assert [(r["task"], r["text"], r["input.id"], r["input"]) for r in rows] == [
        ("t1", 'a\rb,"c"', "7", ""),
        ("t1", "x", "", ""),
        ("t2", "", "", "/data/0.png"),
        ("t2", "", "", ""),
        ("t3", "", "", ""),
        ("t3", "", "", ""),
    ]


def test_inputs_that_cannot_be_read_cost_no_prediction(run):
    """The rows are there, and the merge says what it has not read."""

    def samples():
        yield "s0", "a"
        raise PairError("d.jsonl:2: not a line of JSON")

    run.predictions("s", "t", "d", [(0, 1, 1), (1, 2, 2)])
    merge = merge_predictions(run.paths, inputs=lambda *_: Inputs(("x",), samples))
    assert [row["x"] for row in rows_of(run)] == ["a", ""]
    assert [file.unread for file in merge.files] == ["d.jsonl:2: not a line of JSON"]


def test_one_suite_can_be_chosen(run):
    """By its name; an unknown one is refused with those that are there."""
    run.predictions("a", "t", "d", [(0, 1, 1)])
    run.predictions("b", "t", "d", [(0, 1, 1)])
    merge = merge_predictions(run.paths, "b")
    assert [table.name for table in merge.tables] == ["b_merged.csv"]
    assert not (run.paths.summary / "a_merged.csv").exists()
    with pytest.raises(ConfigError, match=r"suite c: .*it has those of: a, b"):
        merge_predictions(run.paths, "c")


def test_scores_are_no_predictions(run):
    """The per-sample scores beside the predictions are not merged."""
    run.predictions("s", "t", "d", [(0, 1, 1)])
    run.scores("s", "t", "d", [{"index": 0, "top1": 1}])
    assert len(merge_predictions(run.paths).files) == 1


def test_first_samples_are_in_no_table_of_all(run):
    """With a result or without one: they would stand beside the same samples of the whole."""
    run.predictions("s", "t", "d", [(0, 1, 1), (1, 1, 1)])
    for name in ("d.limit-1", "d.limit-2"):
        run.predictions("s", "t", name, [(0, 1, 1)])
    path = run.result("s", "t", "d.limit-1", metrics={"top1": 1.0})
    path.write_text(path.read_text().replace('"d.limit-1"', '"d"'))
    assert [(file.file, file.rows) for file in merge_predictions(run.paths).files] == [("predictions/s/t/d.jsonl", 2)]


def test_nothing_is_left_aside(run):
    """The table is written aside and renamed."""
    run.predictions("s", "t", "d", [(0, 1, 1)])
    merge_predictions(run.paths)
    assert {"s_merged.csv", "merge_summary.json"} == {path.name for path in run.paths.summary.iterdir()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 40), max_size=60))
def test_any_order_of_lines_reads_as_dataset_order(tmp_path, indexes):
    """Exactly one line an index, ascending, and it is the last one of that index."""
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps({"index": index, "at": at}) + "\n" for at, index in enumerate(indexes)))
    lines = SampleLines(path)
    found = [(line["index"], line["at"]) for line in lines.ordered()]
    last = {index: at for at, index in enumerate(indexes)}
    assert sorted(last.items()) == found
    assert (len(last), len(indexes) - len(last)) == (lines.rows, lines.doubled)
    assert [i for i in range(41) if i not in last] == list(lines.missing(41))


def test_what_is_appended_meanwhile_is_not_read(run):
    """A live session may append: a file is read as it was when it was opened."""
    path = run.predictions("s", "t", "d", [(0, 1, 1)])
    lines = SampleLines(path)
    with path.open("a") as file:
        file.write(json.dumps(run.line((1, 1, 1))) + "\n")
    assert [line["index"] for line in lines.ordered()] == [0]
