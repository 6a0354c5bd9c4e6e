"""Output of a program: into the log as it is, to the terminal safe to show, in whole lines under the pair's id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.suite.printable import Shown, printable
from pytest_evalrun.suite.secrets import NO_SECRETS, BlankedStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_evalrun.suite.secrets import Secrets

# Other workers write to the same terminal: PIPE_BUF, less what letters that are not ASCII take.
LONGEST_PART = 1 << 11
# A line that is longer is shown in parts: a program that never ends its line must not cost memory.
LONGEST_LINE = 1 << 16


class OutputSink:
    """A sink for chunks, of one thread. ``terminal`` is None where nobody wants to see them there.

    ``commands`` shows a program's command line, which is told apart from what it writes.
    """

    def __init__(
        self,
        log: Callable[[bytes], None],
        terminal: Callable[[str], None] | None,
        prefix: str,
        secrets: Secrets = NO_SECRETS,
        commands: Callable[[str], None] | None = None,
    ) -> None:
        self._log = log
        self._terminal = terminal
        self._commands = commands or terminal
        self._prefix = f"[{printable(prefix)}] "
        self._blanked = BlankedStream(secrets)
        self._shown = Shown()
        # What the terminal waits for the end of.
        self._line: list[str] = []
        self._size = 0

    def __call__(self, chunk: bytes) -> None:
        self._tell(self._blanked.feed(chunk))

    def tell(self, command: str) -> None:
        """Show a command on the terminal only; where output is not shown there, the first one of many is enough."""
        if self._commands is not None:
            self._commands(self._prefix + command)
            self._commands = self._terminal

    def finish(self) -> None:
        """Hand on the last line, where the program did not end it."""
        self._tell(self._blanked.finish(), final=True)

    def _tell(self, data: bytes, *, final: bool = False) -> None:
        try:
            self._log(data)
        finally:
            if self._terminal is not None:
                self._show(self._terminal, self._shown.feed(data, final=final), final=final)

    def _show(self, terminal: Callable[[str], None], text: str, *, final: bool) -> None:
        """Write whole lines, whoever else writes there."""
        self._line.append(text)
        self._size += len(text)
        if not ("\n" in text or final or self._size > LONGEST_LINE):
            return
        lines, newline, rest = "".join(self._line).rpartition("\n")
        lines += newline
        if final or len(rest) > LONGEST_LINE:
            lines, rest = lines + rest, ""
        self._line, self._size = [rest], len(rest)
        if lines:
            for part in self._parts(lines):
                terminal(part)

    def _parts(self, text: str) -> Iterator[str]:
        """Join prefixed lines, as many as the system writes without another process's in between."""
        part: list[str] = []
        size = 0
        for line in text.splitlines():
            if part and size + len(line) + len(self._prefix) > LONGEST_PART:
                yield "\n".join(part)
                part, size = [], 0
            part.append(self._prefix + line)
            size += len(self._prefix) + len(line) + 1
        yield "\n".join(part)
