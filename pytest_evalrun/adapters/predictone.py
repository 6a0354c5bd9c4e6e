"""The user's ``predict_one``: a class that is asked for one sample at a time, many of them at once."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.adapters.eventloop import Coroutines
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.forks import UsersCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.datasets.protocol import Sample

# Where a suite says nothing. What waits for others by itself is meant for many; a plain method may know no threads.
CONCURRENCY = 1
CONCURRENCY_OF_ASYNC = 16


@dataclass(frozen=True)
class PredictOne:
    """How one sample is asked for, ``concurrency`` of them at once; ``retry_on`` are names of errors that may pass."""

    method: Callable[[Sample], Any]
    concurrency: int
    retry_on: Sequence[str] = ()

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.method)

    def ask(self, sample: Sample) -> Any:
        """Call a plain method in this thread."""
        with UsersCode():
            answer = self.method(sample)
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()  # or Python warns of it, somewhere and some time
            raise PairError("predict_one answered something to be awaited; accepted: async def predict_one, or a value")
        return answer

    async def ask_async(self, sample: Sample) -> Any:
        """Await one that is a coroutine."""
        with UsersCode():
            return await self.method(sample)

    def ask_all(self, batch: Sequence[Sample]) -> list[Any]:
        """One answer a sample, in their order; the first error is that of the batch."""
        if self.is_async:
            with Coroutines[list[Any]]() as coroutines:
                return coroutines.start(self._all(batch)).result()
        if self.concurrency == 1:
            return [self.ask(sample) for sample in batch]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(self.concurrency, "evalrun-predict") as threads:
            return list(threads.map(self.ask, batch))

    async def _all(self, batch: Sequence[Sample]) -> list[Any]:
        import asyncio

        places = asyncio.Semaphore(self.concurrency)

        async def in_its_place(sample: Sample) -> Any:
            async with places:
                return await self.ask_async(sample)

        tasks = [asyncio.ensure_future(in_its_place(sample)) for sample in batch]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()


def predict_one_of(model: Any, concurrency: int | None, retry_on: Sequence[str]) -> PredictOne | None:
    """Choose how a model is asked that has ``predict``, ``predict_one`` or both; None for ``predict``."""
    method = getattr(model, "predict_one", None)
    if not callable(method) or (concurrency is None and callable(getattr(model, "predict", None))):
        return None
    default = CONCURRENCY_OF_ASYNC if inspect.iscoroutinefunction(method) else CONCURRENCY
    return PredictOne(method, concurrency or default, retry_on)
