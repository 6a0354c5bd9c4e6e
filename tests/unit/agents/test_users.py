"""Classes of the user's own as agents."""

from __future__ import annotations

import ast
import threading
from types import SimpleNamespace

import pytest
from llmserver import llm_server

from pytest_evalrun.adapters.eventloop import Coroutines
from pytest_evalrun.agents.acting.users import UsersAgent
from pytest_evalrun.agents.protocol import Act, ContextLimit, Conversation
from pytest_evalrun.errors import ConfigError, PairError, SampleError
from pytest_evalrun.llm.refusals import Passing
from pytest_evalrun.llm.wire import Usage

SECONDS = 60
TOOL = {"type": "function", "function": {"name": "look"}}
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
TALK = Conversation(
    [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Which "}, {"type": "text", "text": "planet?"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "Jupiter"},
        {"role": "assistant", "content": "Wait."},
    ],
    [TOOL],
)


@pytest.fixture
def agent(tmp_path):
    """Write a class, and load it as an agent."""
    made = []

    def agent(body, params=None, path=None, **words):
        (tmp_path / "agent.py").write_text(f"class Mine:\n{indented(body)}")
        made.append(UsersAgent("./agent.py:Mine", str(tmp_path), path, params or {}, **words))
        made[-1].load()
        return made[-1]

    yield agent
    for each in made:
        each.close()


def indented(text):
    return "".join(f"    {line}\n" for line in text.strip().splitlines())


def ask(agent, conversation=TALK):
    with Coroutines() as coroutines:
        return coroutines.start(agent.act(conversation)).result(SECONDS)


def answering(expression):
    return f"async def act(self, messages, tools):\n    return {expression}"


def raising(statement, before=""):
    return f"{before}\ndef inference(self, history):\n    {statement}"


def test_agents_of_agentbench_are_asked_as_they_know_it(agent):
    """`inference(history)` gets turns of user and agent, each a text, and answers a text."""
    answered = ask(agent("def inference(self, history):\n    return repr(history)"))

    assert ast.literal_eval(answered.message["content"]) == [
        {"role": "user", "content": "Be short."},
        {"role": "user", "content": "Which planet?"},
        {"role": "agent", "content": "look({})"},
        {"role": "user", "content": "Jupiter"},
        {"role": "agent", "content": "Wait."},
    ]


ACTS = {
    "async": "async def act(self, messages, tools):",
    "plain": "def act(self, messages, tools):",
    "tools have a default": "def act(self, messages, tools=None):",
}


@pytest.mark.parametrize("how", ACTS)
def test_an_act_gets_messages_and_tools(how, agent):
    """`act` gets OpenAI's messages and tools, which are its own to change."""
    answered = ask(agent(f"{ACTS[how]}\n    return repr((messages, tools)) + str(messages.clear())"))

    assert answered.message["content"] == f"{([*TALK.messages], [*TALK.tools])!r}None"
    assert len(TALK.messages) == 5


def test_an_act_need_not_know_tools(agent):
    """One that takes messages alone is asked so."""
    assert ask(agent("def act(self, messages):\n    return str(len(messages))")).message["content"] == "5"


SEEING = {
    "history": ("def inference(self, history): return 'x'", 1),
    "messages": ("async def act(self, messages): return 'x'", 1),
    "messages and tools": ("async def act(self, messages, tools): return 'x'", 0),
}


@pytest.mark.parametrize("how", SEEING)
def test_tools_that_it_is_not_shown_are_told(how, agent):
    """Once for a task, however often it is asked."""
    body, times = SEEING[how]
    said = []
    loaded = agent(body, say=said.append)
    for _ in range(3):
        ask(loaded)

    assert said == ["./agent.py:Mine is not shown the tools of the task (look): it answers in text"] * times


MESSAGES = {
    "text": ("'go'", {"content": "go"}),
    "an empty text": ("''", {"content": ""}),
    "escapes as they are": (r"'\x1b[2J\x07'", {"content": "\x1b[2J\x07"}),
    "a message": ("{'role': 'assistant', 'content': 'go', 'usage': 1}", {"content": "go"}),
    "without a role": ("{'content': 'go'}", {"content": "go"}),
    "calls": (f"{{'tool_calls': [{CALL!r}]}}", {"content": None, "tool_calls": [CALL]}),
}


@pytest.mark.parametrize("what", MESSAGES)
def test_what_may_be_answered(what, agent):
    """A text or an assistant's message, with calls of tools or without."""
    expression, message = MESSAGES[what]

    assert ask(agent(answering(expression))) == Act({"role": "assistant", **message})


def test_an_act_may_tell_what_it_took(agent):
    """A class that counts its tokens answers with them."""
    told = ask(
        agent(
            "async def act(self, messages, tools):\n"
            "    from pytest_evalrun.agents.protocol import Act\n"
            "    from pytest_evalrun.llm.wire import Usage\n"
            "    return Act({'content': 'go'}, usage=Usage(3, 4), cost=0.5)"
        )
    )

    assert (told.message, told.usage, told.cost) == ({"role": "assistant", "content": "go"}, Usage(3, 4), 0.5)


def test_a_message_of_the_sdk_is_one(agent):
    """What the openai SDK answers can be returned as it is."""
    made = "from openai.types.chat import ChatCompletionMessage as M\n    return M(role='assistant', content='go')"

    assert ask(agent(f"async def act(self, messages, tools):\n    {made}")).message["content"] == "go"


NOTHING = {
    "nothing": ("None", "answered nothing"),
    "bytes": ("b'go'", "answered bytes"),
    "a number": ("3", "answered int"),
    "another's message": ("{'role': 'user', 'content': 'go'}", "role 'user'"),
    "an empty message": ("{'role': 'assistant'}", "without content and tool_calls"),
    "content of a number": ("{'content': 3}", "content of type int"),
    "calls that are none": ("{'tool_calls': ['look']}", "no list of mappings"),
    "what JSON cannot hold": ("{'content': [{1, 2}]}", "JSON cannot hold"),
    "10 MB": ("'x' * 10_000_001", "more than 10 MB"),
    "10 MB in a call": ("{'tool_calls': [{'function': 'x' * 10_000_001}]}", "more than 10 MB"),
}


@pytest.mark.parametrize("what", NOTHING)
def test_what_is_no_answer_fails_the_sample(what, agent):
    """It is told what the class answered, and what is accepted."""
    expression, text = NOTHING[what]
    with pytest.raises(SampleError, match=f"agent.py:Mine .*{text}"):
        ask(agent(answering(expression)))


PACKAGE = {
    "client/__init__.py": "from .agent import AgentClient\n",
    "client/agent.py": (
        "class AgentClient:\n    def __init__(self, *args, **kwargs): pass\n"
        "    def inference(self, history): raise NotImplementedError()\n"
    ),
    "client/agents/__init__.py": "",
    "client/agents/mine.py": (
        "from ...typings import AgentContextLimitException\nfrom ..agent import AgentClient\n"
        "class Mine(AgentClient):\n"
        "    def __init__(self, most, **config):\n        super().__init__(**config)\n        self.most = most\n"
        "    def inference(self, history):\n"
        "        if len(history) > self.most: raise AgentContextLimitException('full')\n"
        "        return f'I received {len(history)} items'\n"
    ),
    "typings/__init__.py": "from .exception import AgentContextLimitException\n",
    "typings/exception.py": "class AgentContextLimitException(Exception): pass\n",
    "__init__.py": "",
}


def test_a_package_as_agentbench_has_it(tmp_path):
    """Its agents are found by their dotted names below the suite, and keep what they import and raise."""
    for name, text in PACKAGE.items():
        path = tmp_path / "src_of_a_bench" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    agent = UsersAgent("src_of_a_bench.client.agents.mine.Mine", str(tmp_path), None, {"most": 5, "name": "mine"})
    agent.load()
    try:
        assert ask(agent).message["content"] == "I received 5 items"
        with pytest.raises(ContextLimit, match="full"):
            ask(agent, Conversation([*TALK.messages, {"role": "user", "content": "Well?"}]))
    finally:
        agent.close()


LIMIT = "class AgentContextLimitException(Exception): pass"
NETWORK = "class AgentNetworkException(Exception): pass"
REFUSED = "class Refused(OSError):\n    status_code = {}"
ERRORS = {
    "AgentBench's limit": (raising("raise self.AgentContextLimitException('full')", LIMIT), ContextLimit),
    "a limit's heir": (
        raising("raise type('Own', (self.AgentContextLimitException,), {})('full')", LIMIT),
        ContextLimit,
    ),
    "the code of an SDK": (
        raising("raise type('Odd', (Exception,), {'code': 'context_length_exceeded'})()"),
        ContextLimit,
    ),
    "AgentBench's network": (raising("raise self.AgentNetworkException('gone')", NETWORK), Passing),
    "a connection": (raising("raise ConnectionResetError('gone')"), Passing),
    "a time-out": (raising("raise TimeoutError('late')"), Passing),
    "too many": (raising("raise self.Refused('slow')", REFUSED.format(429)), Passing),
    "a server's trouble": (raising("raise self.Refused('oh')", REFUSED.format(500)), Passing),
    "a refusal": (raising("raise self.Refused('no')", REFUSED.format(400)), SampleError),
    "retry_on": (raising("raise KeyError('again')"), Passing),
    "its own mistake": (raising("return 1 / 0"), ZeroDivisionError),
    "a file that is not there": (raising("open('/nowhere')"), FileNotFoundError),
    "an end": (raising("raise SystemExit(3)"), SampleError),
    "ours": (raising("from pytest_evalrun.errors import PairError; raise PairError('all of it')"), PairError),
}  # fmt: skip


@pytest.mark.parametrize("how", ["plain", "async"])
@pytest.mark.parametrize("what", ERRORS)
def test_what_a_class_raises(what, how, agent):
    """A limit by its class's name or code, what may pass by what the error says; its own mistakes as they are."""
    body, kind = ERRORS[what]
    body = body if how == "plain" else body.replace("def inference", "async def inference")
    with pytest.raises(kind) as raised:
        ask(agent(body, retry_on=["KeyError"]))

    assert type(raised.value) is kind


OF_THE_SDK = """
def __init__(self, url):
    import openai
    self.client = openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0)

async def act(self, messages, tools):
    answered = await self.client.chat.completions.create(model="ngram", temperature=0, messages=messages[-1:])
    return answered.choices[0].message

async def close(self):
    await self.client.close()
"""


def test_a_class_that_asks_by_the_sdk(agent):
    """Its answers and its errors are those of an endpoint, a full context and a rate among them."""
    with llm_server() as server:
        loaded = agent(OF_THE_SDK, {"url": server.url})
        assert ask(loaded).message["content"]
        for fault, kind in (("context", ContextLimit), ("429", Passing), ("503", Passing), ("cut", Passing)):
            server.faults(**{fault: "all"})
            with pytest.raises(kind):
                ask(loaded)
            server.faults(**{fault: None})
        loaded.close()


def test_when_to_come_back_is_said(agent):
    """An error that says so is none of the retries."""
    with pytest.raises(Passing) as raised:
        ask(agent(raising("raise type('Slow', (Exception,), {'retry_after': 7})()")))

    assert (raised.value.after, raised.value.counts, raised.value.limited) == (7.0, False, True)


CLASSES = {
    "no agent": ("def predict(self, batch):\n    return []", {}, "no method act or inference; it has: predict"),
    "other arguments": ("def __init__(self, name): ...\ndef inference(self, history): ...", {"nam": 1}, "nam"),
    "its making fails": ("def __init__(self): 1 / 0\ndef inference(self, history): ...", {}, "could not be made"),
    "its loading fails": ("def load(self): 1 / 0\ndef inference(self, history): ...", {}, "could not be loaded"),
    "another act": ("def act(self): ...", {}, r"accepted: act\(messages, tools\)"),
    "something to await": ("def act(self, messages):\n    async def a(): ...\n    return a()", {}, "to be awaited"),
}


@pytest.mark.parametrize("what", CLASSES)
def test_what_is_no_agent_ends_the_pair(what, agent):
    """It is told what is wrong with the class before, or when, it is asked first."""
    body, params, text = CLASSES[what]
    with pytest.raises(PairError, match=text):
        ask(agent(body, params))


@pytest.mark.parametrize(("name", "kind"), [("Missing", ConfigError), ("function", PairError)])
def test_what_is_no_class(name, kind, tmp_path):
    """A function has nobody to be, and a name that is not there is a mistake of the suite."""
    (tmp_path / "agent.py").write_text("def function(history): ...\n")
    with pytest.raises(kind, match=name):
        UsersAgent(f"./agent.py:{name}", str(tmp_path), None, {}).load()


def test_it_is_made_as_other_models_are(agent, tmp_path):
    """The model's file comes first, then the parameters by name; load and close are called where they are there."""
    loaded = agent(
        "def __init__(self, path, name): self.said = [str(path), name]\n"
        "async def load(self): self.said.append('load')\n"
        "def close(self): self.said.append('close')\n"
        "def inference(self, history): return ' '.join(self.said)",
        {"name": "me"},
        path=str(tmp_path),
    )
    model = loaded._model

    assert ask(loaded).message["content"] == f"{tmp_path} me load"
    loaded.close()
    assert model.said[-1] == "close"


CONCURRENCIES = {
    "plain": ("def inference(self, history): ...", None, 1),
    "plain, said": ("def inference(self, history): ...", 3, 3),
    "async": ("async def act(self, messages): ...", None, 16),
    "async, said": ("async def act(self, messages): ...", 2, 2),
}


@pytest.mark.parametrize("how", CONCURRENCIES)
def test_how_many_at_once(how, agent):
    """The suite says, or what the class is: a plain method may know no threads."""
    body, said, expected = CONCURRENCIES[how]

    assert agent(body, concurrency=said).concurrency == expected


def test_plain_methods_are_asked_at_once(agent):
    """As many as ask have a thread each: all meet before the first is answered."""
    loaded = agent("def inference(self, history):\n    self.meeting.wait(30)\n    return 'met'", concurrency=4)
    loaded._model.meeting = threading.Barrier(4)
    with Coroutines() as coroutines:
        asked = [coroutines.start(loaded.act(TALK)) for _ in range(4)]
        assert [each.result(SECONDS).message["content"] for each in asked] == ["met"] * 4


def test_who_does_not_answer_holds_up_nobody(agent):
    """A method that never returns keeps neither the closing of the agent nor others from their answers."""
    loaded = agent("def inference(self, history):\n    return self.wait() or 'now'", concurrency=2)
    waiting, done = threading.Event(), threading.Event()
    loaded._model.wait = lambda: (waiting.set(), done.wait(SECONDS))[1]
    try:
        with Coroutines() as coroutines:
            hanging = coroutines.start(loaded.act(TALK))
            assert waiting.wait(SECONDS)
            loaded._model.wait = lambda: None
            assert coroutines.start(loaded.act(TALK)).result(SECONDS).message["content"] == "now"
            loaded.close()
            assert not hanging.done() or hanging.cancelled()
    finally:
        done.set()


def test_it_is_made_of_a_pair(tmp_path):
    """A pair's class is found below the suite, its secrets are read, and its settings are its own."""
    from pytest_evalrun.agents.acting.loading import load_agent
    from pytest_evalrun.suite.settings import Settings

    (tmp_path / "agent.py").write_text(
        "class Mine:\n    def __init__(self, key): self.key = key\n    def inference(self, history): return self.key\n"
    )
    words = {"concurrency": 2, "retry_on": ["KeyError"]}
    settings = Settings(adapter="./agent.py:Mine", params={"key": "${HOME}"}, words=words, format="agentbench")
    pair = SimpleNamespace(settings=settings, root=str(tmp_path), task=SimpleNamespace(path=None))
    loaded = load_agent(pair, SimpleNamespace(event=lambda *_, **__: None, say=print))
    loaded.load()
    try:
        assert ask(loaded).message["content"].startswith("/")
        assert (loaded.concurrency, loaded.budget) == (2, None)
    finally:
        loaded.close()
