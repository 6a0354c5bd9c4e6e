"""Where a program runs: one small protocol for this machine and for a board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path, PurePath

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.programs.running import ProgramExit
    from pytest_evalrun.programs.sink import OutputSink
    from pytest_evalrun.rundir.state import RunningState


class ProgramWatch(Protocol):
    """How far a running program is."""

    def count(self) -> int:
        """Samples of which results have appeared."""

    def read(self) -> RunningState | None:
        """What it says itself."""

    def last(self) -> RunningState | None:
        """What it said last, now that it has ended."""


class Place(Protocol):
    """A machine on which the programs of one pair run; it knows nothing of who asks for predictions."""

    def put(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Take the files of the samples there; they come back with their paths as they are known there.

        Raises LinkLost.
        """

    def values(self) -> Mapping[str, str]:
        """The placeholders of the command, as they are known there."""

    def environment(self, state: PurePath | None = None) -> dict[str, str]:
        """What is added to the program's own environment; ``state`` is the prefix of its state file here."""

    def run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        sink: OutputSink,
        heartbeat: Callable[[], None],
        started: Callable[[int], None] | None = None,
    ) -> ProgramExit:
        """Start a program and wait for its end; nothing of it is left. Raises LinkLost, ChildError."""

    def fetch(self, *, whole: bool) -> None:
        """Bring what the program wrote to the output directory here; ``whole`` after a program that ended well."""

    def watch(self, pattern: str, state: Path) -> ProgramWatch:
        """For the time that the program runs."""

    def recover(self, error: Exception, losses: int) -> None:
        """After a link that was lost so many times in a row, make it anew. Raises BoardGone."""
