"""Who asks a model: the predictor of its kind. What only programs need is imported only for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.evaluation.predict import Predictor
from pytest_evalrun.suite.settings import Way

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.adapters.protocol import Adapter
    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.evaluation.context import Context
    from pytest_evalrun.evaluation.shards import ShardProgress
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.predictions import Progress
    from pytest_evalrun.suite.pairs import Pair


class Asks(Protocol):
    """Has a model predict what is missing."""

    def run(self, samples: Iterable[Sample]) -> None:
        """Every sample that is not done; raises PairError where that is hopeless."""


def predictor_of(
    pair: Pair,
    context: Context,
    paths: PairPaths,
    adapter: Adapter,
    progress: Progress | ShardProgress,
    count: int,
) -> Asks:
    """``count`` is how many samples the pair, or the shard, has."""
    kind = pair.settings.kind
    way = kind.way(pair.settings)
    if kind.runs_on_board and way is not Way.RANGE:
        from pytest_evalrun.evaluation.boardbatches import BoardPredictor

        return BoardPredictor(pair, context, paths, adapter, progress, count)  # type: ignore[arg-type]
    if way in (Way.MODEL, Way.SERVER):
        return Predictor(pair, context, paths, adapter, progress, count)
    if way is Way.BATCH:
        from pytest_evalrun.evaluation.batches import BatchPredictor

        return BatchPredictor(pair, context, paths, progress, count, adapter)
    from pytest_evalrun.evaluation.ranges import RangePredictor

    low, high = (pair.cut.low, pair.cut.high) if pair.cut is not None else (0, count)
    return RangePredictor(pair, context, paths, progress, count, low, high, adapter)
