"""``<dataset>.fingerprint.json``: what the predictions beside it were made from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.results import TIMING
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk


@dataclass(frozen=True)
class StoredFingerprint:
    """The parts, the launch that began the predictions, and how it timed samples (None: as older versions did)."""

    parts: dict[str, Any]
    launch: str
    timing: int | None = None

    @classmethod
    def from_json(cls, content: Any) -> StoredFingerprint:
        """Raises KeyError, TypeError, ValueError or AttributeError where it is none."""
        timing = TIMING if content.get("timing") == TIMING else None
        return cls(dict(content["parts"]), str(content["launch"]), timing)


def write_fingerprint(
    disk: Disk, path: Path, parts: dict[str, Any], launch: str, *, timing: int | None = TIMING
) -> None:
    content = {"format": 1, "parts": parts, "launch": launch, "timing": timing}
    disk.write(path, json.dumps(content, ensure_ascii=False))


def read_fingerprint(path: Path) -> StoredFingerprint | None:
    """None where there is none, or where it is damaged: then nothing is known about the predictions."""
    try:
        return StoredFingerprint.from_json(parse_json(read_file(path)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
