"""A board as one worker has it: one connection that is kept, and made again when it was lost."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pytest_evalrun.remote.command import RemoteCommand
from pytest_evalrun.remote.faults import BoardError, LinkLost
from pytest_evalrun.remote.hosts import route
from pytest_evalrun.remote.link import Limits, Link
from pytest_evalrun.remote.shell import PLAIN, told
from pytest_evalrun.remote.watchdog import Watchdog
from pytest_evalrun.suite.waiting import pauses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_evalrun.remote.hosts import Host

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

# What the board has; a tool is believed when it works.
_FACTS = (
    PLAIN
    + """
h=$(cd -P -- "${1:-$HOME}" && pwd -P) || {
    echo "home: of the board and REMOTE_TASK_HOME say where that is" >&2
    exit 1
}
command -v tar >/dev/null && tar -cf - /dev/null 2>/dev/null | tar -tf - >/dev/null 2>&1 && echo tar
command -v tee >/dev/null && echo tee
makes() { case $(printf '' | $1 2>/dev/null) in $empty*) return 0 ;; *) return 1 ;; esac; }
empty=$2
for s in sha256sum 'shasum -a 256'; do makes "$s" && echo "sha256 $s" && break; done
# Several times as fast, where it is.
for s in 'openssl dgst -sha256 -r' sha256sum 'shasum -a 256'; do makes "$s" && echo "hash $s" && break; done
echo "home $h"
"""
)


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code (negative: the signal), and all that it wrote."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode(errors="surrogateescape")

    @property
    def complaint(self) -> str:
        """The end of what it complained of, in one line."""
        lines = (self.err or self.out).decode(errors="replace").split("\n")
        return "; ".join(line.strip() for line in lines if line.strip())[-500:] or f"exit code {self.code}"


@dataclass(frozen=True)
class Facts:
    """The tools of a board: its home without links, a working tar, tee; and for SHA-256 (empty: nothing can make it)

    ``sha256``, which takes names of files, and ``hash``, the fastest that reads its standard input.
    """

    home: str
    tar: bool
    tee: bool
    sha256: str
    hash: str


class Connection:
    """Connects at first use. ``home`` is REMOTE_TASK_HOME; empty, the user's home on the board.

    Any thread may use it. After a loss each waiting call raises LinkLost, and the next call connects again. ``gone``
    says why that did not help, once it was tried for as long as it should. ``notes`` are what a person should hear of
    the files of known keys; ``say`` was told them.
    """

    def __init__(
        self, host: Host, *, home: str = "", limits: Limits | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        self.host = host
        self.limits = limits or Limits()
        self.connects = 0
        self.gone = ""
        self.notes: list[str] = []
        self.home = home
        self._gone_at = 0.0
        self._closed = threading.Event()
        self._say = say or (lambda _: None)
        self._lock = threading.RLock()
        self._link: Link | None = None
        self._watchdog: Watchdog | None = None
        self._facts: Facts | None = None

    @property
    def name(self) -> str:
        return self.host.name

    def connect(self, *, patiently: bool = False) -> None:
        """Now, and in one attempt: whether a board can be reached is asked like this. Raises LinkLost, ConfigError.

        ``patiently``: one that was there and is lost is waited for, as by :meth:`link`.
        """
        with self._lock:
            self._closed.clear()
            if patiently:
                self.link()
            elif self._link is None or self._link.lost:
                self._connect()

    def link(self) -> Link:
        """The link that stands, made again where it was lost: with back-off, for ``limits.reconnect`` seconds.

        Who waited while another thread tried so in vain does not try for as long once more.
        """
        since = time.monotonic()
        with self._lock:
            if self._link is not None and not self._link.lost:
                return self._link
            self._check_open()
            if self.gone and self._gone_at >= since:
                raise LinkLost(self.gone)
            again = self._link is not None
            for last in self._attempts(self.limits.reconnect if again else 0.0):
                try:
                    self._connect()
                    break
                except LinkLost as error:
                    if last:
                        self.gone, self._gone_at = str(error), time.monotonic()
                        raise
                    self._say(f"{error}; trying again")
            assert self._link is not None
            return self._link

    @property
    def watchdog(self) -> Watchdog:
        self.link()
        assert self._watchdog is not None
        return self._watchdog

    @property
    def closed(self) -> bool:
        """It was closed here, and nobody has connected since."""
        return self._closed.is_set()

    @property
    def lost(self) -> bool:
        """There was a connection, and it is gone."""
        return self._link is not None and self._link.lost

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = self._find_facts()
        return self._facts

    def close(self) -> None:
        """Close at once, whoever is just connecting again; what still runs on the board is ended by its watchdog.

        From now on every call raises LinkLost, until :meth:`connect`.
        """
        self._closed.set()
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._link is not None:
            self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, script: str, args: Sequence[str] = (), env: Mapping[str, str] | None = None) -> RemoteCommand:
        """A script that has begun; the caller talks to it. Raises LinkLost."""
        return RemoteCommand(self.link(), told(script, args, env))

    def run(self, script: str, *args: str, data: bytes = b"", timeout: float | None = None) -> Done:
        """A short script, from beginning to end. Raises LinkLost, TimeoutError."""
        with self.start(PLAIN + script, args) as command:
            out = command.exchange([data]) if data else command.all_output(timeout)
            return Done(command.code(timeout), out, command.complaint())

    def must(self, what: str, script: str, *args: str, data: bytes = b"", timeout: float | None = None) -> Done:
        """Run a command as :meth:`run` does; raises BoardError with its complaint where it fails."""
        done = self.run(script, *args, data=data, timeout=timeout)
        if done.code:
            raise BoardError(f"board {self.name}: {what} failed: {done.complaint}")
        return done

    def _connect(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
        link = Link(route(self.host), self.limits, self._note)
        try:
            self._watchdog = Watchdog(link)
        except BaseException:
            link.close()
            raise
        self._link = link
        if self._closed.is_set():
            link.close()
            self._check_open()
        self.gone = ""
        self.connects += 1

    def _note(self, line: str) -> None:
        """Once, however often the connection is made."""
        if line not in self.notes:
            self.notes.append(line)
            self._say(line)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise LinkLost(f"board {self.name}: the connection was closed here")

    def _attempts(self, seconds: float) -> Iterator[bool]:
        """Yield for each attempt, with growing pauses, whether it is the last one."""
        deadline = time.monotonic() + seconds
        for pause in pauses(FIRST_PAUSE, LONGEST_PAUSE):
            if (left := deadline - time.monotonic()) <= 0:
                break
            yield False
            self._closed.wait(min(pause, left))
            self._check_open()
        yield True

    def _find_facts(self) -> Facts:
        where = self.home or "the home directory"
        lines = self.must(f"entering {where}", _FACTS, self.home, _EMPTY).text.splitlines()
        found = dict(line.partition(" ")[::2] for line in lines)
        return Facts(found["home"], "tar" in found, "tee" in found, found.get("sha256", ""), found.get("hash", ""))
