"""Writes the tables of error rates into docs/gates.md: how often a verdict is wrong where the truth is known.

``make docs`` makes those of 0/1 scores, of which every outcome is looked at, and a test fails where the page says
otherwise. ``python -m tools.errorrates --simulate`` makes the others too, 20,000 draws each: a quarter
of an hour, and something new only where a method is.
"""

from __future__ import annotations

import argparse
import math
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from pytest_evalrun.comparison.compare import Coverage, MetricComparison
from pytest_evalrun.comparison.conclusion import FAIL, PASS, conclude_drop
from pytest_evalrun.stats.difference import NoEstimateError, PairedScores, mean_difference
from pytest_evalrun.stats.resampling import paired_bootstrap
from tools.bundles import bundles_table
from tools.peers import PASS as NEL_PASS
from tools.peers import nel_of_flips, nel_verdict
from tools.worlds import BOUNDED, CORPORA, IN_CLUSTERS, IN_FEW_CLUSTERS, SHARES, UNBOUNDED, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_evalrun.stats.estimate import IntervalEstimate
    from tools.worlds import Scores

PAGE = Path(__file__).parents[1] / "docs" / "gates.md"
SIZES = (10, 30, 100, 300, 1000)
TIMES = 20_000
NOMINAL = 0.025
# By how much a rate may be over it of a method that claims to keep it.
MOST_OVER = 1.15
# Outcomes so unlikely that all of them together change no digit.
UNLIKELY = 1e-12
# No interval reaches less than so many standard errors below its value; a test says so.
NARROWEST = 1.5
TABLE = re.compile(r"(?P<head><!-- rates: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->\n)", re.DOTALL)

# Margins, and what shares of the samples are won; what is lost is both together.
FLIPS = {
    0.005: (0.0, 0.01, 0.05),
    0.01: (0.0, 0.01, 0.05),
    0.015: (0.0, 0.015, 0.05),
    0.02: (0.0, 0.02, 0.1),
    0.05: (0.0, 0.05, 0.15),
    0.1: (0.0, 0.1, 0.3),
}
DISCORDANCES = (0.0, 0.02, 0.05, 0.1, 0.2)


def verdict(estimate: IntervalEstimate | None, margin: float, worst: float) -> str:
    """The word of a gate with this margin, as it would stand in a result."""
    found = MetricComparison("metric", "higher", 0.0, 0.0, Coverage(0), estimate, worst=worst)
    return conclude_drop(found, margin).word


def of_means(
    before: Scores,
    after: Scores,
    clusters: NDArray[np.intp] | None,
    margin: float,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    keep: float = 1.0,
) -> str:
    """Our verdict of a metric that is a mean."""
    low, high = bounds or (min(before.min(), after.min()), max(before.max(), after.max()))
    try:
        found = mean_difference(PairedScores(before, after, bounds, clusters), keep=keep)
    except NoEstimateError:
        found = None
    return verdict(found, margin, float(high - low))


def of_corpus(before: Scores, after: Scores, words: Scores, margin: float) -> str:
    """Our verdict of a value of a corpus: wrong words of all words, of which less is better."""

    def quality(wrong: Scores, draws: NDArray[np.int64]) -> Scores:
        counted = draws.astype(np.float64)
        return -(counted @ wrong) / (counted @ words)

    try:
        found = paired_bootstrap(len(words), lambda draws: quality(before, draws), lambda draws: quality(after, draws))
    except NoEstimateError:
        found = None
    return verdict(found, margin, float(np.ptp(np.concatenate([before / words, after / words]))))


# -- 0/1 scores: every outcome ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FlipRates:
    """The chances of nel's PASS and BREACH, and of our PASS and FAIL."""

    nel_pass: float
    nel_breach: float
    passed: float
    failed: float


@cache
def rates_of_flips(n: int, margin: float, lose: float, win: float) -> FlipRates:
    """Of 0/1 scores, where these shares are truly lost and won."""
    lost, won = outcomes(n, (lose, win))
    weights = chances(n, (lose, win), lost, won)
    likely = np.unique(won[weights > UNLIKELY]).astype(int)
    ends = {gained: (held, failed) for gained, held, failed in edges(n, likely, margin)}
    held, failed = (np.array([ends.get(int(gained), (0, n + 1))[place] for gained in won]) for place in (0, 1))
    masks = (*nel_of_flips(n, lost, won, margin), lost < held, lost >= failed)
    return FlipRates(*(float(weights[mask].sum()) for mask in masks))


def outcomes(n: int, truth: tuple[float, float]) -> tuple[Scores, Scores]:
    """All pairs of lost and won samples that are likely enough to count."""
    spans = []
    for share in truth:
        far = 8 * math.sqrt(n * share * (1 - share)) + 10 if share else 0
        spans.append(np.arange(max(0, math.floor(n * share - far)), min(n, math.ceil(n * share + far)) + 1.0))
    lost, won = (grid.ravel() for grid in np.meshgrid(*spans, indexing="ij"))
    fits = lost + won <= n
    return lost[fits], won[fits]


def chances(n: int, truth: tuple[float, float], lost: Scores, won: Scores) -> Scores:
    """Of each outcome by the multinomial law."""
    factorials = np.array([math.lgamma(count + 1) for count in range(n + 1)])
    kept = n - lost - won
    logs = np.full(len(lost), factorials[n])
    for count, share in ((lost, truth[0]), (won, truth[1]), (kept, 1 - sum(truth))):
        logs += np.where(count > 0, count * math.log(max(share, 1e-300)), 0.0) - factorials[count.astype(int)]
    return np.exp(logs)


def edges(n: int, likely: Iterable[int], margin: float) -> Iterator[tuple[int, int, int]]:
    """For each number of won samples, in ascending order, from how many lost ones on it is no PASS, and a FAIL.

    The more are lost the worse, the more are won the better: each search starts where the last one ended.
    """
    held = failed = 0
    for won in likely:
        held = _first(held, n, won, margin, holds=lambda word: word != PASS)
        failed = _first(max(held, failed), n, won, margin, holds=lambda word: word == FAIL)
        yield won, held, failed


def _first(start: int, n: int, won: int, margin: float, holds: Callable[[str], bool]) -> int:
    lost = range(start, n - won + 1)
    return next((count for count in lost if holds(word_of_flips(n, count, won, margin))), n + 1)


def word_of_flips(n: int, lost: int, won: int, margin: float) -> str:
    """Our verdict of 0/1 scores, by the door that a gate goes through."""
    before, after = np.ones(n), np.ones(n)
    after[:lost], before[lost : lost + won] = 0, 0
    return of_means(before, after, None, margin)


# -- all others: draws ------------------------------------------------------------------------------------------------


def simulated(world: World, n: int, times: int = TIMES) -> tuple[float, float]:
    """How often nel's rule and ours say PASS; the same each time."""
    rng = np.random.default_rng([crc32(world.name.encode()), n])
    peers = ours = 0
    for _ in range(times):
        drawn = world.draw(rng, n)
        peers += nel_of(world, *drawn) == NEL_PASS
        ours += may_pass(world, *drawn) and ours_of(world, *drawn) == PASS
    return peers / times, ours / times


def nel_of(world: World, before: Scores, after: Scores, of_each: Any) -> str:
    """Of a margin that is a share nel looks at the value alone; this is its interval all the same."""
    if world.corpus:
        return nel_verdict((before - after) / of_each, world.margin)
    return nel_verdict(after - world.keep * before, world.margin, of_each)


def ours_of(world: World, before: Scores, after: Scores, of_each: Any) -> str:
    if world.corpus:
        return of_corpus(before, after, of_each, world.margin)
    return of_means(before, after, of_each, world.margin, world.bounds, world.keep)


def may_pass(world: World, before: Scores, after: Scores, of_each: Any) -> bool:
    """Whether the value is so far above the margin that an interval can be: most draws need none."""
    if world.corpus:
        words = of_each.sum()
        value = float(before.sum() - after.sum()) / words
        error = math.sqrt(float(((before - after - value * of_each) ** 2).sum())) / words
    else:
        differences = after - world.keep * before
        value = float(differences.mean())
        sums = differences - value if of_each is None else np.bincount(of_each, differences - value)
        error = math.sqrt(float((sums**2).sum())) / len(differences)
    return value + world.margin >= NARROWEST * error


# -- the page ---------------------------------------------------------------------------------------------------------


def pass_table() -> Iterator[str]:
    """PASS where the true drop is the margin: an error."""
    return margin_table("passed", "nel_pass")


def fail_table() -> Iterator[str]:
    """FAIL where the true drop is the margin, and no more."""
    return margin_table("failed", "nel_breach")


def margin_table(ours: str, peers: str) -> Iterator[str]:
    """Rates of these names where the true drop is the margin."""
    yield from head(("margin", "won", "rule"), SIZES)
    worst = 0.0
    for margin, shares in FLIPS.items():
        for won in shares:
            rates = [rates_of_flips(n, margin, margin + won, won) for n in SIZES]
            yield row((f"{margin:g}", f"{won:g}", "nel"), (getattr(rate, peers) for rate in rates))
            found = [getattr(rate, ours) for rate in rates]
            yield row(("", "", "ours"), found)
            worst = max(worst, *found)
    yield worst_line(worst)


def same_table() -> Iterator[str]:
    """PASS where nothing changed but samples that flip by chance: what it should be."""
    yield from head(("margin", "samples that flip"), SIZES)
    for margin in FLIPS:
        for share in DISCORDANCES:
            rates = (rates_of_flips(n, margin, share / 2, share / 2).passed for n in SIZES)
            yield row((f"{margin:g}", f"{100 * share:g} %"), rates, digits=2)


def worlds_table(worlds: Sequence[World], found: dict[tuple[str, int], tuple[float, float]]) -> Iterator[str]:
    """PASS where the true drop is the margin, of scores that are drawn."""
    sizes = worlds[0].sizes
    yield from head(("scores", "margin", "rule"), sizes)
    for world in worlds:
        margin = f"{world.margin:g}" if world.keep == 1 else f"{100 - 100 * world.keep:g} %"
        for name, place in (("nel", 0), ("ours", 1)):
            lead = (world.name, margin, name) if place == 0 else ("", "", name)
            yield row(lead, (found[world.key, n][place] for n in sizes))
    yield worst_line(max(found[world.key, n][1] for world in worlds for n in sizes))


def head(names: Sequence[str], sizes: Sequence[int]) -> Iterator[str]:
    columns = [*names, f"n = {sizes[0]}", *(f"{n:,}" for n in sizes[1:])]
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(names)}{'---:|' * len(sizes)}"


def row(names: Sequence[str], rates: Iterable[float], digits: int = 4) -> str:
    return f"| {' | '.join([*names, *(shown(rate, digits) for rate in rates)])} |"


def shown(rate: float, digits: int = 4) -> str:
    """Without the zero before the point."""
    text = f"{rate:.{digits}f}"
    return "0" if float(text) == 0 else "1" if float(text) == 1 else text[1:]


def worst_line(rate: float) -> str:
    return f"\nThe highest of ours: {shown(rate)}."


ENUMERATED = {
    "flips-pass": pass_table,
    "flips-fail": fail_table,
    "flips-same": same_table,
    "bundles": bundles_table,
}
SIMULATED = {
    "bounded": BOUNDED,
    "shares": SHARES,
    "unbounded": UNBOUNDED,
    "clusters": IN_CLUSTERS,
    "few-clusters": IN_FEW_CLUSTERS,
    "corpus": CORPORA,
}


def fresh(text: str, found: dict[tuple[str, int], tuple[float, float]] | None = None) -> str:
    """The page with its tables made again; those of simulations only where these were made."""

    def filled(table: re.Match[str]) -> str:
        name = table["name"]
        if name in ENUMERATED:
            lines = ENUMERATED[name]()
        elif name in SIMULATED and found is not None:
            lines = worlds_table(SIMULATED[name], found)
        else:
            return table[0]
        return "\n".join([table["head"].rstrip(), *lines, ""]) + table["end"]

    return TABLE.sub(filled, text)


def simulate() -> dict[tuple[str, int], tuple[float, float]]:
    """Every world at every size."""
    places = [
        (name, place, n)
        for name, worlds in SIMULATED.items()
        for place, world in enumerate(worlds)
        for n in world.sizes
    ]
    with ProcessPoolExecutor() as pool:
        return dict(pool.map(_simulated_at, places))


def _simulated_at(where: tuple[str, int, int]) -> tuple[tuple[str, int], tuple[float, float]]:
    """Of a world by its place: what it draws from cannot be handed to another process."""
    name, place, n = where
    world = SIMULATED[name][place]
    return (world.key, n), simulated(world, n)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page anew."""
    parser = argparse.ArgumentParser(prog="python -m tools.errorrates", description=__doc__)
    parser.add_argument("--simulate", action="store_true", help="make the tables of simulations again, too")
    asked = parser.parse_args(arguments)
    found = simulate() if asked.simulate else None
    PAGE.write_text(fresh(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
