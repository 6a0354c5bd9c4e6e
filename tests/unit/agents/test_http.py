"""The agent behind an HTTP API of its own, against a real server on loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
from types import SimpleNamespace

import pytest
from aiohttp import web
from certificates import certificate_of

from pytest_evalrun.adapters.eventloop import Coroutines
from pytest_evalrun.agents.acting.loading import load_agent
from pytest_evalrun.agents.protocol import ContextLimit, Conversation
from pytest_evalrun.errors import ConfigError, PairError, SampleError
from pytest_evalrun.llm.refusals import Passing
from pytest_evalrun.llm.wire import Usage
from pytest_evalrun.suite.settings import Settings

SECONDS = 60
SAID = []
SERVICES = SimpleNamespace(event=lambda *_, **__: None, say=SAID.append)
TALK = Conversation(
    [
        {"role": "user", "content": "Which planet?"},
        {"role": "assistant", "content": "Wait."},
        {"role": "user", "content": "Well?"},
    ]
)
OPENAI = {"choices": [{"message": {"content": "Jupiter"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
CHOSEN = "{response[choices][0][message][content]}"


class Server:
    """Answers what it is told, and keeps what it was asked."""

    def __init__(self):
        self.url = ""
        self.reset()

    def reset(self):
        self.asked, self.status, self.body, self.headers = [], 200, json.dumps(OPENAI).encode(), {}
        self.stalls = False

    async def start(self, certificate=None):
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/ask", self.answer)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{runner.addresses[0][1]}/ask"
        return runner

    async def answer(self, request):
        self.asked.append((request.path_qs, dict(request.headers), await request.json()))
        if self.stalls:
            await asyncio.Event().wait()
        return web.Response(status=self.status, body=self.body, headers={"Content-Type": "text/x", **self.headers})


@pytest.fixture(scope="module")
def running():
    server = Server()
    with Coroutines() as coroutines:
        runner = coroutines.start(server.start()).result(SECONDS)
        yield server
        coroutines.start(runner.cleanup()).result(SECONDS)


@pytest.fixture
def server(running):
    running.reset()
    return running


def pair_of(root, **words):
    settings = Settings(adapter="http", format="agentbench", words=words)
    return SimpleNamespace(settings=settings, root=str(root), task=SimpleNamespace(path=None))


@pytest.fixture
def act(server, tmp_path):
    """Load the agent that a suite describes, and ask it as a session does."""
    loaded = []

    def act(conversation=TALK, **words):
        pair = pair_of(tmp_path, **{"url": server.url, **words})
        loaded.append(load_agent(pair, SERVICES))
        loaded[-1].load()
        with Coroutines() as coroutines:
            return coroutines.start(loaded[-1].act(conversation)).result(SECONDS)

    yield act
    for agent in loaded:
        agent.close()
        agent.close()


def test_agentbenchs_chat(server, act, monkeypatch):
    """Url, headers, body, prompter and return_format are AgentBench's; a key comes from the environment."""
    monkeypatch.setenv("AGENT_KEY", "a-key-of-the-agent")
    answered = act(
        url=f"{server.url}?version=1",
        headers={"Authorization": "Bearer ${AGENT_KEY}", "X-Team": "ours"},
        body={"model": "gpt", "temperature": 0},
        prompter={"name": "role_content_dict", "args": {"agent_role": "assistant"}},
        return_format=CHOSEN,
        price={"input": 1, "output": 2},
    )
    ((path, headers, body),) = server.asked

    assert answered.message == {"role": "assistant", "content": "Jupiter"}
    assert (answered.usage, answered.cost) == (Usage(3, 1), 5 / 1_000_000)
    assert path == "/ask?version=1"
    assert (headers["Authorization"], headers["X-Team"]) == ("Bearer a-key-of-the-agent", "ours")
    assert headers["Content-Type"] == "application/json"
    assert body == {"model": "gpt", "temperature": 0, "messages": [*TALK.messages]}


def test_what_is_said_by_default(server, act):
    """Without more words the history goes out in AgentBench's roles, and a JSON text is the answer."""
    server.body = b'"Jupiter"'

    assert act().message["content"] == "Jupiter"
    assert [message["role"] for message in server.asked[0][2]["messages"]] == ["user", "agent", "user"]


@pytest.mark.parametrize(("generation", "seed"), [(0, 5), (2, 7)])
def test_another_generation_has_another_seed(generation, seed, server, act):
    """Where a body has a seed, each generation of a sample is a draw of its own."""
    act(Conversation(TALK.messages, generation=generation), body={"seed": 5}, return_format=CHOSEN)

    assert server.asked[0][2]["seed"] == seed


def test_tools_that_it_is_not_shown_are_told(server, act):
    """A task that has tools is answered in text, which the log of its pair says once."""
    SAID.clear()
    tool = {"type": "function", "function": {"name": "look"}}
    act(Conversation(TALK.messages, [tool]), return_format=CHOSEN)

    assert "tools" not in server.asked[0][2]
    assert SAID == ["an agent behind `http` is not shown the tools of the task (look): it answers in text"]


ANSWERS = {
    "nothing": ({"text": ""}, ""),
    "null": ({"text": None}, ""),
    "escapes as they are": ({"text": "\x1b[2J\x07 \x00"}, "\x1b[2J\x07 \x00"),
    "any letter": ({"text": "naïve 日本 🙂"}, "naïve 日本 🙂"),
    "a number": ({"text": 3}, "3"),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_whatever_was_said_is_for_the_task_to_judge(what, server, act):
    """A text is kept as it came, be it nothing, or what drives a terminal."""
    payload, text = ANSWERS[what]
    server.body = json.dumps(payload).encode()
    answered = act(return_format="{response[text]}")

    assert answered.message == {"role": "assistant", "content": text}
    assert (answered.usage, answered.cost) == (None, None)


TOO_LONG = {"error": {"code": "context_length_exceeded", "message": "8192"}}
RATE = {"error": {"message": "Rate limit reached for prompt tokens per min: Limit 10000, too many", "code": None}}
REFUSALS = {
    "a rate, in the words of a context": (429, RATE, Passing, "Rate limit reached"),
    "a rate, by a wrong code": (429, TOO_LONG, Passing, "HTTP 429"),
    "a time-out": (408, {}, Passing, "HTTP 408"),
    "a conflict": (409, {}, Passing, "HTTP 409"),
    "trouble": (500, {}, Passing, "HTTP 500"),
    "a full queue": (503, {"detail": "upstream worker: prompt queue over limit"}, Passing, "prompt queue"),
    "a full context": (400, TOO_LONG, ContextLimit, "HTTP 400: 8192"),
    "a full context by another status": (413, TOO_LONG, ContextLimit, "HTTP 413"),
    "a bad request": (400, {"error": {"message": "tokens exceed the limit"}}, SampleError, "tokens exceed"),
    "what is not wanted": (422, {"detail": "no"}, SampleError, "HTTP 422: no"),
    "a key": (401, {}, PairError, r"accepted: its key in `headers`, as in `Authorization: Bearer \$\{NAME\}`"),
    "a right": (403, {}, PairError, "accepted: its key in `headers`"),
    "another place": (404, {}, PairError, "a `url` where an agent is asked by POST"),
    "elsewhere": (302, {}, PairError, r"it sends elsewhere \(nowhere\); accepted: that `url`"),
    "money": (429, {"error": {"code": "insufficient_quota"}}, PairError, "HTTP 429"),
    "an error that looks well": (200, {"error": {"code": 503, "message": "gone"}}, Passing, "HTTP 503: gone"),
    "a full context that looks well": (200, TOO_LONG, ContextLimit, "8192"),
    "a mistake that looks well": (200, {"error": {"code": 400, "message": "odd"}}, SampleError, "HTTP 400: odd"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_a_status_means(what, server, act):
    """By its status, and the code where that says more, an answer may pass, or is the agent's limit, the sample's or
    the pair's end.
    """
    status, payload, kind, text = REFUSALS[what]
    server.status, server.body = status, json.dumps(payload).encode()
    with pytest.raises(kind, match=text):
        act(return_format=CHOSEN)


def test_when_to_come_back_is_heard(server, act):
    """What the server says of that is the session's to wait for, and none of its retries."""
    server.status, server.headers = 429, {"Retry-After": "7"}
    with pytest.raises(Passing) as raised:
        act()

    assert (raised.value.after, raised.value.limited, raised.value.counts) == (7.0, True, False)


BODIES = {
    "no JSON": (b"<html>Bad gateway</html>", Passing, "the answer is no JSON: '<html>"),
    "half of it": (b'{"choices": [', Passing, "no JSON"),
    "no text": (b"\xff\xfe\x00", Passing, "no JSON"),
    "nothing": (b"", Passing, "no JSON"),
    "another form": (b'{"choices": []}', SampleError, r"return_format: .* no 0 in response\[choices\]"),
    "10 MB": (b'"' + b"x" * 10_000_001 + b'"', SampleError, "more than 10 MB"),
    "too deep": (b"[" * 100_000, Passing, "no JSON"),
}


@pytest.mark.parametrize("what", BODIES)
def test_what_is_no_answer(what, server, act):
    """What cannot be read may be another time; what is not there is told with the way to it."""
    server.body, kind, text = BODIES[what]
    with pytest.raises(kind, match=text):
        act(return_format=CHOSEN)


def test_nobody_is_there(act):
    """A connection that is refused may be another time."""
    with pytest.raises(Passing) as raised:
        act(url="http://127.0.0.1:1/ask")

    assert raised.value.nobody


def test_an_agent_that_never_answers(server, act):
    """It is given up after `request_timeout`, and may answer another time."""
    server.stalls = True
    with pytest.raises(Passing, match=r"no answer within 0\.2 s \(`request_timeout`\)"):
        act(request_timeout=0.2)


def test_a_certificate_that_nobody_knows(tmp_path, act, server):
    """TLS is verified: whom `verify` names is trusted, and nobody else."""
    certificate = certificate_of(tmp_path / "own.pem", "127.0.0.1")
    secure = Server()
    with Coroutines() as coroutines:
        runner = coroutines.start(secure.start(certificate)).result(SECONDS)
        with pytest.raises(PairError, match="accepted: `verify: FILE`"):
            act(url=secure.url)
        assert act(url=secure.url, verify="own.pem", return_format=CHOSEN).message["content"] == "Jupiter"
        coroutines.start(runner.cleanup()).result(SECONDS)
    with pytest.raises(PairError, match=r"verify: .*other\.pem: no certificates"):
        act(verify="other.pem")


PROXIES = {
    "proxy": {"proxy": "http://127.0.0.1:1"},
    "by the scheme": {"proxies": {"http": "http://127.0.0.1:1", "https": "http://127.0.0.1:2"}},
    "for all": {"proxies": {"all": "http://127.0.0.1:1"}},
}


@pytest.mark.parametrize("how", PROXIES)
def test_a_proxy_is_passed(how, act, server):
    """The one that the suite names for the URL is asked, and nobody else."""
    with pytest.raises(Passing) as raised:
        act(**PROXIES[how])

    assert raised.value.nobody
    assert server.asked == []


def test_a_proxy_of_another_scheme_is_not(act, server):
    """A proxy for https is none for http."""
    assert act(proxies={"https": "http://127.0.0.1:1"}, return_format=CHOSEN).message["content"] == "Jupiter"


def test_what_a_prompter_makes_must_be_json(act, tmp_path, server):
    """A field that cannot be sent fails the sample, and nothing is sent."""
    (tmp_path / "mine.py").write_text("def mine(history): return {'at': {1, 2}}\n")
    with pytest.raises(SampleError, match="what was to be sent is no JSON"):
        act(prompter="./mine.py:mine")

    assert server.asked == []


def test_a_variable_that_is_not_set(act):
    """It is named, before anything is asked."""
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE is not set"):
        act(headers={"Authorization": "Bearer ${NOT_SET_ANYWHERE}"})


def test_how_many_at_once(tmp_path):
    """The suite says how many; once it is loaded, so many requests may be under way."""
    pair = pair_of(tmp_path, url="http://127.0.0.1:1/ask", concurrency=3)
    agent = load_agent(pair, SERVICES)
    agent.load()

    assert (agent.concurrency, agent.budget.room(0)) == (3, 3)
    assert load_agent(pair_of(tmp_path, url="http://x"), SERVICES).concurrency == "10-20-100"
    agent.close()


class Hashes:
    """Contents of files, as identities take them."""

    def file(self, path):
        return f"content of {path.name}"


CHANGES = {
    "nothing": ({}, False),
    "the url": ({"url": "http://b/ask"}, True),
    "the body": ({"body": {"model": "b"}}, True),
    "the prompter": ({"prompter": "palm"}, True),
    "its arguments": ({"prompter": {"name": "role_content_dict", "args": {"agent_role": "assistant"}}}, True),
    "the format": ({"return_format": "{response[b]}"}, True),
    "the key": ({"headers": {"Authorization": "${OTHER}"}}, False),
    "the number": ({"concurrency": 3}, False),
    "the price": ({"price": {"input": 3}}, False),
    "the patience": ({"request_timeout": 3}, False),
    "the way": ({"proxy": "http://b", "verify": "b.pem"}, False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_an_answer_depends_on(what):
    """Where the agent is, what it is sent and what is taken of its answer; not its key, price or number."""
    changed, differs = CHANGES[what]
    one, other = (
        Settings(adapter="http", format="agentbench", words={"url": "http://a/ask", **words}) for words in ({}, changed)
    )

    assert (one.kind.identity(one, "", Hashes()) != other.kind.identity(other, "", Hashes())) is differs


def test_a_name_stands_for_the_url():
    """With `served_as` an agent may move."""
    one, other = (
        Settings(adapter="http", format="agentbench", words={"url": url, "served_as": "ours"})
        for url in ("http://a", "http://b")
    )

    assert one.kind.identity(one, "", Hashes()) == other.kind.identity(other, "", Hashes())


def test_the_users_prompter_counts_by_its_content(tmp_path):
    """A prompter of the user's own is part of what the agent is."""
    (tmp_path / "mine.py").write_text("")
    words = {"url": "http://a", "prompter": "./mine.py:mine"}
    settings = Settings(adapter="http", format="agentbench", words=words)
    parts = settings.kind.identity(settings, str(tmp_path), Hashes())

    assert parts["prompter"] == {"name": "./mine.py:mine", "args": {}, "content": "content of mine.py"}
