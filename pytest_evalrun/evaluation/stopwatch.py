"""How long an item took, step by step, and what its result says of that."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.results import TIMING
from pytest_evalrun.rundir.timings import Timing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.evaluation.score import Latencies
    from pytest_evalrun.evaluation.shards import ShardProgress
    from pytest_evalrun.predicting.services import GpuMemory
    from pytest_evalrun.rundir.predictions import Progress
    from pytest_evalrun.rundir.results import Result

    Seconds = dict[str, float | None]


class Stopwatch:
    """Started with the item. ``shards`` is what the shards of a pair took, who did the predicting for it."""

    def __init__(self, memory: GpuMemory) -> None:
        self.load = 0.0
        self.score = 0.0
        self.own = Timing()
        self.shards = Timing()
        self._memory = memory
        self._started = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds since the item began, and those of its shards before."""
        return time.perf_counter() - self._started + self.shards.predict

    @property
    def timing(self) -> Timing:
        return self.own + self.shards

    @contextmanager
    def predicting(self, progress: Progress | ShardProgress) -> Iterator[None]:
        """While a model is asked, however that ends."""
        self._memory.forget()
        started, before = time.perf_counter(), progress.done_count
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self.own += Timing(seconds, progress.done_count - before, self._memory.peak_gb())

    def seconds(self, latencies: Latencies, timing: int | None, old: Result | None) -> Seconds:
        """What the result says. Predictions that were timed otherwise than by ``TIMING`` have no latencies to show.

        What was only scored again has the throughput of when it was predicted, which ``old`` knows.
        """
        steps = {"load": self.load, "predict": self.timing.predict, "score": self.score, "total": self.total}
        seconds: Seconds = {name: round(value, 6) for name, value in steps.items()}
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            seconds[name] = latencies.quantile(share) if timing == TIMING else None
        return seconds | {"throughput": old.seconds.get("throughput") if old else self.timing.throughput}

    def peak(self, old: Result | None) -> dict[str, float]:
        """For the environment of the result: ``gpu_peak_gb``, where it is known."""
        peak = old.environment.get("gpu_peak_gb") if old else self.timing.gpu_peak_gb
        return {} if peak is None else {"gpu_peak_gb": peak}
