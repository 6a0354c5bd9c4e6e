"""Addresses: what is secret in them is put in from the environment, and shown nowhere."""

from __future__ import annotations

import math

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.notify.addresses import addresses_of, shown, shown_words

ENVIRON = {"TOKEN": "t0/k3n?#&%", "SECRET": "a+b&c=d%", "URL": "lark://abc?secret=x", "EMPTY": ""}


def test_nowhere_is_a_mistake():
    """The option without a value, and no ini key."""
    with pytest.raises(ConfigError, match=r"the ini key eval_notify names no URL; set it, or give --eval-notify=URL"):
        addresses_of([])


def test_secrets_are_put_in():
    """Where they make a part of the place they are put in as they are; elsewhere no letter of them ends their part."""
    (place,) = addresses_of(["slack://${TOKEN}"], ENVIRON)
    assert place.url == "slack://t0/k3n?#&%"
    (option,) = addresses_of(["lark://abc?secret=${SECRET}"], ENVIRON)
    assert option.options == {"secret": "a+b&c=d%"}
    (password,) = addresses_of(["jsons://user:${SECRET}@host/path"], ENVIRON)
    assert password.url == "jsons://user:a%2Bb%26c%3Dd%25@host/path"
    (whole,) = addresses_of(["${URL}"], ENVIRON)
    assert (whole.scheme, whole.place, whole.options, whole.shown) == ("lark", "abc", {"secret": "x"}, "${URL}")


def test_a_secret_that_is_not_set_is_named():
    """By the variable, with what the address may be called; its other parts are not shown."""
    with pytest.raises(ConfigError) as caught:
        addresses_of(["lark://${NOT_THERE}?secret=s3cr3t"], ENVIRON)
    assert "--eval-notify: lark://${NOT_THERE}?secret=***: ${NOT_THERE}: the environment variable" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_each_address_once():
    """One that is given twice gets no message twice."""
    assert len(addresses_of(["a://b", "c://d", "a://b"])) == 2


OWN = {
    "nothing": ("a://b", 1800.0, False, "a://b"),
    "minutes": ("a://b?stall=0.5&x=1", 30.0, False, "a://b?x=1"),
    "never": ("a://b?x=1&stall=0", math.inf, False, "a://b?x=1"),
    "start": ("a://b?start=1", 1800.0, True, "a://b"),
    "no start": ("a://b?start=0&stall=60", 3600.0, False, "a://b"),
}


@pytest.mark.parametrize(("url", "stall", "start", "rest"), OWN.values(), ids=OWN)
def test_our_own_words_are_ours(url, stall, start, rest):
    """They say when something is sent, whoever sends it, and nobody else sees them."""
    (address,) = addresses_of([url])
    assert (address.stall_seconds, address.start, address.url) == (stall, start, rest)


BAD = {
    "no scheme": ("t0k3n", "this is no URL; accepted: SCHEME://"),
    "no place": ("lark://", "this is no URL"),
    "empty secret": ("lark://${EMPTY}", "this is no URL"),
    "a space": ("lark://t0 k3n", "this is no URL"),
    "a newline": ("lark://t0\nk3n", "this is no URL"),
    "no minutes": ("a://t0k3n?stall=soon", "stall='soon' is not accepted; accepted: minutes, 0 for never"),
    "less than nothing": ("a://t0k3n?stall=-1", "stall='-1' is not accepted"),
    "no end": ("a://t0k3n?stall=inf", "stall='inf' is not accepted"),
    "start": ("a://t0k3n?start=yes", "start='yes' is not accepted; accepted: 1, 0"),
    "blanked": ("lark://***", "this was blanked when it was written down; give it anew, best with"),
}


@pytest.mark.parametrize(("url", "text"), BAD.values(), ids=BAD)
def test_what_is_no_address(url, text):
    """Each mistake says what is accepted, and nothing that may be secret."""
    with pytest.raises(ConfigError) as caught:
        addresses_of([url], ENVIRON)
    assert text in str(caught.value)
    assert "t0k3n" not in str(caught.value)
    assert "k3n" not in str(caught.value)


SHOWN = {
    "lark://${TOKEN}?secret=${SECRET}&msg=text&stall=5": "lark://${TOKEN}?secret=${SECRET}&msg=text&stall=5",
    "lark://t0k3n?secret=s3cr3t&msg=text": "lark://***?secret=***&msg=text",
    "dingtalk://${SECRET}@${TOKEN}": "dingtalk://${SECRET}@${TOKEN}",
    "slack://${A}/b/c": "slack://***",
    "json://user:pass@host/path?+X-Key=k3y&k3y": "json://***?***&***",
    "${URL}": "${URL}",
    "t0k3n": "***",
    "t0 k3n://x": "***://***",
    "lark://${T}\x1b[31m": "lark://***",
}


@pytest.mark.parametrize(("url", "safe"), SHOWN.items())
def test_how_an_address_is_shown(url, safe):
    """Names of variables, and words that are no secret; all else is blanked."""
    assert shown(url) == safe


def test_a_command_line_is_written_down_without_secrets():
    """Whichever way the option is written; its neighbours stay."""
    words = ["pytest", "evals", "--eval-notify", "lark://t0k3n", "--eval-notify=json://t0k3n", "-n", "2"]
    assert shown_words(words) == [
        *("pytest", "evals", "--eval-notify", "lark://***", "--eval-notify=json://***", "-n", "2")
    ]
    overridden = ["-o", "eval_notify=a://t0k3n\nb://${T}", "-oeval_notify=a://b", "--override-ini=eval_notify=a://b"]
    assert shown_words(overridden) == [
        *("-o", "eval_notify=a://*** b://${T}", "-oeval_notify=a://***", "--override-ini=eval_notify=a://***")
    ]
    assert shown_words(["pytest", "--eval-notify", "-x", "--eval-notify"]) == [
        *("pytest", "--eval-notify", "-x", "--eval-notify")
    ]
