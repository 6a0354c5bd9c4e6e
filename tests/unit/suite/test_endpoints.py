"""A model behind an endpoint in a suite: every mistake that is told before anything is asked."""

from __future__ import annotations

import pytest

URL = "base_url: http://127.0.0.1:8000/v1"
SUITE = """\
adapter: openai
models: [{name: m}]
datasets: [{path: clean.csv}]
"""
MISTAKES = {
    "no endpoint": ("", "adapter openai needs an endpoint; accepted: `base_url: http://…/v1`, `serve: …`"),
    "two": (f"{URL}\nserve: serve {{port}}", ":4: base_url: found next to serve, whose program has a URL of its own"),
    "no URL": ("base_url: 127.0.0.1:80/v1", ":4: base_url: found '127.0.0.1:80/v1'; accepted: http://HOST…, https"),
    "a key itself": (f"{URL}\napi_key: sk-1234", ":5: api_key: found a text as it is; accepted: ${NAME} of"),
    "no proxy": (f"{URL}\nproxy: socks5://sk-1234@b", ":5: proxy: found no URL of a proxy that speaks HTTP; accepted"),
    "a key in a header": (f"{URL}\nheaders: {{X-API-Key: sk-1234}}", ":5: headers.X-API-Key: found a text as it is"),
    "the model twice": (
        f"{URL}\nsampling: {{model: b}}",
        ":5: sampling.model: found a field that has a word of its own",
    ),
    "several at once": (f"{URL}\nextra_body: {{n: 3}}", ":5: extra_body.n: found a field"),
    "a secret that counts": (f"{URL}\nextra_body: {{user: '${{WHO}}'}}", ":5: extra_body: found ${WHO}, but"),
    "no concurrency": (
        f"{URL}\nconcurrency: 0",
        ":5: concurrency: found 0; accepted: a number from 1, or least-start-most as in 10-20-100",
    ),
    "concurrency that falls": (
        f"{URL}\nconcurrency: 20-10-100",
        ":5: concurrency: found '20-10-100'; accepted: a number",
    ),
    "an API": (f"{URL}\napi: responses", ":5: api: found 'responses'; accepted: 'chat' or 'completions'"),
    "a word": (f"{URL}\napi_kee: x", "api_kee: unknown key; did you mean 'api_key'?"),
    "no price": (f"{URL}\nprice: {{input: -1}}", ":5: price.input: found -1"),
    "several answers of a program": (
        "adapter: command\ncommand: x\nresults: {csv: a.csv}\ngenerations: 2",
        "generations: found 2 with a program, which answers once; accepted: 1",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_name_file_line_and_what_is_accepted(suite, mistake):
    """Whatever is wrong with an endpoint is one line, and a key that stands there is not in it."""
    text, told = MISTAKES[mistake]
    yaml = SUITE.partition("\n")[2] if "adapter" in text else SUITE
    problem = suite(yaml + text + "\n").problem()

    assert told in problem
    assert "sk-1234" not in problem


FINE = {
    "a place from the environment": "base_url: ${HOST}/v1",
    "a header with a secret": f"{URL}\nheaders: {{api-key: '${{KEY}}'}}",
    "a part of a key": f"{URL}\napi_key: team-${{KEY}}",
}


@pytest.mark.parametrize("what", FINE)
def test_secrets_by_name(suite, what):
    """Names of variables stand where their values belong; they are read only when the endpoint is asked."""
    (pair,) = suite(SUITE + FINE[what] + "\n").discover().pairs

    assert "${" in str(pair.settings.words)
