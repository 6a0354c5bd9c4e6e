"""What sums ask, what is right, and an agent that answers by calling the tool; it cannot count to seven."""

from __future__ import annotations

import json

# The last one raises.
INDICES = [0, 1, 2, 3, "four", 99]
_ADDENDS = {"four": (4, 5), **{number: (number, number + 1) for number in range(4)}}
TOOL = {
    "type": "function",
    "function": {
        "name": "answer",
        "description": "Give the answer",
        "parameters": {"type": "object", "properties": {"value": {"type": "integer"}}, "required": ["value"]},
    },
}
# How each sample ends: status, and reward.
ENDS = {0: ("completed", 1.0), 1: ("completed", 1.0), 2: ("completed", 1.0), 3: ("completed", 0.0),
        "four": ("completed", 1.0), 99: ("task error", 0.0)}  # fmt: skip


def first_question(index):
    one, other = _ADDENDS[index]
    return f"What is {one} + {other}?"


def second_question(index, call_id):
    """As messages: what the tool says, and the question; once in parts."""
    asked = "And twice that?"
    content = [{"type": "text", "text": asked}] if index == 2 else asked
    return {"role": "tool", "tool_call_id": call_id, "content": "noted"}, {"role": "user", "content": content}


def is_right(index, first, second):
    total = sum(_ADDENDS[index])
    return (first, second) == (total, 2 * total)


def answered(messages):
    """What the agent says to these messages: an assistant's message."""
    asked = next(message["content"] for message in reversed(messages) if message["role"] == "user")
    asked = asked if isinstance(asked, str) else asked[0]["text"]
    if asked.startswith("What is"):
        one, other = (int(word) for word in asked.removeprefix("What is").rstrip("?").split("+"))
        value = one + other if one + other != 7 else 8
    elif asked.startswith("And twice"):
        calls = next(message["tool_calls"] for message in reversed(messages) if message.get("tool_calls"))
        value = 2 * json.loads(calls[0]["function"]["arguments"])["value"]
    else:
        return {"role": "assistant", "content": "Hi."}
    function = {"name": "answer", "arguments": json.dumps({"value": value})}
    call = {"id": f"call{len(messages)}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}
