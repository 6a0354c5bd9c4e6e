"""Models that we serve ourselves: a program on GPUs of its own, asked like any endpoint for as long as it lives."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_evalrun.llm.served import Served
from pytest_evalrun.llm.settings import endpoint_of
from pytest_evalrun.predicting.endpoints import connect
from pytest_evalrun.predicting.leased import LeasedProcess

if TYPE_CHECKING:
    from pytest_evalrun.children.faults import ModelDied
    from pytest_evalrun.llm.budget import Budget
    from pytest_evalrun.llm.client import Client
    from pytest_evalrun.predicting.services import HeldGpus, WorkerServices
    from pytest_evalrun.suite.pairs import Pair


class ServedModel(LeasedProcess[Served]):
    """The program of `serve`; its GPUs are free again once nothing of it lives."""

    def __init__(self, pair: Pair, held: HeldGpus | None, around: WorkerServices) -> None:
        super().__init__(pair, held, around, partial(Served, check=around.check, say=around.say))
        self._settings = endpoint_of(pair.settings)
        self._root = pair.root
        self.client: Client
        self.budget: Budget

    @property
    def serves(self) -> str | None:
        """The name by which it knows its only model."""
        return self._child.model

    @property
    def broken(self) -> bool:
        return self.died() is not None

    def died(self) -> ModelDied | None:
        """How its program ended by itself; None while it runs."""
        return self._child.died()

    def load(self) -> None:
        super().load()
        try:
            own = replace(self._settings, base_url=self._child.base_url)
            self.client, self.budget = connect(own, self._root, self._around.event)
        except BaseException:
            super().kill()
            raise

    def close(self) -> None:
        """Connections first: what is under way would take the end of the program for its death."""
        self._disconnect()
        super().close()

    def kill(self) -> None:
        self._disconnect()
        super().kill()

    def _disconnect(self) -> None:
        if hasattr(self, "client"):
            self.budget.close()
            self.client.close()
