"""A terminal that is drawn on, line by line where lines changed, and given back as it was."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.style import Style

    from pytest_evalrun.monitor.renderer import Line

STYLES = {
    "": "none",
    "head": "bold",
    "dim": "bright_black",
    "ok": "green",
    "bad": "bold red",
    "run": "yellow",
}
# VS Code folds a command's output under a bar that covers the first rows.
VSCODE_ROWS = 2
VSCODE_LEAST = 16
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[?25h\x1b[?1049l"


class Theme:
    """Styles as what this terminal understands of them: its colours, NO_COLOR, or nothing at all."""

    def __init__(self, console: Console) -> None:
        from rich.console import COLOR_SYSTEMS
        from rich.style import Style

        self._colors = COLOR_SYSTEMS.get(console.color_system or "")
        styles = {name: Style.parse(text) for name, text in STYLES.items()}
        if console.no_color:
            # Grey says less than plain text: without its colour it is no style.
            styles = {name: style.without_color for name, style in styles.items()}
        self._styles: dict[str, Style] = styles

    def paint(self, line: Line) -> str:
        if self._colors is None:
            return "".join(text for text, _ in line)
        return "".join(self._styles[style].render(text, color_system=self._colors) for text, style in line)


def theme_for(stream: TextIO) -> Theme:
    """Choose what fits this stream; without colours where it is no terminal."""
    from rich.console import Console

    return Theme(Console(file=stream))


class Screen:
    """The alternate screen of a terminal. What was on the other one is there again at the end."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self._theme = theme_for(stream)
        self._shown: list[Line] = []
        self._size = (0, 0)
        self._vscode = environ.get("TERM_PROGRAM") == "vscode"

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows that may be drawn on, as they are at this moment."""
        columns, rows = window(self._stream)
        return columns, rows - self._margin(rows)

    def _margin(self, rows: int) -> int:
        return VSCODE_ROWS if self._vscode and rows >= VSCODE_LEAST else 0

    def enter(self) -> None:
        self._size = (0, 0)
        self._write(_ENTER)

    def leave(self) -> None:
        try:
            self._write(_LEAVE)
        except OSError:
            pass  # the terminal is gone

    def draw(self, lines: Sequence[Line], size: tuple[int, int]) -> None:
        """Write the lines that are not what they were, all at once; after a resize all of them."""
        margin = self._margin(window(self._stream)[1])
        parts = []
        if size != self._size:
            self._size, self._shown = size, []
            parts.append("\x1b[2J")
        for row, line in enumerate(lines):
            if row >= len(self._shown) or line != self._shown[row]:
                parts.append(f"\x1b[{row + margin + 1};1H{self._theme.paint(line)}")
        self._shown = list(lines)
        if parts:
            self._write("".join(parts))

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def window(stream: TextIO) -> tuple[int, int]:
    """Columns and rows of a terminal; the usual ones where it does not say."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return size.columns or 80, size.lines or 24


def draws(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether a cursor can be moved there."""
    return stream.isatty() and environ.get("TERM", "dumb") not in {"dumb", "unknown", ""}
