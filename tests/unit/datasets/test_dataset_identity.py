from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pytest_evalrun.rundir.hashes import HashCache

READER = "def lines(path):\n    return [{'input': line} for line in path.read_text().split()]\n"


@pytest.fixture
def cache(tmp_path_factory):
    """``cache()``: the real one, as a new process would open it."""
    db = tmp_path_factory.mktemp("work") / "hashes.db"
    opened = []

    def make():
        opened.append(HashCache(db, warn=pytest.fail))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


KINDS = {
    "files": {"in_subdir": "in", "labels": "labels.csv"},
    "parallel": {"in_subdir": "in", "references": "gold"},
    "csv": {"format": "csv", "reference": "label"},
    "jsonl": {"format": "jsonl", "id_column": "a"},
    "user": {"format": "./reader.py:lines"},
}


@pytest.fixture
def dataset(tmp_path):
    for name, text in {
        "in/a.png": "1", "gold/a.jpg": "2", "labels.csv": "id,label\na,1\n", "reader.py": READER,
        "data": json.dumps({"a": "1", "b": 2}) + "\n", "table": "a,label\n1,2\n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(("kind", "settings"), KINDS.items(), ids=KINDS)
def test_identity_is_the_same_in_every_process_and_place(dataset, read, cache, kind, settings, tmp_path_factory):
    """The real cache, opened anew and in a copy elsewhere, gives one answer."""
    names = {"csv": "table", "jsonl": "data", "user": "data"}
    elsewhere = Path(shutil.copytree(dataset, tmp_path_factory.mktemp("copy") / "b", copy_function=shutil.copyfile))
    found = [
        read(place / names.get(kind, ""), root=place, **settings).identity(hashes)
        for place, hashes in ((dataset, cache()), (dataset, cache()), (elsewhere, cache()))
    ]
    assert found[0] == found[1] == found[2]
    assert found[0].inputs
