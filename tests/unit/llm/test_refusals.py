"""Errors in all the forms in which endpoints and gateways tell them."""

from __future__ import annotations

import json

import pytest

from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.llm.refusals import Passing, Remedies, TooLong, error_in, refused, told
from pytest_evalrun.llm.settings import EndpointSettings

ENDPOINT = Remedies.of_endpoint(EndpointSettings(model="m", base_url="http://127.0.0.1:1/v1"))

FORMS = {
    "OpenAI": ({"error": {"message": "Too long.", "type": "t", "param": None, "code": "c"}}, ("c", "Too long.")),
    "vLLM, older": ({"object": "error", "message": "Too long.", "code": 400}, (None, "Too long.")),
    "FastAPI": ({"detail": "Not Found"}, (None, "Not Found")),
    "a text as the error": ({"error": "no such model"}, (None, "no such model")),
    "a list": (["odd"], (None, "['odd']")),
    "null": (None, (None, "None")),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_message_is_found(form):
    """Whoever answers: its code and its words are told."""
    payload, found = FORMS[form]

    assert told(json.dumps(payload).encode()) == found


@pytest.mark.parametrize("body", [b"", b"<html>Bad  gateway</html>", b"\xff\xfe", b"x" * 10_000], ids=len)
def test_what_is_no_json_is_told_in_short(body):
    """A page of a gateway is told by its beginning, in one line."""
    code, message = told(body)

    assert code is None
    assert len(message) <= 501
    assert "\n" not in message


KINDS = {
    "the account has no money": (429, {"code": "insufficient_quota", "message": "quota"}, PairError),
    "a limit": (429, {"code": "rate_limit_exceeded", "message": "slow down"}, Passing),
    "a model that is not there": (400, {"code": "model_not_found", "message": "which?"}, PairError),
    "a parameter that no model of it has": (400, {"code": "unsupported_parameter", "message": "n"}, PairError),
    "a prompt that is too long": (400, {"code": "context_length_exceeded", "message": "8192"}, TooLong),
    "a prompt that is not wanted": (400, {"code": "content_policy_violation", "message": "no"}, SampleError),
    "any trouble from 500 on": (599, {"message": "?"}, Passing),
}


@pytest.mark.parametrize("what", KINDS)
def test_whose_fault_it_is(what):
    """By its status, and by the code where that says more, an error is the endpoint's, the sample's or the pair's."""
    status, error, kind = KINDS[what]
    found = refused(status, {}, json.dumps({"error": error}).encode(), ENDPOINT)

    assert type(found) is kind
    assert error["message"] in str(found)


SENTENCE = "This model's maximum context length is 4096 tokens and your request has 5000 input tokens"
TOO_LONG = {
    "OpenAI": (400, {"error": {"code": "context_length_exceeded", "type": "invalid_request_error"}}, True),
    "a gateway's status": (500, {"error": {"code": "context_length_exceeded"}}, True),
    "llama.cpp": (400, {"error": {"code": 400, "type": "exceed_context_size_error", "n_ctx": 4096}}, True),
    "LiteLLM": (400, {"error": {"code": "400", "type": "ContextWindowExceededError"}}, True),
    "FastChat": (400, {"object": "error", "message": "too long", "code": 40303}, True),
    "vLLM": (400, {"error": {"message": SENTENCE, "type": "BadRequestError", "param": None, "code": 400}}, True),
    "vLLM, older": (400, {"object": "error", "message": SENTENCE, "type": "BadRequestError", "code": 400}, True),
    "vLLM, newer": (400, {"error": {"type": "BadRequestError", "param": "input_tokens", "code": 400}}, True),
    "SGLang": (400, {"type": "BadRequestError", "message": "longer than the model's context length (4096)"}, True),
    "Anthropic": (400, {"error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}, True),
    "another bad request": (400, {"error": {"type": "invalid_request_error", "message": "the prompt is odd"}}, False),
    "a type that is none": (400, {"error": {"type": ["BadRequestError"], "message": SENTENCE}}, False),
    "a rate of tokens": (429, {"error": {"code": "rate_limit_exceeded", "message": "Limit 10000 tokens"}}, False),
    "a rate, by a wrong code": (429, {"error": {"code": "context_length_exceeded"}}, False),
    "its words at a rate": (429, {"error": {"message": SENTENCE, "type": "BadRequestError", "code": 400}}, False),
    "its words alone": (400, {"error": {"message": SENTENCE}}, False),
    "a server that is full": (503, {"error": {"message": "upstream worker: prompt queue is over its limit"}}, False),
}


@pytest.mark.parametrize("who", TOO_LONG)
def test_a_full_context_is_known_by_what_the_endpoint_calls_it(who):
    """Its code, type or field say that a prompt is too long, never the words of a limit of another kind."""
    status, payload, is_too_long = TOO_LONG[who]
    found = refused(status, {}, json.dumps(payload).encode(), ENDPOINT)

    assert isinstance(found, TooLong) is is_too_long


HIDDEN = {
    "none": ({"choices": [{}]}, None),
    "beside choices": ({"choices": [{}], "error": {"code": 500}}, None),
    "a status": ({"error": {"code": 502, "message": "gone"}}, Passing),
    "a final status": ({"error": {"code": 400, "message": "no"}}, SampleError),
    "a text": ({"error": "overloaded"}, Passing),
    "a full context": ({"error": {"code": "context_length_exceeded", "message": "8192"}}, TooLong),
    "no object": ([], None),
}


@pytest.mark.parametrize("what", HIDDEN)
def test_errors_of_http_200(what):
    """What a gateway says in place of an answer is an error as if its status had said so."""
    payload, kind = HIDDEN[what]
    found = error_in(payload, ENDPOINT)

    assert found is None if kind is None else type(found) is kind
