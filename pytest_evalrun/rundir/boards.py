"""Boards as ``run.json`` remembers them: which pairs of the run may use, and the names of what is theirs there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.devices import DeviceSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class BoardRecord:
    """A board with its REMOTE_TASK_HOME; ``work`` names work directories below it, ``models`` files of its cache.

    Whatever was put on a board has one of these names; that a name stands here does not mean that it was.
    """

    spec: DeviceSpec
    home: str
    work: tuple[str, ...]
    models: tuple[str, ...]

    @classmethod
    def of(cls, entry: dict[str, Any]) -> BoardRecord:
        """Parse what ``to_json`` gave; raises KeyError, TypeError or AttributeError where it is something else."""
        work, models = entry["work"], entry["models"]
        if not all(isinstance(name, str) for name in (*work, *models, entry["home"], entry["spec"]["name"])):
            raise TypeError("names are text")
        return cls(DeviceSpec.of(entry["spec"]), entry["home"], tuple(work), tuple(models))

    def to_json(self) -> dict[str, Any]:
        return {"spec": asdict(self.spec), "home": self.home, "work": list(self.work), "models": list(self.models)}

    @property
    def place(self) -> tuple[str, str]:
        """The same for all records that are about the same directory."""
        return self.spec.key, self.home


def read_records(entries: Sequence[dict[str, Any]]) -> list[BoardRecord]:
    """Parse all entries; raises ValueError for what we did not write."""
    try:
        return [BoardRecord.of(entry) for entry in entries]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"boards: {error}") from error


def merged(old: Iterable[BoardRecord], new: Iterable[BoardRecord]) -> list[BoardRecord]:
    """Join the names of both, each once; how to get to a board is believed to the newer one."""
    found: dict[tuple[str, str], BoardRecord] = {}
    for record in (*old, *new):
        before = found.get(record.place, record)
        work, models = {*before.work, *record.work}, {*before.models, *record.models}
        found[record.place] = BoardRecord(record.spec, record.home, tuple(sorted(work)), tuple(sorted(models)))
    return list(found.values())
