"""``worker_args_<low>_<high>.json``: what the program of a range was started with, and what became of it."""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.lines import encoded, read_file, utc_time
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.rundir.markers import read_fingerprint
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths

STATUSES = ("pending", "running", "completed", "failed")


@dataclass(frozen=True)
class WorkerArgs:
    """One range. ``low`` and ``high`` are what the program was told: positions, or values of ids.

    ``positions`` are those in the dataset, ``files`` what it wrote and was accepted, ``pattern`` the glob of where it
    writes, ``began`` the time (Unix) before which nothing there is of this range, ``generation`` tells predictions of
    one fingerprint from those of another.
    """

    low: int
    high: int
    command: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None
    status: str = "pending"
    pid: int | None = None
    started: str | None = None
    ended: str | None = None
    returncode: int | None = None
    rows: int | None = None
    error: str | None = None
    files: tuple[str, ...] = ()
    positions: tuple[int, int] = (0, 0)
    pattern: str = ""
    began: float = 0.0
    generation: str = ""

    @classmethod
    def from_json(cls, values: Any) -> WorkerArgs:
        """Raises ValueError, TypeError or KeyError where it is none."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        if known["status"] not in STATUSES:
            raise ValueError(f"status: {known['status']!r}; accepted: {', '.join(STATUSES)}")
        for name in ("command", "files", "positions"):
            known[name] = tuple(known.get(name, getattr(cls, name)))
        low, high = known["positions"]
        return cls(**known | {"positions": (int(low), int(high))})

    def overlaps(self, low: int, high: int) -> bool:
        return self.positions[0] < high and low < self.positions[1]

    def ended_as(self, status: str, **changes: Any) -> WorkerArgs:
        return replace(self, status=status, ended=utc_time(), **changes)


class RangeFiles:
    """The ranges of one pair, as its directory holds them."""

    def __init__(self, paths: PairPaths, disk: Disk) -> None:
        self.paths = paths
        self._disk = disk

    def write(self, args: WorkerArgs) -> None:
        self._write(self.paths.worker_args(args.low, args.high), asdict(args))

    def remove(self, args: WorkerArgs) -> None:
        self.paths.worker_args(args.low, args.high).unlink(missing_ok=True)

    def write_args(self, values: Mapping[str, Any]) -> None:
        """Write what holds for all ranges of the pair."""
        self._write(self.paths.args, values)

    def write_scheduler_config(self, values: Mapping[str, Any]) -> None:
        self._write(self.paths.scheduler_config, values)

    def scheduler_config(self) -> dict[str, Any]:
        """Read it as it was last written; empty where it was not, or is damaged."""
        try:
            values = parse_json(read_file(self.paths.scheduler_config))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def generation(self) -> str:
        """Name the generation: it tells predictions of one fingerprint, or made afresh, from those of another."""
        stored = read_fingerprint(self.paths.fingerprint)
        words = [stored.launch, stored.parts] if stored else []
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one shard of a pair at a time sort out what an interrupted run left."""
        with FileLock.with_parents(self.paths.programs_lock) as lock:
            lock.take(wait=None)
            yield

    def _write(self, path: Path, values: Mapping[str, Any]) -> None:
        self._disk.write(path, encoded(json.dumps(plain(values), ensure_ascii=False, indent=1, allow_nan=False) + "\n"))


def read_ranges(directory: Path) -> Iterator[WorkerArgs]:
    """Read all ranges of a pair's directory, in the order of their positions; what is damaged is left out."""
    found = [args for path in directory.glob("worker_args_*.json") if (args := read_range(path))]
    yield from sorted(found, key=lambda args: args.positions)


def read_range(path: Path) -> WorkerArgs | None:
    try:
        return WorkerArgs.from_json(parse_json(read_file(path)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def plain(value: Any) -> Any:
    """Turn a value of whatever library into builtins that JSON has; what nobody knows becomes its text."""
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(plain(key)): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(entry) for entry in value), key=str)
    return _foreign(value)


def _foreign(value: Any) -> Any:
    """Turn numpy's scalars and arrays, pandas' columns and times, paths and subclasses of builtins into builtins."""
    if isinstance(value, PurePath):
        return str(value)
    for kind in (str, int):
        if isinstance(value, kind):
            return kind(value)
    if callable(convert := getattr(value, "to_dict", None)) or callable(convert := getattr(value, "tolist", None)):
        converted = convert()
        return str(value) if type(converted) is type(value) else plain(converted)
    return str(value)
