"""What predicting took: of an item while it runs, and of shards in a file each, until their pair adds them up."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk

SUFFIX = ".timing.json"


@dataclass(frozen=True)
class Timing:
    """``samples`` were predicted in ``predict`` seconds; ``gpu_peak_gb`` of GPU memory were in use then, if known."""

    predict: float = 0.0
    samples: int = 0
    gpu_peak_gb: float | None = None

    def __add__(self, other: Timing) -> Timing:
        peaks = [peak for peak in (self.gpu_peak_gb, other.gpu_peak_gb) if peak is not None]
        return Timing(self.predict + other.predict, self.samples + other.samples, max(peaks, default=None))

    @property
    def throughput(self) -> float | None:
        """Samples per second of predicting; None where nothing was predicted."""
        return round(self.samples / self.predict, 6) if self.predict > 0 and self.samples > 0 else None

    @classmethod
    def from_json(cls, values: Any) -> Timing:
        """Raises ValueError, KeyError or TypeError for what ``to_json`` did not write."""
        peak = values["gpu_peak_gb"]
        return cls(float(values["predict"]), int(values["samples"]), None if peak is None else float(peak))


def add_timing(disk: Disk, predictions: Path, timing: Timing) -> None:
    """Beside the predictions of a shard, on top of what earlier sessions took for it."""
    path = predictions.with_name(predictions.stem + SUFFIX)
    disk.write(path, json.dumps(asdict(_read(path) + timing)))


def timings_in(directory: Path) -> Timing:
    """What all shards of a pair took together; what is damaged counts for nothing."""
    return sum(map(_read, sorted(directory.glob(f"*{SUFFIX}"))), Timing())


def _read(path: Path) -> Timing:
    try:
        return Timing.from_json(parse_json(read_file(path)))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return Timing()
