"""A server program that is kept running: started anew where it ends, later each time, and given up in the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_evalrun.children.faults import ChildError, ModelDied, NotStarted
from pytest_evalrun.llm.served import TAKEN
from pytest_evalrun.suite.waiting import backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_evalrun.children.process import Child

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
# So many ends in a row, each before it was of use, are a mistake and no accident.
TRIES = 5
# What was ready for less is no better than what never was.
STEADY_SECONDS = 1.0


class Kept:
    """One program, by ``start``, which raises ChildError; whoever owns it looks after it by :meth:`look`.

    ``say`` is told of each start and end. With ``strict`` a program that ends with an exit code of its own before it
    ever was ready is given up at once: it would do the same again.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Child],
        *,
        say: Callable[[str], None],
        strict: bool = False,
        grace: float = 10.0,
    ) -> None:
        self.name = name
        self.grace = grace
        self.failure: ChildError | None = None
        self._start = start
        self._say = say
        self._strict = strict
        self._child: Child | None = None
        self._ready_since: float | None = None
        self._was_ready = False
        self._ends = 0
        self._due = 0.0

    @property
    def is_running(self) -> bool:
        return self._child is not None

    @property
    def is_ready(self) -> bool:
        """Whether it runs, and has been of use since it was started."""
        return self._child is not None and self._ready_since is not None

    @property
    def is_given_up(self) -> bool:
        return self.failure is not None

    @property
    def pids(self) -> tuple[int, ...]:
        """Supervisor and program; none while nothing runs."""
        return self._child.pids if self._child is not None else ()

    def became_ready(self) -> None:
        """Tell that it is of use now."""
        self._ready_since = time.monotonic()
        self._was_ready = True

    def look(self) -> None:
        """Hear whether it has ended, and start it where that is due."""
        if self._child is not None and self._child.poll() is not None:
            child, self._child = self._child, None
            death = child.death()
            fate, lines = child.fate(), child.last_lines
            child.end()
            self._ended(death, fate, taken=TAKEN.search(lines) is not None)
        if self._child is None and self.failure is None and time.monotonic() >= self._due:
            self._begin()

    def end(self, grace: float | None = None) -> None:
        """Return when nothing of it lives; it is not started again unless it is looked after."""
        child, self._child = self._child, None
        if child is not None:
            child.end(self.grace if grace is None else grace)

    def give_up(self, failure: ChildError) -> None:
        """Start it no more."""
        self.failure = failure
        self._say(f"{self.name}: given up")

    def _begin(self) -> None:
        self._ready_since = None
        try:
            self._child = self._start()
        except NotStarted as error:
            self._ended(error, error.fate, taken=False)
        except ChildError as error:
            self._say(f"{self.name}: {error}")
            self.give_up(error)
        else:
            self._say(f"{self.name}: started, process {self._child.pid}")

    def _ended(self, death: ModelDied, fate: str, *, taken: bool) -> None:
        steady = self._ready_since is not None and time.monotonic() - self._ready_since >= STEADY_SECONDS
        self._ready_since = None
        self._ends = 1 if steady else self._ends + 1
        by_itself = death.returncode is None or death.returncode >= 0
        hopeless = self._strict and by_itself and not self._was_ready and not taken
        if hopeless or self._ends >= TRIES:
            self._say(f"{self.name}: {fate}" + ("" if hopeless else f", {self._ends} times in a row"))
            self.give_up(death)
            return
        pause = 0.0 if taken else backoff(self._ends - 1, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._due = time.monotonic() + pause
        self._say(f"{self.name}: {fate}; started again in {pause:g} s")
