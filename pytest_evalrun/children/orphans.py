"""Processes that a model or a test started by itself, told from those of others: ended when it is given up."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.children.handle import supervisors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

GRACE_SECONDS = 1.0
_THREADS = Path("/proc/self/task")
_MOST_LOOKS = 50


class OrphanProcesses:
    """Knows which children of this process came while a model or a test was at work.

    Others are not ours to end: a server that a fixture of the session started, for one; nor are supervisors, which
    see to their programs themselves.
    """

    def __init__(self) -> None:
        self._spared: set[int] = set()
        self._known: set[int] = set()
        self._at_work = False

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count what is started meanwhile, and still lives, as an orphan."""
        self._spare(children())
        self._at_work = True
        try:
            yield
        finally:
            self._at_work = False
            self._known = children()

    def _spare(self, now: set[int]) -> None:
        self._spared = (self._spared & now) | (now - self._known)

    def end(self, record: Callable[[int], object]) -> None:
        """End them all, and what they started; ``record`` is called with each before anything happens to it."""
        import psutil

        if not self._at_work:
            self._spare(children())
        orphans = list(_families(self._spared | supervisors()))
        for process in orphans:
            record(process.pid)
            with suppress(psutil.Error):  # it has ended by itself; psutil signals no other process that got its PID
                process.terminate()
        _, alive = psutil.wait_procs(orphans, timeout=GRACE_SECONDS)
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=GRACE_SECONDS)


def children() -> set[int]:
    """The PIDs of this process's own children, whichever of its threads started them."""
    try:
        return _settled_children()
    except OSError:  # no Linux, or one whose kernel was built without them
        import psutil

        return {process.pid for process in psutil.Process().children()}


def _settled_children() -> set[int]:
    """List the children on which two looks agree. Raises OSError where the system does not list them by thread.

    A thread that ends while others are read hands its children on to one that was read already, and a child that is
    waited for makes the kernel skip another one of the same list (proc_pid_children(5)).
    """
    found = None
    for _ in range(_MOST_LOOKS):
        before, found = found, {pid for thread in os.listdir(_THREADS) for pid in _children_of(thread)}  # noqa: PTH208 - once an item
        if found == before:
            return found
    raise OSError("children come and go faster than they can be listed")


def _children_of(thread: str) -> list[int]:
    try:
        return [int(pid) for pid in (_THREADS / thread / "children").read_bytes().split()]
    except (FileNotFoundError, ProcessLookupError):
        if (_THREADS / thread).exists():
            raise
        return []  # it has just ended


def _families(but: Iterable[int]) -> Iterator[Any]:
    """Children with all that they started."""
    import psutil

    for child in psutil.Process().children():
        if child.pid not in but:
            yield child
            with suppress(psutil.Error):  # it has just ended
                yield from child.children(recursive=True)
