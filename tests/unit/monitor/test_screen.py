"""What is written to a terminal."""

from __future__ import annotations

import io

import pytest

from pytest_evalrun.monitor.screen import Screen, draws, theme_for, window

LINES = [(("one", "ok"),), (("two", ""),), (("three", "dim"),)]
SIZE = (10, 3)


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def take(self):
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


@pytest.fixture
def terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return Terminal()


def test_only_lines_that_changed_are_written(terminal):
    """Nothing at all where none did: no flicker."""
    screen = Screen(terminal, {})
    screen.draw(LINES, SIZE)
    first = terminal.take()
    assert all(word in first for word in ("one", "two", "three"))
    screen.draw(LINES, SIZE)
    assert terminal.take() == ""
    screen.draw([LINES[0], (("TWO", ""),), LINES[2]], SIZE)
    assert terminal.take() == "\x1b[2;1HTWO"


def test_another_size_draws_everything(terminal):
    """What a terminal does with its old content is its own affair."""
    screen = Screen(terminal, {})
    screen.draw(LINES, SIZE)
    terminal.take()
    screen.draw(LINES, (11, 3))
    assert terminal.take().startswith("\x1b[2J\x1b[1;1H")


def test_what_was_there_is_given_back(terminal):
    """The other screen, and a cursor that is seen."""
    screen = Screen(terminal, {})
    screen.enter()
    assert terminal.take() == "\x1b[?1049h\x1b[?25l\x1b[2J"
    screen.draw(LINES, SIZE)
    screen.leave()
    assert terminal.take().endswith("\x1b[?25h\x1b[?1049l")


def test_a_terminal_that_is_gone_is_left_in_peace():
    """There is nobody to give it back to."""

    class Gone(Terminal):
        def flush(self):
            raise OSError(5, "Input/output error")

    Screen(Gone(), {}).leave()


def test_vscode_keeps_its_first_rows(terminal):
    """Its bar covers them; a window of few rows has none to spare."""
    screen = Screen(terminal, {"TERM_PROGRAM": "vscode"})
    assert screen.size == (80, 22)
    screen.draw(LINES, SIZE)
    assert "\x1b[3;1H" in terminal.take()
    assert Screen(terminal, {}).size == (80, 24)


def test_no_color_means_none(terminal, monkeypatch):
    """https://no-color.org: weight may stay, colours go."""
    line = (("one", "bad"), ("two", "ok"))
    assert "\x1b[1;31mone" in theme_for(terminal).paint(line)
    monkeypatch.setenv("NO_COLOR", "1")
    assert theme_for(terminal).paint(line) == "\x1b[1mone\x1b[0mtwo"


def test_into_a_file_there_are_no_colours(monkeypatch):
    """Nobody wants escapes in a log."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert theme_for(io.StringIO()).paint(LINES[0]) == "one"


@pytest.mark.parametrize(
    ("term", "can"), [("xterm", True), ("dumb", False), ("unknown", False), ("", False), (None, False)]
)
def test_a_dumb_terminal_is_not_drawn_on(terminal, term, can):
    """Nor is what is no terminal."""
    environ = {} if term is None else {"TERM": term}
    assert draws(terminal, environ) is can
    assert not draws(io.StringIO(), {"TERM": "xterm"})


def test_a_window_that_does_not_say_is_an_ordinary_one(terminal):
    """80 columns, 24 rows."""
    assert window(terminal) == (80, 24)
