from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from pixels import deep_png, noise

from pytest_evalrun.adapters.onnx import OnnxAdapter, share_of_cores
from pytest_evalrun.adapters.protocol import Adapter
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import PairError, SampleError


@pytest.fixture
def model(tmp_path):
    """``model(nodes, inputs, outputs, **constants)``: a loaded adapter of a tiny model made here."""

    def make(nodes, inputs, outputs, constants=None, preprocess=None, output=None, **params):
        def info(entries):
            return [helper.make_tensor_value_info(name, *rest) for name, *rest in entries]

        weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
        graph = helper.make_graph(
            [helper.make_node(op, i, o, **a) for op, i, o, a in nodes], "g", info(inputs), info(outputs), weights
        )
        path = tmp_path / "任务 $(x).onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        adapter = OnnxAdapter(str(path), params, preprocess or {}, output or {})
        adapter.load()
        return adapter

    return make


@pytest.fixture
def identity(model):
    """A model that gives back what it is given: shape, type and settings to choose."""

    def make(shape, dtype=TensorProto.FLOAT, **settings):
        return model([("Identity", ["x"], ["y"], {})], [("x", dtype, shape)], [("y", dtype, shape)], **settings)

    return make


def samples(*inputs):
    return [Sample(index, f"s{index}", value) for index, value in enumerate(inputs)]


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def image(path, array):
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path)
    return path


VECTOR = {"kind": "vector"}


def test_vectors_of_a_table(identity):
    """Columns become a vector in their order; a list is one already; float32 unless the model wants another type."""
    adapter = identity(["n", 2], output=VECTOR)
    assert isinstance(adapter, Adapter)
    assert adapter.predict(samples({"b": 1, "a": 2.5}, [3, 4])) == [[1.0, 2.5], [3.0, 4.0]]
    adapter.close()


def test_the_models_own_type_is_used(identity):
    """Integers stay integers; what is beyond an integer type is clipped, not wrapped, and floats are rounded."""
    assert identity(["n", 1], TensorProto.INT64, output=VECTOR).predict(samples(2**60 + 1)) == [[2**60 + 1]]
    assert identity(["n", 3], TensorProto.INT8, output=VECTOR).predict(samples([1.6, -300.0, 300.0])) == [
        [2, -128, 127]
    ]
    assert identity(["n", 3], TensorProto.INT8, output=VECTOR).predict(samples([2, -300, 300])) == [[2, -128, 127]]
    assert identity(["n", 1], TensorProto.INT64, output=VECTOR).predict(samples(2**63 + 5)) == [[2**63 - 1]]
    assert identity(["n"], output={"kind": "value"}).predict(samples(1.5, 2)) == [1.5, 2.0]


def test_columns_meet_inputs_by_name(model):
    """A model with an input a column gets each by its name, whatever the order, text too."""
    adapter = model(
        [("Sub", ["a", "b"], ["y"], {})],
        [("a", TensorProto.FLOAT, ["n", 1]), ("b", TensorProto.FLOAT, ["n", 1])],
        [("y", TensorProto.FLOAT, ["n", 1])],
        output={"kind": "value"},
    )
    assert adapter.predict(samples({"b": 1, "a": 5}, {"a": 1, "b": 0})) == [4.0, 1.0]
    with pytest.raises(PairError, match=r"the model has 2 inputs \(a, b\), the dataset gives columns a, c"):
        adapter.predict(samples({"a": 1, "c": 2}))


def test_text_goes_into_a_tensor_of_strings(identity):
    """A class that the model spells out is the prediction."""
    assert identity(["n", 1], TensorProto.STRING).predict(samples({"word": "cat"}, {"word": "任务"})) == ["cat", "任务"]


def test_images_are_scaled_shifted_and_laid_out(identity, tmp_path):
    """Scale first, then mean and std per channel, channels first or last."""
    path = image(tmp_path / "a.png", [[[255, 0, 51], [0, 255, 102]]])
    settings = {"scale": 1 / 255, "mean": [0.5, 0.0, 0.0], "std": [0.5, 1.0, 0.1]}
    first = identity(["n", 3, 1, 2], preprocess=settings, output=VECTOR).predict(samples(path))
    last = identity(["n", 1, 2, 3], preprocess=settings | {"layout": "NHWC"}, output=VECTOR).predict(samples(path))
    assert first[0] == pytest.approx([1, -1, 0, 1, 2, 4])
    assert last[0] == pytest.approx([1, 0, 2, -1, 1, 4])


@pytest.mark.parametrize(
    ("layout", "shape"),
    {"NCHW": ["n", 1, 2, 3], "NHWC": ["n", 2, 3, 1], "NHW": ["n", 2, 3], "HW": [2, 3]}.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_gray_images_in_every_layout_come_back_as_images(identity, tmp_path, layout, shape):
    """Image outputs undo the layout; a batch is taken apart where the model has no dimension for it."""
    paths = [image(tmp_path / f"{n}.png", [[n, 1, 2], [3, 4, 255]]) for n in (7, 8)]
    preprocess = {"color": "gray", "layout": layout, "scale": 1 / 255}
    adapter = identity(shape, preprocess=preprocess, output={"kind": "image", "scale": 255})
    for first, array in zip((7, 8), adapter.predict(samples(*paths)), strict=True):
        assert array.dtype == np.uint8
        assert array.tolist() == [[first, 1, 2], [3, 4, 255]]


def test_image_outputs_are_clipped_and_may_stay_floats(identity):
    """With scale the result is 0..255; without it the array is handed on as it is."""
    batch = samples([[[0.5, 2.0, -1.0]]])
    scaled = identity(["n", 1, 1, 3], output={"kind": "image", "scale": 255}).predict(batch)[0]
    assert (scaled.dtype, scaled.tolist()) == (np.uint8, [[128, 255, 0]])
    assert identity(["n", 1, 1, 3], output={"kind": "image"}).predict(batch)[0].dtype == np.float32


def test_outputs_of_sixteen_bits(identity):
    """A scale above 255 makes 16 bits; integers of the model stay what they are."""
    batch = samples([[[0.5, 2.0, -1.0]]])
    scaled = identity(["n", 1, 1, 3], output={"kind": "image", "scale": 65535}).predict(batch)[0]
    assert (scaled.dtype, scaled.tolist()) == (np.uint16, [[32768, 65535, 0]])
    for kind, dtype in ((TensorProto.INT32, np.int32), (TensorProto.UINT8, np.uint8)):
        (plain,) = identity(["n", 1, 1, 2], kind, output={"kind": "image"}).predict(samples([[[7, 200]]]))
        assert (plain.dtype, plain.tolist()) == (dtype, [[7, 200]])


@pytest.mark.parametrize(("scale", "pixel"), [(255, 255.0), (1, 65535.0), (65535, 255.0), (255, float("inf"))])
def test_an_output_of_another_depth_is_no_white_image(identity, scale, pixel):
    """Far beyond white a scale does not fit, or the model has failed: the sample says so instead of being clipped."""
    adapter = identity(["n", 1, 1, 2], output={"kind": "image", "scale": scale})
    with pytest.raises(SampleError, match=f"sample s0: of the model's output 'y' times {scale} it holds"):
        adapter.predict(samples([[[0.0, pixel]]]))


WRITE = {
    "16 bits": (noise(0, "uint16", (2, 3)), "a.png"),
    "32 bits": (noise(0, "int32", (2, 3)), "a.tif"),
    "floats": (noise(0, "float32", (2, 3)), "a.tif"),
    "rgb": (noise(0, "uint16", (2, 3, 3)), "a.png"),
    "rgb floats": (noise(0, "float32", (2, 3, 3)), "a.NPY"),
}


def written(path, array):
    if path.suffix == ".NPY":
        with path.open("wb") as file:
            np.save(file, array)
    elif array.ndim == 3:
        deep_png(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize(("array", "name"), WRITE.values(), ids=WRITE)
def test_the_model_is_given_every_bit(identity, tmp_path, caplog, array, name):
    """Deep images arrive as they are in their files, and it is said once that they are."""
    color = "rgb" if array.ndim == 3 else "gray"
    path = written(tmp_path / name, array)
    preprocess = {"input": "image", "color": color, "layout": "NHWC"}
    adapter = identity(["n", 2, 3, "c"], preprocess=preprocess, output=VECTOR)
    assert adapter.predict(samples(path, path)) == [array.astype(np.float32).ravel().tolist()] * 2
    (said,) = caplog.records
    assert f"{path}: an image of " in said.getMessage()
    assert "its pixels are taken as they are (said once a dataset)" in said.getMessage()


DEPTH_FITS = {
    "16 bits to 1": ("uint16", TensorProto.FLOAT, {"scale": 1.526e-5}, 65535 * 1.526e-5),
    "16 bits to 255": ("uint16", TensorProto.UINT8, {"scale": 1 / 257}, 255),
    "16 bits to 255, roughly": ("uint16", TensorProto.FLOAT, {"scale": 0.00389}, 65535 * 0.00389),
    "12 bits": ("uint16", TensorProto.FLOAT, {"scale": 1 / 4095}, 65535 / 4095),
    "counts": ("uint16", TensorProto.INT32, {}, 65535),
    "16 bits to int8": ("uint16", TensorProto.INT8, {"scale": 1 / 257, "mean": 128}, 127),
    "8 bits to 1": ("uint8", TensorProto.FLOAT, {"scale": 0.0039}, 255 * 0.0039),
    "8 bits to int8": ("uint8", TensorProto.INT8, {"mean": 128}, 127),
    "8 bits to float16": ("uint8", TensorProto.FLOAT16, {}, 255),
}


@pytest.mark.parametrize(("depth", "kind", "preprocess", "expected"), DEPTH_FITS.values(), ids=DEPTH_FITS)
def test_scales_that_fit_the_depth(identity, tmp_path, depth, kind, preprocess, expected):
    """White is what the scale of its own depth makes of it, rounded as people write it."""
    path = written(tmp_path / "a.png", np.full((1, 1), np.iinfo(depth).max, depth))
    adapter = identity(["n", 1, 1, 1], kind, preprocess={"color": "gray"} | preprocess, output={"kind": "value"})
    assert adapter.predict(samples(path)) == [pytest.approx(expected, rel=1e-6)]


DEPTH_MISFITS = {
    "1/255": ("uint16", TensorProto.FLOAT, {"scale": 1 / 255}, "of 16 bits .*; preprocess: scale 0.00392157 is for"),
    "1/256": (
        "uint16",
        TensorProto.FLOAT,
        {"scale": 1 / 256},
        "is for 0 to 255; for white to be 1 here it is 1.5259e-05, to be 255 it is 0.0038",
    ),
    "0.0039": ("uint16", TensorProto.FLOAT, {"scale": 0.0039}, "is for 0 to 255"),
    "0.004": ("uint16", TensorProto.FLOAT, {"scale": 0.004}, "is for 0 to 255"),
    "1/127.5": ("uint16", TensorProto.FLOAT, {"scale": 1 / 127.5, "mean": 1}, "is for 0 to 255"),
    "1/65535": (
        "uint8",
        TensorProto.FLOAT,
        {"scale": 1 / 65535},
        "of 8 bits .*0 to 65535; for white to be 1 here it is 0.00392157",
    ),
    "16 bits for uint8": (
        "uint16",
        TensorProto.UINT8,
        {},
        "holds 65535, which does not fit into the model's uint8, at",
    ),
    "times 1": ("uint16", TensorProto.UINT8, {"scale": 1}, "does not fit into the model's uint8"),
    "16 bits for float16": ("uint16", TensorProto.FLOAT16, {}, "does not fit into the model's float16, at most 65504"),
    "8 bits for int8": ("uint8", TensorProto.INT8, {}, "does not fit into the model's int8, at most 127"),
}


@pytest.mark.parametrize(("depth", "kind", "preprocess", "message"), DEPTH_MISFITS.values(), ids=DEPTH_MISFITS)
def test_scales_that_do_not_fit_the_depth(identity, tmp_path, depth, kind, preprocess, message):
    """What would show the model white, black or remainders alone ends the pair, with the scale that fits."""
    path = written(tmp_path / "a.png", np.full((1, 1), np.iinfo(depth).max, depth))
    adapter = identity(["n", 1, 1, 1], kind, preprocess={"color": "gray"} | preprocess, output={"kind": "value"})
    with pytest.raises(PairError, match=f"a.png: an image .*{message}"):
        adapter.predict(samples(path))


HELD = {
    "8 bits in a file of 16": ("uint16", TensorProto.FLOAT, {"scale": 1 / 255}, 255, 1),
    "classes in a file of 16": ("uint16", TensorProto.UINT8, {}, 19, 19),
    "dark pixels": ("uint8", TensorProto.INT8, {}, 127, 127),
}


@pytest.mark.parametrize(("depth", "kind", "preprocess", "pixel", "expected"), HELD.values(), ids=HELD)
def test_what_a_file_holds_decides(identity, tmp_path, depth, kind, preprocess, pixel, expected):
    """A depth that no pixel uses makes no scale wrong."""
    path = written(tmp_path / "a.png", np.full((1, 1), pixel, depth))
    adapter = identity(["n", 1, 1, 1], kind, preprocess={"color": "gray"} | preprocess, output={"kind": "value"})
    assert adapter.predict(samples(path)) == [pytest.approx(expected)]


def test_an_orientation_is_applied_or_told_once_a_dataset(identity, tmp_path, caplog):
    """`orient: exif` turns images as viewers do; otherwise the first one of each dataset is named in the log."""
    exif = Image.Exif()
    exif[0x0112] = 6
    batches = []
    for dataset in ("clean", "noisy"):
        paths = [tmp_path / dataset / below / "a.jpg" for below in ("x", "y")]
        for path in paths:
            path.parent.mkdir(parents=True)
            Image.new("L", (4, 2)).save(path, exif=exif)
        batches.append([Sample(0, "x/a.jpg", paths[0]), Sample(1, "y/a.jpg", paths[1])])

    def shapes(**how):
        preprocess = {"color": "gray"} | how
        adapter = identity(["n", 1, "h", "w"], preprocess=preprocess, output={"kind": "image", "scale": 1})
        return [answer.shape for batch in batches for answer in adapter.predict(batch)]

    assert shapes(orient="exif") == [(4, 2)] * 4
    assert not caplog.records
    assert shapes() == [(2, 4)] * 4
    for record, dataset in zip(caplog.records, ("clean", "noisy"), strict=True):
        assert f"{dataset}/x/a.jpg: its EXIF orientation is not applied; preprocess: {{orient: exif}} turns the" in (
            record.getMessage()
        )


def test_a_sample_of_a_readers_own_name_is_told_too(identity, tmp_path, caplog):
    """An id need not say where a file lies."""
    path = written(tmp_path / "a.png", np.ones((1, 1), np.uint16))
    adapter = identity(["n", 1, 1, 1], preprocess={"color": "gray"}, output={"kind": "value"})
    adapter.predict([Sample(0, "/".join("abcdefghijklmnopqrstuvwxyz"), path)])
    assert len(caplog.records) == 1


def test_images_of_different_sizes_share_a_batch(identity, tmp_path):
    """They are grouped by size, and the predictions keep the order of the batch."""
    sizes = [(2, 3), (4, 4), (2, 3), (1, 5)]
    paths = [image(tmp_path / f"{n}.png", np.full(size, n)) for n, size in enumerate(sizes)]
    adapter = identity(["n", 1, "h", "w"], preprocess={"color": "gray"}, output={"kind": "image", "scale": 1})
    found = adapter.predict(samples(*paths))
    assert [array.shape for array in found] == sizes
    assert [int(array[0, 0]) for array in found] == [0, 1, 2, 3]


@pytest.mark.parametrize("fixed", [1, 2, 4])
def test_a_fixed_batch_is_filled_and_cut(identity, fixed):
    """A model that takes exactly so many samples gets them, the last ones repeated, their answers dropped."""
    batch = samples(*([float(n), 0.0] for n in range(5)))
    assert [v[0] for v in identity([fixed, 2], output=VECTOR).predict(batch)] == [0, 1, 2, 3, 4]


def test_raw_files(identity, tmp_path):
    """Bytes of the declared type and shape, or of the model's; .npy files know their own."""
    values = np.arange(6, dtype=np.uint8)
    values.tofile(tmp_path / "a.bin")
    np.save(tmp_path / "b.npy", values.reshape(1, 2, 3).astype(np.float32))
    declared = {"raw_dtype": "uint8", "shape": [1, 1, 2, 3], "scale": 2}
    assert identity(["n", 1, 2, 3], preprocess=declared, output=VECTOR).predict(samples(tmp_path / "a.bin")) == [
        [0, 2, 4, 6, 8, 10]
    ]
    own = identity(["n", 1, 2, 3], preprocess={"raw_dtype": "uint8"}, output=VECTOR)
    assert own.predict(samples(tmp_path / "a.bin", tmp_path / "b.npy")) == [[0, 1, 2, 3, 4, 5]] * 2
    open_shape = identity(["n", "k"], preprocess={"raw_dtype": "uint8"}, output=VECTOR)
    assert open_shape.predict(samples(tmp_path / "a.bin")) == [[0, 1, 2, 3, 4, 5]]
    vector = identity(["n", 6], preprocess={"input": "vector", "raw_dtype": "uint8"}, output=VECTOR)
    assert vector.predict(samples(tmp_path / "a.bin")) == [[0, 1, 2, 3, 4, 5]]


def test_several_suffixes_are_several_inputs(model, tmp_path):
    """In the order of suffixes, whatever the model calls its inputs."""
    for name, value in {"1_y.bin": 5, "1_uv.bin": 2}.items():
        np.array([value], dtype=np.float32).tofile(tmp_path / name)
    adapter = model(
        [("Sub", ["a", "b"], ["y"], {})],
        [("a", TensorProto.FLOAT, ["n", 1]), ("b", TensorProto.FLOAT, ["n", 1])],
        [("y", TensorProto.FLOAT, ["n", 1])],
        output={"kind": "value"},
    )
    parts = {"_y.bin": tmp_path / "1_y.bin", "_uv.bin": tmp_path / "1_uv.bin"}
    assert adapter.predict(samples(parts)) == [3.0]


CLASSES = {
    "index": ({}, [2, 0]),
    "labels": ({"labels": ["a", "b", "c"]}, ["c", "a"]),
    "top": ({"top": 2}, [[2, 1], [0, 1]]),
    "top of labels": ({"top": 9, "labels": ["a", "b", "c"]}, [["c", "b", "a"], ["a", "b", "c"]]),
}


@pytest.mark.parametrize(("output", "expected"), CLASSES.values(), ids=CLASSES)
def test_classes(identity, output, expected):
    """The best score wins, of equal scores the first; labels name the classes; top lists them best first."""
    assert identity(["n", 3], output={"kind": "class"} | output).predict(samples([0, 1, 2], [5, 3, 3])) == expected


def test_a_label_output_and_its_scores(model):
    """A model that names its class is believed; where several are wanted its scores are ranked; name picks either."""

    def make(**output):
        return model(
            [("ArgMax", ["x"], ["label"], {"axis": 1, "keepdims": 0}), ("Identity", ["x"], ["scores"], {})],
            [("x", TensorProto.FLOAT, ["n", 2])],
            [("label", TensorProto.INT64, ["n"]), ("scores", TensorProto.FLOAT, ["n", 2])],
            output=output,
        )

    batch = samples([0.1, 0.9])
    assert make(kind="class").predict(batch) == [1]
    assert make(kind="class", labels=["ham", "spam"]).predict(batch) == ["spam"]
    assert make(kind="class", top=2).predict(batch) == [[1, 0]]
    assert make(kind="class", top=1, name="label").predict(batch) == [[1]]
    assert make(kind="class", name="scores").predict(batch) == [1]
    with pytest.raises(PairError, match="output: no output 'probs'; the model has: label, scores"):
        make(kind="class", name="probs")
    with pytest.raises(PairError, match="labels has 1 entries"):
        make(kind="class", labels=["ham"]).predict(batch)


@pytest.fixture
def zipmap(tmp_path):
    """A model that gives its three inputs as scores by label, as scikit-learn's classifiers are exported."""

    def make(classes, **output):
        kind = "strings" if isinstance(classes[0], str) else "int64s"
        key = TensorProto.STRING if kind == "strings" else TensorProto.INT64
        score = helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        graph = helper.make_graph(
            [helper.make_node("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", **{f"classlabels_{kind}": classes})],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(classes)])],
            [helper.make_value_info("p", helper.make_sequence_type_proto(score))],
        )
        versions = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
        onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), tmp_path / "m.onnx")
        adapter = OnnxAdapter(str(tmp_path / "m.onnx"), {}, {}, output)
        adapter.load()
        return adapter

    return make


SPAM, NUMBERS, NAMES = ["ham", "spam", "zebra"], [0, 1, 2], {"labels": ["a", "b", "c"]}
BY_LABEL = {
    "best": (SPAM, {}, "spam"),
    "top": (SPAM, {"kind": "class", "top": 2}, ["spam", "zebra"]),
    "the same labels": (SPAM, {"labels": ["zebra", "spam", "ham"], "top": 2}, ["spam", "zebra"]),
    "numbers": (NUMBERS, {}, 1),
    "labels": (NUMBERS, NAMES, "b"),
    "top of labels": (NUMBERS, {"top": 2} | NAMES, ["b", "c"]),
    "not from 0": ([7, 8, 9], {"top": 9}, [8, 9, 7]),
    "vector": (SPAM, {"kind": "vector"}, [0.125, 0.625, 0.25]),
    "vector of one": (["ham"], {"kind": "vector"}, [0.125]),
    "value of one": (["ham"], {"kind": "value"}, 0.125),
}


@pytest.mark.parametrize(("classes", "output", "expected"), BY_LABEL.values(), ids=BY_LABEL)
def test_scores_by_label(zipmap, classes, output, expected):
    """A map from label to score is what the same model says without it: ranked, named, or the scores themselves."""
    scores = [0.125, 0.625, 0.25][: len(classes)]
    assert zipmap(classes, **output).predict(samples(scores, scores)) == [expected] * 2


BY_NO_LABEL = {
    "value": (SPAM, {"kind": "value"}, "has 3 of float32 a sample; kind value needs one number"),
    "image": (SPAM, {"kind": "image"}, "has 3 a sample; kind image needs 2 or 3 sizes"),
    "other labels": (SPAM, NAMES, "labels has 3 entries, none for the class 'ham' of the model's output"),
    "too few labels": (NUMBERS, {"labels": ["a"]}, "labels has 1 entries, none for the class 1 of"),
    "below 0": ([-1, 0, 1], NAMES, "labels has 3 entries, none for the class -1 of"),
}


@pytest.mark.parametrize(("classes", "output", "message"), BY_NO_LABEL.values(), ids=BY_NO_LABEL)
def test_scores_by_label_that_do_not_fit(zipmap, classes, output, message):
    """A kind or names that the scores do not have are refused, as they are of a tensor."""
    with pytest.raises(PairError, match=message):
        zipmap(classes, **output).predict(samples([0.1, 0.7, 0.2]))


@pytest.mark.parametrize("kind", ["class", "vector"])
def test_scores_by_label_may_be_nan(zipmap, kind):
    """A score that is no number costs its sample."""
    with pytest.raises(SampleError, match="sample s: the model's output 'p' holds NaN"):
        zipmap(SPAM, kind=kind).output.prediction("s", {"ham": float("nan"), "spam": 1.0})


UNFIT = {
    "one score": (["n", 1], {"kind": "class"}, [1.0], "kind class needs one score a class or a label"),
    "a map of scores": (["n", 2, 2], {"kind": "class"}, [[1, 2], [3, 4]], "has 2 x 2 a sample; kind class needs"),
    "two values": (["n", 2], {"kind": "value"}, [1, 2], "has 2 of float32 a sample; kind value needs one number"),
    "a flat image": (["n", 2], {"kind": "image"}, [1, 2], "has 2 a sample; kind image needs 2 or 3 sizes"),
}


@pytest.mark.parametrize(("shape", "output", "value", "message"), UNFIT.values(), ids=UNFIT)
def test_outputs_that_do_not_fit_their_kind(identity, shape, output, value, message):
    """The output, its shape and the other kinds are named."""
    with pytest.raises(PairError, match=message):
        identity(shape, output=output).predict(samples(value))


def test_bad_model_files(tmp_path):
    """Missing, empty, a directory, text, cut off: an error of the pair that names the path."""
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "text.onnx").write_text("not a model")
    (tmp_path / "directory.onnx").mkdir()
    for name, message in {
        "missing.onnx": "the model is missing",
        "empty.onnx": r"the model is empty \(0 bytes\)",
        "text.onnx": "not a model that ONNX Runtime can load",
        "directory.onnx": "the model is a directory",
    }.items():
        with pytest.raises(PairError, match=f"{name}: {message}"):
            OnnxAdapter(str(tmp_path / name), {}, {}, {}).load()
    with pytest.raises(PairError, match="needs a model file"):
        OnnxAdapter(None, {}, {}, {}).load()


@pytest.mark.parametrize(
    ("params", "message"),
    [({"device": "gpu"}, "unknown parameter device; accepted: threads"), ({"threads": 0}, "accepted: an integer of")],
    ids=["unknown", "no threads"],
)
def test_bad_parameters(identity, params, message):
    """What the adapter does not know is refused."""
    with pytest.raises(PairError, match=message):
        identity(["n", 1], **params)


def test_nan_is_told_on_both_sides(identity, model, tmp_path):
    """NaN in an input, or made by the model, costs the sample and is named."""
    adapter = identity(["n", 2], output=VECTOR)
    with pytest.raises(SampleError, match="sample s1: the input 'x' holds NaN"):
        adapter.predict(samples([1, 2], [1, float("nan")]))
    with pytest.raises(SampleError, match="'nan' is not a number"):
        adapter.predict(samples({"a": 1, "b": "nan"}))
    np.array([1, np.nan], dtype=np.float32).tofile(tmp_path / "a.bin")
    with pytest.raises(SampleError, match="holds NaN"):
        adapter.predict(samples(tmp_path / "a.bin"))
    with pytest.raises(SampleError, match="holds NaN"):
        identity(["n", 1], TensorProto.INT64).predict(samples(float("nan")))
    log = model(
        [("Log", ["x"], ["y"], {})],
        [("x", TensorProto.FLOAT, ["n", 2])],
        [("y", TensorProto.FLOAT, ["n", 2])],
        output={"kind": "class"},
    )
    with pytest.raises(SampleError, match="sample s0: the model's output 'y' holds NaN"):
        log.predict(samples([-1, 1]))


def test_a_sample_of_the_wrong_size_costs_itself_only(identity, tmp_path):
    """Without a declared size others may fit; expected and given shapes are named."""
    paths = [image(tmp_path / f"{n}.png", np.zeros((n, 2))) for n in (2, 3)]
    adapter = identity(["n", 1, 2, 2], preprocess={"color": "gray"}, output=VECTOR)
    with pytest.raises(
        SampleError, match=r"'x' \(\? x 1 x 2 x 2\) expects 1 x 2 x 2 a sample, sample s1 has 1 x 3 x 2"
    ):
        adapter.predict(samples(*paths))
    assert len(adapter.predict(samples(paths[0]))) == 1
    resized = identity(["n", 1, 2, 2], preprocess={"color": "gray", "size": [2, 2]}, output=VECTOR)
    assert len(resized.predict(samples(*paths))) == 2


def test_a_shape_that_no_sample_could_have_ends_the_pair(identity, tmp_path):
    """A wrong size, layout or number of dimensions in the suite is not the sample's fault."""
    path = image(tmp_path / "a.png", np.zeros((2, 2)))
    for shape, preprocess in (([1, 1, 4, 4], {"size": [2, 2], "color": "gray"}), (["n", 4], {"color": "gray"})):
        with pytest.raises(PairError, match=r"\.onnx: the model's input 'x' .* see preprocess: color, size, layout"):
            identity(shape, preprocess=preprocess).predict(samples(path))


def test_names_in_capitals_are_the_same_kind_of_file(identity, tmp_path):
    """A .NPY file is a .npy file, and no pixels or raw bytes."""
    array = np.array([[1.5, 2.5]], np.float32)
    paths = [written(tmp_path / "a.NPY", array), tmp_path / "b.npy", tmp_path / "c.BIN"]
    np.save(paths[1], array)
    array.tofile(paths[2])
    for shape in (["n", 1, 2], ["n", "a", "b"]):
        assert identity(shape, output=VECTOR).predict(samples(*paths[:2])) == [[1.5, 2.5]] * 2
    assert identity(["n", 1, 2], output=VECTOR).predict(samples(*paths)) == [[1.5, 2.5]] * 3


RAW = {
    "other size": ("a.bin", bytes(20), "20 bytes; 6 of float32 are 24 bytes", None),
    "part of a number": ("a.raw", bytes(23), "23 bytes; 6 of", "23 bytes are no whole number of float32 .4 bytes each"),
    "empty": ("a.bin", b"", "the file is empty .0 bytes", "the file is empty .0 bytes"),
    "no array": ("a.npy", b"x", "not a readable .npy file", "not a readable .npy file"),
    "an archive": ("a.npy", b"PK\3\4" + bytes(99), "not a readable .npy file", "not a readable .npy file"),
    "cut off": ("a.npy", npy(np.zeros(6))[:-1], "not a readable .npy file", "not a readable .npy file"),
    "an empty array": ("a.NPY", npy(np.zeros((0, 6))), "the array is empty .0 x 6", "the array is empty .0 x 6"),
    "text": ("a.npy", npy(np.array(["a"] * 6)), "an array of <U1; the input 'x' takes numbers", "an array of <U1"),
    "missing": ("b.bin", None, "the file is missing", "the file is missing"),
}


@pytest.mark.parametrize(("name", "content", "fixed", "left_open"), RAW.values(), ids=RAW)
def test_raw_files_that_are_no_input(identity, tmp_path, name, content, fixed, left_open):
    """A file with too little, too much or a part of a number costs its sample, whatever the model's shape."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for shape, message in ((["n", 6], fixed), (["n", "k"], left_open)):
        adapter = identity(shape, output=VECTOR)
        if message is None:
            assert len(adapter.predict(samples(tmp_path / name))[0]) == 5
            continue
        with pytest.raises(SampleError, match=f"{name}: {message}"):
            adapter.predict(samples(tmp_path / name))


def test_what_the_model_itself_refuses(model):
    """An error of the runtime names the model and the shapes that were given."""
    adapter = model(
        [("MatMul", ["x", "w"], ["y"], {})],
        [("x", TensorProto.FLOAT, ["n", "k"])],
        [("y", TensorProto.FLOAT, ["n", 2])],
        {"w": np.zeros((3, 2), dtype=np.float32)},
        output=VECTOR,
    )
    with pytest.raises(SampleError, match=r"the model cannot take x 1 x 4 float32: "):
        adapter.predict(samples([1, 2, 3, 4]))
    assert adapter.predict(samples([1, 2, 3])) == [[0, 0]]


def test_a_wrong_type_ends_the_pair(identity):
    """A declared type that the model does not take is an error of the suite."""
    with pytest.raises(PairError, match="cannot take x 1 x 1 float64"):
        identity(["n", 1], preprocess={"dtype": "float64"}).predict(samples(1.0))


PREPROCESS = {
    "rgb without channels": ({"layout": "NHW", "color": "rgb"}, "layout NHW has no channels"),
    "too many means": ({"color": "gray", "mean": [1, 2, 3]}, "mean has 3 values, the input 1 channels"),
    "zero std": ({"std": 0}, "std is 0; nothing can be divided by 0"),
}


@pytest.mark.parametrize(("preprocess", "message"), PREPROCESS.values(), ids=PREPROCESS)
def test_preprocessing_that_cannot_be(identity, tmp_path, preprocess, message):
    """Declarations that contradict the data are errors of the pair."""
    path = image(tmp_path / "a.png", np.zeros((2, 2)))
    with pytest.raises(PairError, match=message):
        identity(["n", "c", "h", "w"], preprocess=preprocess).predict(samples(path))


def test_words_are_no_images(identity):
    """A value where a file is declared names the sample."""
    with pytest.raises(PairError, match="input is image, but sample s0 is a str, not a file"):
        identity(["n", 1], preprocess={"input": "image"}).predict(samples("a.png"))


def test_a_vector_of_text_is_of_the_numbers_that_it_spells(identity):
    """A cell of CSV is text: a vector asks for its number, in whatever way it is spelled."""
    adapter = identity(["n", 3], output=VECTOR)
    assert adapter.predict(samples({"a": "1", "b": "0.50", "c": "1e2"}, ["7", "-3", 2])) == [[1, 0.5, 100], [7, -3, 2]]
    assert adapter.predict(samples(["1" * 20, "007", " 1"])) == [[pytest.approx(float("1" * 20)), 7, 1]]


@pytest.mark.parametrize(
    ("value", "message"),
    [({"a": "x"}, "a: 'x' is not a number"), ({"a": None}, "None is not a number"), ([[1], [1, 2]], "not a vector")],
    ids=["text", "null", "ragged"],
)
def test_what_is_no_vector(identity, value, message):
    """A cell that is not a number costs its sample."""
    with pytest.raises(SampleError, match=message):
        identity(["n", "k"]).predict(samples(value))


def test_an_output_without_a_row_for_each_sample(model):
    """A model that answers once for the whole batch cannot be taken apart."""
    adapter = model(
        [("ReduceSum", ["x"], ["y"], {"keepdims": 0})],
        [("x", TensorProto.FLOAT, ["n", 2])],
        [("y", TensorProto.FLOAT, [])],
        output={"kind": "value"},
    )
    with pytest.raises(PairError, match="output 'y' has 0 rows for 2 samples"):
        adapter.predict(samples([1, 2], [3, 4]))


def test_an_input_type_that_we_cannot_make(identity):
    """The types that there are, are listed."""
    with pytest.raises(PairError, match=r"the input 'x' takes tensor\(uint64\); accepted: tensor\(float\), "):
        identity(["n", 1], TensorProto.UINT64)


def test_memory_may_pass(identity, monkeypatch):
    """What the runtime cannot allocate is told as MemoryError, so that the batch is tried again and split."""
    adapter = identity(["n", 1])

    class Full:
        def run(self, names, feeds):
            raise RuntimeError("Failed to allocate memory for requested buffer")

    monkeypatch.setattr(adapter, "_session", Full())
    with pytest.raises(MemoryError, match="Failed to allocate"):
        adapter.predict(samples(1.0))


@pytest.mark.parametrize("workers", ["", "1", "2", "1000"])
def test_workers_share_the_cores(monkeypatch, workers):
    """All workers together use each core about once, and each at least one."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", workers)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert share_of_cores() == max(1, cores // int(workers or 1))


def test_threads_can_be_chosen(identity):
    """`params.threads` beats the share."""
    assert identity(["n", 1], threads=3)._session.get_session_options().intra_op_num_threads == 3


@pytest.mark.parametrize(
    ("module", "imported"),
    {"onnxruntime": "adapters.onnx", "numpy": "adapters.onnx", "PIL": "datasets.images"}.items(),
    ids=["onnxruntime", "numpy", "pillow"],
)
def test_a_missing_library_names_its_extra(module, imported):
    """What to install is said."""
    code = f"import sys; sys.modules[{module!r}] = None; import pytest_evalrun.{imported}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    extra = "vision" if module == "PIL" else "onnx"
    assert f"PairError: {module} is needed" in done.stderr
    assert f'pip install "pytest-evalrun[{extra}]"' in done.stderr
