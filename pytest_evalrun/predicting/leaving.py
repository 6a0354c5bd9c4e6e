"""Whether a process was asked to leave, and whether it may: a batch that is under way is waited for, where it can be.

A session of a person ends at once: he looks on, and asks the batch again. A job of a cluster is told some time before
its machine is taken away, and what it has asked of a model by then is kept.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Leaving:
    """Shared by whoever hears of the wish (``asked``) and whoever asks a model; never ``patient`` but in a job.

    ``workers`` names the processes that are to be told of it, too.
    """

    def __init__(self, *, patient: bool = False, workers: Callable[[], Iterable[int]] = tuple) -> None:
        self.patient = patient
        self.workers = workers
        self.asked = False
        self._asking = False

    @property
    def waits(self) -> bool:
        """Whoever asks a model ends by itself, once nothing of it is under way: nobody shall break in on it."""
        return self.patient and self._asking

    @property
    def stops(self) -> bool:
        """Nothing more is to be asked of a model."""
        return self.patient and self.asked

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While a model is asked batch by batch."""
        before, self._asking = self._asking, True
        try:
            yield
        finally:
            self._asking = before
