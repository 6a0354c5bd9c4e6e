"""``--stepwise`` beside jobs: it goes on at the item that failed last, and takes all before it for passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.plugin.internals import move_stepwise_place, stepwise_place

if TYPE_CHECKING:
    from collections.abc import Container


class Stepwise:
    """Registered by a launch. Jobs end in an order of their own, and some items fail after the one that stops it."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self._failed: set[str] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and stepwise_place(self._session.config) == report.nodeid:
            self._failed.add(report.nodeid)

    def settle(self, due: Container[str]) -> None:
        """Go on at the first of the items that failed, or that are still ``due``: none of them is left out."""
        if stepwise_place(self._session.config) is None:
            return
        for item in self._session.items:
            if item.nodeid in self._failed or item.nodeid in due:
                move_stepwise_place(self._session.config, item)
                return
