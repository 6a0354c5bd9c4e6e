"""What a job needs before it is submitted: its directory, its file, its script."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.engines.protocol import Job
from pytest_evalrun.engines.script import write_script
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.notify.addresses import shown
from pytest_evalrun.plugin.engine.allure import allure_directory
from pytest_evalrun.plugin.engine.handedon import handed_on
from pytest_evalrun.plugin.items import pair_of
from pytest_evalrun.plugin.options import OPTIONS, option_values
from pytest_evalrun.rundir.enginepaths import AttemptPaths, EnginePaths
from pytest_evalrun.rundir.jobfiles import JobFile, JobItem
from pytest_evalrun.rundir.runs import begin_run
from pytest_evalrun.suite.digests import digest_of
from pytest_evalrun.suite.names import safe_name
from pytest_evalrun.suite.printable import counted
from pytest_evalrun.suite.secrets import secret_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import pytest

    from pytest_evalrun.engines.dispatch import Unit
    from pytest_evalrun.plugin.engine.division import Division
    from pytest_evalrun.plugin.options import Options
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import Pair

# What is said of the launch, and not of what its jobs do.
OF_THE_LAUNCH = frozenset(
    {"eval_workdir", "eval_run", "eval_only", "eval_fresh", "eval_engine", "eval_jobs", "eval_unit_minutes"}
    | {"eval_job_workers", "eval_slurm", "eval_ray_address", "eval_dlc_config", "eval_on_interrupt", "eval_scripts"}
    | {"eval_job", "eval_gpus", "eval_max_cost", "eval_notify", "eval_notify_link"}
)
LONGEST_NAME = 60


class Outfitter:
    """Makes attempts of units ready to be submitted; one for each launch."""

    def __init__(self, config: pytest.Config, options: Options, run: RunPaths, division: Division) -> None:
        self._config = config
        self.options = options
        self.run = run
        self._items = division.remote
        self._judged = division.judged
        self._paths = EnginePaths(run)
        self._sources: dict[str, list[str]] = {}

    def job_items(self, ids: Iterable[str]) -> tuple[JobItem, ...]:
        return tuple(self._job_item(nodeid) for nodeid in ids)

    def _job_item(self, nodeid: str) -> JobItem:
        pair = pair_of(self._items[nodeid])
        return JobItem(nodeid) if pair is None else JobItem(nodeid, pair.full_id, digest_of(pair))

    def make(self, unit: Unit, attempt: int) -> Job:
        """Write all that the job reads, and remember the attempt as one whose lines later ones may take over."""
        paths = self._paths.attempt(unit.name, attempt)
        job, spec = self.job(unit, attempt), self.spec(unit, attempt)
        begin_run(paths.run)
        spec.write(paths.job)
        write_script(job, spec, paths.job)
        self._remember(unit, str(paths.root))
        return job

    def job(self, unit: Unit, attempt: int) -> Job:
        """Describe an attempt as its engine sees it; nothing is written."""
        paths = self._paths.attempt(unit.name, attempt)
        title = f"{self.run.root.name} {unit.name}.{attempt}: {counted(len(unit.items), 'item')}"
        minutes = unit.seconds / 60 if unit.seconds else None
        handed = {name: os.environ[name] for name in self._wanted(unit) if name in os.environ}
        return Job(self._name(unit, attempt), title, paths.script, paths.log, unit.resources, minutes, handed)

    def _name(self, unit: Unit, attempt: int) -> str:
        tail = f"{unit.name}-{attempt}-{secrets.token_hex(2)}"
        return f"evalrun-{safe_name(self.run.root.name)[: LONGEST_NAME - len(tail) - 9]}-{tail}"

    def spec(self, unit: Unit, attempt: int) -> JobFile:
        root = self._config.rootpath
        return JobFile(
            run=str(self.run.root),
            unit=unit.name,
            attempt=attempt,
            rootdir=str(root),
            inifile=str(self._config.inipath) if self._config.inipath else None,
            items=unit.items,
            plugin=version("pytest-evalrun"),
            python=f"{sys.version_info[0]}.{sys.version_info[1]}",
            sources=tuple(self._sources_of(unit)),
            workers=self.options.cluster.workers,
            arguments=(*handed_on(self._config), *self._allure(unit, attempt)),
            options=self._values(unit),
            environment=self._environment(unit),
            secrets=tuple(sorted({name for pair in self.pairs(unit) for name in _secrets(pair)})),
        )

    def pairs(self, unit: Unit) -> list[Pair]:
        """The pairs that its items are about, one for each item that is about one."""
        found = (pair_of(self._items[item.id]) for item in unit.items if item.id in self._items)
        return [pair for pair in found if pair is not None]

    def _sources_of(self, unit: Unit) -> list[str]:
        """The newest attempts first, for they have taken over what there was before; the run last."""
        attempts = dict.fromkeys(
            path for item in unit.items for path in reversed(self._sources.get(item.pair or item.id, ()))
        )
        return [*attempts] if self.options.fresh else [*attempts, str(self.run.root)]

    def _remember(self, unit: Unit, attempt: str) -> None:
        for item in unit.items:
            self._sources.setdefault(item.pair or item.id, []).append(attempt)

    def remember_earlier(self, living: Collection[AttemptPaths]) -> None:
        """Attempts of earlier launches that have predictions which never came into the run, or may still make some.

        With ``--eval-fresh`` only the latter count: they were begun afresh, too.
        """
        for paths in self._paths.attempts():
            with suppress(ConfigError):
                has_some = paths in living or (not self.options.fresh and paths.run.predictions.is_dir())
                for item in JobFile.read(paths.job).items if has_some else ():
                    self._sources.setdefault(item.pair or item.id, []).append(str(paths.root))

    def attempts_with(self, pair: Pair) -> list[AttemptPaths]:
        """The attempts that may have predicted something of a pair, the newest first."""
        return [AttemptPaths(Path(path)) for path in reversed(self._sources.get(pair.full_id, ()))]

    def _allure(self, unit: Unit, attempt: int) -> list[str]:
        """Allure listens where items run; the launch gathers what it writes there."""
        if not getattr(self._config.option, "allure_report_dir", None):
            return []
        return ["--alluredir", str(allure_directory(self._paths.attempt(unit.name, attempt)))]

    def _values(self, unit: Unit) -> dict[str, Any]:
        """Our options, as they hold here: what an ini file says of them a job could read otherwise."""
        values = option_values(self._config)
        defaults = {option.dest: option.default for option in OPTIONS}
        kept = {dest: value for dest, value in values.items() if dest not in OF_THE_LAUNCH}
        if any(item.id in self._judged for item in unit.items):
            kept["eval_mode"] = "infer"
        if urls := values["eval_notify"]:  # a job sends nothing, and blanks the same secrets in what programs write
            kept["eval_notify"] = [shown(url) for url in urls]
        if values["eval_gpus"] == "none":
            kept["eval_gpus"] = "none"
        return {dest: value for dest, value in kept.items() if value != defaults[dest]}

    def _environment(self, unit: Unit) -> dict[str, str]:
        """The variables that are settings; a cluster need not hand them on."""
        layers = {id(layer): layer for pair in self.pairs(unit) for layer in pair.layers}
        names = {layer.source for layer in layers.values() if layer.kind == "environment"}
        return {name: os.environ[name] for name in sorted(names) if name in os.environ}

    def _wanted(self, unit: Unit) -> list[str]:
        return sorted({name for pair in self.pairs(unit) for name in pair.settings.secrets_env})


def _secrets(pair: Pair) -> set[str]:
    return secret_names([dict(layer.values) for layer in pair.layers])
