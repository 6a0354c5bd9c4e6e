"""Metrics made again from what a result says of them: for those of a corpus, whose values samples add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.scoring import identity_of
from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.metrics import create_metric
from pytest_evalrun.suite.settings import MetricSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.metrics.protocol import Metric


def made_again(scoring: Mapping[str, Any], metric: str) -> Metric | None:
    """A metric of ours by the part ``score`` of a fingerprint; None of a user's own, whose code is run by its suite."""
    told = identity_of(scoring, metric) or {}
    params = told.get("params")
    if not isinstance(told.get("use"), str) or not isinstance(params, dict) or told.get("source"):
        return None
    try:
        return create_metric(MetricSpec(metric, told["use"], params), "")
    except EvalrunError:
        return None
