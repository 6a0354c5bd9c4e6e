"""How often a verdict is wrong where the truth is known: the tables of docs/gates.md, and what methods promise."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from pytest_evalrun.comparison.conclusion import FAIL, PASS
from pytest_evalrun.stats.power import chance_of_pass, least_n, least_n_unseen
from tools import errorrates
from tools.errorrates import (
    ENUMERATED,
    MOST_OVER,
    NOMINAL,
    PAGE,
    SIMULATED,
    TIMES,
    may_pass,
    of_means,
    ours_of,
    rates_of_flips,
    simulated,
)
from tools.worlds import BOUNDED, SHARES

TEXT = PAGE.read_text(encoding="utf-8")
MOST = MOST_OVER * NOMINAL
# Methods that claim no more than their rate: Tango's interval, and the betting interval of declared bounds.
CLAIMED = ("flips-pass", "bounded", "shares")


def table(name: str) -> str:
    found = re.search(rf"<!-- rates: {name} -->\n(.*?)<!-- end -->", TEXT, re.DOTALL)
    assert found, f"docs/gates.md has no table {name}"
    return found[1]


def ours(name: str) -> list[float]:
    """All rates of our verdict in a table of the page."""
    rows = [line for line in table(name).splitlines() if "| ours |" in line]
    return [float(cell) for line in rows for cell in line.split("|")[4:-1]]


@pytest.mark.parametrize("name", ENUMERATED)
def test_the_page_says_what_every_outcome_says(name):
    """Whoever changes a method or a verdict runs `make docs`; of 0/1 scores all outcomes are looked at again here."""
    assert table(name) == "\n".join([*ENUMERATED[name](), ""]), "docs/gates.md is stale: make docs"


@pytest.mark.parametrize("name", CLAIMED)
def test_rates_of_the_page_are_kept_where_a_method_claims_it(name):
    """PASS where the true drop is the margin: no more than 1.15 times 2.5 %, at every n and in every world."""
    rates = ours(name)
    assert len(rates) >= 5
    assert max(rates) <= MOST


@pytest.mark.parametrize("name", SIMULATED)
def test_simulations_of_the_page_are_those_of_the_code(name):
    """A cell of each table is drawn again, its first 500 times of 20,000: the page is within what chance allows."""
    world = SIMULATED[name][0]
    n = world.sizes[1]
    rows = table(name).splitlines()
    place = next(number for number, line in enumerate(rows) if line.startswith(f"| {world.name} |"))
    column = 4 + world.sizes.index(n)
    shown = [float(rows[place + more].split("|")[column]) for more in (0, 1)]
    for rate, told in zip(simulated(world, n, 500), shown, strict=True):
        assert abs(rate - told) <= 4 * math.sqrt(max(told, 0.002) * (1 - told) / 500)
    assert TIMES == 20_000


@pytest.mark.parametrize("name", SIMULATED)
def test_what_simulations_leave_out_is_no_pass(name):
    """A draw whose value is within 1.5 standard errors of the margin needs no interval: none would be a PASS."""
    rng = np.random.default_rng(5)
    for world in SIMULATED[name]:
        drawn = [world.draw(rng, world.sizes[0]) for _ in range(15)] + [
            world.draw(rng, world.sizes[1]) for _ in range(5)
        ]
        assert PASS not in {ours_of(world, *each) for each in drawn if not may_pass(world, *each)}


def test_no_n_between_those_of_the_page_is_worse():
    """Of 0/1 scores the rate is kept at all n from 10 to 60, whatever share of the samples is won."""
    worst = max(
        (rates_of_flips(n, margin, margin + won, won).passed, n, margin, won)
        for n in range(10, 61, 5)
        for margin in (0.005, 0.02, 0.05, 0.1)
        for won in (0.0, 0.03, 0.075, 0.2, 0.4)
    )
    assert worst[0] <= MOST, worst


def test_false_failures_of_flips_are_told_and_bounded():
    """FAIL where the drop is allowed is the other error: of few losses up to twice its rate, as the page says."""
    assert NOMINAL < max(ours("flips-fail")) <= 2.2 * NOMINAL


def test_edges_are_those_of_every_outcome():
    """More lost is never better, and more won never worse: so the edge of PASS is all there is to know."""
    n, margin = 25, 0.1
    edges = {won: (held, failed) for won, held, failed in errorrates.edges(n, range(n + 1), margin)}
    for won, (held, failed) in edges.items():
        words = [errorrates.word_of_flips(n, lost, won, margin) for lost in range(n - won + 1)]
        assert [word == PASS for word in words] == [lost < held for lost in range(len(words))]
        assert [word == FAIL for word in words] == [lost >= failed for lost in range(len(words))]


@pytest.mark.parametrize("n", [50, 180, 400])
@pytest.mark.parametrize(("margin", "discordance", "drop"), [(0.02, 0.1, 0.0), (0.05, 0.05, 0.05), (0.05, 0.2, 0.02)])
def test_the_chance_told_before_a_run_is_that_of_all_outcomes(n, margin, discordance, drop):
    """What stats.power says of PASS is what verdicts would be, one outcome after the other."""
    rates = rates_of_flips(n, margin, (discordance + drop) / 2, (discordance - drop) / 2)
    assert chance_of_pass(n, margin, discordance, drop) == pytest.approx(rates.passed, abs=1e-6)


@pytest.mark.parametrize("margin", [0.005, 0.02, 0.05, 0.1])
def test_pass_is_impossible_below_the_least_n_and_possible_there(margin):
    """The n that is told before a run is where the first PASS can be."""
    least = least_n(margin)
    assert [errorrates.word_of_flips(n, 0, 0, margin) == PASS for n in (least - 1, least)] == [False, True]


@pytest.mark.parametrize("name", ["unbounded", "clusters", "few-clusters"])
def test_approximate_methods_pass_nothing_that_one_unseen_loss_could_undo(name):
    """Below the n at which the worst loss of a unit that nobody saw exceeds the margin, nothing is a PASS."""
    rng = np.random.default_rng(3)
    for world in SIMULATED[name] * 15:
        n = int(rng.integers(6, 20))
        before, _, clusters = world.draw(rng, n)
        after = before + rng.normal(0, world.margin / 50, len(before))
        low, high = min(before.min(), after.min()), max(before.max(), after.max())
        word = of_means(before, after, clusters, world.margin, None)
        if n < least_n_unseen(world.margin, float(high - low)):
            assert word != PASS


@pytest.mark.parametrize("world", [*BOUNDED, *SHARES], ids=lambda world: world.name)
def test_betting_keeps_its_rate_in_draws_that_no_table_has(world):
    """At an n between those of the page, other draws: the rate is within what chance allows."""
    passed = simulated(world, 47, 500)[1] + simulated(world, 120, 500)[1]
    assert passed / 2 <= NOMINAL + 3.3 * math.sqrt(NOMINAL * (1 - NOMINAL) / 1_000)
