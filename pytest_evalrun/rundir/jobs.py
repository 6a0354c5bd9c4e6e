"""``engine/jobs.json``: the units of a run on a cluster, and every job that was submitted for them.

The launch alone writes it, and always before it asks the cluster for something: what it would not remember after its
death, it has not done. A job reads it once, to see whether it is still the one that is waited for.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.enginepaths import AttemptPaths, EnginePaths
from pytest_evalrun.rundir.lines import json_line, read_file, utc_time
from pytest_evalrun.rundir.runs import sync
from pytest_evalrun.suite.clusters import ClusterWords
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_evalrun.rundir.layout import RunPaths

FORMAT = 1
# How a job stands changes often, and whoever watches looks twice a second.
SAVE_SECONDS = 0.25
# Of a unit that is preempted again and again, so many attempts are remembered.
KEPT_ATTEMPTS = 20

# How a unit stands. WAITING: for the cluster, or to be submitted. CUT: its items went on in other units. FAILED: some
# of its items are errors for which no item's own code is to blame. LEFT: nobody waits for it any more.
WAITING, RUNNING, DONE, FAILED, CUT, LEFT = "waiting", "running", "done", "failed", "cut", "left"


@dataclass(frozen=True)
class AttemptRecord:
    """A job of a unit. ``name`` is noted before it is submitted, ``handle`` (the cluster's id) as soon as it was.

    ``phase``, ``code``, ``node`` and ``reason`` are what the cluster said last; times are in UTC, of this host. Of a
    ``batch`` of jobs that were submitted together no more than ``share`` run at once. ``cancelled``: we have asked for
    its end. ``over``: what became of it is settled, and nothing that it writes is looked at any more.
    """

    number: int
    name: str
    handle: str | None = None
    phase: str = "waiting"
    code: int | None = None
    node: str = ""
    reason: str = ""
    submitted: str | None = None
    started: str | None = None
    ended: str | None = None
    batch: int = 0
    share: int = 0
    cancelled: bool = False
    over: bool = False


@dataclass(frozen=True)
class UnitRecord:
    """A unit: ``items`` at first, ``left`` of them without a report.

    ``current`` is the number of the attempt that is waited for, or of the next: a job with a smaller one has nothing
    to do any more. ``resources`` are those of a job, as data; ``deaths`` how often a job died over an item, ``idle``
    how many jobs in a row were lost without a report.
    """

    name: str
    items: int
    left: int
    seconds: float = 0.0
    state: str = WAITING
    current: int = 1
    resources: Mapping[str, Any] = field(default_factory=dict)
    deaths: Mapping[str, int] = field(default_factory=dict)
    idle: int = 0
    attempts: tuple[AttemptRecord, ...] = ()

    @property
    def gpus(self) -> int:
        return int(self.resources.get("gpus", 0))

    @property
    def is_open(self) -> bool:
        """Whether a report of it is waited for."""
        return self.state in (WAITING, RUNNING)

    @property
    def living(self) -> AttemptRecord | None:
        """The attempt that may live: on the cluster, or submitted by a launch that died before it knew."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and not last.over else None

    def with_attempt(self, attempt: AttemptRecord) -> UnitRecord:
        """Put an attempt in the place of the one of its number, or behind all."""
        others = tuple(old for old in self.attempts if old.number != attempt.number)
        return replace(self, attempts=(*others, attempt)[-KEPT_ATTEMPTS:], current=max(self.current, attempt.number))

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "name"} | {"gpus": self.gpus}

    @classmethod
    def from_json(cls, name: str, content: Mapping[str, Any]) -> UnitRecord:
        """Read what ``to_json`` gave. Raises TypeError, KeyError, ValueError or AttributeError where it is none."""
        known = {key: content[key] for key in cls.__dataclass_fields__ if key in content}
        attempts = tuple(AttemptRecord(**attempt) for attempt in known.pop("attempts", ()))
        return cls(name=name, attempts=attempts, **known)


@dataclass(frozen=True)
class JobRecord:
    """All of jobs.json: ``engine`` are the words with which the cluster was called, ``units`` are in their order."""

    engine: ClusterWords
    units: tuple[UnitRecord, ...] = ()
    saved: str = ""

    @property
    def living(self) -> tuple[UnitRecord, ...]:
        return tuple(unit for unit in self.units if unit.living is not None)


class JobStore:
    """The launch's side: what it knows of its units, in memory and on disk.

    What an earlier launch left is read at once. Raises ConfigError where that cannot be read: jobs may run that
    nobody would know of.
    """

    def __init__(self, path: Path, words: ClusterWords) -> None:
        self.path = path
        self.words = words
        self.units: dict[str, UnitRecord] = {}
        self.before: JobRecord | None = None
        self._lines: dict[str, bytes] = {}
        # Never a name that was used: what lies in its directory would be taken for what its job has reported.
        self._serial = max((_number(entry.name) for entry in path.parent.glob("u*")), default=0)
        self._dirty = False
        self._saved_at = float("-inf")
        content = _content(path)
        if content is not None:
            self._serial = max(self._serial, int(content["serial"]))
            self.before = _record(content)
            self.units = {unit.name: unit for unit in self.before.units}

    def next_unit_name(self) -> str:
        """Name a unit as none of this run was ever called."""
        self._serial += 1
        return f"u{self._serial:03d}"

    def new_batch(self) -> int:
        """Number jobs that are submitted together, as no others that may still run are."""
        return 1 + max((attempt.batch for unit in self.units.values() for attempt in unit.attempts), default=0)

    def attempt_paths(self, unit: str, number: int) -> AttemptPaths:
        return AttemptPaths(self.path.parent / unit / str(number))

    def put(self, unit: UnitRecord) -> None:
        """Take what changed; on disk with the next ``save`` or ``tick``."""
        if self.units.get(unit.name) != unit:
            self.units[unit.name] = unit
            self._lines.pop(unit.name, None)
            self._dirty = True

    def forget(self, unit: str) -> None:
        """Let go of a unit of an earlier launch: its jobs, should one still start, see that nobody waits for them."""
        if self.units.pop(unit, None) is not None:
            self._lines.pop(unit, None)
            self._dirty = True

    def current(self, unit: str) -> int | None:
        """The number of the attempt that is waited for; None where the unit is not."""
        record = self.units.get(unit)
        return record.current if record is not None and record.is_open else None

    def save(self) -> None:
        """Write it now, to the disk itself. Raises ConfigError where that cannot be: then nothing may be submitted."""
        try:
            self._write()
            sync(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}; without it jobs would run that nobody knows") from None

    def save_or_later(self) -> None:
        """Write it now; a disk that is full is asked again at the next ``tick``."""
        try:
            self.save()
        except ConfigError:
            self._dirty = True

    def tick(self, now: float) -> None:
        """Write what changed, a few times a second at most; what is lost with the host is asked of the cluster."""
        if self._dirty and now - self._saved_at >= SAVE_SECONDS:
            self._saved_at = now
            with suppress(OSError):
                self._write()

    def _write(self) -> None:
        write_atomic(self.path, self._document())
        self._dirty = False

    def close(self) -> None:
        """Write what has changed last."""
        if self._dirty:
            self.save_or_later()

    def _document(self) -> bytes:
        """One line a unit, of which only those that changed are encoded anew."""
        for name, unit in self.units.items():
            if name not in self._lines:
                self._lines[name] = json_line({name: unit.to_json()})[1:-2]
        head = {"format": FORMAT, "engine": self.words.to_json(), "serial": self._serial, "saved": utc_time()}
        units = b",\n".join(self._lines[name] for name in self.units)
        return json_line(head)[:-2] + b',"units":{\n' + units + b"\n}}\n"


def is_current(path: Path, unit: str, attempt: int) -> bool:
    """Tell a job whether it is waited for, by ``jobs.json`` as its node sees it.

    True where that is older than the attempt, or cannot be read: who submitted it had written it before.
    """
    try:
        content = _content(path)
    except ConfigError:
        return True
    if content is None:
        return True
    found = content["units"].get(unit)
    if found is None:
        return bool(_number(unit) > content["serial"])
    return bool(attempt >= found["current"] and found["state"] in (WAITING, RUNNING))


def read_jobs(paths: RunPaths) -> JobRecord | None:
    """Read the jobs of a run, for whoever watches or stops it; None where there are none, or nothing readable."""
    try:
        content = _content(EnginePaths(paths).jobs_json)
    except ConfigError:
        return None
    return None if content is None else _record(content)


def _number(name: str) -> int:
    digits = name.removeprefix("u")
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def _content(path: Path) -> dict[str, Any] | None:
    """Read the file, None where there is none. Raises ConfigError where it holds anything else than we write."""
    try:
        content: dict[str, Any] = parse_json(read_file(path))
        if content["format"] != FORMAT:
            raise ValueError("written by another version")  # noqa: TRY301 - told as every other flaw
        _record(content)
        int(content["serial"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        remedy = "the launch writes it; end its jobs by the cluster's own command and remove it"
        raise ConfigError(f"{path}: {reason}; {remedy}") from None
    return content


def _record(content: Mapping[str, Any]) -> JobRecord:
    units = tuple(UnitRecord.from_json(name, unit) for name, unit in content["units"].items())
    return JobRecord(ClusterWords.from_json(content["engine"]), units, str(content.get("saved", "")))
