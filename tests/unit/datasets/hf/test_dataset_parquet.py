from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from pytest_evalrun.datasets.columns import MOST_BYTES, MOST_ROWS, rows_at_once
from pytest_evalrun.datasets.protocol import Identity, Reader, Sample
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.gates import GateRules

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
FILE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@pytest.fixture
def table(tmp_path):
    """``table(name, **columns)`` writes a file below a directory ``data``."""

    def make(name="one.parquet", /, *, groups=None, **columns):
        path = tmp_path / "data" / name
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(pa.table(columns), path, row_group_size=groups)
        return path

    return make


QUESTIONS = {"id": ["a", "b", "c"], "question": ["1+1?", "2+2?", "3+3?"], "answer": [2, 4, 6]}


def test_rows_become_samples(table, read):
    """All columns but id and reference are the input, whatever row groups the file has."""
    reader = read(table(groups=1, **QUESTIONS), format="parquet", id_column="id", reference="answer")
    assert isinstance(reader, Reader)
    assert list(reader) == [
        Sample(index, name, {"question": question}, answer)
        for index, (name, question, answer) in enumerate(zip(*QUESTIONS.values(), strict=True))
    ]


def test_one_named_column_is_the_bare_value(table, read):
    """With a single input column the model gets its value; without id_column the place is the id."""
    samples = list(read(table(**QUESTIONS), format="parquet", inputs=("question",), reference="answer"))
    assert samples[1] == Sample(1, "1", "2+2?", 4)


def test_a_column_that_says_which_rows_belong_together_is_read(table, read, hashes):
    """Though it is no input; what is asked stays what it was."""
    path = table(**QUESTIONS, passage=[1, 2, 1], other=[0, 0, 0])
    settings = {"format": "parquet", "id_column": "id", "inputs": ("question",), "reference": "answer"}
    plain, reader = (read(path, **settings, gate_rules=GateRules(cluster=name)) for name in (None, "passage"))
    assert (list(reader), list(reader.clusters())) == (list(plain), ["1", "2", "1"])
    assert replace(reader.identity(hashes), clusters="") == plain.identity(hashes)
    with pytest.raises(PairError, match=r"gate_rules.cluster: no column .age.; columns: id, question, answer, passage"):
        read(path, **settings, gate_rules=GateRules(cluster="age")).identity(hashes)


def test_files_of_a_directory_are_read_in_the_order_of_their_names(table, read):
    """As one table, whose rows are numbered through; what is no Parquet is passed over."""
    for name in ("b.parquet", "a.parquet", "c.parquet"):
        table(name, x=[f"{name} 0", f"{name} 1"])
    path = table("a.parquet", x=["first"]).parent
    (path / "README.md").write_text("about")
    samples = list(read(path, format="parquet", inputs=("x",)))
    assert [s.input for s in samples] == ["first", "b.parquet 0", "b.parquet 1", "c.parquet 0", "c.parquet 1"]
    assert [s.id for s in samples] == ["0", "1", "2", "3", "4"]


VALUES = {
    "nothing": (pa.null(), None, None),
    "number": (pa.int64(), 1 << 60, 1 << 60),
    "half": (pa.float16(), np.float16(0.5), 0.5),
    "truth": (pa.bool_(), True, True),
    "category": (pa.dictionary(pa.int8(), pa.string()), "a", "a"),
    "date": (pa.date32(), dt.date(2026, 1, 2), "2026-01-02"),
    "time": (
        pa.timestamp("ms", "UTC"),
        dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        "2026-01-02T00:00:00+00:00",
    ),
    "decimal": (pa.decimal128(5, 2), decimal.Decimal("3.10"), "3.10"),
    "list": (pa.list_(pa.date32()), [dt.date(2026, 1, 2), None], ["2026-01-02", None]),
    "struct": (pa.struct({"a": pa.list_(pa.int8()), "b": pa.date32()}), {"a": [1], "b": None}, {"a": [1], "b": None}),
    "map": (pa.map_(pa.string(), pa.int8()), [("k", 1)], {"k": 1}),
    "picture": (FILE, {"bytes": PNG, "path": None}, "data:image/png;base64," + base64.b64encode(PNG).decode()),
    "sound": (FILE, {"bytes": b"x", "path": "a.mp3"}, "data:audio/mpeg;base64,eA=="),
    "pictures": (pa.list_(FILE), [{"bytes": b"?", "path": None}], ["data:application/octet-stream;base64,Pw=="]),
}


@pytest.mark.parametrize(("kind", "value", "given"), VALUES.values(), ids=VALUES)
def test_values_become_those_of_json(table, read, hashes, kind, value, given):
    """Nested ones too; what is missing is null."""
    reader = read(table(x=pa.array([value, None], kind)), format="parquet", inputs=("x",))
    assert [sample.input for sample in reader] == [given, None]
    assert reader.identity(hashes).count == 2


REFUSED = {
    "bytes": (pa.array([b"x"]), "column 'x' holds binary, which is no value of JSON"),
    "nested": (pa.array([{"a": [b"x"]}]), "column 'x.a[]' holds binary"),
    "duration": (pa.array([1], pa.duration("s")), "column 'x' holds duration[s]"),
    "keys": (pa.array([[(1, "a")]], pa.map_(pa.int8(), pa.string())), "column 'x' holds map<int8, string"),
    "path": (pa.array([{"bytes": None, "path": "a.png"}], FILE), "column 'x' holds the path of a file, 'a.png'"),
}


@pytest.mark.parametrize(("column", "told"), REFUSED.values(), ids=REFUSED)
def test_what_json_does_not_know_is_refused_by_name(table, read, column, told):
    """The column, what it holds, and how it is left out; left out, it hinders nobody."""
    path = table(x=column, y=["fine"])
    with pytest.raises(PairError, match="accepted: ") as caught:
        list(read(path, format="parquet"))
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert [sample.input for sample in read(path, format="parquet", inputs=("y",))] == ["fine"]


BROKEN = {
    "id": ({"id_column": "z"}, "id_column: no column 'z'; columns: id, question, answer"),
    "reference": ({"reference": "z"}, "reference: no column 'z'"),
    "inputs": ({"inputs": ("question", "z")}, "inputs: no column 'z'"),
    "nothing": ({"id_column": "id", "reference": "answer", "inputs": ("x",)}, "inputs: no column 'x'"),
    "option": ({"reader": {"file": "x"}}, "unknown key file for format parquet; accepted: files"),
    "pattern": ({"reader": {"files": "../*"}}, "files is '../*'; accepted: a pattern"),
    "number": ({"reader": {"files": 3}}, "files is 3; accepted: a pattern"),
}


@pytest.mark.parametrize(("settings", "told"), BROKEN.values(), ids=BROKEN)
def test_a_setting_that_fits_nothing_is_told(table, read, settings, told):
    """With what is there, or what is accepted."""
    with pytest.raises(PairError) as caught:
        list(read(table(**QUESTIONS), format="parquet", **settings))
    assert told in str(caught.value)


@pytest.mark.parametrize("value", [None, math.nan], ids=["null", "nan"])
def test_a_missing_label_is_told_with_its_file_and_row(table, read, value):
    """Rows are counted in their file, from 1."""
    table("a.parquet", x=["p"], y=[1.0])
    path = table("b.parquet", x=["q", "r"], y=[2.0, value])
    with pytest.raises(PairError, match=r"b\.parquet: row 2: label missing"):
        list(read(path.parent, format="parquet", inputs=("x",), reference="y"))


def test_ids_are_unique_over_all_files(table, read, hashes):
    """An id that stands in two files is told."""
    table("a.parquet", id=["p", "q"], x=[1, 2])
    path = table("b.parquet", id=["r", "q"], x=[3, 4])
    with pytest.raises(PairError, match=r"data: two samples with the id 'q': rows 2 and 4"):
        read(path.parent, format="parquet", id_column="id").identity(hashes)


NO_DATA = {
    "no_parquet": (b"not parquet", "not a file of Parquet that can be read"),
    "empty_file": (b"", "not a file of Parquet that can be read"),
}


@pytest.mark.parametrize(("content", "told"), NO_DATA.values(), ids=NO_DATA)
def test_a_file_that_is_none_is_told(tmp_path, read, hashes, content, told):
    """By its name; it is not tried again."""
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    for attempt in (lambda: list(read(path, format="parquet")), lambda: read(path, format="parquet").identity(hashes)):
        with pytest.raises(PairError, match=told):
            attempt()


def test_a_page_that_is_damaged_is_told(table, read):
    """Where the footer is whole and the data are not."""
    path = table(x=[f"{n} text" for n in range(5000)])
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(data)
    with pytest.raises(PairError, match=r"one\.parquet: not a file of Parquet that can be read"):
        list(read(path, format="parquet"))


def test_nothing_is_told(tmp_path, table, read, hashes):
    """A path that is not there, a directory without files, a table without rows."""
    with pytest.raises(PairError, match="No such file"):
        list(read(tmp_path / "gone.parquet", format="parquet"))
    with pytest.raises(PairError, match=r"the dataset is empty: no file is called \*\.parquet"):
        list(read(tmp_path, format="parquet"))
    with pytest.raises(PairError, match="the dataset is empty; a parquet dataset needs at least one row"):
        read(table(x=pa.array([], pa.string())), format="parquet").identity(hashes)


def test_splits_are_not_mixed(table, read):
    """Files that are called by several splits are one dataset only when one is chosen, and whole."""
    for name in ("test-00000-of-00002", "test-00001-of-00002", "train-00000-of-00001"):
        path = table(f"{name}.parquet", x=[name])
    with pytest.raises(PairError, match="the files of several splits, test, train; accepted: those of one"):
        list(read(path.parent, format="parquet"))
    chosen = {"format": "parquet", "inputs": ("x",), "reader": {"files": "test-*.parquet"}}
    assert [s.input for s in read(path.parent, **chosen)] == ["test-00000-of-00002", "test-00001-of-00002"]
    (path.parent / "test-00001-of-00002.parquet").unlink()
    with pytest.raises(PairError, match=r"1 of 2 files test-…-of-00002\.parquet are there"):
        list(read(path.parent, **chosen))


def test_identity_is_of_the_content(table, read, hashes):
    """The same rows are the same dataset, however they are cut into files; labels and inputs are told apart."""
    settings = {"format": "parquet", "id_column": "id", "reference": "answer"}
    whole = read(table(**QUESTIONS), **settings).identity(hashes)
    table("one.parquet", **{name: values[:1] for name, values in QUESTIONS.items()})
    cut = table("two.parquet", **{name: values[1:] for name, values in QUESTIONS.items()}).parent
    assert read(cut, **settings).identity(hashes) == whole
    relabelled = read(table("two.parquet", **QUESTIONS | {"id": ["b", "c", "d"]}).parent, **settings).identity(hashes)
    assert relabelled.inputs != whole.inputs
    labels = read(table("two.parquet", id=["b", "c"], question=["2+2?", "3+3?"], answer=[4, 7]).parent, **settings)
    assert labels.identity(hashes) == Identity(whole.inputs, labels.identity(hashes).references, 3)
    assert labels.identity(hashes).references != whole.references


def test_few_rows_are_in_memory_at_once():
    """Few where they are large, one at least, and never more than a limit."""
    assert rows_at_once(10**6, 10**6) == MOST_ROWS
    assert rows_at_once(10, 10 * MOST_BYTES) == 1
    assert rows_at_once(100, 2 * MOST_BYTES) == 50
    assert rows_at_once(0, 0) == 1
