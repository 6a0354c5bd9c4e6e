"""The agent behind an OpenAI-compatible endpoint, against the real server on loopback."""

from __future__ import annotations

import pytest
from llmserver import llm_server

from pytest_evalrun.adapters.eventloop import Coroutines
from pytest_evalrun.agents.acting.openai import OpenAIAgent
from pytest_evalrun.agents.protocol import ContextLimit, Conversation
from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.llm.client import Client
from pytest_evalrun.llm.refusals import Passing
from pytest_evalrun.llm.settings import EndpointSettings

SECONDS = 60
HELLO = [{"role": "user", "content": "What is the largest planet?"}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def running():
    with llm_server() as server:
        yield server


@pytest.fixture
def server(running):
    running.reset()
    yield running
    running.faults(**dict.fromkeys(running.faults(), None))


@pytest.fixture
def act(server):
    """Ask an agent once, as a session does: in the asyncio thread."""
    clients = []

    def act(messages=HELLO, tools=(), generation=0, **words):
        own = EndpointSettings(**{"model": "ngram", "sampling": {"temperature": 0}, **words})
        clients.append(Client(own, server.url))
        agent = OpenAIAgent(clients[-1], own)
        with Coroutines() as coroutines:
            return coroutines.start(agent.act(Conversation(messages, tools, generation))).result(SECONDS)

    yield act
    for client in clients:
        client.close()


def sent(server):
    return server.requests()[-1]["body"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_turn_is_answered(stream, server, act):
    """The answer is a message, with its tokens, what they cost and why it ended."""
    answered = act(stream=stream, price={"input": 1, "output": 2})

    assert answered.message["role"] == "assistant"
    assert answered.message["content"]
    assert "tool_calls" not in answered.message
    assert answered.usage.input == server.stats()["tokens"]["input"]
    assert answered.cost == pytest.approx((answered.usage.input + 2 * answered.usage.output) / 1_000_000)
    assert (answered.finish_reason, answered.attempts) == ("stop", 1)
    assert answered.detail["request_id"].startswith("req-")
    assert answered.detail.keys().isdisjoint({"usage", "cost", "finish_reason", "attempts"})


def test_what_is_sent(server, act):
    """The conversation goes out as it is, with the tools of the task, sampling, extra fields and the sample's seed."""
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "Use the tools."},
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Jupiter"},
    ]
    sampling = {"temperature": 0, "seed": 5}
    act(messages, [TOOL], generation=2, sampling=sampling, extra_body={"tool_choice": "auto"})

    assert sent(server) == {
        "model": "ngram", "messages": messages, "tools": [TOOL], "temperature": 0, "seed": 7, "tool_choice": "auto"
    }  # fmt: skip


def test_without_tools_none_are_sent(server, act):
    """Some endpoints refuse an empty list."""
    act()

    assert "tools" not in sent(server)


SYSTEMS = {
    "before the user": (HELLO, "Be short."),
    "before what the task says": ([{"role": "system", "content": "A task."}, *HELLO], "Be short.\n\nA task."),
    "before parts": ([{"role": "system", "content": [{"type": "text", "text": "A task."}]}, *HELLO], "Be short."),
    "where nothing was said yet": ([], "Be short."),
}


@pytest.mark.parametrize("where", SYSTEMS)
def test_the_suite_speaks_first(where, server, act):
    """What `prompt.system` says is the first message, and one with that of the task, for models that take no two."""
    messages, text = SYSTEMS[where]
    act(messages, prompt={"system": "Be short."})

    assert sent(server)["messages"][0] == {"role": "system", "content": text}
    assert messages == SYSTEMS[where][0]


def test_a_task_has_no_columns():
    """A system message over a sample's columns cannot be made, which ends the pair before it is asked."""
    own = EndpointSettings(model="m", prompt={"system": "Of {{ subject }}"})
    with pytest.raises(PairError, match="no column 'subject'"):
        OpenAIAgent(None, own)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_calls_of_tools_are_part_of_the_message(stream, server, act):
    """An answer that calls tools needs no text, and can be sent back as it is."""
    server.faults(tool_calls="first:1")
    answered = act(tools=[TOOL], stream=stream)

    function = {"name": "look_up", "arguments": '{"subject": "it"}'}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    assert answered.message == {"role": "assistant", "content": None, "tool_calls": calls}
    assert answered.finish_reason == "tool_calls"

    act([*HELLO, answered.message, {"role": "tool", "tool_call_id": "call_1", "content": "yes"}], [TOOL])
    assert server.stats()["answered"] == 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("fault", "end"), [("null", "stop"), ("length", "length")])
def test_whatever_was_said_is_for_the_task_to_judge(fault, end, stream, server, act):
    """A message without a text and one that was cut short are answers of the agent."""
    server.faults(**{fault: "all"})
    answered = act(stream=stream)

    assert isinstance(answered.message["content"], str)
    assert answered.finish_reason == end


ERRORS = {
    "context": (ContextLimit, "maximum context length"),
    "429": (Passing, "HTTP 429"),
    "503": (Passing, "HTTP 503"),
    "cut": (Passing, "127.0.0.1"),
    "html": (Passing, "no JSON"),
    "400": (SampleError, "HTTP 400"),
    "empty": (SampleError, "no choices"),
    "huge": (SampleError, "more than 10 MB"),
    "half_json": (Passing, "no JSON"),
    "401": (PairError, "HTTP 401"),
}


@pytest.mark.parametrize("fault", ERRORS)
def test_what_goes_wrong(fault, server, act):
    """A full context is the agent's limit, by its code; what may pass is for the session to ask again."""
    kind, text = ERRORS[fault]
    server.faults(**{fault: "all"})
    with pytest.raises(kind, match=text):
        act()
