"""Agents in a suite: what each kind is told before anything is asked."""

from __future__ import annotations

import pytest

TASKS = """\
models: [{name: m}]
datasets: [{name: sql, format: agentbench}]
controller: http://127.0.0.1:5000/api
"""
URL = "url: http://127.0.0.1:8000/ask"
HTTP = f"{TASKS}adapter: http\n{URL}\n"
OPENAI = f"{TASKS}adapter: openai\nbase_url: http://127.0.0.1:8000/v1\n"
MISTAKES = {
    "no url": (f"{TASKS}adapter: http\n", ":4: url: is missing; adapter http needs it"),
    "an url that is none": (
        f"{TASKS}adapter: http\nurl: 127.0.0.1/ask\n",
        ":5: url: found '127.0.0.1/ask'; accepted: http://HOST…, https://HOST…",
    ),
    "a key as it is": (
        f"{HTTP}headers: {{Authorization: Bearer sk-1234}}\n",
        ":6: headers.Authorization: found a text as it is; accepted: ${NAME} of an environment variable",
    ),
    "a secret that counts": (
        f"{HTTP}body: {{user: {{key: '${{WHO}}'}}}}\n",
        ":6: body: found ${WHO}, but what is sent is part of what counts; accepted: texts that are no secret",
    ),
    "TLS that is not verified": (
        f"{HTTP}verify: false\n",
        ":6: verify: found False; accepted: a file of certificates to trust besides; TLS is verified in any case",
    ),
    "a format that reaches elsewhere": (
        f"{HTTP}return_format: '{{response.text}}'\n",
        ":6: return_format: found {response.text}; accepted: text with {response}, {response[KEY][0]}",
    ),
    "a prompter that is not there": (
        f"{HTTP}prompter: {{name: palms}}\n",
        ":6: prompter: found the unknown name 'palms'; did you mean 'palm'?",
    ),
    "an argument that is not there": (
        f"{HTTP}prompter: {{name: role_content_dict, args: {{agent: assistant}}}}\n",
        ":6: prompter.args.agent: role_content_dict has no such argument; did you mean",
    ),
    "a prompter without a name": (f"{HTTP}prompter: {{args: {{}}}}\n", ":6: prompter.name: is missing"),
    "a word that no prompter has": (f"{HTTP}prompter: {{nam: palm}}\n", ":6: prompter.nam: unknown key; did you mean"),
    "no prompter": (f"{HTTP}prompter: 3\n", ":6: prompter: found 3; accepted: a name, or a mapping with name and args"),
    "how many at once": (f"{HTTP}concurrency: 0\n", ":6: concurrency: found 0; accepted: a number from 1, or"),
    "how many that fall": (f"{HTTP}concurrency: 20-10-100\n", ":6: concurrency: found '20-10-100'; accepted"),
    "two ways": (
        f"{HTTP}proxy: http://a\nproxies: {{http: http://b}}\n",
        ":7: proxies: found next to proxy; accepted: one of both",
    ),
    "a way that is none": (
        f"{HTTP}proxies: {{https: 'socks5://me:sk-1234@b'}}\n",
        ":6: proxies.https: found no URL of a proxy that speaks HTTP; accepted: http://HOST:PORT, https://HOST:PORT",
    ),
    "an address with a bracket": (
        f"{TASKS}adapter: http\nurl: 'http://[::1/ask'\n",
        ":5: url: found 'http://[::1/ask'; accepted: http://HOST…, https://HOST…",
    ),
    "a way for another scheme": (
        f"{HTTP}proxies: {{socks5: http://b}}\n",
        ":6: proxies.socks5: found another scheme; accepted: http, https, all",
    ),
    "a word that is none": (f"{HTTP}boddy: {{}}\n", "boddy: unknown key; did you mean 'body'?"),
    "an agent of samples": (
        f"models: [{{name: m}}]\ndatasets: [{{path: clean.csv, format: csv}}]\nadapter: http\n{URL}\n",
        ":3: adapter: found http with format csv, but it is an agent, which has tasks; accepted: `format: agent",
    ),
    "a text for an agent": (
        f"{OPENAI}api: completions\n",
        ":6: api: found 'completions' with format agentbench; accepted: chat, for a conversation has messages",
    ),
    "a template for an agent": (
        f"{OPENAI}prompt: {{system: Be short., template: '{{{{ question }}}}'}}\n",
        ":6: prompt.template: found with format agentbench, whose tasks say what is asked; accepted: prompt.system",
    ),
    "a column for an agent": (
        f"{OPENAI}prompt: {{system: 'Of {{{{ subject }}}}'}}\n",
        ":6: prompt.system: no column 'subject', for tasks have none; accepted: a text",
    ),
    "no template": (f"{OPENAI}prompt: {{system: '{{{{'}}\n", ":6: prompt.system: not a Jinja2 template"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_name_file_line_and_what_is_accepted(suite, mistake):
    """Whatever is wrong with an agent is one line, and a key that stands there is not in it."""
    text, told = MISTAKES[mistake]
    problem = "\n".join(suite(text).problems())

    assert told in problem
    assert "sk-1234" not in problem


AGENTBENCH = """\
adapter: http
url: https://api.openai.com/v1/chat/completions
headers: {Content-Type: application/json, Authorization: "Bearer ${OPENAI_API_KEY}"}
body: {temperature: 0}
prompter: {name: role_content_dict, args: {agent_role: assistant}}
return_format: "{response[choices][0][message][content]}"
models:
  - {name: one, body: {model: gpt-one, max_tokens: 512}}
  - {name: two, body: {model: gpt-two}, headers: {X-Team: ours}, proxies: {https: "http://10.0.0.1:3128"}}
  - {name: four, prompter: null}
  - {name: three, prompter: claude, verify: own.pem, served_as: three, price: {input: 1}, concurrency: 5-5-9}
datasets: [{name: sql, format: agentbench}]
controller: http://127.0.0.1:5000/api
"""


def test_agents_of_an_agentbench_config(suite):
    """What its agents say of themselves is said in a suite's words, fields of a body entry by entry."""
    suite(AGENTBENCH).discover()
    one, two, three, four = (suite.settings(f"{name}/sql").own for name in ("one", "two", "three", "four"))

    assert one.body == {"temperature": 0, "model": "gpt-one", "max_tokens": 512}
    assert two.body == {"temperature": 0, "model": "gpt-two"}
    assert set(two.headers) == {"Content-Type", "Authorization", "X-Team"}
    assert (three.prompter, three.concurrency, three.served_as) == ("claude", "5-5-9", "three")
    assert four.prompter is None


def test_one_word_for_all_kinds_of_agents(suite):
    """Words that two kinds have may stand for all models of a suite."""
    suite(
        "concurrency: 3\nheaders: {X-Team: ours}\nprice: {input: 1}\nrequest_timeout: 9\n"
        f"models:\n  - {{name: a, adapter: http, {URL}}}\n"
        "  - {name: b, adapter: openai, base_url: 'http://127.0.0.1:8000/v1'}\n"
        "datasets: [{name: sql, format: agentbench}]\ncontroller: http://127.0.0.1:5000/api\n"
    ).discover()
    for name in ("a", "b"):
        own = suite.settings(f"{name}/sql").own
        assert (own.concurrency, own.headers, own.request_timeout) == (3, {"X-Team": "ours"}, 9.0)


def test_an_agent_that_is_loaded_is_that_of_its_words(suite):
    """Pairs share one that is reached in the same way; a prompt of the suite is each agent's own."""
    suite(AGENTBENCH).discover()
    one = suite.settings("one/sql")
    kind, parts = one.kind, {"endpoint": "e"}

    assert kind.of_the_model(one, parts) == kind.of_the_model(suite.settings("one/sql"), parts)
    assert kind.of_the_model(one, parts) != kind.of_the_model(suite.settings("two/sql"), parts)
