"""What agents did, in AgentBench's files: those that its assigner has begun are taken over, and ours are opened."""

from __future__ import annotations

import json
import re
from collections import deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.adapters.protocol import Detailed
from pytest_evalrun.agents.wire.addresses import shown_address
from pytest_evalrun.predicting.session import LineMaker
from pytest_evalrun.rundir.agentfiles import AgentFiles
from pytest_evalrun.rundir.agentruns import finished_runs
from pytest_evalrun.rundir.aside import was_put_aside
from pytest_evalrun.rundir.predictions import PredictionsFile
from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.printable import counted
from pytest_evalrun.suite.secrets import BLANK, secret_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.work import PairWork
    from pytest_evalrun.rundir.agentoverall import Calculate
    from pytest_evalrun.rundir.agentruns import FinishedRun, FinishedRuns
    from pytest_evalrun.rundir.predictions import Line
    from pytest_evalrun.suite.pairs import Pair

# So many are written at once.
LINES = 256
# What a setting is called that may be a key.
_KEYS = re.compile(r"authorization|api[-_]?key|token\Z|secret|password", re.IGNORECASE)


def begun_directory(pair: Pair) -> Path | None:
    """Where AgentBench's assigner has put the runs of a pair, by ``takeover`` of its suite; None where it has none."""
    settings = pair.settings
    if settings.takeover is None:
        return None
    output = Path(pair.root, settings.takeover, pair.task.name)
    places = [output / name for name in (pair.dataset.name, settings.task) if name]
    return next((place for place in places if place.is_dir()), None)


def take_over_runs(work: PairWork, samples: Iterable[Sample], directory: Path) -> int:
    """Keep what has ended below ``<output>/<agent>/<task>`` of an assigner, and return how many samples that was.

    Where something has changed since the pair was begun, nothing is: nobody knows what those runs were made with.
    Killed in the middle, a second time takes what is missing.
    """
    if was_put_aside(work.paths):
        return 0
    runs, taken = finished_runs(directory), 0
    lines = _Taken(work, samples, runs)
    coming = iter(lines)
    while some := list(islice(coming, LINES)):
        work.progress.append(some)
        taken += len(some)
        work.context.check_launcher()
    for text in lines.remarks():
        work.context.say(f"{directory}: {text}")
    return taken


class _Taken:
    """The lines that runs make of samples that are not done; each run is one answer to its index."""

    def __init__(self, work: PairWork, samples: Iterable[Sample], runs: FinishedRuns) -> None:
        self._work = work
        self._runs = runs
        self._unknown = 0
        self._lines = LineMaker(work)
        self._wanted: dict[Any, deque[Sample]] = {}
        for sample in islice(samples, work.count):
            self._wanted.setdefault(sample.input["index"], deque()).append(sample)

    def __iter__(self) -> Iterator[Line]:
        each, is_done = self._work.settings.generations, self._work.progress.is_done
        for run in self._runs:
            wanted = self._wanted.get(run.index)
            if wanted is None:
                self._unknown += 1
            elif wanted and not is_done((sample := wanted.popleft()).index * each + sample.generation):
                line = self._lines.line(sample, _answer(run), None)
                if line.status == "ok":
                    yield line

    def remarks(self) -> Iterator[str]:
        """What was left, and why."""
        runs = self._runs
        if runs.damaged:
            yield f"{counted(runs.damaged, 'damaged line')} left out"
        if runs.unfinished:
            yield f"{counted(runs.unfinished, 'run')} left out in which the environment failed: the samples are asked"
        if self._unknown:
            yield f"{counted(self._unknown, 'run')} left out of indices that the task does not have"


def _answer(run: FinishedRun) -> Detailed:
    detail = {"index": run.index, "turns": run.turns, "history": run.history}
    prediction = {"status": run.status, "result": run.output.get("result")}
    return Detailed(prediction, detail if run.time is None else detail | {"ended": run.time})


def open_files(work: PairWork, calculate: Calculate | None) -> AgentFiles:
    """The files of AgentBench beside what a pair has by now, which get what is added; ``calculate`` asks the task.

    A run that a crash has cost is written again from the predictions.
    """
    context, each = work.context, work.settings.generations
    files = AgentFiles(work.paths, context.disk, context.secrets)
    if work.progress.done_count:
        files.settle(PredictionsFile(work.paths.predictions, each).as_kept())
    files.keep_overall(work.count, calculate, generations=each, say=context.say)
    files.config(config_text(work.pair, work.paths.agent.directory))
    return files


def config_text(pair: Pair, output: Path) -> str:
    """What a pair is, in the form of AgentBench's ``config.yaml``; keys are named, or blanked."""
    import yaml

    settings = pair.settings
    agent, task = pair.task.name, settings.task or pair.dataset.name
    parameters = dict(settings.words) | ({"params": dict(settings.params)} if settings.params else {})
    server = {"controller": settings.controller} if settings.controller else {"tasks": settings.tasks}
    content = {
        "assignments": [{"agent": agent, "task": task}],
        "concurrency": {
            "agent": _known(agent, settings.words.get("concurrency")),
            "task": _known(task, settings.task_concurrency),
        },
        "definition": {
            "agent": {agent: {"module": settings.adapter, "parameters": parameters}},
            "task": {task: {"module": settings.format, "parameters": {"name": task, **server}}},
        },
        "output": str(output),
    }
    plain = parse_json(json.dumps(_without_keys(content), default=str))
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def _known(name: str, limit: Any) -> dict[str, Any]:
    return {} if limit is None else {name: limit}


def _without_keys(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _without_keys(part, str(key)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_keys(part, name) for part in value]
    if not isinstance(value, str):
        return value
    if name == "controller":
        return shown_address(value)
    return BLANK if _KEYS.search(name) and not secret_names(value) else value
