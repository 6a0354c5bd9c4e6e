"""The summary files of a run, and its matrices on a terminal."""

from __future__ import annotations

import csv
import json

import pytest

from pytest_evalrun.report.plain import selected_lines
from pytest_evalrun.report.results import result_lines
from pytest_evalrun.report.results import tables as tables_in
from pytest_evalrun.report.rows import read_summary
from pytest_evalrun.report.summary import CSV_COLUMNS, render_matrix, write_summary
from pytest_evalrun.report.text import display_width
from pytest_evalrun.rundir.runs import note_skipped

ODD = ["sp ace", "quo\"te's", "$(touch x)", "任务A", "a|b", "x" * 200, "=1+1"]


def rows_of(run):
    with (run.paths.summary / "summary.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def text_of(run, kind):
    return (run.paths.summary / f"summary.{kind}").read_text(encoding="utf-8")


def test_csv_has_one_row_a_pair_and_metric(run, present):
    """The columns are those of the contract, and values are not rounded."""
    run.result("digits", "mlp", "clean", metrics={"top1": 0.9733333333333334, "macro_f1": 0.97})
    write_summary(run.paths, present)
    rows = rows_of(run)
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["metric"] for row in rows] == ["top1", "macro_f1"]
    assert rows[0]["value"] == "0.9733333333333334"
    assert tuple(
        rows[0][name] for name in ("suite", "task", "dataset", "status", "samples", "predicted", "failed", "seconds")
    ) == ("digits", "mlp", "clean", "passed", "10", "10", "0", "0.4")


@pytest.mark.parametrize("status", ["error", "pending", "skipped"])
def test_a_pair_without_metrics_has_a_row(run, present, status):
    """What went wrong is in the table too, with empty values."""
    run.result("s", "t", "d", status=status)
    write_summary(run.paths, present)
    assert [(status, "", "", "")] == [(r["status"], r["metric"], r["value"], r["low"]) for r in rows_of(run)]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_come_through(run, present, name):
    """CSV keeps a name as it is; Markdown shows it on one line."""
    run.result("s", name, "d", metrics={"m": 0.5})
    write_summary(run.paths, present)
    assert name == rows_of(run)[0]["task"]
    lines = text_of(run, "md").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 3
    assert {3} == {line.replace("\\|", "").count("|") for line in table}


def test_rows_are_in_natural_order(run, present):
    """v2 stands before v10, in the CSV and in the matrix."""
    for name in ("v10", "v2", "V1"):
        run.result("s", name, "d", metrics={"m": 0.5})
    summary = write_summary(run.paths, present)
    assert [row["task"] for row in rows_of(run)] == ["V1", "v2", "v10"]
    assert [row.task for row in summary.rows] == ["V1", "v2", "v10"]


def test_matrix_has_means_over_what_was_measured(run, present):
    """A mean over less than its whole row or column says of how many."""
    run.result("s", "a", "x", metrics={"m": 0.5})
    run.result("s", "a", "y", metrics={"m": 0.7})
    run.result("s", "b", "x", metrics={"m": 0.9})
    run.result("s", "b", "y", status="error")
    write_summary(run.paths, present)
    md = text_of(run, "md")
    assert "|  | x | y | mean |" in md
    assert "| a | 0.5000 | 0.7000 | 0.6000 |" in md
    assert "| b | 0.9000 | error | 0.9000 (1 of 2) |" in md
    assert "| mean | 0.7000 | 0.7000 (1 of 2) | 0.7000 (3 of 4) |" in md


def test_one_pair_has_no_means(run, present):
    """A mean over one value would only repeat it."""
    run.result("s", "a", "x", metrics={"m": 0.5})
    write_summary(run.paths, present)
    assert "mean" not in text_of(run, "md")


def test_breached_gates_are_marked(run, present, breach):
    """Only the metric whose gate is breached is marked, and a legend explains the mark."""
    run.result("s", "a", "x", status="failed", metrics={"m": 0.5, "k": 0.9}, gates=[breach("m")])
    write_summary(run.paths, present)
    md = text_of(run, "md")
    assert "| a | 0.5000 ✗ |" in md
    assert "| a | 0.9000 |" in md
    assert "✗ breaches its gate" in md


def test_pairs_that_were_not_evaluated_are_dashes(run, present):
    """A hole in the matrix is a hole."""
    run.result("s", "a", "x", metrics={"m": 0.5})
    run.result("s", "b", "y", metrics={"m": 0.7})
    write_summary(run.paths, present)
    assert "| a | 0.5000 | - | 0.5000 (1 of 2) |" in text_of(run, "md")


def test_gone_pairs_are_listed_outside_the_means(run):
    """A pair that is no longer on disk neither counts nor disappears."""
    run.result("s", "a", "x", metrics={"m": 0.5})
    run.result("s", "b", "x", metrics={"m": 0.7})
    run.result("s", "old", "x", metrics={"m": 0.0})
    summary = write_summary(run.paths, lambda suite, task, dataset: task == "old")
    assert [row.task for row in summary.gone] == ["old"]
    md = text_of(run, "md")
    assert "| mean | 0.6000 |" in md
    assert "- s/old/x: passed (m 0.000)" in md.partition("## Gone")[2]
    assert {row["task"]: row["status"] for row in rows_of(run)}["old"] == "gone"
    assert "s      old   x" in text_of(run, "txt").partition("gone")[2]


def test_an_error_tells_its_reason(run, present):
    """Who reads only the summary learns why a pair has no value."""
    run.result("s", "a", "x", status="error", environment={"error": "model.onnx: empty\nfile"})
    write_summary(run.paths, present)
    assert r"- s/a/x: error: model.onnx: empty\\nfile" in text_of(run, "md")


def test_a_skipped_pair_has_no_values_whatever_lies_there(run, present, breach):
    """Neither in rows nor in means, where the run has noted it and where its suite says so now; with the reason."""
    run.result("s", "a", "x", metrics={"m": 0.5})
    run.result("s", "b", "x", status="failed", metrics={"m": 0.1}, gates=[breach("m", 0.1)])
    run.result("s", "c", "x", metrics={"m": 0.3})
    note_skipped(run.paths, {"s/b/x": "labels are wrong", "s/never/seen": "too slow"})
    summary = write_summary(run.paths, present, {"s/c/x": "not today"})
    assert [(r["task"], r["status"], r["value"], r["samples"]) for r in rows_of(run)] == [
        ("a", "passed", "0.5", "10"),
        ("b", "skipped", "", "0"),
        ("c", "skipped", "", "0"),
    ]
    md = text_of(run, "md")
    assert "| b | skipped |" in md
    assert "| mean | 0.5000 (1 of 3) |" in md
    assert "- s/b/x: skipped: labels are wrong" in md
    assert "- s/c/x: skipped: not today" in md
    assert "0.1" not in text_of(run, "txt")
    assert "✗" not in "".join(render_matrix(summary, 80))


def test_a_task_of_errors_stands_in_the_matrix(run, present):
    """A task without any value keeps its row; one with other metrics does not get one."""
    run.result("s", "a", "x", metrics={"m": 0.5})
    run.result("s", "b", "x", status="error")
    run.result("s", "c", "z", metrics={"k": 0.5})
    write_summary(run.paths, present)
    first, second = text_of(run, "md").split("## ")[1:3]
    assert "| b | error |" in first
    assert "| c |" not in first
    assert "| a |" not in second


def limited(run, task, dataset, limit, value, **more):
    """The result of an evaluation of the first samples of 100."""
    samples = {"total": 100, "predicted": limit, "failed": 0, "reused": 0}
    name = f"{dataset}.limit-{limit}"
    path = run.result("s", task, name, metrics={"m": {**_metric(value), "n": limit}}, samples=samples, **more)
    path.write_text(path.read_text().replace(f'"{name}"', f'"{dataset}"'))
    return run.key("s", task, name)


def test_a_limited_evaluation_is_never_taken_for_a_full_one(run, present):
    """It is a row of its dataset with its limit, and stands nowhere else unless this launch made it."""
    run.result("s", "a", "x", metrics={"m": 0.5}, total=100)
    key = limited(run, "a", "x", 10, 0.9)
    limited(run, "a", "x", 9, 0.8)
    run.predictions("s", "a", "x", [(0, 1, 1)])
    summary = write_summary(run.paths, present)
    assert [(r["dataset"], r["value"], r["limit"]) for r in rows_of(run)] == [
        ("x", "0.5", ""),
        ("x", "0.8", "9"),
        ("x", "0.9", "10"),
    ]
    for text in (text_of(run, "md"), text_of(run, "txt"), "\n".join(render_matrix(summary, 80))):
        assert "0.5000" in text
        assert "0.9000" not in text
        assert "first" not in text
    write_summary(run.paths, present, limits={key: True})
    full, own = text_of(run, "md").split("## ")[1:3]
    assert "| a | 0.5000 |" in full
    assert own.startswith("s (first 10 samples): m")
    assert "| a | 0.9000 (10 of 100) |" in own
    assert "s      a     x (first 10 samples)  passed" in text_of(run, "txt")
    assert "0.8000" not in text_of(run, "txt")
    merged = json.loads((run.paths.summary / "merge_summary.json").read_text())
    assert (merged["total_rows"], merged["missing"], len(merged["files"])) == (100, [], 1)


def test_a_limited_evaluation_says_nothing_of_how_its_pair_stands(run, present):
    """Nor the pair of it: each has its own error; and what is skipped or gone is so with all that lies there."""
    run.result("s", "a", "x", metrics={"m": 0.5})
    run.result("s", "b", "x", metrics={"m": 0.5})
    keys = [limited(run, task, "x", 10, 0.9) for task in ("a", "b", "c", "old")]
    run.write(run.paths.task_list, "*s/a||1\n-x|3\n*s/b||1\n-x|2\n+summary|2|2\n")
    note_skipped(run.paths, {"s/c/x": "not today"})
    limits = dict(zip(keys, (True, False, True, True), strict=True))
    summary = write_summary(run.paths, lambda suite, task, dataset: task == "old", limits=limits)
    assert [(r["task"], r["limit"], r["status"]) for r in rows_of(run)] == [
        ("a", "", "error"),
        ("a", "10", "passed"),
        ("b", "", "passed"),
        ("b", "10", "error"),
        ("c", "10", "skipped"),
        ("old", "10", "gone"),
    ]
    assert summary.gone == ()


def test_a_dataset_may_be_called_like_a_limit(run, present):
    """Only where the files are named otherwise than the dataset is it a limited evaluation."""
    run.result("s", "a", "x.limit-10", metrics={"m": 0.5})
    assert [(r.dataset, r.limit) for r in write_summary(run.paths, present).rows] == [("x.limit-10", None)]


def _metric(value):
    return {"value": value, "n": 10, "low": value, "high": value, "better": "higher"}


def test_confusion_tables_stand_below(run, present, metric):
    """A metric's table is printed for each pair."""
    table = {"labels": ["cat", "dog|wolf"], "rows": [[3, 1], [0, 6]]}
    run.result("s", "a", "x", metrics={"confusion": metric(0.9, table=table)})
    write_summary(run.paths, present)
    assert "### s/a/x: confusion" in text_of(run, "md")
    assert "## s: confusion" not in text_of(run, "md"), "it is no accuracy once more"
    assert "| dog\\|wolf | 0 | 6 |" in text_of(run, "md")
    assert "dog|wolf    0         6" in text_of(run, "txt")


@pytest.mark.parametrize(
    ("labels", "pairs", "left"),
    [
        pytest.param(31, 1, 1, id="too many labels"),
        pytest.param(2, 103, 3, id="too many tables"),
    ],
)
def test_tables_that_nobody_would_read_are_left_to_the_results(run, present, metric, labels, pairs, left):
    """The summary says how many tables it does not show."""
    table = {"labels": list(range(labels)), "rows": [[0] * labels] * labels}
    for i in range(pairs):
        run.result("s", f"t{i}", "x", metrics={"confusion": metric(0.9, table=table)})
    write_summary(run.paths, present)
    assert f"{left} more tables" in text_of(run, "md")
    assert f"{left} more tables" in text_of(run, "txt")


def test_unreadable_results_are_named(run, present):
    """A damaged result costs its own row, and is told."""
    run.result("s", "a", "x", metrics={"m": 0.5})
    run.result("s", "b", "x").write_text("{")
    summary = write_summary(run.paths, present)
    assert summary.unreadable == ("results/s/b/x.json",)
    assert len(rows_of(run)) == 1
    assert "results/s/b/x.json" in text_of(run, "md")
    assert "results/s/b/x.json" in text_of(run, "txt")


def test_merge_summary_counts_rows(run, present):
    """merge_summary.json counts the lines of each predictions file by what its result says."""
    run.result("s", "a", "x", metrics={"m": 0.5}, total=10, failed=2)
    run.result("s", "b", "x", metrics={"m": 0.5}, samples={"total": 10, "predicted": 7, "failed": 0, "reused": 0})
    for task in "ab":
        run.predictions("s", task, "x", [(0, 1, 1)])
    write_summary(run.paths, present)
    assert json.loads((run.paths.summary / "merge_summary.json").read_text()) == {
        "files": [{"file": "predictions/s/a/x.jsonl", "rows": 10}, {"file": "predictions/s/b/x.jsonl", "rows": 7}],
        "total_rows": 17,
        "missing": [{"file": "predictions/s/b/x.jsonl", "count": 3}],
        "doubled": [],
    }


def test_an_empty_run_has_an_empty_summary(run, present):
    """Without results there are files with headers, and no lines for the terminal."""
    summary = write_summary(run.paths, present)
    assert rows_of(run) == []
    assert render_matrix(summary, 80) == []


def test_results_of_user_tests_are_no_pairs(run, present):
    """results/<suite>/<task>/<dataset>/<test>.json belong to a user's own test functions."""
    path = run.result("s", "a", "x", metrics={"m": 0.5})
    run.write(path.parent / "x" / "test_mine.json", "{}")
    assert [row.full_id for row in read_summary(run.paths, present).rows] == ["s/a/x"]


def test_the_terminal_gets_aligned_columns(run, present):
    """All lines of a matrix have their columns in the same place, wide letters too."""
    for task in ("mlp", "模型"):
        for dataset in ("clean", "noisy"):
            run.result("s", task, dataset, metrics={"top1": 0.5})
    assert render_matrix(read_summary(run.paths, present), 80) == [
        "s: top1",
        "       clean   noisy    mean",
        "mlp   0.5000  0.5000  0.5000",
        "模型  0.5000  0.5000  0.5000",
        "mean  0.5000  0.5000  0.5000",
    ]


def test_a_matrix_that_is_too_wide_becomes_a_list(run, present):
    """The value stands first, so that long names wrap without tearing columns."""
    for i in range(12):
        run.result("s", "task", f"dataset-{i}", metrics={"top1": i / 10})
    lines = render_matrix(read_summary(run.paths, present), 80)
    assert lines[2] == "0.1000  task/dataset-1"
    assert lines[-1] == "0.5500  mean"
    assert all(display_width(line) <= 80 for line in lines)


def test_a_long_matrix_is_cut_on_the_terminal(run, present):
    """The terminal gets a page and the mean; the files have the rest."""
    for i in range(100):
        run.result("s", f"t{i}", "x", metrics={"top1": 0.5})
    lines = render_matrix(read_summary(run.paths, present), 80)
    assert len(lines) == 41
    assert "more in summary.txt" in lines[-2]
    assert lines[-1].startswith("mean")


def test_the_terminal_has_the_suites_that_were_selected(run, present):
    """One line says what else is in the files; where that is nothing, nothing is said."""
    for suite, tasks in (("mine", 1), ("other", 2), ("third", 1)):
        for task in range(tasks):
            run.result(suite, f"t{task}", "x", metrics={"top1": 0.5})
    summary = read_summary(run.paths, present)
    titles = [line for line in render_matrix(summary, 80) if ": " in line]
    assert titles == ["mine: top1", "other: top1", "third: top1"]
    lines = selected_lines(summary, {"mine"}, 80)
    assert [line for line in lines if ": " in line] == [
        "mine: top1",
        "also in summary.md: other (2 pairs), third (1 pair)",
    ]
    assert selected_lines(summary, {"mine", "other", "third"}, 80) == render_matrix(summary, 80)
    for number in range(10):
        run.result(f"s{number}", "t", "x", metrics={"top1": 0.5})
    many = selected_lines(read_summary(run.paths, present), {"mine"}, 80)[-1]
    assert many.endswith("7 more suites")


def test_text_has_matrices_and_pairs(run, present):
    """summary.txt is both: the matrices, and a line a pair and metric."""
    run.result("s", "a", "x", metrics={"top1": 0.5})
    run.result("s", "b", "x", status="error")
    write_summary(run.paths, present)
    text = text_of(run, "txt")
    assert "s: top1\n" in text
    assert "s      a     x        passed  top1    0.5000  10 of 10   0.4000" in text
    assert "s      b     x        error" in text


def test_a_pair_that_ended_in_an_error_has_not_passed(run, present):
    """Its old result stays until a new one is complete, but every table says that the values are old."""
    run.result("s", "t", "broken", metrics={"m": 0.75})
    run.result("s", "t", "fine", metrics={"m": 0.5})
    run.write(run.paths.task_list, "*s/t||2\n-broken|3\n-fine|2\n+summary|1|2\n")
    summary = write_summary(run.paths, present)
    assert [(r["status"], r["value"]) for r in rows_of(run)] == [("error", "0.75"), ("passed", "0.5")]
    assert "- s/t/broken: error (m 0.7500): its last evaluation ended in an error" in text_of(run, "md")
    assert "0.7500 !" in text_of(run, "txt")
    assert "! of an earlier evaluation" in render_matrix(summary, 80)[-1]


TIMED = {
    "today's": ({"timing": 2}, "seconds a sample: p50 0.01000, p95 0.02000; samples a second: -"),
    "an older version's": ({}, "seconds a sample: p50 -, p95 -; samples a second: -"),
    "with throughput": (
        {"timing": 2, "seconds": {"p50": 0.5, "p95": 2.0, "throughput": 7.5}},
        "seconds a sample: p50 0.5000, p95 2.000; samples a second: 7.500",
    ),
}


@pytest.mark.parametrize(("more", "line"), TIMED.values(), ids=TIMED)
def test_seconds_are_shown_as_they_were_meant(run, more, line):
    """Latencies that older versions made up of shares of a batch are a dash, as is what nobody knows."""
    run.result("s", "t", "d", metrics={"top1": 0.5}, **more)
    (row,) = read_summary(run.paths, lambda *_: False).rows
    assert list(result_lines(row))[1:] == [line]


def test_ends_of_an_agents_samples_are_shown(run, present):
    """How samples ended is said of each agent, in the summary and of the pair alone."""
    run.result("s", "agent", "os_std", metrics={"success": 0.5}, statuses={"completed": 3, "failed": 1})
    run.result("s", "mlp", "d", metrics={"m": 0.5})
    row, other = write_summary(run.paths, present).rows
    assert "ended: 3 completed, 1 failed" in list(result_lines(row))
    assert not any("ended" in line for line in result_lines(other))
    assert "## How samples ended\n\n- s/agent/os_std: 3 completed, 1 failed\n" in text_of(run, "md")


def test_of_what_predicted_nothing_there_are_no_seconds(run):
    """An error is told, and nothing else."""
    run.result("s", "t", "d", status="error", total=0, environment={"error": "no model"})
    (row,) = read_summary(run.paths, lambda *_: False).rows
    assert list(result_lines(row))[1:] == ["no model"]


def test_what_a_test_recorded_is_a_row_too(run, present, metric):
    """Of numbers, under the test's name; of a result that is another by now a test says nothing."""
    fingerprint = {"prediction": {"model": "new"}, "score": {}}
    path = run.result("s", "a", "x", metrics={"top1": 0.9}, fingerprint=fingerprint)
    own = {"test": "test_own", "values": {"p95": 1.5, "fast": True, "note": "text", "many": [1], "none": float("nan")}}
    run.write(path.with_suffix("") / "test_own.json", json.dumps(own | {"fingerprint": fingerprint}))
    other = {"test": "test_old", "values": {"p95": 9}, "fingerprint": {"prediction": {"model": "old"}, "score": {}}}
    run.write(path.with_suffix("") / "test_old.json", json.dumps(other))
    run.write(path.with_suffix("") / "earlier version.json", json.dumps({"test": "test_was", "values": {"p95": 2}}))
    run.write(path.with_suffix("") / "torn.json", "{")
    write_summary(run.paths, present)
    rows = [line.split(",")[3:6] for line in text_of(run, "csv").splitlines()[1:]]
    assert rows == [
        ["passed", "top1", "0.9"],
        ["passed", "test_was.p95", "2"],
        ["passed", "test_own.p95", "1.5"],
        ["passed", "test_own.fast", "1"],
    ]
    note_skipped(run.paths, {"s/a/x": "not today"})
    write_summary(run.paths, present)
    assert "test_own" not in text_of(run, "csv")


def test_a_pair_is_shown_with_its_tables_and_what_tests_recorded(run, present, metric):
    """Whatever of it is no number too; a table that nobody would read is left to the result."""
    tables = {name: {"labels": [*range(n)], "rows": [[0] * n] * n} for name, n in (("confusion", 2), ("big", 40))}
    path = run.result("s", "a", "x", metrics={name: metric(0.9, table=table) for name, table in tables.items()})
    run.write(path.with_suffix("") / "t.json", json.dumps({"test": "test_own", "values": {"note": "slow\x1b[2J"}}))
    (row,) = read_summary(run.paths, present).rows
    shown = [(tuple(header), [tuple(line) for line in rows]) for header, rows in tables_in(row)]
    assert [header[0] for header, _ in shown] == ["metric", "confusion: reference \\ prediction", "recorded by a test"]
    assert shown[1] == (("confusion: reference \\ prediction", "0", "1"), [("0", "0", "0"), ("1", "0", "0")])
    assert shown[2][1] == [("test_own.note", "slow\\x1b[2J")]
    assert "big: its table of 40 labels is in results/s/a/x.json" in list(result_lines(row))


def test_the_merge_summary_names_files_that_are_there(run, present):
    """A pair that ended in an error before it was asked anything has none."""
    run.result("s", "a", "x", total=2)
    run.predictions("s", "a", "x", [(0, 1, 1), (1, 1, 1)])
    run.result("s", "b", "x", status="error", total=0)
    write_summary(run.paths, present)
    told = json.loads((run.paths.summary / "merge_summary.json").read_text())
    assert told["files"] == [{"file": "predictions/s/a/x.jsonl", "rows": 2}]


def test_known_rows_are_read_again_where_they_changed(run, present, monkeypatch):
    """Whoever reads a run again and again opens only what is new; the summary is the same."""
    from pytest_evalrun.report import rows

    for name in ("one", "two"):
        run.result("echo", "a", name, metrics={"top1": 0.5})
    known, opened = rows.KnownRows(), []
    monkeypatch.setattr(
        rows, "read_result", lambda path, read=rows.read_result: (opened.append(path.name), read(path))[1]
    )
    first = rows.read_summary(run.paths, present, known=known)
    assert rows.read_summary(run.paths, present, known=known) == first == rows.read_summary(run.paths, present)
    opened.clear()
    run.result("echo", "a", "two", metrics={"top1": 0.75})
    run.result("echo", "a", "three", metrics={"top1": 0.25})
    again = rows.read_summary(run.paths, present, known=known)
    assert sorted(opened) == ["three.json", "two.json"]
    assert again == rows.read_summary(run.paths, present)
    run.paths.pair(run.key("echo", "a", "one")).result.unlink()
    assert len(rows.read_summary(run.paths, present, known=known).rows) == 2
