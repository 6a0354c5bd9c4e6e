"""What a terminal shows of the text that it was sent: as much of one as the progress line needs."""

from __future__ import annotations

import re

from pytest_evalrun.report.text import display_width

_TOKENS = re.compile(r"\x1b\[([0-9]*)([A-Za-z])|\x1b\[[0-9;?]*[A-Za-z]|(.)", re.DOTALL)


class Paper:
    """Lines of ``width`` columns without an end; the cursor moves as xterm's does."""

    def __init__(self, width: int = 80) -> None:
        self.width = width
        self.cells: list[list[str]] = [[]]
        self.row = self.column = 0

    def feed(self, text: str) -> Paper:
        for number, command, letter in _TOKENS.findall(text):
            if command:
                self._command(command, int(number or 1))
            elif letter:
                self._letter(letter)
        return self

    def _command(self, command: str, number: int) -> None:
        if command == "A":
            self.row = max(0, self.row - number)
        elif command == "C":
            self.column = min(self.width - 1, self.column + number)
        elif command == "K":
            del self.cells[self.row][self.column :]

    def _letter(self, letter: str) -> None:
        if letter == "\r":
            self.column = 0
        elif letter == "\n":
            self._down()
        else:
            taken = display_width(letter)
            if self.column + taken > self.width:  # the line goes on below
                self._down()
                self.column = 0
            # The second column of a wide letter holds nothing.
            cells = self.cells[self.row]
            cells += [" "] * (self.column + taken - len(cells))
            cells[self.column : self.column + taken] = [letter, *[""] * (taken - 1)]
            self.column += taken

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.cells):
            self.cells.append([])

    @property
    def text(self) -> str:
        return "\n".join("".join(cells).rstrip() for cells in self.cells)
