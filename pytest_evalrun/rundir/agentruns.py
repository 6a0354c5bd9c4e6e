"""``runs.jsonl`` of an agent and its task, as AgentBench writes it: read here, whoever wrote it."""

from __future__ import annotations

import re
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.suite.jsontext import parse_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    Index = int | str

Kept = TypeVar("Kept")
# AgentBench's eight, in the order in which it counts them.
RUN_STATUSES = (
    "running",
    "completed",
    "agent context limit",
    "agent validation failed",
    "agent invalid action",
    "task limit reached",
    "unknown",
    "task error",
)
# With these nothing has ended that could be scored.
_NO_ENDS = frozenset({"running", "task error"})
_BEGINNING = re.compile(rb'\{"index": ?')


class FinishedRun(NamedTuple):
    """A sample that has ended: its index, AgentBench's output of it, and when that was, in seconds of the epoch."""

    index: Index  # type: ignore[assignment] # the word of the format; tuple.index is not missed
    output: dict[str, Any]
    time: float | None

    @property
    def status(self) -> str:
        return str(self.output["status"])

    @property
    def history(self) -> list[Any]:
        """What was said, with the roles user and agent."""
        return self.output.get("history") or []

    @property
    def turns(self) -> int:
        """How often the agent was asked."""
        return sum(isinstance(message, dict) and message.get("role") == "agent" for message in self.history)


class FinishedRuns:
    """The runs of a file that have ended, one at a time, in its order; there may be several of an index.

    ``damaged`` counts lines that nobody can read, and ``unfinished`` those that AgentBench took for ends and that are
    none, of what was read so far. A line to which the next one was glued, as AgentBench does after a crash, costs
    itself alone.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.damaged = 0
        self.unfinished = 0

    def __iter__(self) -> Iterator[FinishedRun]:
        try:
            file = open_file(self._file)
        except FileNotFoundError:
            return
        with file:
            for raw in file:
                whole = is_run(raw)
                self.damaged += not whole
                run = _run(raw) if whole else _glued(raw)
                if run is None:
                    continue
                if run.status in _NO_ENDS:
                    self.unfinished += 1
                else:
                    yield run


def finished_runs(directory: Path) -> FinishedRuns:
    """The runs below ``<output>/<agent>/<task>``, which AgentBench's assigner began, or we."""
    return FinishedRuns(directory / "runs.jsonl")


def task_outputs(directory: Path, generations: int = 1) -> list[dict[str, Any]]:
    """AgentBench's outputs of all indices that have ended; of an index the last ``generations``, in their order."""
    return _of_each(((run.index, run.output) for run in finished_runs(directory)), generations)


def task_ends(directory: Path, generations: int = 1) -> list[tuple[str, int]]:
    """Of the same outputs only the status and the length of the history: these take no memory to speak of."""
    runs = finished_runs(directory)
    return _of_each(((run.index, end_of(run.output)) for run in runs), generations)


def end_of(output: Mapping[str, Any]) -> tuple[str, int]:
    return output["status"], len(output.get("history") or ())


def _of_each(found: Iterable[tuple[Index, Kept]], last: int) -> list[Kept]:
    """What was found last of each index, so many each."""
    kept: dict[Index, deque[Kept]] = {}
    for index, what in found:
        kept.setdefault(index, deque(maxlen=last)).append(what)
    return list(chain.from_iterable(kept.values()))


def is_run(raw: bytes) -> bool:
    """Tell whether a line is one of a run, with or without its end."""
    return _run(raw) is not None


def _run(raw: bytes) -> FinishedRun | None:
    try:
        fields = parse_line(raw)
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.get("error") is not None:
        return None
    index: Any = fields.get("index")
    output, time = fields.get("output"), fields.get("time")
    if type(index) not in (int, str) or not isinstance(output, dict) or output.get("status") not in RUN_STATUSES:
        return None
    if not isinstance(output.get("history"), list | None):
        return None
    stamp: Any = time.get("timestamp") if isinstance(time, dict) else None
    return FinishedRun(index, {**output, "index": index}, stamp / 1000 if type(stamp) in (int, float) else None)


def _glued(raw: bytes) -> FinishedRun | None:
    """The run at the end of a damaged line, if there is one."""
    starts = (found.start() for found in _BEGINNING.finditer(raw, 1))
    return next((run for start in starts if (run := _run(raw[start:])) is not None), None)
