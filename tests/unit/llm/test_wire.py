"""What is sent to an endpoint, and what its answers say."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import SampleError
from pytest_evalrun.llm.settings import EndpointSettings
from pytest_evalrun.llm.wire import Usage, digest_of, is_same_model, read_reply, request_body

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = EndpointSettings(model="m", base_url="http://127.0.0.1:1/v1", sampling={"temperature": 0, "seed": 7})


def answer(message=None, end="stop", **more):
    return {"id": "c1", "model": "m", "choices": [{"message": message or {}, "finish_reason": end}], **more}


def settings(**changes):
    return EndpointSettings(**{"model": "m", "base_url": "http://127.0.0.1:1/v1", **changes})


def test_a_chat_is_sent_messages():
    """Model, messages and what the suite says of sampling are all that is sent."""
    assert request_body(CHAT, HELLO, 0) == {"model": "m", "messages": HELLO, "temperature": 0, "seed": 7}


def test_completions_are_sent_a_text():
    """The other API has one text in place of messages."""
    assert request_body(settings(api="completions"), "Hello", 0) == {"model": "m", "prompt": "Hello"}


def test_fields_of_the_suite_are_added():
    """What `extra_body` says is sent with each request."""
    assert request_body(settings(extra_body={"top_k": 1}), HELLO)["top_k"] == 1


def test_another_generation_has_another_seed():
    """The second answer to a prompt is drawn with the next seed; without a seed nothing is added."""
    assert request_body(CHAT, HELLO, 2)["seed"] == 9
    assert "seed" not in request_body(settings(), HELLO, 2)


def test_a_stream_tells_its_tokens():
    """Only when it is asked for does a stream tell what was used."""
    body = request_body(settings(stream=True), HELLO)

    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


SAME = {
    "how it comes": settings(stream=True),
    "price": settings(price={"input": 1}),
    "concurrency": settings(concurrency=3),
    "key": settings(api_key="${KEY}"),
    "headers": settings(headers={"X-Team": "a"}),
}
OTHERS = {
    "another place": settings(base_url="http://127.0.0.1:2/v1"),
    "another model": settings(model="n"),
    "another API": settings(api="completions"),
    "sampling": settings(sampling={"temperature": 1}),
    "more fields": settings(extra_body={"top_k": 1}),
    "a served one": settings(base_url=None, serve="serve {model}"),
}


@pytest.mark.parametrize("what", SAME)
def test_what_changes_no_answer_is_not_in_the_digest(what):
    """Who pays, how much at once and how the answer comes change no answer."""
    assert digest(SAME[what]) == digest(settings())


@pytest.mark.parametrize("what", OTHERS)
def test_what_changes_an_answer_is_in_the_digest(what):
    """Whatever may change the answer makes another digest."""
    assert digest(OTHERS[what]) != digest(settings())


def test_a_named_endpoint_may_move():
    """`served_as` stands for the place."""
    here, there = (settings(served_as="ours", base_url=f"http://127.0.0.1:{port}/v1") for port in (1, 2))

    assert digest(here) == digest(there)


def test_each_draw_without_a_seed_is_its_own():
    """Generations differ in their digest, by their seed or by their number; the first is as if it was the only one."""
    for endpoint in (settings(), CHAT):
        digests = {digest(endpoint, generation) for generation in range(3)}
        assert len(digests) == 3
    assert digest(settings(), 0) == digest(settings())


def test_the_files_of_a_model_are_in_the_digest():
    """The same request to other weights has another answer."""
    body = request_body(CHAT, HELLO)
    digests = {digest_of(CHAT, body, files=files) for files in (None, {}, {"model": "a"}, {"model": "b"})}

    assert len(digests) == 3


def digest(endpoint, generation=0):
    return digest_of(endpoint, request_body(endpoint, HELLO, generation), generation)


def test_an_answer_is_read_whole():
    """Text, why it ended, tokens, its id and its model are taken from an answer."""
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}
    reply = read_reply(answer({"content": "Hi", "reasoning_content": "hm"}, usage=usage))

    assert (reply.text, reply.finish_reason, reply.request_id, reply.model) == ("Hi", "stop", "c1", "m")
    assert reply.usage == Usage(9, 4, 8)
    assert reply.reasoning == "hm"


TEXTS = {
    "text": ({"content": "a"}, "stop", "a"),
    "empty text": ({"content": ""}, "stop", ""),
    "nothing before the limit": ({"content": None, "reasoning": "…"}, "length", ""),
    "filtered": ({"content": None}, "content_filter", ""),
    "refusal": ({"content": None, "refusal": "No."}, "stop", "No."),
    "parts": ({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "b"}]}, "stop", "b"),
}


@pytest.mark.parametrize("what", TEXTS)
def test_the_text_of_an_answer(what):
    """What was answered is the prediction, be it nothing; why it ended stands beside it."""
    message, end, text = TEXTS[what]
    reply = read_reply(answer(message, end))

    assert (reply.text, reply.finish_reason) == (text, end)


def test_the_text_of_a_completion():
    """The other API has the text in the choice itself."""
    assert read_reply({"choices": [{"text": " you", "finish_reason": "length"}]}).text == " you"


CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
NO_TEXT = {
    "no choices": ({"choices": []}, "no choices"),
    "choices are null": ({"choices": None}, "no choices"),
    "no object": (["a"], "no choices"),
    "tools": (answer({"content": None, "tool_calls": [{}]}, "tool_calls"), "finish_reason: tool_calls"),
    "tools and an empty text": (answer({"content": "", "tool_calls": [{}]}, "tool_calls"), "tool_calls"),
    "null": (answer({"content": None}, None), "finish_reason: none"),
    "null that ended well": (answer({"content": None, "reasoning": "…"}), "finish_reason: stop"),
    "a number": (answer({"content": 3}), "no text"),
}


@pytest.mark.parametrize("what", NO_TEXT)
def test_no_text_is_no_prediction(what):
    """An answer without a text fails its sample: null is never scored as a text."""
    payload, told = NO_TEXT[what]
    with pytest.raises(SampleError, match=told):
        read_reply(payload)


MESSAGES = {
    "a call": ({"content": None, "tool_calls": [{"index": 0, **CALL}]}, "tool_calls", ("", (CALL,))),
    "a text and a call": ({"content": "Wait.", "tool_calls": [CALL, CALL]}, "tool_calls", ("Wait.", (CALL, CALL))),
    "a call and an empty text": ({"content": "", "tool_calls": [CALL]}, "stop", ("", (CALL,))),
    "nothing": ({"content": None}, "stop", ("", ())),
    "what is no call": ({"content": "a", "tool_calls": [3, None]}, "stop", ("a", ())),
    "no list of calls": ({"content": "a", "tool_calls": "look"}, "stop", ("a", ())),
}


@pytest.mark.parametrize("what", MESSAGES)
def test_any_message_is_enough_for_an_agent(what):
    """Calls of tools are read as they are, without their place, and a message may be empty."""
    message, end, (text, calls) = MESSAGES[what]
    reply = read_reply(answer(message, end), any_message=True)

    assert (reply.text, reply.tool_calls) == (text, calls)


def test_the_detail_of_a_line_has_what_is_known():
    """What the endpoint does not tell is left out, and prices are per 1,000,000 tokens."""
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 500_000}
    known = read_reply(answer({"content": "a"}, usage=usage)).detail({"input": 2, "output": 4})

    assert known["cost"] == 4.0
    assert known["usage"] == {"input": 1_000_000, "output": 500_000, "cached": 0}
    assert set(read_reply({"choices": [{"text": "a"}]}).detail({"input": 2})) == {"attempts"}


COSTS = {
    "nothing is priced": ({}, None),
    "cached as any other": ({"input": 1, "output": 2}, 3.0),
    "cached is cheaper": ({"input": 1, "output": 2, "cached": 0.5}, 2.75),
    "answers alone": ({"output": 2}, 2.0),
    "free": ({"input": 0, "output": 0}, 0.0),
}


@pytest.mark.parametrize("what", COSTS)
def test_cost(what):
    """Tokens of the prompt, those in the cache and those of the answer have a price each."""
    price, cost = COSTS[what]

    assert Usage(1_000_000, 1_000_000, 500_000).cost(price) == cost


def test_usage_adds_up():
    """The usage of many answers is the sum of them."""
    assert Usage(1, 2, 1) + Usage(3, 4) == Usage(4, 6, 1)


ODD_USAGE = {
    "nothing": (None, None),
    "no counts": ({}, None),
    "a text": ("many", None),
    "a line of ours": ({"input": 3, "output": 2, "cached": 1}, Usage(3, 2, 1)),
    "cached is null": ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(3, 2)),
    "no number": ({"prompt_tokens": "3", "completion_tokens": 2}, Usage(0, 2)),
    "more cached than there are": ({"prompt_tokens": 3, "cached": 5}, Usage(3, 0, 3)),
}


@pytest.mark.parametrize("what", ODD_USAGE)
def test_usage_is_what_can_be_counted(what):
    """What an endpoint tells of tokens counts where it can be counted; nothing told is not zero."""
    told, usage = ODD_USAGE[what]

    assert Usage.from_json(told) == usage


MODELS = {
    "the same": ("gpt-4o", "gpt-4o", True),
    "dated": ("gpt-4o", "gpt-4o-2024-08-06", True),
    "numbered": ("gpt-3.5-turbo", "gpt-3.5-turbo-0125", True),
    "the latest": ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022", True),
    "with and without who made it": ("openai/gpt-4o", "gpt-4o-2024-08-06", True),
    "letters": ("Qwen/Qwen2.5-7B", "qwen2.5-7b", True),
    "tagged": ("llama3", "llama3:latest", True),
    "a smaller one": ("gpt-4o", "gpt-4o-mini", False),
    "another letter": ("gpt-4", "gpt-4o", False),
    "a newer one": ("gpt-4", "gpt-4.1", False),
    "another": ("qwen", "ngram", False),
}


@pytest.mark.parametrize("what", MODELS)
def test_which_model_answered(what):
    """A version of the model asked for is that model; one with another name is another."""
    asked, answered, same = MODELS[what]

    assert is_same_model(asked, answered) is same
