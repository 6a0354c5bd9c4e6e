"""Who asks a model: the predictor of its kind. What only programs need is imported only for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.predicting.loop import Predictor
from pytest_evalrun.suite.settings import Way

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.adapters.protocol import Adapter
    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.work import PairWork


class Asks(Protocol):
    """Has a model predict what is missing."""

    def run(self, samples: Iterable[Sample]) -> None:
        """Every sample that is not done; raises PairError where that is hopeless."""


def predictor_of(work: PairWork, adapter: Adapter) -> Asks:
    """Choose by the way in which the pair is asked."""
    kind = work.settings.kind
    way = kind.way(work.settings)
    if kind.runs_on_board and way is not Way.RANGE:
        from pytest_evalrun.predicting.boardbatches import BoardPredictor

        return BoardPredictor(work, adapter)  # type: ignore[arg-type]
    if way in (Way.MODEL, Way.SERVER):
        return Predictor(work, adapter)
    if way is Way.BATCH:
        from pytest_evalrun.predicting.batches import BatchPredictor

        return BatchPredictor(work, adapter)
    from pytest_evalrun.predicting.ranges import RangePredictor

    return RangePredictor(work, adapter)
