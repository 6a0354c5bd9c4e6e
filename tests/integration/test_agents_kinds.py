"""Agents of each kind at one task: behind an endpoint, behind an HTTP API of their own, and as AgentBench's classes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from agentsuite import Agents
from llmserver import llm_server

KEY = "a-key-of-the-http-agent"
SAMPLES, RIGHT, TOO_LONG = 6, 3, 2
THEIRS = """
class Theirs:
    def __init__(self, name, right):
        self.right = right

    def inference(self, history):
        assert [turn["role"] for turn in history] == ["user"], history
        if history[0]["content"].endswith("say 2."):
            raise type("AgentContextLimitException", (Exception,), {})("full")
        return str(self.right)
"""


def models(url: str, **http: Any) -> list[dict[str, Any]]:
    price = {"input": 1, "output": 2}
    spoken = {
        "url": f"{url}/chat/completions",
        "headers": {"Authorization": "Bearer ${AGENT_KEY}"},
        "body": {"model": "ngram", "temperature": 0},
        "prompter": {"name": "role_content_dict", "args": {"agent_role": "assistant"}},
        "return_format": "{response[choices][0][message][content]}",
    }
    return [
        {"name": "http", "adapter": "http", "price": price, "concurrency": 2, **spoken, **http},
        {"name": "openai", "adapter": "openai", "model": "ngram", "base_url": url, "price": price, "concurrency": 2,
         "prompt": {"system": "Answer with a number."}},
        {"name": "theirs", "adapter": "./theirs.py:Theirs", "params": {"name": "theirs", "right": RIGHT}},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    """Says the same number to all, cut short; the first are refused, and of one sample the conversation is too long."""
    faults = {"429": "first:3", "context": f"contains:say {TOO_LONG}.", "length": "all"}
    with llm_server(**{"canned": str(RIGHT), "retry_after": "ms:20", **faults}) as server:
        yield server


@pytest.fixture(scope="module")
def played(tmp_path_factory, server):
    suite = Agents(tmp_path_factory.mktemp("kinds") / "project").write(
        tasks={"count": {"concurrency": 4}}, models=models(server.url)
    )
    (suite.suite / "theirs.py").write_text(THEIRS)
    return suite, suite.run("evals", "-n", "0", AGENT_KEY=KEY)


def test_each_kind_answers_its_task(played):
    """Each sample ends as its task says, by whatever agent it was answered."""
    suite, ran = played

    assert (ran.code, ran.counts) == (0, {"passed": 3}), ran
    for agent in ("http", "openai", "theirs"):
        rewards = {line["index"]: line["prediction"].get("reward") for line in suite.predictions(agent, "count")}
        assert len(rewards) == SAMPLES
        assert [index for index, reward in rewards.items() if reward] == [RIGHT]


def test_a_full_context_is_the_agents_and_a_rate_is_not(played, server):
    """The sample whose conversation is too long ends so; those that were refused a moment before were asked again."""
    suite, _ = played

    for agent in ("http", "openai", "theirs"):
        statuses = [line["prediction"]["status"] for line in suite.predictions(agent, "count")]
        assert statuses[TOO_LONG] == "agent context limit"
        assert Counter(statuses) == {"completed": SAMPLES - 1, "agent context limit": 1}
    assert server.stats()["refused"]["429"] == 3


def test_tokens_and_costs_are_counted(played, server):
    """Whoever tells its tokens has them in its result, with what they cost; and how often it was cut short."""
    suite, _ = played
    usage = [suite.result(agent, "count")["usage"] for agent in ("http", "openai")]

    assert sum(each["input"] for each in usage) == server.stats()["tokens"]["input"]
    assert all(each["cost"] == pytest.approx((each["input"] + 2 * each["output"]) / 1e6) for each in usage)
    assert usage[1]["finish"] == {"length": SAMPLES - 1}


def test_what_was_sent(played, server):
    """A system message comes first where the suite has one; the key is in no file of the run."""
    suite, _ = played
    asked = [[message["role"] for message in request["body"]["messages"]] for request in server.requests()]
    files = [path for path in suite.latest.rglob("*") if path.is_file()]

    assert Counter(map(tuple, asked)).keys() == {("user",), ("system", "user")}
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_what_changes_an_answer_is_asked_again(played, server):
    """Another key, price and number of requests change none; another body does, for this agent alone."""
    suite, _ = played
    server.reset()
    suite.write(tasks={"count": {"concurrency": 4}}, models=models(server.url, concurrency=3, price={"input": 3}))
    same = suite.run("evals", "-n", "0", AGENT_KEY="another-key-of-it")
    assert (same.code, server.stats()["requests"]) == (0, 0), same

    body = {"model": "ngram", "temperature": 0, "seed": 1}
    suite.write(tasks={"count": {"concurrency": 4}}, models=models(server.url, body=body))
    other = suite.run("evals", "-n", "0", AGENT_KEY=KEY)
    assert other.code == 0, other
    assert {request["body"].get("seed") for request in server.requests()} == {1}
    assert server.stats()["answered"] == SAMPLES - 1
