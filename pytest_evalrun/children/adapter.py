"""Models in processes of their own, as adapters: any program that speaks the protocol, and Python models."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.children.codec import to_line
from pytest_evalrun.children.faults import ChildError, ModelDied, ModelError, RemoteTraceback
from pytest_evalrun.children.process import Child
from pytest_evalrun.errors import PairError, SampleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.suite.pairs import Task
    from pytest_evalrun.suite.settings import Settings

# What an adapter promises of its close.
CLOSE_SECONDS = 5.0
_OF_THE_MODEL = {"pair": PairError, "sample": SampleError}


class ProtocolPeer(Protocol):
    """A running program that speaks the protocol, here or elsewhere."""

    grace: float

    @property
    def pids(self) -> tuple[int, ...]:
        """The PIDs on this machine: the program's, and those of who looks after it."""

    def send_line(self, line: bytes) -> None:
        """A message as it travels."""

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """The next message. Raises ModelDied, ChildError for what is no message, TimeoutError."""

    def end(self, grace: float | None = None) -> None:
        """Returns when nothing of it lives."""

    def dump_stacks(self, seconds: float = 0.5) -> None:
        """Ask for all stacks, as output."""


class ServerAdapter:
    """A program that is kept running and asked batch by batch; see docs/child-protocol.md.

    ``load`` is the rest of the first message. ``env`` is added to this process's own environment; ``output`` gets what
    the program writes beside the protocol; ``started`` every PID at once; ``hold`` are descriptors of locks that are
    kept until everything has ended. With ``plain``, paths in the samples are told as text.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        load: Mapping[str, Any],
        *,
        env: Mapping[str, str],
        hold: Sequence[int],
        output: Callable[[bytes], None] | None,
        started: Callable[[int], None],
        cwd: str | None = None,
        plain: bool = True,
        stacks: int | None = None,
    ) -> None:
        self.name = name
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.hold = hold
        self._load = load
        self._output = output
        self._started = started
        self._plain = plain
        self._stacks = stacks
        self._child: ProtocolPeer | None = None
        self._in_doubt = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Supervisor and program; none while nothing runs."""
        return self._child.pids if self._child is not None else ()

    def load(self) -> None:
        """Start the program and wait until the model is ready; where that fails, nothing is left of it."""
        self.kill()
        self._child = self._start()
        try:
            self._ask({"type": "load", **self._load}, "ready")
        except BaseException as error:
            self.kill()
            if isinstance(error, ModelError):
                text = f"model {self.name} could not be loaded: {error}"
                raise PairError(text, brief=f"not loaded: {error}") from error
            raise

    def _start(self) -> ProtocolPeer:
        return Child(
            self.argv,
            env={**os.environ, **self.env},
            cwd=self.cwd,
            hold=self.hold,
            output=self._output,
            started=self._started,
            stdin=True,
            stdout="protocol",
            stacks=self._stacks,
            name=f"the process of model {self.name}",
        )

    def predict(self, batch: Sequence[Sample]) -> Sequence[Any]:
        """Raises ModelError for an exception of the model, ModelDied where its process has ended."""
        asked = [_told(sample) for sample in batch]
        answer = self._ask({"type": "predict", "batch": asked}, "predictions")
        predictions = answer.get("predictions")
        if not isinstance(predictions, list):
            raise ChildError(f"the process of model {self.name} answered predictions that are no list")
        return predictions

    def close(self) -> None:
        """Asks the program to end, and ends it; after :meth:`kill`, or where it never started, does nothing."""
        child = self._child
        if child is None:
            return
        try:
            if not self._in_doubt:
                self._say_goodbye(child)
        finally:
            self.kill(grace=child.grace)

    def kill(self, grace: float = 0.0) -> None:
        """Ends the program and all that it started, and returns when they have ended."""
        if self._child is not None:
            self._child.end(grace)
            self._child, self._in_doubt = None, False

    def dump_stacks(self, seconds: float = 0.5) -> None:
        """All stacks of a Python model go to ``output``; of other programs, nothing."""
        if self._child is not None:
            self._child.dump_stacks(seconds)

    def _ask(self, message: Mapping[str, Any], wanted: str) -> dict[str, Any]:
        """One answer a request; one that was interrupted leaves an answer that nobody may mistake for the next."""
        if self._child is None:
            raise ModelDied(f"the process of model {self.name} is not running; load it first")
        if self._in_doubt:
            raise ChildError(f"the process of model {self.name} still owes an answer; load it again")
        line = to_line(message, plain=self._plain)
        self._in_doubt = True
        self._child.send_line(line)
        answer = self._child.receive()
        self._in_doubt = False
        if answer["type"] == "error":
            raise _error(answer)
        if answer["type"] != wanted:
            raise ChildError(f"the process of model {self.name} answered {answer['type']!r}, not {wanted!r}")
        return answer

    def _say_goodbye(self, child: ProtocolPeer) -> None:
        """Whatever it answers is the fault of its close; the end is what is wanted."""
        child.send_line(to_line({"type": "close"}))
        try:
            answer = child.receive(CLOSE_SECONDS)
        except (ChildError, TimeoutError):
            return
        if answer["type"] == "error":
            raise _error(answer)


class ChildAdapter(ServerAdapter):
    """A Python model, or one of the built-in adapters, in a process of its own; otherwise as in this one."""

    def __init__(
        self,
        task: Task,
        settings: Settings,
        root: str,
        *,
        env: Mapping[str, str],
        hold: Sequence[int],
        output: Callable[[bytes], None] | None,
        started: Callable[[int], None],
    ) -> None:
        from pytest_evalrun.children.host import STACKS

        load = {
            "model": task.path,
            "params": settings.params,
            "adapter": settings.adapter,
            "preprocess": settings.preprocess,
            "words": settings.words,
            "task": task.name,
            "directory": task.directory,
            "root": root,
            "sys_path": sys.path,
        }
        argv = [sys.executable, "-P", "-m", "pytest_evalrun.children.host"]
        super().__init__(
            task.name, argv, load, env=env, hold=hold, output=output, started=started, plain=False, stacks=STACKS
        )


def _told(sample: Sample) -> dict[str, Any]:
    """A sample as it travels: of several answers, with which of them is wanted."""
    told = {"index": sample.index, "id": sample.id, "input": sample.input}
    return told | {"generation": sample.generation} if sample.generation else told


def _error(answer: Mapping[str, Any]) -> Exception:
    """Make of what a program reports of itself the error that it would be in this process."""
    text, trace = str(answer.get("error")), answer.get("traceback")
    kind = _OF_THE_MODEL.get(str(answer.get("kind")))
    if kind is None:
        return ModelError(text, trace, may_pass=answer.get("may_pass") is True)
    error = kind(text)
    error.__cause__ = RemoteTraceback(trace) if trace else None
    return error
