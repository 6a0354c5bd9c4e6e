"""The ways in which models are loaded and asked, by their kind. What only programs need is imported only for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.adapters import create_adapter
from pytest_evalrun.adapters.protocol import Adapter
from pytest_evalrun.adapters.python import PythonAdapter
from pytest_evalrun.predicting.loop import run_loop
from pytest_evalrun.predicting.session import CallSession
from pytest_evalrun.rundir.aside import earlier_predictions
from pytest_evalrun.suite.settings import Way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.boardmodel import BoardModel
    from pytest_evalrun.predicting.boards import Boards
    from pytest_evalrun.predicting.leased import LeasedModel
    from pytest_evalrun.predicting.servedmodel import ServedModel
    from pytest_evalrun.predicting.services import HeldGpus, WorkerServices
    from pytest_evalrun.predicting.session import LoadedModel, Session
    from pytest_evalrun.predicting.work import PairWork
    from pytest_evalrun.slots.need import Need
    from pytest_evalrun.suite.pairs import Pair


def unleased_model(pair: Pair, need: Need, services: WorkerServices) -> LoadedModel | None:
    """Make a model that takes nothing while it is loaded: in this process, or programs that are started later.

    None where it must be in a process of its own.
    """
    way = _way_of(pair)
    if way is Way.AGENT:
        from pytest_evalrun.predicting.agentmodel import agent_model

        return agent_model(pair, services)
    if way is Way.ENDPOINT:
        from pytest_evalrun.predicting.endpoints import Endpoint

        return None if pair.settings.own.serve else Endpoint(pair, services)
    if way in (Way.BATCH, Way.RANGE):
        return _Programs(pair)
    return create_adapter(pair.task, pair.settings, pair.root) if way is Way.MODEL and not need else None


def child_model(pair: Pair, held: HeldGpus | None, services: WorkerServices) -> LeasedModel | ServedModel:
    """Make a model in a process of its own, on the GPUs that are ``held`` for it."""
    from pytest_evalrun.predicting.leased import LeasedModel, python_child

    way = _way_of(pair)
    if way in (Way.ENDPOINT, Way.AGENT):
        from pytest_evalrun.predicting.servedmodel import ServedModel

        return ServedModel(pair, held, services)
    if way is Way.SERVER:
        from pytest_evalrun.programs.server import server

        return LeasedModel(pair, held, services, server)
    return LeasedModel(pair, held, services, python_child)


def board_model(pair: Pair, boards: Boards, digest: Callable[[Path], str], services: WorkerServices) -> BoardModel:
    """Make a model for a pair that uses a board, whether its programs run there or only talk to it."""
    from pytest_evalrun.predicting.boardmodel import BoardModel, BoardServerModel

    make = BoardServerModel if _way_of(pair) is Way.SERVER else BoardModel
    return make(pair, boards, digest, services, runs_there=pair.settings.kind.runs_on_board)


def predict(work: PairWork, model: LoadedModel, samples: Iterable[Sample]) -> None:
    """Have a loaded model predict what is missing of a pair, or of a shard. Raises PairError where it cannot."""
    way = _way_of(work.pair)
    if way is Way.RANGE:
        from pytest_evalrun.predicting.ranges import predict_ranges

        predict_ranges(work, samples, model)
    elif way is Way.BATCH:
        from pytest_evalrun.predicting.batches import open_batches

        run_loop(work, open_batches(work, model), samples)
    elif way is Way.ENDPOINT:
        from pytest_evalrun.predicting.endpoints import Asked, open_endpoint
        from pytest_evalrun.predicting.spending import within_costs

        assert isinstance(model, Asked), "what is asked by requests was loaded as such"
        run_loop(work, within_costs(work, open_endpoint(work, model)), samples)
    elif way is Way.AGENT:
        from pytest_evalrun.predicting.agentmodel import predict_agents

        predict_agents(work, model, samples)
    elif work.settings.kind.runs_on_board:
        from pytest_evalrun.predicting.batches import open_board_server

        run_loop(work, open_board_server(work, model), samples)
    else:
        assert isinstance(model, Adapter), "what is asked by a call was loaded as such"
        run_loop(work, _calls(model), samples)


def _calls(model: Adapter) -> Session:
    """Ask a model of this process batch by batch, unless it is one that is asked one by one."""
    if isinstance(model, PythonAdapter) and model.one is not None:
        from pytest_evalrun.predicting.onebyone import OneByOneSession

        return OneByOneSession(model.one)
    return CallSession(model.predict)


def take_over(work: PairWork, model: LoadedModel, samples: Iterable[Sample]) -> int:
    """Keep answers of earlier predictions where what would be sent is what was sent for them; returns how many."""
    if _way_of(work.pair) is Way.AGENT:
        from pytest_evalrun.predicting.agentruns import begun_directory, take_over_runs

        begun = begun_directory(work.pair)
        return 0 if begun is None else take_over_runs(work, samples, begun)
    if _way_of(work.pair) is not Way.ENDPOINT or not (old := earlier_predictions(work.paths)):
        return 0
    from pytest_evalrun.predicting import takeover
    from pytest_evalrun.predicting.endpoints import Asked, open_endpoint

    assert isinstance(model, Asked), "what is asked by requests was loaded as such"
    return takeover.take_over(work, open_endpoint(work, model), samples, old)


class _Programs:
    """Programs that are started only when their pair is asked: all that can be known before is that they are there."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    def load(self) -> None:
        from pytest_evalrun.programs.running import check_program

        check_program(self._pair.settings, self._pair.root)

    def close(self) -> None:
        """Nothing was taken."""


def _way_of(pair: Pair) -> Way:
    return pair.settings.way
