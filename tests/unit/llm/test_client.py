"""The client of an endpoint against a real server on loopback, with everything that goes wrong there."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import CancelledError

import pytest
from llmserver import llm_server

from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.llm.client import Client
from pytest_evalrun.llm.refusals import Passing
from pytest_evalrun.llm.settings import EndpointSettings
from pytest_evalrun.llm.wire import request_body

HELLO = [{"role": "user", "content": "What is the largest planet?"}]
SECONDS = 60


@pytest.fixture(scope="module")
def running():
    with llm_server() as server:
        yield server


@pytest.fixture
def server(running):
    """The same for all tests, with no faults and nothing counted."""
    running.reset()
    before = running.faults()
    yield running
    running.faults(**dict.fromkeys(running.faults(), None))
    assert running.faults() == before


@pytest.fixture
def ask(server):
    """Ask what is said of the endpoint, and wait for the answer."""
    clients = []

    def ask(key=None, text=None, **words):
        endpoint = EndpointSettings(**{"model": "ngram", "sampling": {"temperature": 0}, **words})
        clients.append(Client(endpoint, words.get("base_url", server.url), key))
        asked = HELLO if text is None else [{"role": "user", "content": text}]
        content = asked if endpoint.api == "chat" else asked[0]["content"]
        return clients[-1].ask(request_body(endpoint, content)).result(SECONDS)

    yield ask
    for client in clients:
        client.close()


def test_a_chat_is_answered(server, ask):
    """An answer comes with its tokens, its id, the model and the time that it took."""
    reply = ask()

    assert reply.text
    assert (reply.finish_reason, reply.model, reply.attempts, reply.ttft) == ("stop", "ngram", 1, None)
    assert (reply.usage.input, reply.usage.output) == tuple(server.stats()["tokens"][n] for n in ("input", "output"))
    assert reply.request_id.startswith("req-")
    assert reply.seconds > 0


def test_a_text_is_continued(ask):
    """The other API goes on with a text."""
    assert ask(api="completions", sampling={"temperature": 0, "max_tokens": 5}).text


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_stream_is_the_same_answer(api, ask):
    """Piece by piece comes the same text with the same tokens, and the time to the first of them is known."""
    whole, streamed = ask(api=api), ask(api=api, stream=True)

    assert (streamed.text, streamed.usage, streamed.finish_reason) == (whole.text, whole.usage, whole.finish_reason)
    assert 0 < streamed.ttft <= streamed.seconds


# What an answer may look like → what is kept of it.
KEPT = {
    "length": lambda reply: reply.finish_reason == "length" and reply.text,
    "content_filter": lambda reply: reply.finish_reason == "content_filter",
    "reasoning": lambda reply: "remember" in reply.reasoning and "remember" not in reply.text,
    "think": lambda reply: reply.text.startswith("<think>"),
    "no_usage": lambda reply: reply.usage is None,
    "cached": lambda reply: reply.usage.cached > 0,
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", KEPT)
def test_what_is_kept_of_an_answer(fault, stream, server, ask):
    """Why a text ended, what was thought before it and what it cost are kept beside the text, however it comes."""
    server.faults(**{fault: "all"})

    assert KEPT[fault](ask(stream=stream))


PASSING = {
    "429": (429, True),
    "408": (408, False),
    "409": (409, False),
    "500": (500, False),
    "502": (502, False),
    "503": (503, False),
    "529": (529, False),
    "cut": (None, False),
    "cut_body": (None, False),
    "half_json": (None, False),
    "html": (None, False),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", PASSING)
def test_what_may_pass(fault, stream, server, ask):
    """A server that is in trouble, a connection that is cut and half an answer are worth asking again."""
    server.faults(**{fault: "all"})
    with pytest.raises(Passing) as caught:
        ask(stream=stream)

    assert (caught.value.status, caught.value.limited) == PASSING[fault]
    assert caught.value.after is None


@pytest.mark.parametrize("status", ["429", "503"])
def test_when_to_come_back(status, server, ask):
    """A refusal that says when to come back is one for want of room, and is believed."""
    server.faults(**{status: "all", "retry_after": "seconds:7"})
    with pytest.raises(Passing) as caught:
        ask()

    assert (caught.value.after, caught.value.limited, caught.value.counts) == (7.0, True, False)


def test_nobody_listens(ask):
    """A server that is not there may be so later."""
    with pytest.raises(Passing, match=r"127\.0\.0\.1:1/v1"):
        ask(base_url="http://127.0.0.1:1/v1")


@pytest.mark.parametrize("fault", ["stall", "stall_body"])
def test_a_time_out(fault, server, ask):
    """A request without an answer in time is given up, and says by which word of the suite."""
    server.faults(**{fault: "all"})
    with pytest.raises(Passing, match=r"0\.2 s \(`request_timeout`\)"):
        ask(request_timeout=0.2)


OF_THE_SAMPLE = {
    "400": "HTTP 400",
    "413": "HTTP 413",
    "422": "HTTP 422",
    "context": "maximum context length",
    "empty": "no choices",
    "null": "no text",
    "tool_calls": "finish_reason: tool_calls",
    "huge": "more than 10 MB",
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", OF_THE_SAMPLE)
def test_what_is_final_for_a_sample(fault, stream, server, ask):
    """What another try would not change fails this sample alone."""
    server.faults(**{fault: "all"})
    with pytest.raises(SampleError, match=OF_THE_SAMPLE[fault]):
        ask(stream=stream)


OF_THE_PAIR = {
    "401": ["HTTP 401", "no `api_key` is set", "api_key: ${NAME}"],
    "403": ["HTTP 403", "no `api_key` is set"],
    "402": ["HTTP 402"],
    "404": ["HTTP 404", "`base_url`", "asked for: ngram"],
    "model": ["'ngram' was asked for", "'another-than-ngram' answered", "model: another-than-ngram", "served_as"],
}


@pytest.mark.parametrize("fault", OF_THE_PAIR)
def test_what_ends_the_pair(fault, server, ask):
    """What would be the same for every sample ends the pair, and says what would help."""
    server.faults(**{fault: "all"})
    with pytest.raises(PairError) as caught:
        ask()

    assert [text for text in OF_THE_PAIR[fault] if text not in str(caught.value)] == []


def test_a_model_that_is_not_there(ask):
    """A model that the endpoint does not know is named."""
    with pytest.raises(PairError, match="asked for: nobody"):
        ask(model="nobody")


def test_an_endpoint_with_a_name_may_call_its_model_otherwise(server, ask):
    """Where the suite names the endpoint, the model's own name says nothing."""
    server.faults(model="all")

    assert ask(served_as="ours").model == "another-than-ngram"


def test_a_key_that_is_not_accepted_is_named_by_its_variable():
    """The variable is named, and the key is in no error."""
    with llm_server("--api-key", "right-key-of-the-server") as locked:
        endpoint = EndpointSettings(model="ngram", api_key="${THE_KEY}")
        wrong, right = (Client(endpoint, locked.url, key) for key in ("wrong-key", "right-key-of-the-server"))
        body = request_body(endpoint, HELLO)
        with pytest.raises(PairError, match=r"api_key: \$\{THE_KEY\}") as caught:
            wrong.ask(body).result(SECONDS)
        assert "wrong-key" not in str(caught.value)
        assert right.ask(body).result(SECONDS).text
        for client in (wrong, right):
            client.close()


def test_headers_and_fields_are_sent(server, ask):
    """What the suite adds arrives, and what it says of sampling does so unchanged."""
    ask(headers={"X-Team": "ours"}, extra_body={"top_k": 3}, sampling={"max_tokens": 4, "stop": ["."]})
    (request,) = server.requests()

    assert request["headers"]["X-Team"] == "ours"
    assert request["body"] == {
        "model": "ngram",
        "messages": HELLO,
        "max_tokens": 4,
        "stop": [
            ".",
        ],
        "top_k": 3,
    }


def test_a_header_of_the_suite_comes_before_ours(server, ask):
    """What the suite says of a header that we would send is what is sent, however it is spelt."""
    ask("a-key", headers={"content-type": "application/json; charset=utf-8"})

    sent = {name.lower(): value for name, value in server.requests()[0]["headers"].items()}
    assert sent["content-type"] == "application/json; charset=utf-8"


def test_a_key_with_its_newline(server):
    """A variable that was read from a file ends with a newline; the key does not."""
    with llm_server("--api-key", "k") as locked:
        endpoint = EndpointSettings(model="ngram")
        client = Client(endpoint, locked.url, "k\n")
        assert client.ask(request_body(endpoint, HELLO)).result(SECONDS).text
        client.close()


@pytest.mark.parametrize(
    ("key", "headers"), [("a\nb", {}), (None, {"X-Team": "a\r\nX-Other: b"})], ids=["key", "header"]
)
def test_what_no_header_can_hold(key, headers):
    """A value of two lines is refused before anything is sent, and not shown, for it may be secret."""
    with pytest.raises(PairError, match="one line of text") as caught:
        Client(EndpointSettings(model="m", headers=headers), "http://127.0.0.1:1/v1", key)
    assert "X-Other" not in str(caught.value)


def test_a_query_of_the_url_is_kept(server, ask):
    """What follows the path of `base_url` follows that of each request."""
    assert ask(base_url=f"{server.url}?api-version=1").text
    assert server.requests()[0]["path"] == "/v1/chat/completions"


def test_any_text_arrives_as_it_is(server, ask):
    """Letters of any script, half of a character, and quotes reach the server unharmed."""
    text = 'naïve "日本" 🙂 \ud83d \x00 \\'
    ask(text=text)

    assert server.requests()[0]["body"]["messages"][0]["content"] == text


def test_connections_are_kept(server):
    """A hundred requests one after the other need one connection, and one thread for all clients."""
    endpoint = EndpointSettings(model="ngram", sampling={"max_tokens": 1})
    clients = [Client(endpoint, server.url) for _ in range(3)]
    for _ in range(5):
        for client in clients:
            client.ask(request_body(endpoint, HELLO)).result(SECONDS)

    assert [thread.name for thread in threading.enumerate()].count("evalrun-asyncio") == 1
    for client in clients:
        client.close()
        client.close()  # nothing is left to close
    assert "evalrun-asyncio" not in [thread.name for thread in threading.enumerate()]


def test_what_is_cancelled_is_under_way_no_more(server):
    """Cancelling a request ends it at the server, too."""
    server.faults(stall="all")
    endpoint = EndpointSettings(model="ngram")
    client = Client(endpoint, server.url)
    asked = [client.ask(request_body(endpoint, HELLO)) for _ in range(4)]
    poll(lambda: server.stats()["in_flight"] == 4)
    for future in asked:
        future.cancel()

    poll(lambda: server.stats()["in_flight"] == 0)
    for future in asked:
        with pytest.raises(CancelledError):
            future.result(SECONDS)
    client.close()


def test_closing_ends_what_is_under_way(server):
    """Nobody waits for ever for an answer of a client that was closed."""
    server.faults(stall="all")
    endpoint = EndpointSettings(model="ngram")
    client = Client(endpoint, server.url)
    asked = client.ask(request_body(endpoint, HELLO))
    poll(lambda: server.stats()["in_flight"] == 1)
    client.close()

    with pytest.raises(CancelledError):
        asked.result(SECONDS)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_asks_for_itself(server):
    """A process forked while requests are under way has none of our threads, and makes its own."""
    endpoint = EndpointSettings(model="ngram", sampling={"max_tokens": 1})
    client = Client(endpoint, server.url)
    body = request_body(endpoint, HELLO)
    client.ask(body).result(SECONDS)
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if client.ask(body).result(SECONDS).text is not None else 2
            client.close()
        finally:
            os._exit(code)

    assert os.waitpid(child, 0)[1] == 0
    assert client.ask(body).result(SECONDS).model == "ngram"
    client.close()


def poll(condition, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
