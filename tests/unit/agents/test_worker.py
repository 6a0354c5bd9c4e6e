"""The task worker: its calls, and what becomes of samples whatever their task does. Real processes on loopback."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from taskworkers import Listening, TaskWorker, poll, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEARTBEAT = 0.1
# What the tasks below do is named by the index of the sample.
BENCH = """
import asyncio
import sys
import threading
import time
from pathlib import Path

from src.server.task import Session, Task
from src.typings import AgentOutputStatus, SampleStatus, TaskOutput, TaskSampleExecutionResult

class Env(Task):
    def __init__(self, rounds, **kwargs):
        super().__init__(**kwargs)
        self.rounds = rounds

    def get_indices(self):
        return ["rounds", "raise", "at once", "nothing", "twice", "stubborn", "long", "below"]

    async def start_sample(self, index, session: Session) -> TaskSampleExecutionResult:
        if index == "at once":
            raise ValueError("no container")
        if index == "nothing":
            return
        if index == "below":
            await asyncio.gather(self.exits(), session.action({"role": "user", "content": "x"}))
        session.inject({"role": "user", "content": "You are an assistant."})
        if index == "long":
            for n in range(10):
                session.inject([{"role": "agent", "content": f"ok {n}"}, {"role": "user", "content": f"{n} " * 500}])
        if index == "twice":
            more = [{"role": "user", "content": "and"}, {"role": "user", "content": "so"}]
            both = await asyncio.gather(session.action(), session.action(*more))
            return TaskOutput(status=SampleStatus.COMPLETED, result=[one.content for one in both])
        session.history[-1].content += " Now, my problem is: " + index
        for _ in range(self.rounds):
            root = await session.action()
            if root.status is AgentOutputStatus.AGENT_CONTEXT_LIMIT:
                return TaskSampleExecutionResult(status=SampleStatus.AGENT_CONTEXT_LIMIT, result={"result": False})
            if index == "stubborn":
                continue
            if root.status is not AgentOutputStatus.NORMAL:
                return TaskSampleExecutionResult(status=SampleStatus.UNKNOWN, result={"result": False})
            if index == "raise":
                raise ValueError(root.content)
            if root.content == "answer":
                return TaskSampleExecutionResult(status=SampleStatus.COMPLETED, result={"result": True})
            session.inject({"role": "user", "content": await asyncio.to_thread(lambda: "out: " + root.content)})
        return TaskSampleExecutionResult(status=SampleStatus.TASK_LIMIT_REACHED, result={"error": ValueError("rounds")})

    async def exits(self):
        sys.exit("a task of the sample's")

    def calculate_overall(self, results):
        return {"right": sum(result.result["result"] for result in results if result.status is SampleStatus.COMPLETED)}

    def release(self):
        Path("released").write_text("bench")
"""
OWN = '''
import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

class Thing:
    pass

def result_of(index):
    if index == "odd":
        return {"a": Thing()}
    if index == "nan":
        return [float("nan")]
    if index == "large":
        return "x" * 11_000_000
    if index == "circle":
        circle = []
        circle.append(circle)
        return circle
    if index == "numpy":
        import numpy
        return {"mean": numpy.float32(0.5), "count": numpy.int64(3), "all": numpy.arange(3)}
    if index == "ended":
        return {"status": "agent invalid action", "result": {"steps": 2}, "reward": 0.25, "metrics": {"m": 1}}
    if index == "misspelled":
        return {"status": "agent contxt limit", "result": True}
    if index == "strange":
        end = Thing()
        end.status, end.result = "ok", 1
        return end
    if index == "running":
        end = Thing()
        end.status, end.result = "running", None
        return end
    if index == "own words":
        return {"status": "ok"}
    return None if index == "nothing" else True

INDICES = ["plain", "raise", "exit", "die", "block", "busy", "sleep", "late", "patient", "tools", "both"]
RESULTS = ["odd", "nan", "large", "circle", "numpy", "ended", "misspelled", "strange", "running", "own words"]
RESULTS += ["nothing"]
TOOLS = [{"type": "function", "function": {"name": "run", "parameters": {"type": "object", "properties": {}}}}]

class Plain:
    """A task that is not async."""

    tools = TOOLS

    def get_indices(self):
        return INDICES + RESULTS

    def start_sample(self, index, session):
        if index in RESULTS:
            return result_of(index)
        if index == "exit":
            sys.exit("the task exits")
        if index == "die":
            os._exit(3)
        try:
            reply = session.act({"role": "system", "content": "a shell"}, "do " + str(index))
            while reply.content not in ("end", "go"):
                if index == "raise":
                    raise ValueError(reply.content)
                said = reply.content or str(reply.tool_calls)
                reply = session.act({"role": "tool", "tool_call_id": "1", "content": said})
            if reply.content == "go":
                self.work(index, session)
        except BaseException as error:
            Path(f"caught {index} {session.session_id}").write_text(type(error).__name__)
            raise
        return {"status": "completed", "result": {"turns": len(session.messages)}, "reward": 1.0}

    def work(self, index, session):
        while index == "block" and not Path("go on").exists():
            time.sleep(0.2)
        while index == "busy" and not Path("go on").exists():
            sum(range(1000))
        if index == "sleep":
            child = subprocess.Popen(["sleep", "600"])
            Path("sleeping").write_text(f"{os.getpid()} {child.pid}")
            time.sleep(600)
        if index == "late":
            threading.Thread(target=self.ask_late, args=[session]).start()

    def ask_late(self, session):
        time.sleep(0.3)
        try:
            session.act("too late")
        except RuntimeError as error:
            Path("late").write_text(str(error))

class Async(Plain):
    """The same, async, and all samples in one loop."""

    sessions = "loop"

    def __init__(self):
        self.thread = threading.get_ident()
        self.lock = asyncio.Lock()

    async def start_sample(self, index, session):
        if threading.get_ident() != self.thread:
            raise RuntimeError("another thread")
        if index == "exit":
            sys.exit("the task exits")
        if index in RESULTS:
            return result_of(index)
        if index == "patient":
            try:
                await asyncio.wait_for(session.action("quickly"), 0.05)
            except TimeoutError:
                return {"status": "task limit reached", "result": "slow"}
        async with self.lock:
            reply = await session.action("do " + index)
            await asyncio.sleep(0.05)
        if index == "both":
            await asyncio.gather(session.action("a"), session.action("b"))
        if index == "raise":
            raise ValueError(reply.content)
        if reply.status != "normal":
            return {"status": reply.status, "result": reply.content}
        return reply.content
'''
TASKS = """
default: {parameters: {concurrency: 4}}
bench: {module: envs.bench.Env, grace: 0.3, parameters: {name: bench-std, rounds: 3}}
apart: {module: envs.bench.Env, sessions: process, parameters: {name: bench-apart, rounds: 3}}
plain: {module: "./own.py:Plain", grace: 0.3}
process: {module: "./own.py:Plain", sessions: process}
loop: {module: "./own.py:Async"}
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tasks")
    (directory / "envs").mkdir()
    (directory / "envs" / "bench.py").write_text(BENCH)
    (directory / "own.py").write_text(OWN)
    (directory / "tasks.yaml").write_text(TASKS)
    return directory


@pytest.fixture(scope="module")
def controller() -> Iterator[Listening]:
    controller = Listening()
    yield controller
    controller.close()


@pytest.fixture(scope="module")
def workers(directory: Path, controller: Listening) -> Iterator[dict[str, TaskWorker]]:
    """One worker of each task."""
    with ExitStack() as stack:
        names = ("bench", "apart", "plain", "process", "loop")
        words = ("--controller", controller.url, "--heartbeat", str(HEARTBEAT))
        yield {name: stack.enter_context(running(directory, name, *words)) for name in names}


def told(answer: Any) -> tuple[str, Any]:
    """Status and result of an answer of either call."""
    output = answer["detail"]["output"] if "detail" in answer else answer["output"]
    return output["status"], output["result"]


def is_free(worker: TaskWorker) -> bool:
    status: dict[str, int] = worker.call("worker_status")[1]
    return status == {"concurrency": 4, "current": 0}


def test_a_task_of_agentbench_runs_unchanged_and_is_answered_as_its_worker_answers(
    workers: dict[str, TaskWorker],
) -> None:
    """Bodies are those of AgentBench's worker; the history is the conversation, and the task's enums are its own."""
    worker = workers["bench"]
    asked = {"role": "user", "content": "You are an assistant. Now, my problem is: rounds"}
    output = {"index": "rounds", "status": "running", "result": None, "history": [asked]}
    status, answer, number = worker.start("rounds")
    assert (status, answer) == (200, {"session_id": number, "output": output})
    assert worker.call("get_sessions") == (200, {str(number): "rounds"})
    assert worker.call("worker_status") == (200, {"concurrency": 4, "current": 1})
    standing = {"waiting_for_env": False, "waiting_for_agent": True, "env_input": None, "env_output": output}
    named = {"session_id": number, "index": "rounds", "status": standing}
    assert worker.call("sample_status", {"session_id": number}) == (200, named)
    history = [asked, {"role": "agent", "content": "ls"}, {"role": "user", "content": "out: ls"}]
    assert worker.say(number, "ls") == (200, {"session_id": number, "output": {**output, "history": history}})
    history.append({"role": "agent", "content": "answer"})
    ended = {"index": "rounds", "status": "completed", "result": {"result": True}, "history": history}
    assert worker.say(number, "answer") == (200, {"session_id": number, "output": ended})
    assert is_free(worker)
    assert worker.say(number, "more") == (400, {"detail": "No such session"})


ENDS = {
    "the task's limit": ("rounds", ["a", "b", "c"], 200, "task limit reached", {"error": "ValueError: rounds"}),
    "the agent's limit": ("rounds", [("", "agent context limit")], 200, "agent context limit", {"result": False}),
    "asked twice at once": ("twice", ["a", "b"], 200, "completed", ["a", "b"]),
}


@pytest.mark.parametrize("name", ["bench", "apart"])
@pytest.mark.parametrize(("index", "answers", "code", "status", "result"), ENDS.values(), ids=ENDS)
def test_ends_of_a_task_of_agentbench(
    workers: dict[str, TaskWorker], name: str, index: str, answers: list[Any], code: int, status: str, result: Any
) -> None:
    """A sample ends as its task says; who asks twice at once is answered one after the other."""
    _, _, number = workers[name].start(index)
    for answer in answers:
        response = workers[name].say(number, *(answer if isinstance(answer, tuple) else (answer,)))
    assert (response[0], *told(response[1])) == (code, status, result)
    assert is_free(workers[name])


def test_a_long_history_is_shortened_for_agents_of_agentbench(workers: dict[str, TaskWorker]) -> None:
    """The first message tells how many are left out, the last ones follow, and the end has them all."""
    _, answer, number = workers["bench"].start("long")
    history = answer["output"]["history"]
    assert history[0]["content"] == "You are an assistant.\n\n[NOTICE] 8 messages are omitted."
    assert [item["role"] for item in history] == ["user", *["agent", "user"] * 6]
    _, answer = workers["bench"].say(number, "answer")
    assert len(answer["output"]["history"]) == 22


@pytest.mark.parametrize("name", ["bench", "plain", "process", "loop"])
def test_a_task_that_raises_is_a_task_error_with_its_traceback_and_its_slot_is_free_at_once(
    workers: dict[str, TaskWorker], name: str
) -> None:
    """While it is answered that is 501 as AgentBench's worker says it, and to cancel it then is granted."""
    worker = workers[name]
    _, _, number = worker.start("raise")
    code, answer = worker.say(number, "what was answered")
    status, result = told(answer)
    assert (code, status) == (501, "task error")
    assert result.startswith("Traceback")
    assert "ValueError: what was answered" in result
    assert answer["detail"]["session_id"] == number
    assert answer["detail"]["output"]["history"][-1] == {"role": "agent", "content": "what was answered"}
    assert is_free(worker)
    assert worker.cancel(number) == (200, {"session_id": number})
    assert worker.cancel(999_999) == (400, {"detail": "No such session"})


BEFORE = {
    "raises": ("bench", "at once", "ValueError: no container"),
    "returns nothing, as AgentBench's": ("bench", "nothing", "start_sample returned nothing; accepted: "),
    "returns nothing": ("plain", "nothing", "start_sample returned nothing; accepted: "),
    "exits in a task of its own": ("bench", "below", "SystemExit: a task of the sample's"),
    "exits": ("plain", "exit", "SystemExit: the task exits"),
    "exits in the loop of all": ("loop", "exit", "SystemExit: the task exits"),
    "exits in a process": ("process", "exit", "SystemExit: the task exits"),
    "ends its process": ("process", "die", "the process of the sample ended before the sample did"),
    "no JSON": ("plain", "odd", "cannot be told: found a Thing; accepted: values of JSON"),
    "no number": ("loop", "nan", "cannot be told: Out of range float values"),
    "in a circle": ("process", "circle", "cannot be told: Circular reference"),
    "too large": ("plain", "large", "bytes of JSON; accepted: at most 10,000,000"),
    "too large in a process": ("process", "large", "bytes of JSON; accepted: at most 10,000,000"),
    "a status that is none": ("plain", "strange", "returned the status 'ok'; accepted: completed, "),
    "a status that is misspelled": ("plain", "misspelled", "returned the status 'agent contxt limit'; accepted: "),
    "a status that is no end": ("loop", "running", "returned the status 'running'; accepted: completed, "),
}


@pytest.mark.parametrize(("name", "index", "said"), BEFORE.values(), ids=BEFORE)
def test_what_is_no_result_is_told_as_an_error_of_the_task(
    workers: dict[str, TaskWorker], name: str, index: str, said: str
) -> None:
    """Whatever a task does instead of returning a result ends its own sample as `task error`, and says why."""
    code, answer, _ = workers[name].start(index)
    status, result = told(answer)
    assert (code, status) == (200, "task error")
    assert said in result
    assert is_free(workers[name])


RESULTS = {
    "numpy": ("completed", {"mean": 0.5, "count": 3, "all": [0, 1, 2]}, None),
    "ended": ("agent invalid action", {"steps": 2}, 0.25),
    "own words": ("completed", {"status": "ok"}, None),
}


@pytest.mark.parametrize("name", ["plain", "process", "loop"])
@pytest.mark.parametrize(("index", "ended"), RESULTS.items(), ids=RESULTS)
def test_results_of_our_own_tasks(workers: dict[str, TaskWorker], name: str, index: str, ended: Any) -> None:
    """A result is any value of JSON, numbers of numpy too; a status of AgentBench's beside it is the sample's."""
    _, answer, _ = workers[name].start(index)
    out = answer["env_out"]
    assert (*told(answer), out["reward"]) == ended
    assert (out["status"], out["result"], out["finish"]) == (*ended[:2], True)


@pytest.mark.parametrize("name", ["plain", "process"])
def test_our_own_tasks_are_answered_in_both_dialects(workers: dict[str, TaskWorker], name: str) -> None:
    """AgentRL's part has what is new in OpenAI's form, and tools; AgentBench's the whole history, in words."""
    worker = workers[name]
    _, answer, number = worker.start("tools")
    new = [{"role": "system", "content": "a shell"}, {"role": "user", "content": "do tools"}]
    assert answer["env_out"]["messages"] == new
    assert answer["env_out"]["tools"][0]["function"]["name"] == "run"
    assert [item["role"] for item in answer["output"]["history"]] == ["user", "user"]
    call = {"id": "1", "type": "function", "function": {"name": "run", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    code, answer = worker.call("interact", {"session_id": number, "messages": [message]})
    assert code == 200
    assert answer["env_out"]["messages"] == [{"role": "tool", "tool_call_id": "1", "content": str([call])}]
    assert answer["output"]["history"][2] == {"role": "agent", "content": "run({})"}
    _, answer = worker.say(number, "end")
    assert answer["env_out"] == {
        "messages": [], "tools": answer["env_out"]["tools"], "status": "completed", "finish": True,
        "reward": 1.0, "metrics": None, "result": {"turns": 5},
    }  # fmt: skip


@pytest.mark.parametrize("index", ["block", "busy"])
def test_a_task_that_blocks_stops_neither_heartbeats_nor_other_samples(
    workers: dict[str, TaskWorker], controller: Listening, directory: Path, index: str
) -> None:
    """While the code of one sample holds its thread, the controller hears of the worker, and others are answered."""

    def beats() -> int:
        return sum(beat["name"] == "plain" for beat in controller.of("receive_heartbeat"))

    worker = workers["plain"]
    (directory / "go on").unlink(missing_ok=True)
    _, _, number = worker.start(index)
    thread = threading.Thread(target=worker.say, args=[number, "go"])
    thread.start()
    _, _, other = worker.start("plain")
    assert told(worker.say(other, "end")[1])[0] == "completed"
    heard = beats()
    poll(lambda: beats() >= heard + 5)
    assert thread.is_alive()
    (directory / "go on").touch()
    thread.join()
    assert is_free(worker)


@pytest.mark.parametrize("name", ["bench", "plain", "process"])
def test_a_sample_that_is_cancelled_while_its_agent_thinks_ends_at_once(
    workers: dict[str, TaskWorker], directory: Path, name: str
) -> None:
    """AgentBench's tasks are told as theirs are; ours end where they wait, and what must be done in the end is."""
    worker = workers[name]
    _, _, number = worker.start("plain" if name != "bench" else "rounds")
    assert worker.cancel(number) == (200, {"session_id": number})
    assert is_free(worker)
    assert worker.cancel(number) == (200, {"session_id": number})
    assert worker.say(number, "late") == (400, {"detail": "No such session"})
    if name == "plain":
        assert (directory / f"caught plain {number}").read_text() == "SampleCancelled"
    assert "abandoned" not in worker.log or name == "plain"


def test_a_sample_that_goes_on_asking_after_it_was_cancelled_is_ended(workers: dict[str, TaskWorker]) -> None:
    """A task of AgentBench that looks at no status asks on, is told the same, and comes to its end."""
    _, _, number = workers["bench"].start("stubborn")
    assert workers["bench"].cancel(number) == (200, {"session_id": number})
    assert is_free(workers["bench"])


def test_a_plain_sample_that_does_not_end_is_abandoned_and_its_slot_is_free(
    workers: dict[str, TaskWorker], directory: Path
) -> None:
    """Nothing can end a thread: after its grace it is left alone, which the log counts."""
    worker = workers["plain"]
    (directory / "sleeping").unlink(missing_ok=True)
    _, _, number = worker.start("sleep")
    thread = threading.Thread(target=worker.say, args=[number, "go"])
    thread.start()
    _, child = poll(lambda: (directory / "sleeping").exists() and (directory / "sleeping").read_text()).split()
    assert worker.call("interact", {"session_id": number, "agent_response": {"content": "x"}})[0] == 400
    assert worker.cancel(number) == (200, {"session_id": number})
    thread.join()
    others = [worker.start("plain")[2] for _ in range(4)]
    assert worker.start("plain")[:2] == (406, {"detail": "Sample concurrency limit reached: 4"})
    assert worker.call("cancel_all", {}) == (200, None)
    assert all(worker.cancel(other)[0] == 200 for other in others)
    assert is_free(worker)
    assert f"session {number} (index sleep): it was cancelled, and did not end" in worker.log
    assert "its slot is free; abandoned so far: " in worker.log
    os.kill(int(child), signal.SIGKILL)


def test_a_sample_in_a_process_is_killed_with_all_that_it_started(
    workers: dict[str, TaskWorker], directory: Path
) -> None:
    """Cancelled, nothing of it lives, whatever it was doing."""
    worker = workers["process"]
    (directory / "sleeping").unlink(missing_ok=True)
    _, _, number = worker.start("sleep")
    threading.Thread(target=worker.say, args=[number, "go"]).start()
    pids = poll(lambda: (directory / "sleeping").exists() and (directory / "sleeping").read_text()).split()
    assert worker.cancel(number) == (200, {"session_id": number})
    poll(lambda: not any(_lives(int(pid)) for pid in pids))
    assert is_free(worker)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_sample_that_does_not_wait_for_its_agent_frees_its_slot_and_the_agent_is_told_later(
    workers: dict[str, TaskWorker],
) -> None:
    """What it ended as is the answer to what the agent says then, once."""
    worker = workers["loop"]
    _, _, number = worker.start("patient")
    poll(lambda: is_free(worker))
    assert told(worker.say(number, "here I am")[1]) == ("task limit reached", "slow")
    assert worker.say(number, "more") == (400, {"detail": "No such session"})


def test_a_sample_of_ours_asks_one_thing_at_a_time(workers: dict[str, TaskWorker]) -> None:
    """Who asks twice at once is told so, which ends the sample as an error of the task."""
    worker = workers["loop"]
    _, _, number = worker.start("both")
    assert told(worker.say(number, "x")[1])[0] == "running"
    poll(lambda: is_free(worker))
    code, answer = worker.say(number, "y")
    assert code == 501
    assert "the agent is being asked already: one action at a time" in told(answer)[1]


def test_what_asks_after_its_sample_has_ended_is_refused(workers: dict[str, TaskWorker], directory: Path) -> None:
    """A sample answers once: a thread that it left behind cannot speak for it."""
    _, _, number = workers["plain"].start("late")
    assert told(workers["plain"].say(number, "go")[1])[0] == "completed"
    poll(lambda: (directory / "late").exists() and (directory / "late").read_text())
    assert (directory / "late").read_text() == "the sample has ended: its agent can be asked no more"
    assert workers["plain"].say(number, "more") == (400, {"detail": "No such session"})


def test_samples_in_one_loop_share_what_belongs_to_it(workers: dict[str, TaskWorker]) -> None:
    """They run where the task was made; a lock of asyncio holds for all of them."""
    worker = workers["loop"]
    _, _, first = worker.start("plain")
    answers: list[Any] = []
    second = threading.Thread(target=lambda: answers.append(worker.start("plain", 77_777)))
    second.start()
    poll(lambda: worker.call("worker_status")[1]["current"] == 2)
    assert worker.say(77_777, "x") == (400, {"detail": "Task Executing, please do not send new request."})
    assert told(worker.say(first, "one")[1]) == ("completed", "one")
    second.join()
    assert told(worker.say(77_777, "", "agent context limit")[1]) == ("agent context limit", "")


def test_who_cancels_with_notice_is_answered_at_once_and_told_when_the_sample_has_ended(
    workers: dict[str, TaskWorker], controller: Listening
) -> None:
    """AgentRL's calls: the controller hears of each end by `cancel_notice`."""
    worker = workers["plain"]
    numbers = [worker.start("plain")[2] for _ in range(2)]
    assert worker.call("cancel_with_notice", {"session_id": numbers[0]}) == (200, {"session_id": numbers[0]})
    poll(lambda: {"session_id": numbers[0]} in controller.of("cancel_notice"))
    assert worker.call("cancel_all_with_notice", {}) == (200, None)
    poll(lambda: {"session_id": numbers[1]} in controller.of("cancel_notice"))


REFUSED = {
    "an id in use": ("start_sample", {"index": "plain", "session_id": 88_888}, 400, "Session ID already exists"),
    "no index": ("start_sample", {"session_id": 5}, 422, "Error: start_sample: `index`: found None"),
    "no session": ("interact", {"agent_response": {"content": "x"}}, 422, "Error: interact: `session_id`"),
    "no content": ("interact", {"session_id": 88_888, "agent_response": {}}, 422, "agent_response.content"),
    "an unknown session": ("sample_status", {"session_id": 4_444}, 400, "No such session"),
    "results that are none": ("calculate_overall", {"name": "plain"}, 422, "accepted: a list of outputs"),
    "an unknown call": ("receive_heartbeat", {}, 404, "Not Found"),
}


def test_what_cannot_be_granted_is_refused_with_a_reason(workers: dict[str, TaskWorker]) -> None:
    """As AgentBench's worker does, with its codes."""
    worker = workers["plain"]
    assert worker.start("plain", 88_888)[0] == 200
    for path, body, code, said in REFUSED.values():
        status, answer = worker.call(path, body)
        assert status == code, path
        assert said in answer["detail"]
    assert worker.cancel(88_888)[0] == 200


def test_the_score_of_a_task_is_made_of_outputs(workers: dict[str, TaskWorker]) -> None:
    """AgentBench's tasks are given outputs as theirs are; an error in there is told, and hurts nobody."""
    outputs = [{"index": "rounds", "status": "completed", "result": {"result": right}} for right in (True, True, False)]
    assert workers["bench"].call("calculate_overall", {"name": "x", "results": outputs}) == (200, {"right": 2})
    broken = [{"index": "rounds", "status": "completed", "result": {}}]
    status, answer = workers["bench"].call("calculate_overall", {"name": "x", "results": broken})
    assert (status, answer) == (500, {"detail": "Error: calculate_overall raised KeyError: 'result'"})
    assert workers["plain"].call("calculate_overall", {"name": "x", "results": []}) == (200, None)  # it has none


def test_indices_and_names_are_those_of_the_task(workers: dict[str, TaskWorker], controller: Listening) -> None:
    """A heartbeat names task, address, concurrency and all indices; there is one as soon as the worker listens."""
    expected = ["rounds", "raise", "at once", "nothing", "twice", "stubborn", "long", "below"]
    assert workers["bench"].call("get_indices") == (200, expected)
    beat = next(beat for beat in controller.of("receive_heartbeat") if beat["name"] == "bench-std")
    url = workers["bench"].url
    assert beat == {"name": "bench-std", "address": url, "concurrency": 4, "indices": expected}
