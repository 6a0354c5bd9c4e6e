"""The samples of two sides beside each other: by id and reference, in arrays of eight bytes a sample."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_evalrun.comparison.baselinelines import rounded, rounded_row
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.printable import brief

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_evalrun.comparison.side import Side

    Matched = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True)
class SideArrays:
    """The samples of a side in its order. Texts are kept as hashes of 64 bits, which differ from launch to launch.

    ``scores`` metric → score, NaN where a sample has none; ``statistics`` metric → rows, None where it has none.
    ``clusters`` is None where no sample names one; one that does not is by itself.
    """

    side: Side
    ids: NDArray[np.int64]
    references: NDArray[np.int64]
    clusters: NDArray[np.int64] | None
    scores: dict[str, NDArray[np.float64]]
    statistics: dict[str, list[Any]]
    answers: NDArray[np.int64]

    def has(self, metric: str) -> NDArray[np.bool_]:
        """Which samples count for a metric: those that say what they add to its value, or else have a score."""
        if (rows := self.statistics.get(metric)) is not None:
            return np.fromiter((row is not None for row in rows), bool, len(rows))
        return ~np.isnan(self.scores[metric])


def read_side(side: Side, metrics: Sequence[str], *, references: bool = True, short: bool = False) -> SideArrays:
    """Read a side once; without ``references`` all are the same.

    ``short``: numbers as a saved baseline has them, so that the digits it lacks are no differences.

    Raises PairError where it is damaged, or has two samples of one id.
    """
    ids, digests, clusters, answers = (array("q") for _ in range(4))
    columns = {metric: array("d") for metric in metrics}
    statistics: dict[str, list[Any]] = {}
    clustered = False
    for place, row in enumerate(side.rows()):
        ids.append(hash(row.id))
        digests.append(hash(row.reference) if references else 0)
        clusters.append(hash((place, row.id) if row.cluster is None else row.cluster))
        answers.append(row.answers)
        clustered = clustered or row.cluster is not None
        for metric, column in columns.items():
            score = row.scores.get(metric, np.nan)
            column.append(rounded(score) if short else score)
        for metric, statistic in row.statistics.items():
            if metric in columns:
                rows = statistics.setdefault(metric, [])
                rows.extend([None] * (place - len(rows)))
                rows.append(rounded_row(statistic) if short else statistic)
    for rows in statistics.values():
        rows.extend([None] * (len(ids) - len(rows)))
    found = SideArrays(
        side,
        np.asarray(ids),
        np.asarray(digests),
        np.asarray(clusters) if clustered else None,
        {metric: np.asarray(column) for metric, column in columns.items()},
        statistics,
        np.asarray(answers),
    )
    _check_unique(found)
    return found


def _check_unique(found: SideArrays) -> None:
    order = np.argsort(found.ids, kind="stable")
    same = np.flatnonzero(np.diff(found.ids[order]) == 0)
    if len(same):
        again = int(order[same + 1].min())
        name = ids_at(found.side, [again])[0]
        raise PairError(f"{found.side.name}: {found.side.pair}: two samples are called {brief(name)}; ids are unique")


def matched(before: SideArrays, after: SideArrays) -> Matched:
    """The places of the samples that both sides have, on the one and on the other, in the order of ``before``."""
    if np.array_equal(before.ids, after.ids):
        same = np.arange(len(before.ids))
        return same, same
    if not len(after.ids):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    order = np.argsort(after.ids, kind="stable")
    at = np.minimum(np.searchsorted(after.ids[order], before.ids), len(order) - 1)
    found = np.flatnonzero(after.ids[order[at]] == before.ids)
    return found, order[at[found]]


def apart(
    before: SideArrays, after: SideArrays, places: Matched, most: int
) -> tuple[tuple[int, list[str]], tuple[int, list[str]]]:
    """How many samples only one side has, and have another reference; the first of them by their ids."""
    one, two = places
    alone = [_others(len(side.ids), found) for side, found in ((before, one), (after, two))]
    changed = one[before.references[one] != after.references[two]]
    names = ids_at(before.side, alone[0][:most])
    names += ids_at(after.side, alone[1][: most - len(names)])
    return (len(alone[0]) + len(alone[1]), names), (len(changed), ids_at(before.side, changed[:most]))


def _others(count: int, places: NDArray[np.intp]) -> NDArray[np.intp]:
    left = np.ones(count, bool)
    left[places] = False
    return np.flatnonzero(left)


def ids_at(side: Side, places: Iterable[int]) -> list[str]:
    """The ids at some places of a side, which is read up to the last of them."""
    wanted = list(places)
    if not wanted:
        return []
    rows = zip(range(max(wanted) + 1), side.rows(), strict=False)
    names = {place: row.id for place, row in rows if place in wanted}
    return [names[place] for place in wanted]
