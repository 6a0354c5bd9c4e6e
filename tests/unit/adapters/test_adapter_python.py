from __future__ import annotations

from pathlib import Path

import pytest

from pytest_evalrun.adapters import create_adapter
from pytest_evalrun.adapters.protocol import Adapter
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.suite.pairs import Task
from pytest_evalrun.suite.settings import Settings

SOURCE = """
calls = []

class Model:
    def __init__(self, path=None, factor=1):
        self.path, self.factor = path, factor
        calls.append("made")
    def load(self):
        calls.append("loaded")
    def predict(self, batch):
        return [sample.input * self.factor for sample in batch]
    def close(self):
        calls.append("closed")

class Plain:
    def predict(self, batch):
        return [str(self.__dict__)] * len(batch)

def double(batch):
    return [sample.input * 2 for sample in batch]

def times(batch, factor, token=None):
    return [(sample.input * factor, token) for sample in batch]

class Single:
    async def load(self):
        calls.append("loaded one")
    async def predict_one(self, sample):
        return sample.input + 100
    async def close(self):
        calls.append("closed one")

class Both(Plain):
    def predict_one(self, sample):
        return sample.input

class Unable:
    def forward(self):
        pass

class Exploding:
    def __init__(self):
        raise TypeError("unexpected weights")
    def predict(self, batch):
        return []

class Unloadable(Plain):
    def load(self):
        raise RuntimeError("no such layer")

class Picky(Plain):
    def load(self):
        from pytest_evalrun.errors import PairError
        raise PairError("wants more memory")

ready = Model()
number = 7
"""
BATCH = [Sample(0, "0", 3), Sample(1, "1", 5)]


@pytest.fixture
def adapter(tmp_path):
    (tmp_path / "my.py").write_text(SOURCE)

    def make(name, path=None, words=None, **params):
        task = Task("task", path, str(tmp_path))
        settings = Settings(adapter=f"./my.py:{name}", params=params, words=words or {})
        return create_adapter(task, settings, str(tmp_path))

    return make


def loaded(adapter):
    adapter.load()
    return adapter


def calls_of(adapter):
    return adapter._model.predict.__func__.__globals__["calls"]


def test_a_class_is_made_loaded_asked_and_closed(adapter):
    """The model's path comes first, then the parameters; nothing happens before load."""
    model = adapter("Model", "/models/a.bin", factor=2)
    assert isinstance(model, Adapter)
    model.load()
    calls = calls_of(model)
    assert calls[-2:] == ["made", "loaded"]
    assert model._model.path == Path("/models/a.bin")
    assert model.predict(BATCH) == [6, 10]
    model.close()
    assert calls[-1] == "closed"
    model.close()
    assert calls.count("closed") == 1


def test_load_and_close_are_optional(adapter):
    """Predict is all that a class needs; without a model file there is no path argument."""
    model = loaded(adapter("Plain"))
    assert model.predict(BATCH) == ["{}", "{}"]
    model.close()


def test_predict_one_is_enough(adapter):
    """Its answers stand in the order of the batch; load and close may be coroutines as it is, and are waited for."""
    model = loaded(adapter("Single"))
    calls = model._model.predict_one.__func__.__globals__["calls"]
    assert calls[-1] == "loaded one"
    assert model.predict(BATCH) == [103, 105]
    model.close()
    assert calls[-1] == "closed one"


@pytest.mark.parametrize(("words", "answers"), [({}, ["{}", "{}"]), ({"concurrency": 2}, [3, 5])])
def test_who_says_how_many_at_once_has_them_asked_one_by_one(adapter, words, answers):
    """Of a class that can do both."""
    assert loaded(adapter("Both", words=words)).predict(BATCH) == answers


@pytest.mark.parametrize(("name", "has"), [("Model", "; it has: close, load, predict"), ("double", "")])
def test_how_many_at_once_says_nothing_of_what_takes_batches(adapter, name, has):
    """It would be without effect, and nobody would know."""
    with pytest.raises(PairError) as caught:
        adapter(name, words={"concurrency": 2}).load()
    assert str(caught.value) == f"./my.py:{name} has no method predict_one, which `concurrency` is for{has}"


def test_a_function_takes_the_batch_and_the_parameters(adapter):
    """With parameters and without."""
    assert loaded(adapter("double")).predict(BATCH) == [6, 10]
    assert loaded(adapter("times", factor=3)).predict(BATCH) == [(9, None), (15, None)]


def test_secrets_are_read_from_the_environment(adapter, monkeypatch):
    """`${NAME}` in a parameter is its value only inside the adapter."""
    monkeypatch.setenv("MY_TOKEN", "s3cret")
    assert loaded(adapter("times", factor=1, token="${MY_TOKEN}")).predict(BATCH[:1]) == [(3, "s3cret")]


FAULTS = {
    "no predict": ("Unable", None, {}, "./my.py:Unable has no method predict or predict_one; it has: forward"),
    "object": ("ready", None, {}, "./my.py:ready is an object; accepted: a class or a function"),
    "number": ("number", None, {}, "./my.py:number is a int; accepted: a class with predict, or a function"),
    "unknown parameter": ("Model", None, {"speed": 1}, "does not fit what it is given (speed)"),
    "missing parameter": ("times", None, {}, "does not fit what it is given (batch)"),
    "no place for the path": ("Plain", "/m", {}, "does not fit what it is given (path)"),
    "constructor fails": ("Exploding", None, {}, "./my.py:Exploding could not be made: TypeError: unexpected weights"),
    "load says why": ("Picky", None, {}, "wants more memory"),
    "load fails": ("Unloadable", None, {}, "./my.py:Unloadable could not be loaded: RuntimeError: no such layer"),
}


@pytest.mark.parametrize(("name", "path", "params", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_name_the_adapter(adapter, name, path, params, message):
    """What was found and what is accepted are told."""
    with pytest.raises(PairError) as caught:
        adapter(name, path, **params).load()
    assert message in str(caught.value)


def test_the_users_traceback_is_kept(adapter):
    """The line of the user's code that failed can be shown."""
    with pytest.raises(PairError) as caught:
        adapter("Exploding").load()
    assert caught.value.__cause__.__traceback__.tb_next.tb_frame.f_code.co_filename.endswith("my.py")


def test_an_adapter_that_is_not_there(adapter):
    """A wrong name is the user's configuration."""
    with pytest.raises(ConfigError, match="Modell"):
        adapter("Modell").load()


def test_a_task_without_adapter(tmp_path):
    """The adapters that there are, are listed."""
    with pytest.raises(PairError, match="task t: no adapter; accepted: command, http, onnx"):
        create_adapter(Task("t", None, str(tmp_path)), Settings(), str(tmp_path))


def test_the_onnx_adapter_is_made_by_name(tmp_path):
    """Built-in adapters need no path to code; their model is looked at when it is loaded."""
    made = create_adapter(Task("t", str(tmp_path / "none.onnx"), str(tmp_path)), Settings(adapter="onnx"), "/")
    with pytest.raises(PairError, match="the model is missing"):
        made.load()


def test_the_source_behind_an_adapter(tmp_path):
    """The user's file is part of what a prediction depends on; built-in adapters have none."""
    (tmp_path / "my.py").write_text(SOURCE)
    for settings, source in (
        (Settings(adapter="./my.py:Model"), tmp_path / "my.py"),
        (Settings(adapter="onnx"), None),
        (Settings(), None),
    ):
        assert settings.kind.source(settings, str(tmp_path)) == source
