"""What a program writes: into the log as it is, to the terminal safe to show, in whole lines under the pair's id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.suite.printable import printable
from pytest_evalrun.suite.secrets import NO_SECRETS, BlankedLines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_evalrun.suite.secrets import Secrets

# Other workers write to the same terminal: PIPE_BUF, less what letters that are not ASCII take.
LONGEST_PART = 1 << 11


class Teller:
    """Takes chunks, in one thread. ``terminal`` is None where nobody wants to see them there."""

    def __init__(
        self,
        log: Callable[[bytes], None],
        terminal: Callable[[str], None] | None,
        prefix: str,
        secrets: Secrets = NO_SECRETS,
    ) -> None:
        self._log = log
        self._terminal = terminal
        self._prefix = f"[{printable(prefix)}] "
        self._secrets = secrets
        self._lines = BlankedLines(secrets)

    def __call__(self, chunk: bytes) -> None:
        if not self._secrets:
            self._log(chunk)
            if self._terminal is None:
                return
        self._tell(self._lines.feed(chunk))

    def tell(self, line: str) -> None:
        """To the terminal only."""
        if self._terminal is not None:
            self._terminal(self._prefix + line)

    def finish(self) -> None:
        """The last line, where the program did not end it."""
        self._tell(self._lines.finish())

    def _tell(self, lines: bytes) -> None:
        if not lines:
            return
        if self._secrets:
            self._log(lines)
        if self._terminal is not None:
            for part in self._parts(printable(lines.decode(errors="replace"))):
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
