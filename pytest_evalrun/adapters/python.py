"""A model in Python: the user's class with ``predict`` or ``predict_one``, or a function that takes a batch."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.adapters.eventloop import give_back_thread, take_thread
from pytest_evalrun.adapters.making import check_arguments, done, guarded, public
from pytest_evalrun.adapters.predictone import predict_one_of
from pytest_evalrun.adapters.retrying import retry_of
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.forks import UsersCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.adapters.eventloop import LoopThread
    from pytest_evalrun.adapters.predictone import PredictOne
    from pytest_evalrun.datasets.protocol import Sample


class PythonAdapter:
    """``Name(path, **params)`` where the task has a model file, else ``Name(**params)``, or a plain function.

    A class has ``predict(batch)`` or ``predict_one(sample)`` and, if it needs them, ``load()`` and ``close()``; a
    function is called as ``predict(batch, **params)``. ``one`` says of a model that is loaded how it is asked one by
    one, where it is: of a class that has both, where ``concurrency`` is given.
    """

    def __init__(
        self,
        ref: str,
        root: str,
        path: str | None,
        params: Mapping[str, Any],
        *,
        concurrency: int | None = None,
        retry_on: Sequence[str] = (),
    ) -> None:
        self.ref = ref
        self.root = root
        self.path = path
        self.params = params
        self.one: PredictOne | None = None
        self._concurrency = concurrency
        self._retry_on = retry_on
        self._model: Any = None
        # What a coroutine opened, a session of HTTP say, is of the event loop, which must live for as long.
        self._thread: LoopThread | None = None
        self._predict: Callable[[Sequence[Sample]], Sequence[Any]] | None = None

    def load(self) -> None:
        """Import, construct and load. Raises PairError with the user's own traceback as its cause."""
        from pytest_evalrun.suite.objects import load_object

        found = load_object(self.ref, self.root)
        if inspect.isclass(found):
            self._load_class(found)
        elif callable(getattr(found, "predict", None)):
            raise PairError(f"{self.ref} is an object; accepted: a class or a function, for each worker makes its own")
        elif callable(found):
            self._check_concurrency(found)
            check_arguments(self.ref, found, ["batch"], self.params)
            self._predict = functools.partial(found, **self.params) if self.params else found
        else:
            raise PairError(f"{self.ref} is a {type(found).__name__}; accepted: a class with predict, or a function")

    def predict(self, batch: Sequence[Sample]) -> Sequence[Any]:
        """Ask for a whole batch; one by one, as many at once as may be, where the class wants it so."""
        if self.one is not None:
            return self.one.ask_all(batch)
        assert self._predict is not None, "load comes first"
        with UsersCode():
            return self._predict(batch)

    def may_pass(self, error: Exception) -> bool:
        """Say whether an error of ``predict_one`` tells that another try may help."""
        return self.one is not None and retry_of(error, self.one.retry_on) is not None

    def close(self) -> None:
        model, self._model, self._predict, self.one = self._model, None, None, None
        try:
            if callable(close := getattr(model, "close", None)):
                done(close)
        finally:
            self._give_back()

    def _load_class(self, found: type) -> None:
        if not (callable(getattr(found, "predict", None)) or callable(getattr(found, "predict_one", None))):
            raise PairError(f"{self.ref} has no method predict or predict_one; it has: {public(found)}")
        self._check_concurrency(found)
        arguments = {"path": Path(self.path)} if self.path else {}
        check_arguments(self.ref, found, [*arguments], self.params)
        make = functools.partial(found, *arguments.values(), **self.params)
        self._model = guarded(self.ref, "could not be made", make)
        if any(inspect.iscoroutinefunction(getattr(found, name, None)) for name in ("load", "predict_one", "close")):
            self._thread = take_thread()
        if callable(load := getattr(self._model, "load", None)):
            try:
                guarded(self.ref, "could not be loaded", functools.partial(done, load))
            except BaseException:
                self._give_back()
                raise
        self.one = predict_one_of(self._model, self._concurrency, self._retry_on)
        self._predict = getattr(self._model, "predict", None)

    def _check_concurrency(self, found: Any) -> None:
        if self._concurrency is not None and not callable(getattr(found, "predict_one", None)):
            what = f"; it has: {public(found)}" if inspect.isclass(found) else ""
            raise PairError(f"{self.ref} has no method predict_one, which `concurrency` is for{what}")

    def _give_back(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            give_back_thread(thread)
