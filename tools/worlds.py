"""What may be true of two models: worlds in which the true drop is known, for tools/errorrates.py to draw from.

In each the true drop is exactly the margin, so that PASS is an error; how the losses are spread differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import NDArray

    Scores: TypeAlias = NDArray[np.float64]
    # Of so many units: scores before and after, and the cluster of each or None; of a corpus the words of each.
    Draw: TypeAlias = Callable[[np.random.Generator, int], tuple[Scores, Scores, Any]]

SIZES = (10, 30, 100, 300, 1000)


@dataclass(frozen=True)
class World:
    """``bounds`` are what its metric declares, ``sizes`` how many units are drawn: samples, or clusters of them.

    ``keep`` is what has to be left of the value before, of a margin that is a share of it; ``margin`` is 0 then.
    """

    name: str
    margin: float
    draw: Draw
    bounds: tuple[float, float] | None = (0.0, 1.0)
    keep: float = 1.0
    corpus: bool = False
    sizes: tuple[int, ...] = SIZES

    @property
    def key(self) -> str:
        """Of all worlds by itself."""
        return f"{self.name}, {self.margin}, {self.bounds}"


def _rare(rng: np.random.Generator, n: int) -> tuple[Scores, Scores, None]:
    before = rng.uniform(0.8, 1, n)
    return before, before - 0.8 * (rng.random(n) < 0.0625), None


def _mixed(rng: np.random.Generator, n: int) -> tuple[Scores, Scores, None]:
    kind = rng.random(n)
    low = rng.uniform(0, 0.2, n)
    lost, won = kind < 0.1125, kind > 0.95
    return np.where(won, low, low + 0.8), np.where(lost, low, low + 0.8), None


def _even(rng: np.random.Generator, n: int) -> tuple[Scores, Scores, None]:
    before = rng.uniform(0.1, 1, n)
    return before, before - rng.uniform(0, 0.1, n), None


def _skewed(rng: np.random.Generator, n: int) -> tuple[Scores, Scores, None]:
    before = np.ones(n)
    return before, before - rng.beta(0.25, 4.75, n), None


def _noisy(rng: np.random.Generator, n: int) -> tuple[Scores, Scores, None]:
    before = np.full(n, 0.5)
    return before, before - 0.05 + np.clip(rng.normal(0, 0.15, n), -0.45, 0.45), None


def _decibels(rng: np.random.Generator, n: int) -> tuple[Scores, Scores, None]:
    before = rng.normal(30, 4, n)
    return before, before - 0.5 + rng.normal(0, 2, n), None


def _rare_decibels(rng: np.random.Generator, n: int) -> tuple[Scores, Scores, None]:
    before = rng.normal(30, 4, n)
    return before, before - 10 * (rng.random(n) < 0.05), None


def _relative(rng: np.random.Generator, n: int) -> tuple[Scores, Scores, None]:
    """0.8 before and 0.76 after, which is 95 % of it."""
    kind = rng.random(n)
    return (kind < 0.8).astype(float), ((kind >= 0.07) & (kind < 0.83)).astype(float), None


def _clustered(
    margin: float, whole: float = 0.0, spread: float = 0.0, won: float = 0.0, *, uneven: bool = False
) -> Draw:
    """0/1 scores in clusters of 10, or of 1 to 19. A share ``won`` of all samples is won; of the others what is lost
    differs from cluster to cluster by ``spread``, or a share ``whole`` of the clusters is lost as a whole.
    """
    mean = (margin + won) / (1 - won)
    rest = (mean - whole) / (1 - whole)

    def draw(rng: np.random.Generator, count: int) -> tuple[Scores, Scores, NDArray[np.intp]]:
        sizes = rng.integers(1, 20, count) if uneven else np.full(count, 10)
        rates = rng.beta(rest / spread, (1 - rest) / spread, count) if spread else np.full(count, rest)
        rates[rng.random(count) < whole] = 1.0
        clusters = np.repeat(np.arange(count), sizes)
        gained = rng.random(len(clusters)) < won
        lost = ~gained & (rng.random(len(clusters)) < rates[clusters])
        return np.where(gained, 0.0, 1.0), np.where(lost, 0.0, 1.0), clusters

    return draw


def _of_clusters(margin: float, sizes: tuple[int, ...]) -> tuple[World, ...]:
    """From samples that know nothing of their clusters to clusters that are lost as a whole."""
    worlds = (
        World("clusters that say nothing, 5 % won", margin, _clustered(margin, won=0.05)),
        World("losses by cluster, 5 % won", margin, _clustered(margin, spread=0.2, won=0.05)),
        World("the same, clusters of 1 to 19", margin, _clustered(margin, spread=0.2, won=0.05, uneven=True)),
        World("whole clusters lost", margin, _clustered(margin, whole=margin)),
        World("whole clusters lost, 5 % won", margin, _clustered(margin, whole=(margin + 0.05) / 0.95, won=0.05)),
    )
    return tuple(replace(world, sizes=sizes) for world in worlds)


def _words(rare: bool) -> Draw:
    """Wrong words before and after, and all words, of sentences of 5 or more: a tenth is wrong before."""

    def draw(rng: np.random.Generator, n: int) -> tuple[Scores, Scores, Scores]:
        words = 5.0 + rng.poisson(10, n)
        before = rng.binomial(words.astype(int), 0.1).astype(float)
        if rare:
            return before, np.where(rng.random(n) < 0.05 / 0.9, words, before), words
        return before, before + rng.binomial((words - before).astype(int), 0.05 / 0.9), words

    return draw


BOUNDED = (
    World("one in 16 loses 0.8", 0.05, _rare),
    World("one in 9 loses 0.8, one in 20 wins it", 0.05, _mixed),
    World("all lose 0 to 0.1", 0.05, _even),
    World("most lose little, few much (a beta law)", 0.05, _skewed),
    World("noise around the drop", 0.05, _noisy),
)
SHARES = (World("0/1 scores, 80 % before, 7 % lost, 3 % won", 0.0, _relative, (0.0, 1.0), 0.95),)
UNBOUNDED = (
    *(replace(world, bounds=None) for world in BOUNDED),
    World("decibels: noise around a drop of 0.5", 0.5, _decibels, None),
    World("decibels: one in 20 loses 10", 0.5, _rare_decibels, None),
)
IN_CLUSTERS = _of_clusters(0.05, (21, 50, 75, 100, 300))
IN_FEW_CLUSTERS = _of_clusters(0.2, (6, 12, 17, 20))[2:]
CORPORA = (
    World("word errors: one sentence in 18 is lost", 0.05, _words(rare=True), corpus=True),
    World("word errors: one word in 18 is lost", 0.05, _words(rare=False), corpus=True),
)
