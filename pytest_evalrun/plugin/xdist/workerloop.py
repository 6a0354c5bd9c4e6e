"""The workers' loop: each item runs as soon as it arrives; xdist's own would first wait for the one after it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.plugin.onebyone import OneByOne
from pytest_evalrun.plugin.xdist.internals import Orders, supported

if TYPE_CHECKING:
    from collections.abc import Callable

# What else a worker may be told. An item is never negative.
UNLOAD = -1
LOOK = -2
# How often an idle worker with a model on a GPU looks whether somebody waits for that.
LOOK_SECONDS = 5.0


def message(index: int, successor: int | None, count: int) -> int:
    """An item and the one after it in one number, because xdist hands over numbers, one by one."""
    return index * (count + 1) + (count if successor is None else successor)


def parse(number: int, count: int) -> tuple[int, int | None]:
    index, successor = divmod(number, count + 1)
    return index, None if successor == count else successor


def take_orders(config: pytest.Config, unload: Callable[[], None], look: Callable[[], None]) -> bool:
    """Run a worker's items as our scheduler sends them, where the launching process said that it will."""
    if not getattr(config, "workerinput", {}).get("evalrun_loop") or not supported():
        return False
    config.pluginmanager.register(OneAtATime(config, unload, look), "evalrun-loop")
    return True


class OneAtATime:
    """Registered on a worker that found a pair, where the launching process uses our scheduler.

    ``unload`` gives the model back; ``look`` does so only where somebody waits for its GPU.
    """

    def __init__(self, config: pytest.Config, unload: Callable[[], None], look: Callable[[], None]) -> None:
        self._orders = Orders(config)
        self._unload = unload
        self._look = look
        self._idle = False
        self._one = OneByOne()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._orders.listen()
        threading.Thread(target=self._remind, name="evalrun-idle", daemon=True).start()
        while isinstance(number := self._wait(), int):
            if number >= 0:
                self._run(session, *parse(number, len(session.items)))
            else:
                {UNLOAD: self._unload, LOOK: self._look}[number]()
            if session.shouldfail or session.shouldstop:
                break
        self._one.tear_down(session, None)
        return True

    def _wait(self) -> object:
        self._idle = True
        number = self._orders.next()
        self._idle = False
        return number

    def _remind(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            if self._idle:
                self._orders.add(LOOK)

    def _run(self, session: pytest.Session, index: int, successor: int | None) -> None:
        item = session.items[index]
        self._one.tear_down(session, item)
        self._orders.begin(index)
        started = time.perf_counter()
        self._one.run(item, None if successor is None else session.items[successor])
        self._orders.end(index, time.perf_counter() - started)
