"""Workers that died: which item each took along, whether that is run again, and what is said of it if not."""

from __future__ import annotations

import json
import signal
import time
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_evalrun.plugin.xdist.internals import exit_code, replace_remove_node, scopes_of
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from pytest_evalrun.plugin.launch import LaunchDir

MOST_SHOWN = 20


class Lost(Enum):
    """The fate of an item whose worker died."""

    AGAIN = "it is run again"
    OVER = "it had its outcome already"
    UNTOUCHED = "it had not started yet"
    ERROR = "it is reported as an error"


AGAIN = frozenset({Lost.AGAIN, Lost.UNTOUCHED})


class WorkerCrashes:
    """Counts the deaths of each item's workers; keeps which items there are, and which have ended."""

    def __init__(self, launch: LaunchDir, retries: int) -> None:
        self._launch = launch
        self.retries = retries
        self.expected: dict[str, None] = {}
        self._started: dict[str, float] = {}
        self._called: set[str] = set()
        self._ended: set[str] = set()
        self._deaths: dict[str, int] = {}
        self._reasons: dict[str, str] = {}
        self._briefs: dict[str, str] = {}

    def started(self, nodeid: str) -> None:
        self._started[nodeid] = time.monotonic()

    def called(self, nodeid: str) -> None:
        """It has an outcome, but not all of its reports: to run it again would count it twice."""
        self._called.add(nodeid)

    def ended(self, nodeid: str) -> None:
        self._ended.add(nodeid)

    def has_ended(self, nodeid: str) -> bool:
        return nodeid in self._ended

    def of(self, nodeid: str, node: Any, limit: float | None, *, again: bool = True) -> Lost:
        """Decide, and remember the reason; to be asked once a death. ``limit`` is the item's own, in seconds.

        ``again`` is False for what may not be run again, whatever was asked for.
        """
        if nodeid not in self._started and nodeid not in self._ended:
            return Lost.UNTOUCHED
        self._deaths[nodeid] = deaths = self._deaths.get(nodeid, 0) + 1
        if nodeid in self._ended:
            return Lost.OVER
        hung = self._hung(nodeid, node.gateway.id) or self._overdue(nodeid, node, limit)
        died = "" if hung else how_it_died(node)
        self._reasons[nodeid] = hung or f"its worker {node.gateway.id} died: {died}"
        self._briefs[nodeid] = (
            hung or f"worker died: {died.removeprefix('it ').removeprefix('was ').removeprefix('ended with ')}"
        )
        del self._started[nodeid]
        again = again and not hung and nodeid not in self._called
        return Lost.AGAIN if again and deaths <= self.retries else Lost.ERROR

    def _hung(self, nodeid: str, worker: str) -> str | None:
        """Read what a worker said of itself before it gave up an item that nothing could interrupt."""
        text = self._launch.read(f"hung-{worker}.json")
        told = json.loads(text) if text else {}
        return told["reason"] if told.get("nodeid") == nodeid else None

    def _overdue(self, nodeid: str, node: Any, limit: float | None) -> str | None:
        """A worker in which nothing of Python runs any more is ended by faulthandler, with exit code 1."""
        if limit is None or time.monotonic() - self._started[nodeid] < limit or exit_code(node) != 1:
            return None
        return f"timed out after {limit:g} s; nothing in its worker reacted, so it was replaced"

    def charged(self, nodeid: str) -> bool:
        """Say whether its tries paid for its last worker; what is run again all the same is paid for by the session."""
        return 0 < self._deaths.get(nodeid, 0) <= self.retries + 1

    def again(self, nodeid: str) -> str:
        return f"{self._reasons[nodeid]}; running again ({self._deaths[nodeid]} of {self.retries})"

    def reason(self, nodeid: str) -> str:
        """Why an item is an error although nothing in it failed."""
        deaths = self._deaths.get(nodeid, 1)
        times = f", as {deaths - 1} before it" if deaths > 1 else ""
        return f"{self._reasons.get(nodeid, 'its worker died')}{times}; what it had predicted is kept"

    def brief(self, nodeid: str) -> str:
        """Say why an item is an error in so few words that a line which may be cut has them."""
        return self._briefs.get(nodeid, "worker died")

    def never_ran(self, among: Iterable[str]) -> list[str]:
        """Lines about items that no worker was left for: xdist ends with exit code 0 then, and it is no success."""
        missing = [nodeid for nodeid in among if nodeid not in self._ended]
        if not missing:
            return []
        more = [f"  and {len(missing) - MOST_SHOWN} more"] if len(missing) > MOST_SHOWN else []
        shown = [f"  {nodeid}" for nodeid in missing[:MOST_SHOWN]]
        return [f"{counted(len(missing), 'item')} never ran; the same command runs them:", *shown, *more]


def how_it_died(node: Any) -> str:
    """Say how a worker ended, by what the operating system knows of it: its signal or exit code."""
    from pytest_evalrun.children.supervised import how_it_ended

    code = exit_code(node)
    if code is None:
        return "its connection was lost"
    return f"it {how_it_ended(code)}" + (", as the system does when memory runs out" if code == -signal.SIGKILL else "")


def requeue(config: pytest.Config, lost: Callable[[str, Any], Lost]) -> None:
    """Run an item whose worker died again, where another scheduler than ours is at work."""
    replace_remove_node(config, lambda scheduler: partial(_remove, scheduler, scheduler.remove_node, lost))


def _remove(
    scheduler: Any, remove: Callable[[Any], str | None], lost: Callable[[str, Any], Lost], node: Any
) -> str | None:
    """Stand in for ``remove_node`` of a scheduler of xdist: what ``lost`` says is run again is no crashed item."""
    scopes = scopes_of(scheduler, node)
    if scopes is not None:
        return _remove_scopes(scopes, remove, lost, node)
    crashed = remove(node)
    what = lost(crashed, node) if crashed is not None else Lost.OVER
    if what in AGAIN:
        try:
            scheduler.mark_test_pending(crashed)
        except NotImplementedError:
            return crashed
    return crashed if what is Lost.ERROR else None


def _remove_scopes(
    scopes: list[dict[str, bool]], remove: Callable[[Any], str | None], lost: Callable[[str, Any], Lost], node: Any
) -> str | None:
    """These run what crashed again by themselves, and report it each time: unless it counts as done."""
    crashed = next(((scope, item) for scope in scopes for item, done in scope.items() if not done), None)
    what = lost(crashed[1], node) if crashed is not None else Lost.OVER
    if crashed is not None and what not in AGAIN:
        scope, item = crashed
        scope[item] = True
    remove(node)
    return crashed[1] if crashed is not None and what is Lost.ERROR else None
