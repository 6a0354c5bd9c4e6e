"""What may be said of gates in evalrun.yaml, and in the policy of ``evalrun gate``."""

from __future__ import annotations

from typing import Literal

from pytest_evalrun.suite.fields import UNSET, Confidence, Drop, Name, Number, Strict

Tier = Literal["critical", "supporting", "advisory"]
WhenUnsure = Literal["value", "fail", "pass"]


class GateModel(Strict):
    min: Number = UNSET
    """The lowest value that passes."""
    max: Number = UNSET
    """The highest value that passes."""
    max_drop: Drop = UNSET
    """By how much the value may be worse than `baseline`, whichever way is better for the metric; `5%` of it."""
    baseline: Number | Name = UNSET
    """What `max_drop` is measured from: a saved baseline or a run, which are compared sample by sample; a number, or
    the CSV file of an earlier summary, relative to the suite, of which the value alone is known.
    """
    by: Literal["value", "interval"] = UNSET
    """What `min` and `max` are held against: the value, or the end of its interval that is nearer. Default: `value`."""
    tier: Tier = UNSET
    """As in `gate_rules`, for this gate."""
    when_unsure: WhenUnsure = UNSET
    """As in `gate_rules`, for this gate."""
    confidence: Confidence = UNSET
    """As in `gate_rules`, for this gate."""


class GateRulesModel(Strict):
    confidence: Confidence = UNSET
    """Of the two-sided interval that a gate is judged by. Default: 0.95."""
    when_unsure: WhenUnsure = UNSET
    """What decides where the interval allows both: the `value`, or always `fail` or `pass`. Default: `value`."""
    tier: Tier = UNSET
    """`critical`: a gate that cannot PASS with so few samples is an error before the model is loaded; alarms by Holm.
    `supporting`: it fails its pair; alarms by Benjamini and Hochberg. `advisory`: it is told, and fails nothing.
    Default: `supporting`.
    """
    cluster: Name = UNSET
    """The column of the data that says which samples belong together, such as questions about one passage."""
