"""Rows that a program wrote, put to their samples: any order, any damage."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import PairError
from pytest_evalrun.programs.placing import place
from pytest_evalrun.programs.tables import CsvTable, JsonlTable

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=6)
ROWS = st.lists(st.tuples(st.integers(0, 12), CELL), max_size=30)


def written(tmp_path, data, name="a.csv"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def csv_of(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("id", "answer"), *rows])
    return text.getvalue()


def rows(tmp_path, data, *, whole=True, kind=CsvTable):
    table = kind(written(tmp_path, data), "id", whole)
    return [row.values for row in table.rows()], table


@given(ROWS)
def test_every_row_to_its_sample(tmp_path_factory, found):
    """Rows come by sample, those of one sample in the order in which they were written, from CSV and JSON lines."""
    tmp_path = tmp_path_factory.mktemp("rows")
    lines = "".join(json.dumps({"id": i, "answer": answer}) + "\n" for i, answer in found)
    tables = (
        CsvTable(written(tmp_path, csv_of(found)), "id", True),
        JsonlTable(written(tmp_path, lines, "b"), "id", True),
    )
    for table in tables:
        placed = [(p.position, [r.values["answer"] for r in p.rows]) for p in place([table], _ids, strict=True)]
        expected = {i: [answer for other, answer in found if other == i] for i, _ in found}
        assert placed == sorted(expected.items())


def _ids():
    return (str(number) for number in range(13))


def test_several_files(tmp_path):
    """Rows of one sample may stand in several files."""
    tables = [
        CsvTable(written(tmp_path, csv_of(rows_), name), "id", True)
        for name, rows_ in (("a", [(3, "x"), (1, "y")]), ("b", [(1, "z")]))
    ]
    placed = [(p.position, [r.values["answer"] for r in p.rows]) for p in place(tables, _ids, strict=True)]
    assert placed == [(1, ["y", "z"]), (3, ["x"])]


def test_rows_of_others(tmp_path):
    """A row of an unknown sample is an error where only samples that were asked may be there, else passed over.

    An id that is no text at all, half a character, is one of those.
    """
    path = written(tmp_path, csv_of([(1, "x"), (99, "y")]))
    assert [p.position for p in place([CsvTable(path, "id", True)], _ids, strict=False)] == [1]
    with pytest.raises(PairError, match=r"a\.csv:3: a row of '99', a sample that was not asked for"):
        list(place([CsvTable(path, "id", True)], _ids, strict=True))
    half = written(tmp_path, '{"id": 2}\n{"id": "\\ud800"}\n{"id": 1}\n')
    assert [p.position for p in place([JsonlTable(half, "id", True)], _ids, strict=False)] == [1, 2]


def test_a_column_that_stands_twice_is_refused(tmp_path):
    """In a header or in a line of JSON: nobody can tell which of the two was meant."""
    with pytest.raises(PairError, match=r"a\.csv:1: two columns are called 'answer'"):
        rows(tmp_path, "id,answer,answer\n1,a,b\n")
    with pytest.raises(PairError, match=r"a\.csv:1: not a line of JSON: the key 'answer' stands there twice"):
        rows(tmp_path, '{"id": 1, "answer": "a", "answer": "b"}\n', kind=JsonlTable)


FILES = {
    "BOM": (b"\xef\xbb\xbfid,answer\n1,a\n", [{"id": "1", "answer": "a"}]),
    "CRLF": (b"id,answer\r\n1,a\r\n", [{"id": "1", "answer": "a"}]),
    "newline in quotes": (b'id,answer\n1,"a\nb"\n2,c\n', [{"id": "1", "answer": "a\nb"}, {"id": "2", "answer": "c"}]),
    "empty lines": (b"id,answer\n\n1,a\n\n", [{"id": "1", "answer": "a"}]),
    "header only": (b"id,answer\n", []),
    "nothing": (b"", []),
    "no newline at the end": (b"id,answer\n1,a", [{"id": "1", "answer": "a"}]),
}


@pytest.mark.parametrize("file", FILES)
def test_sound_files(tmp_path, file):
    """What programs of all systems write is read."""
    data, expected = FILES[file]
    assert rows(tmp_path, data)[0] == expected


BROKEN = {
    "columns": (b"id,answer\n1,a\n2\n3,c\n", r"a\.csv:3: the row has 1 columns, the header 2"),
    "header": (b"id,id\n1,a\n", "two columns are called 'id'"),
    "quote in the header": (b'id,"answer\n1,a\n', r"a\.csv:2: not a row of CSV: unexpected end of data"),
    "no id": (b"number,answer\n1,a\n", "no column 'id' for the ids; columns: number, answer"),
    "encoding": (b"id,answer\n1,caf\xe9\n", "not UTF-8: byte 0xe9"),
}


@pytest.mark.parametrize("file", BROKEN)
def test_broken_files(tmp_path, file):
    """What is wrong is told with file and line; of an interrupted program, what comes before is taken."""
    data, reason = BROKEN[file]
    with pytest.raises(PairError, match=reason):
        rows(tmp_path, data)
    if file != "header":
        assert len(rows(tmp_path, data, whole=False)[0]) == (1 if file == "columns" else 0)


def test_torn_ends(tmp_path):
    """A last line that was not ended is torn; of an interrupted program even one that looks whole is not believed."""
    found, table = rows(tmp_path, b"id,answer\n1,a\n2")
    assert ([row["id"] for row in found], table.torn) == (["1"], f"{table.path}:3: the last line is torn")
    assert [row["id"] for row in rows(tmp_path, b"id,answer\n1,a\n2,12", whole=False)[0]] == ["1"]
    found, table = rows(tmp_path, b'{"id": 1}\n{"id": 2', kind=JsonlTable)
    assert (len(found), bool(table.torn)) == (1, True)


def test_lines_that_are_no_objects(tmp_path):
    """Every line of JSON lines is an object with the id."""
    for data, reason in (
        (b"[1]\n", "a list, not an object"),
        (b"{\n", "not a line of JSON"),
        (b"{1}\n", r"a\.csv:1: not a line of JSON: [^()]*\(column 2\)"),
        (b"[" * 9000 + b"\n", "nested too deeply"),
        (b"{}\n", "no column 'id'"),
    ):
        with pytest.raises(PairError, match=reason):
            rows(tmp_path, data, kind=JsonlTable)


def test_limit_of_a_cell_is_given_back(tmp_path):
    """A cell may be longer than what the csv module reads by default; nobody else's reader is changed."""
    before = csv.field_size_limit()
    path = tmp_path / "a.csv"
    path.write_text("id,answer\n0," + "x" * (before + 1) + "\n")
    rows = CsvTable(path, "id", True).rows()
    assert len(next(rows).values["answer"]) == before + 1
    assert csv.field_size_limit() == before
