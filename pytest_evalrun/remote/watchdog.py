"""The two ends of a life line: what runs on a board ends with the connection, and a dead connection is noticed here."""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pytest_evalrun.children.output import Heard
from pytest_evalrun.remote.command import CommandOutput
from pytest_evalrun.remote.faults import BoardError
from pytest_evalrun.remote.link import broken
from pytest_evalrun.remote.shell import BOOT, WATCH, told

if TYPE_CHECKING:
    from pytest_evalrun.remote.link import Link

PREFIX = "/tmp/evalrun-watch-"  # noqa: S108 - made by mkdir under a name that nobody can guess, and kept from others


class Watchdog:
    """Starts one on the board; ``directory`` is where programs leave their names to be ended by it.

    It answers every beat, so that silence means that the link is dead whatever the kernel says: a ``ProxyJump`` or a
    firewall may swallow data without a word.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stopped = threading.Event()
        token = secrets.token_hex(8)
        self.directory = f"{PREFIX}{token}"
        limits = link.limits
        with link.telling():
            self._channel = link.channel()
            self._channel.settimeout(limits.connect)
            self._errors = Heard(None)
            self._taken = CommandOutput(self._channel.recv_stderr, self._errors.take)
            self._channel.exec_command(BOOT)
            with suppress(*broken()):  # a shell that has ended already; what became of it is told by reading
                self._channel.sendall(told(WATCH, [self.directory, str(limits.watch), str(limits.grace)]))
            # Its owner by name and number: others on the board, of any user, can see whether it lives.
            self.owner = f"{token}.{self._pid()}"
        for work in (self._beat, self._listen):
            threading.Thread(target=work, name=f"evalrun-{work.__name__}", daemon=True).start()

    def done(self, pid: int) -> None:
        """A program has ended: what it left behind in its group shall end too. Nobody waits for that."""
        self._say(f"done {pid}")

    def stop(self) -> None:
        self._stopped.set()

    def _pid(self) -> int:
        said = b""
        while not said.endswith(b"\n"):
            piece = self._channel.recv(1000)
            if not piece:
                raise self._ended_early()
            said += piece
        word, _, pid = said.decode(errors="replace").strip().rpartition("watching ")
        if word or not pid.isdecimal():
            raise BoardError(
                f"board {self._link.name}: its shell greets us with {said[:200]!r}; silence its start files"
            )
        return int(pid)

    def _ended_early(self) -> Exception:
        """Say why it ended early. A shell without exit code did not end: a lost link closes the channel like that."""
        self._channel.status_event.wait(self._link.limits.connect)
        if self._channel.exit_status == -1 and not hasattr(self._channel, "exit_signal"):
            return self._link.gone()
        self._taken.wait(self._link.limits.connect)
        complaint = self._errors.tail[-1000:].decode(errors="replace").strip() or "its shell ended"
        return BoardError(f"board {self._link.name}: no watchdog can be started: {complaint}")

    def _beat(self) -> None:
        while not self._stopped.wait(self._link.limits.beat) and self._say("beat"):
            pass

    def _say(self, line: str) -> bool:
        try:
            self._channel.sendall(f"{line}\n".encode())
        except broken():
            return False
        return True

    def _listen(self) -> None:
        """Apart from the beats, for those may be stuck in a full buffer of the link that is dead."""
        self._channel.settimeout(self._link.limits.beat / 2)
        while not self._stopped.is_set():
            if self._hear() == b"":
                self._link.lose("the connection ended")
                return
            if self._link.silence > self._link.limits.quiet:
                self._link.lose(f"nothing was heard from it for {self._link.limits.quiet:g} s")
                return

    def _hear(self) -> Any:
        try:
            return self._channel.recv(1 << 12)
        except TimeoutError:
            return None
        except broken():
            return b""
