"""A side as the file of a saved baseline: compact, the same bytes of the same side each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.baselinefile import FORMAT, MOST_BYTES
from pytest_evalrun.comparison.side import is_same_value
from pytest_evalrun.rundir.lines import compact_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.comparison.side import SampleScores, Side

DIGITS = 12
# What is kept of a metric: its table may be as large as the samples.
_KEPT = ("value", "n", "low", "high", "better", "bounds")
_RIGHT_OR_WRONG = (0, 1)
_WHOLE = 2.0**53


class BaselineLines:
    """The lines of a side: as many bytes as are allowed in ``data``, how many there are in ``size``.

    Raises PairError where the side is damaged.
    """

    def __init__(self, side: Side, time: str) -> None:
        self.samples = self.size = 0
        self._names: dict[str, int] = {}
        self._statistics: dict[str, int] = {}
        self._sums: dict[str, tuple[float, int]] = {}
        self._others: set[str] = set()
        lines = bytearray()
        for row in side.rows():
            self.samples += 1
            line = compact_line(self._line(row), [*row.statistics.values()])
            self.size += len(line)
            if self.size <= MOST_BYTES:
                lines += line
        head = compact_line(self._head(side, time), ())
        self.size += len(head)
        self.data = head + lines

    def _line(self, row: SampleScores) -> list[Any]:
        """A line; what it has nothing of at its end is left off."""
        for name, score in row.scores.items():
            total, answers = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + score * row.answers, answers + row.answers
            if score not in _RIGHT_OR_WRONG:
                self._others.add(name)
        scores = _in_columns(self._names, {name: rounded(score) for name, score in row.scores.items()})
        line: list[Any] = [row.id, row.reference, scores]
        if row.cluster is not None or row.statistics:
            line.append(row.cluster)
        if row.statistics:
            told = {name: rounded_row(value) for name, value in row.statistics.items()}
            line.append(_in_columns(self._statistics, told))
        return line

    def _head(self, side: Side, time: str) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "pair": side.pair,
            "run": side.name,
            "time": time,
            "samples": self.samples,
            "metrics": {name: self._metric(name, told) for name, told in side.metrics.items()},
            "scoring": dict(side.scoring),
            "names": [*self._names],
            "statistics": [*self._statistics],
            "binary": [name for name in self._names if name not in self._statistics and name not in self._others],
        }

    def _metric(self, name: str, told: Mapping[str, Any]) -> dict[str, Any]:
        kept = {part: rounded(told[part]) for part in _KEPT if told.get(part) is not None}
        total, answers = self._sums.get(name, (0.0, 0))
        # Of samples with as many answers each it is seen by the scores; of others only the run can tell.
        if answers > self.samples and name not in self._statistics:
            kept |= {"mean": True} if is_same_value(total / answers, float(told["value"])) else {}
        return kept


def _in_columns(columns: dict[str, int], values: Mapping[str, Any]) -> list[Any]:
    """The values in the order in which their names first came; a column that comes later is at the end."""
    for name in values:
        columns.setdefault(name, len(columns))
    found: list[Any] = [None] * (1 + max((columns[name] for name in values), default=-1))
    for name, value in values.items():
        found[columns[name]] = value
    return found


def rounded(value: Any) -> Any:
    """A number to 12 significant digits, a whole one as an integer: what lies behind is noise of the machine."""
    if type(value) is list:
        return [rounded(each) for each in value]
    short = _short(value)
    return int(short) if type(short) is float and short.is_integer() and abs(short) < _WHOLE else short


def rounded_row(row: Any) -> Any:
    """The same of what a sample adds, in which 1.0 stays what it is: it may be a label."""
    return [rounded_row(each) for each in row] if type(row) is list else _short(row)


def _short(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if type(value) is float else value
