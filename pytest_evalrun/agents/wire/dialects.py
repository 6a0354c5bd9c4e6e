"""The two dialects that task servers speak, on one port: what is asked, what is answered, and how either is read.

AgentBench (v0.2) has the session's id in the body, an agent's answer as text, and the whole history in each answer,
below ``output``. AgentRL has the id in a header ``session_id``, messages as OpenAI's chats have them, and only what is
new in each answer: at its top at a controller, below ``env_out`` in the answers of its workers. Requests and answers of
ours are the union of both, so that either side reads its own; which dialect a worker has is seen in what its first
``start_sample`` answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.protocol import Standing
from pytest_evalrun.agents.statuses import SampleStatus
from pytest_evalrun.agents.wire.histories import history_of, is_whole, messages_of, new_of, said_by
from pytest_evalrun.datasets.values import is_writable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_evalrun.agents.protocol import Index, Message

SESSION_HEADER = "session_id"
# A header of ours in the answer to start_sample: seconds until there was a slot.
WAITED_HEADER = "waited"
# What an agent may say of itself instead of an answer.
AGENT_STATUSES = ("normal", "cancelled", "agent context limit")
_MOST_SHOWN = 2_000
# Sessions are counted in 64 bits.
_LARGEST_ID = 2**63 - 1


class Dialect(str, Enum):  # noqa: UP042 - written as its value on every Python
    """Who is spoken with; BOTH are ours."""

    V02 = "v0.2"
    AGENTRL = "agentrl"
    BOTH = "both"


@dataclass(frozen=True)
class StartSample:
    """A client wants to begin a sample, and waits up to ``wait`` seconds for a free slot."""

    name: str
    index: Index
    custom_task: Mapping[str, Any] | None = None
    wait: float = 0.0


@dataclass(frozen=True)
class Interaction:
    """What an agent answers: assistant messages, or none and its ``status``; ``dialect`` is the client's."""

    session_id: int
    messages: Sequence[Message]
    status: str
    dialect: Dialect

    @property
    def text(self) -> str:
        """What AgentBench's history has as the agent's words."""
        return answered_text(self.messages, self.status)


@dataclass(frozen=True)
class Registration:
    """A worker's heartbeat."""

    name: str
    address: str
    concurrency: int
    indices: Sequence[Index]


@dataclass(frozen=True)
class OverallRequest:
    """The results of samples, of which a task shall make its own score; as they came."""

    name: str
    results: Sequence[Any]


def read_start(body: Any) -> StartSample:
    """Read ``start_sample`` at a controller. Raises NotGranted (422)."""
    wait = _field("start_sample", body, "wait", (int, float), default=0.0)
    if not 0 <= wait <= 3600:
        raise _unfit("start_sample", "wait", wait, "seconds from 0 to 3600")
    return StartSample(
        _field("start_sample", body, "name", (str,)),
        _field("start_sample", body, "index", (int, str)),
        _field("start_sample", body, "custom_task", (dict,), default=None),
        float(wait),
    )


def read_session(call: str, headers: Mapping[str, str], body: Any) -> int:
    """Read which session a call is for, in its header or its body. Raises NotGranted (422)."""
    told = headers.get(SESSION_HEADER)
    if told is None:
        found: int = _field(call, body, "session_id", (int,))
    else:
        found = int(told) if told.isascii() and told.isdigit() and len(told) < 20 else -1
        if isinstance(body, dict) and body.get("session_id", found) != found:
            raise _unfit(call, "session_id", body["session_id"], f"the header's, which is {told!r}")
    if not 0 <= found <= _LARGEST_ID:
        raise _unfit(call, "session_id", told or found, "the number of a session")
    return found


def read_cancel(headers: Mapping[str, str], body: Any) -> int:
    """Read ``cancel``: the session's id. Raises NotGranted (422)."""
    return read_session("cancel", headers, body)


def read_interact(headers: Mapping[str, str], body: Any) -> Interaction:
    """Read ``interact`` at a controller or a worker. Raises NotGranted (422)."""
    session_id = read_session("interact", headers, body)
    response = _field("interact", body, "agent_response", (dict,), default=None)
    messages = _field("interact", body, "messages", (list,), default=None)
    if messages:
        messages = [_assistant(message) for message in messages]
    if response is None:
        if not messages:
            raise _unfit("interact", "messages", messages, "messages of the assistant; or `agent_response`")
        return Interaction(session_id, messages, "normal", Dialect.AGENTRL)
    status = response.get("status", "normal")
    if status not in AGENT_STATUSES:
        raise _unfit("interact", "agent_response.status", status, ", ".join(AGENT_STATUSES))
    dialect = Dialect.BOTH if "messages" in body else Dialect.V02
    if status != "normal":
        return Interaction(session_id, (), status, dialect)
    content = response.get("content")
    if not messages and not isinstance(content, str):
        raise _unfit("interact", "agent_response.content", content, "a text where the status is normal")
    return Interaction(session_id, messages or [{"role": "assistant", "content": content}], status, dialect)


def read_heartbeat(body: Any) -> Registration:
    """Read ``receive_heartbeat`` at a controller. Raises NotGranted (422)."""
    call = "receive_heartbeat"
    indices = _field(call, body, "indices", (list,))
    odd = [index for index in indices if not is_index(index)]
    if odd:
        raise _unfit(call, "indices", odd[0], "numbers and texts")
    concurrency = _field(call, body, "concurrency", (int,))
    if not 1 <= concurrency <= _LARGEST_ID:
        raise _unfit(call, "concurrency", concurrency, "1 or more")
    name, address = (_field(call, body, key, (str,)) for key in ("name", "address"))
    return Registration(name, address, concurrency, indices)


def is_index(value: Any) -> bool:
    """Whether a sample may be called so: a text, or a number that JSON of all sides can write."""
    return is_writable(value) if type(value) is str else type(value) is int and abs(value) <= _LARGEST_ID


def read_overall(body: Any) -> OverallRequest:
    """Read ``calculate_overall``. Raises NotGranted (422)."""
    name = _field("calculate_overall", body, "name", (str,))
    return OverallRequest(name, _field("calculate_overall", body, "results", (list,)))


def answered_text(messages: Sequence[Message], status: str = "normal") -> str:
    """Write an agent's messages as AgentBench's history has them: one text, or the status where there is none."""
    texts = [said_by(message) for message in messages]
    return "\n".join(text if isinstance(text, str) else str(text) for text in texts) if texts else status


def start_body(session_id: int, index: Index, custom_task: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write what a worker of either dialect is asked to begin."""
    body: dict[str, Any] = {"index": index, "session_id": session_id}
    return body if custom_task is None else {**body, "custom_task": custom_task}


def interact_body(session_id: int, messages: Sequence[Message], status: str = "normal") -> dict[str, Any]:
    """Write an agent's answer for a worker or a controller of either dialect.

    A worker of AgentRL has no word for an agent that cannot go on: its session is cancelled instead.
    """
    content = answered_text(messages, status) if status == "normal" else None
    response = {"status": status, "content": content}
    return {"session_id": session_id, "agent_response": response, "messages": list(messages) or None}


def answer(
    standing: Standing, index: Index, conversation: Sequence[Message] = (), answered: str | None = None
) -> tuple[dict[str, str], dict[str, Any]]:
    """Write where a session stands, for clients of either dialect: headers, and the union of both bodies.

    ``conversation`` is the whole one, needed where the standing has no history of its own; ``answered`` is the text
    that the agent has just given (`Interaction.text`), None for the answer to ``start_sample``. ``replaces`` is a word
    of ours: the whole conversation is the history, whatever came before it.
    """
    history = standing.history or history_of(conversation)
    messages: Sequence[Message] = standing.messages
    finished = standing.status is not SampleStatus.RUNNING
    if standing.replaces and standing.history:
        new = messages_of(new_of(standing.history, answered))
        # A client of AgentRL takes no answer without messages while its sample goes on.
        messages = new if new or finished else messages
    out = {
        "messages": messages,
        "tools": standing.tools,
        "status": standing.status,
        "finish": finished,
        "reward": standing.reward,
        "metrics": standing.metrics,
        "metric": standing.metrics,
        "result": standing.result,
    }
    body = {"session_id": standing.session_id, "output": _output(standing, index, history), **out, "env_out": out}
    return {SESSION_HEADER: str(standing.session_id)}, {**body, "replaces": standing.replaces}


def raised(standing: Standing, index: Index, conversation: Sequence[Message] = ()) -> NotGranted:
    """What a client of AgentBench's is told, as its controller tells it, where a task raised while it was answered."""
    output = _output(standing, index, standing.history or history_of(conversation))
    detail = {"detail": {"session_id": standing.session_id, "output": output}}
    return NotGranted(501, f"Error: Worker returned error\n{encode_body(detail).decode()}")


def encode_body(value: Any) -> bytes:
    """Write a body of JSON."""
    import json

    import orjson

    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # numbers beyond 64 bits, half a character
        return json.dumps(value).encode()


def dialect_of(payload: Any) -> Dialect:
    """Tell a worker's dialect, or a controller's, by what its ``start_sample`` answers."""
    has_output = isinstance(payload, dict) and isinstance(payload.get("output"), dict)
    if not has_output:
        return Dialect.AGENTRL
    return Dialect.BOTH if isinstance(payload.get("env_out", payload.get("messages")), dict | list) else Dialect.V02


def standing_of(payload: Any, session_id: int, before: Sequence[Message] = ()) -> Standing:
    """Read what a worker or a controller of either dialect answers.

    ``before`` is the conversation up to now, the agent's last answer with it, where it is known: an AgentRL task may
    say all of it again. Raises NotGranted (400) for what is no answer, or one for another session.
    """
    out, output = _bodies(payload)
    if str(payload.get("session_id", session_id)) != str(session_id):
        raise NotGranted(
            400, f"Error: Worker returned error\nasked for session {session_id}, answered {_short(payload)}"
        )
    history, messages = output.get("history") or (), out.get("messages") or ()
    if not _are_items(history, "content") or not _are_items(messages):
        raise _odd(payload)
    replaces = bool(history) and (not out or out.get("replaces", payload.get("replaces")) is True)
    standing = Standing(
        session_id, _status(payload, out, output), messages_of(history) if replaces else messages, replaces, history,
        tools=_or(out.get("tools"), list, ()), result=out.get("result", output.get("result")),
        reward=_or(out.get("reward"), int | float, None),
        metrics=_or(out.get("metrics", out.get("metric")), dict, None),
    )  # fmt: skip
    return standing if history else replace(standing, replaces=is_whole(messages, before))


def standing_of_error(status: int, payload: Any, session_id: int) -> Standing | None:
    """Read a 501 of an AgentBench worker: the task raised, and its traceback is the result. None for all else."""
    detail = payload.get("detail") if isinstance(payload, dict) else None
    if status != 501 or not isinstance(detail, dict) or not isinstance(detail.get("output"), dict):
        return None
    return standing_of(detail, session_id)


def grown(before: Sequence[Message], standing: Standing) -> list[Message]:
    """The whole conversation now; ``before`` has the agent's last answer at its end."""
    return list(standing.messages) if standing.replaces else [*before, *standing.messages]


def _output(standing: Standing, index: Index, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What AgentBench calls the output of a task.

    It has no word for a session that was cancelled; a task of AgentRL tells its end in reward and metrics.
    """
    status = SampleStatus.TASK_ERROR if standing.status is SampleStatus.CANCELLED else standing.status
    result = standing.result
    has_ended = standing.status is not SampleStatus.RUNNING and not standing.status.is_fault
    if result is None and has_ended and standing.reward is not None:
        result = {"reward": standing.reward, "metrics": standing.metrics}
    return {"index": index, "status": status, "result": result, "history": history}


def _assistant(message: Any) -> Message:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        raise _unfit("interact", "messages", message, 'messages of the role "assistant"')
    if not isinstance(message.get("tool_calls") or [], list):
        raise _unfit("interact", "messages.tool_calls", message["tool_calls"], "a list of calls")
    return message


def _bodies(payload: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The body of AgentRL in an answer, and that of AgentBench; empty where it has none. NotGranted without either."""
    if isinstance(payload, dict):
        out = payload.get("env_out", payload if {"messages", "finish"} & payload.keys() else {})
        output = payload.get("output", {})
        if isinstance(out, dict) and isinstance(output, dict) and (out or output):
            return out, output
    raise _odd(payload)


def _status(payload: Any, out: dict[str, Any], output: dict[str, Any]) -> SampleStatus:
    """How the session stands; AgentRL may say no more than whether it has ended."""
    told = out.get("status") or output.get("status")
    if told is None and isinstance(out.get("finish"), bool):
        told = SampleStatus.UNKNOWN if out["finish"] else SampleStatus.RUNNING
    try:
        return SampleStatus(told)
    except ValueError:
        raise _odd(payload) from None


def _are_items(items: Any, *needed: str) -> bool:
    """Whether they are messages, or items of a history, with what these need besides a role."""
    return isinstance(items, list | tuple) and all(
        isinstance(item, dict) and isinstance(item.get("role"), str) and item.keys() >= set(needed) for item in items
    )


def _or(value: Any, kind: Any, otherwise: Any) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else otherwise


_NEEDED = object()


def _field(call: str, body: Any, name: str, kinds: tuple[type, ...], *, default: Any = _NEEDED) -> Any:
    """A field of a request, of one of these kinds; null is as good as none where there is a default."""
    if not isinstance(body, dict):
        raise NotGranted(422, f"Error: {call}: the body is not an object of JSON")
    value = body.get(name)
    if value is None and default is not _NEEDED:
        return default
    if not isinstance(value, kinds) or isinstance(value, bool):
        words = {int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "an object"}
        raise _unfit(call, name, value, " or ".join(words[kind] for kind in kinds))
    if isinstance(value, str) and not is_writable(value):
        raise _unfit(call, name, value, "a text of whole characters")
    return value


def _unfit(call: str, name: str, found: Any, accepted: str) -> NotGranted:
    return NotGranted(422, f"Error: {call}: `{name}`: found {_short(found)}; accepted: {accepted}")


def _odd(payload: Any) -> NotGranted:
    return NotGranted(400, f"Error: Worker returned error\n{_short(payload)}")


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
