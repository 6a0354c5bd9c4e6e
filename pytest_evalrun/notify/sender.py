"""One thread that takes messages to their addresses, in their order; nobody waits for it but the end of a session.

A try that takes too long is left to itself: no time-out of a library ends a search for a host, or an answer that comes
a byte at a time.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_evalrun.notify.protocol import NotSent
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.notify.making import Recipient
    from pytest_evalrun.notify.protocol import Message

# So long a message may take, to whichever address, and so long the end of a session waits for all that is left.
MESSAGE_SECONDS = 5.0
END_SECONDS = 10.0
# How often it is looked whether there is something to be told that nobody else notices.
TICK_SECONDS = 0.5
# Threads of this room are called so.
NAME = "evalrun-notify"


@dataclass(frozen=True)
class _Post:
    """A message, and those who are to get it."""

    message: Message
    recipients: Sequence[Recipient]


@dataclass
class _Failures:
    """Of one address: how many messages did not get there, and why the last did not."""

    count: int = 0
    reason: str = ""


@dataclass
class _Try:
    """One message on its way to one address."""

    recipient: Recipient
    message: Message
    until: float
    trouble: str | None = field(default=None, init=False)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name=f"{NAME}-try", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.recipient.notifier.send(self.message, self.until)
        except NotSent as error:
            self.trouble = str(error)
        except BaseException as error:  # noqa: BLE001 - whatever a library does, the run does not notice
            self.trouble = f"{type(error).__name__} while it was sent"

    def is_over(self) -> bool:
        """Wait until it is, or its time."""
        self.thread.join(max(0.0, self.until - time.monotonic()))
        return not self.thread.is_alive()


class Sender:
    """Messages are put in and forgotten. ``tick`` is called every now and then, by the thread that sends."""

    def __init__(
        self, tick: Callable[[], None], seconds: float = MESSAGE_SECONDS, end_seconds: float = END_SECONDS
    ) -> None:
        self._tick = tick
        self._seconds = seconds
        self._end_seconds = end_seconds
        self._queue: queue.SimpleQueue[_Post | None] = queue.SimpleQueue()
        self._sent: Counter[str] = Counter()
        self._failures: dict[str, _Failures] = {}
        self._closing = False
        self._last: _Post | None = None
        self._until = 0.0
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()

    def put(self, message: Message, recipients: Sequence[Recipient]) -> None:
        """Send a message when those before it are on their way."""
        if recipients:
            self._queue.put(_Post(message, recipients))

    def close(self, message: Message, recipients: Sequence[Recipient], seconds: float | None = None) -> None:
        """Send the last message, in other ``seconds`` than usual; what still waits before it is dropped as old news."""
        self._end_seconds = self._end_seconds if seconds is None else seconds
        self._until = time.monotonic() + self._end_seconds
        self._last = _Post(message, recipients)
        self._closing = True
        self._queue.put(self._last)
        self._queue.put(None)

    def wait(self) -> None:
        """Wait for what is left, after ``close``, as long as that says and no longer."""
        self._thread.join(max(0.0, self._until - time.monotonic()))

    def troubles(self) -> list[str]:
        """A line for each address that something did not get to."""
        if self._last is not None and self._thread.is_alive():
            for recipient in self._last.recipients:
                if recipient.address.shown not in self._failures:
                    self._fail(recipient, f"no answer within {self._end_seconds:g} s")
        return [one_line(self._line(shown, failures)) for shown, failures in self._failures.items()]

    def _line(self, shown: str, failures: _Failures) -> str:
        total = self._sent[shown] + failures.count
        some = f"{failures.count} of {total} messages" if total > 1 else "a message"
        return f"{some} to {shown} did not get there: {failures.reason}"

    def _run(self) -> None:
        while True:
            try:
                post = self._queue.get(timeout=TICK_SECONDS)
            except queue.Empty:
                with suppress(Exception):  # without it there is no stall to be told of, and all else is told
                    self._tick()
                continue
            if post is None:
                return
            if not self._closing or post is self._last:
                self._deliver(post)

    def _deliver(self, post: _Post) -> None:
        """To all at once: one that is slow costs the others nothing."""
        until = time.monotonic() + self._seconds
        for one in [_Try(recipient, post.message, until) for recipient in post.recipients]:
            if not one.is_over():
                self._fail(one.recipient, f"no answer within {self._seconds:g} s")
            elif one.trouble is not None:
                self._fail(one.recipient, one.trouble)
            else:
                self._sent[one.recipient.address.shown] += 1

    def _fail(self, recipient: Recipient, reason: str) -> None:
        failures = self._failures.setdefault(recipient.address.shown, _Failures())
        failures.count += 1
        failures.reason = reason
