"""Indices of a task are samples: asked of a controller, or of the task's code."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from pytest_evalrun.datasets import create_reader
from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.hashes import HashCache
from pytest_evalrun.suite.pairs import Dataset
from pytest_evalrun.suite.settings import Settings


class Controller(ThreadingHTTPServer):
    """Answers as AgentBench's controller does, and our own with a token; what it has is ``tasks``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.tasks: dict[str, object] = {}
        self.url = f"http://127.0.0.1:{self.server_port}/api"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class Answers(BaseHTTPRequestHandler):
    server: Controller

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        name = parse_qs(url.query).get("name", [""])[0]
        tasks = self.server.tasks
        if not url.path.startswith("/api/"):
            self.answer(404, {"detail": "Not Found"})
        elif url.path == "/api/list_workers":
            self.answer(200, {task: {"indices": indices, "workers": {}} for task, indices in tasks.items()})
        elif name in tasks:
            self.answer(200, tasks[name])
        else:
            self.answer(400, {"detail": "Error: Task does not exist"})

    def answer(self, status: int, value: object) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def controller():
    with Controller() as server:
        yield server
        server.shutdown()


@pytest.fixture
def hashes(tmp_path):
    cache = HashCache(tmp_path / "hashes.db", warn=pytest.fail)
    yield cache
    cache.close()


def reader_of(controller, task="sql", name=None):
    settings = Settings(format="agentbench", task=task, controller=controller)
    return create_reader(Dataset(name or task, f"task://{task}"), settings, "/nowhere")


def test_indices_are_samples(controller, hashes):
    """Samples come in the order of the task, called by their indices, and nothing is known of what is right."""
    controller.tasks["sql"] = [3, 1, "std-7"]
    reader = reader_of(controller.url)
    assert reader.identity(hashes).count == 3
    told = [(sample.index, sample.id, sample.input, sample.reference) for sample in reader]
    assert told == [(0, "3", {"index": 3}, None), (1, "1", {"index": 1}, None), (2, "std-7", {"index": "std-7"}, None)]


def test_samples_without_identity(controller):
    """Who only reads asks for itself."""
    controller.tasks["sql"] = [0, 1]
    assert [sample.id for sample in reader_of(controller.url)] == ["0", "1"]


def test_a_task_without_name_is_called_as_its_dataset(controller):
    """Where an override unsets the task, the dataset's name is what is left."""
    controller.tasks["files"] = [5]
    assert [sample.id for sample in reader_of(controller.url, task=None, name="files")] == ["5"]


def test_an_url_without_api(controller):
    """The prefix that all controllers have may be left out."""
    controller.tasks["sql"] = [4]
    assert [sample.id for sample in reader_of(controller.url.removesuffix("/api"))] == ["4"]


def test_identity_is_of_task_and_indices(controller, hashes):
    """Another task, and other indices of it, are other data; where the controller is, is not."""
    controller.tasks |= {"sql": [0, 1], "files": [0, 1]}
    first = reader_of(controller.url).identity(hashes)
    assert reader_of(f"{controller.url}/").identity(hashes) == first
    assert reader_of(controller.url, "files").identity(hashes).inputs != first.inputs
    controller.tasks["sql"] = [0, 1, 2]
    assert reader_of(controller.url).identity(hashes).inputs != first.inputs


REFUSED = {
    "twice": ([0, 1, 0], "two samples with the id '0': indices 0 and 2"),
    "number and text": ([1, "1"], "two samples with the id '1': indices 0 and 1"),
    "none": ([], "the task is empty: it has no indices"),
    "no list": ({"indices": [0]}, "get_indices(): found {'indices': [0]}; accepted: a list of numbers or texts"),
    "a fraction": ([0, 1.5], "index 1: found 1.5; accepted: whole numbers and texts"),
    "a truth": ([True], "index 0: found True; accepted: whole numbers and texts"),
    "half a character": (["\ud800"], "index 0: found '\\ud800'; accepted: whole numbers and texts"),
    "no JSON": (b"<html>", "an answer that is not JSON"),
}


@pytest.mark.parametrize(("indices", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_no_samples_can_be_called_after(controller, hashes, indices, problem):
    """Indices that are none are the task's mistake, told with its place."""
    controller.tasks["sql"] = indices
    with pytest.raises(PairError) as caught:
        reader_of(controller.url).identity(hashes)
    assert problem in str(caught.value)
    assert controller.url in str(caught.value)


def test_an_unknown_task_is_told_with_those_there(controller, hashes):
    """A controller that has no such task is asked what it has."""
    controller.tasks.clear()
    controller.tasks |= {"os-std": [0], "db-std": [0]}
    with pytest.raises(PairError, match=r"task sql: controller .* has no such task; it has db-std, os-std"):
        reader_of(controller.url).identity(hashes)
    controller.tasks.clear()
    with pytest.raises(PairError, match="it has none; start its workers with `evalrun start`"):
        reader_of(controller.url).identity(hashes)


def test_a_wrong_token_is_told_with_the_form_of_the_url(controller, hashes, monkeypatch):
    """Who is not let in hears of tokens, and the token that was tried is not shown."""
    monkeypatch.setenv("EVALRUN_TEST_TOKEN", "abcdefghijkl")
    url = controller.url.replace("/api", "/t/${EVALRUN_TEST_TOKEN}/api")
    with pytest.raises(PairError, match=r"HTTP 404 .*: a wrong token, or no controller; accepted: the URL") as caught:
        reader_of(url).identity(hashes)
    assert "abcdefghijkl" not in str(caught.value)


def test_a_controller_that_is_not_there(hashes):
    """Nobody at the address is told with what starts one."""
    server = Controller()
    server.shutdown()
    server.server_close()
    with pytest.raises(
        PairError, match=r"nobody answers .*; start it with `evalrun controller`, or leave `controller`"
    ):
        reader_of(server.url).identity(hashes)
