"""What watches the pages of tests sees what they do: each trouble that it names is one that is there."""

from __future__ import annotations

import asyncio

import pytest

EVIL = {
    "a script": ("<script>window.evalrunEvil = 1</script>", "a script ran: 1"),
    "a handler": ("<b onclick='1'>text</b>", "B onclick=1"),
    "a link that is a script": ("<a href='javascript:1'>text</a>", "A href=javascript:1"),
    "a frame": ("<iframe></iframe>", "<iframe></iframe>"),
    "a request": ("<img src='http://203.0.113.1/x.png'>", "left: http://203.0.113.1/x.png"),
    "a dialog": ("<script>alert('hello')</script>", "dialog: hello"),
    "an error": ("<script>nothing.at.all</script>", "console: nothing is not defined"),
}


def page_of(tmp_path, body):
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><title>x</title><body>{body}")
    return file


@pytest.mark.parametrize("what", EVIL)
def test_each_trouble_is_seen(chromium, tmp_path, what):
    """A page that does it is told of it."""
    body, told = EVIL[what]
    with chromium.window() as window:
        window.open(page_of(tmp_path, body))
        assert told in window.troubles


def test_a_quiet_page_has_none(window, tmp_path):
    """A page that does nothing has no troubles, and is asked for once."""
    page = window.open(page_of(tmp_path, "<p>text</p>"))
    assert (page.inner_text("p"), len(window.asked), window.overflow()) == ("text", 1, 0)


def test_loops_of_others_run_between_windows(chromium, tmp_path):
    """Who needs a loop of asyncio has one although a browser is there, and the browser works after that."""

    async def answer():
        return 42

    assert asyncio.run(answer()) == 42
    with chromium.window() as window:
        assert window.open(page_of(tmp_path, "<p>text</p>")).inner_text("p") == "text"
    assert asyncio.run(answer()) == 42


def test_chinese_has_letters(window, tmp_path):
    """Letters of Chinese are drawn each as itself, not all as one empty box."""
    drawn = [window.open(page_of(tmp_path, f"<p>{letter}</p>")).locator("p").screenshot() for letter in "评测报"]
    assert len({*drawn}) == 3
