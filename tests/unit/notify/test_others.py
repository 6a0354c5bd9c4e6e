"""All that is no bot of Lark's goes by apprise: what it knows really arrives, what it does not is a mistake."""

from __future__ import annotations

import logging
import sys

import pytest
from bots import Bot

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.notify import others
from pytest_evalrun.notify.lark import LarkBot
from pytest_evalrun.notify.making import link_of, recipients_of
from pytest_evalrun.notify.others import Apprised
from pytest_evalrun.notify.protocol import NotSent

TOKEN = "t0k3n-of-somebody"


def notifier_of(url):
    (recipient,) = recipients_of([url], {"TOKEN": TOKEN})
    return recipient.notifier


def test_json_arrives(message, soon):
    """Title, text and how good it is, by apprise's json://; our own words are not handed on."""
    with Bot() as server:
        notifier_of(f"json://127.0.0.1:{server.port}/${{TOKEN}}?stall=5&:job=42&start=1").send(message, soon())
    ((path, body),) = server.requests
    assert path == f"/{TOKEN}"
    assert (body["title"], body["type"], body["job"]) == ("PASSED: s (run)", "success", "42")
    assert body["message"].splitlines() == [
        *("verdict: PASSED: 2 pairs", "worst gates:", "  s/a/one: top1 0.5, min 0.9", "  s/b/one")
    ]


def test_lark_is_ours():
    """apprise has these schemes, too; its own would not look at the answer."""
    assert isinstance(notifier_of("lark://abc"), LarkBot)
    assert isinstance(notifier_of("feishu://abc"), LarkBot)
    assert isinstance(notifier_of("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"), Apprised)


@pytest.mark.parametrize("answer", ["http 500", "close"])
def test_what_does_not_arrive_is_told(message, soon, answer, caplog):
    """Once, and without a line in anybody's log: there addresses would stand."""
    with Bot([answer]) as server, caplog.at_level(logging.DEBUG), pytest.raises(NotSent, match="apprise could not"):
        notifier_of(f"json://127.0.0.1:{server.port}/${{TOKEN}}").send(message, soon())
    assert caplog.records == []


def test_logs_of_others_stay(caplog):
    """Only what these libraries log for us is kept quiet, and only meanwhile."""
    with caplog.at_level(logging.DEBUG):
        with others._quiet():
            logging.getLogger("apprise").warning("ours")
            logging.getLogger("somebody").warning("theirs")
        logging.getLogger("apprise").warning("later")
    assert caplog.messages == ["theirs", "later"]


BAD = {
    f"slak://{TOKEN}": [
        "unknown scheme 'slak'; nearest: slack",
        "accepted: https://open.larksuite.com",
        "jsons",
        "lark, ",
    ],
    f"https://host/{TOKEN}": ["no service is known by this web address; accepted: lark, feishu", "jsons://HOST/PATH"],
    f"slack://{TOKEN}": ["apprise finds no slack:// address in it; a part is missing"],
}


@pytest.mark.parametrize(("url", "texts"), BAD.items())
def test_an_unknown_scheme_is_a_mistake(url, texts):
    """Before anything runs, with the accepted ones, and never with what may be secret."""
    with pytest.raises(ConfigError) as caught:
        notifier_of(url)
    assert [text for text in texts if text not in str(caught.value)] == []
    assert TOKEN not in str(caught.value)


def test_apprise_is_asked_for_where_it_is_missing(monkeypatch):
    """What to install, and what goes without it."""
    monkeypatch.setattr(others, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        notifier_of("slack://${TOKEN}")
    assert str(caught.value) == (
        "--eval-notify: slack://${TOKEN}: scheme 'slack' needs apprise: pip install pytest-evalrun[notify]; accepted "
        "without it: lark, feishu, https://open.larksuite.com/open-apis/bot/v2/hook/TOKEN, "
        "https://open.feishu.cn/open-apis/bot/v2/hook/TOKEN"
    )


def test_a_link_has_variables():
    """One that is not set is a mistake of the link's."""
    assert link_of("https://ci/${JOB}/{run}", {"JOB": "7"}) == "https://ci/7/{run}"
    with pytest.raises(ConfigError, match=r"--eval-notify-link: \$\{JOB\}: the environment variable JOB is not set"):
        link_of("https://ci/${JOB}", {})


def test_apprise_is_imported_where_it_is_needed(monkeypatch):
    """Not for bots of Lark's."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "apprise"]:
        monkeypatch.delitem(sys.modules, name)
    notifier_of("lark://abc")
    assert "apprise" not in sys.modules
