"""One module a family of metrics; all of them by name or path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun import registry
from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.metrics.protocol import Metric, MetricRequest
    from pytest_evalrun.registry import Offer


def create_metric(spec: MetricRequest, root: str) -> Metric:
    """Make a fresh metric for one scoring; ``root`` is the suite's directory, which paths are relative to.

    Raises ConfigError for an unknown metric and for parameters that it does not have.
    """
    offer = _offer(spec)
    if offer is not None and offer.is_ours:
        return _create_built_in(offer, spec.params)
    from pytest_evalrun.metrics.user import user_metric

    return user_metric(_user_object(spec, offer, root), spec.use, spec.params)


def metric_source(spec: MetricRequest, root: str) -> Path | None:
    """Return the file behind a metric that is not built in: its content is part of the score's fingerprint."""
    offer = _offer(spec)
    if offer is not None and offer.is_ours:
        return None
    from pytest_evalrun.suite.objects import source_file

    return source_file(spec.use if offer is None else offer.value, root)


def is_ours(spec: MetricRequest) -> bool:
    """Tell whether a metric is built in."""
    offer = _offer(spec)
    return offer is not None and offer.is_ours


def _offer(spec: MetricRequest) -> Offer | None:
    """Find who offers a metric by a bare name; None where it is a path or a dotted name."""
    if "." in spec.use or "/" in spec.use:
        return None
    offer = registry.find(registry.METRICS, spec.use)
    if offer is None:
        accepted = ", ".join(sorted(registry.names(registry.METRICS)))
        raise ConfigError(f"metric {spec.use!r} is unknown; accepted: {accepted}, or a path such as ./metric.py:Name")
    return offer


def _user_object(spec: MetricRequest, offer: Offer | None, root: str) -> Any:
    if offer is not None:
        return offer.load()
    from pytest_evalrun.suite.objects import load_object

    return load_object(spec.use, root)


def _create_built_in(offer: Offer, params: Any) -> Metric:
    made = offer.load()
    try:
        return made(**params)  # type: ignore[no-any-return]
    except TypeError:
        import inspect

        accepted = ", ".join(inspect.signature(made).parameters) or "no parameters"
        raise ConfigError(f"metric {offer.name}: found parameters {dict(params)}; accepted: {accepted}") from None
