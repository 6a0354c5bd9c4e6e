"""Items one at a time, by whoever knows only later which is the next: nothing is torn down that it may use."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_evalrun.plugin.internals import tear_down


class OneByOne:
    """Runs items of a session. Before the last call of ``tear_down`` packages and the session stay set up."""

    def __init__(self) -> None:
        self._last: pytest.Item | None = None
        self._stays: dict[pytest.Collector, pytest.Item] = {}

    def run(self, item: pytest.Item, successor: pytest.Item | None = None) -> None:
        """Run an item, after ``tear_down`` for it. ``successor`` is the next one for certain; None: told only later."""
        following = self._stay(item) if successor is None else successor
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        self._last = item

    def tear_down(self, session: pytest.Session, item: pytest.Item | None) -> None:
        """Tear down what the last item left standing, and the next one has no use for; trouble is the last item's."""
        last = self._last
        if last is None:
            return
        call = pytest.CallInfo.from_call(
            lambda: tear_down(session, item), when="teardown", reraise=(pytest.exit.Exception, KeyboardInterrupt)
        )
        if call.excinfo is not None:
            report = last.ihook.pytest_runtest_makereport(item=last, call=call)
            last.ihook.pytest_runtest_logreport(report=report)

    def _stay(self, item: pytest.Item) -> pytest.Item:
        """A next item that leaves packages and the session set up, and nothing below: where the next one lies, we
        are told only later."""
        module = item.getparent(pytest.Module)
        parent: Any = module.parent if module is not None else item.session
        if parent not in self._stays:
            self._stays[parent] = Stay.from_parent(parent, name="stay")
        return self._stays[parent]


class Stay(pytest.Item):
    """Stands for the item after this one and is never run."""

    def runtest(self) -> None:
        raise AssertionError("never run")
