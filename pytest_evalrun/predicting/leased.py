"""Models on GPUs: each in a process of its own that sees the GPUs it was leased and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

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


class MakesChild(Protocol):
    """Makes the process of a pair's model: on these GPUs, with the descriptors of their locks."""

    def __call__(
        self,
        pair: Pair,
        *,
        gpus: Mapping[str, str],
        hold: Sequence[int],
        output: Callable[[bytes], None],
        started: Callable[[int], None],
    ) -> ServerAdapter: ...


class LeasedModel:
    """A model in a child process, on GPUs (where it needs any) that are its own for as long as that process lives.

    ``broken`` when that process died or can no longer be understood: it must be loaded anew.
    """

    def __init__(self, pair: Pair, held: HeldGpus | None, around: WorkerServices, make: MakesChild) -> None:
        self.held = held
        self._around = around
        self._pair = pair.full_id
        self._pids: list[int] = []
        gpus = held.lease.environment() if held is not None else {}
        hold = held.lease.fds if held is not None else ()
        self._child = make(pair, gpus=gpus, hold=hold, output=around.output, started=self._started)
        self.broken = False

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

    def predict(self, batch: Sequence[Sample]) -> Sequence[Any]:
        try:
            return self._child.predict(batch)
        except ChildError:
            self.broken = True
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
