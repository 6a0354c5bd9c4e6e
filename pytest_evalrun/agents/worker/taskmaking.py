"""The task of a worker: found by its name in a configuration, made, and asked for what it has."""

from __future__ import annotations

import inspect
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.tasks.definitions import definition_of, definitions_in
from pytest_evalrun.agents.tasks.taskyaml import load_agentbench
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.objects import load_object
from pytest_evalrun.suite.problems import found, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.agents.protocol import Index
    from pytest_evalrun.agents.tasks.definitions import TaskDefinition
    from pytest_evalrun.agents.worker.hosting import Bench, SampleHost

SESSIONS = ("thread", "process", "loop")
# So long AgentBench's worker waits for a task that was cancelled.
GRACE_SECONDS = 30.0
# Where the base of AgentBench's tasks is defined: in the user's own package, or in ours.
_BENCH = ("src.server.task", "pytest_evalrun.agents.worker.supplied.task")


@dataclass(frozen=True)
class HostedTask:
    """A task that is made, and the words that its worker has of it; ``bench`` where it is one of AgentBench's."""

    task: Any
    name: str
    concurrency: int
    indices: Sequence[Index]
    grace: float
    host: SampleHost
    bench: Bench | None

    @property
    def is_ours(self) -> bool:
        return self.bench is None

    def overall(self, results: Sequence[Any]) -> Any:
        """The task's own score of these outputs."""
        if self.bench is not None:
            results = [self.bench.task_output.parse_obj(result) for result in results]
        return self.task.calculate_overall(results)


def load_task(config: Path, name: str, root: Path) -> HostedTask:
    """Make the task; its code is found in ``root`` first, which becomes the working directory.

    Raises ConfigError naming the file and the key that is to blame.
    """
    definition = definition_of(definitions_in(load_agentbench(config), shown(str(config))), name, shown(str(config)))
    try:
        os.chdir(root)
    except OSError as error:
        raise ConfigError(f"--root {root}: {error.strerror}") from None
    sys.path.insert(0, str(root))
    from pytest_evalrun.agents.worker.supplied import supply

    supply()
    made = _Made(definition, _class_of(definition, root))
    return made.hosted()


def _class_of(definition: TaskDefinition, root: Path) -> Any:
    module = definition.entry.get("module")
    if not isinstance(module, str):
        raise ConfigError(
            f"{definition.place}.module: {found(module)}; accepted: package.module.Class, ./file.py:Class"
        )
    try:
        kind = load_object(module, str(root))
    except ConfigError as error:
        raise ConfigError(f"{definition.place}.module: {error}") from error
    if not callable(getattr(kind, "start_sample", None)) or not callable(getattr(kind, "get_indices", None)):
        raise ConfigError(f"{definition.place}.module: {module} has no get_indices and start_sample, as a task has")
    return kind


class _Made:
    """A task on its way from a definition."""

    def __init__(self, definition: TaskDefinition, kind: Any) -> None:
        self._definition = definition
        self._kind = kind
        self._bench = _bench_of(kind)
        self._task: Any = None

    def hosted(self) -> HostedTask:
        host = self._host(self._word("sessions", "thread", _is_session, ", ".join(SESSIONS)))
        try:
            indices = host.call(self._indices).result()
            name, concurrency = self._names()
            grace = self._word("grace", GRACE_SECONDS, _is_seconds, "seconds")
        except BaseException:
            host.close()
            raise
        return HostedTask(self._task, name, concurrency, indices, float(grace), host, self._bench)

    def _host(self, sessions: str) -> SampleHost:
        from pytest_evalrun.agents.worker import hosting

        def make() -> hosting.Script:
            self._task = self._make()
            return hosting.Script(self._task, self._bench)

        if sessions == "loop":
            return hosting.OneLoop(make)
        if sessions == "process":
            from pytest_evalrun.agents.worker.apart import Processes

            return Processes(make, ours=self._bench is None)
        return hosting.Threads(make)

    def _make(self) -> Any:
        parameters = self._parameters()
        taken = parameters if self._bench is not None else _taken_by(self._kind, parameters)
        try:
            return self._kind(**taken)
        except BaseException as error:
            raise _raised(f"{self._definition.place}.parameters: {self._kind.__name__}(…)", error) from error

    def _parameters(self) -> Mapping[str, Any]:
        parameters = self._definition.entry.get("parameters") or {}
        if not isinstance(parameters, dict):
            raise ConfigError(f"{self._definition.place}.parameters: {found(parameters)}; accepted: a mapping")
        return parameters

    def _word(self, word: str, otherwise: Any, is_good: Callable[[Any], bool], accepted: str) -> Any:
        """A word that the definition, or a class of ours, may have."""
        known = otherwise if self._bench is not None else getattr(self._kind, word, otherwise)
        value = self._definition.entry.get(word, known)
        if not is_good(value):
            raise ConfigError(f"{self._definition.place}.{word}: {found(value)}; accepted: {accepted}")
        return value

    def _names(self) -> tuple[str, int]:
        """By which name the controller knows the task, and how many samples it takes at once."""
        parameters = self._parameters()
        name = getattr(self._task, "name", None) or parameters.get("name") or self._definition.name
        count = getattr(self._task, "concurrency", None)
        count = parameters.get("concurrency", 1) if count is None else count
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ConfigError(f"{self._definition.place}.parameters.concurrency: {found(count)}; accepted: 1 or more")
        return str(name), count

    def _indices(self) -> list[Index]:
        what = f"{self._definition.place}: {self._kind.__name__}.get_indices()"
        try:
            indices = [_plain_index(index) for index in self._task.get_indices()]
        except BaseException as error:
            raise _raised(what, error) from error
        odd = next((index for index in indices if type(index) not in (int, str)), None)
        if odd is not None or len(set(indices)) < len(indices):
            what = f"{what} returned {odd!r}" if odd is not None else f"{what} returned an index twice"
            raise ConfigError(f"{what}; accepted: numbers and texts, each once")
        return indices


def _bench_of(kind: Any) -> Bench | None:
    """AgentBench's classes where the class is one of its tasks, as these have imported them.

    They are those of the very module that defines its base: another import of it may be another module.
    """
    from pytest_evalrun.agents.worker.hosting import Bench

    for base in getattr(kind, "__mro__", ()):
        if base.__module__ in _BENCH:
            values = base.start_sample.__globals__
            return Bench(*(values[name] for name in ("Session", "AgentOutput", "TaskOutput")))
    return None


def _taken_by(kind: Any, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out what is the worker's to know, where the class does not want to."""
    try:
        wanted = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        return parameters
    names = {parameter.name for parameter in wanted}
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in wanted):
        return parameters
    return {name: value for name, value in parameters.items() if name in names or name not in ("name", "concurrency")}


def _plain_index(index: Any) -> Any:
    """numpy's numbers are numbers."""
    return index.item() if callable(getattr(index, "item", None)) else index


def _raised(what: str, error: BaseException) -> BaseException:
    """What the task's code raised, in one line; Ctrl-C is nobody's mistake."""
    if isinstance(error, KeyboardInterrupt | ConfigError):
        return error
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f" ({shown(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno})" if frame is not None else ""
    said = " ".join(str(error).split())
    return ConfigError(f"{what} raised {type(error).__name__}: {said}{where}")


def _is_session(value: Any) -> bool:
    return value in SESSIONS


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 3600
