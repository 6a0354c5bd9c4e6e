"""The program that holds a Python model: ``python -P -m pytest_evalrun.children.host``; docs/child-protocol.md."""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

from pytest_evalrun.adapters import create_adapter
from pytest_evalrun.adapters.python import PythonAdapter
from pytest_evalrun.children.codec import from_line, to_line
from pytest_evalrun.children.faults import may_pass
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import EvalrunError, PairError, SampleError
from pytest_evalrun.suite.pairs import Task
from pytest_evalrun.suite.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.adapters.protocol import Adapter

STACKS = signal.SIGUSR2


class ModelHost:
    """Answers one message after the other."""

    def __init__(self) -> None:
        self._adapter: Adapter | None = None

    def answer(self, message: dict[str, Any]) -> bytes:
        """Answer a message. What the model's code raises is part of the answer; the end of the process others see."""
        try:
            if message["type"] == "load":
                return to_line(self._load(message))
            return self._predict([Sample(**sample) for sample in message["batch"]])
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            return told(error, passes=isinstance(self._adapter, PythonAdapter) and self._adapter.may_pass(error))

    def close(self) -> bytes | None:
        """Nothing is answered unless the model's own ``close`` fails."""
        try:
            if self._adapter is not None:
                self._adapter.close()
        except Exception as error:  # noqa: BLE001 - as above
            return told(error)
        return None

    def _load(self, message: dict[str, Any]) -> dict[str, Any]:
        """``${SECRETS}`` in the parameters become values in here, and are in no message."""
        sys.path[:] = message["sys_path"]
        task = Task(message["task"], message["model"], message["directory"])
        chosen = {name: message[name] for name in ("adapter", "params", "preprocess", "words")}
        self._adapter = create_adapter(task, Settings(**chosen), message["root"])
        self._adapter.load()
        return {"type": "ready"}

    def _predict(self, batch: Sequence[Sample]) -> bytes:
        assert self._adapter is not None, "load comes first"
        answered = self._adapter.predict(batch)
        if not hasattr(answered, "__len__"):
            kind = type(answered).__name__
            raise PairError(f"predict answered {kind} to a batch of {len(batch)}; it must answer a list")
        predictions = list(answered)
        try:
            return to_line({"type": "predictions", "predictions": predictions})
        except PairError:
            _find_fault(predictions, batch)
            raise


def _find_fault(predictions: Sequence[Any], batch: Sequence[Sample]) -> None:
    """Blame the one sample whose answer cannot travel; the others of the batch are not at fault."""
    for sample, prediction in zip(batch, predictions, strict=False):
        try:
            to_line(prediction)
        except PairError as error:
            raise SampleError(f"sample {sample.id}: the model answered what cannot be kept: {error}") from None


def told(error: Exception, *, passes: bool = False) -> bytes:
    """An exception as a message; ``passes`` where the model knows that it may pass."""
    return to_line({"type": "error", "may_pass": passes or may_pass(error), **_blame(error)})


def _blame(error: Exception) -> dict[str, Any]:
    """Describe an error. The cause of one of ours is the user's; who raised it on purpose needs no traceback."""
    if isinstance(error, EvalrunError):
        kind = "sample" if isinstance(error, SampleError) else "pair"
        cause = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else None
        return {"kind": kind, "error": str(error), "traceback": cause}
    text = f"{type(error).__name__}: {error}"
    return {"kind": "error", "error": text, "traceback": "".join(traceback.format_exception(error))}


def _private_pipes() -> tuple[io.BufferedReader, int]:
    """The protocol's pipes, out of reach of the model: what it prints goes to stderr, and it has nothing to read."""
    questions, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return open(questions, "rb"), answers  # noqa: PTH123 - until the end of the process


def _live_output() -> None:
    """Line by line, so that the log shows a print when it happens; logging as in the worker's own process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed by the model
            pass


def _write(fd: int, line: bytes) -> None:
    left = memoryview(line)
    while left:
        left = left[os.write(fd, left) :]


def _forget_stacks() -> None:
    """A process that the model forks handles no signal for us."""
    faulthandler.unregister(STACKS)
    signal.signal(STACKS, signal.SIG_DFL)


def main() -> None:
    """Answer messages until ``close`` comes, or nobody asks any more."""
    questions, answers = _private_pipes()
    faulthandler.register(STACKS, file=2, all_threads=True)
    os.register_at_fork(after_in_child=_forget_stacks)
    _live_output()
    host = ModelHost()
    for line in questions:
        message = from_line(line)
        if message["type"] == "close":
            break
        answer = host.answer(message)
        _flush()
        _write(answers, answer)
    if fault := host.close():
        _write(answers, fault)


if __name__ == "__main__":
    main()
