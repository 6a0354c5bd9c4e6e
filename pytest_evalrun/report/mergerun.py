"""At the end of a session: the CSV files of programs, merged pair by pair into ``summary/``."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.report.csvfiles import count_rows
from pytest_evalrun.report.merging import Kind, Merged, RangeFile, merge_parts
from pytest_evalrun.report.summary import write_merge_summary
from pytest_evalrun.report.text import natural_key
from pytest_evalrun.rundir.aside import SUFFIXES
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.results import read_result
from pytest_evalrun.rundir.shards import read_range, read_ranges
from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.names import safe_name
from pytest_evalrun.suite.pairs import PairKey
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.settings import Settings

    Range = tuple[int, int]

# Beside the ranges of a pair, as the programs' users know it; that of the run has all of them.
SUMMARY = "merge_summary.json"
MERGED = "_merged.csv"
SHOWN = 3
# What is known of a merge; where one of it is missing, another version made it, and it is made anew.
_ENTRY = {"pair", "signature", "table", "remarks"}
# How a remark begins that tells of rows that were lost.
ERROR = "ERROR: "


class MissingRows(str):
    """A remark that tells of rows which a merged file lacks, though its pair is complete: no session ends well so."""

    __slots__ = ()


class Record(Protocol):
    """What is kept of a range: see ``rundir.shards.WorkerArgs``."""

    @property
    def positions(self) -> Range: ...
    @property
    def status(self) -> str: ...
    @property
    def ended(self) -> str | None: ...
    @property
    def files(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Mergeable:
    """A pair of this launch whose programs write CSV. ``ids`` gives those of its samples; ``key`` names its files.

    ``shown`` makes of a row what may be shown of it.
    """

    key: PairKey
    full_id: str
    kind: Kind
    ids: Callable[[], Iterable[str]]
    shown: Callable[[str], str] = str

    @classmethod
    def of(
        cls,
        key: PairKey,
        full_id: str,
        settings: Settings,
        ids: Callable[[], Iterable[str]],
        shown: Callable[[str], str] = str,
    ) -> Mergeable | None:
        """None where there is no CSV to merge."""
        table = settings.kind.csv(settings)
        return None if table is None else cls(key, full_id, Kind(*table), ids, shown)


def merge_run(paths: RunPaths, pairs: Iterable[Mergeable], say: Callable[[str], object] = str) -> list[str]:
    """Merge what changed, and list all in merge_summary.json; what went wrong is returned and never raised.

    Pairs that were merged by earlier launches stay as they are. ``say`` is told what was merged.
    """
    remarks: list[str] = []
    listed = _listed(paths)
    if not listed and not (paths.root / "shards").is_dir():
        return []  # 10,000 pairs without programs are not looked at
    pairs = list(pairs)
    names = _table_names(paths, [pair.key for pair in pairs if pair.full_id in listed])
    for pair in pairs:
        if pair.key in names:
            remarks += _told(pair, lambda pair=pair: _merge_pair(paths, pair, names[pair.key], say))  # type: ignore[misc]
    entries = [entry for key in names if (entry := _stored(paths, key)).keys() >= _ENTRY]
    if entries:
        remarks += _told(None, lambda: _list(paths, entries))
    return remarks


def merged_table(paths: RunPaths, key: PairKey) -> str | None:
    """Where the table of a pair's programs lies, relative to the run; None where none was made."""
    place = _stored(paths, key).get("merged")
    name = PurePath(place).name if isinstance(place, str) else ""
    return f"{paths.summary.name}/{name}" if name.endswith(MERGED) else None


def _listed(paths: RunPaths) -> set[str]:
    """The pairs that were merged, as merge_summary.json says: their ranges may be gone since."""
    try:
        programs = parse_json(read_file(paths.summary / SUMMARY))["programs"]
        return {str(entry["pair"]) for entry in programs}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _stays(paths: RunPaths, entry: Any, known: Collection[str]) -> bool:
    """Whether an entry of an earlier launch still speaks of a table that is there."""
    try:
        return entry["pair"] not in known and (paths.root / entry["merged"]).is_file()
    except (KeyError, TypeError):
        return False


def _told(pair: Mergeable | None, step: Callable[[], list[str]]) -> list[str]:
    try:
        return step()
    except Exception as error:  # noqa: BLE001 - a dataset's reader and a full disk must not cost the session its end
        name = f"{pair.full_id}: " if pair else ""
        return [f"{name}the results of its programs could not be merged: {str(error) or type(error).__name__}"]


def _table_names(paths: RunPaths, pairs: Iterable[PairKey]) -> dict[PairKey, str]:
    """For every pair that has ranges, and ``pairs``. Two that would be the same on some file system carry a hash."""
    found = {path.relative_to(paths.root).parts[1:4] for path in (paths.root / "shards").glob("*/*/*/worker_args_*")}
    found = {parts for parts in found if not parts[2].endswith(SUFFIXES)} | set(pairs)  # not what was put aside
    joined = {PairKey(*parts): safe_name("_".join(parts)) for parts in sorted(found)}
    # The predictions of a whole suite are merged into a file of its name.
    used = Counter(path.name.casefold() for path in paths.predictions.glob("*") if path.is_dir())
    used.update(name.casefold() for name in joined.values())
    return {key: f"{_told_apart(name, key, used)}{MERGED}" for key, name in joined.items()}


def _told_apart(name: str, key: PairKey, used: Counter[str]) -> str:
    if used[name.casefold()] == 1:
        return name
    return f"{name}-{hashlib.sha256('/'.join(key).encode()).hexdigest()[:8]}"


def _merge_pair(paths: RunPaths, pair: Mergeable, name: str, say: Callable[[str], object]) -> list[str]:
    """Merge the files of a pair, where that makes no poorer table than the one that lies there."""
    directory = paths.pair(pair.key).programs
    records = list(read_ranges(directory))
    parts = list(parts_of(records))
    table = paths.summary / name
    signature = _signature(pair, parts, records)
    stored = _stored(paths, pair.key)
    if stored.keys() >= _ENTRY and stored["signature"] == signature and _state(table) == stored["table"]:
        return _as_told(stored)
    if not (parts or table.is_file() or paths.pair(pair.key).marker.is_file()):
        return []

    def is_poorer(found: Merged) -> bool:
        return _lost(found, records) > 0 and found.total < count_rows(table)

    merged = merge_parts(parts, table, pair.kind, pair.ids(), paths.root, refuse=is_poorer, shown=pair.shown)
    for line in _merging(paths, pair, merged):
        say(line)
    kept = count_rows(table) if merged.table is None else 0
    remarks = [*_crashes(paths, pair, merged, records, kept), *_remarks(pair, merged, records, kept)]
    place = table.relative_to(paths.root).as_posix() if table.is_file() else None
    entry = {"pair": pair.full_id, "merged": place, **merged.to_json(), "kept": kept or None, "remarks": remarks}
    text = json.dumps(entry | {"signature": signature, "table": _state(table)}, ensure_ascii=False, indent=1)
    write_atomic(directory / SUMMARY, text + "\n")
    return _as_told(entry)


def _merging(paths: RunPaths, pair: Mergeable, merged: Merged) -> Iterator[str]:
    """What a merge did, in the words that the scheduler before had for it."""
    if merged.table is None:
        return
    for part in merged.files:
        yield f"{pair.full_id}: Loaded {part.rows} rows from {part.file}"
    yield f"{pair.full_id}: Merged {len(merged.files)} files into {merged.table.relative_to(paths.root).as_posix()}"
    yield f"{pair.full_id}: Total rows in merged file: {merged.total}"


def _as_told(entry: dict[str, Any]) -> list[str]:
    lacks = entry.get("kept") is None
    return [MissingRows(remark) if lacks and remark.startswith(ERROR) else str(remark) for remark in entry["remarks"]]


def _lost(merged: Merged, records: Sequence[Record]) -> int:
    """How many samples have no row, as far as that can be told."""
    if merged.missing is not None:
        return merged.missing
    return max(0, (merged.expected or 0) - sum(high - low for low, high in _joined(records)))


def _crashes(paths: RunPaths, pair: Mergeable, merged: Merged, records: Sequence[Record], kept: int) -> Iterator[str]:
    """What is missing of a pair that is complete; samples that failed, and were allowed to, have no rows."""
    files = paths.pair(pair.key)
    result = read_result(files.result) if files.marker.is_file() else None
    lost = _lost(merged, records)
    if result is None or lost <= result.samples.get("failed", 0):
        return
    unread = [path.name for path in sorted(files.programs.glob("worker_args_*.json")) if read_range(path) is None]
    why = f" ({', '.join(unread[:SHOWN])} cannot be read)" if unread else ""
    yield (
        f"{ERROR}{pair.full_id}: what its programs wrote is gone for {lost} of {merged.expected} samples{why}; "
        + (f"the merged file stays as it was, with {counted(kept, 'row')}" if kept else "the merged file lacks them")
        + "; --eval-fresh makes them again"
    )


def parts_of(records: Iterable[Record]) -> Iterator[RangeFile]:
    """What completed ranges have, each position from the newest that has it."""
    taken: list[Range] = []
    completed = [record for record in records if record.status == "completed"]
    for record in sorted(completed, key=lambda record: record.ended or "", reverse=True):
        free = _without(record.positions, taken)
        taken.append(record.positions)
        yield from (RangeFile(Path(file), low, high) for file in record.files for low, high in free)


def _without(wanted: Range, taken: Iterable[Range]) -> list[Range]:
    free = [wanted]
    for low, high in taken:
        pieces = [piece for a, b in free for piece in ((a, min(b, low)), (max(a, high), b))]
        free = [(a, b) for a, b in pieces if a < b]
    return free


def _signature(pair: Mergeable, parts: Sequence[RangeFile], records: Sequence[Record]) -> str:
    """Changes when anything does that the merge depends on; content is told by size and time."""
    seen = [[str(part.file), part.low, part.high, *_state(part.file)] for part in parts]
    states = [[*record.positions, record.status] for record in records]
    return hashlib.sha256(json.dumps([asdict(pair.kind), seen, states]).encode()).hexdigest()


def _state(path: Path) -> list[int | None]:
    """Size in bytes and time of the last change in nanoseconds; None for both where there is no such file."""
    if not path.is_file():
        return [None, None]
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _remarks(pair: Mergeable, merged: Merged, records: Sequence[Record], kept: int) -> Iterator[str]:
    covered = sum(high - low for low, high in _joined(records))
    if merged.expected is not None and covered < merged.expected:
        result = (
            f"the merged file stays as it was, with {counted(kept, 'row')}"
            if kept
            else "their results are merged as far as they go"
        )
        yield f"{pair.full_id}: programs completed {covered} of {merged.expected} samples; {result}"
    problems = merged.problems
    yield from (f"{pair.full_id}: {problem}" for problem in problems[:SHOWN])
    if len(problems) > SHOWN:
        yield f"{pair.full_id}: and {len(problems) - SHOWN} more of its programs' files; see summary/{SUMMARY}"


def _joined(records: Iterable[Record]) -> Iterator[Range]:
    """The positions of completed ranges, none of them twice."""
    taken: list[Range] = []
    for record in records:
        if record.status == "completed":
            yield from _without(record.positions, taken)
            taken.append(record.positions)


def _stored(paths: RunPaths, key: PairKey) -> dict[str, Any]:
    """What an earlier merge left, by this version or another."""
    try:
        entry = parse_json(read_file(paths.pair(key).programs / SUMMARY))
    except (OSError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _list(paths: RunPaths, entries: Sequence[dict[str, Any]]) -> list[str]:
    """Among what merge_summary.json already says: of predictions, and of pairs whose ranges are gone."""
    try:
        values = parse_json(read_file(paths.summary / SUMMARY))
    except (OSError, ValueError):
        values = {}
    values = values if isinstance(values, dict) else {}
    shown = [{name: value for name, value in entry.items() if name not in ("signature", "table")} for entry in entries]
    known = {entry["pair"] for entry in shown}
    before = values.get("programs")
    shown += [entry for entry in before if _stays(paths, entry, known)] if isinstance(before, list) else []
    write_merge_summary(paths, values | {"programs": sorted(shown, key=lambda entry: natural_key(entry["pair"]))})
    return []
