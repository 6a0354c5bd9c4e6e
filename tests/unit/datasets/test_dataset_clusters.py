"""Which samples belong together, by a column of the data, whatever reads them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.gates import GateRules

ROWS = [
    {"id": "a", "text": "x", "gold": "1", "passage": "p1"},
    {"id": "b", "text": "y", "gold": "2", "passage": "p2"},
    {"id": "c", "text": "z", "gold": "3", "passage": "p1"},
]
NAMED = {"id_column": "id", "inputs": ("text",), "reference": "gold"}
READER = """
def bare(path):
    yield from (("a", 1), ("b", 2))

def mappings(path, last="p2"):
    yield {"id": "a", "input": {"text": "x", "passage": "p1"}}
    yield {"id": "b", "input": {"text": "y", "passage": last}}
"""


@pytest.fixture
def grouped(tmp_path, read):
    """``grouped(rows, format, cluster=…, **settings)``: the reader of a table with these rows."""

    def make(rows, kind="jsonl", cluster="passage", **settings):
        path = tmp_path / f"data.{kind}"
        if kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n")
        return read(path, format=kind, gate_rules=GateRules(cluster=cluster), **{**NAMED, **settings})

    return make


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_any_column_of_a_table_may_say_it(grouped, kind):
    """One that the model sees or not, the id and the reference too."""
    assert list(grouped(ROWS, kind).clusters()) == ["p1", "p2", "p1"]
    assert [sample.input for sample in grouped(ROWS, kind)] == ["x", "y", "z"]
    for column, names in (("text", ["x", "y", "z"]), ("id", ["a", "b", "c"]), ("gold", ["1", "2", "3"])):
        assert list(grouped(ROWS, kind, column).clusters()) == names
    assert list(grouped(ROWS, kind, inputs=()).clusters()) == ["p1", "p2", "p1"]


def test_values_are_written_as_text(grouped):
    """Numbers as everywhere; a text of more than 200 characters, and a list that is as long, by its digest."""
    values = [7, 7.0, True, "7", ["a", {"b": 1}], "x" * 200, "x" * 201]
    found = list(grouped([{**ROWS[0], "id": str(i), "passage": value} for i, value in enumerate(values)]).clusters())
    assert found[:6] == ["7", "7", "true", "7", '["a", {"b": 1}]', "x" * 200]
    assert len(found[6]) == 64


def test_the_column_has_a_digest_of_its_own(grouped, hashes):
    """What is asked and what is right stay what they were; without the word nothing of it is looked at."""
    plain, together = (grouped(ROWS, cluster=column).identity(hashes) for column in (None, "passage"))
    assert plain.clusters == "" and replace(together, clusters="") == plain
    moved = grouped([*ROWS[:2], {**ROWS[2], "passage": "p2"}]).identity(hashes)
    assert moved.clusters != together.clusters and replace(moved, clusters="") == plain
    assert grouped([{"text": "x", "gold": "1"}], cluster=None, id_column=None).identity(hashes).clusters == ""


TABLES = {
    "null": (
        "jsonl",
        [ROWS[0], {**ROWS[1], "passage": None}],
        r"data.jsonl:2: sample b: .*'passage' is null; accepted",
    ),
    "no key": (
        "jsonl",
        [ROWS[0], {"id": "b", "text": "y", "gold": "2"}],
        r"data.jsonl:2: sample b: gate_rules.cluster: no column 'passage'; columns: id, text, gold",
    ),
    "no number": ("jsonl", [{**ROWS[0], "passage": float("nan")}], "sample a: .*'passage' is NaN"),
    "empty cell": ("csv", [ROWS[0], {**ROWS[1], "passage": ""}], r"data.csv:3: sample b: .*'passage' is empty"),
    "no column": (
        "csv",
        [{"id": "a", "text": "x", "gold": "1"}],
        r"data.csv:1: gate_rules.cluster: no column 'passage'; columns: id, text, gold",
    ),
}


@pytest.mark.parametrize(("kind", "rows", "message"), TABLES.values(), ids=TABLES)
def test_a_sample_without_a_cluster_is_named(grouped, hashes, kind, rows, message):
    """Before the model is asked: when the data are looked at first."""
    with pytest.raises(PairError, match=message):
        grouped(rows, kind).identity(hashes)


def test_a_readers_inputs_may_say_it(tmp_path, read, hashes):
    """Of the user's own reader, where they are mappings; what is missing is found before the model is asked."""
    (tmp_path / "r.py").write_text(READER)

    def reader(name, **options):
        rules = GateRules(cluster="passage")
        return read(tmp_path / "none", tmp_path, format=f"./r.py:{name}", gate_rules=rules, reader=options)

    mappings = reader("mappings")
    assert [mappings.cluster_of(sample) for sample in mappings] == ["p1", "p2"]
    assert reader("mappings").identity(hashes).count == 2
    with pytest.raises(PairError, match=r"r.py:mappings: sample b: gate_rules.cluster: 'passage' is null"):
        reader("mappings", last=None).identity(hashes)
    with pytest.raises(
        PairError, match=r"sample a: .*the input is of type int, which has no columns; accepted: data with"
    ):
        next(iter(reader("bare")))


def test_labels_of_files_may_say_it(tmp_path, read, hashes):
    """A column of their table, by the id of each file, whatever order it has; rows of other files are passed over."""
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_text(name)
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label,patient\nc.png,1,p1\nother.png,1,\nb.png,2,p2\na.png,3,p1\n")

    def reader(column="patient", **settings):
        return read(tmp_path, gate_rules=GateRules(cluster=column), **settings)

    assert list(reader(labels="labels.csv").clusters()) == ["p1", "p2", "p1"]
    assert reader(labels="labels.csv").identity(hashes) == reader(None, labels="labels.csv").identity(hashes)
    with pytest.raises(
        PairError, match=r"labels.csv:1: gate_rules.cluster: no column 'age'; columns: file, label, pat"
    ):
        reader("age", labels="labels.csv").identity(hashes)
    with pytest.raises(
        PairError, match=r"gate_rules.cluster: found 'patient', and files have no columns; accepted: data"
    ):
        reader(references=".").identity(hashes)
    labels.write_text("file,label,patient\nc.png,1,p1\nb.png,2,\na.png,3,p1\n")
    with pytest.raises(PairError, match=r"labels.csv:3: sample b.png: .*'patient' is empty"):
        reader(labels="labels.csv").identity(hashes)


def test_a_task_of_a_task_server_has_no_columns(tmp_path, read):
    """It is told before anything is asked."""
    with pytest.raises(PairError, match="found 'passage', and format agentbench has no columns; accepted: data with"):
        read("task://t", tmp_path, format="agentbench", task="t", gate_rules=GateRules(cluster="passage"))
