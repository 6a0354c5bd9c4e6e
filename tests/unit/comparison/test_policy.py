"""A policy: which gates hold for which pairs, and what is no policy."""

from __future__ import annotations

import pytest

from pytest_evalrun.comparison.policy import read_policy
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.gates import Gate, GateRules

FULL = """
gate_rules: {confidence: 0.9, tier: critical}
gates:
  top1: {max_drop: 0.01, min: 0.9}
overrides:
- match: "*/noisy"
  gates:
    top1: {max_drop: 5%}
    f1: {min: 0.5, by: interval}
- match: digits/mlp/*
  gate_rules: {confidence: 0.99}
"""


@pytest.fixture
def policy(tmp_path):
    """The policy of a text."""

    def made(text):
        (tmp_path / "policy.yaml").write_text(text)
        return read_policy(tmp_path / "policy.yaml")

    return made


def test_overrides_come_word_by_word_before_what_holds_for_all(policy):
    """A pattern fits the id of a pair with or without its suite; rules are those of all that fits."""
    found = policy(FULL)
    (clean,) = found.gates_of("digits/cnn/clean")
    assert (clean.metric, clean.gate, clean.rules) == (
        *("top1", Gate(min=0.9, max_drop=0.01)),
        GateRules(confidence=0.9, tier="critical"),
    )
    noisy = found.gates_of("digits/mlp/noisy")
    assert [asked.metric for asked in noisy] == ["top1", "f1"]
    assert noisy[0].gate == Gate(min=0.9, max_drop="5%")
    assert noisy[1].gate == Gate(min=0.5, by="interval")
    assert noisy[0].rules == GateRules(confidence=0.99, tier="critical")
    assert noisy[0].clustered


def test_what_concerns_something_is_right(policy):
    """Whatever metrics the other pairs have."""
    policy(FULL).check({"digits/mlp/noisy": ["top1", "f1"], "digits/cnn/clean": ["top1"], "other/a/b": []})


MISTAKES = {
    "no pair": (FULL, {"digits/mlp/clean": ["top1"]}, r"policy.yaml:6: overrides\[0\].match: found '\*/noisy'"),
    "no metric": (
        *(FULL, {"digits/mlp/noisy": ["top1"]}),
        r"policy.yaml:9: overrides\[0\].gates.f1: no pair has such a metric; accepted: top1",
    ),
    "no condition": ("gates:\n  m: {tier: critical}", {"s/t/d": ["m"]}, r"policy.yaml:2: gates.m: the gate has no"),
}


@pytest.mark.parametrize(("text", "pairs", "said"), MISTAKES.values(), ids=MISTAKES)
def test_what_concerns_nothing_is_a_slip_of_the_pen(policy, text, pairs, said):
    """It would judge less than was meant, and nobody would know."""
    with pytest.raises(ConfigError, match=said):
        policy(text).check(pairs)


def test_an_override_may_have_the_only_condition(policy):
    """Of all together something must be asked, not of each part."""
    found = policy("gates: {m: {tier: critical}}\noverrides: [{match: '*', gates: {m: {max_drop: 1}}}]")
    found.check({"s/t/d": ["m"]})
    (asked,) = found.gates_of("s/t/d")
    assert (asked.gate.max_drop, asked.rules.of(asked.gate).tier) == (1.0, "critical")


WRONG = {
    "a word": ("gates: {m: {max_dropp: 1}}", "unknown key; did you mean 'max_drop'"),
    "a part": ("gate: {m: {min: 1}}", "unknown key; did you mean 'gates'"),
    "a value": ("gates: {m: {max_drop: some}}", "found 'some'"),
    "a tier": ("gates: {m: {min: 1, tier: urgent}}", "'critical', 'supporting' or 'advisory'"),
    "no pattern": ("overrides: [{gates: {m: {min: 1}}}]", "match: is missing"),
    "a baseline": ("gates:\n  m: {max_drop: 1, baseline: main}", "policy.yaml:2: gates.m.baseline: found 'main'"),
    "a cluster": ("gates: {m: {min: 1}}\ngate_rules: {cluster: x}", "policy.yaml:2: gate_rules.cluster: found 'x'"),
    "no gates": ("gate_rules: {tier: critical}", "no gates; accepted"),
    "nothing": ("", "found nothing"),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_what_a_policy_may_not_hold(policy, text, said):
    """Each with its line and what is accepted."""
    with pytest.raises(ConfigError) as error:
        policy(text)
    assert said in str(error.value)
