"""A Python model in a process of its own is the same model; what goes wrong in there is told out here."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

import numpy as np
import psutil
import pytest
from packages import installed

from pytest_evalrun import registry
from pytest_evalrun.adapters import create_adapter
from pytest_evalrun.adapters.protocol import Adapter
from pytest_evalrun.children import adapter as room
from pytest_evalrun.children.adapter import ChildAdapter, ServerAdapter
from pytest_evalrun.children.faults import ChildError, ModelDied, ModelError
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Task
from pytest_evalrun.suite.settings import Settings, resolve

MODELS = '''
import asyncio, logging, os, signal, subprocess, sys, threading, time
from pathlib import Path
import numpy as np
from pytest_evalrun.errors import PairError, SampleError

class Echo:
    """Answers with its input, or with what is done when the input is a known word."""

    def __init__(self, path=None, **params):
        self.path, self.params = path, params

    def predict(self, batch):
        return [getattr(self, f"do_{s.input}")() if isinstance(s.input, str) else s.input for s in batch]

    def do_path(self):
        return self.path
    def do_params(self):
        return self.params
    def do_image(self):
        return np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    def do_logits(self):
        return np.float32([0.25, np.nan])
    def do_print(self):
        print("x" * 1_000_000)
        os.write(1, b"raw\\n")
        subprocess.run(["echo", "from a program"])
        logging.getLogger("mine").info("logged")
        return 1
    def do_stdin(self):
        return [sys.stdin.read(), subprocess.run(["cat"], capture_output=True).stdout]
    def do_directory(self):
        return os.getcwd()
    def do_gpus(self):
        return os.environ.get("CUDA_VISIBLE_DEVICES")
    def do_error(self):
        raise ValueError("no such sample")
    def do_memory(self):
        raise RuntimeError("CUDA out of memory")
    def do_disk(self):
        raise OSError(5, "I/O error")
    def do_pair(self):
        raise PairError("wrong model")
    def do_sample(self):
        raise SampleError("bad sample") from ValueError("the cause")
    def do_odd(self):
        return object()
    def do_exit(self):
        print("last words", flush=True)
        os._exit(3)
    def do_sysexit(self):
        sys.exit(4)
    def do_crash(self):
        os.kill(os.getpid(), signal.SIGSEGV)
    def do_hang(self):
        return self.stuck_here()
    def do_fork(self):
        there, here = os.pipe()
        child = os.fork()
        if not child:
            os.write(here, b"!")
            time.sleep(1000)
        os.read(there, 1)
        os.kill(child, signal.SIGUSR2)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    def do_return(self):
        child = os.fork()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else 1 / 0
    def stuck_here(self):
        time.sleep(1000)

class Unloadable(Echo):
    def load(self):
        raise RuntimeError("no such layer")

class Dying(Echo):
    def load(self):
        os._exit(7)

class BadClose(Echo):
    def close(self):
        raise RuntimeError("cannot let go")

class SlowClose(Echo):
    def close(self):
        time.sleep(1000)

class LogsClose(Echo):
    def close(self):
        print("closed")

class Single:
    """Answers with its input and where that was; a text is the name of what goes wrong."""

    async def predict_one(self, sample):
        if isinstance(sample.input, str):
            raise type(sample.input, (LookupError,), {"status_code": 500 if sample.input == "Down" else None})("no")
        await asyncio.sleep(0)
        return [sample.input, threading.current_thread().name]

def generator(batch):
    return (1 for _ in batch)

def short(batch):
    return [1]

def generations(batch):
    return [sample.generation for sample in batch]

def rows(batch):
    return np.arange(len(batch), dtype=np.float32)
'''


class Made:
    """Adapters over the models above, what they write and which processes they start."""

    def __init__(self, root):
        self.root = root
        self.output = bytearray()
        self.pids = []
        self.adapters = []
        (root / "models.py").write_text(MODELS)

    def parts(self, name, path=None, words=None, **params):
        ref = name if "." in name else f"./models.py:{name}"
        settings = Settings(adapter=ref, params=params, words=words or {})
        return Task("m", path, str(self.root)), settings, str(self.root)

    def __call__(self, name, path=None, env=(), **params):
        made = ChildAdapter(
            *self.parts(name, path, **params),
            env=dict(env),
            hold=(),
            output=self.output.extend,
            started=self.pids.append,
        )
        self.adapters.append(made)
        return made

    def loaded(self, name, path=None, **more):
        made = self(name, path, **more)
        made.load()
        return made


@pytest.fixture
def make(tmp_path):
    made = Made(tmp_path)
    yield made
    for one in made.adapters:
        one.close()


def samples(*inputs):
    return [Sample(index, f"s{index}", given) for index, given in enumerate(inputs)]


@pytest.mark.parametrize(
    ("given", "passes"), [("Down", True), ("Named", True), ("Other", False)], ids=["status", "name", "neither"]
)
def test_predict_one_says_in_there_what_may_pass(make, given, passes):
    """By what its error says, or its name; the batch is asked in the one asyncio thread of that process."""
    model = make.loaded("Single", words={"retry_on": ["Named"]})
    assert model.predict(samples(1, 2, 3)) == [[n, "evalrun-asyncio"] for n in (1, 2, 3)]
    with pytest.raises(ModelError, match=f"{given}: no") as caught:
        model.predict(samples(1, given, 3))
    assert caught.value.may_pass is passes


def test_a_model_in_there_knows_which_answer_is_wanted(make):
    """Of several, as one in this process does: a seed may depend on it."""
    batch = [Sample(0, "s0", 5, generation=generation) for generation in range(3)]
    assert make.loaded("generations").predict(batch) == [0, 1, 2]


KIND = """
from pydantic import BaseModel
from pytest_evalrun.adapters import ModelKind

class Says(ModelKind):
    class Own(BaseModel):
        word: str
        times: int = 1

    def __init__(self, own, path, root):
        self.own, self.path, self.root = own, path, root

    def load(self): ...
    def predict(self, batch): return [f"{self.own.word * self.own.times} {self.path} {self.root}" for _ in batch]
    def close(self): ...
"""


def test_a_kind_of_another_package_is_the_same_in_its_own_process(tmp_path, monkeypatch):
    """Its words, the model's path and the suite's directory arrive; secrets are read in there."""
    points = {registry.ADAPTERS: {"says": "says_kind:Says"}}
    monkeypatch.syspath_prepend(installed(tmp_path / "site", "says", points, says_kind=KIND))
    monkeypatch.setenv("WORD", "ab")
    settings = resolve([Layer("suite", "evalrun.yaml", {"adapter": "says", "word": "${WORD}", "times": 2})])
    parts = Task("m", "/m.bin", "/"), settings, str(tmp_path)
    there = ChildAdapter(*parts, env={}, hold=(), output=None, started=os.getpgid)
    there.load()
    assert there.predict(samples("x")) == create_adapter(*parts).predict(samples("x")) == [f"abab /m.bin {tmp_path}"]
    there.close()


VALUES = [
    1,
    0.5,
    None,
    True,
    [1, "a"],
    (1, (2,)),
    {"a": 1, "$path": 2},
    {"$path": 1},
    Path("/a b/ü"),
    b"\0",
    float("inf"),
]


def test_a_model_is_the_same_in_its_own_process(make):
    """Inputs, predictions, the path and the parameters of the model: nothing tells where it runs."""
    here = create_adapter(*make.parts("Echo", "/models/a.bin", depth=(1, 2), rate=0.5))
    here.load()
    there = make.loaded("Echo", "/models/a.bin", depth=(1, 2), rate=0.5)
    assert isinstance(there, Adapter)
    batch = samples(*VALUES[:4], ["inner"], *VALUES[5:], "path", "params", "directory")
    assert list(there.predict(batch)) == list(here.predict(batch))
    for one, other in zip(
        there.predict(samples("image", "logits")), here.predict(samples("image", "logits")), strict=True
    ):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_indices_and_ids_arrive(make, tmp_path):
    """A sample is a sample in there, and carries no reference."""
    (tmp_path / "ids.py").write_text("def ids(batch):\n    return [[s.index, s.id, s.reference] for s in batch]\n")
    task = Task("m", None, str(tmp_path))
    model = ChildAdapter(
        task, Settings(adapter="./ids.py:ids"), str(tmp_path), env={}, hold=(), output=None, started=make.pids.append
    )
    make.adapters.append(model)
    model.load()
    assert model.predict([Sample(7, "\udcff", 1, "the answer")]) == [[7, "\udcff", None]]
    assert make.pids == list(model.pids)


def test_rows_of_an_array_are_predictions(make):
    """As a model may answer a whole batch at once."""
    assert make.loaded("rows").predict(samples(5, 5, 5)) == [0.0, 1.0, 2.0]
    assert make.loaded("short").predict(samples(5, 5)) == [1]


def test_ten_megabytes_go_both_ways(make):
    """In one batch."""
    array = np.arange(10_000_000, dtype=np.uint8).reshape(100, -1)
    (found,) = make.loaded("Echo").predict(samples(array))
    np.testing.assert_array_equal(found, array)


def test_prints_do_no_harm(make):
    """Of Python, of C, of programs that the model runs, of logging: all is output, none is an answer."""
    model = make.loaded("Echo")
    assert model.predict(samples("print")) == [1]
    for text in (b"x" * 1_000_000 + b"\n", b"raw\n", b"from a program\n", b"INFO mine: logged\n"):
        assert text in make.output


def test_a_model_has_nothing_to_read(make):
    """What comes in is the protocol's."""
    assert make.loaded("Echo").predict(samples("stdin")) == [["", b""]]


def test_the_environment_is_there_before_the_model_is_imported(make):
    """A GPU that is chosen later is chosen too late."""
    model = make.loaded("Echo", env={"CUDA_VISIBLE_DEVICES": "2,3"})
    assert model.predict(samples("gpus")) == ["2,3"]


def test_modules_are_found_as_in_this_process(make, tmp_path, monkeypatch):
    """Where pytest has put the user's directories on the path."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "evalrun_found_me.py").write_text("def here(batch):\n    return ['found'] * len(batch)\n")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    assert make.loaded("evalrun_found_me.here").predict(samples(1)) == ["found"]


def test_secrets_are_expanded_in_there(make, monkeypatch):
    """And are in no argument list of any process."""
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-value")
    model = make.loaded("Echo", token="${MY_TOKEN}")
    assert model.predict(samples("params")) == [{"token": "s3cr3t-value"}]
    assert len(model.pids) == 2
    for pid in model.pids:
        assert "s3cr3t" not in str(psutil.Process(pid).cmdline())


ERRORS = {
    "error": (ModelError, "ValueError: no such sample", False),
    "memory": (ModelError, "RuntimeError: CUDA out of memory", True),
    "disk": (ModelError, "OSError: [Errno 5] I/O error", True),
}


@pytest.mark.parametrize(("word", "kind", "text", "passes"), [(k, *v) for k, v in ERRORS.items()], ids=ERRORS)
def test_exceptions_come_out(make, word, kind, text, passes):
    """With type, text and traceback, and whether they may pass; the model can be asked on."""
    model = make.loaded("Echo")
    with pytest.raises(kind) as caught:
        model.predict(samples(word))
    assert str(caught.value) == text
    assert caught.value.may_pass is passes
    assert f"in do_{word}" in caught.value.traceback
    assert f"in do_{word}" in "".join(traceback.format_exception(caught.value))
    assert model.predict(samples(5)) == [5]


@pytest.mark.parametrize(
    ("word", "kind", "text"), [("pair", PairError, "wrong model"), ("sample", SampleError, "bad sample")]
)
def test_errors_that_name_who_is_to_blame_stay_what_they_are(make, word, kind, text):
    """A model may raise them itself; what caused them is shown."""
    with pytest.raises(kind) as caught:
        make.loaded("Echo").predict(samples(word))
    assert type(caught.value) is kind
    assert str(caught.value) == text
    shown = "".join(traceback.format_exception(caught.value))
    assert ("ValueError: the cause" in shown) is (word == "sample")


def test_predictions_that_cannot_be_kept_cost_their_sample(make):
    """As in this process; the type is named, and what is accepted."""
    with pytest.raises(SampleError, match="sample s1: the model answered what cannot be kept: object cannot be told"):
        make.loaded("Echo").predict(samples(1, "odd", 2))


def test_inputs_that_cannot_travel_are_refused_before_they_are_sent(make):
    """And the model can be asked on."""
    model = make.loaded("Echo")
    with pytest.raises(PairError, match="set cannot be told to another process"):
        model.predict(samples({1}))
    assert model.predict(samples(5)) == [5]


def test_an_answer_that_is_no_list(make):
    """Told as in this process."""
    with pytest.raises(PairError, match="predict answered generator to a batch of 2; it must answer a list"):
        make.loaded("generator").predict(samples(1, 2))


UNLOADABLE = {
    "load fails": ("Unloadable", {}, "./models.py:Unloadable could not be loaded: RuntimeError: no such layer"),
    "not there": ("Nobody", {}, "'./models.py:Nobody': ./models.py has no 'Nobody'"),
    "secret missing": ("Echo", {"token": "${NO_SUCH_TOKEN}"}, "the environment variable NO_SUCH_TOKEN is not set"),
    "dies": ("Dying", {}, "the process of model m ended with exit code 7"),
}


@pytest.mark.parametrize(("name", "params", "text"), UNLOADABLE.values(), ids=UNLOADABLE)
def test_a_model_that_does_not_load_leaves_no_process(make, lives, name, params, text):
    """And the pair's error says why."""
    model = make(name, **params)
    with pytest.raises(PairError) as caught:
        model.load()
    assert text in str(caught.value)
    assert model.pids == ()
    assert not lives(make.pids[1])


def test_the_cause_of_a_failed_load_is_shown(make):
    """With the line of the user's code."""
    with pytest.raises(PairError) as caught:
        make.loaded("Unloadable")
    assert "in load" in "".join(traceback.format_exception(caught.value.__cause__))


DEATHS = {
    "exit": (3, "the process of model m ended with exit code 3; the end of its output:\nlast words"),
    "sysexit": (4, "the process of model m ended with exit code 4"),
    "crash": (-signal.SIGSEGV, "the process of model m was ended by SIGSEGV"),
}


@pytest.mark.parametrize(("word", "code", "text"), [(k, *v) for k, v in DEATHS.items()], ids=DEATHS)
def test_a_death_is_told_and_survived(make, word, code, text):
    """How it ended, and its last words; closed and loaded again it works."""
    model = make.loaded("Echo")
    with pytest.raises(ModelDied) as caught:
        model.predict(samples(word))
    assert str(caught.value).startswith(text)
    assert caught.value.returncode == code
    with pytest.raises(ChildError):
        model.predict(samples(1))
    model.close()
    with pytest.raises(ModelDied, match="not running"):
        model.predict(samples(1))
    model.load()
    assert model.predict(samples(1)) == [1]


class AlarmError(Exception):
    """Raised by a signal handler."""


@pytest.fixture
def alarm(make):
    """A time-out as a worker has it: the stacks first, then an exception wherever the main thread is."""

    def ring(*_):
        make.adapters[-1].dump_stacks(30)
        raise AlarmError

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.2)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_hang_shows_where_and_the_worker_goes_on(make, alarm, lives):
    """The answer that is still owed is never taken for the next one."""
    model = make.loaded("Echo")
    alarm()
    with pytest.raises(AlarmError):
        model.predict(samples("hang"))
    assert b"in stuck_here" in make.output
    with pytest.raises(ChildError, match="still owes an answer"):
        model.predict(samples(1))
    host = model.pids[1]
    model.kill()
    assert not lives(host)
    model.load()
    assert model.predict(samples(1)) == [1]


def test_close_lets_the_model_tidy_up(make, lives):
    """Then nothing of it lives; a second time does nothing."""
    model = make.loaded("LogsClose")
    model.close()
    model.close()
    assert make.output.endswith(b"closed\n")
    assert not lives(make.pids[1])
    assert model.pids == ()


def test_a_fault_in_close_is_told(make, lives):
    """After the process has ended all the same."""
    model = make.loaded("BadClose")
    with pytest.raises(ModelError, match="RuntimeError: cannot let go"):
        model.close()
    assert not lives(make.pids[1])


def test_a_model_may_fork(make):
    """Its child handles no signal for us, and gives no answer of its own."""
    model = make.loaded("Echo")
    samples = [Sample(index, str(index), word, None) for index, word in enumerate(("fork", "return", 5))]
    assert model.predict(samples) == [-signal.SIGUSR2, 1, 5]


def test_a_close_that_hangs_is_ended(make, lives, monkeypatch):
    """It was promised to take no longer than a few seconds."""
    monkeypatch.setattr(room, "CLOSE_SECONDS", 0.1)
    make.loaded("SlowClose").close()
    assert not lives(make.pids[1])


def test_what_was_never_loaded_has_nothing_to_close(make):
    """Nor stacks to show."""
    model = make("Echo")
    model.dump_stacks()
    model.close()
    model.kill()
    assert make.pids == []


def server(script, make):
    made = ServerAdapter("m", ["/bin/sh", "-c", script], {}, env={}, hold=(), output=None, started=make.pids.append)
    make.adapters.append(made)
    return made


READY = """read -r line; echo '{"type":"ready"}'; read -r line; """
ANSWERS = {
    "another": ("""echo '{"type":"ready"}'; read x""", ChildError, "answered 'ready', not 'predictions'"),
    "no list": ("""echo '{"type":"predictions","predictions":1}'; read x""", ChildError, "that are no list"),
    "bare error": ("""echo '{"type":"error"}'; read x""", ModelError, "None"),
    "odd kind": ("""echo '{"type":"error","error":"x","kind":["pair"]}'; read x""", ModelError, "x"),
    "pair": ("""echo '{"type":"error","error":"x","kind":"pair"}'; read x""", PairError, "x"),
}


@pytest.mark.parametrize(("script", "kind", "text"), ANSWERS.values(), ids=ANSWERS)
def test_odd_answers_of_programs(make, script, kind, text):
    """A program in another language may get the protocol wrong: it is told what it did."""
    model = server(READY + script, make)
    model.load()
    with pytest.raises(kind, match=text):
        model.predict(samples(1))


def test_a_program_that_cannot_load(make):
    """Its own words are in the error of the pair."""
    model = server("""read -r line; echo '{"type":"error","error":"no board"}'; read x""", make)
    with pytest.raises(PairError, match="model m could not be loaded: no board"):
        model.load()


def test_programs_see_paths_as_text(make):
    """And answer with JSON's values."""
    model = server(
        READY + """printf '%s\\n' "$line" >&2; echo '{"type":"predictions","predictions":[1]}'; read x""", make
    )
    output = bytearray()
    model._output = output.extend
    model.load()
    assert model.predict(samples(Path("/a b"))) == [1]
    assert output == b'{"type":"predict","batch":[{"index":0,"id":"s0","input":"/a b"}]}\n'


def test_the_interpreter_is_this_one():
    """The model sees the same packages."""
    made = ChildAdapter(Task("t", None, "/"), Settings(), "/", env={}, hold=(), output=None, started=os.getpgid)
    assert made.argv[0] == sys.executable
