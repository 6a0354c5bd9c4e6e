"""What an item tells of its evaluation to whoever reads test reports: JUnit's properties, and other plugins'."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import INCONCLUSIVE, PASS
from pytest_evalrun.evaluation.usage import cost_of
from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.printable import counted, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.evaluation.gateverdicts import GateVerdict
    from pytest_evalrun.evaluation.steps import Evaluation
    from pytest_evalrun.rundir.results import Result

# A result's seconds that people look at, by the name of the property.
SECONDS = {"seconds": "total", "seconds.p50": "p50", "seconds.p95": "p95"}


def properties_of(evaluation: Evaluation) -> Iterator[tuple[str, Any]]:
    """Name → value: ``top1`` 0.9733, a number for programs; all others are texts, with their units.

    ``top1.interval``, ``top1.samples``, ``gate.top1.min``, ``samples``, ``seconds``, ``cost``. Nothing where only
    inference was asked for.
    """
    result = evaluation.result
    if result is None:
        return
    for name, metric in result.metrics.items():
        # Through JSON: a subclass of float that a user's metric answered would not travel.
        yield name, parse_json(json.dumps(metric["value"]))
        yield from _of_metric(name, metric)
    for verdict in evaluation.verdicts:
        yield f"gate.{verdict.metric}.{verdict.kind}", _judged(verdict)
    yield from _of_pair(result)


def _of_metric(name: str, metric: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    low, high, n = (metric.get(key) for key in ("low", "high", "n"))
    if low is not None and high is not None:
        yield f"{name}.interval", f"[{low:.6g}, {high:.6g}] at 95 %"
    if n is not None:
        yield f"{name}.samples", counted(n, "sample")


def _judged(verdict: GateVerdict) -> str:
    """``FAIL: 0.91 < 0.94 by 0.03``; with what it rests on: ``; -0.03 [-0.05, -0.01], n=1200 at 95 % by …``.

    Where the status of the pair follows something else than the verdict, that is said: ``INCONCLUSIVE, breached: …``.
    """
    told = verdict.told
    follows = (verdict.verdict == PASS) == verdict.holds and verdict.verdict != INCONCLUSIVE
    word = verdict.verdict if follows else f"{verdict.verdict}, {'holds' if verdict.holds else 'breached'}"
    parts = [f"{word}: {verdict.compared()}{f' by {verdict.by:.6g}' if verdict.by else ''}"]
    if rests := verdict.rests_on():
        parts.append(f"{rests} at {100 * told['confidence']:g} % by {told['method']}")
    if "baseline" in told:
        parts.append(f"against {told['baseline']}")
    # The interval may lie on one side of the limit, and still be of too few samples.
    if verdict.verdict == INCONCLUSIVE and "why" in told:
        parts.append(one_line(told["why"]))
    return "; ".join(parts)


def _of_pair(result: Result) -> Iterator[tuple[str, str]]:
    total, predicted, failed = (result.samples.get(name, 0) for name in ("total", "predicted", "failed"))
    lost = f", {failed} failed" if failed else ""
    yield "samples", f"{predicted} of {counted(total, 'sample')}{lost}"
    for name, key in SECONDS.items():
        if (seconds := result.seconds.get(key)) is not None:
            yield name, f"{seconds:.6g} s"
    if cost := cost_of(result.usage):
        yield "cost", cost
