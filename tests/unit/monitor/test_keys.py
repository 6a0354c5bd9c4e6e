"""Keys and what they do."""

from __future__ import annotations

import os
import pty
import termios

import pytest

from pytest_evalrun.monitor.frame import View
from pytest_evalrun.monitor.keys import QUIT, Keys, named, press


def test_keys_have_names():
    """Arrows in both dialects of terminals; letters are their own names."""
    assert named("\x1b[A\x1bOBx\x1b[5~\x7f\r任\x1b") == [
        *("up", "down", "x", "page up", "backspace", "enter", "任", "escape")
    ]


def pressed(view, *keys, top=5, rows=3):
    for key in keys:
        view = press(view, key, top, rows)
    return view


@pytest.mark.parametrize(
    ("key", "top"), [("up", 4), ("down", 6), ("page up", 2), ("page down", 8), ("home", 0), ("end", 1 << 30)]
)
def test_arrows_scroll_from_what_is_seen(key, top):
    """Also where the tree had followed what runs."""
    assert pressed(View(), key).top == top


def test_scrolling_stops_at_the_beginning():
    """There is nothing above the first row."""
    assert pressed(View(), "page up", top=1).top == 0


def test_left_and_right_fold_and_unfold():
    """And follow what runs again."""
    assert pressed(View(top=3), "right") == View(unfolded=True)
    assert pressed(View(top=3), "left") == View(unfolded=False)


def test_a_filter_is_typed():
    """Keys are letters then; Enter keeps it, Escape drops it."""
    typed = pressed(View(), "/", "q", "x", "backspace", "up", "任")
    assert typed == View(needle="q任", typing=True)
    assert pressed(typed, "enter") == View(needle="q任")
    assert pressed(typed, "escape") == View()
    assert pressed(typed, "enter", "escape") == View()


def test_q_leaves():
    """But not while it is typed; a terminal that was closed always."""
    assert pressed(View(), "q") is None
    assert press(View(typing=True), QUIT, 0, 1) is None
    assert pressed(View(), "x") == View()


def test_a_terminals_modes_come_back():
    """Keys are read one by one and unseen in between."""
    master, slave = pty.openpty()
    # It is no controlling terminal of the test: whose it is cannot be asked.
    keys = Keys(None)
    keys._fd = slave
    before = termios.tcgetattr(slave)
    keys.enter()
    assert not termios.tcgetattr(slave)[3] & (termios.ECHO | termios.ICANON)
    os.write(master, "a\x1b[A任".encode())
    found = []
    while len(found) < 3:
        found += keys.wait(5)
    assert found == ["a", "up", "任"]
    assert keys.wait(0) == []
    keys.leave()
    assert termios.tcgetattr(slave) == before
    os.close(master)
    assert keys.wait(0) == [QUIT]
    os.close(slave)


def test_no_terminal_has_no_keys():
    """A file, a pipe, nothing: it waits, and leaves all as it is."""
    reading, writing = os.pipe()
    for fd in (None, reading):
        keys = Keys(fd)
        keys.enter()
        assert keys.wait(0) == []
        keys.leave()
    os.close(reading)
    os.close(writing)
