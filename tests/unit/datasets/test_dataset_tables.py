from __future__ import annotations

import csv
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.datasets.protocol import Reader, Sample
from pytest_evalrun.datasets.values import from_json, number_of, read_cell
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.settings import CELL_KINDS

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
    """Cells are text, whatever they spell; all columns but id and reference are the input."""
    reader = read(table(CSV), format="csv", id_column="id", reference="label")
    assert isinstance(reader, Reader)
    assert list(reader) == [
        Sample(0, "x", {"a": "1", "b": "0.5"}, "cat"),
        Sample(1, "y", {"a": "2", "b": "1e3"}, "7"),
    ]


def test_one_named_column_is_the_bare_value(table, read):
    """With a single input column the model gets its value, not a dict; without id_column the place is the id."""
    samples = list(read(table(CSV), format="csv", inputs=("b",)))
    assert samples == [Sample(0, "0", "0.5"), Sample(1, "1", "1e3")]


def test_a_column_is_what_its_type_says(table, read):
    """What asks for a number gets it, exactly; an empty cell is nothing then, and other columns stay text."""
    text = "id,a,b,c,d\n07,12345678901234567890,1e3, True,1\n08,,, ,\n"
    types = {"a": "integer", "b": "number", "c": "boolean", "d": "text"}
    samples = list(read(table(text), format="csv", id_column="id", reader={"types": types}))
    assert samples == [
        Sample(0, "07", {"a": 12345678901234567890, "b": 1000.0, "c": True, "d": "1"}),
        Sample(1, "08", {"a": None, "b": None, "c": None, "d": ""}),
    ]


def test_inputs_keep_the_order_that_the_suite_names(table, read):
    """A vector is made in the order of inputs, not of the file."""
    assert list(next(iter(read(table(CSV), format="csv", inputs=("b", "a")))).input) == ["b", "a"]


def test_csv_dialects(table, read):
    """Tabs in a .tsv, in capitals too, any delimiter by name, a byte order mark, blank lines, quoted newlines."""
    for name in ("t.tsv", "T.TSV"):
        assert next(iter(read(table("a\tb\n1\t2\n", name), format="csv"))).input == {"a": "1", "b": "2"}
    semicolons = read(table("\ufeffa;b\n1;2\n\n"), format="csv", reader={"delimiter": ";"})
    assert [s.input for s in semicolons] == [{"a": "1", "b": "2"}]
    assert next(iter(read(table('a,b\n"two\nlines",2\n'), format="csv"))).input["a"] == "two\nlines"


def test_jsonl_lines_become_samples(table, read):
    """Values stay what JSON says they are; ids may be numbers; blank lines are passed over."""
    text = jsonl({"id": 7, "text": "1", "gold": [1]}) + "\n" + jsonl({"id": "b", "text": None, "gold": False})
    reader = read(table(text, "d.jsonl"), format="jsonl", id_column="id", inputs=("text",), reference="gold")
    assert list(reader) == [Sample(0, "7", "1", [1]), Sample(1, "b", None, False)]


def test_an_empty_text_is_a_reference_in_jsonl(table, read, hashes):
    """JSON tells nothing from an empty text: "" is the right answer where there is nothing to extract."""
    reader = read(table(jsonl({"x": 1, "y": ""}), "d.jsonl"), format="jsonl", reference="y")
    assert [sample.reference for sample in reader] == [""]
    assert reader.identity(hashes).count == 1


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_cell_may_be_long(table, read, hashes, kind):
    """The limit of the module csv is lifted while a row is read, and given back."""
    limit, long = csv.field_size_limit(), "x" * (csv.field_size_limit() + 1)
    reader = read(
        table(f"q\n{long}\n" if kind == "csv" else jsonl({"q": long}), f"d.{kind}"), format=kind, inputs=("q",)
    )
    assert reader.identity(hashes).count == 1
    samples = iter(reader)
    assert next(samples).input == long
    assert csv.field_size_limit() == limit


FAULTS = {
    "csv: empty": ("csv", "", {}, "the dataset is empty"),
    "csv: only a header": ("csv", "a,b\n", {}, "the dataset is empty"),
    "csv: short row": ("csv", "a,b\n1,2\n3\n", {}, ":3: the row has 1 columns, the header 2"),
    "csv: broken quote": ("csv", 'a,b\n"1,2\n', {}, ":2: not a row of CSV"),
    "csv: unknown reference": ("csv", CSV, {"reference": "gold"}, "reference: no column 'gold'; columns: id, a, b"),
    "csv: unknown input": ("csv", CSV, {"inputs": ("a", "z")}, "inputs: no column 'z'; columns: id, a, b, label"),
    "csv: column twice": ("csv", "a,a\n1,2\n", {}, "two columns are called 'a'"),
    "csv: no input left": ("csv", "label\ncat\n", {"reference": "label"}, "no column is left to be the input"),
    "csv: label missing": ("csv", "a,l\n1,x\n2,\n", {"reference": "l"}, ":3: label missing: 'l' is empty"),
    "csv: not UTF-8": ("csv", b"a\n\xff\n", {}, "not UTF-8: byte 0xff"),
    "csv: id twice": ("csv", "i,a\np,1\nq,2\np,3\n", {"id_column": "i"}, "two samples with the id 'p': lines 2 and 4"),
    "csv: empty id": ("csv", "i,a\n,1\n", {"id_column": "i"}, "id_column 'i' holds ''"),
    "csv: delimiter": ("csv", CSV, {"reader": {"delimiter": ";;"}}, "accepted: one character"),
    "csv: reader key": (
        "csv",
        CSV,
        {"reader": {"sep": ";"}},
        "unknown key sep for format csv; accepted: delimiter, types",
    ),
    "csv: delimiter is a quote": ("csv", CSV, {"reader": {"delimiter": '"'}}, "accepted: one character"),
    "csv: another delimiter": (
        "csv",
        "a;b\n1;2\n",
        {"reference": "b"},
        "reference: no column 'b'; columns: a;b (the delimiter is ','; another by reader: {delimiter: ...})",
    ),
    "csv: no number": (
        "csv",
        "a,b\n1,2\nx,2\n",
        {"reader": {"types": {"a": "number"}}},
        "d.csv:3: types.a: found 'x'; accepted: a number such as 7, 0.5 or 1e3",
    ),
    "csv: no integer": ("csv", "a\n1.0\n", {"reader": {"types": {"a": "integer"}}}, "'1.0'; accepted: a whole number"),
    "csv: no boolean": ("csv", "a\n1\n", {"reader": {"types": {"a": "boolean"}}}, "found '1'; accepted: true, false"),
    "csv: type of no column": (
        "csv",
        "a,b\n1,2\n",
        {"reader": {"types": {"c": "number"}}},
        "d.csv:1: reader.types: no column 'c'; columns: a, b",
    ),
    "csv: typed label missing": (
        "csv",
        "a,l\n1, \n",
        {"reference": "l", "reader": {"types": {"l": "number"}}},
        ":2: label missing: 'l' is empty",
    ),
    "jsonl: empty": ("jsonl", "\n\n", {}, "the dataset is empty"),
    "jsonl: broken": ("jsonl", '{"a": 1}\n{"a": \n', {}, ":2: not a line of JSON"),
    "jsonl: broken in its column": ("jsonl", '{"a": 1}\n{"a": x}\n', {}, "(column 7)"),
    "jsonl: column twice": (
        "jsonl",
        '{"q": 1, "q": 2}\n',
        {},
        ":1: not a line of JSON: the key 'q' stands",
    ),
    "jsonl: list": ("jsonl", "[1]\n", {}, ":1: a list; a jsonl dataset has one object a line"),
    "jsonl: key missing": ("jsonl", jsonl({"a": 1}, {"b": 1}), {"inputs": ("a",)}, ":2: inputs: no column 'a'; col"),
    "jsonl: label null": ("jsonl", jsonl({"a": 1, "l": None}), {"reference": "l"}, ":1: label missing: 'l' is null"),
    "jsonl: id twice": ("jsonl", jsonl({"i": 1, "a": 1}, {"i": "1", "a": 2}), {"id_column": "i"}, "lines 1 and 2"),
    "jsonl: id no text": ("jsonl", jsonl({"i": True, "a": 1}), {"id_column": "i"}, "an id is a text or int"),
    **{
        f"jsonl: label {text}": ("jsonl", f'{{"a": 1, "l": 1}}\n{{"a": 1, "l": {text}}}\n', {"reference": "l"}, said)
        for text, said in {
            "NaN": ":2: label missing: 'l' is NaN",
            "-Infinity": ":2: label missing: 'l' is -Infinity",
            "1e999": ":2: label missing: 'l' is Infinity",
            "[0, 1, [NaN]]": ":2: label missing: 'l' is NaN at .2.0",
            '{"box": {"x": Infinity}}': ":2: label missing: 'l' is Infinity at .box.x",
        }.items()
    },
    "jsonl: half a character": (
        "jsonl",
        '{"i": "x\\ud83d", "a": 1}',
        {"id_column": "i"},
        "'x\\ud83d': half a character",
    ),
    "jsonl: nested too deeply": (
        "jsonl",
        '{"a": ' + "[" * 3000 + "]" * 3000 + "}",
        {},
        ":1: not a line of JSON that can be read: nested too deeply",
    ),
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


def test_identity_depends_on_what_a_column_is(table, read, hashes):
    """A number is another input, and another reference, than the text that spells it."""
    settings = {"format": "csv", "inputs": ("a",), "reference": "b"}
    plain = read(table(CSV), **settings).identity(hashes)
    typed = read(table(CSV), **settings, reader={"types": {"a": "integer", "b": "number"}}).identity(hashes)
    as_text = read(table(CSV), **settings, reader={"types": {"a": "text", "b": "text"}}).identity(hashes)
    assert plain == as_text
    assert plain.inputs != typed.inputs
    assert plain.references != typed.references


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


NUMBERS = {
    "7": 7, "-3": -3, "0.5": 0.5, "1e3": 1000.0, ".5": 0.5, "07": 7, "1" * 30: int("1" * 30), " 7": 7, "+7": 7, "0": 0,
    "1_000": None, "nan": None, "inf": None, "1e999": None, "": None, "٣": None, "-": None, "1" * 5000: None,
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), NUMBERS.items(), ids=[repr(cell)[:40] for cell in NUMBERS])
def test_what_spells_a_number(text, value):
    """Whoever asks for a number gets the one that the text spells; names like 1_000 and words like nan spell none."""
    assert number_of(text) == value
    assert type(number_of(text)) is type(value)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_a_table(number):
    """What Python prints of a number is read back as the same number."""
    assert number_of(repr(number)) == number


@pytest.mark.parametrize("kind", CELL_KINDS)
def test_every_kind_that_a_suite_may_name_can_be_read(kind):
    """The words of the suite are those of the reader."""
    assert read_cell("", kind, "d.csv:1") in (None, "")


NAMES = st.sampled_from(["a", "b", ":", '"', ' "', '":'])
CELLS = st.recursive(
    st.none() | st.integers() | st.text() | NAMES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | NAMES, inner),
)


@given(st.lists(st.tuples(NAMES, CELLS), max_size=4), st.sampled_from([":", ": ", " :", "\t: ", "\r:"]))
def test_each_key_of_a_line_stands_once(pairs, colon):
    """However its text is set, and whatever its cells hold, a key that stands twice is an error; nothing else is."""
    text = "{" + ", ".join(json.dumps(key) + colon + json.dumps(value) for key, value in pairs) + "}\n"
    if len(dict(pairs)) < len(pairs):
        with pytest.raises(ValueError, match="stands there twice"):
            from_json(text)
    else:
        assert from_json(text) == dict(pairs)


@pytest.mark.parametrize("kind", ["parquet", "hf"])
def test_what_a_kind_of_data_needs_is_named(tmp_path, read, monkeypatch, kind):
    """Where it is not installed: the format, and how it is."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PairError, match=rf'pyarrow is needed for format {kind}: pip install "pytest-evalrun\[hf\]"'):
        read(tmp_path, format=kind)
