"""``<dataset>.fingerprint.json``: what the predictions beside it were made from."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.results import TIMING
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths


@dataclass(frozen=True)
class StoredFingerprint:
    """The parts, the launch that began the predictions, and how it timed samples (None: as older versions did)."""

    parts: dict[str, Any]
    launch: str
    timing: int | None = None


def write_fingerprint(disk: Disk, path: Path, parts: dict[str, Any], launch: str) -> None:
    content = {"format": 1, "launch": launch, "parts": parts, "timing": TIMING}
    disk.write(path, json.dumps(content, ensure_ascii=False))


def read_fingerprint(path: Path) -> StoredFingerprint | None:
    """None where there is none, or where it is damaged: then nothing is known about the predictions."""
    try:
        content = parse_json(path.read_bytes())
        stored = StoredFingerprint(dict(content["parts"]), str(content["launch"]))
        return replace(stored, timing=TIMING) if content.get("timing") == TIMING else stored
    except (OSError, ValueError, KeyError, TypeError):
        return None


def set_aside(paths: PairPaths, suffix: str, *, with_result: bool = False) -> None:
    """Rename what was predicted, so that nothing of it is taken for new: ``.stale``, or ``.old`` when asked for.

    The marker goes first and the fingerprint last: killed in between, the next session sees the same difference.
    """
    paths = paths.whole
    paths.marker.unlink(missing_ok=True)
    moved = [
        paths.predictions,
        paths.shard_predictions,
        paths.scores,
        paths.outputs,
        *([paths.result] if with_result else []),
        paths.fingerprint,
    ]
    for path in moved:
        _replace(path, path.with_name(path.name + suffix))


def _replace(path: Path, target: Path) -> None:
    """What lies aside from before makes room only for something: killed half way, this is done twice."""
    if path.is_dir() and target.is_dir() and not target.is_symlink():
        import shutil

        shutil.rmtree(target)
    try:
        path.replace(target)
    except FileNotFoundError:
        pass
