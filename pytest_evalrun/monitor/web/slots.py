"""Who has which slot of a run that goes on: GPUs and boards, with the pairs that are evaluated there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.monitor.follow import Signature, signature
from pytest_evalrun.rundir.runs import boards_in, read_run_json

if TYPE_CHECKING:
    from pytest_evalrun.monitor.reader import SnapshotReader
    from pytest_evalrun.monitor.snapshot import Snapshot
    from pytest_evalrun.rundir.layout import RunPaths

IN_USE, FREE = "in use", "free"


class SlotTable:
    """Slots by their workers, and the boards of the run, whose names are read again only where they changed."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._seen: Signature | None = None
        self._boards: list[str] = []

    def look(self, snapshot: Snapshot, reader: SnapshotReader) -> dict[str, list[dict[str, Any]]]:
        """``slots`` and ``boards`` as they are now; none of a run that has ended, for it holds nothing any more."""
        if snapshot.standing.word in ("none", "ended"):
            return {"slots": [], "boards": []}
        pairs = {each.worker: each.pair for each in snapshot.running}
        taken = sorted(reader.events.timeline.slots.items())
        slots = [{"worker": worker, "slot": slot, "pair": pairs.get(worker)} for worker, slot in taken]
        users = {each["slot"]: each["pair"] for each in slots}
        boards = [
            {"board": name, "state": IN_USE if name in users else FREE, "pair": users.get(name)}
            for name in self._names()
        ]
        return {"slots": slots, "boards": boards}

    def _names(self) -> list[str]:
        seen = signature(self._paths.run_json)
        if seen != self._seen:
            self._seen = seen
            try:
                records = boards_in(self._paths, read_run_json(self._paths))
            except ConfigError:
                return self._boards  # somebody edits it; other parts of the page complain
            self._boards = sorted({record.spec.name for record in records})
        return self._boards
