"""Programs' CSV files as one: in the order of ids, every value as it was, and what is wrong told by file."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun.report.merging import NAMED, Kind, RangeFile, merge_parts
from pytest_evalrun.suite.csvtext import CsvRows

TEN = [str(i) for i in range(10)]


class Merging:
    """Files ``a``, ``b``, … in a directory, and their merge."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.table = root / "out" / "x_merged.csv"

    def file(self, name, content):
        """``content``: bytes, text, or rows of which the first is the header."""
        path = self.root / name
        if isinstance(content, list):
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(content)
            content = text.getvalue()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def merge(self, *files, expected=None, id_column="id", rows="one", by="position"):
        """``files`` are (content, low, high)."""
        parts = []
        for name, (content, low, high) in zip("abcdefgh", files, strict=False):
            path = content if isinstance(content, Path) else self.file(f"{name}.csv", content)
            parts.append(RangeFile(path, low, high))
        self.merged = merge_parts(parts, self.table, Kind(id_column, rows, by), expected, base=self.root)
        return self.merged

    @property
    def rows(self):
        with self.table.open(newline="", encoding="utf-8") as file:
            return list(iter(CsvRows(file).next, None))

    @property
    def ids(self):
        return [row[0] for row in self.rows[1:]]

    def problems(self):
        return {file.file: list(file.problems) for file in self.merged.files if file.problems}


@pytest.fixture
def merging(tmp_path):
    return Merging(tmp_path)


def table(*ids, name="answer", form="of {}"):
    return [["id", name], *([str(each), form.format(each)] for each in ids)]


def test_files_in_order_are_put_together(merging):
    """Parts come in the order of their ranges, however they are given; nothing else is left behind."""
    merged = merging.merge((table(5, 6, 7), 5, 8), (table(0, 1, 4), 0, 5), expected=TEN)
    assert merging.rows == table(0, 1, 4, 5, 6, 7)
    assert [(file.file, file.rows) for file in merged.files] == [("b.csv", 3), ("a.csv", 3)]
    assert [path.name for path in merging.table.parent.iterdir()] == ["x_merged.csv"]


@pytest.mark.parametrize("expected", [None, [str(i) for i in range(20)]], ids=["unknown", "known"])
def test_numbers_come_by_number(merging, expected):
    """Ids that are all integers are sorted as such, in a file and between files."""
    merging.merge((table(10, 9, 2), 0, 20), (table(-1, 11, 3), 0, 20), expected=expected)
    assert merging.ids == ["-1", "2", "3", "9", "10", "11"]
    assert merging.merged.order == "number"


def test_texts_come_in_dataset_order(merging):
    """Where ids are texts the dataset says which comes first."""
    names = ["kiwi", "apple", "fig", "date"]
    merging.merge((table("fig", "date"), 2, 4), (table("apple", "kiwi"), 0, 2), expected=iter(names))
    assert merging.ids == names
    assert merging.merged.order == "position"


def test_texts_of_no_known_dataset_come_by_text(merging):
    """Where nobody knows better, ids are sorted as text; one that is no integer, wherever, makes texts of all."""
    merging.merge((table("10", "a", "9"), 0, 3), (table("1"), 3, 4))
    assert merging.ids == ["1", "10", "9", "a"]
    assert merging.merged.order == "text"


def test_rows_of_one_id_stay_as_they_came(merging):
    """With rows: any an id has any number of rows; they keep their order, sorted or not, and are not called doubled."""
    rows = [["id", "n"], ["3", "a"], ["1", "x"], ["3", "b"], ["1", "y"], ["3", "c"]]
    merged = merging.merge((rows, 0, 5), expected=TEN[:5], rows="any")
    assert merging.rows[1:] == [["1", "x"], ["1", "y"], ["3", "a"], ["3", "b"], ["3", "c"]]
    assert (merged.missing, merged.doubled) == (None, None)


def test_missing_and_doubled_ids_are_told(merging):
    """With rows: one the ids without a row and those with several are counted, and the first of them named."""
    merged = merging.merge((table(0, 2, 2), 0, 5), (table(7, 5, 5, 5), 5, 10), expected=TEN)
    assert (merged.missing, merged.first_missing) == (6, ("1", "3", "4", "6", "8", "9"))
    assert (merged.doubled, merged.first_doubled) == (2, (("2", 2), ("5", 3)))
    assert merging.ids == ["0", "2", "2", "5", "5", "5", "7"]


def test_only_so_many_ids_are_named(merging):
    """A summary of millions of missing ids is no summary."""
    names = [f"n{i}" for i in range(100)]
    merged = merging.merge((table(*[name for name in names[50:] for _ in range(2)]), 0, 100), expected=names)
    assert (merged.missing, len(merged.first_missing)) == (50, NAMED)
    assert (merged.doubled, len(merged.first_doubled)) == (50, NAMED)


def test_without_the_ids_of_the_dataset_a_number_is_told(merging):
    """Ranges of positions say how many rows there should be; ranges of ids say nothing."""
    assert merging.merge((table(0, 1), 0, 5)).missing == 3
    assert merging.merge((table(0, 1), 0, 5), by="id").missing is None


def test_rows_of_other_ranges_are_left_out(merging):
    """A file that an interrupted program left counts only for the range that was taken over from it."""
    merging.merge((table(0, 1, 2, 3), 0, 2), (table(2, 3, 4, 5, form="new {}"), 2, 5), expected=TEN)
    assert merging.rows[1:] == [["0", "of 0"], ["1", "of 1"], ["2", "new 2"], ["3", "new 3"], ["4", "new 4"]]
    assert merging.problems() == {
        "a.csv": ["2 rows of other ranges left out (first: id 2)"],
        "b.csv": ["1 row of other ranges left out (id 5)"],
    }


def test_a_file_counts_for_several_ranges(merging):
    """What was done again in the middle of a range replaces only that."""
    old = merging.file("old.csv", table(0, 1, 2, 3))
    merging.merge((old, 0, 1), (table(1, form="new {}"), 1, 2), (old, 2, 4), expected=TEN[:4])
    assert merging.rows[1:] == [["0", "of 0"], ["1", "new 1"], ["2", "of 2"], ["3", "of 3"]]


def test_ranges_of_ids(merging):
    """``by: id`` means values of the id column; what is no integer has no place."""
    merging.merge((table(100, 205, "nan"), 100, 200), (table(200, 299), 200, 300), by="id")
    assert merging.ids == ["100", "200", "299"]
    assert merging.problems()["a.csv"] == [
        "1 row of other ranges left out (id 205)",
        "1 row left out: the id is no integer (id nan)",
    ]


def test_ids_of_ranges_by_value_are_known_too(merging):
    """The dataset's ids say what is missing, whatever ranges mean."""
    merged = merging.merge((table(30, 10), 0, 40), expected=["10", "20", "30"], by="id")
    assert (merging.ids, merged.first_missing) == (["10", "30"], ("20",))


@pytest.mark.parametrize("ids", [("a", "stray", "b"), ("b", "a", "stray")])
def test_ids_that_the_dataset_does_not_have_are_kept_and_told(merging, ids):
    """A row is never thrown away for its id; it stays behind its neighbour."""
    merging.merge((table(*ids), 0, 2), (table("c"), 2, 3), expected=["a", "b", "c"])
    assert sorted(merging.ids) == ["a", "b", "c", "stray"]
    assert merging.ids[-1] == "c"
    assert merging.problems() == {"a.csv": ["1 row with an id that the dataset does not have (id stray)"]}


def test_without_ids_ranges_are_put_together(merging):
    """Where there is no id column, the rows come as they are, range by range."""
    merged = merging.merge(([["v"], ["y"], ["x"]], 2, 5), ([["v"], ["b"], ["a"]], 0, 2), id_column=None)
    assert merging.ids == ["b", "a", "y", "x"]
    assert (merged.order, merged.missing, merged.doubled) == ("range", 1, None)


def test_columns_are_united(merging):
    """In the order of their first appearance; a file with others is told, and its rows are filled up."""
    merging.merge(
        ([["id", "a", "b"], ["0", "1", "2"]], 0, 1),
        ([["c", "id", "a"], ["x,y", "1", "3"]], 1, 2),
        ([["b", "a", "id"], ["4", "5", "2"]], 2, 3),
    )
    assert merging.rows == [["id", "a", "b", "c"], ["0", "1", "2", ""], ["1", "3", "", "x,y"], ["2", "5", "4", ""]]
    assert merging.problems() == {
        "b.csv": ["its columns are not those of a.csv: it lacks b; it has c besides"],
        "c.csv": ["its columns are not those of a.csv: they stand in another order, or another number of times"],
    }


BAD = {
    "empty": (b"", "it is empty", []),
    "blank": (b"\n\n", "it is empty", []),
    "header only": (b"id,answer\n", "it has a header and no rows", []),
    "torn": (b"id,answer\n5,of 5\n6", "its last row is torn (1 of 2 fields) and left out (line 3)", ["5"]),
    "torn in quotes": (b'id,answer\n5,of 5\n6,"of\n',
                       "its last row is torn (2 of 2 fields) and left out (line 3)", ["5"]),
    "too many": (b"id,answer\n5,of 5\n6,a,b\n7,c,d\n8,of 8\n",
                 "2 rows left out: not as many fields as the 2 of the header (first: line 3)", ["5", "8"]),
    "too few": (b"id,answer\n5\n6,of 6\n",
                "1 row left out: not as many fields as the 2 of the header (line 2)", ["6"]),
    "no id": (b"ID,answer\n5,x\n", "left out: it has no column 'id'; columns: ID, answer", []),
    "utf-16": ("id,answer\n5,füß\n".encode("utf-16"), "it is UTF-16; merged as UTF-8", ["5"]),
    "half of utf-16": ("id,answer\n5,of 5\n6,of 6\n".encode("utf-16")[:-1], "its text ends in the middle", []),
}  # fmt: skip


@pytest.mark.parametrize(("content", "problem", "ids"), BAD.values(), ids=BAD)
def test_a_bad_file_is_told_and_the_rest_merged(merging, content, problem, ids):
    """What is wrong is told by the file's name; its good rows and all other files are there."""
    merging.merge((table(0, 1), 0, 2), (content, 2, 10), (table(10, 11), 10, 12))
    assert merging.ids == ["0", "1", *ids, "10", "11"]
    assert merging.problems()["b.csv"][-1].startswith(problem)
    assert set(merging.problems()) == {"b.csv"}


def test_a_file_that_vanished(merging):
    """A file that is no more, or never was one, costs nobody else's rows."""
    merging.merge((merging.root / "gone.csv", 0, 2), (merging.root, 2, 4), (table(5), 4, 6))
    assert merging.ids == ["5"]
    assert merging.problems()["gone.csv"] == ["it vanished"]
    assert merging.problems()["."] == ["it cannot be read: Is a directory"]


def test_nothing_at_all(merging):
    """Without any header there is no table; an older one is not taken away."""
    merged = merging.merge((b"", 0, 2), expected=TEN)
    assert (merged.table, merged.total, merged.missing) == (None, 0, 10)
    assert not merging.table.exists()


def test_the_last_row_needs_no_end_of_line(merging):
    """A whole row is a whole row."""
    merging.merge((b"id,answer\n1,of 1", 0, 2), (table(3), 2, 4))
    assert merging.rows == table(1, 3)
    assert not merging.problems()


def test_columns_of_one_name_are_kept(merging):
    """Both come out, and the file is told."""
    merging.merge(([["id", "a", "a"], ["0", "x", "y"]], 0, 1), ([["a", "id"], ["z", "1"]], 1, 2))
    assert merging.rows == [["id", "a", "a"], ["0", "x", "y"], ["1", "z", ""]]
    assert merging.problems()["a.csv"] == ["several columns are called 'a'"]


def test_bom_and_line_ends_are_no_part_of_values(merging):
    """A mark at the start and carriage returns at line ends go; those inside quotes stay."""
    merging.merge(
        (b'\xef\xbb\xbfid,answer\r\n0,"a\r\nb"\r\n\r\n1,"c ""d"""\r\n', 0, 2), (b"id,answer\r2,x\r3,y\r", 2, 4)
    )
    assert merging.rows == [["id", "answer"], ["0", "a\r\nb"], ["1", 'c "d"'], ["2", "x"], ["3", "y"]]
    assert merging.table.read_bytes().endswith(b"2,x\n3,y\n")
    assert not merging.problems()


def test_bytes_that_are_not_utf8_stay(merging):
    """Nobody guesses an encoding: the bytes come out as they went in, sorted too, and the file is told."""
    text = "id,answer\n1,答\n0,é\n".encode("gb18030")
    merging.merge((text, 0, 2))
    assert merging.table.read_bytes() == "id,answer\n0,é\n1,答\n".encode("gb18030")
    assert merging.problems() == {"a.csv": ["2 rows not in UTF-8; merged as they are (first: line 2)"]}


def test_long_fields(merging):
    """A field may be longer than what the csv module reads by default; its limit is given back."""
    limit = 1 << 17
    before = csv.field_size_limit(limit)
    merging.merge(([["id", "answer"], ["0", "x" * (limit + 1)], ["1", "y\n" * limit]], 0, 2))
    assert [len(row[1]) for row in merging.rows[1:]] == [limit + 1, 2 * limit]
    assert csv.field_size_limit(before) == limit


def test_a_stray_quote_does_not_fill_the_memory(merging, monkeypatch):
    """What a quote that is never closed swallows is bounded; the rows before it are there."""
    monkeypatch.setattr("pytest_evalrun.suite.csvtext.LONGEST_CELL", 1000)
    merging.merge((b'id,answer\n0,x\n1,"' + b"2,y\n" * 1000, 0, 2))
    assert merging.ids == ["0"]
    (problem,) = merging.problems()["a.csv"]
    assert problem.startswith("read up to line 253: ")


def test_as_json(merging):
    """merge_summary.json: files, rows and problems, the total, what is missing and doubled, the columns."""
    merged = merging.merge((table(0, 0, 1), 0, 2), (b"", 2, 3), expected=TEN[:3])
    assert json.loads(json.dumps(merged.to_json())) == {
        "files": [
            {"file": "a.csv", "rows": 3, "problems": []},
            {"file": "b.csv", "rows": 0, "problems": ["it is empty"]},
        ],
        "total": 3,
        "columns": ["id", "answer"],
        "order": "number",
        "expected": 3,
        "missing": {"count": 1, "first": ["2"]},
        "doubled": {"count": 1, "first": [{"id": "0", "rows": 2}]},
    }  # fmt: skip


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    [
        "",
        '"',
        '""',
        "a,b",
        "a\nb",
        "\r",
        "a\r\nb",
        "NA",
        "007",
        "1e5",
        " x ",
        "\x00",
        "'",
        "\\",
        "#",
        "\u2028",
        "\ufeff",
    ]
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.integers(0, 30), CELLS, CELLS), max_size=20),
    cut=st.integers(0, 20),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    known=st.booleans(),
    swapped=st.booleans(),
)
def test_every_value_comes_out_as_it_was(merging, rows, cut, quoting, known, swapped):
    """Whatever the cells are, in whatever order: the table has the same rows, sorted by id and stable."""
    parts = []
    for chunk, order in ((rows[:cut], [0, 1, 2]), (rows[cut:], [2, 0, 1] if swapped else [0, 1, 2])):
        text = io.StringIO(newline="")
        writer = csv.writer(text, quoting=quoting, lineterminator="\r\n")
        writer.writerows([[str(row[i]) for i in order] for row in [("id", "a", "b"), *chunk]])
        parts.append((text.getvalue(), 0, 31))
    merging.merge(*parts, expected=map(str, range(31)) if known else None, rows="any")
    wanted = sorted(rows, key=lambda row: row[0])
    assert [(int(a), b, c) for a, b, c in merging.rows[1:]] == wanted


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), count=st.integers(1, 40))
def test_cuts_do_not_matter(merging, data, count):
    """However a dataset is cut, and in whatever order programs write, the table is the same."""
    names = [f"s{i * 7919 % 1000}" for i in range(count)]
    cuts = sorted({0, count, *data.draw(st.lists(st.integers(0, count), max_size=5))})
    parts = []
    for low, high in pairwise(cuts):
        parts.append((table(*data.draw(st.permutations(names[low:high]))), low, high))
    merged = merging.merge(*parts, expected=names)
    assert merging.ids == names
    assert (merged.missing, merged.doubled, merged.problems) == (0, 0, [])


PEAK = """
import resource, sys
from pathlib import Path
from pytest_evalrun.report.merging import Kind, RangeFile, merge_parts

directory, count, order = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
ids = range(count) if order == "sorted" else range(count - 1, -1, -1)
with (directory / "big.csv").open("w") as file:
    file.write("id,answer\\n")
    for number in ids:
        file.write(f"{number},{number:04}" + "xyz " * 1000 + "\\n")
parts = [RangeFile(directory / "big.csv", 0, count)]
merged = merge_parts(parts, directory / "m.csv", Kind("id"), map(str, range(count)))
assert (merged.total, merged.missing) == (count, 0), merged
with (directory / "m.csv").open() as file:
    next(file)
    assert all(int(line.partition(",")[0]) == number for number, line in enumerate(file))
status = Path("/proc/self/status")
if status.exists():  # there ru_maxrss includes what the parent had when it forked
    print(next(int(line.split()[1]) for line in status.open() if line.startswith("VmHWM")) >> 10)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("order", "count"), [("sorted", 50_000), ("reversed", 25_000)])
def test_memory_does_not_grow_with_the_files(tmp_path, order, count):
    """200 MB that are in order, and 100 MB that are not, are merged in less than 100 MB."""
    run = [sys.executable, "-c", PEAK, str(tmp_path), str(count), order]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100


def test_a_killed_merge_leaves_the_table_that_was(merging):
    """The table is replaced in one step, and what lies aside has no name or is hidden."""
    merging.merge((table(1), 0, 2))
    big = merging.file("big.csv", table(*range(200_000, 0, -1)))
    program = (
        "import sys; from pathlib import Path; from pytest_evalrun.report.merging import *\n"
        "merge_parts([RangeFile(Path(sys.argv[1]), 0, 9**9)], Path(sys.argv[2]), Kind('id'))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(big), str(merging.table)])
    deadline = time.monotonic() + 120
    while len(list(merging.table.parent.iterdir())) == 1 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert merging.ids == ["1"]
    assert all(path.name.startswith(".") for path in merging.table.parent.iterdir() if path != merging.table)
