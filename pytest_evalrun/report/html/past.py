"""What pairs were before: their values in the history of the work directory, and what changed since the last one."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.text import number
from pytest_evalrun.rundir.differences import differences
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.suite.jsontext import parse_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.report.rows import SummaryRow

# So many evaluations of a pair are shown, and so much of the end of the history is read for them.
MOST = 30
MOST_BYTES = 16_000_000

Entry = dict[str, Any]


@dataclass(frozen=True)
class PairPast:
    """The evaluations of one pair, the oldest first, up to the one that its row is of."""

    entries: Sequence[Entry] = ()
    row: SummaryRow | None = field(default=None, repr=False)

    @property
    def told(self) -> list[dict[str, Any]]:
        """Each as the page shows it."""
        return [{"time": entry.get("time"), "metrics": entry["metrics"]} for entry in self.entries]

    @property
    def before(self) -> Mapping[str, float]:
        """The values of the last evaluation before this one; nothing where there was none."""
        found: Mapping[str, float] = self.entries[-2]["metrics"] if len(self.entries) > 1 else {}
        return found

    def spark(self, metric: str) -> tuple[float, ...]:
        """The values of a metric."""
        values = (entry["metrics"].get(metric) for entry in self.entries)
        return tuple(value for value in values if isinstance(value, int | float))

    def changes(self) -> Iterator[str]:
        """What this evaluation has that the last one had not, part by part, then which values moved."""
        if len(self.entries) < 2:
            return
        before, now = self.entries[-2], self.entries[-1]
        old, new = before["fingerprint"], now["fingerprint"]
        for kind in ("prediction", "score"):
            yield from differences(_parts(old, kind), _parts(new, kind))
        for name, value in now["metrics"].items():
            was = before["metrics"].get(name)
            if was != value and isinstance(was, int | float) and isinstance(value, int | float):
                yield f"{name} {number(was)} → {number(value)}"


NO_PAST = PairPast()


def read_past(history: Path, pairs: Collection[str]) -> dict[str, list[Entry]]:
    """The last evaluations of these pairs by their ids, the oldest first; lines that are damaged are left out."""
    found: dict[str, deque[Entry]] = {}
    try:
        file = open_file(history)
    except OSError:
        return {}
    with file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            file.seek(size - MOST_BYTES)
            file.readline()  # what is left of a line
        for raw in file:
            entry = _entry(raw)
            if entry is not None and entry["pair"] in pairs:
                found.setdefault(entry["pair"], deque(maxlen=MOST * 2)).append(entry)
    return {pair: list(entries) for pair, entries in found.items()}


def past_of(row: SummaryRow, entries: Sequence[Entry]) -> PairPast:
    """Those of as many samples as the row's, up to the last that has its values."""
    same = [entry for entry in entries if _parts(entry["fingerprint"], "prediction").get("limit") == row.limit]
    values = {name: metric["value"] for name, metric in row.metrics.items()}
    last = next((at for at in range(len(same) - 1, -1, -1) if same[at]["metrics"] == values), -1)
    return PairPast(same[max(0, last + 1 - MOST) : last + 1], row)


def _entry(raw: bytes) -> Entry | None:
    try:
        entry = parse_line(raw)
    except ValueError:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("pair"), str):
        return None
    sound = isinstance(entry.get("metrics"), dict) and isinstance(entry.get("fingerprint"), dict)
    return entry if sound else None


def _parts(fingerprint: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found = fingerprint.get(kind)
    return found if isinstance(found, dict) else {}
