"""Models on GPUs: each in a process of its own that sees the GPUs it was leased and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pytest_evalrun.children.adapter import ChildAdapter, ServerAdapter
from pytest_evalrun.children.faults import ChildError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.services import HeldGpus, WorkerServices
    from pytest_evalrun.suite.pairs import Pair


class _Model(ChildAdapter):
    """Tells where it was when it is ended in the middle of something."""

    def kill(self, grace: float = 0.0) -> None:
        if self._in_doubt:
            self.dump_stacks()
        super().kill(grace)


def python_child(
    pair: Pair,
    *,
    gpus: Mapping[str, str],
    hold: Sequence[int],
    output: Callable[[bytes], None],
    started: Callable[[int], None],
) -> ServerAdapter:
    """Make the process of a Python model, or of one of the built-in adapters."""
    return _Model(pair.task, pair.settings, pair.root, env=gpus, hold=hold, output=output, started=started)


class ModelProcess(Protocol):
    """The process of a model, however it is asked."""

    def load(self) -> None:
        """Start it and wait until the model is ready. Raises PairError."""

    def close(self) -> None:
        """Ask it to end, and end it."""

    def kill(self) -> None:
        """End it and all that it started at once."""


Process = TypeVar("Process", bound=ModelProcess)
Made = TypeVar("Made", bound=ModelProcess, covariant=True)


class MakesProcess(Protocol[Made]):
    """Makes the process of a pair's model: on these GPUs, with the descriptors of their locks."""

    def __call__(
        self,
        pair: Pair,
        *,
        gpus: Mapping[str, str],
        hold: Sequence[int],
        output: Callable[[bytes], None],
        started: Callable[[int], None],
    ) -> Made: ...


class LeasedProcess(Generic[Process]):
    """A model in a child process, on GPUs (where it needs any) that are its own for as long as that process lives."""

    def __init__(self, pair: Pair, held: HeldGpus | None, around: WorkerServices, make: MakesProcess[Process]) -> None:
        self.held = held
        self._around = around
        self._pair = pair.full_id
        self._pids: list[int] = []
        gpus = held.lease.environment() if held is not None else {}
        hold = held.lease.fds if held is not None else ()
        self._child = make(pair, gpus=gpus, hold=hold, output=around.output, started=self._started)
        self._broken = False

    @property
    def broken(self) -> bool:
        """Whether its process died or can no longer be understood: it must be loaded anew."""
        return self._broken

    def _started(self, pid: int) -> None:
        self._pids.append(pid)
        self._around.started(pid, self._pair)

    def load(self) -> None:
        """Where that fails, the GPUs are free again."""
        try:
            self._child.load()
        except BaseException:
            self.kill()
            raise

    def close(self) -> None:
        try:
            self._child.close()
        finally:
            self._free()

    def is_wanted(self) -> bool:
        """Whether somebody waits for GPUs."""
        return self.held is not None and self.held.leases.someone_waits()

    def kill(self) -> None:
        """At once, with its stacks in the log where it was interrupted."""
        try:
            self._child.kill()
        finally:
            self._free()

    def _free(self) -> None:
        if self.held is not None:
            self.held.free(self._pids)


class LeasedModel(LeasedProcess[ServerAdapter]):
    """One that answers batch by batch."""

    def predict(self, batch: Sequence[Sample]) -> Sequence[Any]:
        try:
            return self._child.predict(batch)
        except ChildError:
            self._broken = True
            raise
