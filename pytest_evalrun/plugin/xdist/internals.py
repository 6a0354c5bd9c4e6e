"""The one file that touches what pytest-xdist and execnet keep to themselves.

Each function says why their hooks do not do. All of it is as in xdist 3.8; of an xdist that lacks the parts of a
worker's loop, ``supported`` says so, and its own loop and scheduler stay.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from functools import cache
from threading import Timer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

# So often a worker is started that dies at once.
STARTS = 3


# ------------------------------------------------------------------ the launching process


def scheduler_of(config: pytest.Config) -> Any:
    """The scheduler at work. ``pytest_xdist_make_scheduler`` is called before anybody knows of a suite."""
    return _session(config).sched


def replace_scheduler(config: pytest.Config, scheduler: Any) -> None:
    """Put another one in its place, which gets the workers that are ready already."""
    session = _session(config)
    before, session.sched = session.sched, scheduler
    for node in before.nodes:
        scheduler.add_node(node)


def replace_remove_node(config: pytest.Config, make: Callable[[Any], Callable[[Any], str | None]]) -> None:
    """Ask what ``make`` makes of the scheduler whenever a worker has ended, once.

    ``pytest_handlecrashitem`` comes too late to say that nothing crashed: its report goes to every plugin (#466, #932).
    """
    scheduler = scheduler_of(config)
    if not getattr(scheduler.remove_node, "is_ours", False):
        replaced = make(scheduler)
        vars(replaced)["is_ours"] = True
        scheduler.remove_node = replaced


def scopes_of(scheduler: Any, node: Any) -> list[dict[str, bool]] | None:
    """Give a worker's node ids → whether they are done, where a scheduler keeps files, classes or groups together.

    None for any other. What is not done when the worker ends it runs again by itself, for ever (see also #1323).
    """
    from xdist.scheduler import LoadScopeScheduling

    if not isinstance(scheduler, LoadScopeScheduling):  # loadfile and loadgroup are such ones too
        return None
    return list(scheduler.assigned_work.get(node, {}).values())


def wake(config: pytest.Config, seconds: float) -> None:
    """Have ``remove_pending_tests_from_node`` called with no node in a moment: the one event that nobody else uses.

    Its loop waits for words of workers only.
    """
    event: tuple[str, dict[str, Any]] = ("unscheduled", {"node": None, "indices": []})
    timer = Timer(seconds, _session(config).queue.put, [event])
    timer.daemon = True
    timer.start()


def start_patiently(config: pytest.Config) -> None:
    """A replacement that dies before its first word would be an internal error that ends the session; try again."""
    session = _session(config)
    clone = session._clone_node

    def again(node: Any) -> Any:
        for _ in range(STARTS - 1):
            with suppress(EOFError, OSError):
                return clone(node)
        return clone(node)

    session._clone_node = again


def allow_restart(config: pytest.Config) -> None:
    """One worker more may die, unless the user has set how many: xdist counts for the whole session only (#226)."""
    session = _session(config)
    if config.getoption("maxworkerrestart", None) is None and session._max_worker_restart is not None:
        session._max_worker_restart += 1


def difference(one: Sequence[str], other: Sequence[str], name: str) -> str | None:
    """Write what xdist says of collections that are not the same, as its own schedulers do."""
    from xdist.report import report_collection_diff

    text = report_collection_diff(one, other, "the launching process", name)
    return str(text) if text else None


def exit_code(node: Any) -> int | None:
    """Give a worker's exit code, where execnet keeps its process; negative for a signal, as subprocess has it."""
    popen: Any = getattr(getattr(node.gateway, "_io", None), "popen", None)
    try:
        return None if popen is None else popen.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return None


def pid_of(node: Any) -> int | None:
    """Give the process of a worker, where execnet has started it on this host."""
    popen: Any = getattr(getattr(node.gateway, "_io", None), "popen", None)
    return None if popen is None else int(popen.pid)


def _session(config: pytest.Config) -> Any:
    return config.pluginmanager.get_plugin("dsession")


# ------------------------------------------------------------------ a worker


@cache
def supported() -> bool:
    """Say whether this xdist has the parts that are used below (all of 3.8 has)."""
    from xdist import dsession, remote

    names = {*vars(remote.WorkerInteractor), *remote.WorkerInteractor.__init__.__code__.co_names}
    parts = {"handle_command", "sendevent", "torun", "channel"}
    words = hasattr(remote, "Marker") and hasattr(getattr(remote, "TestQueue", None), "lock")
    return parts <= names and words and hasattr(dsession.DSession, "worker_unscheduled")


class Orders:
    """The orders of a worker, and its answers. xdist's own loop waits for the item after next (#894)."""

    def __init__(self, config: pytest.Config) -> None:
        self._interactor = _interactor(config)
        self._end: object = None

    def listen(self) -> None:
        """Make orders of the words of the launching process from now on; its end is one, too."""
        handle = self._interactor.handle_command
        self._end = handle.__func__.__globals__["Marker"].SHUTDOWN
        self._interactor.channel.setcallback(handle, endmarker=self._end)

    def next(self) -> object:
        """Waits for it; a number, or the word to end, which goes before all that was sent earlier."""
        order = self._interactor.torun.get()
        with self._interactor.torun.lock() as waiting:
            return self._end if self._end in waiting else order

    def add(self, number: int) -> None:
        """An order of our own."""
        self._interactor.torun.put(number)

    def begin(self, index: int) -> None:
        """The reports to come are of this item."""
        self._interactor.item_index = index

    def end(self, index: int, seconds: float) -> None:
        """The item is over, torn down too."""
        self._interactor.sendevent("runtest_protocol_complete", item_index=index, duration=seconds)


def leave_pipes_to_parent(config: pytest.Config) -> None:
    """Close a worker's pipes in its forks: one may outlive it, and while it had them nobody would see it die."""
    io = _interactor(config).channel.gateway._io
    fds = [file.fileno() for name in ("infile", "outfile") if (file := getattr(io, name, None))]

    def point_nowhere() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in fds:
            os.dup2(null, fd, inheritable=False)
        os.close(null)

    os.register_at_fork(after_in_child=point_nowhere)


def _interactor(config: pytest.Config) -> Any:
    """Find what xdist runs in a worker. The class lives in a module that execnet made, so it is known by its name."""
    return next(plugin for plugin in config.pluginmanager.get_plugins() if type(plugin).__name__ == "WorkerInteractor")
