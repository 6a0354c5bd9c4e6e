"""Alarms: which gates got worse though many were looked at, and how likely all would have passed."""

from __future__ import annotations

import pytest

from pytest_evalrun.comparison.alarms import MOST_NAMED, alarms_of, percentage
from pytest_evalrun.stats.multiplicity import benjamini_hochberg, holm
from pytest_evalrun.stats.power import chance_of_pass


def gate(p, tier="critical", **more):
    """As a result has it: 1,000 samples, of which 8 % came out otherwise, against the baseline main."""
    told = {"metric": "top1", "kind": "max_drop", "value": 0.9, "before": 0.931, "limit": 0.911, "by": 0.011}
    told |= {"margin": 0.02, "baseline": "main", "p": p, "tier": tier, "verdict": "PASS", "holds": True}
    told |= {"n": 1000, "interval": [-0.05, -0.01], "confidence": 0.95, "discordance": 0.08, "method": "Tango's"}
    return told | more


def alarms(*gates, suite="digits"):
    return alarms_of(suite, [(f"{suite}/m/d{place}", one) for place, one in enumerate(gates)])


def test_critical_gates_are_adjusted_by_holm_and_supporting_ones_by_benjamini_and_hochberg():
    """Each tier by itself: how many supporting gates there are makes no critical one less of an alarm."""
    critical, supporting = [0.001, 0.02, 0.03], [0.01, 0.02, 0.03, 0.04]
    found = alarms(*(gate(p) for p in critical), *(gate(p, "supporting") for p in supporting)).found
    assert [(one.p, one.adjusted) for one in found if one.tier == "critical"] == [
        (p, adjusted) for p, adjusted in zip(critical, holm(critical), strict=True) if adjusted < 0.05
    ]
    assert [(one.p, one.adjusted) for one in found if one.tier == "supporting"] == [
        pytest.approx(pair) for pair in zip(supporting, benjamini_hochberg(supporting), strict=True)
    ]


def test_what_is_beyond_chance_alone_is_none_among_many():
    """Of 20 gates one is below 0.05 by chance."""
    assert alarms(gate(0.03)).found
    assert not alarms(gate(0.03), *(gate(0.5) for _ in range(19))).found


def test_advisory_gates_are_not_looked_at():
    """They fail nothing, and cost those that do no sensitivity."""
    found = alarms(gate(0.03), *(gate(0.0, "advisory") for _ in range(100)))
    assert (len(found.found), found.gates, found.looked_at) == (1, 1, {"critical": 1})


def test_lines_name_pair_metric_change_baseline_and_both_p():
    """And the chance that all would PASS if nothing had changed, with what is assumed for it."""
    first, second = alarms(gate(0.0004), gate(0.9, "supporting")).lines()
    assert first == (
        "alarms (digits): 1 of 2 gates got worse beyond chance: "
        "m/d0 top1 -0.031 against main (p 0.0004, adjusted 0.0004, Holm)"
    )
    chance = percentage(chance_of_pass(1000, 0.02, 0.08) ** 2)
    assert second == (
        f"alarms (digits): if nothing had changed, all 2 would PASS with a chance of {chance}, were they independent"
    )


def test_no_alarm_is_told_too():
    """Silence would not say that anything was looked at."""
    first, second = alarms(gate(0.5)).lines()
    assert first == "alarms (digits): none of 1 gate got worse beyond chance"
    assert second.startswith("alarms (digits): if nothing had changed, it would PASS with a chance of ")
    assert "independent" not in second


def test_many_alarms_are_counted():
    """The worst are named."""
    line = next(alarms(*(gate(place * 1e-6) for place in range(1, MOST_NAMED + 4))).lines())
    assert line.count("top1") == MOST_NAMED
    assert line.endswith("; 3 more")
    assert "m/d0 top1 -0.031 against main (p below 0.0001" in line


def test_gates_by_value_alone_are_no_alarms():
    """Nothing is said where no gate was compared sample by sample."""
    by_value = {"metric": "top1", "kind": "min", "value": 0.5, "limit": 0.9, "by": 0.4, "holds": False}
    none = alarms(by_value, {**by_value, "verdict": "FAIL", "tier": "critical"})
    assert ([*none.lines()], none.gates, none.chance) == ([], 0, None)


@pytest.mark.parametrize(
    "odd",
    [
        {"p": "0.1"},
        {"p": float("nan")},
        {"p": None},
        {"before": None},
        {"value": True},
        {"tier": ["x"]},
        {"p": True},
        {"p": 10**400},
    ],
    ids=str,
)
def test_a_gate_that_somebody_edited_is_passed_over(odd):
    """It neither raises nor counts."""
    assert alarms(gate(0.001), gate(0.001) | odd).gates == 1


ODD = [{"margin": "a lot"}, {"margin": "nan%"}, {"interval": [1]}, {"interval": ["x", 2]}, {"interval": 5}]
ODD += [{"n": None}, {"n": 0}, {"confidence": 1}, {"confidence": "0.95"}]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_no_chance_is_told_where_one_gate_does_not_say_enough(odd):
    """A product without it would be of fewer gates than are named."""
    found = alarms(gate(0.001), gate(0.001) | odd)
    assert (found.gates, found.chance, len([*found.lines()])) == (2, None, 1)


def test_a_share_is_a_margin_in_the_metrics_unit():
    """2 % of a baseline of 0.931."""
    shared = alarms(gate(0.5, margin="2%")).chance
    assert shared == pytest.approx(chance_of_pass(1000, 0.02 * 0.931, 0.08))


def test_scores_that_are_not_0_or_1_are_judged_by_how_wide_their_interval_was():
    """A margin of half its width is reached in half of all cases; one of its whole width nearly always."""
    half = alarms(gate(0.5, discordance=None, interval=[-0.03, 0.01], margin=0.02)).chance
    whole = alarms(gate(0.5, discordance=None, interval=[-0.03, 0.01], margin=0.04)).chance
    assert half == pytest.approx(0.5)
    assert whole == pytest.approx(0.975, abs=1e-3)


def test_in_clusters_flips_say_nothing_of_the_chance():
    """1,000 samples of 25 passages are not 1,000 samples."""
    clustered = alarms(gate(0.5, clusters=25, interval=[-0.05, 0.03], margin=0.02)).chance
    assert clustered == pytest.approx(alarms(gate(0.5, discordance=None, interval=[-0.05, 0.03])).chance)


def test_an_approximate_method_with_too_few_samples_has_no_chance():
    """Its interval allowed it, its verdict did not: whatever had come out, it would not have been PASS."""
    barred = gate(0.5, discordance=None, approximate=True, interval=[-0.001, 0.001], verdict="INCONCLUSIVE")
    assert alarms(barred).chance == 0
    assert alarms(barred | {"verdict": "PASS"}).chance > 0.9


@pytest.mark.parametrize(
    ("chance", "text"),
    [(0.0, "0 %"), (0.004, "less than 1 %"), (0.414, "41 %"), (0.996, "more than 99 %"), (1.0, "100 %")],
)
def test_what_is_nearly_certain_is_not_told_as_certain(chance, text):
    """Nor what is nearly impossible as impossible."""
    assert percentage(chance) == text
