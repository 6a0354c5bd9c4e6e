"""A model against itself alarms no more often than stated, and a planted drop of the stated size is seen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_evalrun.comparison.alarms import LEVEL, alarms_of
from pytest_evalrun.comparison.conclusion import FAIL, PASS
from pytest_evalrun.stats.betting import betting_tail
from pytest_evalrun.stats.difference import PairedScores, mean_difference
from pytest_evalrun.stats.power import chance_of_pass, visible_drop
from tools.errorrates import of_means

TIMES = 1_000
# How far a share of 1,000 may be off by chance: once in 1,000 it is further.
FAR = 3.3


def band(rate: float) -> float:
    return FAR * math.sqrt(rate * (1 - rate) / TIMES)


def answers(rng: np.random.Generator, n: int, discordance: float, drop: float = 0.0):
    """0/1 scores of two answers of one model, 80 % right, of which so many differ; the second lost ``drop`` of all."""
    kind = rng.random(n)
    lost, won = (discordance + drop) / 2, (discordance - drop) / 2
    before = np.where(kind < lost, 1.0, np.where(kind < lost + won, 0.0, rng.random(n) < 0.8))
    after = np.where(kind < lost, 0.0, np.where(kind < lost + won, 1.0, before))
    return before, after


def f1_scores(rng: np.random.Generator, n: int):
    """Scores between 0 and 1 of two answers of one model, as far from each other as from the truth."""
    skill = rng.beta(8, 2, n)
    return tuple(np.clip(skill + rng.normal(0, 0.1, n), 0, 1) for _ in range(2))


def gate(before, after, tier: str) -> dict[str, object]:
    """A gate as a result has it, of a comparison."""
    found = mean_difference(PairedScores(before, after, (0.0, 1.0)))
    told = {"metric": "top1", "kind": "max_drop", "value": float(after.mean()), "before": float(before.mean())}
    told |= {"p": found.p_worse, "tier": tier, "verdict": PASS, "margin": 0.02, "n": found.n, "baseline": "main"}
    return {**told, "interval": [found.low, found.high], "confidence": 0.95}


@pytest.mark.parametrize("tier", ["critical", "supporting"])
def test_a_model_against_itself_alarms_at_the_stated_rate(tier):
    """1,000 suites of eight gates, each a model with itself: in no more than 5 % of them is there any alarm at all."""
    rng = np.random.default_rng(17)
    alarmed = 0
    for _ in range(TIMES):
        gates = [(f"suite/m/d{place}", gate(*answers(rng, 300, 0.1), tier)) for place in range(8)]
        alarmed += bool(alarms_of("suite", gates).found)
    assert 0 < alarmed / TIMES <= LEVEL + band(LEVEL)


def test_a_single_gate_alarms_as_often_as_its_exact_test():
    """Of one gate the rate is not only kept: it is that of the sign test at its discordance, about .04."""
    rng = np.random.default_rng(18)
    alarmed = sum(
        bool(alarms_of("suite", [("suite/m/d", gate(*answers(rng, 1_000, 0.1), "critical"))]).found)
        for _ in range(TIMES)
    )
    assert alarmed / TIMES == pytest.approx(sign_test_rate(1_000, 0.1), abs=band(0.04))


def sign_test_rate(n: int, discordance: float) -> float:
    from scipy import stats

    flips = np.arange(n + 1)
    chances = stats.binom.pmf(flips, n, discordance)
    alarms = [
        chance * sum(stats.binom.pmf(k, m, 0.5) for k in range(m + 1) if stats.binom.sf(k - 1, m, 0.5) < LEVEL)
        for m, chance in zip(flips.tolist(), chances, strict=True)
        if chance > 1e-9
    ]
    return float(sum(alarms))


def test_scores_between_bounds_alarm_no_more_often_either():
    """1,000 comparisons of bounded scores of a model with itself: of a single gate p is not adjusted."""
    rng = np.random.default_rng(19)
    differences = (after - before for before, after in (f1_scores(rng, 200) for _ in range(TIMES)))
    alarmed = sum(betting_tail(found, -1.0, 1.0) < LEVEL for found in differences)
    assert alarmed / TIMES <= LEVEL + band(LEVEL)


def test_the_p_of_bounded_scores_is_that_of_the_bets():
    """What alarms look at is what was counted above."""
    before, after = f1_scores(np.random.default_rng(19), 200)
    assert gate(before, after, "critical")["p"] == betting_tail(after - before, -1.0, 1.0)


@pytest.mark.parametrize(("n", "discordance"), [(200, 0.1), (1_000, 0.05), (1_000, 0.1)])
def test_a_planted_drop_of_the_stated_size_is_seen_at_the_stated_power(n, discordance):
    """The drop that the block before a run says this n sees with a chance of 80 % ends in FAIL that often."""
    drop = visible_drop(n, discordance, margin=0.01)
    rng = np.random.default_rng(20)
    words = [of_means(*answers(rng, n, max(discordance, drop), drop), None, 0.01) for _ in range(TIMES)]
    assert words.count(FAIL) / TIMES == pytest.approx(0.8, abs=band(0.8))


@pytest.mark.parametrize(("n", "margin"), [(300, 0.05), (1_000, 0.02)])
def test_what_did_not_change_passes_with_the_stated_chance(n, margin):
    """The chance of PASS that is told where nothing changes is how often a model passes against itself."""
    rng = np.random.default_rng(21)
    words = [of_means(*answers(rng, n, 0.1), None, margin) for _ in range(TIMES)]
    chance = chance_of_pass(n, margin, 0.1)
    assert words.count(PASS) / TIMES == pytest.approx(chance, abs=band(chance))


def test_the_chance_that_all_pass_is_that_of_all_gates_together():
    """What a suite says of its gates, were they independent, is what happens where they are."""
    rng = np.random.default_rng(22)
    margin, told, held = 0.02, [], 0
    for _ in range(200):
        pairs = [answers(rng, 1_000, 0.05) for _ in range(3)]
        told.append(
            alarms_of("suite", [(f"suite/m/d{i}", gate(*pair, "critical")) for i, pair in enumerate(pairs)]).chance
        )
        held += all(of_means(*pair, None, margin) == PASS for pair in pairs)
    assert held / 200 == pytest.approx(float(np.mean(told)), abs=FAR * math.sqrt(0.25 / 200))
