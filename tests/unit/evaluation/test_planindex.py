"""What a listing remembers for the next one: believed as long as nothing changed, and never longer."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_evalrun.evaluation import selection
from pytest_evalrun.evaluation.selection import verdicts
from pytest_evalrun.rundir import hashes
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.planindex import PlanIndex

METRICS = ["exact_match", "./m.py:off_by"]


class Listed:
    """An evaluated pair, and what a listing says of it with what an earlier one noted, and without that."""

    def __init__(self, shop, evaluator, monkeypatch) -> None:
        self.shop = shop
        self.workdir = evaluator.workdir
        self.run = evaluator.run
        self.pair = shop.pair(metrics=METRICS)
        self.files = evaluator.context().paths.pair(self.pair.key)
        self._patch = monkeypatch

    def with_index(self):
        return [(v.action, v.reason, v.size) for v in verdicts([self.pair], self.workdir, "latest")]

    def without(self):
        with self._patch.context() as patch:
            patch.setattr(PlanIndex, "entry", lambda *_: None)
            patch.setattr(PlanIndex, "note", lambda *_: None)
            return self.with_index()

    def from_index_alone(self):
        """An error where the pair must be planned."""
        with self._patch.context() as patch:
            patch.setattr(selection, "plan_of", None)
            return self.with_index()


@pytest.fixture
def settled(monkeypatch):
    """Files that were just written count as old."""
    monkeypatch.setattr(hashes, "RACY_NS", -(10**12))


@pytest.fixture
def listed(shop, evaluator, monkeypatch):
    """Evaluated, and not yet listed."""
    evaluator.run.mkdir(parents=True)
    (evaluator.run / "run.json").write_text('{"format": 1}')
    (evaluator.workdir / "latest").symlink_to("run 1")
    shop.data()
    evaluator(shop.pair(metrics=METRICS))
    return Listed(shop, evaluator, monkeypatch)


def changed(path: Path) -> None:
    """Another content of the same size."""
    data = path.read_bytes()
    path.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])


def hidden(path: Path) -> None:
    """The same, with its times set back."""
    before = path.stat()
    changed(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def copied(path: Path) -> None:
    """The same content and times in another file."""
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def another(path: Path) -> None:
    """A marker that vouches for less, and for something else."""
    content = json.loads(path.read_text())
    content["files"].popitem()
    content["fingerprint"]["score"]["references"] = "none"
    path.write_text(json.dumps(content))


FILES = ("marker", "predictions", "result", "scores", "fingerprint")
HARM = (Path.unlink, changed, hidden, longer, touched, copied, linked, nowhere, directory, fifo)
WANTED = {
    "more data": lambda shop: shop.data(count=7),
    "other labels": lambda shop: shop.data(wrong={1}),
    "broken data": lambda shop: shop.data().write_text("{"),
    "no data": lambda shop: shop.data().unlink(),
    "another model": lambda shop: (shop.root / "weights.bin").write_bytes(b"other"),
    "no model": lambda shop: (shop.root / "weights.bin").unlink(),
    "another adapter": lambda shop: longer(shop.root / "model.py"),
    "another metric": lambda shop: longer(shop.root / "m.py"),
}
SETTINGS = {
    "parameters": {"params": {"plus": 1}},
    "metrics": {"metrics": ["exact_match"]},
    "first samples": {"limit": 2},
    "an option that is none": {"reader": {"delimiter": ";"}},
    "batches": {"max_batch_size": 1},
}


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_another_is_judged_as_without_an_index(listed, settled, name, harm):
    """Size, times and inode of all that the marker vouches for are looked at; any doubt is settled by reading."""
    before = listed.with_index()
    assert listed.from_index_alone() == before
    harm(getattr(listed.files, name))
    expected = listed.without()
    assert listed.with_index() == expected
    assert listed.with_index() == expected


def test_another_marker_is_judged_as_without_an_index(listed, settled):
    """Sound in itself, it says something else."""
    listed.with_index()
    another(listed.files.marker)
    assert listed.with_index() == listed.without() != [("reuse", "", 6)]


@pytest.mark.parametrize("change", WANTED.values(), ids=WANTED)
def test_what_is_wanted_now_is_judged_as_without_an_index(listed, settled, change):
    """Model, data and code are looked at by the cache of hashes, as ever."""
    before = listed.with_index()
    change(listed.shop)
    expected = listed.without()
    assert expected != before
    assert listed.with_index() == expected


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_other_settings_are_judged_as_without_an_index(listed, settled, settings):
    """Those of which nothing depends are no reason to read anything."""
    listed.with_index()
    listed.pair = listed.shop.pair(**{"metrics": METRICS} | settings)
    assert listed.with_index() == listed.without()


def test_pairs_that_share_layers_are_told_apart(listed, settled, evaluator):
    """What is found out once for all of them is no other's model, and no other's data."""
    listed.shop.data("other", start=3)
    pairs = [listed.pair, replace(listed.pair, dataset=listed.shop.pair("other").dataset)]
    evaluator(pairs[1])
    assert [v.action for v in verdicts(pairs, listed.workdir, "latest")] == ["reuse", "reuse"]
    listed.shop.data("other", start=4)
    assert [v.action for v in verdicts(pairs, listed.workdir, "latest")] == ["reuse", "run"]


def test_of_files_that_may_change_unseen_nothing_is_noted(listed):
    """File systems have coarse clocks: right after it was written, a file may change again without a new time."""
    listed.with_index()
    hidden(listed.files.predictions)
    assert listed.from_index_alone() != listed.without()


KEPT = {
    "no cache": None,
    "no list": b'{"letters/echo/clean": ["reuse"]}',
    "other texts": b'{"letters/echo/clean": "reuse it"}',
    "not JSON": b"\xff{",
    "a list": b"[1]",
}


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT)
def test_an_index_that_we_did_not_write_is_none(listed, settled, value):
    """It is made again."""
    before = listed.with_index()
    path = WorkDir(listed.workdir).hashes
    if value is None:
        path.unlink()
    else:
        with sqlite3.connect(path) as db:
            assert db.execute("UPDATE derived SET value = ? WHERE key = CAST('plan 1' AS BLOB)", [value]).rowcount == 1
        db.close()
    assert listed.with_index() == before
    assert listed.from_index_alone() == before
