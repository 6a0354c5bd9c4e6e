"""What a gate can see before its pair is asked, and how people are told."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_evalrun.comparison.alarms import percentage
from pytest_evalrun.comparison.outlook import GateOutlook, MetricFacts, facts_in, least_to_pass, outlook_lines
from pytest_evalrun.stats.difference import PairedScores, mean_difference
from pytest_evalrun.stats.power import (
    chance_of_pass,
    least_n,
    least_n_bounded,
    least_n_unseen,
    n_for_pass,
    visible_drop,
)
from pytest_evalrun.stats.proportions import wilson
from pytest_evalrun.suite.gates import Gate, GateRules

BINARY = MetricFacts(0.9, (0.0, 1.0), binary=True)
BOUNDED = MetricFacts(0.9, (0.0, 1.0), binary=False)
CORPUS = MetricFacts(0.9, (0.0, 1.0), binary=False, statistic=True)
UNBOUNDED = MetricFacts(2.5, None, binary=False)


LEAST, ENOUGH = least_n(0.02), f"{n_for_pass(0.02, 0.08):,}"


def outlook(n=1000, least=LEAST, **more):
    told = {"margin": 0.02, "discordance": 0.08, "known": True} | more
    tier = told.pop("tier", "supporting")
    pair = told.pop("pair", "digits/mlp/clean")
    return GateOutlook(pair, "top1", "max_drop", "0.02", tier, "main", n, least, **told)


@pytest.mark.parametrize(
    ("facts", "least"),
    [
        pytest.param(BINARY, least_n(0.02), id="0 or 1"),
        pytest.param(BOUNDED, least_n_bounded(0.02, 1.0), id="bounded"),
        pytest.param(CORPUS, least_n_unseen(0.02, 1.0), id="corpus"),
        pytest.param(UNBOUNDED, None, id="unbounded"),
        pytest.param(MetricFacts(0.9, (0.0, 1.0)), least_n(0.02), id="0 or 1, or not"),
        pytest.param(MetricFacts(), None, id="nothing known"),
    ],
)
def test_the_least_n_is_that_of_the_method(facts, least):
    """The method follows from the scores; of scores without bounds nobody knows it before."""
    assert least_to_pass(Gate(max_drop=0.02, baseline="main"), "max_drop", GateRules(), facts) == least


@pytest.mark.parametrize(
    ("gate", "facts", "least"),
    [
        pytest.param(Gate(max_drop="5%", baseline="main"), BINARY, least_n(0.05 * 0.9), id="share"),
        pytest.param(Gate(max_drop="5%", baseline="main"), MetricFacts(binary=True), None, id="share of nothing"),
        pytest.param(Gate(max_drop=0, baseline="main"), BINARY, None, id="only a gain"),
        pytest.param(Gate(max_drop=2, baseline="main"), BOUNDED, None, id="more than there is"),
        pytest.param(Gate(max_drop=0.02, baseline="main", confidence=0.9), BINARY, least_n(0.02, 0.9), id="confidence"),
    ],
)
def test_the_least_n_follows_the_gates_own_words(gate, facts, least):
    """A share of the baseline's value, and the gate's own confidence."""
    assert least_to_pass(gate, "max_drop", GateRules(), facts) == least


@pytest.mark.parametrize("facts", [BINARY, BOUNDED, CORPUS])
def test_in_clusters_the_least_n_is_of_clusters(facts):
    """Whatever the scores are; fewer than 6 have no interval at all."""
    rules = GateRules(cluster="passage")
    assert least_to_pass(Gate(max_drop=0.02, baseline="main"), "max_drop", rules, facts) == least_n_unseen(0.02, 1.0)
    assert least_to_pass(Gate(max_drop=0.9, baseline="main"), "max_drop", rules, facts) == 6


@pytest.mark.parametrize("share", [2, 5])
@pytest.mark.parametrize("value", [0.95, 0.4])
def test_with_fewer_than_the_least_n_no_share_can_pass(value, share):
    """What is told to be impossible is; with a fifth more it is not, if nothing changes."""
    facts = MetricFacts(value, (0.0, 1.0), binary=True)
    least = least_to_pass(Gate(max_drop=f"{share}%", baseline="main"), "max_drop", GateRules(), facts)

    def passes(n):
        same = (np.arange(n) * value % 1 < value).astype(float)
        return mean_difference(PairedScores(same, same, (0.0, 1.0)), keep=1 - share / 100).low >= 0

    assert not passes(least - 1)
    assert passes(round(least * 1.2))


@pytest.mark.parametrize(("kind", "limit"), [("min", 0.94), ("min", 0.5), ("max", 0.06), ("max", 0.001)])
def test_a_bound_is_kept_by_the_best_scores_from_the_least_n_on(kind, limit):
    """Wilson's interval of nothing but hits, or of nothing but misses, keeps it there, and not with one sample less."""
    least = least_to_pass(Gate(**{kind: limit, "by": "interval"}), kind, GateRules(), BINARY)

    def keeps(n):
        return wilson(n, n)[0] >= limit - 1e-12 if kind == "min" else wilson(0, n)[1] <= limit + 1e-12

    assert keeps(least)
    assert least == 1 or not keeps(least - 1)


@pytest.mark.parametrize(
    ("limit", "facts"), [(0.0, BINARY), (1.0, BINARY), (1.5, BINARY), (0.9, UNBOUNDED), (0.9, CORPUS)]
)
def test_no_least_n_is_told_of_bounds_that_it_cannot_be_known_of(limit, facts):
    """Beyond the scores' own bounds, or of scores without any."""
    assert least_to_pass(Gate(min=limit, by="interval"), "min", GateRules(), facts) is None


def test_chances_are_those_of_the_room_stats():
    """By n, margin, discordance and confidence of the gate."""
    one = outlook(confidence=0.9)
    assert one.chance == chance_of_pass(1000, 0.02, 0.08, confidence=0.9)
    assert one.seen == visible_drop(1000, 0.08, 0.8, 0.9, 0.02)
    assert one.enough == n_for_pass(0.02, 0.08, 0.8, confidence=0.9)


def test_what_an_interval_says_of_scores_that_are_not_0_or_1():
    """A margin of half its width is kept in half of all cases; four times the samples halve it."""
    one = outlook(discordance=None, half=0.02)
    assert one.chance == pytest.approx(0.5)
    assert one.seen == pytest.approx(0.02 + 0.02 * (1 + 0.8416 / 1.96), abs=1e-4)
    assert one.enough == pytest.approx(1000 * (1 + 0.8416 / 1.96) ** 2, abs=2)
    narrow = outlook(discordance=None, half=one.half * (one.n / one.enough) ** 0.5)
    assert narrow.chance == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize(
    "unknown", [{"n": None}, {"margin": None}, {"discordance": None, "half": None}, {"margin": 0.0, "n": None}], ids=str
)
def test_nothing_is_told_of_what_nobody_knows(unknown):
    """No samples, no margin, or nothing that says how much comes out otherwise by chance."""
    one = outlook(**unknown)
    assert (one.chance, one.seen) == (None, None)


GATE = "digits/mlp/clean top1 max_drop 0.02 against main: "
NEEDED = f"100 samples, and PASS needs {LEAST} unless it got better"
LAST = "discordance 0.08, as last time"
LINES = {
    "seen": (
        outlook(),
        [
            f"1,000 samples, PASS possible from {LEAST} on",
            f"a drop of {visible_drop(1000, 0.08, margin=0.02):.2g} would be seen",
            f"PASS with a chance of {percentage(chance_of_pass(1000, 0.02, 0.08))}, 80 % from {ENOUGH} samples on",
            LAST,
        ],
    ),
    "assumed": (
        outlook(n=20000, discordance=0.1, known=False),
        [
            f"20,000 samples, PASS possible from {LEAST} on",
            f"a drop of {visible_drop(20000, 0.1, margin=0.02):.2g} would be seen",
            "PASS with a chance of more than 99 %",
            "discordance 0.1, assumed",
        ],
    ),
    "impossible": (outlook(n=100), [NEEDED]),
    "fatal": (outlook(n=100, tier="critical"), [NEEDED, "critical: an ERROR before the model is loaded"]),
    "not counted": (
        outlook(n=None),
        [
            f"samples not counted yet, PASS possible from {LEAST} on",
            f"PASS with a chance of 80 % from {ENOUGH} samples on",
            LAST,
        ],
    ),
    "a problem": (
        outlook(n=1, least=None, discordance=None, problem="no baseline main yet"),
        ["1 sample", "no baseline main yet"],
    ),
}


@pytest.mark.parametrize(("gate", "parts"), LINES.values(), ids=LINES)
def test_a_line_a_gate(gate, parts):
    """What is there, what is needed, what would be seen, and what that rests on."""
    assert gate.text == GATE + "; ".join(parts)


def test_a_bound_is_told_without_a_baseline():
    """It has none; the best that there is is what it can be."""
    gate = GateOutlook("d/m/c", "top1", "min", "0.94", "supporting", "", 50, 61)
    assert gate.text == "d/m/c top1 min 0.94, by its interval: 50 samples, and PASS needs 61 even of the best"


def test_the_impossible_come_first_and_the_rest_is_counted():
    """Critical ones before all, then those whose margin is least beyond chance."""
    gates = [
        outlook(n=5000, pair="d/m/sure"),
        outlook(n=300, pair="d/m/weak"),
        outlook(n=100, pair="d/m/impossible"),
        outlook(n=100, pair="d/m/fatal", tier="critical"),
        *(outlook(n=100_000, pair=f"d/m/x{place}") for place in range(30)),
    ]
    *lines, last = outlook_lines(gates)
    named = [line.removeprefix("impossible: ").partition(" ")[0] for line in lines]
    assert named[:4] == ["d/m/fatal", "d/m/impossible", "d/m/weak", "d/m/sure"]
    assert [line.startswith("impossible: ") for line in lines[:3]] == [True, True, False]
    assert (len(lines), last) == (20, "… 14 more gates")


def test_impossible_ones_that_are_not_shown_are_counted():
    """Nobody shall think that there are only those."""
    *_, last = outlook_lines([outlook(n=100) for _ in range(25)])
    assert last == "… 5 more gates, 5 of them impossible"


ODD = [{}, {"metrics": {"top1": 5}}, {"metrics": {"top1": {"value": "x", "bounds": [0]}}}, {"metrics": {"top1": {}}}]


@pytest.mark.parametrize("head", ODD, ids=str)
def test_a_head_that_says_too_little_tells_nothing(head):
    """The comparison itself says what is wrong with it."""
    assert facts_in(head, "top1")[:3] == (None, None, None)


def test_a_head_tells_of_each_metric():
    """Its value, its bounds, whether its scores are 0 or 1, and whether its value is no mean of them."""
    head = {
        "metrics": {"top1": {"value": 0.5, "bounds": [0, 1]}, "f1": {"value": 0.4}},
        "binary": ["top1"],
        "statistics": ["f1"],
    }
    assert facts_in(head, "top1") == MetricFacts(0.5, (0.0, 1.0), True, False)
    assert facts_in(head, "f1") == MetricFacts(0.4, None, False, True)
