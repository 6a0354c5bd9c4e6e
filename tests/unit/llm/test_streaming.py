"""Answers that come piece by piece, however they are cut."""

from __future__ import annotations

import json

import pytest

from pytest_evalrun.errors import SampleError
from pytest_evalrun.llm.streaming import StreamedReply
from pytest_evalrun.llm.wire import Usage


def event(delta=None, end=None, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": end}]
    return b"data: " + json.dumps({"id": "c", "model": "m", "choices": choices, **more}, ensure_ascii=False).encode()


USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
LINES = [
    event({"role": "assistant", "content": ""}),
    event({"content": "naïve "}),
    b": keep-alive",
    event({"reasoning": "hm"}),
    event({"content": "日本 🙂"}),
    event({}, "stop"),
    event(usage=USAGE),
    b"data: [DONE]",
]


def streamed(data, step=1 << 20):
    reply = StreamedReply()
    for place in range(0, len(data), step):
        for _ in reply.feed(data[place : place + step]):
            pass
    return reply


@pytest.mark.parametrize("step", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("gap", [b"\n\n", b"\r\n\r\n", b"\n"], ids=["lf", "crlf", "one"])
def test_wherever_it_is_cut(gap, step):
    """Chunks end anywhere, in the middle of a character too, and the answer is the same."""
    reply = streamed(gap.join(LINES) + gap, step)

    assert reply.is_whole
    whole = reply.reply()
    assert (whole.text, whole.finish_reason, whole.reasoning) == ("naïve 日本 🙂", "stop", "hm")
    assert (whole.usage, whole.model, whole.request_id) == (Usage(3, 2), "m", "c")


ENDS = {
    "nothing": ([], False),
    "no end": (LINES[:3], False),
    "an end without a mark": (LINES[:6], True),
    "a mark without an end": ([*LINES[:3], LINES[-1]], True),
    "a damaged event": ([*LINES[:3], b'data: {"cho', *LINES[4:]], False),
}


@pytest.mark.parametrize("what", ENDS)
def test_whether_it_is_whole(what):
    """A stream that was cut is no answer, nor is one of which a piece is damaged."""
    lines, whole = ENDS[what]

    assert streamed(b"\n\n".join([*lines, b""])).is_whole is whole


def test_an_empty_text_is_a_text():
    """A model that says nothing has answered; one that calls a tool has not."""
    said = {"role": "assistant", "content": ""}

    assert streamed(b"\n".join([event(said), event({}, "stop"), b""])).reply().text == ""
    with pytest.raises(SampleError, match="tool_calls"):
        streamed(b"\n".join([event(said), event({}, "tool_calls"), b""])).reply()


def call(index=0, name=None, arguments=None, **more):
    function = {"name": name, "arguments": arguments}
    return event({"tool_calls": [{"index": index, "function": function, **more}]})


def wanted(name, arguments, text):
    return {"id": name, "type": "function", "function": {"name": text, "arguments": arguments}}


TOOLS = {
    "in turn": (
        [call(0, "look", "", id="a", type="function"), call(0, arguments='{"x"'), call(1, "go", "{}", id="b"),
         call(0, arguments=": 1}")],
        [wanted("a", '{"x": 1}', "look"), wanted("b", "{}", "go")],
    ),
    "all at one place": (
        [call(0, "look", "{}", id="a"), call(0, "go", "{}", id="b")],
        [wanted("a", "{}", "look"), wanted("b", "{}", "go")],
    ),
    "a name in each piece": (
        [call(0, "look", "{", id="a"), call(0, "look", "}", id="a")],
        [wanted("a", "{}", "look")],
    ),
    "what else a call has": (
        [call(0, "look", "{}", id="a", extra_content={"signature": "s"})],
        [{**wanted("a", "{}", "look"), "extra_content": {"signature": "s"}}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TOOLS)
def test_calls_of_tools_are_put_together(what):
    """The arguments of each call come piece by piece, and are whole in the answer of an agent."""
    lines, calls = TOOLS[what]
    reply = streamed(b"\n".join([*lines, event({}, "tool_calls"), b""]))

    assert reply.has_begun
    assert [*reply.reply(any_message=True).tool_calls] == calls


def test_odd_events_hurt_nobody():
    """What is no choice, no text and no name is passed over."""
    odd = [
        b"data: []",
        b"data: 3",
        event(model=5, id=None),
        b'data: {"choices": [null]}',
        b'data: {"choices": 1}',
        b"x",
    ]
    reply = streamed(b"\n".join([*odd, *LINES, b""])).reply()

    assert (reply.text, reply.model) == ("naïve 日本 🙂", "m")


def test_its_size_is_that_of_its_text():
    """What events consist of besides their text is not kept, so that a long answer is not taken for a huge one."""
    reply = streamed(b"\n".join([event({"content": "word "})] * 1000) + b"\n")

    assert reply.size == 5000
    assert streamed(b"data: " + b"x" * 1000).size == 1006
