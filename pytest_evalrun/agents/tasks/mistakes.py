"""The tasks that a suite speaks of: their definitions, and what is wrong with them before anything runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun import registry
from pytest_evalrun.agents.tasks.definitions import MOST_WORKERS, TaskDefinition, definitions_in
from pytest_evalrun.agents.tasks.taskyaml import load_agentbench
from pytest_evalrun.agents.wire.addresses import server_address
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.objects import is_path_ref, source_file, split_dotted
from pytest_evalrun.suite.pairs import OF_A_LAUNCH
from pytest_evalrun.suite.problems import accepted, found, some
from pytest_evalrun.suite.secrets import secret_names
from pytest_evalrun.suite.settings import OF_TASKS, OVER_GENERATIONS, kind_named, kind_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.suite.pairs import Dataset, Pair
    from pytest_evalrun.suite.settings import Settings

# What a task of a suite is made of; AgentBench's own files may hold more.
WORDS = ("module", "parameters", "workers", "sessions", "docker", "command")
SESSIONS = ("thread", "process", "loop")
# Metrics of ours that need no references.
METRICS = frozenset({"success", "turns", "tokens", "cost_per_success", "overall", "judge"}) | OVER_GENERATIONS
# How often a name is shown that is not there.
MOST_SHOWN = 20
# Where a URL is only known at run time: `1` may stand for a host, a port and a token.
_SECRET = re.compile(r"\$\{[^}]*\}")
_TOKEN = re.compile(r"/t/([^/]+)(?=/|\Z)")


def task_of(settings: Settings, dataset: Dataset) -> str:
    """The task that a pair's samples are of."""
    return settings.task or dataset.name


def defined_tasks(tasks: Mapping[str, Any] | str, root: str) -> dict[str, TaskDefinition]:
    """The definitions of tasks by their names: a suite's own, or those of a file of AgentBench's.

    Raises ConfigError naming what is wrong.
    """
    is_file = isinstance(tasks, str)
    source = str(tasks) if is_file else "tasks"
    named = definitions_in(load_agentbench(Path(root, source)) if is_file else {"definition": tasks}, source)
    for name, task in named.items():
        module, parameters = task.entry.get("module"), task.entry.get("parameters", {})
        if not isinstance(module, str) or not module:
            raise ConfigError(
                f"{source}: {name}.module: {found(module)}; accepted: package.module.Class, ./file.py:Class"
            )
        if not isinstance(parameters, dict):
            raise ConfigError(f"{source}: {name}.parameters: {found(parameters)}; accepted: a mapping")
    return named


class TaskMistakes:
    """What is wrong with the tasks of pairs, and with who is asked for them; files of tasks are read once.

    Both methods tell key, and what is found and accepted.
    """

    def __init__(self) -> None:
        # By the file, or by the mapping itself, which is kept so that no other one gets its place.
        self._known: dict[tuple[str, str | int], tuple[Any, dict[str, TaskDefinition] | ConfigError]] = {}

    def in_agent(self, settings: Settings) -> Iterator[tuple[str, str]]:
        """Of the settings of a pair whose data are a task, what says who is asked, and how that is scored."""
        yield from _mistakes_in_agent(settings)
        yield from _mistakes_in_metrics(settings)

    def in_task(self, settings: Settings, pair: Pair) -> Iterator[tuple[str, str]]:
        """Of the settings of any pair, what says which task its data are, and who serves that."""
        if settings.is_agent != pair.dataset.is_task:
            yield "format", _too_late(settings)
        elif settings.is_agent:
            if settings.takeover is not None and not Path(pair.root, settings.takeover).is_dir():
                yield "takeover", f"{found(settings.takeover)}; accepted: a directory that AgentBench's assigner wrote"
            if settings.controller is not None:
                yield from _mistakes_in_url(settings.controller)
            elif settings.tasks is not None:
                yield from self._mistakes_in_tasks(settings, pair)
            else:
                wanted = "accepted: `controller: http://HOST:5000/api`, or `tasks:` to have one started"
                yield "format", f"found no task server for the task {task_of(settings, pair.dataset)!r}; {wanted}"

    def _mistakes_in_tasks(self, settings: Settings, pair: Pair) -> Iterator[tuple[str, str]]:
        assert settings.tasks is not None, "asked of embedded ones"
        named = self._defined(settings.tasks, pair.root)
        task = task_of(settings, pair.dataset)
        if isinstance(named, ConfigError):
            yield "tasks", str(named).removeprefix("tasks: ")
        elif task not in named:
            key = "task" if "task" in settings.origins else "format"
            yield key, f"found the unknown task {task!r}; {_near(task, named)}"
        else:
            yield from _mistakes_in_definition(named[task], pair.root, is_own=not isinstance(settings.tasks, str))

    def _defined(self, tasks: Mapping[str, Any] | str, root: str) -> dict[str, TaskDefinition] | ConfigError:
        key = (root, tasks if isinstance(tasks, str) else id(tasks))
        if key not in self._known:
            try:
                self._known[key] = tasks, defined_tasks(tasks, root)
            except ConfigError as error:
                self._known[key] = tasks, error
        return self._known[key][1]


def _too_late(settings: Settings) -> str:
    if settings.is_agent:
        wanted = "accepted: an entry of `datasets` without path, whose format is said there or for the suite"
        return f"{found(OF_TASKS)} for data that have a path; {wanted}"
    return f"{found(settings.format)} for a task of a task server; accepted: {OF_TASKS}"


def _near(task: str, named: Mapping[str, Any]) -> str:
    if len(named) <= MOST_SHOWN:
        return accepted(task, named)
    return f"accepted: {some(sorted(named), MOST_SHOWN)}"


def _mistakes_in_agent(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.adapter is not None and not settings.kind.can_act:
        yield "adapter", f"{found(settings.adapter)}, which cannot act; accepted: {', '.join(_acting())}"
    if settings.gpus and not settings.words.get("serve"):
        wanted = "accepted: `serve: …`, whose program has the GPUs, or an endpoint that has them"
        yield "gpus", f"found {settings.gpus} for an agent, which is asked in the worker's own process; {wanted}"
    for key in ("shards", "shard_size"):
        if getattr(settings, key) and settings.origins[key].kind not in OF_A_LAUNCH:
            wanted = "accepted: `concurrency` of the agent and workers of the task, which are how many at once"
            yield key, f"found {getattr(settings, key)} for a task, whose samples one item asks side by side; {wanted}"


def _mistakes_in_metrics(settings: Settings) -> Iterator[tuple[str, str]]:
    """Metrics of ours that compare would only say so when all has been asked, and paid."""
    for spec in settings.metrics:
        offer = registry.find(registry.METRICS, spec.use)
        if offer is not None and offer.is_ours and spec.use not in METRICS:
            wanted = f"accepted: {', '.join(sorted(METRICS))}, or a metric of yours"
            yield "metrics", f"{found(spec.use)}, which needs references, and the samples of a task have none; {wanted}"


def _acting() -> list[str]:
    names = [name for name in sorted(kind_names()) if kind_named(name).can_act]
    return [*names, "a class of yours, ./file.py:Name or package.module:Name"]


def _mistakes_in_url(url: str) -> Iterator[tuple[str, str]]:
    if (token := _TOKEN.search(url)) and not secret_names(token[1]):  # it is not shown
        wanted = "accepted: ${NAME} of an environment variable, as in http://HOST:5000/t/${TOKEN}/api"
        yield "controller", f"found a token as it is; {wanted}"
        return
    known = "http://host" if url.startswith("${") else _SECRET.sub("1", url)
    try:
        server_address(known, "controller")
    except ConfigError as error:
        yield "controller", str(error).removeprefix("controller: ").replace(known, url)


def _mistakes_in_definition(task: TaskDefinition, root: str, *, is_own: bool) -> Iterator[tuple[str, str]]:
    """Tell what is wrong with a definition; what AgentBench's files have besides our words is theirs."""
    module, workers = task.entry["module"], task.entry.get("workers", 1)
    try:
        source_file(module, root) if is_path_ref(module) else split_dotted(module)
    except ConfigError as error:
        yield f"tasks.{task.name}.module", str(error)
    if is_own:
        for key in sorted(task.entry.keys() - set(WORDS)):
            yield f"tasks.{task.name}.{key}", f"unknown key; {accepted(key, WORDS)}"
    if type(workers) is not int or not 1 <= workers <= MOST_WORKERS:
        yield f"tasks.{task.name}.workers", f"{found(workers)}; accepted: a number from 1 to {MOST_WORKERS}"
    if (sessions := task.entry.get("sessions", SESSIONS[0])) not in SESSIONS:
        yield f"tasks.{task.name}.sessions", f"{found(sessions)}; accepted: {', '.join(SESSIONS)}"
