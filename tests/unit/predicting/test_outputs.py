"""What a model answers becomes JSON, or a file that is named with size and hash; never something else's file."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.datasets.images import read_image
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import SampleError
from pytest_evalrun.predicting.outputs import Outputs, output_directories, output_directory, reference_to_json
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.predictions import file_of
from pytest_evalrun.suite.pairs import Suite

SAMPLE = Sample(3, "s3", None)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def outputs(tmp_path):
    return Outputs(tmp_path / "outputs" / "任务 $(x)")


def image(value, size=4):
    return np.full((size, size, 3), value, np.uint8)


@given(VALUES)
def test_json_stays_what_it_is(value):
    """A prediction of JSON's own values is kept unchanged, and so a metric sees it."""
    outputs = Outputs(Path("/nowhere"))
    assert outputs.to_json(value, SAMPLE) == value
    assert outputs.from_json(value) == value


CONVERTED = {
    "numpy int": (np.int64(3), 3),
    "numpy float": (np.float32(0.5), 0.5),
    "numpy bool": (np.bool_(1), True),
    "numpy text": (np.str_("cat"), "cat"),
    "scalar array": (np.array(7), 7),
    "vector": (np.array([1.5, 2.0], np.float32), [1.5, 2.0]),
    "tuple": ((1, "a", None), [1, "a", None]),
    "nested": ({"top": (np.int8(1), 2), 3: {"p": np.float64(0.25)}}, {"top": [1, 2], "3": {"p": 0.25}}),
}


@pytest.mark.parametrize(("prediction", "kept"), CONVERTED.values(), ids=CONVERTED)
def test_numbers_of_all_kinds_become_json(outputs, prediction, kept):
    """Only builtins reach the file, whatever library they came from."""
    found = outputs.to_json(prediction, SAMPLE)
    assert json.loads(json.dumps(found)) == kept
    assert not outputs.directory.exists()


ENDLESS = {}
ENDLESS["again"] = [ENDLESS]
REFUSED = {
    "nan": (float("nan"), "the model answered nan"),
    "infinity": (np.float32("-inf"), "the model answered -inf"),
    "nan inside": ({"a": [1.0, float("nan")]}, "the model answered nan"),
    "nan in a vector": (np.array([1.0, np.nan]), "the model answered nan"),
    "too deep": (functools.reduce(lambda inner, _: [inner], range(500), 1), "nested too deeply"),
    "without an end": (ENDLESS, "nested too deeply"),
    "bytes": (b"abc", "the model answered bytes, which cannot be kept; accepted: str, int"),
    "set": ({1, 2}, "the model answered set"),
    "object inside": ([object()], "the model answered object"),
    "no image": (np.zeros((2, 2, 7)), "shape 2 x 2 x 7 is no image"),
    "image of nan": (np.full((2, 2), np.nan), "holds NaN"),
}


@pytest.mark.parametrize(("prediction", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_names_the_sample(outputs, prediction, message):
    """It fails its sample, with what was found."""
    with pytest.raises(SampleError) as caught:
        outputs.to_json(prediction, SAMPLE)
    assert message in str(caught.value)
    assert "s3" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        pytest.param("s3", "s3.png", id="plain"),
        pytest.param("a b.png", "a b.png", id="an image's name"),
        pytest.param("图'$(x)'.jpg", "图'$(x)'.jpg.png", id="odd"),
    ],
)
def test_images_are_saved_under_the_samples_name(outputs, name, file):
    """An array of two or three dimensions is a file, named with its size and hash."""
    kept = outputs.to_json(image(7), Sample(0, name, None))
    content = (outputs.directory / file).read_bytes()
    assert kept == {"file": file, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert outputs.from_json(kept) == outputs.directory / file


KEPT = {
    "8 bits": (np.full((2, 2), 7, np.uint8), "s3.png"),
    "16 bits": (np.full((2, 2), 700, np.uint16), "s3.png"),
    "wide integers": (np.array([[-1, 2**40]]), "s3.npy"),
    "floats": (np.array([[0.1, 1e-30]]), "s3.npy"),
}


@pytest.mark.parametrize(("array", "file"), KEPT.values(), ids=KEPT)
def test_images_are_kept_without_loss(outputs, array, file):
    """Whatever the numbers of an array, its file has every bit of them; what PNG cannot hold is a .npy file."""
    kept = outputs.to_json(array, Sample(3, "s3", None))
    assert kept["file"] == file
    assert outputs.hold(kept)
    found = read_image(outputs.from_json(kept))
    assert (found.dtype, found.tolist()) == (array.dtype, array.tolist())


CLASHES = {
    "directories": ("a/b.png", "a_b.png"),
    "directories of no images": ("a/b", "a_b"),
    "long": ("x" * 300 + "1", "x" * 300 + "2"),
    "long, with an ending": ("x" * 300 + ".png", "x" * 300),
    "dots": ("../a", "a"),
}


@pytest.mark.parametrize("names", CLASHES.values(), ids=CLASHES)
def test_each_sample_has_its_own_image(outputs, names):
    """No other sample's image takes the place of one: the metric would be of the wrong pixels."""
    kept = [outputs.to_json(image(i), Sample(i, name, None)) for i, name in enumerate(names)]
    for entry in kept:
        path = outputs.from_json(entry)
        assert path.parent == outputs.directory
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([image(1), image(2)], id="list"),
        pytest.param({"mask": image(1), "depth": image(2)}, id="dict"),
        pytest.param({"a": [image(1), {"b": image(2)}], "c/d": (image(3),)}, id="nested"),
    ],
)
def test_each_image_of_an_answer_has_its_own_file(outputs, answer):
    """A model may answer several images to one sample."""
    text = json.dumps(outputs.to_json(answer, SAMPLE))
    kept = []
    json.loads(text, object_hook=lambda entry: kept.append(entry) if "sha256" in entry else entry)
    assert len({entry["file"] for entry in kept}) == len(kept) >= 2
    for entry in kept:
        assert hashlib.sha256((outputs.directory / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]


def test_names_are_not_remembered(outputs):
    """Memory does not grow with the samples that have images."""
    from pytest_evalrun.suite.names import safe_name

    before = safe_name.cache_info().currsize
    for i in range(20):
        outputs.to_json(image(i), Sample(i, f"sample {i}", None))
    assert safe_name.cache_info().currsize == before


def test_files_of_the_model_are_named_where_they_lie(outputs, tmp_path):
    """Relative to the output directory where a moved run shall find them, absolute elsewhere."""
    outputs.directory.mkdir(parents=True)
    inside, outside = outputs.directory / "sub" / "a.txt", tmp_path / "b.txt"
    inside.parent.mkdir()
    for path in (inside, outside):
        path.write_text("text")
        assert outputs.from_json(outputs.to_json(path, SAMPLE)) == path
    assert outputs.to_json(inside, SAMPLE)["file"] == "sub/a.txt"
    assert outputs.to_json(outside, SAMPLE)["file"] == str(outside)


def test_a_file_that_the_model_did_not_write(outputs):
    """What the model names must be there."""
    with pytest.raises(FileNotFoundError):
        outputs.to_json(outputs.directory / "none", SAMPLE)


GOOD = "0" * 64
ALIKE = {
    "what is no name": {"file": 5, "size": 1, "sha256": "x"},
    "another file": {"file": "/etc/passwd", "size": 1, "sha256": GOOD},
    "a file that is there": {"file": "a.txt", "size": 4, "sha256": hashlib.sha256(b"text").hexdigest()},
    "a way out": {"file": "../../../etc/passwd", "size": 1, "sha256": GOOD},
    "a name alone": {"file": "/etc/passwd"},
    "lists": {"file": ["a"], "size": [1], "sha256": [GOOD]},
    "nothing": {"file": None, "size": None, "sha256": None},
}


@pytest.mark.parametrize("inside", [False, True], ids=["itself", "in an answer"])
@pytest.mark.parametrize("answer", ALIKE.values(), ids=ALIKE)
def test_json_that_looks_like_the_name_of_a_file_is_json(outputs, answer, inside):
    """A file is what a model gives as one: what JSON says is kept, compared and shown as it is, never opened."""
    outputs.directory.mkdir(parents=True)
    (outputs.directory / "a.txt").write_text("text")
    answer = {"mask": [answer]} if inside else answer
    kept = json.loads(json.dumps(outputs.to_json(answer, SAMPLE)))
    assert kept == answer
    assert outputs.from_json(kept) == answer
    assert file_of(kept) is None
    (outputs.directory / "a.txt").write_text("another")
    assert outputs.hold(kept)


@pytest.mark.parametrize("name", ["../a.txt", "sub/../../a.txt", "\0"], ids=ascii)
def test_no_line_leads_out_of_the_output_directory(outputs, name):
    """Not even one that somebody wrote by hand."""
    kept = {"file": name, "size": 1, "sha256": GOOD}
    assert outputs.from_json(kept) == kept
    assert outputs.hold(kept)


def test_a_name_that_is_no_file(outputs):
    """A model that answers with a FIFO or a directory of its own has failed the sample; nobody waits."""
    outputs.directory.mkdir(parents=True)
    os.mkfifo(outputs.directory / "fifo")
    (outputs.directory / "dir").mkdir()
    for name in ("fifo", "dir"):
        with pytest.raises(OSError, match="it is no file"):
            outputs.to_json(outputs.directory / name, SAMPLE)
        assert not outputs.hold({"file": name, "size": 0, "sha256": GOOD})


PLACES = {
    "in the run": (None, "{run}/outputs/letters/echo/clean"),
    "empty": ("", "{run}/outputs/letters/echo/clean"),
    "in the suite": (".out", "{root}/.out/echo/clean"),
    "absolute": ("/data/out", "/data/out/echo/clean"),
    "in the dataset": ("out", "{data}/out"),
}


@pytest.mark.parametrize(("wanted", "place"), PLACES.values(), ids=PLACES)
def test_where_models_write(shop, tmp_path, wanted, place):
    """In the run, unless `out_subdir` says otherwise; only places outside the run are named by its manifest."""
    run = RunPaths(tmp_path / "run")
    pair = shop.pair(out_subdir=wanted)
    expected = place.format(run=run.root, root=shop.root, data=pair.dataset.path)
    assert str(output_directory(pair, run.pair(pair.key))) == expected
    suites = [Suite("letters", "evalrun.yaml", str(shop.root), (pair, shop.pair("other")))]
    assert output_directories(run, suites) == ([expected] if wanted else [])


def test_outputs_of_a_task_of_two_levels_nest(shop, tmp_path):
    """As task_run.sh nests them; what an older version has put into one directory is found there."""
    run = RunPaths(tmp_path / "run")
    pair = shop.pair(task="dir1/taskC", out_subdir=".results", limit=3)
    paths = run.pair(pair.key.limited(3))
    nested = shop.root / ".results" / "dir1" / "taskC" / "clean.limit-3"
    assert output_directory(pair, paths) == nested
    older = shop.root / ".results" / "dir1_taskC" / "clean.limit-3"
    older.mkdir(parents=True)
    assert output_directory(pair, paths) == older
    nested.mkdir(parents=True)
    assert output_directory(pair, paths) == nested


@pytest.mark.parametrize(
    ("reference", "kept"),
    [
        pytest.param(Path("/data/d/refs/a.png"), "refs/a.png", id="inside"),
        pytest.param(Path("/elsewhere/a.png"), "/elsewhere/a.png", id="outside"),
        pytest.param("cat", "cat", id="label"),
        pytest.param(None, None, id="none"),
    ],
)
def test_references_are_shown_relative(reference, kept):
    """A copied dataset has the same references."""
    assert reference_to_json(reference, "/data/d") == kept
