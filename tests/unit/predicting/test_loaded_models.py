"""One model stays loaded for the datasets that follow; it is another one only where predictions would be others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.predicting.models import LoadedModels
from pytest_evalrun.predicting.services import Slots, WorkerServices
from pytest_evalrun.rundir.events import EventWriter

ODD = """
from pytest_evalrun.errors import PairError

class Model:
    def __init__(self, path):
        pass

    def predict(self, batch):
        return [0] * len(batch)

class Clinging(Model):
    def close(self):
        raise RuntimeError("busy")

class Unloadable(Model):
    def load(self):
        raise OSError("no device")

class Unwilling(Model):
    def load(self):
        raise PairError("no licence")
"""
PARTS = {"model": "m", "inputs": "a", "params": {}}


def no_board():
    raise AssertionError("nobody asked for one")


@pytest.fixture
def models(evaluator):
    events = EventWriter(evaluator.run / "events" / "main.jsonl", "main")
    models = LoadedModels(events, str, Slots("none"), WorkerServices(), lacking={}, boards=no_board, digest=str)
    yield models
    models.close()
    events.close()


def kinds(evaluator):
    return [event["event"] for event in evaluator.events()]


def test_datasets_share_a_model(models, shop, evaluator):
    """Another dataset or limit is no other model; loading costs seconds once, then none."""
    shop.data()
    first, seconds = models.get(shop.pair(), PARTS)
    assert seconds > 0
    assert models.get(shop.pair("other"), PARTS | {"inputs": "b", "limit": 3}) == (first, 0.0)
    assert first.predict([Sample(0, "s0", 5)]) == [5]
    assert kinds(evaluator) == ["model_loaded"]


OTHERS = {
    "content": (lambda pair: pair, {"model": "n"}),
    "parameters": (lambda pair: pair, {"params": {"plus": 1}}),
    "file": (lambda pair: replace(pair, task=replace(pair.task, path="/elsewhere/weights.bin")), {}),
    "suite": (lambda pair: replace(pair, suite="numbers"), {}),
}


@pytest.mark.parametrize(("change", "parts"), OTHERS.values(), ids=OTHERS)
def test_another_model_takes_its_place(models, shop, evaluator, change, parts):
    """The first is closed before the second is loaded: memory holds one at a time."""
    shop.data()
    models.get(shop.pair(), PARTS)
    models.get(change(shop.pair()), PARTS | parts)
    assert kinds(evaluator) == ["model_loaded", "model_unloaded", "model_loaded"]
    models.close()
    models.close()
    assert kinds(evaluator)[3:] == ["model_unloaded"]
    assert [event["model"] for event in evaluator.events()][:2] == ["letters/echo"] * 2


def test_without_a_file_a_model_is_told_by_its_name(models, shop, evaluator):
    """What it is sent is no other model."""
    shop.data()
    pair = shop.pair()
    for name, prompt in (("a", None), ("a@x", "x"), ("a@y", "y"), ("b", None)):
        models.get(replace(pair, task=replace(pair.task, name=name, path=None, prompt=prompt)), PARTS)
    assert [event["model"] for event in evaluator.events() if event["event"] == "model_loaded"] == [
        "letters/a",
        "letters/b",
    ]


def test_a_fault_at_the_end_hurts_nobody(models, shop, evaluator):
    """It is told in the events; the next model is loaded all the same."""
    (shop.root / "odd.py").write_text(ODD)
    models.get(shop.pair(adapter="./odd.py:Clinging"), PARTS)
    models.get(shop.pair(adapter="./odd.py:Model"), PARTS | {"adapter": "./odd.py:Model"})
    assert evaluator.events()[1]["error"] == "RuntimeError: busy"


FAULTS = {
    "fails": ("./odd.py:Unloadable", PairError, "no device"),
    "says why": ("./odd.py:Unwilling", PairError, "^no licence$"),
    "not there": ("./odd.py:None_", ConfigError, "has no 'None_'"),
}


@pytest.mark.parametrize(("adapter", "kind", "message"), FAULTS.values(), ids=FAULTS)
def test_a_model_that_cannot_be_loaded(models, shop, evaluator, adapter, kind, message):
    """Its pair is told why; nothing counts as loaded, and the next pair tries anew."""
    (shop.root / "odd.py").write_text(ODD)
    for _ in range(2):
        with pytest.raises(kind, match=message):
            models.get(shop.pair(adapter=adapter), PARTS)
    assert kinds(evaluator) == []
    models.get(shop.pair(adapter="./odd.py:Model"), PARTS)
    assert kinds(evaluator) == ["model_loaded"]
