"""How agents are loaded, and how a loaded one is brought to the task server of a pair."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from pytest_evalrun.llm.settings import EndpointSettings, endpoint_of
from pytest_evalrun.predicting.agentruns import open_files
from pytest_evalrun.predicting.agents import AgentSession, limit_of
from pytest_evalrun.predicting.endpoints import Asked, Endpoint, named
from pytest_evalrun.predicting.episode import AgentWork
from pytest_evalrun.predicting.loop import run_loop
from pytest_evalrun.predicting.patience import Patience
from pytest_evalrun.predicting.spending import within_costs
from pytest_evalrun.suite.secrets import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_evalrun.agents.acting.loading import LoadedAgent
    from pytest_evalrun.agents.protocol import Agent
    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.llm.budget import Budget
    from pytest_evalrun.predicting.episode import Places
    from pytest_evalrun.predicting.services import WorkerServices
    from pytest_evalrun.predicting.session import LoadedModel
    from pytest_evalrun.predicting.work import KeptPredictions, PairWork
    from pytest_evalrun.rundir.agentfiles import AgentFiles
    from pytest_evalrun.rundir.predictions import Line
    from pytest_evalrun.suite.pairs import Pair


def agent_model(pair: Pair, services: WorkerServices) -> LoadedModel | None:
    """Make the agent of a pair; None where it is served by a program of ours, which has a process of its own."""
    own = pair.settings.own
    if isinstance(own, EndpointSettings):
        return None if own.serve else Endpoint(pair, services)
    from pytest_evalrun.agents.acting.loading import load_agent

    return cast("LoadedModel", load_agent(pair, services))


def predict_agents(work: PairWork, model: LoadedModel, samples: Iterable[Sample]) -> None:
    """Have a loaded agent go through the task's samples that are missing, and write the files of AgentBench."""
    session: AgentSession | None = None

    def calculate(outputs: list[dict[str, Any]]) -> Any:
        return session.calculate(outputs) if session is not None else None

    files = open_files(work, calculate)
    finished = False
    try:
        recorded = replace(work, progress=RecordedRuns(work.progress, files))
        session = open_agents(recorded, model, files)
        run_loop(recorded, within_costs(recorded, session), samples)
        finished = True
    finally:
        try:
            files.close(at_once=not finished)
        finally:
            if session is not None:
                session.leave()


def open_agents(work: PairWork, model: LoadedModel, files: AgentFiles) -> AgentSession:
    """Ask a loaded agent for a pair. Raises PairError where there is no task server, or no such task."""
    from pytest_evalrun.agents.client import ControllerClient
    from pytest_evalrun.agents.tasks.mistakes import task_of
    from pytest_evalrun.agents.wire.addresses import shown_address

    settings, pair = work.settings, work.pair
    if settings.controller:
        url: str = expand(settings.controller)
    else:
        url = work.context.task_servers.address(pair)
    server = ControllerClient(url)
    agent, budget = _agent(work, model)
    places: list[Places] = [budget]
    task = task_of(settings, pair.dataset)
    if limit := settings.task_concurrency:
        places = [*places, limit_of(f"task:{shown_address(url)}/{task}", limit, work.context.services.event)]
    return AgentSession(
        AgentWork(
            agent=agent,
            server=server,
            task=task,
            files=files,
            url=url,
            budget=budget,
            places=places,
            retries=settings.retries,
            say=work.context.say,
            revive=_revive(work),
            died=(model.died if isinstance(model, Asked) else None) or (lambda: None),
            patience=Patience(),
        )
    )


def _agent(work: PairWork, model: LoadedModel) -> tuple[Agent, Budget]:
    """The agent, and the budget of its endpoint: of a class of the user's own, one for all that ask it on this host."""
    pair, event = work.pair, work.context.services.event
    if isinstance(model, Asked):
        from pytest_evalrun.agents.acting.openai import OpenAIAgent

        return OpenAIAgent(model.client, named(endpoint_of(pair.settings), pair, model.serves)), model.budget
    loaded = cast("LoadedAgent", model)
    return loaded, loaded.budget or limit_of(f"agent:{pair.root}/{pair.task.name}", loaded.concurrency, event)


def _revive(work: PairWork) -> Callable[[], object]:
    """Look after a server that was started for this launch; one that others run is not ours to start."""
    if work.settings.controller:
        return lambda: None
    return lambda: work.context.task_servers.address(work.pair)


class RecordedRuns:
    """Predictions that are kept, and beside them the files that AgentBench's people read."""

    def __init__(self, kept: KeptPredictions, files: AgentFiles) -> None:
        self._kept = kept
        self._files = files

    @property
    def done_count(self) -> int:
        return self._kept.done_count

    @property
    def failed_count(self) -> int:
        return self._kept.failed_count

    def is_done(self, index: int) -> bool:
        return self._kept.is_done(index)

    def append(self, lines: Sequence[Line]) -> None:
        self._kept.append(lines)
        for line in lines:
            if line.status == "ok" and line.detail is not None:
                self._files.run(line.detail["index"], line.prediction, line.detail)
