"""AgentBench's assignments: which agents are asked which tasks, how many samples at once, and where results go."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.tasks.mistakes import WORDS
from pytest_evalrun.agents.tasks.taskyaml import load_agentbench
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.runs import STAMPS, is_run_name, stamped
from pytest_evalrun.suite.assigned import Assigned
from pytest_evalrun.suite.problems import Problems, accepted, found, shown, some
from pytest_evalrun.suite.settings import is_reference
from pytest_evalrun.suite.template import names_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# AgentBench's own client's classes, which are not run here: others do what they do.
OF_CLIENT = "src.client."
HTTP_WORDS = ("url", "proxies", "body", "headers", "return_format", "prompter")
FASTCHAT_SAMPLING = {"temperature": "temperature", "max_new_tokens": "max_tokens", "top_p": "top_p"}
PLACE_OF_A_KEY = re.compile("<%.*%>")
MOST_SHOWN = 8
# What is said of agents and of tasks, by their names.
ByKind = dict[str, dict[str, Any]]
KINDS = ("agent", "task")


def read_assignment(path: str, root: str, where: str, *, is_served: bool) -> Assigned:
    """Read an assignment with all that it imports, and say it in the words of a suite.

    ``where`` is the place that names it; ``is_served`` tells that the suite says who serves its tasks. Raises
    ConfigError with everything that is wrong.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - text from a suite
        raise ConfigError(f"{where}: {found(shown(path))}, which is no file; accepted: an assignment of AgentBench's")
    return _Assignment(path, root, load_agentbench(Path(path))).assigned(is_served=is_served)


class _Assignment:
    """The content of the file, as it is taken apart."""

    def __init__(self, path: str, root: str, values: Mapping[str, Any]) -> None:
        self.path = path
        self.root = root
        self.values = values
        self.problems = Problems()
        self.notes: list[str] = []

    def assigned(self, *, is_served: bool) -> Assigned:
        definition, concurrency = (self._by_kind(word) for word in ("definition", "concurrency"))
        pairs = list(self._pairs())
        self._check(pairs, definition, concurrency)
        run_name, takeover = self._output()
        self.problems.raise_any()
        agents, tasks = (dict.fromkeys(names) for names in zip(*pairs, strict=True))
        own = _own_tasks({name: definition["task"][name] for name in tasks})
        assigned = Assigned(
            self.path,
            {name: self._agent(name, definition["agent"][name], concurrency["agent"][name]) for name in agents},
            {
                name: {"task": name, "task_concurrency": concurrency["task"][name]}
                | ({} if is_served else _served(definition["task"][name], own))
                for name in tasks
            },
            pairs,
            tuple(self.notes),
            run_name,
            takeover,
        )
        self.problems.raise_any()
        return assigned

    def _tell(self, key: str, text: str) -> None:
        self.problems.add(f"{shown(self.path)}: {key}: {text}")

    def _note(self, text: str) -> None:
        self.notes.append(f"{shown(self.path)}: {text}")

    def _by_kind(self, word: str) -> ByKind:
        """What is said of agents and of tasks, by their names."""
        value = self.values.get(word)
        if not isinstance(value, dict):
            what = "is missing" if value is None else found(value)
            self._tell(word, f"{what}; accepted: {word}: {{agent: {{NAME: …}}, task: {{NAME: …}}}}")
            value = {}
        parts = {}
        for kind in KINDS:
            part = value.get(kind)
            if part is not None and not isinstance(part, dict):
                self._tell(f"{word}.{kind}", f"{found(part)}; accepted: a mapping from names")
            parts[kind] = part if isinstance(part, dict) else {}
        return parts

    def _pairs(self) -> Iterator[tuple[str, str]]:
        """Every agent of an item with every task of it, each pair once."""
        items = self.values.get("assignments")
        if not isinstance(items, list) or not items:
            what = "is missing" if items is None else found(items)
            self._tell("assignments", f"{what}; accepted: a list of {{agent: NAME or names, task: NAME or names}}")
            return
        seen: set[tuple[str, str]] = set()
        for place, item in enumerate(items):
            agents, tasks = (self._names(item, kind, f"assignments[{place}]") for kind in KINDS)
            for pair in ((agent, task) for agent in agents for task in tasks):
                if pair in seen:
                    self._note(f"assignments[{place}]: {' × '.join(pair)} is assigned again; once is enough")
                else:
                    seen.add(pair)
                    yield pair

    def _names(self, item: Any, kind: str, where: str) -> list[str]:
        names = item.get(kind) if isinstance(item, dict) else None
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            self._tell(f"{where}.{kind}", f"{found(names)}; accepted: a name, or a list of names")
            return []
        return names

    def _check(self, pairs: list[tuple[str, str]], definition: ByKind, concurrency: ByKind) -> None:
        """Refuse names that nothing is said of, and note what is said of names that are not assigned."""
        for place, kind in enumerate(KINDS):
            names = dict.fromkeys(pair[place] for pair in pairs)
            for name in names:
                if name not in definition[kind]:
                    self._tell("assignments", f"found the unknown {kind} {name!r}; {_near(name, definition[kind])}")
                elif (problem := _no_instance(definition[kind][name])) is not None:
                    self._tell(f"definition.{kind}.{name}", problem)
                count = concurrency[kind].get(name)
                if type(count) is not int or count < 1:
                    what = "is missing" if count is None else found(count)
                    self._tell(f"concurrency.{kind}.{name}", f"{what}; accepted: how many samples at once, from 1")
            for word, part in (("defined", definition[kind]), ("given a concurrency", concurrency[kind])):
                if unused := [name for name in part if name not in names]:
                    self._note(f"{kind}s that are {word} and not assigned are left out: {some(unused, MOST_SHOWN)}")

    def _agent(self, name: str, entry: Mapping[str, Any], concurrency: int) -> dict[str, Any]:
        """An agent as the settings of a model."""
        module, parameters = entry["module"], dict(entry.get("parameters") or {})
        for where in _to_be_put_in({**parameters, "headers": None}):  # headers are looked at with all layers above them
            wanted = "accepted: ${NAME} of an environment variable"
            self._tell(f"definition.agent.{name}.parameters.{where}", f"found a place for a key, <% … %>; {wanted}")
        kind = module.rpartition(".")[2] if module.startswith(OF_CLIENT) else ""
        if kind == "HTTPAgent":
            words = {word: parameters[word] for word in HTTP_WORDS if parameters.get(word) is not None}
            return {"adapter": "http", "concurrency": concurrency, **words}
        if kind == "FastChatAgent":
            return {"adapter": "openai", "concurrency": concurrency, **self._fastchat(name, parameters)}
        return {"adapter": module, "concurrency": concurrency, "params": parameters}

    def _fastchat(self, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """FastChat's servers speak OpenAI's API, where its controller does not."""
        address = parameters.get("worker_address") or parameters.get("controller_address")
        if not isinstance(address, str):
            wanted = "accepted: controller_address: http://HOST:PORT of FastChat's openai_api_server"
            self._tell(f"definition.agent.{name}.parameters", f"found no address; {wanted}")
        sampling = {to: parameters[word] for word, to in FASTCHAT_SAMPLING.items() if parameters.get(word) is not None}
        if not sampling.get("top_p", 1):
            del sampling["top_p"]  # greedy, as a temperature of 0 is: servers refuse it
        if parameters.get("prompter"):
            self._note(f"agent {name}: its prompter is left out: the server has the model's own template")
        model = parameters.get("model_name", name)
        return {"model": model, "base_url": f"{str(address).rstrip('/')}/v1", "sampling": sampling}

    def _output(self) -> tuple[str | None, str | None]:
        """What a new run is called, or where an assigner's results are."""
        output = self.values.get("output")
        if output is None:
            return None, None
        if not isinstance(output, str) or not output:
            self._tell("output", f"{found(output)}; accepted: the path of a directory")
            return None, None
        try:
            names = names_in(output)
        except ConfigError as error:
            self._tell("output", str(error))
            return None, None
        if unknown := [name for name in names if name not in STAMPS]:
            wanted = ", ".join(f"{{{name}}}" for name in STAMPS)
            self._tell("output", f"found {{{unknown[0]}}}; accepted: {wanted}")
        elif not names:
            return None, self._existing(output)
        else:
            name = output.rstrip("/").rpartition("/")[2]
            if is_run_name(stamped(name, datetime.now(UTC))):
                return name, None
            self._tell("output", f"{found(name)}, which can be no run's name; accepted: DIRECTORY/{{TIMESTAMP}}")
        return None, None

    def _existing(self, output: str) -> str | None:
        """The directory, where there is one: below where pytest is run, as AgentBench would be, or beside the suite."""
        for base in (Path.cwd(), Path(self.root)):
            if (path := base / output).is_dir():
                return os.path.normpath(path)
        return None


def _near(name: str, names: Mapping[str, Any]) -> str:
    return accepted(name, names) if len(names) <= MOST_SHOWN else f"accepted: {some(sorted(names), MOST_SHOWN)}"


def _no_instance(entry: Any) -> str | None:
    """Say why an entry makes no object; None where it does."""
    if not isinstance(entry, dict):
        return f"{found(entry)}; accepted: a mapping with `module: package.module.Class`"
    if not isinstance(module := entry.get("module"), str) or not is_reference(module):
        return f"module: {found(module)}; accepted: package.module.Class"
    if not isinstance(entry.get("parameters") or {}, dict):
        return f"parameters: {found(entry['parameters'])}; accepted: a mapping"
    return None


def _to_be_put_in(value: Any, where: str = "") -> Iterator[str]:
    """Where AgentBench's own files say that a user shall put a key in."""
    if isinstance(value, str) and PLACE_OF_A_KEY.search(value):
        yield where
    elif isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _to_be_put_in(entry, f"{where}.{key}".lstrip("."))


def _own_tasks(definitions: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those that are no clients of a controller: their code is run here."""
    return {
        name: {word: entry[word] for word in WORDS if entry.get(word) is not None}
        for name, entry in definitions.items()
        if not entry["module"].startswith(OF_CLIENT)
    }


def _served(entry: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Who serves a task, as its definition says it."""
    if address := (entry.get("parameters") or {}).get("controller_address"):
        return {"controller": address}
    return {"tasks": own} if own else {}
