"""Programs that serve a model: when one is ready, whose answers count, how its end is told, and that all of it ends."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
import uuid
from contextlib import contextmanager, suppress

import psutil
import pytest

from pytest_evalrun.children.faults import ModelDied
from pytest_evalrun.errors import PairError
from pytest_evalrun.llm import served
from pytest_evalrun.llm.kinds import OpenAI
from pytest_evalrun.llm.served import Served
from pytest_evalrun.rundir.hashes import HashCache
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task
from pytest_evalrun.suite.settings import resolve

MARK = "EVALRUN_TEST_MARK"
SECONDS = 60
PROGRAM = '''
import http.server, json, os, signal, sys, time

what, port, *others = sys.argv[1:]
asked = []

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        if what == "busy" or (what == "slow" and len(asked) < 3):
            self.send_error(503)
            return
        seen = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "MODE")}
        told = {"argv": others, "cwd": os.getcwd(), **seen, "key": self.headers.get("Authorization")}
        models = [{"id": name} for name in (["first", "second"] if what == "two" else ["only"])]
        body = json.dumps({"data": models} if self.path == "/v1/models" else told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): ...

def serve():
    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()

def daemon(work):
    """In a session of its own, whose parent has ended, and which no polite word ends."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    work()

print("loading the weights", flush=True)
if what == "dies":
    sys.exit("no such model")
if what == "never":
    time.sleep(1000)
if what == "leaves":
    daemon(lambda: time.sleep(1000))
if what == "daemon":
    daemon(serve)
    time.sleep(1000)
serve()
'''


class Bench:
    """A suite with a program that serves, and what lives of all that was started here."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.mark = uuid.uuid4().hex
        monkeypatch.setenv(MARK, self.mark)
        (root / "serve.py").write_text(PROGRAM)
        (root / "weights").mkdir()
        self.output, self.said, self.pids = bytearray(), [], []
        self.made = []

    def pair(self, what="ready", more="", path="weights", **words):
        serve = f"python serve.py {what} {{port}} {more}".strip()
        layer = Layer("suite", "evalrun.yaml", {"adapter": "openai", "serve": serve} | words)
        path = None if path is None else str(self.root / path)
        return Pair("s", str(self.root), Task("m", path, str(self.root)), Dataset("d", "d"), (layer,))

    def __call__(self, what="ready", more="", check=lambda: None, gpus=(), **words):
        made = Served(
            self.pair(what, more, **words),
            gpus=dict(gpus),
            hold=(),
            output=self.output.extend,
            started=self.pids.append,
            check=check,
            say=self.said.append,
        )
        self.made.append(made)
        return made

    def living(self):
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get(MARK) == self.mark:
                    found.append((process.pid, process.cmdline()))
        return [each for each in found if "supervisor.py" not in " ".join(each[1])]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch)
    yield bench
    for made in bench.made:
        made.kill()


def get(made, path="/told"):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        made.base_url[: -len("/v1")] + path
    ) as reply:
        return json.loads(reply.read())


def until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def stranger(answers=True):
    """Somebody else who listens: this process. Gives the port."""
    if not answers:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            yield listening.getsockname()[1]
        return

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_): ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_is_told_all_that_it_needs(bench, monkeypatch):
    """Port, model, number of GPUs and parameters in its words; GPUs and `env` in its environment; the suite's place."""
    monkeypatch.setenv("TOKEN", "s3cret-token")
    made = bench(
        "ready",
        "{model} {model_dir} {name} {gpus} {size} {{}}",
        gpus={"CUDA_VISIBLE_DEVICES": "2,3"},
        params={"size": 7},
        env={"MODE": "${TOKEN}", "REMOTE_TASK_HOME": "/home"},
        api_key="${TOKEN}",
    )
    made.load()
    told = get(made)
    weights = str(bench.root / "weights")
    assert told["argv"] == [weights, weights, "m", "0", "7", "{}"]
    assert (told["cwd"], told["CUDA_VISIBLE_DEVICES"], told["MODE"]) == (str(bench.root), "2,3", "s3cret-token")
    assert made.base_url.endswith("/v1")
    assert bench.said == [f"$ python serve.py ready {made.base_url[17:-3]} {weights} {weights} m 0 7 '{{}}'"]
    assert list(made.pids) == bench.pids


@pytest.mark.parametrize(
    ("what", "words", "name"),
    [("ready", {}, "only"), ("two", {}, None), ("ready", {"model": "mine"}, None)],
    ids=["its only one", "one of two", "named by the suite"],
)
def test_the_name_of_its_only_model_is_asked_for(bench, what, words, name):
    """Programs call a model by its path, or as they like: where the suite has no name for it, theirs is the one."""
    made = bench(what, **words)
    made.load()
    assert made.model == name


@pytest.mark.parametrize("what", ["slow", "daemon"])
def test_it_is_ready_once_a_process_of_its_own_answers(bench, what):
    """Not while it answers that it is loading; one that it started and left, too, is its own."""
    made = bench(what)
    made.load()
    assert get(made)["argv"] == []
    made.close()
    assert bench.living() == []


NEVER = {
    "silent": ("never", "nothing answered"),
    "loading for ever": ("busy", "it answered HTTP 503"),
}


@pytest.mark.parametrize(("what", "missing"), NEVER.values(), ids=NEVER)
def test_one_that_never_gets_ready_is_ended(bench, what, missing):
    """After `ready_timeout`, with what it lacked and its last lines."""
    made = bench(what, ready_timeout=1.0, ready="/health")
    with pytest.raises(PairError) as caught:
        made.load()
    text = str(caught.value)
    assert text.startswith("the server of model m was not ready within 1 s (`ready_timeout`): GET http://127.0.0.1:")
    assert f"/health: {missing}; the end of its output:\nloading the weights" in text
    assert caught.value.brief == f"was not ready within 1 s (`ready_timeout`): {missing}"
    assert bench.living() == []


def test_one_that_dies_before_it_is_ready_is_a_model_that_died(bench):
    """At once, with its exit code and its last lines."""
    made = bench("dies")
    with pytest.raises(ModelDied) as caught:
        made.load()
    assert "the server of model m ended with exit code 1; the end of its output" in str(caught.value)
    assert "no such model" in str(caught.value)
    assert bench.living() == []


def test_one_that_dies_later_says_how(bench):
    """Whoever asks; what was ended here has not died."""
    made = bench()
    made.load()
    assert made.died() is None
    os.kill(made.pids[1], signal.SIGKILL)
    until(lambda: made.died() is not None)
    assert "was ended by SIGKILL" in str(made.died())
    assert bench.output == b"loading the weights\n"
    made.close()
    assert made.died() is None
    made.load()
    assert get(made)
    made.close()
    assert made.died() is None
    assert bench.living() == []


def test_a_stranger_on_its_port_is_named(bench, monkeypatch):
    """What answers there says nothing of our program: nobody is asked in its place."""
    with stranger() as port:
        monkeypatch.setattr(served, "free_port", lambda: port)
        with pytest.raises(PairError) as caught:
            bench("never").load()
    told = f"port {port} is answered by process {os.getpid()}, which it did not start; 3 ports were tried"
    assert str(caught.value) == f"the server of model m: {told}"
    assert bench.living() == []


@pytest.mark.parametrize("answers", [True, False])
def test_a_port_that_was_taken_meanwhile_is_no_mishap(bench, monkeypatch, answers):
    """Between the choice and the program others may come: another port does as well."""
    monkeypatch.setattr(served, "ANSWER_SECONDS", 0.5)
    free = served.free_port
    with stranger(answers) as port:
        ports = iter([port])
        monkeypatch.setattr(served, "free_port", lambda: next(ports, None) or free())
        made = bench()
        made.load()
        assert get(made)["cwd"] == str(bench.root)
    assert [line for line in bench.said if "trying another port" in line]


def test_a_daemon_that_it_leaves_ends_with_it(bench):
    """In a session of its own, and deaf to SIGTERM."""
    made = bench("leaves")
    made.load()
    until(lambda: len(bench.living()) == 2)
    made.close()
    assert bench.living() == []


def test_who_stops_to_wait_leaves_nothing(bench):
    """Ctrl-C, or a launcher that is gone."""
    looks = []

    def check():
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench("never", check=check).load()
    assert bench.living() == []


MISTAKES = {
    "no port": ("vllm serve {model}", "found no {port}, on which the program must listen"),
    "unknown": (
        "x {port} {dataset}",
        "found the unknown placeholder {dataset}; accepted: {port}, {model}, {model_dir}",
    ),
    "brace": ("x {port} {", "found '{'; accepted: {NAME} for a placeholder"),
    "quote": ("x {port} 'a", "cannot be split into words"),
}


@pytest.mark.parametrize(("serve", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_of_a_command_are_told_at_collection(serve, told):
    """Before any GPU is taken for it."""
    settings = resolve([Layer("suite", "x", {"adapter": "openai", "serve": serve})])
    ((key, text),) = OpenAI.mistakes(settings)
    assert key == "serve"
    assert told in text


def test_placeholders_may_be_parameters():
    """As in commands."""
    words = {"adapter": "openai", "serve": ["x", "--port={port}", "{size}"], "params": {"size": 3}}
    assert list(OpenAI.mistakes(resolve([Layer("suite", "x", words)]))) == []


@pytest.fixture
def parts(bench, tmp_path):
    """What predictions depend on besides data and model files."""
    hashes = HashCache(tmp_path / "hashes.db", warn=pytest.fail)
    yield lambda *a, **words: OpenAI.identity(bench.pair(*a, **words).settings, str(bench.root), hashes)
    hashes.close()


def test_a_program_may_have_our_interpreter(bench, parts):
    """It is the one that pytest runs in, with its libraries, whatever PATH says; where it lies counts for nothing."""
    pair = bench.pair(serve="{python} serve.py ready {port}")
    assert served.command(pair, 80) == [sys.executable, "serve.py", "ready", "80"]
    assert list(OpenAI.mistakes(pair.settings)) == []
    assert parts(serve="{python} serve.py ready {port}")["serve"][0] == "{python}"


def test_identity_is_the_command_without_port_gpus_and_places(bench, parts, tmp_path):
    """A clone elsewhere, another port and more GPUs change nothing; another program, word or environment does."""
    first = parts()
    assert first["serve"] == ["python", "serve.py", "ready", "{port}"]
    assert "endpoint" not in first or first["endpoint"] is None
    there = ["python", str(bench.root / "serve.py"), "ready", "{port}"]
    assert parts(serve=there, gpus=2, concurrency=3, api_key="${KEY}", ready="/health") == first
    others = [parts("slow"), parts(env={"MODE": "fast"}), parts(sampling={"temperature": 1})]
    (bench.root / "serve.py").write_text(PROGRAM + "# changed")
    assert first not in [*others, parts()]


def test_what_is_asked_of_a_server_is_none_of_it(bench, parts):
    """Prompts, sampling and prices share the program that runs; other weights, parameters or GPUs have their own."""

    def key(**words):
        settings = bench.pair(**words).settings
        return OpenAI.of_the_model(settings, {"model": "m", **parts(**words)})

    first = key()
    shared = [
        {"sampling": {"temperature": 1}},
        {"prompt": {"system": "x"}},
        {"price": {"input": 1}},
        {"generations": 3},
    ]
    assert [key(**words) for words in shared] == [first] * 4
    for words in ({"env": {"A": "b"}}, {"ready": "/health"}, {"serve": "other {port}"}):
        assert key(**words) != first
