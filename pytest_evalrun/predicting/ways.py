"""The ways in which a pair is asked for its predictions. What only programs need is imported only for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.adapters.protocol import Adapter
from pytest_evalrun.predicting.loop import run_loop
from pytest_evalrun.predicting.session import CallSession
from pytest_evalrun.suite.settings import Way

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.models import LoadedModel
    from pytest_evalrun.predicting.work import PairWork


def predict(work: PairWork, model: LoadedModel, samples: Iterable[Sample]) -> None:
    """Have a loaded model predict what is missing of a pair, or of a shard. Raises PairError where it cannot."""
    kind = work.settings.kind
    way = kind.way(work.settings)
    if way is Way.RANGE:
        from pytest_evalrun.predicting.ranges import predict_ranges

        predict_ranges(work, samples, model)
    elif way is Way.BATCH:
        from pytest_evalrun.predicting.batches import open_batches

        run_loop(work, open_batches(work, model), samples)
    elif kind.runs_on_board:
        from pytest_evalrun.predicting.batches import open_board_server

        run_loop(work, open_board_server(work, model), samples)
    else:
        assert isinstance(model, Adapter), "what is asked by a call was loaded as such"
        run_loop(work, CallSession(model.predict), samples)
