"""At the end of a session every pair whose programs wrote CSV has one table, and nothing there fails the session."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from pytest_evalrun.report.mergerun import Mergeable, MissingRows, merge_run, parts_of
from pytest_evalrun.report.merging import Kind
from pytest_evalrun.rundir.shards import WorkerArgs
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import PairKey
from pytest_evalrun.suite.settings import Settings, resolve

KEY = PairKey("digits", "mlp", "clean")


class Ranges:
    """Ranges of programs, as they keep them in a run."""

    def __init__(self, run) -> None:
        self.run = run
        self.paths = run.paths
        self.asked = 0

    def range(self, low, high, ids=None, *, key=KEY, status="completed", ended="2026-01-01T00:00:00Z", form="of {}"):
        """``ids``: what its file has; the range itself without one."""
        files = ()
        if ids is not None:
            name = f"outputs/{'/'.join(key)}/generation_{low}_to_{high}.csv"
            text = "id,answer\n" + "".join(f"{each},{form.format(each)}\n" for each in ids)
            files = (str(self.run.write(self.paths.root / name, text)),)
        args = WorkerArgs(low, high, status=status, ended=ended, files=files, positions=(low, high))
        self.run.write(self.paths.pair(key).worker_args(low, high), json.dumps(asdict(args)))

    def pair(self, count=6, *, key=KEY, rows="one", ids=None):
        def names():
            self.asked += 1
            return map(str, range(count)) if ids is None else ids()

        return Mergeable(key, "/".join(key), Kind("id", rows), names)

    def merge(self, *pairs):
        return merge_run(self.paths, pairs or [self.pair()])

    def table(self, name="digits_mlp_clean_merged.csv"):
        with (self.paths.summary / name).open(newline="", encoding="utf-8") as file:
            return {row["id"]: row["answer"] for row in csv.DictReader(file)}

    @property
    def summary(self):
        return json.loads((self.paths.summary / "merge_summary.json").read_text())


@pytest.fixture
def ranges(run):
    return Ranges(run)


def test_all_ranges_of_a_pair_make_one_table(ranges):
    """In the order of the dataset, with what merge_summary.json says of it."""
    ranges.range(3, 6, [3, 4, 5])
    ranges.range(0, 3, [0, 1, 2])
    assert ranges.merge() == []
    assert list(ranges.table()) == ["0", "1", "2", "3", "4", "5"]
    (entry,) = ranges.summary["programs"]
    assert entry["pair"] == "digits/mlp/clean"
    assert entry["merged"] == "summary/digits_mlp_clean_merged.csv"
    assert [(file["file"], file["rows"]) for file in entry["files"]] == [
        ("outputs/digits/mlp/clean/generation_0_to_3.csv", 3),
        ("outputs/digits/mlp/clean/generation_3_to_6.csv", 3),
    ]
    assert (entry["total"], entry["missing"], entry["doubled"]) == (
        6, {"count": 0, "first": []}, {"count": 0, "first": []},
    )  # fmt: skip


def test_a_run_without_programs_is_not_touched(ranges):
    """No file is written, no dataset read, no pair even looked at."""
    assert merge_run(ranges.paths, iter([None])) == []
    assert not ranges.paths.summary.exists()


def test_what_is_said_of_predictions_stays(ranges):
    """merge_summary.json has both: the predictions of the run, and the files of programs."""
    ranges.run.write(ranges.paths.summary / "merge_summary.json", '{"files": [], "total_rows": 7}')
    ranges.range(0, 6, range(6))
    ranges.merge()
    assert ranges.summary["total_rows"] == 7
    assert len(ranges.summary["programs"]) == 1


def test_a_pair_that_is_not_complete_is_merged_as_far_as_it_goes(ranges):
    """Ranges that failed or still run are left out, and that is said."""
    ranges.range(0, 2, [0, 1])
    ranges.range(2, 4, [2], status="failed")
    ranges.range(4, 6, [4], status="running", ended=None)
    assert ranges.merge() == [
        "digits/mlp/clean: programs completed 2 of 6 samples; their results are merged as far as they go"
    ]
    assert list(ranges.table()) == ["0", "1"]
    assert ranges.summary["programs"][0]["missing"] == {"count": 4, "first": ["2", "3", "4", "5"]}


def test_the_newest_of_overlapping_ranges_counts(ranges):
    """Other shards than last time: each sample comes from the newest program that was asked for it."""
    ranges.range(0, 6, range(6), form="old {}")
    ranges.range(2, 4, range(6), form="new {}", ended="2026-01-02T00:00:00Z")
    ranges.merge()
    assert ranges.table() == {
        "0": "old 0", "1": "old 1", "2": "new 2", "3": "new 3", "4": "old 4", "5": "old 5",
    }  # fmt: skip


def test_no_position_is_in_two_parts():
    """However ranges overlap, each position is taken from exactly one of them."""
    spans = [(0, 10), (5, 15), (2, 4), (14, 20), (30, 31)]
    records = [
        SimpleNamespace(positions=span, status="completed", ended=str(number), files=("f",))
        for number, span in enumerate(spans)
    ]
    taken = sorted(position for part in parts_of(records) for position in range(part.low, part.high))
    assert taken == [*range(20), 30]


def test_nothing_is_merged_twice(ranges):
    """What has not changed since the last merge is not read again; what was said of it is said again."""
    ranges.range(0, 5, [0, 1, 2, 3, 4])
    first = ranges.merge()
    before = (ranges.paths.summary / "digits_mlp_clean_merged.csv").stat().st_ino
    assert ranges.merge() == first != []
    assert ranges.asked == 1
    assert (ranges.paths.summary / "digits_mlp_clean_merged.csv").stat().st_ino == before
    ranges.range(5, 6, [5])
    assert ranges.merge() == []
    assert len(ranges.table()) == 6


@pytest.mark.parametrize("damage", ["table", "summary"])
def test_what_somebody_damaged_is_merged_anew(ranges, damage):
    """A table that is not what it was, or an entry that cannot be read, is no reason to believe it."""
    ranges.range(0, 6, range(6))
    ranges.merge()
    if damage == "table":
        (ranges.paths.summary / "digits_mlp_clean_merged.csv").write_text("id\n")
    else:
        (ranges.paths.pair(KEY).programs / "merge_summary.json").write_text('{"torn')
    assert ranges.merge() == []
    assert len(ranges.table()) == 6


def test_pairs_of_earlier_launches_stay_listed(ranges):
    """A launch of some pairs merges those; the summary is that of the run."""
    other = PairKey("digits", "mlp", "noisy")
    for key in (KEY, other):
        ranges.range(0, 6, range(6), key=key)
    ranges.merge(ranges.pair(key=KEY), ranges.pair(key=other))
    ranges.merge(ranges.pair(key=other))
    assert [entry["pair"] for entry in ranges.summary["programs"]] == ["digits/mlp/clean", "digits/mlp/noisy"]


def test_names_never_meet(ranges):
    """Tables that would have one name, or that of a suite's predictions, carry a hash each."""
    keys = [PairKey("a_b", "c", "d"), PairKey("a", "b_c", "d"), PairKey("a", "B", "c_d"), PairKey("x", "y", "z")]
    ranges.run.predictions("x_y_z", "t", "d", [(0, 1, 1)])
    for key in keys:
        ranges.range(0, 1, [0], key=key, form=f"{'/'.join(key)} {{}}")
    assert ranges.merge(*[ranges.pair(1, key=key) for key in keys]) == []
    places = [entry["merged"] for entry in ranges.summary["programs"]]
    assert len({place.casefold() for place in places} | {"summary/x_y_z_merged.csv"}) == 5
    for key, entry in zip(sorted(keys), ranges.summary["programs"], strict=True):
        assert ranges.table(entry["merged"].removeprefix("summary/")) == {"0": f"{'/'.join(key)} 0"}


def test_long_names_fit(ranges):
    """The names of suite, task and dataset together may be longer than a file's name."""
    key = PairKey("s" * 100, "t" * 100, "d" * 100)
    ranges.range(0, 1, [0], key=key)
    assert ranges.merge(ranges.pair(1, key=key)) == []
    assert len(ranges.summary["programs"][0]["merged"]) < 150


def test_what_is_wrong_with_files_is_said(ranges):
    """A few files by name, and how many more there are."""
    for low in range(5):
        ranges.range(low, low + 1, [])
    remarks = ranges.merge(ranges.pair(5))
    assert remarks == [
        *(
            f"digits/mlp/clean: outputs/digits/mlp/clean/generation_{low}_to_{low + 1}.csv: it has a header and no rows"
            for low in range(3)
        ),
        "digits/mlp/clean: and 2 more of its programs' files; see summary/merge_summary.json",
    ]


def test_nothing_fails_the_session(ranges):
    """A reader that raises, or a directory that takes no file, is a remark; the other pairs are merged."""

    def broken():
        raise ValueError("the dataset is gone")

    other = PairKey("digits", "mlp", "noisy")
    for key in (KEY, other):
        ranges.range(0, 6, range(6), key=key)
    remarks = ranges.merge(ranges.pair(ids=broken), ranges.pair(key=other))
    assert remarks == ["digits/mlp/clean: the results of its programs could not be merged: the dataset is gone"]
    assert len(ranges.table("digits_mlp_noisy_merged.csv")) == 6


def test_a_summary_that_cannot_be_written_is_a_remark(ranges):
    """Not even that fails the session."""
    ranges.range(0, 6, range(6))
    ranges.run.write(ranges.paths.summary, "in the way")
    remarks = ranges.merge()
    assert len(remarks) == 1
    assert remarks[0].startswith("digits/mlp/clean: the results of its programs could not be merged: ")


def test_files_of_an_earlier_place_are_told(ranges):
    """Results that somebody deleted are named, and what is left is merged."""
    ranges.range(0, 3, [0, 1, 2])
    ranges.range(3, 6, [3, 4, 5])
    (ranges.paths.root / "outputs/digits/mlp/clean/generation_3_to_6.csv").unlink()
    assert ranges.merge() == ["digits/mlp/clean: outputs/digits/mlp/clean/generation_3_to_6.csv: it vanished"]
    assert list(ranges.table()) == ["0", "1", "2"]


def program(**values):
    return resolve([Layer("suite", "evalrun.yaml", {"adapter": "command"} | values)])


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (program(results={"csv": "x.csv"}), Kind("id")),
        (program(results={"csv": "x.csv"}, id_column="n", rows="any"), Kind("n", "any")),
        (program(results={"csv": "x.csv", "id_column": "data_id"}, id_column="n"), Kind("data_id")),
        (program(results={"jsonl": "x.jsonl"}), None),
        (Settings(), None),
    ],
)
def test_which_pairs_are_merged(settings, kind):
    """Those whose programs write CSV, by the id column of the results, else of the suite."""
    found = Mergeable.of(KEY, "digits/mlp/clean", settings, list)
    assert (found.kind if found else None) == kind


def complete(ranges, failed=0):
    """A pair whose two ranges were merged, and its result and marker."""
    for low in (0, 3):
        ranges.range(low, low + 3, range(low, low + 3 - (failed if low else 0)))
    path = ranges.run.result(*KEY, total=6, predicted=6 - failed, failed=failed)
    for each in (ranges.paths.pair(KEY).predictions, ranges.paths.pair(KEY).marker):
        ranges.run.write(each, "{}")
    assert path
    assert ranges.merge() == []
    return (ranges.paths.summary / "digits_mlp_clean_merged.csv").read_bytes()


def record(ranges):
    return ranges.paths.pair(KEY).worker_args(3, 6)


LOSSES = {
    "a record is damaged": (lambda r: record(r).write_text("{"), 3),
    "a record is gone": (lambda r: record(r).unlink(), 3),
    "a record is a FIFO": (lambda r: (record(r).unlink(), os.mkfifo(record(r))), 3),
    "all records are gone": (lambda r: shutil.rmtree(r.paths.root / "shards"), 6),
    "a result is gone": (lambda r: (r.paths.root / "outputs/digits/mlp/clean/generation_3_to_6.csv").unlink(), 3),
    "a result lost rows": (lambda r: r.range(3, 6, [3, 4]), 1),
    "all results are gone": (lambda r: shutil.rmtree(r.paths.root / "outputs"), 6),
    "a result is a FIFO": (
        lambda r: [
            each(r.paths.root / "outputs/digits/mlp/clean/generation_3_to_6.csv") for each in (os.unlink, os.mkfifo)
        ],
        3,
    ),
}


@pytest.mark.parametrize(("lose", "lost"), LOSSES.values(), ids=LOSSES)
def test_a_table_is_never_replaced_by_a_poorer_one(ranges, lose, lost):
    """What programs wrote may go: the complete table stays, and an ERROR line and the summary say what is gone."""
    whole = complete(ranges)
    lose(ranges)
    for _ in range(2):
        told = [str(remark) for remark in ranges.merge()]
        assert told[0].startswith(f"ERROR: digits/mlp/clean: what its programs wrote is gone for {lost} of 6 samples")
        assert "the merged file stays as it was, with 6 rows" in told[0]
        assert (ranges.paths.summary / "digits_mlp_clean_merged.csv").read_bytes() == whole
        (entry,) = ranges.summary["programs"]
        assert (entry["missing"]["count"], entry["kept"]) == (lost, 6)
        assert entry["merged"] == "summary/digits_mlp_clean_merged.csv"


def test_a_table_that_lacks_rows_is_told_as_such(ranges):
    """Where the complete one is gone too it is merged as far as it goes: that is an ERROR, each time."""
    complete(ranges)
    record(ranges).write_text("{")
    (ranges.paths.summary / "digits_mlp_clean_merged.csv").unlink()
    for _ in range(2):
        told = ranges.merge()
        assert told[0].startswith(
            "ERROR: digits/mlp/clean: what its programs wrote is gone for 3 of 6 samples (worker_"
        )
        assert "the merged file lacks them; --eval-fresh" in told[0]
        assert isinstance(told[0], MissingRows)
    assert list(ranges.table()) == ["0", "1", "2"]


def test_samples_that_were_allowed_to_fail_are_no_loss(ranges):
    """A pair is complete without their rows."""
    complete(ranges, failed=1)
    assert len(ranges.table()) == 5
    assert ranges.summary["programs"][0]["missing"]["count"] == 1


def test_an_unfinished_pair_leaves_the_table_of_the_last_complete_one(ranges):
    """As its result stays until the new one is complete; then the new table comes, and be it shorter."""
    whole = complete(ranges)
    ranges.paths.pair(KEY).marker.unlink()
    record(ranges).unlink()
    assert ranges.merge() == [
        "digits/mlp/clean: programs completed 3 of 6 samples; the merged file stays as it was, with 6 rows"
    ]
    assert (ranges.paths.summary / "digits_mlp_clean_merged.csv").read_bytes() == whole
    ranges.range(0, 3, [0, 1, 2], form="of a shorter dataset: {}")
    assert ranges.merge(ranges.pair(3)) == []
    assert len(ranges.table()) == 3


def test_ranges_that_were_put_aside_are_not_merged(ranges):
    """They are of other predictions."""
    complete(ranges)
    (ranges.paths.root / "shards/digits/mlp/clean").rename(ranges.paths.root / "shards/digits/mlp/clean.stale")
    ranges.range(0, 6, range(6))
    assert ranges.merge() == []
    assert len(ranges.summary["programs"]) == 1
