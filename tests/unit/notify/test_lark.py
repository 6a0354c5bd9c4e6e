"""Bots of Lark and Feishu: addresses, signatures, cards, texts, and what is made of every answer."""

from __future__ import annotations

import json
import time

import pytest
from bots import Bot
from certificates import certificate_of

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.notify.addresses import addresses_of
from pytest_evalrun.notify.lark import LARGEST_BODY, REMEDIES, LarkBot, takes
from pytest_evalrun.notify.protocol import Fact, Message, NotSent

TOKEN = "0123-abcd_EF"


def bot_of(url):
    (address,) = addresses_of([url])
    return LarkBot.of(address)


HOOK = "/open-apis/bot/v2/hook/"
URLS = {
    f"lark://{TOKEN}": f"https://open.larksuite.com{HOOK}{TOKEN}",
    f"feishu://{TOKEN}/": f"https://open.feishu.cn{HOOK}{TOKEN}",
    f"https://open.feishu.cn{HOOK}{TOKEN}": f"https://open.feishu.cn{HOOK}{TOKEN}",
    f"https://open.larksuite.com{HOOK}{TOKEN}?secret=x": f"https://open.larksuite.com{HOOK}{TOKEN}",
    f"lark://{TOKEN}?host=http://127.0.0.1:9": f"http://127.0.0.1:9{HOOK}{TOKEN}",
    f"lark://{TOKEN}?host=https://lark.example:8443/": f"https://lark.example:8443{HOOK}{TOKEN}",
}


@pytest.mark.parametrize(("url", "real"), URLS.items())
def test_how_a_bot_is_addressed(url, real):
    """Short, or as its settings show it."""
    assert takes(addresses_of([url])[0])
    assert bot_of(url).url == real


def test_other_web_addresses_are_of_others():
    """Of hosts that are not those two."""
    assert not takes(addresses_of([f"https://open.feishu.cn.example{HOOK}{TOKEN}"])[0])
    assert not takes(addresses_of([f"http://open.feishu.cn{HOOK}{TOKEN}"])[0])


def test_options_of_a_bot():
    """A plus in a secret is a plus."""
    bot = bot_of(f"lark://{TOKEN}?secret=a+b%26&keyword=eval%20run&msg=text&stall=3")
    assert (bot.secret, bot.keyword, bot.kind) == ("a+b&", "eval run", "text")


BAD = {
    "an option": (f"lark://{TOKEN}?colour=red", "unknown option 'colour'; accepted: secret, keyword, msg, host"),
    "a kind": (f"lark://{TOKEN}?msg=post", "msg='post' is not accepted; accepted: card, text"),
    "http": (f"lark://{TOKEN}?host=http://lark.example", "host= is not accepted; accepted: https://HOST"),
    "no host": (f"lark://{TOKEN}?host=https://", "host= is not accepted"),
    "a port": (f"lark://{TOKEN}?host=https://h:99999", "host= is not accepted"),
    "a path": (f"lark://{TOKEN}?host=https://h/p", "host= is not accepted"),
    "no token": (f"https://open.feishu.cn{HOOK}", f"this is no bot; accepted: https://open.feishu.cn{HOOK}TOKEN"),
    "another page": (f"https://open.feishu.cn/x/{TOKEN}", "this is no bot; accepted: https://open.feishu.cn/open-apis"),
    "a user": (f"lark://me:{TOKEN}@x", "the token is missing, or is none"),
}


@pytest.mark.parametrize(("url", "text"), BAD.values(), ids=BAD)
def test_what_is_no_bot(url, text):
    """What is accepted is said, and never the token."""
    with pytest.raises(ConfigError) as caught:
        bot_of(url)
    assert text in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_what_a_bot_is_sent(message, soon):
    """A card of schema 2.0, signed in a way that the server's own reckoning confirms."""
    with Bot(secret="s3cr3t&") as server:
        bot_of(f"lark://{TOKEN}?secret=s3cr3t%26&host={server.host}").send(message, soon())
    ((path, body),) = server.requests
    assert server.signed
    assert path == HOOK + TOKEN
    assert body["msg_type"] == "interactive"
    assert body["card"] == {
        "schema": "2.0",
        "header": {"template": "green", "title": {"tag": "plain_text", "content": "PASSED: s (run)"}},
        "body": {
            "elements": [
                {
                    "tag": "markdown",
                    "content": "**verdict** PASSED: 2 pairs\n**worst gates**\n- s/a/one: top1 0.5, min 0.9\n- s/b/one",
                }
            ]
        },
    }


def test_text_for_those_who_want_it(message, soon):
    """With the keyword that a bot insists on, where it is not there anyway; and without a secret nothing is signed."""
    with Bot() as server:
        bot_of(f"lark://{TOKEN}?msg=text&keyword=evals&host={server.host}").send(message, soon())
        bot_of(f"lark://{TOKEN}?msg=text&keyword=PASSED&host={server.host}").send(message, soon())
    lines = ["verdict: PASSED: 2 pairs", "worst gates:", "  s/a/one: top1 0.5, min 0.9", "  s/b/one"]
    assert server.bodies == [
        {"msg_type": "text", "content": {"text": "\n".join([title, *lines])}}
        for title in ("PASSED: s (run) · evals", "PASSED: s (run)")
    ]


def test_a_signature_that_does_not_fit_is_told(message, soon):
    """The server says so with status 200."""
    with (
        Bot(secret="right") as server,
        pytest.raises(NotSent, match=r"refuses the signature \(code 19021\); `secret=`"),
    ):
        bot_of(f"lark://{TOKEN}?secret=wrong&host={server.host}").send(message, soon())
    assert len(server.requests) == 1


REFUSED = {
    **{str(code): REMEDIES[code] for code in (9499, 19001, 19021, 19022, 19024)},
    "99": "it refuses the message (code 99)",
    "http 500": "it answers with HTTP 500",
    "http 404": "it answers with HTTP 404",
    "garbage": "what it answers says not how it went",
    "list": "what it answers says not how it went",
    "close": "it cannot be reached",
}


@pytest.mark.parametrize(("answer", "text"), REFUSED.items())
def test_what_a_refusal_means(message, soon, answer, text):
    """Each is told with its remedy, once, without a word of the server's."""
    words = [f"lark://{TOKEN}?host="]
    with Bot([answer]) as server, pytest.raises(NotSent) as caught:
        bot_of(words[0] + server.host).send(message, soon())
    told = str(caught.value)
    # Of other statuses than 200 the body counts, too: there it has code 1.
    assert text in told or (answer.startswith("http") and told == "it refuses the message (code 1)")
    assert len(server.requests) == 1
    assert TOKEN not in told


def test_too_many_messages_are_sent_again(message, soon):
    """With longer and longer pauses, as long as there is time."""
    with Bot(["11232", "11232", "ok"]) as server:
        bot_of(f"lark://{TOKEN}?host={server.host}").send(message, soon())
    assert len(server.requests) == 3
    with Bot(["11232"]) as server, pytest.raises(NotSent, match=r"code 11232"):
        bot_of(f"lark://{TOKEN}?host={server.host}").send(message, soon(1.0))
    assert len(server.requests) >= 1


def test_nobody_is_there(message, soon):
    """The port is closed."""
    with Bot() as server:
        host = server.host
    with pytest.raises(NotSent, match="it cannot be reached: Connection refused"):
        bot_of(f"lark://{TOKEN}?host={host}").send(message, soon())


def test_a_server_that_hangs(message, soon):
    """No longer than there is time."""
    with Bot(["hang"]) as server, pytest.raises(NotSent, match="it has not answered in time"):
        bot_of(f"lark://{TOKEN}?host={server.host}").send(message, soon(0.3))


def test_nothing_is_sent_on_to_others(message, soon):
    """What a server names as another address gets nothing."""
    with Bot() as other, Bot([f"move {other.host}/x"]) as server:
        with pytest.raises(NotSent, match=r"another address \(HTTP 302\), and none is followed"):
            bot_of(f"lark://{TOKEN}?host={server.host}").send(message, soon())
        assert other.requests == []


def test_certificates_are_verified(message, soon, tmp_path, monkeypatch):
    """Nobody is told anything who cannot show one that is trusted here; one may be named in the usual way."""
    certificate = certificate_of(tmp_path / "server.pem", "127.0.0.1")
    with Bot(certificate=certificate) as server:
        bot = bot_of(f"lark://{TOKEN}?host={server.host}")
        with pytest.raises(NotSent, match="its certificate is not trusted here"):
            bot.send(message, soon())
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        bot.send(message, soon())
        assert len(server.requests) == 1


def test_the_proxy_of_this_host_is_asked(message, soon, monkeypatch):
    """For the real hosts, by a tunnel; never for this machine."""
    with Bot() as proxy, Bot() as server:
        monkeypatch.setenv("http_proxy", proxy.host)
        monkeypatch.setenv("https_proxy", proxy.host)
        bot_of(f"lark://{TOKEN}?host={server.host}").send(message, soon())
        assert (len(proxy.requests), len(server.requests)) == (0, 1)
        with pytest.raises(NotSent, match="it cannot be reached"):  # it knows no CONNECT
            bot_of(f"lark://{TOKEN}").send(message, soon())
        assert proxy.tunnels == ["open.larksuite.com:443"]


def test_names_are_no_markup():
    """What is written in a name is shown as it is, and calls nobody."""
    name = "<at id=all></at> *a* [b](http://c) `d` _e_ f_g \\"
    made = Message("end", "bad", "t", (Fact("pair", (name,)),))
    card = json.loads(bot_of(f"lark://{TOKEN}").body(made, 0))["card"]["body"]["elements"][0]["content"]
    assert card == (
        "**pair** &#60;at id=all&#62;&#60;/at&#62; &#42;a&#42; &#91;b&#93;(http://c) &#96;d&#96; &#95;e&#95; f_g &#92;"
    )
    text = json.loads(bot_of(f"lark://{TOKEN}?msg=text").body(made, 0))["content"]["text"]
    assert "<at" not in text
    assert "</at" not in text


@pytest.mark.parametrize("letter", ["a", "\u4f60", "*", "\U0001f600", '"'])
@pytest.mark.parametrize("kind", ["card", "text"])
def test_a_body_is_never_too_large(letter, kind):
    """Lines are cut to what fits; the keyword stays."""
    facts = tuple(Fact("label", (letter * 20_000,)) for _ in range(20))
    made = Message("end", "bad", letter * 5_000, facts)
    body = bot_of(f"lark://{TOKEN}?keyword=KEY&msg={kind}&secret=x").body(made, 1)
    assert len(body) <= LARGEST_BODY
    assert b"KEY" in body
    assert "…" in body.decode()
    assert len(body) > LARGEST_BODY / 12


def test_a_signature_is_of_now(message, soon):
    """Its time is that of the request, in seconds, as text."""
    before = int(time.time())
    with Bot(secret="x") as server:
        bot_of(f"lark://{TOKEN}?secret=x&host={server.host}").send(message, soon())
    assert before <= int(server.bodies[0]["timestamp"]) <= time.time()
    assert isinstance(server.bodies[0]["timestamp"], str)
