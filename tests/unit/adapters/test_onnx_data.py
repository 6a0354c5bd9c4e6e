"""Weights that lie beside an ONNX model are a part of its content."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_evalrun.adapters.onnx_data import external_data
from pytest_evalrun.datasets.protocol import Identity
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.fingerprint import prediction_parts
from pytest_evalrun.rundir.differences import difference
from pytest_evalrun.rundir.hashes import HashCache
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task

NAMES = {"plain": "m.onnx.data", "long": "w" * 200, "chinese": "权重 1.bin", "none": None}


@pytest.fixture
def hashes(tmp_path):
    cache = HashCache(tmp_path / "hashes.db", warn=pytest.fail)
    yield cache
    cache.close()


def saved(path, location):
    """A model of one product, its weights outside where a location is given."""
    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph)
    outside = {"save_as_external_data": True, "location": location, "size_threshold": 0} if location else {}
    onnx.save(model, path, **outside)
    return path


@pytest.mark.parametrize("location", NAMES.values(), ids=NAMES)
def test_the_names_are_found_in_the_model(tmp_path, hashes, location):
    """Short and long ones; a model that holds its weights itself names none."""
    model = saved(tmp_path / "m.onnx", location)
    assert external_data(model, hashes) == ([location] if location else [])


HOSTILE = {"above": b"../w.bin", "absolute": b"/etc/passwd", "NUL": b"a\0b"}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_what_lies_elsewhere_is_not_looked_at(tmp_path, hashes, name):
    """ONNX Runtime refuses such a model when it is loaded."""
    (tmp_path / "m.onnx").write_bytes(b"\x0a\x08location\x12" + bytes([len(name)]) + name)
    assert external_data(tmp_path / "m.onnx", hashes) == []


def test_an_empty_file_names_nothing(tmp_path, hashes):
    """It is told to be no model when it is loaded."""
    (tmp_path / "m.onnx").touch()
    assert external_data(tmp_path / "m.onnx", hashes) == []


def test_other_weights_are_another_model(tmp_path, hashes):
    """Although the .onnx file itself stays as it is; weights that are gone are named."""
    model = saved(tmp_path / "m.onnx", "m.data")
    layer = Layer("suite", "evalrun.yaml", {"adapter": "onnx"})
    pair = Pair("s", str(tmp_path), Task("m", str(model), str(tmp_path)), Dataset("d", str(tmp_path)), (layer,))
    before = prediction_parts(pair, Identity("i", "r", 1), hashes)
    (tmp_path / "m.data").write_bytes((tmp_path / "m.data").read_bytes()[::-1])
    after = prediction_parts(pair, Identity("i", "r", 1), hashes)
    assert difference(json.loads(json.dumps(before)), after, hashes) == "model changed"
    (tmp_path / "m.data").unlink()
    with pytest.raises(PairError, match=r"m\.data cannot be read: No such file"):
        prediction_parts(pair, Identity("i", "r", 1), hashes)
