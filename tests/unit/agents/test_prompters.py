"""How a conversation is put into a request, and a text is taken out of an answer."""

from __future__ import annotations

import pytest

from pytest_evalrun.agents.acting.formats import ValueFormat
from pytest_evalrun.agents.acting.prompters import mistake_in_prompter, prompter_of
from pytest_evalrun.errors import ConfigError, PairError, SampleError

HISTORY = [
    {"role": "user", "content": "Which {planet}?"},
    {"role": "agent", "content": "Wait."},
    {"role": "user", "content": "Well?"},
]
PROMPTS = {
    "nothing said": (
        None,
        {
            "messages": [
                {"role": "user", "content": "Which {planet}?"},
                {"role": "agent", "content": "Wait."},
                {"role": "user", "content": "Well?"},
            ]
        },
    ),
    "the words of a chat": (
        {"name": "role_content_dict", "args": {"agent_role": "assistant"}},
        {
            "messages": [
                {"role": "user", "content": "Which {planet}?"},
                {"role": "assistant", "content": "Wait."},
                {"role": "user", "content": "Well?"},
            ]
        },
    ),
    "other words": (
        {
            "name": "role_content_dict",
            "args": {"message_key": "m", "role_key": "r", "content_key": "c", "user_role": "U", "agent_role": "A"},
        },
        {"m": [{"r": "U", "c": "Which {planet}?"}, {"r": "A", "c": "Wait."}, {"r": "U", "c": "Well?"}]},
    ),
    "a batch": (
        {"name": "batched_role_content_dict", "args": {"message_key": "m", "role_key": "r", "content_key": "c"}},
        {"m": [[{"r": "user", "c": "Which {planet}?"}, {"r": "agent", "c": "Wait."}, {"r": "user", "c": "Well?"}]]},
    ),
    "a text": (
        "prompt_string",
        {"prompt": "USER: Which {planet}?\n\nAGENT: Wait.\n\nUSER: Well?\n\nAGENT:"},
    ),
    "a text in other words": (
        {
            "name": "prompt_string",
            "args": {"prefix": "<s>", "suffix": ">", "user_format": "{{U}} {content}|", "agent_format": "A|",
                     "prompt_key": "text"},
        },
        {"text": "<s>{U} Which {planet}?|A|{U} Well?|>"},
    ),
    "claude": (
        {"name": "claude", "args": None},
        {"prompt": "Human: Which {planet}?\n\nAssistant: Wait.\n\nHuman: Well?\n\nAssistant:"},
    ),
    "palm": (
        "palm",
        {
            "instances": [
                {
                    "messages": [
                        {"author": "user", "content": "Which {planet}?"},
                        {"author": "bot", "content": "Wait."},
                        {"author": "user", "content": "Well?"},
                    ]
                }
            ]
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PROMPTS)
def test_agentbenchs_prompters(what):
    """By its name and arguments a prompter makes of a history what AgentBench's makes of it."""
    spec, fields = PROMPTS[what]

    assert mistake_in_prompter(spec) is None
    assert prompter_of(spec, "")(HISTORY) == fields


MISTAKES = {
    "an unknown name": (
        "chat",
        "prompter",
        "found the unknown name 'chat'; accepted: batched_role",
    ),
    "an unknown argument": (
        {"name": "batched_role_content_dict", "args": {"agent": "a"}},
        "prompter.args.agent",
        "no such argument; did you mean",
    ),
    "an argument of one without": ({"name": "claude", "args": {"x": "y"}}, "prompter.args.x", "accepted: none"),
    "no text": (
        {"name": "role_content_dict", "args": {"agent_role": 3}},
        "prompter.args.agent_role",
        "found 3; accepted: text",
    ),
    "another field": (
        {"name": "prompt_string", "args": {"user_format": "{text}"}},
        "prompter.args.user_format",
        "found {text}; accepted: text with {content}",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_told_where_they_stand(what):
    """A name or an argument that no prompter has is told with those that there are."""
    spec, key, text = MISTAKES[what]
    found = mistake_in_prompter(spec)

    assert found is not None
    assert found[0] == key
    assert text in found[1]


USERS = """
def made(key="text"):
    def prompter(history):
        return {key: [turn["content"] for turn in history]}
    return prompter

def itself(history, key="text"):
    history.reverse()
    return {key: [turn["content"] for turn in history]}

def raises(history): raise KeyError("planet")
def no_dict(history): return "planet"
def no_function(): return 3
def two(history, other): return {}
thing = 3
"""


@pytest.fixture
def of_the_user(tmp_path):
    (tmp_path / "mine.py").write_text(USERS)

    def of_the_user(name, **args):
        spec = {"name": f"./mine.py:{name}", "args": args}
        assert mistake_in_prompter(spec) is None
        return prompter_of(spec, str(tmp_path))(HISTORY)

    return of_the_user


@pytest.mark.parametrize(("name", "last"), [("made", "Well?"), ("itself", "Which {planet}?")])
def test_the_users_own_prompter(name, last, of_the_user):
    """A function that makes one, as AgentBench's do, or is one, each with its arguments; the history is its own."""
    assert of_the_user(name, key="m")["m"][-1] == last
    assert of_the_user(name)["text"][-1] == last
    assert HISTORY[-1]["content"] == "Well?"


WRONG = {
    "raises": (SampleError, "mine.py:raises: KeyError: 'planet'"),
    "no_dict": (SampleError, "mine.py:no_dict gave str; accepted: a dict"),
    "no_function": (PairError, "mine.py:no_function gave a int; accepted: a function"),
    "two": (PairError, r"mine.py:two\(history, other\) does not fit"),
    "thing": (PairError, "mine.py:thing is a int; accepted: a function"),
    "nowhere": (ConfigError, "nowhere"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_prompter(name, of_the_user):
    """What it raises is one sample's; what is none at all ends the pair."""
    kind, text = WRONG[name]
    with pytest.raises(kind, match=text):
        of_the_user(name)


ANSWER = {"choices": [{"message": {"content": "Jupiter", "parts": ["a", "b"], "none": None}}], "n": 3, "yes": True}
FORMATS = {
    "AgentBench's own": ("{response[choices][0][message][content]}", "Jupiter"),
    "text around it": ("<{response[n]}> {{response}}", "<3> {response}"),
    "several": ("{response[choices][0][message][parts][0]}{response[choices][0][message][parts][-1]}", "ab"),
    "a truth": ("{response[yes]}", "True"),
    "null is no text": ("{response[choices][0][message][none]}", ""),
    "all of it": ("{response}", str(ANSWER)),
    "none of it": ("done", "done"),
}


@pytest.mark.parametrize("what", FORMATS)
def test_a_format_takes_a_text_out_of_an_answer(what):
    """Keys and places are followed as Python's formats follow them."""
    written, text = FORMATS[what]

    assert ValueFormat(written, "response", "return_format").fill(ANSWER) == text


def test_a_key_of_digits_is_a_key():
    """In an object a number is a name."""
    assert ValueFormat("{response[0]}", "response", "return_format").fill({"0": "zero"}) == "zero"


MISSING = {
    "a key": ("{response[choices][0][message][text]}", "no text in response[choices][0][message], which is an object"),
    "a place": ("{response[choices][1]}", "no 1 in response[choices], which is a list of 1"),
    "a key of a list": ("{response[choices][message]}", "no message in response[choices], which is a list of 1"),
    "a place of a text": ("{response[choices][0][message][content][0]}", "which is 'Jupiter'"),
    "below null": ("{response[choices][0][message][none][x]}", "which is null"),
    "a number that is too long": ("{response[choices][99999999999]}", "no 99999999999 in response[choices]"),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_is_told_with_its_path(what):
    """The way to it is told as far as it leads, and what is there."""
    written, text = MISSING[what]
    with pytest.raises(SampleError) as raised:
        ValueFormat(written, "response", "return_format").fill(ANSWER)

    assert text in str(raised.value)


@pytest.mark.parametrize(
    "written",
    [
        "{response.text}",
        "{response[a].__class__}",
        "{response.__class__.__init__.__globals__}",
        "{0}",
        "{}",
        "{other}",
        "{responses}",
        "{response!r}",
        "{response:>1000000000}",
        "{response[a]:{response}}",
        "{response[a}",
        "{response",
        "}",
        "{response[]}",
    ],
)
def test_nothing_but_keys_and_places_is_followed(written):
    """Attributes, other names, conversions and widths are refused before anything is asked."""
    with pytest.raises(ConfigError, match=r"return_format: found .*accepted: text with"):
        ValueFormat(written, "response", "return_format")
