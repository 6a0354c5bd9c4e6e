"""``header.json`` of Inspect's log: what was evaluated, on what, and what came of it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.matrix import MOST_LABELS
from pytest_evalrun.rundir.results import ends

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.report.export.chosen import ChosenPair

LOG_VERSION = 2
# In the place of the ids of all samples, which nobody has in memory.
SAMPLE_IDS = "\0sample ids\0"
# Of a pair that has a result; others say themselves what they are.
_STATUS = {"passed": "success", "failed": "success", "error": "error", "running": "started"}
_UNFINISHED = "cancelled"


def header(pair: ChosenPair, run: str, counts: Mapping[str, int], usage: Mapping[str, Any]) -> dict[str, Any]:
    """The log without its samples.

    ``counts``: ``answers`` that are in the log and ``failed`` ones among them; ``scored:METRIC`` how many have a score.
    ``usage`` is what the model used in all, empty where nobody knows.
    """
    began, ended = _times(pair)
    status = _STATUS.get(pair.known.status, _UNFINISHED)
    model = pair.known.task
    told: dict[str, Any] = {
        "version": LOG_VERSION,
        "status": status,
        "eval": _spec(pair, run, began),
        "plan": {"name": "plan", "steps": [{"solver": "evalrun"}], "config": {}},
        "results": _results(pair, counts),
        "stats": {
            "started_at": began,
            "completed_at": "" if status == "started" else ended,
            "model_usage": {model: dict(usage)} if usage else {},
        },
    }
    if status == "error":
        text = _error(pair)
        told["error"] = {"message": text, "traceback": text, "traceback_ansi": text}
    return told


def _spec(pair: ChosenPair, run: str, created: str) -> dict[str, Any]:
    known = pair.known
    config: dict[str, Any] = {"epochs": pair.generations, "continue_on_fail": True, "log_samples": True}
    if known.limit is not None:
        config["limit"] = known.limit
    dataset: dict[str, Any] = {"name": known.dataset, "shuffled": False, "sample_ids": SAMPLE_IDS}
    if pair.total:
        dataset["samples"] = pair.total // pair.generations
    return {
        "eval_id": _id("eval", run, known.full_id),
        "run_id": _id("run", run),
        "task_id": _id("task", known.suite, known.dataset),
        "created": created,
        "task": f"{known.suite}/{known.dataset}",
        "task_display_name": known.dataset,
        "task_version": 0,
        "task_args": {},
        "dataset": dataset,
        "model": known.task,
        "model_args": {},
        "config": config,
        "tags": ["pytest-evalrun", known.status],
        "packages": {"pytest-evalrun": version("pytest-evalrun"), **_libraries(pair)},
        "scorers": [{"name": name} for name in pair.metrics],
        "metadata": _metadata(pair, run),
    }


def _metadata(pair: ChosenPair, run: str) -> dict[str, Any]:
    """What Inspect has no place for."""
    known, result = pair.known, pair.result
    told: dict[str, Any] = {"run": run, "pair": known.full_id, "status": known.status}
    if result is not None:
        told |= {"samples": dict(result.samples), "seconds": dict(result.seconds), "gates": list(result.gates)}
        told["environment"] = {key: value for key, value in result.environment.items() if key != "libraries"}
        told["fingerprint"] = result.fingerprint
        if result.statuses:
            told["ended"] = ends(result.statuses)
        if result.usage:
            told["usage"] = result.usage
    return told


def _results(pair: ChosenPair, counts: Mapping[str, int]) -> dict[str, Any]:
    answers = counts.get("answers", 0)
    scores = [_score(name, metric, counts) for name, metric in pair.metrics.items() if _is_number(metric["value"])]
    told: dict[str, Any] = {
        "total_samples": max(pair.total, answers),
        "completed_samples": answers - counts.get("failed", 0),
        "scores": scores,
    }
    if scores:
        told["headline"] = {"scorer": scores[0]["scorer"], "metric": "value"}
    return told


def _score(name: str, metric: Mapping[str, Any], counts: Mapping[str, int]) -> dict[str, Any]:
    """A metric with the ends of its 95 % interval as metrics of their own; a small table goes along."""
    shown = ((key, metric.get(key)) for key in ("value", "low", "high"))
    metrics = {key: {"name": key, "value": value} for key, value in shown if _is_number(value)}
    scored = counts.get(f"scored:{name}", 0)
    more = {key: metric[key] for key in ("n", "better") if key in metric}
    table = metric.get("table")
    if isinstance(table, dict) and len(table.get("labels", ())) <= MOST_LABELS:
        more["table"] = table
    told = {"name": name, "scorer": name, "params": {}, "metrics": metrics, "metadata": more}
    return told | {"scored_samples": scored, "unscored_samples": counts.get("answers", 0) - scored}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _libraries(pair: ChosenPair) -> dict[str, str]:
    found = {} if pair.result is None else pair.result.environment.get("libraries", {})
    return {str(name): str(text) for name, text in found.items()} if isinstance(found, dict) else {}


def _error(pair: ChosenPair) -> str:
    row = pair.known.row
    return (row.error if row is not None else None) or "it ended in an error"


def _times(pair: ChosenPair) -> tuple[str, str]:
    """When the evaluation began and ended, by the time of its newest file and the seconds that it took."""
    files = (pair.files.result, pair.files.predictions)
    ended = datetime.fromtimestamp(next(iter(_changed(files)), 0.0), UTC)
    took = (pair.result.seconds.get("total") if pair.result is not None else None) or 0.0
    return _iso(ended - timedelta(seconds=took)), _iso(ended)


def _changed(files: tuple[Any, ...]) -> Iterator[float]:
    for file in files:
        try:
            yield file.stat().st_mtime
        except OSError:
            continue


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _id(*parts: str) -> str:
    """A name in all the world, the same for each export."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:22]
