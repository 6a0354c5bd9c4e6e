"""Bundles of scores before and after, tests/unit/comparison/golden, as nel's rule and ours judge them: a table of
docs/gates.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_evalrun.comparison.compare import compare
from pytest_evalrun.comparison.conclusion import Conclusion, conclude_drop
from pytest_evalrun.comparison.side import SampleScores, Side
from tools.peers import nel_verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GOLDEN = Path(__file__).parents[1] / "tests" / "unit" / "comparison" / "golden"


@dataclass(frozen=True)
class Bundle:
    """``margin`` is an amount, or a share such as ``5%``; ``nel`` and ``ours`` are the verdicts that are expected."""

    title: str
    margin: float | str
    better: str
    bounds: list[float] | None
    before: list[float]
    after: list[float]
    nel: str
    ours: str
    clusters: list[int] | None = None

    @property
    def share(self) -> float | None:
        return float(self.margin[:-1]) / 100 if isinstance(self.margin, str) else None

    def side(self, name: str, scores: list[float]) -> Side:
        """These scores as a run or a baseline has them."""
        metric: dict[str, Any] = {"value": float(np.mean(scores)), "n": len(scores), "better": self.better}
        metric |= {} if self.bounds is None else {"bounds": self.bounds}

        def rows() -> Iterator[SampleScores]:
            for place, score in enumerate(scores):
                cluster = None if self.clusters is None else f"passage {self.clusters[place]}"
                yield SampleScores(f"s{place}", "reference", {"score": score}, cluster)

        scoring: Mapping[str, Any] = {"metrics": {"score": {"use": "score"}}}
        return Side(name, "suite/task/dataset", {"score": metric}, rows, scoring)

    def judged(self) -> Conclusion:
        """Ours, by what a gate calls."""
        before, after = self.side("main", self.before), self.side("new", self.after)
        keep = 1 - (self.share or 0.0)
        found = compare(before, after, "score", keep=keep)
        return conclude_drop(found, self.margin if isinstance(self.margin, float) else 0.0)

    def nel_judged(self) -> str:
        """nel's; of a share it wants an amount too, and is given as much."""
        before, after = np.array(self.before, float), np.array(self.after, float)
        quality = after - before if self.better == "higher" else before - after
        clusters = None if self.clusters is None else np.array(self.clusters)
        if isinstance(self.margin, float):
            return nel_verdict(quality, self.margin, clusters)
        allowed = (self.share or 0.0) * float(before.mean())
        return nel_verdict(quality, allowed, clusters, most=allowed)


def bundles() -> dict[str, Bundle]:
    """All of them, by the names of their files."""
    return {file.stem: Bundle(**json.loads(file.read_text(encoding="utf-8"))) for file in sorted(GOLDEN.glob("*.json"))}


def bundles_table() -> Iterator[str]:
    yield "| scores | margin | nel | ours | what ours rests on |"
    yield "|---|---|---|---|---|"
    for bundle in bundles().values():
        margin = bundle.margin if isinstance(bundle.margin, str) else f"{bundle.margin:g}"
        found = bundle.judged()
        yield f"| {bundle.title} | {margin} | {bundle.nel_judged()} | {found.word} | {found.why} |"
