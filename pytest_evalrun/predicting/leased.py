"""Models on GPUs: each in a process of its own that sees the GPUs it was leased and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.children.adapter import ChildAdapter, ServerAdapter
from pytest_evalrun.children.faults import ChildError
from pytest_evalrun.suite.settings import Way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.services import HeldGpus, WorkerServices
    from pytest_evalrun.suite.pairs import Pair


class _Model(ChildAdapter):
    """Tells where it was when it is ended in the middle of something."""

    def kill(self, grace: float = 0.0) -> None:
        if self._in_doubt:
            self.dump_stacks()
        super().kill(grace)


class LeasedModel:
    """A model in a child process, on GPUs (where it needs any) that are its own for as long as that process lives.

    ``broken`` when that process died or can no longer be understood: it must be loaded anew.
    """

    def __init__(self, pair: Pair, held: HeldGpus | None, around: WorkerServices) -> None:
        self.held = held
        self._around = around
        self._pair = pair.full_id
        self._pids: list[int] = []
        self._child = self._make(pair, held)
        self.broken = False

    def _make(self, pair: Pair, held: HeldGpus | None) -> ServerAdapter:
        gpus = held.lease.environment() if held is not None else {}
        hold = held.lease.fds if held is not None else ()
        if pair.settings.kind.way(pair.settings) is Way.SERVER:
            from pytest_evalrun.programs.server import server

            return server(pair, gpus=gpus, hold=hold, output=self._around.output, started=self._started)
        return _Model(
            pair.task,
            pair.settings,
            pair.root,
            env=gpus,
            hold=hold,
            output=self._around.output,
            started=self._started,
        )

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
