"""The alarms of a run, suite by suite: over all of its results, whatever was selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.alarms import alarms_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.comparison.alarms import Alarms
    from pytest_evalrun.report.rows import Summary, SummaryRow


def alarms_in(summary: Summary) -> list[Alarms]:
    """One of each suite that has gates which were compared sample by sample, in the order of its rows."""
    gates: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for row in _judged(summary):
        gates.setdefault(row.suite, []).extend((row.pair, gate) for gate in row.gates)
    found = (alarms_of(suite, of_suite) for suite, of_suite in gates.items())
    return [alarms for alarms in found if alarms.gates]


def alarm_lines(summary: Summary) -> list[str]:
    """What a person reads of them; nothing where no gate was compared sample by sample."""
    return [line for alarms in alarms_in(summary) for line in alarms.lines()]


def _judged(summary: Summary) -> Iterator[SummaryRow]:
    """Whole evaluations of pairs that are still there; of a pair that has none, that of its first samples."""
    known = [row for row in summary.present if row.status in ("passed", "failed") and row.gates]
    whole = {row.pair for row in known if row.limit is None}
    return (row for row in known if row.limit is None or row.pair not in whole)
