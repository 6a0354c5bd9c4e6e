"""docs/messages.md says what there is: options, limits, kinds of trouble."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_evalrun.evaluation.kinds import PLACES, TIME_OUT
from pytest_evalrun.notify.addresses import OURS, STALL_MINUTES, addresses_of
from pytest_evalrun.notify.lark import ACCEPTED, REMEDIES, LarkBot, takes
from pytest_evalrun.notify.messages import MOST_GATES
from pytest_evalrun.notify.occasions import MOST_KINDS, PATIENCE
from pytest_evalrun.notify.sender import END_SECONDS, MESSAGE_SECONDS
from pytest_evalrun.plugin.notifying import STOPPED_SECONDS

PAGE = (Path(__file__).parents[3] / "docs" / "messages.md").read_text(encoding="utf-8")
WORDS = {3: "three", 5: "five"}


def test_options_of_addresses():
    """Each is told."""
    assert [option for option in (*OURS, *ACCEPTED) if f"{option}=" not in PAGE] == []
    assert [code for code in REMEDIES if str(code) not in PAGE] == []


def test_limits():
    """As they are."""
    assert f"nothing has finished for {STALL_MINUTES:g} minutes" in PAGE
    assert f"for {WORDS[PATIENCE]} times as long" in PAGE
    assert f"{WORDS[MOST_KINDS]} kinds a launch" in PAGE
    assert f"at most {WORDS[MOST_GATES]} gates" in PAGE
    each = f"{MESSAGE_SECONDS:g} seconds each, {END_SECONDS:g} at the end altogether ({STOPPED_SECONDS:g} where"
    assert each in " ".join(PAGE.split())


def test_kinds():
    """Those that stand there as examples are real ones."""
    named = re.search(r"in words of ours \((.+?)\), and", " ".join(PAGE.split()))
    kinds = re.findall(r"`([^`]+)`", named[1])
    assert kinds
    assert {kind.partition(" (")[0] for kind in kinds} <= {*PLACES.values(), TIME_OUT}


@pytest.mark.parametrize("url", [url for url in re.findall(r"lark://[^`' \n]+", PAGE) if "=" in url and "…" not in url])
def test_addresses_are_accepted(url):
    """Those that stand there as examples."""
    (address,) = addresses_of([url], {"LARK_TOKEN": "abc", "LARK_SECRET": "x"})
    assert takes(address)
    assert LarkBot.of(address).secret == "x"
