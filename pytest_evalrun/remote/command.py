"""One command on a board: what it is told, what it writes, how it ends."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from pytest_evalrun.children.output import Heard
from pytest_evalrun.remote.faults import BoardError
from pytest_evalrun.remote.link import broken
from pytest_evalrun.remote.shell import BOOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_evalrun.remote.link import Link

# What fits into one SSH packet of OpenSSH together with its head: more would make two packets of each piece.
PACKET = (1 << 15) - 64
CHUNK = 1 << 16
# A short script that has more to say than the names and hashes of a million files has gone wrong.
MOST_OUTPUT = 1 << 28
# Before a stream is read again for which another reader has set a limit of time.
PAUSE = 0.02


class CommandOutput:
    """A thread that takes in one of the two streams of a channel, so that the other one never has to wait for it.

    Both share one window: a command that nobody listens to on one of them stops after 2 MiB, whoever reads the other.
    """

    def __init__(self, read: Callable[[int], bytes], take: Callable[[bytes], object]) -> None:
        self._read = read
        self._take = take
        self._thread = threading.Thread(target=self._run, name="evalrun-remote-output", daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the stream has ended, or its link is gone."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            try:
                data = self._read(CHUNK)
            except TimeoutError:  # the limit is one of the channel; who set it waits for the other stream
                time.sleep(PAUSE)
                continue
            except broken():  # who waits for the end is told that the link is gone
                return
            if not data:
                return
            self._take(data)


class RemoteCommand:
    """A command that runs on a board: raw, without the watchdog. To be used as a context, or closed.

    ``errors`` hears what it writes to standard error, from its very start; ``combined`` makes that output.
    """

    def __init__(self, link: Link, told: bytes, *, combined: bool = False, errors: Heard | None = None) -> None:
        self._link = link
        self._errors = errors or Heard(None)
        with link.telling():
            self.channel: Any = link.channel()
            self.channel.set_combine_stderr(combined)
            self._taken = None if combined else CommandOutput(self.channel.recv_stderr, self._errors.take)
            self.channel.exec_command(BOOT)
            self.channel.sendall(told)

    def send(self, data: bytes) -> bool:
        """False where it does not read any more; :meth:`code` and :meth:`complaint` then tell why."""
        try:
            for start in range(0, len(data), PACKET):  # paramiko copies what is left of the data for each packet
                self.channel.sendall(data[start : start + PACKET])
        except broken() as error:
            if self._link.lost:
                raise self._link.gone() from error
            return False
        return True

    def end_input(self) -> None:
        with self._link.telling():
            self.channel.shutdown_write()

    def receive(self, size: int, timeout: float | None = None) -> bytes:
        """Something that it wrote; empty at the end. Raises LinkLost, TimeoutError."""
        data = self._read(self.channel.recv, size, timeout)
        if not data and self._link.lost:
            raise self._link.gone()
        return data

    def _read(self, read: Callable[[int], bytes], size: int, timeout: float | None) -> bytes:
        """paramiko also sends here, to say that it has room again: on a dead connection that fails."""
        self.channel.settimeout(timeout)
        try:
            return read(size)
        except TimeoutError:
            raise
        except broken() as error:
            raise self._link.gone(str(error) or type(error).__name__) from error

    def output(self, timeout: float | None = None) -> Iterator[bytes]:
        while data := self.receive(CHUNK, timeout):
            yield data

    def all_output(self, timeout: float | None = None) -> bytes:
        """Read all output of a command that gets no more input. Raises BoardError where it does not come to an end."""
        self.end_input()
        said = bytearray()
        for data in self.output(timeout):
            said += data
            self._check_length(said)
        return bytes(said)

    def exchange(self, pieces: Iterable[bytes]) -> bytes:
        """Send all of them, and the end; gives back all that it wrote, which is taken in meanwhile."""
        said = bytearray()
        taken = CommandOutput(self.channel.recv, lambda data: said.extend(data[: MOST_OUTPUT + 1 - len(said)]))
        for piece in pieces:
            if not self.send(piece):
                break
        self.end_input()
        taken.wait()
        if self._link.lost:
            raise self._link.gone()
        self._check_length(said)
        return bytes(said)

    def _check_length(self, said: bytearray) -> None:
        if len(said) > MOST_OUTPUT:
            raise BoardError(f"board {self._link.name}: a command wrote more than {MOST_OUTPUT >> 20} MiB")

    def complaint(self) -> bytes:
        """The end of what it wrote to standard error; called when it has ended."""
        self.wait_for_errors()
        return self._errors.tail

    def wait_for_errors(self, timeout: float | None = None) -> None:
        """Wait until nobody can write to its standard error any more."""
        if self._taken is not None:
            self._taken.wait(timeout)

    def code(self, timeout: float | None = None) -> int:
        """Its exit code; negative, the number of a signal. Raises LinkLost, TimeoutError."""
        if not self.channel.status_event.wait(timeout):
            raise TimeoutError(f"board {self._link.name}: a command did not end in {timeout:g} s")
        if (name := getattr(self.channel, "exit_signal", None)) is not None:
            return -signal_number(name)
        code: int = self.channel.exit_status
        # A server that dies closes the channel as one does that has done its work.
        if code == -1:
            raise self._link.gone("the connection ended before the command did")
        return code

    def ended(self, timeout: float) -> bool:
        """Within a time."""
        return bool(self.channel.status_event.wait(timeout))

    def close(self) -> None:
        with contextlib.suppress(*broken()):
            self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def signal_number(name: str) -> int:
    """By its name in SSH, which has no SIG in front and may have a domain behind; 0 for one that nobody knows."""
    import signal

    try:
        return signal.Signals[f"SIG{name.partition('@')[0]}"].value
    except KeyError:
        return 0
