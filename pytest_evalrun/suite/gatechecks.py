"""What no schema can say of gates: conditions that are whole, baselines that may be, words that can do something."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.gates import LATEST, is_summary
from pytest_evalrun.suite.names import refusal
from pytest_evalrun.suite.problems import found

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.suite.gates import Gate
    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.settings import Settings

BASELINES = "the name of a saved baseline or of a run, a number, or the CSV file of a summary"
# Words of a gate that only matter where an interval is judged.
OF_INTERVALS = ("confidence", "when_unsure")


def mistake_in_baseline(baseline: Any, root: str) -> str | None:
    """Say what is wrong with a baseline, as far as its file or its name tells.

    That none is saved by a name is no mistake of the suite: the run that is to become it must be possible.
    """
    if not isinstance(baseline, str):
        return None
    if is_summary(baseline, root):
        path = os.path.join(root, baseline)  # noqa: PTH118 - paths are text where suites are read
        if os.path.isfile(path):  # noqa: PTH113
            return None
        return f"{found(baseline)}; accepted: {BASELINES}; no file {path}"
    if baseline == LATEST:
        return f"{found(baseline)}, which is the very run that is judged; accepted: {BASELINES}"
    if "/" not in baseline and (why := refusal(baseline, "baseline")):
        return f"{why}; accepted: {BASELINES}"
    return None


def mistakes_in_gate(metric: str, settings: Settings, pair: Pair) -> Iterator[tuple[str, str]]:
    """Tell what is wrong with a gate of a pair once all layers have spoken: key, and what is found and accepted."""
    name, gate = f"gates.{metric}", settings.gates[metric]
    if gate.max_drop is not None and gate.baseline is None:
        yield name, f"max_drop needs a baseline; accepted: baseline: {BASELINES}"
    elif gate.min is None and gate.max is None and gate.max_drop is None:
        yield name, "the gate has no condition; accepted: min, max, max_drop with baseline"
    else:
        yield from _idle(name, gate, settings, pair)


def _idle(name: str, gate: Gate, settings: Settings, pair: Pair) -> Iterator[tuple[str, str]]:
    """Words that can do nothing.

    Unless a layer below the one that makes them so has said them: that one shall not have to unsay them.
    """
    if gate.by == "interval" and gate.min is None and gate.max is None:
        key = f"{name}.by"
        yield key, f"{found(gate.by)}, which is about min and max, and this gate has neither; accepted: leave it out"
    if gate.needs_samples(pair.root):
        return
    cause, text = "by", "min and max are held against the value; accepted: `by: interval` beside them"
    if gate.max_drop is not None:
        cause, text = (
            "baseline",
            "of a number or a summary the value alone is known; accepted: a saved baseline or a run",
        )
    for word in OF_INTERVALS:
        if (value := getattr(gate, word)) is not None:
            said, causing = settings.origins[f"{name}.{word}"], settings.origins.get(f"{name}.{cause}")
            if causing is None or not _is_below(said, causing, pair):
                yield f"{name}.{word}", f"{found(value)}, which does nothing without an interval: {text}"


def _is_below(layer: Layer, other: Layer, pair: Pair) -> bool:
    order = [id(each) for each in pair.layers]
    return order.index(id(layer)) < order.index(id(other))
