"""The lists of a controller, as AgentBench's writes them: kept in parts, and only what has changed is written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pytest_evalrun.agents.controller.roster import dump_session, dump_worker
from pytest_evalrun.agents.wire.dialects import encode_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.agents.controller.core import Core
    from pytest_evalrun.agents.controller.roster import ServedTask, TaskWorker
    from pytest_evalrun.agents.protocol import Index


class ControllerLists:
    """Writes what a core knows as JSON."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._indices: WeakKeyDictionary[ServedTask, tuple[Sequence[Index], bytes]] = WeakKeyDictionary()
        self._workers: WeakKeyDictionary[TaskWorker, tuple[int, bytes]] = WeakKeyDictionary()

    def workers(self, now: float) -> bytes:
        """Write all tasks, their indices and workers; whoever is silent is in a coma."""
        self._core.look(now)
        return b"{%b}" % b",".join([self._task(name, task) for name, task in self._core.tasks.items()])

    def _task(self, name: str, task: ServedTask) -> bytes:
        workers = b",".join([self._worker(worker) for worker in task.workers.values()])
        return b'%b:{"indices":%b,"workers":{%b}}' % (encode_body(name), self.indices(task), workers)

    def indices(self, task: ServedTask) -> bytes:
        """Write the indices of a task; lists of many thousands are written once."""
        known = self._indices.get(task)
        if known is None or known[0] is not task.indices:
            known = self._indices[task] = task.indices, encode_body(task.indices)
        return known[1]

    def _worker(self, worker: TaskWorker) -> bytes:
        known = self._workers.get(worker)
        if known is None or known[0] != worker.version:
            known = worker.version, b'"%d":%b' % (worker.id, encode_body(dump_worker(worker)))
            self._workers[worker] = known
        return known[1]

    def sessions(self) -> bytes:
        """Write all sessions that live."""
        dumped = {number: dump_session(session) for number, session in self._core.sessions.items()}
        return encode_body(dumped)
