from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from pytest_evalrun.datasets.protocol import Reader, Sample
from pytest_evalrun.errors import PairError

sys.path.insert(0, str(Path(__file__).parent))

from hub import Hub, serving

TEST = {"question": ["1+1?", "2+2?"], "answer": ["#### 2", "#### 4"]}
TRAIN = {"question": ["0+1?"], "answer": ["#### 1"]}
COMMIT = "e53f048856ff4f594e959d75785d2c2d37b678ee"
CARD = """---
configs:
- config_name: main
  data_files:
  - {split: train, path: main/train-*}
  - {split: test, path: main/test-*}
- config_name: socratic
  data_files:
  - {split: test, path: socratic/test-*}
---
Sums.
"""


def saved(place: Path) -> Path:
    """As ``save_to_disk`` leaves a split."""
    datasets.Dataset.from_dict(TEST, split="test").save_to_disk(place)
    return place


def saved_splits(place: Path) -> Path:
    data = {"train": datasets.Dataset.from_dict(TRAIN), "test": datasets.Dataset.from_dict(TEST)}
    datasets.DatasetDict(data).save_to_disk(place)
    return place


def repository(place: Path) -> Path:
    """As the hub has it: a card with two configs, and their files."""
    for name, columns in {"main/train": TRAIN, "main/test": TEST, "socratic/test": TRAIN}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(columns).to_parquet(place / f"{name}-00000-of-00001.parquet")
    (place / "README.md").write_text(CARD)
    return place


def table(place: Path) -> Path:
    """One file of a format that the library reads by its suffix."""
    place.mkdir()
    rows = [dict(zip(TEST, row, strict=True)) for row in zip(*TEST.values(), strict=True)]
    (place / "test.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return place


LAYOUTS = {
    "saved": (saved, {}),
    "saved_named": (saved, {"split": "test"}),
    "saved_splits": (saved_splits, {"split": "test"}),
    "repository": (repository, {"config": "main", "split": "test"}),
    "table": (table, {}),
}
COLUMNS = {"format": "hf", "inputs": ("question",), "reference": "answer"}


@pytest.mark.parametrize(("make", "options"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_directory_is_read(tmp_path, read, hashes, make, options):
    """However it was made, the same rows are the same samples, and the same dataset."""
    reader = read(make(tmp_path / "sums"), reader=options, **COLUMNS)
    assert isinstance(reader, Reader)
    assert list(reader) == [Sample(0, "0", "1+1?", "#### 2"), Sample(1, "1", "2+2?", "#### 4")]
    same = read(saved(tmp_path / "other"), **COLUMNS).identity(hashes)
    assert reader.identity(hashes) == same
    assert same.count == 2


def test_identity_follows_the_content(tmp_path, read, hashes):
    """Rows that changed in their place are another dataset; nothing stale comes out of a cache."""
    place = table(tmp_path / "sums")
    before = read(place, **COLUMNS).identity(hashes)
    (place / "test.jsonl").write_text('{"question": "1+1?", "answer": "#### 3"}\n')
    after = read(place, **COLUMNS).identity(hashes)
    assert (before.count, after.count) == (2, 1)
    assert [sample.reference for sample in read(place, **COLUMNS)] == ["#### 3"]


def test_a_picture_is_a_data_url(tmp_path, read):
    """Nothing is decoded, whatever the features say; names of classes are numbers, as the data have them."""
    png = b"\x89PNG\r\n\x1a\n..."
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    datasets.Dataset.from_dict({"image": [{"bytes": png, "path": None}], "label": [1]}, features).save_to_disk(
        tmp_path / "pets"
    )
    (sample,) = read(tmp_path / "pets", format="hf", inputs=("image",), reference="label")
    assert sample.input.startswith("data:image/png;base64,")
    assert sample.reference == 1


REFUSED = {
    "no_split": (repository, {"config": "main"}, "split is None; accepted: one of train, test"),
    "unknown_split": (saved_splits, {"split": "dev"}, "split is 'dev'; accepted: one of train, test"),
    "another_split": (saved, {"split": "train"}, "split is 'train'; the directory holds test alone"),
    "no_config": (repository, {"split": "test"}, "Config name is missing"),
    "unknown_config": (repository, {"config": "x", "split": "test"}, "BuilderConfig 'x' not found"),
    "no_text": (saved, {"split": 3}, "split is 3; accepted: a text"),
    "unknown": (saved, {"name": "x"}, "unknown key name for format hf; accepted: config, revision, split"),
    "empty": (lambda place: place.mkdir() or place, {}, "cannot be loaded: "),
    "file": (
        lambda place: place.write_text("x") and place,
        {},
        "no directory; accepted: a directory, or hf://OWNER/NAME",
    ),
}


@pytest.mark.parametrize(("make", "options", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_dataset_is_told(tmp_path, read, make, options, told):
    """With what there is, or what is accepted."""
    with pytest.raises(PairError) as caught:
        list(read(make(tmp_path / "sums"), reader=options, **COLUMNS))
    assert told in str(caught.value)


UNPINNED = {"none": None, "branch": "main", "short": COMMIT[:7]}


@pytest.mark.parametrize("revision", UNPINNED.values(), ids=UNPINNED)
def test_a_name_needs_a_pinned_revision(read, revision):
    """A branch moves, and with it the result; it is said how a commit is found."""
    options = {"split": "test"} | ({"revision": revision} if revision else {})
    with pytest.raises(PairError, match=r"accepted: the 40 digits of a commit of we/sums.*dataset_info\(\"we/sums\"\)"):
        read("hf://we/sums", reader=options, **COLUMNS)


def test_a_name_needs_a_split(read):
    """All of a dataset is what it was trained on, too."""
    with pytest.raises(PairError, match="found no split; accepted: one of we/sums, such as test"):
        read("hf://we/sums", reader={"revision": COMMIT}, **COLUMNS)


READ = """
import json, logging, sys
from pytest_evalrun.datasets import create_reader
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.pairs import Dataset
from pytest_evalrun.suite.settings import Settings
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
path, options = sys.argv[1], json.loads(sys.argv[2])
settings = Settings(format="hf", inputs=("question",), reference="answer", reader=options)
try:
    print([sample.input for sample in create_reader(Dataset("sums", path), settings, "/")])
except PairError as error:
    print(f"PairError: {error}")
"""


@pytest.fixture
def asked_of(tmp_path, monkeypatch):
    """``asked_of(hub, path, **options)``: what a process says that reads a dataset, with a cache of its own."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")

    def ask(hub, path="hf://we/sums", offline="0", **options):
        env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": offline}
        options = {"config": "main", "split": "test", "revision": COMMIT} | options
        argv = [sys.executable, "-c", READ, path, json.dumps(options)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "examples/s" not in done.stderr
        return done.stdout

    return ask


def test_a_name_is_read_from_the_cache_first(tmp_path, asked_of):
    """The hub is asked once, for the pinned commit; then never again, which is said, nor need it be there."""
    with serving(Hub(repository(tmp_path / "repository"), "we/sums", COMMIT)) as hub:
        first = asked_of(hub)
        assert f"we/sums at {COMMIT}: not in the cache, the hub is asked" in first
        assert "['1+1?', '2+2?']" in first
        assert all(COMMIT in path for path in hub.asked)
        hub.asked.clear()
        assert f"we/sums at {COMMIT}: found in the cache, the hub was not asked" in asked_of(
            hub, "hf://datasets/we/sums"
        )
        assert hub.asked == []
    assert "['0+1?']" in asked_of(hub, split="train")


def test_a_cache_of_another_commit_is_not_taken(tmp_path, asked_of):
    """Where the hub is not to be asked, or does not answer, other data are no answer."""
    with serving(Hub(repository(tmp_path / "repository"), "we/sums", COMMIT)) as hub:
        asked_of(hub)
        hub.asked.clear()
        told = asked_of(hub, offline="1", revision="0" * 40)
        assert hub.asked == []
    assert "PairError: hf://we/sums: cannot be loaded: " in told
    assert "is the name right, the hub reachable, HF_HUB_OFFLINE unset" in told


def test_a_name_that_is_not_there_is_told(tmp_path, asked_of):
    """With what may be wrong, and what works without the hub."""
    with serving(Hub(repository(tmp_path / "repository"), "we/sums", COMMIT)) as hub:
        told = asked_of(hub, "hf://we/products")
    assert "PairError: hf://we/products: cannot be loaded: " in told
    assert "A copy in a directory works the same" in told
