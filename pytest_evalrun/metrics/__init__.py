"""One module a family of metrics; all of them by name or path."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from pytest_evalrun.metrics.protocol import Asked, Metric

ENTRY_POINTS = "pytest_evalrun.metrics"

_BUILT_IN = {
    "top1": ("classification", "Top1"),
    "topk": ("classification", "TopK"),
    "macro_f1": ("classification", "MacroF1"),
    "confusion": ("classification", "Confusion"),
    "mae": ("regression", "MeanAbsoluteError"),
    "rmse": ("regression", "RootMeanSquaredError"),
    "r2": ("regression", "R2"),
    "psnr": ("images", "Psnr"),
    "ssim": ("images", "Ssim"),
    "exact_match": ("text", "ExactMatch"),
}


def names() -> frozenset[str]:
    """The built-in metrics; those of installed packages are known to :func:`is_known`."""
    return frozenset(_BUILT_IN)


def is_known(name: str) -> bool:
    """Whether a metric of that name is built in or offered by an installed package."""
    return name in _BUILT_IN or _entry_point(name) is not None


def create_metric(spec: Asked, root: str) -> Metric:
    """A fresh metric for one scoring; ``root`` is the suite's directory, which paths are relative to.

    Raises ConfigError for an unknown metric and for parameters that it does not have.
    """
    if spec.use in _BUILT_IN:
        return _create_built_in(spec.use, spec.params)
    reference = _reference(spec)
    from pytest_evalrun.metrics.user import user_metric
    from pytest_evalrun.suite.objects import load_object

    return user_metric(load_object(reference, root), spec.use, spec.params)


def metric_source(spec: Asked, root: str) -> Path | None:
    """The file behind a metric that is not built in: its content is part of the score's fingerprint."""
    if spec.use in _BUILT_IN:
        return None
    from pytest_evalrun.suite.objects import source_file

    return source_file(_reference(spec), root)


def _create_built_in(name: str, params: Any) -> Metric:
    module, cls = _BUILT_IN[name]
    made = getattr(import_module(f"pytest_evalrun.metrics.{module}"), cls)
    try:
        return made(**params)  # type: ignore[no-any-return]
    except TypeError:
        import inspect

        accepted = ", ".join(inspect.signature(made).parameters) or "no parameters"
        raise ConfigError(f"metric {name}: found parameters {dict(params)}; accepted: {accepted}") from None


def _reference(spec: Asked) -> str:
    """The path or dotted name behind a metric; a bare name is one that an installed package offers."""
    if "." in spec.use or "/" in spec.use:
        return spec.use
    point = _entry_point(spec.use)
    if point is None:
        accepted = ", ".join(sorted(_BUILT_IN))
        raise ConfigError(f"metric {spec.use!r} is unknown; accepted: {accepted}, or a path such as ./metric.py:Name")
    return point.value


@cache
def _entry_point(name: str) -> EntryPoint | None:
    from importlib.metadata import entry_points

    return next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
