"""The tables of a run as DataFrames: pairs, their metrics and gates, what was before, what happened, what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.notebook.columns import DIFF, EVENTS, GATES, HISTORY, PAIRS, RESULTS
from pytest_evalrun.notebook.frames import frame_of_rows
from pytest_evalrun.report.gatewords import flat_gate
from pytest_evalrun.report.rows import PACE
from pytest_evalrun.rundir.results import TIMING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pandas as pd

    from pytest_evalrun.report.diff import PairDiff, RunDiff
    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.report.rows import Summary, SummaryRow

_INTERVAL = ("low", "high", "n", "method")
_TOLD = frozenset(column.name for column in EVENTS)


def pairs_frame(pairs: Iterable[KnownPair], gone: Callable[[str, str, str], bool]) -> pd.DataFrame:
    """Make a row of each pair that a run knows of, whether or not it has a result yet."""
    return frame_of_rows(PAIRS, (_pair(pair, gone) for pair in pairs))


def _pair(pair: KnownPair, gone: Callable[[str, str, str], bool]) -> dict[str, Any]:
    row = pair.row
    reason = (row.error or row.skipped) if row else None
    told = _measured(row) if row else {}
    return _names(pair) | told | {"reason": reason, "gone": gone(pair.suite, pair.task, pair.dataset)}


def _names(pair: KnownPair | SummaryRow) -> dict[str, Any]:
    names = {name: getattr(pair, name) for name in ("suite", "task", "dataset", "limit", "status")}
    return {"pair": pair.full_id, **names}


def _measured(row: SummaryRow) -> dict[str, Any]:
    counts = _counts(row.samples, {**row.pace, "total": row.seconds})
    return counts | {"cost": row.cost, "model_bytes": row.model_bytes}


def _counts(samples: Any, seconds: Any) -> dict[str, Any]:
    """Counts and seconds as a result or a line of history has them; nothing of what is damaged."""
    samples, seconds = (found if hasattr(found, "get") else {} for found in (samples, seconds))
    counts = {"samples": samples.get("total"), "predicted": samples.get("predicted"), "failed": samples.get("failed")}
    return counts | {"seconds": seconds.get("total")} | {name: seconds.get(name) for name in PACE}


def results_frame(summary: Summary) -> pd.DataFrame:
    """Make a row of each pair and metric, one of a pair without metrics, as summary.csv has them."""
    return frame_of_rows(RESULTS, (values for row in summary.rows for values in _results(row)))


def _results(row: SummaryRow) -> Iterator[dict[str, Any]]:
    told = _names(row) | _measured(row) | {"outdated": row.outdated}
    for name, metric in row.metrics.items():
        judged = [gate["holds"] for gate in row.gates if gate["metric"] == name]
        found = {part: metric.get(part) for part in ("value", "low", "high", "n", "better")}
        yield told | found | {"metric": name, "holds": all(judged) if judged else None}
    for name, value in row.recorded.items():
        if isinstance(value, int | float):
            yield told | {"metric": name, "value": +value}
    if not row.metrics:
        yield told


def gates_frame(summary: Summary) -> pd.DataFrame:
    """Make a row of each gate that was judged."""
    return frame_of_rows(
        GATES, ({**flat_gate(gate), "pair": row.full_id} for row in summary.rows for gate in row.gates)
    )


def history_frame(entries: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Make a row of each evaluation and metric, oldest first; one of an evaluation without metrics."""
    return frame_of_rows(HISTORY, (values for entry in entries for values in _evaluation(entry)))


def _evaluation(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    told = {"time": entry.get("time"), "pair": entry.get("pair")} | _counts(entry.get("samples"), entry.get("seconds"))
    if entry.get("timing") != TIMING:  # by a share of its batch: no latency that anybody saw
        told |= {"p50": None, "p95": None}
    metrics = entry.get("metrics")
    found = metrics if isinstance(metrics, dict) and metrics else {None: None}
    yield from (told | {"metric": name, "value": value} for name, value in found.items())


def events_frame(events: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Make a row of each event, in the order in which they were merged."""
    return frame_of_rows(EVENTS, (dict(event) | {"more": _more(event)} for event in events))


def _more(event: Mapping[str, Any]) -> dict[str, Any] | None:
    return {name: value for name, value in event.items() if name not in _TOLD} or None


def diff_frame(found: RunDiff, before: str, after: str) -> pd.DataFrame:
    """Make a row of each pair and metric of both runs, and of each pair that only one of them has."""
    rows = [row for pair in found.pairs for row in _differences(pair)]
    rows += [{"pair": pair, "remark": f"only in {before}"} for pair in found.only_before]
    rows += [{"pair": pair, "remark": f"only in {after}"} for pair in found.only_after]
    return frame_of_rows(DIFF, rows)


def _differences(pair: PairDiff) -> Iterator[dict[str, Any]]:
    told = {"pair": pair.full_id, "remark": pair.remark}
    told |= dict(zip(("status_before", "status_after"), pair.status, strict=True))
    for change in pair.changes:
        row = {name: getattr(change, name) for name in ("metric", "before", "after", "verdict", *_INTERVAL)}
        if change.before is not None and change.after is not None:
            row["change"] = change.after - change.before
        if (turned := pair.flips.get(change.metric)) is not None:
            row |= {"lost": turned.lost, "lost_ids": [*turned.first_lost]}
            row |= {"won": turned.won, "won_ids": [*turned.first_won]}
        yield told | row
    if not pair.changes:
        yield told
