"""SIGTERM as good as Ctrl-C: pytest leaves it alone (pytest#5243), and a run would lose its end."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Sigterm:
    """While taken, SIGTERM raises KeyboardInterrupt in the main thread.

    ``workers`` names processes that get the signal too: Ctrl-C reaches the whole group, SIGTERM only this process.
    """

    def __init__(self, workers: Callable[[], Iterable[int]] = tuple) -> None:
        self._workers = workers
        self._before: Any = None
        self._taken = False

    def take(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._interrupt)
            self._taken = True

    def give_back(self) -> None:
        if self._taken:
            signal.signal(signal.SIGTERM, self._before)
            self._taken = False

    def _interrupt(self, _number: int, _frame: object) -> NoReturn:
        for pid in self._workers():
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        raise KeyboardInterrupt("SIGTERM")
