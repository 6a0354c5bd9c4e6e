"""Requests and answers of both dialects, as the tables of their APIs have them."""

from __future__ import annotations

import json

import pytest

from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.protocol import Standing
from pytest_evalrun.agents.statuses import SampleStatus
from pytest_evalrun.agents.wire.dialects import (
    Dialect,
    Interaction,
    Registration,
    StartSample,
    answer,
    dialect_of,
    encode_body,
    grown,
    interact_body,
    raised,
    read_cancel,
    read_heartbeat,
    read_interact,
    read_overall,
    read_start,
    standing_of,
    standing_of_error,
    start_body,
)
from pytest_evalrun.agents.wire.histories import history_of, is_whole, messages_of, new_of

SID = 7
ASKED = {"role": "user", "content": "How many rows?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "sql", "arguments": '{"q": "SELECT 1"}'}}
ACTED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD = {"role": "tool", "tool_call_id": "c1", "content": "1"}
SAID = {"role": "assistant", "content": "SELECT 1"}
TOOL = {"type": "function", "function": {"name": "sql", "parameters": {}}}
IMAGE = [{"type": "text", "text": "See:"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]

# What AgentBench's and AgentRL's workers answer to start_sample and interact, as they were recorded.
V02_BEGUN = {"session_id": 7, "output": {"index": 3, "status": "running", "result": None,
             "history": [{"role": "user", "content": "How many rows?"}]}}  # fmt: skip
V02_DONE = {"session_id": 7, "output": {"index": 3, "status": "completed", "result": {"ok": True}, "history": [
            {"role": "user", "content": "How many rows?"}, {"role": "agent", "content": "SELECT 1"},
            {"role": "user", "content": "1"}]}}  # fmt: skip
RL_BEGUN = {"messages": [ASKED], "tools": [TOOL], "status": "running", "finish": False, "reward": 0, "metric": {}}
RL_DONE = {"session_id": 7, "env_out": {"messages": [TOLD], "tools": [TOOL], "status": "completed", "finish": True,
           "reward": 1.0, "metric": {"score": 1.0}}}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "read"),
    [
        pytest.param({"name": "os-std", "index": 3}, StartSample("os-std", 3), id="v0.2"),
        pytest.param({"name": "os-std", "index": "a"}, StartSample("os-std", "a"), id="an index that is a text"),
        pytest.param({"name": "t", "index": 3, "custom_task": None}, StartSample("t", 3), id="agentrl"),
        pytest.param({"name": "t", "index": -1, "custom_task": {"x": 1}}, StartSample("t", -1, {"x": 1}), id="custom"),
        pytest.param({"name": "t", "index": 0, "wait": 5}, StartSample("t", 0, wait=5.0), id="ours waits"),
    ],
)
def test_a_sample_is_asked_for(body, read):
    """All dialects name the task and the index; what a dialect does not have is left out."""
    assert read_start(body) == read


@pytest.mark.parametrize(
    ("headers", "body", "read"),
    [
        pytest.param(
            {}, {"session_id": SID, "agent_response": {"status": "normal", "content": "SELECT 1"}},
            Interaction(SID, [SAID], "normal", Dialect.V02), id="v0.2",
        ),
        pytest.param(
            {}, {"session_id": SID, "agent_response": {"content": "SELECT 1"}},
            Interaction(SID, [SAID], "normal", Dialect.V02), id="v0.2, normal by itself",
        ),
        pytest.param(
            {}, {"session_id": SID, "agent_response": {"status": "agent context limit", "content": None}},
            Interaction(SID, (), "agent context limit", Dialect.V02), id="v0.2, context limit",
        ),
        pytest.param(
            {"session_id": "7"}, {"messages": [ACTED]}, Interaction(SID, [ACTED], "normal", Dialect.AGENTRL),
            id="agentrl",
        ),
        pytest.param(
            {"session_id": "7"}, {"session_id": SID, "messages": [ACTED], "agent_response": {"content": "x"}},
            Interaction(SID, [ACTED], "normal", Dialect.BOTH), id="ours",
        ),
    ],
)  # fmt: skip
def test_an_agent_answers(headers, body, read):
    """The session is named in the header or the body, and the answer is a text or messages of the assistant."""
    assert read_interact(headers, body) == read


def test_a_worker_of_either_dialect_reads_what_it_is_sent():
    """One body holds what AgentBench's workers read and what AgentRL's read, with calls of tools in words for those."""
    assert start_body(SID, 3) == {"index": 3, "session_id": SID}
    assert start_body(SID, -1, {"x": 1}) == {"index": -1, "session_id": SID, "custom_task": {"x": 1}}
    assert interact_body(SID, [ACTED]) == {
        "session_id": SID,
        "agent_response": {"status": "normal", "content": 'sql({"q": "SELECT 1"})'},
        "messages": [ACTED],
    }
    assert interact_body(SID, (), "agent context limit") == {
        "session_id": SID, "agent_response": {"status": "agent context limit", "content": None}, "messages": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("read", "names"),
    [
        pytest.param(lambda: read_start([]), "not an object", id="no object"),
        pytest.param(lambda: read_start({"index": 1}), "`name`: found nothing", id="no name"),
        pytest.param(lambda: read_start({"name": "t", "index": 1.5}), "`index`: found 1.5", id="odd index"),
        pytest.param(lambda: read_start({"name": "t", "index": True}), "`index`: found True", id="a truth as index"),
        pytest.param(lambda: read_start({"name": "t", "index": 1, "wait": float("nan")}), "`wait`", id="odd wait"),
        pytest.param(lambda: read_start({"name": "t", "index": 1, "custom_task": 3}), "`custom_task`", id="odd custom"),
        pytest.param(lambda: read_cancel({}, None), "not an object", id="no session"),
        pytest.param(lambda: read_cancel({}, {"session_id": "7"}), "`session_id`: found '7'", id="a text as id"),
        pytest.param(lambda: read_cancel({}, {"session_id": 2**63}), "`session_id`", id="an id beyond 64 bits"),
        pytest.param(lambda: read_cancel({"session_id": "-1"}, None), "`session_id`: found '-1'", id="odd header"),
        pytest.param(lambda: read_cancel({"session_id": "7"}, {"session_id": 8}), "header's", id="two ids"),
        pytest.param(lambda: read_interact({}, {"session_id": 7}), "`messages`: found nothing", id="no answer"),
        pytest.param(
            lambda: read_interact({"session_id": "7"}, {"messages": [ASKED]}), "role \"assistant\"", id="another role"
        ),
        pytest.param(
            lambda: read_interact({"session_id": "7"}, {"messages": [{"role": "assistant", "tool_calls": 3}]}),
            "tool_calls`: found 3", id="odd calls",
        ),
        pytest.param(
            lambda: read_interact({}, {"session_id": 7, "agent_response": {"status": "normal"}}),
            "content`: found nothing", id="normal without content",
        ),
        pytest.param(
            lambda: read_interact({}, {"session_id": 7, "agent_response": {"status": "tired"}}),
            "found 'tired'; accepted: normal, cancelled, agent context limit", id="odd status",
        ),
        pytest.param(
            lambda: read_heartbeat({"name": "t", "address": "http://h", "concurrency": 0, "indices": []}),
            "`concurrency`: found 0", id="no slots",
        ),
        pytest.param(
            lambda: read_heartbeat({"name": "t", "address": "http://h", "concurrency": 1, "indices": [1, None]}),
            "`indices`: found nothing", id="odd index of a task",
        ),
        pytest.param(
            lambda: read_heartbeat({"name": "t", "address": "http://h", "concurrency": 1, "indices": ["\ud83d"]}),
            "`indices`: found '\\ud83d'", id="half a character as index",
        ),
        pytest.param(
            lambda: read_heartbeat({"name": "t", "address": "http://h", "concurrency": 1, "indices": [10**30]}),
            "`indices`: found 1000", id="an index beyond 64 bits",
        ),
        pytest.param(lambda: read_start({"name": "\ud83d", "index": 1}), "`name`: found", id="half a character"),
        pytest.param(lambda: read_overall({"name": "t", "results": {}}), "`results`: found {}", id="odd results"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(read, names):
    """A request that does not fit is refused as 422, with the field, what was found there and what is accepted."""
    with pytest.raises(NotGranted) as caught:
        read()

    assert caught.value.status == 422
    assert names in caught.value.text


def test_a_heartbeat():
    """Both dialects send the same heartbeat."""
    body = {"name": "t", "address": "http://h:1/api", "concurrency": 5, "indices": [0, "a"]}

    assert read_heartbeat(body) == Registration("t", "http://h:1/api", 5, [0, "a"])


def test_dialects_are_seen_in_answers():
    """What start_sample answers tells the dialect of who answered."""
    _, ours = answer(Standing(SID, SampleStatus.RUNNING, [ASKED]), 3, [ASKED])

    assert [dialect_of(one) for one in (V02_BEGUN, RL_BEGUN, ours)] == [Dialect.V02, Dialect.AGENTRL, Dialect.BOTH]


def test_a_worker_of_agentbench_serves_both_clients():
    """AgentBench's whole history reaches a client of AgentRL as what is new, and one of AgentBench as it is."""
    begun, done = standing_of(V02_BEGUN, SID), standing_of(V02_DONE, SID)
    headers, first = answer(begun, 3)
    _, last = answer(done, 3, answered="SELECT 1")

    assert headers == {"session_id": "7"}
    assert (first["session_id"], first["output"]) == (V02_BEGUN["session_id"], V02_BEGUN["output"])
    assert last["output"] == V02_DONE["output"]
    assert (first["messages"], last["messages"]) == ([ASKED], [{"role": "user", "content": "1"}])
    assert (first["status"], first["finish"], last["status"], last["finish"]) == ("running", False, "completed", True)
    assert last["env_out"] == {name: last[name] for name in last["env_out"]}
    assert done.replaces and done.messages == [ASKED, SAID, {"role": "user", "content": "1"}]


def test_a_worker_of_agentrl_serves_both_clients():
    """What is new at AgentRL's worker reaches a client of AgentBench with all that was said before, and its reward."""
    begun = standing_of(RL_BEGUN, SID)
    conversation = grown((), begun)
    _, first = answer(begun, 3, conversation)
    done = standing_of(RL_DONE, SID, [*conversation, ACTED])
    conversation = grown([*conversation, ACTED], done)
    _, last = answer(done, 3, conversation)

    assert (first["messages"], first["tools"], last["messages"], last["reward"]) == ([ASKED], [TOOL], [TOLD], 1.0)
    assert last["metrics"] == last["metric"] == {"score": 1.0}
    assert first["output"]["history"] == [ASKED]
    assert last["output"] == {
        "index": 3, "status": "completed", "result": {"reward": 1.0, "metrics": {"score": 1.0}},
        "history": [ASKED, {"role": "agent", "content": 'sql({"q": "SELECT 1"})'}, {"role": "user", "content": "1"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    "standing",
    [
        pytest.param(Standing(SID, SampleStatus.RUNNING, [ASKED], tools=[TOOL]), id="what is new"),
        pytest.param(
            Standing(SID, SampleStatus.COMPLETED, [ASKED], True, [ASKED], result={"a": [1]}, reward=0.5,
                     metrics={"x": 1}), id="the whole",
        ),
        pytest.param(Standing(SID, SampleStatus.CANCELLED), id="cancelled"),
    ],
)  # fmt: skip
def test_what_we_write_we_read(standing):
    """Our own client and controller lose nothing of where a session stands."""
    _, body = answer(standing, 3, [ASKED])
    read = standing_of(json.loads(encode_body(body)), SID)

    for name in ("session_id", "status", "replaces", "result", "reward", "metrics"):
        assert getattr(read, name) == getattr(standing, name)
    assert (list(read.messages), list(read.tools)) == (list(standing.messages), list(standing.tools))


def test_a_task_that_raised():
    """AgentBench's worker tells it as 501, its controller wraps that as text, and it is a standing for all others."""
    standing = Standing(SID, SampleStatus.TASK_ERROR, history=[ASKED], result="Traceback …")
    error = raised(standing, 3)
    text = error.text.removeprefix("Error: Worker returned error\n")

    assert (error.status, error.text != text) == (501, True)
    assert standing_of_error(501, json.loads(text), SID).result == "Traceback …"
    assert standing_of_error(500, json.loads(text), SID) is None
    assert standing_of_error(501, {"detail": "Error: no"}, SID) is None


def test_a_cancelled_session_is_a_task_error_of_agentbench():
    """AgentBench has no word for a session that was cancelled; its clients read one that they know."""
    _, body = answer(Standing(SID, SampleStatus.CANCELLED, reward=0.0), 3)

    assert (body["status"], body["output"]["status"]) == ("cancelled", "task error")
    assert body["output"]["result"] is None


@pytest.mark.parametrize(
    "payload",
    [
        None, [], {}, "x", {"session_id": 7}, {"output": {}}, {"output": 3}, {"env_out": 3},
        {"output": {"status": "tired"}}, {"output": {"status": "running", "history": [1]}},
        {"output": {"status": "running", "history": [{"role": "user"}]}},
        {"messages": [{"content": "x"}], "status": "running"}, {"messages": [], "status": {}},
        {"session_id": SID + 1, "output": {"index": 0, "status": "completed", "history": []}},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_answer(payload):
    """What a worker answers is an answer of one of the dialects, or an error of the worker, told as AgentBench does."""
    with pytest.raises(NotGranted, match=r"^Error: Worker returned error\n") as caught:
        standing_of(payload, SID)

    assert caught.value.status == 400


def test_agentrl_tells_an_end_without_a_status():
    """Where an answer has no status, `finish` says whether the sample goes on."""
    assert standing_of({"messages": [ASKED], "finish": False}, SID).status is SampleStatus.RUNNING
    assert standing_of({"messages": [], "finish": True}, SID).status is SampleStatus.UNKNOWN


def test_a_client_of_agentrl_is_never_told_nothing():
    """While a sample goes on there are messages, were it all of them: AgentRL's client takes no answer without."""
    history = [ASKED, {"role": "agent", "content": "SELECT 1"}]
    running = standing_of({"output": {"status": "running", "history": history}}, SID)
    finished = standing_of({"output": {"status": "completed", "history": history}}, SID)

    assert answer(running, 3, answered="SELECT 1")[1]["messages"] == [ASKED, SAID]
    assert answer(finished, 3, answered="SELECT 1")[1]["messages"] == []


def test_histories_and_messages():
    """A history in messages is the same history again; images stay, system and tools speak as the user."""
    history = [{"role": "user", "content": "a"}, {"role": "agent", "content": "b"}, {"role": "user", "content": IMAGE}]

    assert history_of(messages_of(history)) == history
    assert messages_of([{"role": "system", "content": "x"}]) == [{"role": "system", "content": "x"}]
    assert history_of([{"role": "system", "content": [{"type": "text", "text": "p"}]}, TOLD]) == [
        {"role": "user", "content": "p"}, {"role": "user", "content": "1"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answered", "new"),
    [
        pytest.param(None, "abcde", id="at the start, few shots too"),
        pytest.param("d", "e", id="after the answer"),
        pytest.param("b", "cde", id="after an answer that the task went on from itself"),
        pytest.param("gone", "e", id="after the agent's last words, where the answer was left out"),
    ],
)
def test_what_is_new_in_a_history(answered, new):
    """New is what follows on the agent's answer, wherever in a shortened history that is."""
    roles = ("user", "agent", "user", "agent", "user")
    history = [{"role": role, "content": text} for role, text in zip(roles, "abcde", strict=True)]

    assert "".join(item["content"] for item in new_of(history, answered)) == new


def test_a_conversation_that_is_told_again():
    """Messages that begin with a system message, or with all that was said, are the whole conversation."""
    before = [ASKED, SAID]

    assert is_whole([{"role": "system", "content": "x"}, ASKED], before)
    assert is_whole([*before, TOLD], before)
    assert not is_whole([TOLD], before)
    assert not is_whole([{"role": "system", "content": "x"}, ASKED], ())
