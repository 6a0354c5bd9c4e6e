"""The wire, beside that of the SDK that most people know."""

from __future__ import annotations

import openai
import pytest
from llmserver import llm_server

from pytest_evalrun.llm.client import Client
from pytest_evalrun.llm.settings import EndpointSettings
from pytest_evalrun.llm.wire import request_body

SAMPLING = {"temperature": 0, "max_tokens": 12, "stop": ["\n"], "seed": 3, "top_p": 0.5}
PARTS = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
]
CHATS = {
    "a question": [{"role": "user", "content": 'What is "日本" 🙂?'}],
    "a conversation": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "How are you?"},
    ],
    "a picture": [{"role": "user", "content": PARTS}],
}


@pytest.fixture(scope="module")
def server():
    with llm_server("--api-key", "k") as server:
        yield server


@pytest.fixture(scope="module")
def sdk(server):
    with openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
def ask(server):
    clients = []

    def ask(content, **words):
        endpoint = EndpointSettings(model="ngram", sampling=SAMPLING, **words)
        clients.append(Client(endpoint, server.url, "k"))
        return clients[-1].ask(request_body(endpoint, content)).result(60)

    server.reset()
    yield ask
    for client in clients:
        client.close()


def arrived(server):
    """What the server got from the two: the same path, and these bodies."""
    one, other = server.requests()
    assert one["path"] == other["path"]
    for name in ("Authorization", "Content-Type"):
        assert one["headers"][name] == other["headers"][name]
    return one["body"], other["body"]


@pytest.mark.parametrize("chat", CHATS)
def test_a_chat_arrives_as_that_of_the_sdk(chat, sdk, ask, server):
    """The same chat, asked by the SDK and by us, is the same to the server, and its answer the same to both."""
    theirs = sdk.chat.completions.create(model="ngram", messages=CHATS[chat], **SAMPLING)
    ours = ask(CHATS[chat])

    one, other = arrived(server)
    assert one == other
    (choice,) = theirs.choices
    assert (ours.text, ours.finish_reason) == (choice.message.content, choice.finish_reason)
    assert (ours.usage.input, ours.usage.output) == (theirs.usage.prompt_tokens, theirs.usage.completion_tokens)


def test_a_text_arrives_as_that_of_the_sdk(sdk, ask, server):
    """So it is with a text that is to be continued."""
    theirs = sdk.completions.create(model="ngram", prompt="The largest planet is", **SAMPLING)
    ours = ask("The largest planet is", api="completions")

    one, other = arrived(server)
    assert one == other
    assert (ours.text, ours.finish_reason) == (theirs.choices[0].text, theirs.choices[0].finish_reason)


def test_a_stream_arrives_as_that_of_the_sdk(sdk, ask, server):
    """So it is with an answer that comes piece by piece."""
    chat = CHATS["a conversation"]
    options = {"include_usage": True}
    events = list(
        sdk.chat.completions.create(
            model="ngram", messages=chat, stream=True, stream_options=options, extra_body={"top_k": 2}, **SAMPLING
        )
    )
    ours = ask(chat, stream=True, extra_body={"top_k": 2})

    one, other = arrived(server)
    assert one == other
    assert ours.text == "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert ours.usage.output == events[-1].usage.completion_tokens


TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_calls_of_tools_are_those_of_the_sdk(stream, sdk, server):
    """What an agent is asked with tools arrives as the SDK sends it, and its calls are those that the SDK reads."""
    server.reset()
    server.faults(tool_calls="all")
    try:
        theirs = sdk.chat.completions.create(
            model="ngram", messages=CHATS["a conversation"], tools=[TOOL], **SAMPLING
        ).choices[0]
        endpoint = EndpointSettings(model="ngram", sampling=SAMPLING, stream=stream)
        client = Client(endpoint, server.url, "k")
        body = {**request_body(endpoint, CHATS["a conversation"]), "tools": [TOOL]}
        ours = client.ask(body, any_message=True).result(60)
        client.close()
    finally:
        server.faults(tool_calls=None)

    one, other = arrived(server)
    assert one == {name: value for name, value in other.items() if not name.startswith("stream")}
    assert ours.finish_reason == theirs.finish_reason == "tool_calls"
    calls = [call.model_dump() for call in theirs.message.tool_calls]
    assert [*ours.tool_calls] == [{name: call[name] for name in ("id", "type", "function")} for call in calls]
