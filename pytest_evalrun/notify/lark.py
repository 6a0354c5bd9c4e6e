"""Bots of Lark and Feishu, by ours: signed, as a card or as text, and the answer's ``code`` is looked at.

Services that send for many others take its HTTP status for the answer, and that is 200 for a refused signature, too.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.notify.addresses import OPTION
from pytest_evalrun.notify.posting import LOOPBACK, post
from pytest_evalrun.notify.protocol import Message, NotSent, cut
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_evalrun.notify.addresses import Address
    from pytest_evalrun.notify.protocol import Fact

HOSTS = {"lark": "https://open.larksuite.com", "feishu": "https://open.feishu.cn"}
HOOK = "/open-apis/bot/v2/hook/"
ACCEPTED = ("secret", "keyword", "msg", "host")
KINDS = ("card", "text")
COLOURS = {"info": "blue", "good": "green", "warning": "orange", "bad": "red"}
# A bot takes no larger body; lines are cut, to the longest of these that fits.
LARGEST_BODY = 20_000
LINES = (4000, 2000, 1000, 500, 250, 120, 60, 20)

RATE = 11232
REMEDIES = {
    9499: "it finds the request malformed (code 9499); compare the address with that of the bot, to its last character",
    19001: "it knows no bot of this token (code 19001); copy the address of the bot anew",
    19021: "it refuses the signature (code 19021); `secret=` must be that of the bot, and this machine's clock right",
    19022: "it refuses this machine's address (code 19022); add it to those that the bot's settings allow",
    19024: "it misses a keyword (code 19024); give `keyword=WORD`, one of those in the bot's settings",
    RATE: "too much was sent to it (code 11232) all the time that there was; 100 messages a minute are allowed",
}
FIRST_PAUSE = 0.4
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")
# An underscore inside a word is not emphasis.
_IN_CARDS = re.compile(r"[&<>*~`\[\]\\]|(?<!\w)_|_(?!\w)")
# In a text this would call somebody, or everybody.
_MENTION = re.compile(r"<(?=/?at\b)", re.IGNORECASE)


def takes(address: Address) -> bool:
    """Tell whether an address is that of such a bot, written short or as the bot's settings have it."""
    return address.scheme in HOSTS or _host(address) in HOSTS.values()


def _host(address: Address) -> str:
    return f"{address.scheme}://{address.place.partition('/')[0].lower()}"


@dataclass(frozen=True)
class LarkBot:
    """One bot. ``url`` is a secret: whoever knows it may write to the group."""

    url: str
    secret: str = ""
    keyword: str = ""
    kind: str = "card"

    @classmethod
    def of(cls, address: Address) -> LarkBot:
        """Raises ConfigError for an address that is not complete, or has a word that is not known."""
        options = address.options
        for key in options:
            if key not in ACCEPTED:
                raise _wrong(address, f"unknown option {cut(one_line(key), 40)!r}; accepted: {', '.join(ACCEPTED)}")
        kind = options.get("msg", "card")
        if kind not in KINDS:
            raise _wrong(address, f"msg={kind!r} is not accepted; accepted: {', '.join(KINDS)}")
        url = _base(address, options) + HOOK + _token(address)
        return cls(url, options.get("secret", ""), options.get("keyword", ""), kind)

    def send(self, message: Message, until: float) -> None:
        """Send it; where too much is sent, try again for as long as there is time. Raises NotSent."""
        pause = FIRST_PAUSE
        while (code := self._code(message, until)) != 0:
            if code != RATE or time.monotonic() + pause >= until:
                raise NotSent(REMEDIES.get(code, f"it refuses the message (code {code})"))
            time.sleep(pause)
            pause *= 2

    def _code(self, message: Message, until: float) -> int:
        status, answer = post(self.url, self.body(message, int(time.time())), until)
        code = answer.get("code", answer.get("StatusCode")) if isinstance(answer, dict) else None
        if type(code) is int and (code or status < 400):
            return code
        if status == 429:
            return RATE
        raise NotSent(f"it answers with HTTP {status}" if status >= 400 else "what it answers says not how it went")

    def body(self, message: Message, now: int) -> bytes:
        """What is sent at a moment in Unix time; a signature holds for an hour."""
        make = _card if self.kind == "card" else _text
        for most in LINES:
            content = self._signed(now) | make(message, self._titled(cut(message.title, most)), partial(cut, most=most))
            body = json.dumps(content, ensure_ascii=False).encode()
            if len(body) <= LARGEST_BODY:
                break
        return body

    def _titled(self, title: str) -> str:
        return title if self.keyword in title else f"{title} · {self.keyword}"

    def _signed(self, now: int) -> dict[str, str]:
        if not self.secret:
            return {}
        key = f"{now}\n{self.secret}".encode()
        return {"timestamp": str(now), "sign": base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()}


def _base(address: Address, options: Mapping[str, str]) -> str:
    """The host, or another in its place: on this machine by http, for whoever tries this out."""
    host = options.get("host", "").rstrip("/")
    if not host:
        return HOSTS.get(address.scheme) or _host(address)
    try:
        parts = urlsplit(host)
        good = bool(parts.hostname) and (parts.scheme == "https" or parts.hostname in LOOPBACK)
        good = good and parts.scheme in ("http", "https") and not (parts.path or parts.query) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise _wrong(address, "host= is not accepted; accepted: https://HOST, and http://127.0.0.1:PORT")
    return host


def _token(address: Address) -> str:
    place = address.place.rstrip("/")
    if address.scheme not in HOSTS:
        host, slash, path = place.partition("/")
        if not f"{slash}{path}".startswith(HOOK):
            raise _wrong(address, f"this is no bot; accepted: https://{host}{HOOK}TOKEN")
        place = f"{slash}{path}".removeprefix(HOOK)
    if not _TOKEN.fullmatch(place):
        raise _wrong(address, "the token is missing, or is none: what the bot's address ends with, letters, digits, -")
    return place


def _wrong(address: Address, why: str) -> ConfigError:
    return ConfigError(f"{OPTION}: {address.shown}: {why}")


# ------------------------------------------------------------------ how a message looks


def _card(message: Message, title: str, fit: Callable[[str], str]) -> dict[str, Any]:
    lines = [line for fact in message.facts for line in _in_card(fact, fit)]
    return {
        "msg_type": "interactive",
        "card": {
            "schema": "2.0",
            "header": {
                "template": COLOURS[message.level],
                "title": {"tag": "plain_text", "content": title},
            },
            "body": {"elements": [{"tag": "markdown", "content": "\n".join(lines)}]},
        },
    }


def _in_card(fact: Fact, fit: Callable[[str], str]) -> list[str]:
    lines = [_IN_CARDS.sub(lambda found: f"&#{ord(found[0])};", fit(line)) for line in fact.lines]
    if len(lines) == 1:
        return [f"**{fact.label}** {lines[0]}"]
    return [f"**{fact.label}**", *(f"- {line}" for line in lines)]


def _text(message: Message, title: str, fit: Callable[[str], str]) -> dict[str, Any]:
    lines = [title, *(line for fact in message.facts for line in plain(fact, fit))]
    return {"msg_type": "text", "content": {"text": "\n".join(_MENTION.sub("‹", line) for line in lines)}}


def plain(fact: Fact, fit: Callable[[str], str]) -> list[str]:
    """A fact as lines of text."""
    if len(fact.lines) == 1:
        return [f"{fact.label}: {fit(fact.lines[0])}"]
    return [f"{fact.label}:", *(f"  {fit(line)}" for line in fact.lines)]
