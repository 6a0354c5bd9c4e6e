from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.datasets.protocol import Reader, Sample
from pytest_evalrun.datasets.values import parse_cell
from pytest_evalrun.errors import PairError

CSV = "id,a,b,label\nx,1,0.5,cat\ny,2,1e3,7\n"


@pytest.fixture
def table(tmp_path):
    def make(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_csv_rows_become_samples(table, read):
    """Cells that spell numbers are numbers; all columns but id and reference are the input."""
    reader = read(table(CSV), format="csv", id_column="id", reference="label")
    assert isinstance(reader, Reader)
    assert list(reader) == [
        Sample(0, "x", {"a": 1, "b": 0.5}, "cat"),
        Sample(1, "y", {"a": 2, "b": 1000.0}, 7),
    ]


def test_one_named_column_is_the_bare_value(table, read):
    """With a single input column the model gets its value, not a dict; without id_column the place is the id."""
    samples = list(read(table(CSV), format="csv", inputs=("b",)))
    assert samples == [Sample(0, "0", 0.5), Sample(1, "1", 1000.0)]


def test_inputs_keep_the_order_that_the_suite_names(table, read):
    """A vector is made in the order of inputs, not of the file."""
    assert list(next(iter(read(table(CSV), format="csv", inputs=("b", "a")))).input) == ["b", "a"]


def test_csv_dialects(table, read):
    """Tabs in a .tsv, any delimiter by name, a byte order mark, blank lines, quoted newlines."""
    assert next(iter(read(table("a\tb\n1\t2\n", "t.tsv"), format="csv"))).input == {"a": 1, "b": 2}
    semicolons = read(table("\ufeffa;b\n1;2\n\n"), format="csv", reader={"delimiter": ";"})
    assert [s.input for s in semicolons] == [{"a": 1, "b": 2}]
    assert next(iter(read(table('a,b\n"two\nlines",2\n'), format="csv"))).input["a"] == "two\nlines"


def test_jsonl_lines_become_samples(table, read):
    """Values stay what JSON says they are; ids may be numbers; blank lines are passed over."""
    text = jsonl({"id": 7, "text": "1", "gold": [1]}) + "\n" + jsonl({"id": "b", "text": None, "gold": False})
    reader = read(table(text, "d.jsonl"), format="jsonl", id_column="id", inputs=("text",), reference="gold")
    assert list(reader) == [Sample(0, "7", "1", [1]), Sample(1, "b", None, False)]


FAULTS = {
    "csv: empty": ("csv", "", {}, "the dataset is empty"),
    "csv: only a header": ("csv", "a,b\n", {}, "the dataset is empty"),
    "csv: short row": ("csv", "a,b\n1,2\n3\n", {}, ":3: the row has 1 columns, the header 2"),
    "csv: broken quote": ("csv", 'a,b\n"1,2\n', {}, ":2: not a row of CSV"),
    "csv: unknown reference": ("csv", CSV, {"reference": "gold"}, "reference: no column 'gold'; columns: id, a, b"),
    "csv: unknown input": ("csv", CSV, {"inputs": ("a", "z")}, "inputs: no column 'z'; columns: id, a, b, label"),
    "csv: column twice": ("csv", "a,a\n1,2\n", {}, "two columns are called 'a'"),
    "csv: no input left": ("csv", "label\ncat\n", {"reference": "label"}, "no column is left to be the input"),
    "csv: label missing": ("csv", "a,l\n1,x\n2,\n", {"reference": "l"}, ":3: label missing"),
    "csv: not UTF-8": ("csv", b"a\n\xff\n", {}, "not UTF-8: byte 0xff"),
    "csv: id twice": ("csv", "i,a\np,1\nq,2\np,3\n", {"id_column": "i"}, "two samples with the id 'p': lines 2 and 4"),
    "csv: empty id": ("csv", "i,a\n,1\n", {"id_column": "i"}, "id_column 'i' holds ''"),
    "csv: delimiter": ("csv", CSV, {"reader": {"delimiter": ";;"}}, "accepted: one character"),
    "csv: reader key": ("csv", CSV, {"reader": {"sep": ";"}}, "unknown key sep for format csv; accepted: delimiter"),
    "jsonl: empty": ("jsonl", "\n\n", {}, "the dataset is empty"),
    "jsonl: broken": ("jsonl", '{"a": 1}\n{"a": \n', {}, ":2: not a line of JSON"),
    "jsonl: list": ("jsonl", "[1]\n", {}, ":1: a list; a jsonl dataset has one object a line"),
    "jsonl: key missing": ("jsonl", jsonl({"a": 1}, {"b": 1}), {"inputs": ("a",)}, ":2: inputs: no column 'a'; col"),
    "jsonl: label null": ("jsonl", jsonl({"a": 1, "l": None}), {"reference": "l"}, ":1: label missing"),
    "jsonl: id twice": ("jsonl", jsonl({"i": 1, "a": 1}, {"i": "1", "a": 2}), {"id_column": "i"}, "lines 1 and 2"),
    "jsonl: id no text": ("jsonl", jsonl({"i": True, "a": 1}), {"id_column": "i"}, "an id is a text or int"),
    "jsonl: reader key": ("jsonl", "{}", {"reader": {"x": 1}}, "accepted: none"),
}


@pytest.mark.parametrize(("kind", "text", "settings", "message"), FAULTS.values(), ids=FAULTS)
def test_bad_tables_are_told_with_their_line(table, read, hashes, kind, text, settings, message):
    """A table that cannot be evaluated names file, line, what was found and what is accepted."""
    with pytest.raises(PairError) as caught:
        read(table(text, f"d.{kind}"), format=kind, **settings).identity(hashes)
    assert message in str(caught.value)


def test_a_missing_file_is_an_error_of_the_pair(tmp_path, read, hashes):
    """The file that is not there is named."""
    with pytest.raises(PairError, match="No such file"):
        list(read(tmp_path / "none.csv", format="csv"))
    with pytest.raises(PairError, match="the dataset cannot be read: Is a directory"):
        list(read(tmp_path, format="jsonl"))


def test_new_labels_do_not_change_the_inputs(table, read, hashes):
    """Digests of inputs and references are apart, and neither depends on the other's column."""
    settings = {"format": "csv", "id_column": "id", "reference": "label"}
    old = read(table(CSV), **settings).identity(hashes)
    relabelled = read(table(CSV.replace("cat", "dog")), **settings).identity(hashes)
    changed = read(table(CSV.replace("0.5", "0.6")), **settings).identity(hashes)
    assert (old.count, old.inputs) == (2, relabelled.inputs)
    assert old.references != relabelled.references
    assert old.references == changed.references
    assert old.inputs != changed.inputs


def test_identity_depends_on_which_columns_are_asked_for(table, read, hashes):
    """The same file read otherwise is another dataset; without a reference column there is no digest of references."""
    whole = read(table(CSV), format="csv", id_column="id").identity(hashes)
    part = read(table(CSV), format="csv", id_column="id", inputs=("a",)).identity(hashes)
    assert whole.inputs != part.inputs
    assert whole.references == ""


def test_identity_is_read_once(table, read, hashes, monkeypatch):
    """A second question about an unchanged file is answered from the cache."""
    path = table(jsonl({"a": 1}), "d.jsonl")
    first = read(path, format="jsonl").identity(hashes)
    again = read(path, format="jsonl")
    monkeypatch.setattr(again, "rows", lambda: pytest.fail("read twice"))
    assert again.identity(hashes) == first


def test_rows_are_streamed(table, read):
    """The first sample comes before the rest of the file was looked at."""
    assert next(iter(read(table('{"a": 1}\nbroken\n', "d.jsonl"), format="jsonl"))).id == "0"


CELLS = {
    "7": 7, "-3": -3, "0.5": 0.5, "1e3": 1000.0, ".5": 0.5, "07": "07", "1_000": "1_000", "nan": "nan", "inf": "inf",
    "1e999": "1e999", "": "", " 7": " 7", "٣": "٣", "0": 0, "-": "-", "1" * 30: float("1" * 30),
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), CELLS.items(), ids=[repr(cell) for cell in CELLS])
def test_only_what_spells_a_number_is_one(text, value):
    """Names like 007 and words like nan stay text."""
    assert parse_cell(text) == value
    assert type(parse_cell(text)) is type(value)


@given(st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_a_table(number):
    """What Python prints of a number is read back as the same number."""
    assert parse_cell(repr(number)) == number
