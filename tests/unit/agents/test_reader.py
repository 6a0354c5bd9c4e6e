"""Indices of a task are samples: asked of a controller, or of the task's code."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pytest_evalrun.datasets import create_reader
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.cuts import cut_suite
from pytest_evalrun.rundir.hashes import HashCache
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset
from pytest_evalrun.suite.settings import Settings

HERE = Path(__file__).parent


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


def test_what_a_controller_said_last_is_known_without_it(tmp_path):
    """What is finished needs its controller no more: where nobody answers, its indices are those of before."""
    found = []
    with Controller() as server:
        for indices in ([0, 1], [0, 1, "x"]):
            server.tasks["sql"] = indices
            found.append(identity_in(tmp_path, server.url))
        server.shutdown()
    assert identity_in(tmp_path, server.url) == found[-1] != found[0]
    with pytest.raises(PairError, match="nobody answers"):
        identity_in(tmp_path, server.url, "files")


def identity_in(tmp_path, url, task="sql"):
    """As another launch in the same work directory finds it."""
    cache = HashCache(tmp_path / "hashes.db", warn=pytest.fail)
    try:
        return reader_of(url, task).identity(cache)
    finally:
        cache.close()


def test_a_controller_that_is_not_there(hashes):
    """Nobody at the address is told with what starts one."""
    server = Controller()
    server.shutdown()
    server.server_close()
    with pytest.raises(
        PairError, match=r"nobody answers .*; start it and its workers with `evalrun start -a`, or leave `controller`"
    ):
        reader_of(server.url).identity(hashes)


def embedded(tasks, task="world", root=HERE):
    settings = Settings(format="agentbench", task=task, tasks=tasks)
    return create_reader(Dataset(task, f"task://{task}"), settings, str(root))


def world(**parameters):
    return {"world": {"module": "./worlds.py:World", "parameters": parameters}}


def test_a_task_is_loaded_once_for_its_indices(tmp_path):
    """A second launch, and whoever only lists pairs, start nothing: indices are remembered until the task changes."""
    log = tmp_path / "log"
    found = []
    for indices in ([2, "x"], [2, "x"], [2, "x", 3]):
        cache = HashCache(tmp_path / "hashes.db", warn=pytest.fail)
        reader = embedded(world(indices=indices, log=str(log)))
        found.append((reader.identity(cache), [sample.id for sample in reader]))
        cache.close()
    assert [ids for _, ids in found] == [["2", "x"], ["2", "x"], ["2", "x", "3"]]
    assert log.read_text() == "made\n" * 2
    assert found[0] == found[1]
    assert found[0][0].inputs != found[2][0].inputs


def test_a_task_of_a_file(tmp_path, hashes):
    """A file of AgentBench's defines tasks with what it imports; their code is the suite's."""
    (tmp_path / "worlds.py").write_text((HERE / "worlds.py").read_text())
    (tmp_path / "all.yaml").write_text("definition: {import: one.yaml}\nstart: {world: 2}\n")
    (tmp_path / "one.yaml").write_text("default: {module: worlds.World}\nworld: {parameters: {indices: [7, 8]}}\n")
    reader = embedded("all.yaml", root=tmp_path)
    assert reader.identity(hashes).count == 2
    assert [sample.input["index"] for sample in reader] == [7, 8]


FAILING = {
    "it raises": (world(indices=None), "LookupError: the world has ended"),
    "no such class": (
        {"world": {"module": "./worlds.py:Word"}},
        "cannot be had: module: './worlds.py:Word': ./worlds.py has no 'Word'; it",
    ),
    "another parameter": (world(index=[1]), "index"),
    "twice": (world(indices=[1, 1]), "World.get_indices() returned an index twice"),
}


@pytest.mark.parametrize(("tasks", "problem"), FAILING.values(), ids=FAILING)
def test_a_task_that_cannot_be_loaded(hashes, tasks, problem):
    """What the task's own code said of it is told with its name."""
    with pytest.raises(PairError, match=r"^task tasks: world: its indices cannot be had: ") as caught:
        embedded(tasks).identity(hashes)
    assert problem in str(caught.value)


WHOLE = """\
models: [{{name: m, adapter: "./agent.py:Agent"}}]
datasets: [{{name: sql, format: agentbench}}]
controller: {controller}
"""


def test_tasks_are_left_whole_by_shards_of_a_launch(controller, tmp_path):
    """--eval-shards is for all suites of a launch: one item asks as many samples of a task as there may be."""
    (tmp_path / "agent.py").write_text("class Agent: ...")
    (tmp_path / "evalrun.yaml").write_text(WHOLE.format(controller=controller.url))
    launch = (Layer("command line", "--eval-shards", {"shards": 2}, {}),)
    suite = cut_suite(discover(tmp_path / "evalrun.yaml", launch, (), {}), tmp_path / "hashes.db")
    assert [(pair.dataset.name, pair.cuts) for pair in suite.pairs] == [("sql", ())]


def test_many_who_want_indices_load_a_task_once(tmp_path):
    """Workers of a launch begin with the same task at the same moment: one of them loads it, the others wait."""
    log = tmp_path / "log"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import pathlib, test_reader as t\n"
        "place = pathlib.Path(sys.argv[2])\n"
        "cache = t.HashCache(place / 'hashes.db', warn=print)\n"
        "print(t.embedded(t.world(indices=[4, 5], log=str(place / 'log'))).identity(cache))\n"
        "cache.close()"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(HERE), str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {process.communicate(timeout=60)[0] for process in started}
    assert len(said) == 1
    assert "count=2" in said.pop()
    assert log.read_text() == "made\n"
