"""Keys as they are pressed, and what they do to the view."""

from __future__ import annotations

import codecs
import os
import re
import select
import termios
import time
import tty
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_evalrun.monitor.frame import View

QUIT = "quit"
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)
_NAMES = {
    **{
        f"\x1b{kind}{letter}": name
        for kind in "[O"
        for letter, name in zip("ABCDHF", ("up", "down", "right", "left", "home", "end"), strict=True)
    },
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[1~": "home",
    "\x1b[4~": "end",
    "\x1b": "escape",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\r": "enter",
    "\n": "enter",
}


class Keys:
    """A terminal's keys one by one and unseen; none where the input is no terminal, or belongs to another job."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd if fd is not None and _is_ours(fd) else None
        self._before: list[Any] | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    def enter(self) -> None:
        if self._fd is not None:
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd, termios.TCSANOW)

    def leave(self) -> None:
        if self._fd is not None and self._before is not None:
            try:
                termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
            except termios.error:
                pass  # the terminal is gone, and its modes with it
            self._before = None

    def wait(self, seconds: float) -> list[str]:
        """The keys pressed within so many seconds, at once when there are some."""
        if self._fd is None:
            time.sleep(seconds)
            return []
        if not select.select([self._fd], [], [], seconds)[0]:
            return []
        try:
            data = os.read(self._fd, 1024)
        except OSError:
            data = b""
        return named(self._decoder.decode(data)) if data else [QUIT]  # the terminal was closed


def named(text: str) -> list[str]:
    """Keys by name; a letter is its own."""
    return [_NAMES.get(key, key) for key in _SEQUENCE.findall(text)]


def _is_ours(fd: int) -> bool:
    """Touching a terminal from the background would stop this process."""
    try:
        return os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False


def press(view: View, key: str, top: int, rows: int) -> View | None:
    """The view after a key; None to leave. ``top`` is the row seen first, ``rows`` how many are seen."""
    if key == QUIT:
        return None
    if view.typing:
        return _type(view, key)
    if key == "q":
        return None
    moves = {"up": top - 1, "down": top + 1, "page up": top - rows, "page down": top + rows, "home": 0, "end": 1 << 30}
    if key in moves:
        return replace(view, top=max(0, moves[key]))
    return _act(view, key)


def _act(view: View, key: str) -> View:
    if key in ("left", "right"):
        return replace(view, unfolded=key == "right", top=None)
    if key == "/":
        return replace(view, typing=True, needle="", top=None)
    if key == "escape":
        return replace(view, needle="", top=None)
    return view


def _type(view: View, key: str) -> View:
    if key in ("enter", "escape"):
        return replace(view, typing=False, needle=view.needle if key == "enter" else "")
    if key == "backspace":
        return replace(view, needle=view.needle[:-1])
    return replace(view, needle=view.needle + key) if len(key) == 1 and key.isprintable() else view
