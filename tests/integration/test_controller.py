"""`evalrun controller` as a process: what clients and workers of AgentBench's and AgentRL's see of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from support import EVALRUN, kill_alone, wait_for
from taskworker import INDICES, ScriptedWorker, call

pytestmark = pytest.mark.measured
_names = (f"task-{number}" for number in count())
_all = []


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left():
    """Whatever a test made of them, all controllers end with the module."""
    yield
    for started in _all:
        if started.process.returncode is None:
            kill_alone(started.process)


class Started:
    """A controller that listens, on a port of its own; ``again`` is the next process with the same port and file."""

    def __init__(self, directory, *words, port=0, environment=()):
        self.directory = directory
        self.words = words
        _all.append(self)
        announced = directory / "url"
        announced.unlink(missing_ok=True)
        arguments = ["controller", "-p", str(port), "--log", str(directory / "c.log"), "--announce", str(announced)]
        self.process = subprocess.Popen(
            [*EVALRUN, *arguments, *words], env={**os.environ, **dict(environment)}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.url = wait_for(lambda: announced.exists() and announced.read_text(), process=self.process)

    def again(self):
        return Started(self.directory, *self.words, port=self.port)

    @property
    def port(self):
        return int(self.url.split(":")[2].split("/")[0])

    def workers(self, worker):
        """The workers of a task, as the controller lists them."""
        return list(call(self.url, "list_workers").value[worker.name]["workers"].values())

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output


@pytest.fixture(scope="module")
def controller(tmp_path_factory):
    started = Started(tmp_path_factory.mktemp("controller"))
    yield started
    assert started.end()[0] == 0


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    """A controller that waits a second for workers and agents."""
    started = Started(tmp_path_factory.mktemp("hasty"), "--lease", "1", "--call-timeout", "1")
    yield started
    started.end()


@pytest.fixture
def worker(controller):
    with ScriptedWorker(next(_names)) as one:
        assert one.beat(controller.url).value is None
        yield one


def start(controller, worker, index, **more):
    return call(controller.url, "start_sample", {"name": worker.name, "index": index, **more})


def say(controller, number, content, status="normal"):
    response = {"status": status, "content": content}
    return call(controller.url, "interact", {"session_id": number, "agent_response": response})


def cancel(controller, number):
    return call(controller.url, "cancel", {"session_id": number})


def slots(controller, worker):
    """Slots that are taken, and the worker's status."""
    return [(one["current"], one["status"]) for one in controller.workers(worker)]


def test_a_sample_as_agentbench_plays_it(controller, worker):
    """A client of AgentBench's finds every field of its own, and its slot is free when the sample has ended."""
    begun = start(controller, worker, "turns-2")
    number = begun.value["session_id"]
    assert begun.value["output"] == {
        "index": "turns-2", "status": "running", "result": None, "history": [{"role": "user", "content": "turn 0"}],
    }  # fmt: skip
    (listed,) = controller.workers(worker)
    assert {key: listed[key] for key in listed if key not in ("last_visit", "id")} == {
        "address": worker.address, "capacity": 2, "current": 1, "status": 0, "locked": False,
    }  # fmt: skip
    session = call(controller.url, "list_sessions").value[str(number)]
    assert set(session) == {"name", "index", "start", "last_update", "worker_id", "locked"}
    assert (session["name"], session["index"], session["locked"]) == (worker.name, "turns-2", False)
    assert say(controller, number, "a").value["output"]["history"][1:] == [
        {"role": "agent", "content": "a"}, {"role": "user", "content": "turn 1"},
    ]  # fmt: skip
    ended = say(controller, number, "b").value["output"]
    assert (ended["status"], ended["result"]) == ("completed", ["a", "b"])
    assert slots(controller, worker) == [(0, 0)]
    assert call(controller.url, f"get_indices?name={worker.name}").value == INDICES
    results = {"name": worker.name, "results": [ended, ended]}
    assert call(controller.url, "calculate_overall", results).value == {"score": 2}


def test_a_sample_as_agentrl_plays_it(controller, worker):
    """A client of AgentRL's finds the session in a header and what is new at the top, of a worker of AgentBench's."""
    begun = start(controller, worker, "turns-1", custom_task=None)
    number = begun.headers["session_id"]
    assert begun.value["messages"] == [{"role": "user", "content": "turn 0"}]
    assert begun.value["finish"] is False
    body = {"messages": [{"role": "assistant", "content": "a"}]}
    ended = call(controller.url, "interact", body, session_id=number)
    assert ended.value["finish"] is True
    assert ended.value["status"] == "completed"
    assert call(controller.url, "cancel", method="POST", session_id=number).status == 200
    assert start(controller, worker, -1, custom_task={"goal": 1}).status == 200
    assert worker.asked[-1][1]["custom_task"] == {"goal": 1}


def test_agentbenchs_clients_get_the_whole_history_of_agentrls_workers(tmp_path):
    """A worker of AgentRL's says what is new alone: the controller has the rest, after kill -9 and a restart too."""
    first = Started(tmp_path)
    with ScriptedWorker(next(_names), agentrl=True) as worker:
        worker.beat(first.url)
        begun = start(first, worker, "turns-3").value
        assert begun["output"]["history"] == [{"role": "user", "content": "turn 0"}]
        number = begun["session_id"]
        say(first, number, "a")
        kill_alone(first.process)
        second = first.again()
        history = say(second, number, "b").value["output"]["history"]
        assert [one["content"] for one in history] == ["turn 0", "a", "turn 1", "b", "turn 2"]
        assert [one["role"] for one in history] == ["user", "agent", "user", "agent", "user"]
        ended = say(second, number, "c").value
        assert (ended["output"]["status"], ended["reward"]) == ("completed", 1.0)
        results = {"name": worker.name, "results": [ended["output"]]}
        assert call(second.url, "calculate_overall", results).value == {"score": 1}
        limited = start(second, worker, "turns-3").value["session_id"]
        assert say(second, limited, None, "agent context limit").value["output"]["status"] == "agent context limit"
        wait_for(lambda: not worker.sessions)
        second.end()


NOT_GRANTED = {
    "no such task": ("start_sample", {"name": "none", "index": 0}, 406, "Error: Task does not exist"),
    "no such index": ("start_sample", {"name": "NAME", "index": 77}, 400, "Error: Index out of bounds"),
    "no custom task": ("start_sample", {"name": "other", "index": -1}, 406, "Error: Task does not exist"),
    "no index": ("start_sample", {"name": "NAME"}, 422, "Error: start_sample: `index`"),
    "indices of no task": ("get_indices?name=none", None, 400, "Error: Task does not exist"),
    "no name": ("get_indices", None, 422, "Error: get_indices: `name`"),
    "no session": (
        "interact", {"session_id": 10**9, "agent_response": {"content": "x"}}, 400, "Error: Session does not exist",
    ),
    "cancel of what never was": ("cancel", {"session_id": 10**9}, 400, "Error: Session does not exist"),
    "renewal of what never was": ("renew", {"session_id": 10**9}, 400, "Error: Session does not exist"),
    "score of no task": ("calculate_overall", {"name": "none", "results": []}, 400, "Error: Task does not exist"),
    "agent without an answer": ("interact", {"session_id": 1, "agent_response": {}}, 422, "Error: interact: "),
    "worker elsewhere": (
        "receive_heartbeat", {"name": "NAME", "address": "http://192.0.2.7:5001/api", "concurrency": 1, "indices": []},
        403, "Error: a worker says that it is at 192.0.2.7",
    ),
    "no such call": ("nothing", None, 404, "Not Found"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_GRANTED)
def test_what_is_not_granted(controller, worker, case):
    """Each refusal has the status and the words of AgentBench's controller, in FastAPI's form."""
    name, body, status, text = NOT_GRANTED[case]
    if body and body.get("name") == "NAME":
        body = {**body, "name": worker.name}
    refused = call(controller.url, name, body)
    assert refused.status == status
    assert refused.value["detail"].startswith(text)


def test_other_indices(controller, worker):
    """A task's indices change once none of its samples lives; until then the heartbeat is refused as theirs."""
    number = start(controller, worker, "turns-1").value["session_id"]
    worker.indices = [1, 2]
    refused = worker.beat(controller.url)
    assert (refused.status, refused.value["detail"]) == (400, "Error: Task already exists with different indices")
    cancel(controller, number)
    assert worker.beat(controller.url).status == 200
    assert call(controller.url, f"get_indices?name={worker.name}").value == [1, 2]


ENDS = {
    "completed at once": ("turns-0", 200, None),
    "raises before the agent is asked": ("raises-early", 200, None),
    "raises afterwards": ("raises", 501, '"status":"task error"'),
    "completed": ("turns-1", 200, None),
}


@pytest.mark.parametrize("case", ENDS)
@pytest.mark.parametrize("agentrl", [False, True], ids=["AgentBench", "AgentRL"])
def test_a_slot_is_free_however_a_sample_ended(controller, agentrl, case):
    """A sample that completes or raises, at whichever step, frees its slot at once and costs its worker nothing."""
    index, status, text = ENDS[case]
    with ScriptedWorker(next(_names), agentrl=agentrl, takes=1) as worker:
        worker.beat(controller.url)
        answered = start(controller, worker, index)
        number = answered.value["session_id"]
        if answered.value["output"]["status"] == "running":
            answered = say(controller, number, "x")
        assert answered.status == status
        assert text is None or text in answered.value["detail"].replace(": ", ":")
        assert slots(controller, worker) == [(0, 0)]
        assert cancel(controller, number).status == 200
        assert start(controller, worker, "turns-1").status == 200


def test_a_cancelled_sample_frees_its_slot_while_its_environment_works(controller, worker):
    """Cancel is answered at once, twice too, whoever is asked meanwhile is told, and the worker is told as well."""
    number = start(controller, worker, "hangs").value["session_id"]
    with ThreadPoolExecutor() as threads:
        asking = threads.submit(say, controller, number, "x")
        wait_for(lambda: "interact" in worker.names())
        busy = say(controller, number, "y")
        assert (busy.status, busy.value["detail"]) == (400, "Task Executing, please do not send new request.")
        assert call(controller.url, "list_sessions").value[str(number)]["locked"] is True
        assert [cancel(controller, number).value for _ in range(2)] == [{"session_id": number}] * 2
        told = asking.result(30)
    assert (told.status, told.value["detail"]) == (400, "Error: Session does not exist")
    assert slots(controller, worker) == [(0, 0)]
    wait_for(lambda: not worker.sessions)


def test_a_sample_that_hangs_costs_itself(hasty):
    """After the time-out of a call its session has ended; other samples and the worker go on, and it is cancelled."""
    with ScriptedWorker(next(_names), takes=2) as worker:
        worker.beat(hasty.url)
        hung = start(hasty, worker, "hangs-early")
        assert hung.status == 400
        assert hung.value["detail"].startswith("Error: Worker not responding")
        number = start(hasty, worker, "hangs").value["session_id"]
        other = start(hasty, worker, "turns-1").value["session_id"]
        with ThreadPoolExecutor() as threads:
            asking = threads.submit(say, hasty, number, "x")
            wait_for(lambda: "interact" in worker.names())
            while not asking.done():
                call(hasty.url, "renew", {"session_id": other})
        assert asking.result().status == 400
        assert slots(hasty, worker) == [(1, 0)]
        assert say(hasty, other, "x").value["output"]["status"] == "completed"
        wait_for(lambda: not worker.sessions)


def test_a_session_that_nobody_asks_for_ends(hasty):
    """When its lease is over a session is cancelled at its worker; the worker's own time is not counted."""
    with ScriptedWorker(next(_names), takes=1) as worker:
        worker.beat(hasty.url)
        worker.pause = 0.5
        number = start(hasty, worker, "slow").value["session_id"]
        assert say(hasty, number, "x").status == 200
        wait_for(lambda: "cancel" in worker.names())
        wait_for(lambda: slots(hasty, worker) == [(0, 0)])
        assert say(hasty, number, "x").value["detail"] == "Error: Session does not exist"
        assert cancel(hasty, number).status == 200


def test_who_waits_has_the_next_free_slot(controller):
    """A request that waits for a slot has it when one is freed, in the order in which they came; or 406 in time."""
    with ScriptedWorker(next(_names), takes=1) as worker:
        worker.beat(controller.url)
        first = start(controller, worker, "turns-1").value["session_id"]
        refused = start(controller, worker, "turns-1", wait=0.05)
        assert (refused.status, refused.value["detail"]) == (406, "Error: No workers available")
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(start, controller, worker, "turns-1", wait=60)
            say(controller, first, "x")
            second = waiting.result(60).value
        assert second["session_id"] > first
        assert second["output"]["status"] == "running"


def test_a_slot_for_a_client_that_is_gone_is_the_next_ones(controller):
    """Who waits for a slot and leaves does not have it."""
    with ScriptedWorker(next(_names), takes=1) as worker:
        worker.beat(controller.url)
        first = start(controller, worker, "turns-1").value["session_id"]
        gone = send(controller, "start_sample", {"name": worker.name, "index": "turns-1", "wait": 60})
        gone.close()
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(start, controller, worker, "turns-0", wait=60)
            cancel(controller, first)
            assert waiting.result(60).value["output"]["status"] == "completed"
        assert slots(controller, worker) == [(0, 0)]


def send(controller, name, body):
    """Send a request without waiting for its answer."""
    connection = socket.create_connection(("127.0.0.1", controller.port))
    head = f"POST /api/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    text = json.dumps(body)
    connection.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())
    return connection


@pytest.mark.parametrize("index", ["slow", "slow-1"])
def test_an_answer_that_nobody_took_is_kept(controller, worker, index):
    """A client that lost its connection asks again, and is told what it missed; nothing is handed in twice."""
    worker.pause = 0.3
    number = start(controller, worker, index).value["session_id"]
    lost = send(controller, "interact", {"session_id": number, "agent_response": {"content": "a"}})
    wait_for(lambda: "interact" in worker.names())
    lost.close()
    answered = wait_for(lambda: (said := say(controller, number, "a")).status == 200 and said.value)
    expected = (["turn 0", "a", "turn 1"], "running") if index == "slow" else (["turn 0", "a"], "completed")
    assert ([one["content"] for one in answered["output"]["history"]], answered["output"]["status"]) == expected
    assert worker.names().count("interact") == 1


def test_a_worker_that_promises_too_much(controller):
    """A sample that one worker has no place for goes to another, and the first is given no more than it takes."""
    with ScriptedWorker(name := next(_names), takes=1, says=9) as liar, ScriptedWorker(name, takes=2) as honest:
        liar.beat(controller.url)
        honest.beat(controller.url)
        begun = [start(controller, liar, "turns-1") for _ in range(3)]
        assert [one.status for one in begun] == [200] * 3
        assert (len(liar.sessions), len(honest.sessions)) == (1, 2)
        assert start(controller, liar, "turns-1").value["detail"] == "Error: No workers available"


def test_a_worker_that_is_gone(controller):
    """A worker that nobody reaches is dead, another begins the sample, and its next heartbeat brings it back."""
    with ScriptedWorker(name := next(_names), takes=2) as here:
        gone = ScriptedWorker(name, takes=5)
        gone.beat(controller.url)
        gone.close()
        refused = start(controller, here, "turns-1")
        assert refused.status == 400
        assert refused.value["detail"].startswith("Error: Worker not responding")
        assert slots(controller, here) == [(0, 2)]
        gone.beat(controller.url)
        here.beat(controller.url)
        assert start(controller, here, "turns-1").status == 200
        assert call(controller.url, "clean_worker", method="POST").value is None
        assert slots(controller, here) == [(1, 0)]


def test_all_of_them(controller, worker):
    """cancel_all ends every session, at its worker too; sync_all and clean_session answer null."""
    numbers = [start(controller, worker, "turns-1").value["session_id"] for _ in range(2)]
    assert call(controller.url, "cancel_all", method="POST").value is None
    assert worker.sessions == {}
    assert slots(controller, worker) == [(0, 0)]
    assert say(controller, numbers[0], "x").status == 400
    number = start(controller, worker, "turns-1").value["session_id"]
    assert call(controller.url, "renew", {"session_id": number}).value == {"session_id": number}
    worker.sessions.clear()
    for name in ("sync_all", "clean_session"):
        assert call(controller.url, name, method="POST").value is None
    assert slots(controller, worker) == [(0, 0)]
    assert call(controller.url, "cancel_notice", {"session_id": number}).value is None


def test_killed_and_started_again(tmp_path):
    """After kill -9 sessions and workers are known, and no id comes twice.

    What a worker no longer has is not known, and what it began for a client that was not told of it is cancelled.
    """
    first = Started(tmp_path)
    with ScriptedWorker(next(_names), takes=4) as worker:
        worker.beat(first.url)
        numbers = [start(first, worker, "turns-1").value["session_id"] for _ in range(3)]
        beginning = send(first, "start_sample", {"name": worker.name, "index": "hangs-early"})
        wait_for(lambda: len(worker.sessions) == 4)
        kill_alone(first.process)
        beginning.close()
        del worker.sessions[numbers[0]]
        second = first.again()
        wait_for(lambda: slots(second, worker) == [(2, 0)] and len(worker.sessions) == 2)
        assert say(second, numbers[1], "x").value["output"]["status"] == "completed"
        assert start(second, worker, "turns-1").value["session_id"] > max(numbers)
        assert second.end()[0] == 0


def test_a_new_controller_takes_over_what_workers_hold(tmp_path):
    """A controller that has lost its file adopts the sessions of its workers, and gives none of their ids again."""
    with ScriptedWorker(next(_names), takes=4) as worker:
        for number in (1, 700):
            worker.sessions[number] = {"index": "turns-1", "history": [("user", "turn 0")]}
        controller = Started(tmp_path)
        worker.beat(controller.url)
        assert set(call(controller.url, "list_sessions").value) == {"1", "700"}
        assert start(controller, worker, "turns-1").value["session_id"] > 700
        assert say(controller, 700, "x").value["output"]["status"] == "completed"
        controller.end()


def test_a_new_controller_does_not_take_over_what_was_cancelled(tmp_path):
    """A session that was cancelled before its worker told of it has no agent: it is cancelled there, its slot free."""
    with ScriptedWorker(next(_names)) as worker:
        for number in (700, 701):
            worker.sessions[number] = {"index": "turns-1", "history": [("user", "turn 0")]}
        controller = Started(tmp_path)
        assert cancel(controller, 700).status == 400
        worker.beat(controller.url)
        wait_for(lambda: set(worker.sessions) == {701})
        assert slots(controller, worker) == [(1, 0)]
        controller.end()


def test_what_does_not_start(tmp_path, controller):
    """A port or a file that another has, and an address without a token, are told in one line that says what to do."""
    port, file = ["-p", str(controller.port)], ["--db", str(controller.directory / "c.db")]
    for words, text in (
        (port, f"--port {controller.port}: in use on 127.0.0.1 by another process"),
        (["-p", "80000"], "--port 80000: accepted: 0 to 65535"),
        (["-p", "0", *file], f"another controller has it (PID {controller.process.pid})"),
        (["-p", "0", "--host", "0.0.0.0"], "--token-env NAME"),
        (["-p", "0", "--token-env", "NO_SUCH_TOKEN"], "there is no such environment variable"),
        (["-p", "0", "--lease", "0"], "--lease 0: accepted: seconds, more than 0"),
    ):
        ran = subprocess.run(
            [*EVALRUN, "controller", *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.returncode != 0
        assert text in " ".join(ran.stderr.split())
        assert "Traceback" not in ran.stderr


def test_nobody_writes_lines_into_the_log(controller):
    """What is logged of a worker is one line, whatever that calls its task, and drives no terminal."""
    with ScriptedWorker("\x1b[31m\nforged") as worker:
        worker.beat(controller.url)
    log = (controller.directory / "c.log").read_text()
    (line,) = [line for line in log.splitlines() if "forged" in line]
    assert "INFO \\x1b[31m: forged: worker 0 at" in line


def test_with_a_token(tmp_path):
    """With a token its calls are below it alone; it is announced to its user alone, and is neither shown nor logged."""
    started = Started(tmp_path, "--token-env", "OUR_TOKEN", environment={"OUR_TOKEN": "sesame-12345"}.items())
    assert started.url.endswith("/t/sesame-12345/api")
    assert call(started.url, "list_workers").value == {}
    assert call(started.url.replace("sesame", "other"), "list_workers").status == 403
    with ScriptedWorker(next(_names)) as worker:
        worker.beat(started.url)
        tokened = worker.address.replace("/api", "/t/sesame-12345/api")
        beat = {"name": next(_names), "address": tokened, "concurrency": 1, "indices": [0]}
        assert call(started.url, "receive_heartbeat", beat).status == 200
    # Addresses of workers may hold a token, too.
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("url", "c.db", "c.db-wal")} == {0o600}
    code, output = started.end(signal.SIGINT)
    assert code == 0
    assert "sesame" not in output + (tmp_path / "c.log").read_text()


def test_ends_with_its_parent(tmp_path):
    """A controller that belongs to another process ends when that is no longer its parent."""
    started = Started(tmp_path, "--with-parent", "1")
    assert started.process.wait(60) == 0
    started.process.stdout.close()
