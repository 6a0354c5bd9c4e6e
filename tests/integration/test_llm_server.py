"""The server of evals/llm: a true one for those who know the API, and one that fails as it is told to."""

from __future__ import annotations

import http.client
import importlib.util
import json
import math
import sys
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime

import openai
import psutil
import pytest
from llmserver import OPENER, PROGRAM, llm_server
from sshd import until

QUESTION = "What is the capital of Japan?"
ANSWER = "The capital of Japan is Tokyo."
CONTINUED = f"Question: {QUESTION}\nAnswer:"
SAID = {"model": "ngram", "temperature": 0, "messages": [{"role": "user", "content": QUESTION}]}


@pytest.fixture(scope="module")
def running():
    with llm_server() as server:
        yield server


@pytest.fixture
def server(running):
    """One for all tests; each finds it without faults, and with nothing counted."""
    yield running
    switched = running.faults()
    running.faults(**dict.fromkeys(switched))
    running.reset()


@pytest.fixture(scope="module")
def sdk(running):
    with openai.OpenAI(base_url=running.url, api_key="any", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def module():
    found = importlib.util.spec_from_file_location("llm_server_of_evals", PROGRAM)
    made = importlib.util.module_from_spec(found)
    sys.modules[found.name] = made  # where dataclasses look their types up
    found.loader.exec_module(made)
    return made


def raw(server, path="/v1/chat/completions", **more):
    """Status, headers and bytes of an answer, whatever it is."""
    body = json.dumps(SAID | more).encode()
    request = urllib.request.Request(server.root + path, body, {"Content-Type": "application/json"})
    try:
        with OPENER.open(request, timeout=60) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_sdk_chats(sdk, server):
    """The SDK reads an answer, why it ends and what it took, and the server has counted the same."""
    reply = sdk.chat.completions.create(**SAID)

    assert reply.choices[0].message.content == ANSWER
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == "ngram"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (11, 7, 18)
    assert server.stats()["tokens"] == {"input": 11, "output": 7}


def test_sdk_streams(sdk):
    """Pieces of a stream are the answer, and the last one says what it took."""
    *pieces, last = list(sdk.chat.completions.create(**SAID, stream=True, stream_options={"include_usage": True}))

    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == ANSWER
    assert [piece.choices[0].finish_reason for piece in pieces][-2:] == [None, "stop"]
    assert last.usage.completion_tokens == 7


def test_sdk_continues_a_text(sdk):
    """Completions go on with a text, stop where they are told, and say what else was likely."""
    reply = sdk.completions.create(model="ngram", prompt=CONTINUED, temperature=0, max_tokens=1, logprobs=2)
    cut = sdk.completions.create(model="ngram", prompt="Assistant: The capital of", temperature=0, stop=" is")

    assert (reply.choices[0].text, reply.choices[0].finish_reason) == (" Tokyo", "length")
    assert reply.choices[0].logprobs.text_offset == [len(CONTINUED)]
    assert max(reply.choices[0].logprobs.top_logprobs[0], key=reply.choices[0].logprobs.top_logprobs[0].get) == " Tokyo"
    assert cut.choices[0].finish_reason == "stop"
    assert " is" not in cut.choices[0].text


def test_a_chat_ends_with_the_turn(sdk):
    """A model goes on with a conversation as it has read them; in a chat it speaks for itself alone."""
    question = "What is the capital of France?"
    text = f"User: {question}\nAssistant:"
    reply = sdk.completions.create(model="ngram", prompt=text, temperature=0, max_tokens=9)
    chat = sdk.chat.completions.create(**SAID | {"messages": [{"role": "user", "content": question}]})

    assert reply.choices[0].text.startswith(" Paris\nUser:")
    assert chat.choices[0].message.content == "Paris"


def test_echo_has_the_likelihood_of_a_text(sdk):
    """What the model holds likely is more likely in an echo, too: so harnesses compare the options of a question."""

    def likelihood(answer):
        reply = sdk.completions.create(model="ngram", prompt=CONTINUED + answer, max_tokens=1, logprobs=1, echo=True)
        logs = reply.choices[0].logprobs
        assert "".join(logs.tokens) == reply.choices[0].text
        assert logs.token_logprobs[0] is None
        return sum(log for log, end in zip(logs.token_logprobs, logs.text_offset, strict=True) if end == len(CONTINUED))

    assert likelihood(" Tokyo") > math.log(0.5) > likelihood(" Nairobi") > likelihood(" Xyzzy")


def test_sdk_lists_models(sdk):
    """The one model is listed by the name that it is asked by; by another it is not there."""
    assert [model.id for model in sdk.models.list()] == ["ngram"]
    with pytest.raises(openai.NotFoundError) as told:
        sdk.chat.completions.create(**SAID | {"model": "gpt-4o"})
    assert told.value.code == "model_not_found"


def test_chat_has_logprobs(sdk):
    """Each token of an answer comes with its likelihood and its rivals, where that is asked for."""
    tokens = sdk.chat.completions.create(**SAID, logprobs=True, top_logprobs=3).choices[0].logprobs.content

    assert "".join(token.token for token in tokens) == ANSWER
    assert all(token.logprob <= 0 and 1 <= len(token.top_logprobs) <= 3 for token in tokens)


def test_chances_add_up_to_one(module):
    """Whatever comes before, the chances of all tokens are one together."""
    model = module.Model(["a b c\n\na b d e\n\nb"])

    for context in ([], ["a"], ["a", " b"], ["nowhere"], [" d", " e"]):
        chances = model.chances(context)
        total = sum(model.chance(token, chances) for token in [*model._counts, "never seen"])
        assert math.isclose(total, 1), context


def test_seed_and_temperature_count(server):
    """A seed repeats a text that chance has made, another seed makes others; without heat chance has no say."""

    def told(seed, temperature=2.0):
        return server.chat(QUESTION, seed=seed, temperature=temperature)["choices"][0]["message"]["content"]

    assert told(1) == told(1)
    assert len({told(seed) for seed in range(5)}) > 1
    assert {told(seed, 0) for seed in range(3)} == {ANSWER}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        pytest.param({"n": 2}, "n=1", id="several choices"),
        pytest.param({"temperature": 3}, "temperature", id="too hot"),
        pytest.param({"max_tokens": 0}, "max_tokens", id="no tokens"),
        pytest.param({"stop": 7}, "stop", id="a stop that is no text"),
        pytest.param({"messages": []}, "messages", id="nothing said"),
        pytest.param(
            {"messages": [{"role": "user", "content": "word " * 9000}]}, "maximum context length", id="too long"
        ),
    ],
)
def test_bad_requests_are_refused(server, body, named):
    """What the API does not allow is a 400 that names it."""
    status, _, text = raw(server, **body)

    assert status == 400
    assert named in json.loads(text)["error"]["message"]


def test_key_is_asked_for():
    """With a key of its own it lets in nobody without, not even to see its models."""
    with llm_server("--api-key", "right") as server:
        with pytest.raises(openai.AuthenticationError), openai.OpenAI(base_url=server.url, api_key="wrong") as client:
            client.models.list()
        with openai.OpenAI(base_url=server.url, api_key="right") as client:
            assert client.chat.completions.create(**SAID).choices[0].message.content == ANSWER
        assert "right" not in json.dumps(server.requests())


def test_listens_on_loopback(running):
    """Nobody but this host can ask it, unless it is told otherwise."""
    listening = [c.laddr.ip for c in psutil.Process(running.process.pid).net_connections() if c.status == "LISTEN"]

    assert listening == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("400", openai.BadRequestError),
        ("401", openai.AuthenticationError),
        ("403", openai.PermissionDeniedError),
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("503", openai.InternalServerError),
        ("context", openai.BadRequestError),
        ("cut", openai.APIConnectionError),
        ("cut_body", openai.APIConnectionError),
        ("stall", openai.APITimeoutError),
        ("stall_body", openai.APITimeoutError),
    ],
)
def test_sdk_meets_fault(sdk, server, fault, error):
    """A fault is to the SDK what it is at a real endpoint; who was asked once more finds it gone."""
    server.faults(**{fault: "first:1"})

    with pytest.raises(error):
        sdk.chat.completions.create(**SAID, timeout=1 if "stall" in fault else 60)
    assert sdk.chat.completions.create(**SAID).choices[0].message.content == ANSWER
    stats = until(lambda: (found := server.stats())["in_flight"] == 0 and found)
    assert stats["faults"] == {fault: 1}
    assert (stats["requests"], stats["answered"]) == (2, 1)
    assert list(stats["prompts"].values()) == [2]
    assert list(stats["answered_prompts"].values()) == [1]


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        pytest.param("empty", lambda r: r["choices"] == [], id="empty"),
        pytest.param("length", lambda r: r["choices"][0]["finish_reason"] == "length", id="length"),
        pytest.param(
            "content_filter", lambda r: r["choices"][0]["finish_reason"] == "content_filter", id="content_filter"
        ),
        pytest.param("model", lambda r: r["model"] == "another-than-ngram", id="model"),
        pytest.param("null", lambda r: r["choices"][0]["message"]["content"] is None, id="null"),
        pytest.param("tool_calls", lambda r: r["choices"][0]["message"]["tool_calls"], id="tool_calls"),
        pytest.param("reasoning", lambda r: r["choices"][0]["message"]["reasoning_content"], id="reasoning"),
        pytest.param(
            "think", lambda r: r["choices"][0]["message"]["content"].endswith(f"</think>{ANSWER}"), id="think"
        ),
        pytest.param("huge", lambda r: len(r["choices"][0]["message"]["content"]) > 10_000_000, id="huge"),
        pytest.param("no_usage", lambda r: "usage" not in r, id="no_usage"),
        pytest.param("cached", lambda r: r["usage"]["prompt_tokens_details"] == {"cached_tokens": 5}, id="cached"),
    ],
)
def test_answers_are_odd_as_told(server, fault, found):
    """An answer that is odd has its status and the rest as ever."""
    server.faults(**{fault: "all"})
    status, _, text = raw(server)

    assert status == 200
    assert found(json.loads(text))


@pytest.mark.parametrize("fault", ["half_json", "html"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_answers_that_are_none(server, fault, stream):
    """A status of success may come with what nobody can read."""
    server.faults(**{fault: "all"})
    status, _, text = raw(server, stream=stream)

    assert status == 200
    with pytest.raises(ValueError):
        json.loads(text)
    assert b"[DONE]" not in text
    assert server.stats()["answered"] == 0


@pytest.mark.parametrize(
    ("when", "statuses"),
    [
        ("all", [429, 429, 429, 429, 429]),
        ("every:2", [200, 429, 200, 429, 200]),
        ("first:2", [429, 429, 200, 200, 200]),
        ("nth:2", [200, 429, 200, 200, 200]),
        ("after:3", [200, 200, 200, 429, 429]),
        ("each:1", [429, 200, 200, 200, 200]),
        ("contains:Japan", [429, 429, 429, 429, 429]),
        ("contains:Kenya", [200, 200, 200, 200, 200]),
    ],
)
def test_faults_hit_whom_they_are_for(server, when, statuses):
    """When a fault strikes is told apart from what it is."""
    server.faults(**{"429": when})

    assert [raw(server)[0] for _ in statuses] == statuses


def test_a_rate_is_kept(server):
    """Of those that come too fast, as many are answered as it takes in a second, and the others refused."""
    server.faults(**{"429": "rate:3"})
    until(lambda: raw(server)[0] == 429)

    assert server.stats()["answered"] >= 3


def test_more_than_it_takes_are_refused(server):
    """Beyond so many in flight it refuses, and knows the most that it had; who goes away has no place any more."""
    server.faults(**{"503": "beyond:2", "stall": "contains:Japan"})
    waiting = [http.client.HTTPConnection(server.root.removeprefix("http://")) for _ in range(2)]
    for one in waiting:
        one.request("POST", "/v1/chat/completions", json.dumps(SAID))
    until(lambda: server.stats()["in_flight"] == 2)

    assert raw(server)[0] == 503
    for one in waiting:
        one.close()
    until(lambda: server.stats()["in_flight"] == 0)
    stats = server.stats()
    assert (stats["most"], stats["gone"], stats["refused"]) == (3, 2, {"503": 1})


@pytest.mark.parametrize(
    ("forms", "headers"),
    [
        ("none", {}),
        ("seconds:2", {"Retry-After": "2"}),
        ("ms:300", {"retry-after-ms": "300"}),
        ("reset:1m30s", {"x-ratelimit-reset-requests": "1m30s", "x-ratelimit-remaining-requests": "0"}),
        ("reset-tokens:500ms", {"x-ratelimit-reset-tokens": "500ms"}),
        ("seconds:2,ms:300", {"Retry-After": "2", "retry-after-ms": "300"}),
    ],
)
def test_when_to_come_again(server, forms, headers):
    """A refusal says when to come again in each form that there is, or not at all."""
    server.faults(**{"429": "all"}, retry_after=forms)
    _, found, _ = raw(server)

    assert {name: found[name] for name in headers} == headers
    assert ("Retry-After" in found) == ("Retry-After" in headers)


def test_when_to_come_again_as_a_date(server):
    """A date is one that is still to come."""
    server.faults(**{"429": "all"}, retry_after="date:60")
    _, found, _ = raw(server)

    assert time.time() < parsedate_to_datetime(found["Retry-After"]).timestamp() <= time.time() + 61


def test_canned_answers(server):
    """A canned answer is what everybody gets."""
    server.faults(canned="B")

    assert server.chat("anything")["choices"][0]["message"]["content"] == "B"


def test_unknown_faults_are_told():
    """A fault that there is not ends the start, and says which there are."""
    with (
        pytest.raises(RuntimeError, match="no fault 'slow'; there are 400 to 599, context, stall"),
        llm_server(slow="all"),
    ):
        pass


def test_server_that_ends(server):
    """It may die in the middle of its work, and takes its connections with it."""
    with llm_server(exit="nth:2") as mortal:
        assert mortal.chat(QUESTION)["choices"]
        with pytest.raises(OSError):
            mortal.chat(QUESTION)
        assert mortal.process.wait(60) == 3


def test_getting_ready_takes_its_time():
    """Until it is ready it listens, and says that it is not."""
    with llm_server("--warm-up", "3600") as server:
        for path in ("/health", "/v1/models"):
            with pytest.raises(urllib.error.HTTPError, match="503"):
                server.get(path)
