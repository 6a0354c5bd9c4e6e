"""What a program writes: into the log as it comes, and to the terminal in whole lines under the pair's id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.suite.secrets import blank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# A line that is longer is shown in parts: a program that never ends its line must not cost memory.
LONGEST_LINE = 1 << 16
# Other workers write to the same terminal: PIPE_BUF, less what letters that are not ASCII take.
LONGEST_PART = 1 << 11


class Teller:
    """Takes chunks, in one thread. ``terminal`` is None where nobody wants to see them there."""

    def __init__(
        self,
        log: Callable[[bytes], None],
        terminal: Callable[[str], None] | None,
        prefix: str,
        secrets: Sequence[str] = (),
    ) -> None:
        self._log = log
        self._terminal = terminal
        self._prefix = f"[{prefix}] "
        self._secrets = secrets
        self._rest = b""

    def __call__(self, chunk: bytes) -> None:
        if not self._secrets:
            self._log(chunk)
            if self._terminal is None:
                return
        head, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
        self._tell(head + newline)
        if len(self._rest) > LONGEST_LINE:
            self.finish()

    def tell(self, line: str) -> None:
        """To the terminal only."""
        if self._terminal is not None:
            self._terminal(self._prefix + line)

    def finish(self) -> None:
        """The last line, where the program did not end it."""
        rest, self._rest = self._rest, b""
        self._tell(rest)

    def _tell(self, lines: bytes) -> None:
        if not lines:
            return
        if self._secrets:
            lines = blank(lines.decode(errors="surrogateescape"), self._secrets).encode(errors="surrogateescape")
            self._log(lines)
        if self._terminal is not None:
            for part in self._parts(lines.decode(errors="replace")):
                self._terminal(part)

    def _parts(self, text: str) -> Iterator[str]:
        """Prefixed lines, as many at once as the system writes without another process's in between."""
        part: list[str] = []
        size = 0
        for line in text.splitlines():
            if part and size + len(line) + len(self._prefix) > LONGEST_PART:
                yield "\n".join(part)
                part, size = [], 0
            part.append(self._prefix + line)
            size += len(self._prefix) + len(line) + 1
        yield "\n".join(part)
