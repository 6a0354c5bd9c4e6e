"""What ``evalrun gate`` is told to judge: gates by metric, and others for pairs that a pattern fits, from a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.fields import UNSET, Name, Strict
from pytest_evalrun.suite.gates import Gate, GateRules
from pytest_evalrun.suite.gateschema import GateModel, GateRulesModel  # noqa: TC001 - fields are read by pydantic
from pytest_evalrun.suite.loading import read_yaml
from pytest_evalrun.suite.problems import Problems, accepted, found, some
from pytest_evalrun.suite.validation import validated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.suite.loading import Document, Where

# So many ids of pairs are named to who wrote a pattern that fits none.
MOST_NAMED = 10
CONDITIONS = ("min", "max", "max_drop")


class PolicyOverride(Strict):
    match: Name
    """A pattern for `task/dataset`, or for `suite/task/dataset`: `*/noisy`."""
    gates: dict[str, GateModel] = UNSET
    """Conditions on metrics of these pairs, word by word before those of `gates`."""
    gate_rules: GateRulesModel = UNSET
    """How they are judged, word by word before `gate_rules`."""


class PolicyModel(Strict):
    gate_rules: GateRulesModel = UNSET
    """How gates are judged where the words are not their own."""
    gates: dict[str, GateModel] = UNSET
    """Conditions on metrics, by the metric's name; `max_drop` is measured from BASE."""
    overrides: list[PolicyOverride] = UNSET
    """Other conditions for some pairs; of several that fit, the last one wins, word by word."""


@dataclass(frozen=True)
class AskedGate:
    """A gate that is to be judged of a pair, and its rules; ``clustered`` where clusters of samples count."""

    metric: str
    gate: Gate
    rules: GateRules
    clustered: bool = True


@dataclass(frozen=True)
class _Said:
    """What a part of the file says, and where; ``match`` is None of what holds for all pairs."""

    where: Where
    match: str | None
    gates: Mapping[str, Mapping[str, Any]]
    rules: Mapping[str, Any]

    def fits(self, pair: str) -> bool:
        """Tell whether it is about a pair, by its full id or without the name of its suite."""
        if self.match is None:
            return True
        return fnmatchcase(pair, self.match) or fnmatchcase(pair.partition("/")[2], self.match)


@dataclass(frozen=True)
class Policy:
    """A policy as its file says; ``source`` is that file."""

    source: str
    _document: Document = field(repr=False)
    _parts: tuple[_Said, ...] = field(repr=False)

    def gates_of(self, pair: str) -> list[AskedGate]:
        """The gates of a pair, by its full id, whatever metrics it has."""
        gates: dict[str, dict[str, Any]] = {}
        rules: dict[str, Any] = {}
        for part in self._parts:
            if part.fits(pair):
                rules |= part.rules
                for metric, words in part.gates.items():
                    gates[metric] = {**gates.get(metric, {}), **words}
        return [AskedGate(metric, Gate(**words), GateRules(**rules)) for metric, words in gates.items()]

    def check(self, pairs: Mapping[str, Collection[str]]) -> None:
        """Raise ConfigError for what concerns none of these pairs (full id → metrics): a slip of the pen is no GO."""
        problems = Problems()
        for part in self._parts:
            ids = [pair for pair in pairs if part.fits(pair)]
            if not ids and part.match is not None:
                place = self._document.place((*part.where, "match"))
                told = f"{found(part.match)}, which matches no pair"
                problems.add(f"{place}: {told}; accepted: a pattern that fits one of {some(sorted(pairs), MOST_NAMED)}")
                continue
            self._check_metrics(part, {metric for pair in ids for metric in pairs[pair]}, problems)
        for pair in pairs:
            self._check_conditions(pair, problems)
        problems.raise_any()

    def _check_metrics(self, part: _Said, known: Collection[str], problems: Problems) -> None:
        for metric in part.gates:
            if metric not in known:
                place = self._document.place((*part.where, "gates", metric))
                problems.add(f"{place}: no pair has such a metric; {accepted(metric, known)}")

    def _check_conditions(self, pair: str, problems: Problems) -> None:
        """What one part leaves open another may say; of all together something must be asked."""
        for asked in self.gates_of(pair):
            if all(getattr(asked.gate, word) is None for word in CONDITIONS):
                place = next(self._places(asked.metric))
                problems.add(f"{place}: the gate has no condition; accepted: {', '.join(CONDITIONS)}")

    def _places(self, metric: str) -> Iterator[str]:
        for part in self._parts:
            if metric in part.gates:
                yield self._document.place((*part.where, "gates", metric))


def read_policy(path: Path) -> Policy:
    """Read a policy. Raises ConfigError with file and line for everything that it may not hold."""
    document = read_yaml(str(path))
    values = validated(PolicyModel, document.values, document.place)
    parts = [_Said((), None, values.get("gates", {}), values.get("gate_rules", {}))]
    for index, entry in enumerate(values.get("overrides", ())):
        where: Where = ("overrides", index)
        parts.append(_Said(where, entry["match"], entry.get("gates", {}), entry.get("gate_rules", {})))
    if not any(part.gates for part in parts):
        raise ConfigError(f"{document.place(())}: no gates; accepted: gates: {{METRIC: {{max_drop: 0.01}}}}")
    problems = Problems()
    for part in parts:
        for key, text in _idle(part):
            problems.add(f"{document.place((*part.where, *key))}: {text}")
    problems.raise_any()
    return Policy(str(path), document, tuple(parts))


def _idle(part: _Said) -> Iterator[tuple[Where, str]]:
    """Words that a suite may say and that do nothing here."""
    if (column := part.rules.get("cluster")) is not None:
        told = "clusters are those that the scores were written with; accepted: the same word in the suite's gate_rules"
        yield ("gate_rules", "cluster"), f"{found(column)}: {told}"
    for metric, words in part.gates.items():
        if (baseline := words.get("baseline")) is not None:
            told = "max_drop is measured from BASE; accepted: leave it out"
            yield ("gates", metric, "baseline"), f"{found(baseline)}: {told}"
