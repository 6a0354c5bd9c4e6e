"""A pair to be predicted: one bundle for every way of asking, and what it needs of the worker."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.predicting.outputs import Outputs, output_directory
from pytest_evalrun.rundir.state import StateWriter, state_writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.agents.launch.embedded import TaskServers
    from pytest_evalrun.predicting.leaving import Leaving
    from pytest_evalrun.predicting.services import Slots, WorkerServices
    from pytest_evalrun.rundir.costs import CostLedger
    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.events import EventWriter
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.predictions import Line
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.secrets import Secrets
    from pytest_evalrun.suite.settings import Settings


class WorkContext(Protocol):
    """The worker as whoever predicts knows it: where things are written down, and what ends the work."""

    disk: Disk
    events: EventWriter
    secrets: Secrets
    # What a model may raise that is none of its failures: whoever drives the session wants it to end.
    ends_session: tuple[type[BaseException], ...]
    slots: Slots
    costs: CostLedger
    leaving: Leaving

    @property
    def task_servers(self) -> TaskServers:
        """Those that are started for this launch."""

    @property
    def services(self) -> WorkerServices:
        """What programs need of whoever starts them."""

    def say(self, text: str) -> None:
        """Write a line into the log of the pair."""

    def warn(self, text: str) -> None:
        """Say it in the log, and at the end of the session."""

    def shown(self, text: str) -> str:
        """The text without secrets, printable."""

    def check_launcher(self) -> None:
        """Raise KeyboardInterrupt where this process shall end."""


class KeptPredictions(Protocol):
    """The predictions of the pair, or of its shard, as far as they came."""

    @property
    def done_count(self) -> int: ...

    @property
    def failed_count(self) -> int: ...

    def is_done(self, index: int) -> bool: ...

    def append(self, lines: Sequence[Line]) -> None:
        """Keep the lines: a sample that has one is not asked again, unless it failed."""


@dataclass(frozen=True)
class PairWork:
    """A pair, or a shard of it, that is to be predicted.

    ``positions`` are those of its samples in the dataset; ``progress`` knows which of them are done.
    """

    pair: Pair
    paths: PairPaths
    progress: KeptPredictions
    context: WorkContext
    positions: range

    @property
    def settings(self) -> Settings:
        return self.pair.settings

    @property
    def count(self) -> int:
        return len(self.positions)

    @property
    def total(self) -> int:
        """How many samples the whole pair has."""
        return self.ranges[-1][1]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The positions of all shards of the pair; of one that is not cut its own."""
        return self.pair.ranges or [(0, self.count)]

    @cached_property
    def outputs(self) -> Outputs:
        """The output directory of the pair."""
        return Outputs(output_directory(self.pair, self.paths))

    @cached_property
    def state(self) -> StateWriter:
        """Its state file, and of a shard that of the whole pair."""
        return state_writer(self.context.disk, self.pair, self.paths)
