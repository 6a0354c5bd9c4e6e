"""Conditions on metrics: which hold, which are breached, and by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import FAIL, INCONCLUSIVE, PASS
from pytest_evalrun.comparison.gatefacts import allowed
from pytest_evalrun.comparison.judged import past_bound
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.gateverdicts import GateVerdict, breach_table, in_brief, settled
from pytest_evalrun.evaluation.summarybaseline import baseline_value
from pytest_evalrun.suite.gates import ADVISORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.evaluation.evidence import Evidence
    from pytest_evalrun.suite.gates import Gate, GateRules
    from pytest_evalrun.suite.pairs import Pair

__all__ = ["GateVerdict", "breach_table", "in_brief", "judge"]


def judge(pair: Pair, metrics: Mapping[str, Mapping[str, Any]], evidence: Evidence | None = None) -> list[GateVerdict]:
    """Today's gates of the pair over metrics in their JSON form. ``evidence`` is of its samples, if a gate needs some.

    Raises PairError for a gate that cannot be judged.
    """
    verdicts: list[GateVerdict] = []
    for name, gate in pair.settings.gates.items():
        if name not in metrics:
            raise PairError(f"gate on {name}: the result has no such metric; it has: {', '.join(metrics) or 'none'}")
        verdicts += _judge(pair, name, gate, metrics[name], evidence)
    return verdicts


def _judge(
    pair: Pair, name: str, gate: Gate, metric: Mapping[str, Any], evidence: Evidence | None
) -> Iterator[GateVerdict]:
    value, rules = float(metric["value"]), pair.settings.gate_rules.of(gate)
    for kind, limit in (("min", gate.min), ("max", gate.max)):
        if limit is None:
            continue
        if gate.by == "interval":
            assert evidence is not None, "whoever judges intervals has the samples"
            yield evidence.of_value(name, kind, limit, rules)
        else:
            yield _by_value(name, kind, value, limit, past_bound(value, kind, limit), rules)
    if gate.max_drop is not None:
        try:
            yield _drop(pair, name, gate, metric, evidence)
        except PairError as error:
            if rules.tier != ADVISORY:
                raise
            yield _unknown(name, gate, value, rules, str(error).removeprefix(f"gate on {name}: "))


def _drop(pair: Pair, name: str, gate: Gate, metric: Mapping[str, Any], evidence: Evidence | None) -> GateVerdict:
    rules = pair.settings.gate_rules.of(gate)
    if gate.is_saved(pair.root):
        assert evidence is not None, "whoever compares samples has them"
        return evidence.of_drop(name, gate, rules)
    value, baseline = float(metric["value"]), baseline_value(pair, name, gate)
    limit, by = allowed(gate, baseline, value, higher=metric["better"] == "higher")
    return _by_value(name, "max_drop", value, limit, by, rules)


def _unknown(name: str, gate: Gate, value: float, rules: GateRules, why: str) -> GateVerdict:
    """An advisory gate that cannot be judged: it is told why, and fails nothing either."""
    told = {"why": why, "confidence": rules.confidence, "baseline": gate.baseline, "margin": gate.max_drop}
    told["unsure"] = rules.when_unsure
    return GateVerdict(name, "max_drop", value, value, 0.0, INCONCLUSIVE, True, rules.tier, told)


def _by_value(metric: str, kind: str, value: float, limit: float, by: float, rules: GateRules) -> GateVerdict:
    """A condition where the value decides."""
    return GateVerdict(metric, kind, value, limit, by, FAIL if by > 0 else PASS, settled(by, rules), rules.tier)
