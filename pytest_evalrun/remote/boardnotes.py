"""The processes of one launch note for each other which boards were used, by which models, and which task is over."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.devices import DeviceSpec
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Used:
    """A board that somebody worked on, and its REMOTE_TASK_HOME; ``models`` in its cache with the policy of each."""

    spec: DeviceSpec
    home: str
    models: dict[str, str] = field(default_factory=dict)


class BoardNotes:
    """Files in a directory of the launch. ``aside`` is where boards that were given up are noted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def aside(self) -> Path:
        return self._directory / "aside"

    def use(self, spec: DeviceSpec, home: str, model: str = "", policy: str = "") -> None:
        """Note a board before anything is put on it, so that it is known even where the writer is killed."""
        told = {"spec": asdict(spec), "home": home, "model": model, "policy": policy}
        self._write(f"used-{_digest(json.dumps(told, sort_keys=True))}.json", json.dumps(told))

    def used(self) -> list[Used]:
        """All boards, by their name."""
        found: dict[tuple[str, str], Used] = {}
        for path in sorted(self._directory.glob("used-*.json")):
            told: dict[str, Any] = parse_json(path.read_bytes())
            spec = DeviceSpec.of(told["spec"])
            board = found.setdefault((repr(spec), told["home"]), Used(spec, told["home"]))
            if told["model"]:
                board.models[told["model"]] = told["policy"]
        return sorted(found.values(), key=lambda board: board.spec.name)

    def finish(self, task: str) -> None:
        """The last pair of a task, by its ``suite/task``, has ended: nobody of this launch will ask for its model."""
        self._write(f"finished-{_digest(task)}", "")

    def is_finished(self, task: str) -> bool:
        return (self._directory / f"finished-{_digest(task)}").exists()

    def _write(self, name: str, text: str) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        aside = self._directory / f".{name}.{os.getpid()}"
        aside.write_text(text, encoding="utf-8")
        aside.replace(self._directory / name)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:24]
