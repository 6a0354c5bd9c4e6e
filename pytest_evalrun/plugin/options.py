"""Command line and ini → Options. Every option has an ini key of the same name; the command line wins."""

from __future__ import annotations

import math
import os
from argparse import ArgumentTypeError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_evalrun.plugin.urls import shown_urls, url, urls_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.suite.layers import Layer

# So many jobs may run at once where nobody says how many.
JOBS = 16
_asked_workers = pytest.StashKey[int]()
Kind = Literal["string", "int", "float", "bool", "list", "urls"]


NUMBERS: dict[str, tuple[type, str]] = {"int": (int, "a whole number"), "float": (float, "a number")}


@dataclass(frozen=True)
class Option:
    """One option as data: its flag, what it sets, and what it accepts.

    ``offered`` is a group of the registry whose names are accepted beside ``choices``; who offers what is read once a
    value is given that is none of these.
    """

    flag: str
    help: str
    kind: Kind = "string"
    default: Any = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    setting: str | None = None
    offered: str | None = None

    @property
    def dest(self) -> str:
        return self.flag.lstrip("-").replace("-", "_")

    def accepted(self, value: str) -> tuple[str, ...]:
        """The names among which ``value`` has to be; without those that packages offer where it is one of ours."""
        if self.offered is None or value in self.choices:
            return self.choices
        from pytest_evalrun.registry import names

        with usage_errors():
            return (*self.choices, *sorted(names(self.offered) - set(self.choices)))


OPTIONS = (
    Option("--eval-workdir", "Directory of the runs, relative to rootdir", default="outputs/default", metavar="DIR"),
    Option("--eval-run", "Run directory to carry on in: latest, new, or its name", default="latest", metavar="NAME"),
    Option("--eval-mode", "Stages to run", default="all", choices=("all", "infer", "eval", "viz")),
    Option(
        "--eval-only",
        "Select pairs by the state of the run: unfinished, failed, or stale (would be made again)",
        choices=("unfinished", "failed", "stale"),
    ),
    Option(
        "--eval-limit",
        "Only the first N samples of each dataset; never taken for a full result",
        kind="int",
        metavar="N",
        setting="limit",
    ),
    Option(
        "--eval-fresh",
        "Make the selected pairs again; their predictions and results become .old",
        kind="bool",
        default=False,
    ),
    Option(
        "--eval-set", "Set KEY to VALUE above every layer; repeatable", kind="list", default=[], metavar="KEY=VALUE"
    ),
    Option("--eval-batch-size", "Samples in a batch", kind="int", metavar="N", setting="max_batch_size"),
    Option("--eval-in-subdir", "Input sub-directory of a dataset", metavar="NAME", setting="in_subdir"),
    Option("--eval-suffixes", "Suffixes of the files of one data item", metavar="A,B", setting="suffixes"),
    Option("--eval-out", "Directory for files that models write", metavar="DIR", setting="out_subdir"),
    Option("--eval-retries", "Times that a failed batch is tried again", kind="int", metavar="N", setting="retries"),
    Option(
        "--eval-crash-retries",
        "Times that a pair is run again whose worker died",
        kind="int",
        default=1,
        metavar="N",
    ),
    Option(
        "--eval-timeout",
        "Limit for a pair, after which it is an ERROR; waiting for a GPU does not count",
        kind="float",
        metavar="SECONDS",
        setting="timeout",
    ),
    Option("--eval-shards", "Cut each pair into N equal ranges", kind="int", metavar="N", setting="shards"),
    Option(
        "--eval-shard-size", "Cut each pair into ranges of N samples", kind="int", metavar="N", setting="shard_size"
    ),
    Option("--eval-scheduler", "Whose order holds under -n: ours, or xdist's", default="on", choices=("on", "off")),
    Option("--eval-gpus", "GPUs to use, by index or UUID, or none; default: all that are found", metavar="LIST"),
    Option("--eval-gpus-per-item", "GPUs that a model needs", kind="int", metavar="N", setting="gpus"),
    Option(
        "--eval-min-gpu-memory",
        "Free memory that each GPU must have",
        kind="float",
        metavar="GB",
        setting="min_gpu_memory",
    ),
    Option(
        "--eval-workers-per-gpu", "Models that may share one GPU", kind="int", metavar="N", setting="workers_per_gpu"
    ),
    Option(
        "--eval-max-cost",
        "Stop asking endpoints once the run has cost so much, by the prices in the suites",
        kind="float",
        metavar="MONEY",
    ),
    Option(
        "--eval-notify",
        "Send messages about the run: to URL, repeatable; without one to those that the ini key has, one a line",
        kind="urls",
        metavar="URL",
    ),
    Option(
        "--eval-notify-link", "Link in every message; {run} in it is the run's name, ${NAME} a variable", metavar="URL"
    ),
    Option(
        "--eval-engine",
        "Where items run: on this machine, or as jobs of a cluster",
        default="local",
        choices=("local", "slurm", "ray", "dlc", "command"),
        offered="pytest_evalrun.engines",
    ),
    Option("--eval-jobs", "Jobs that may run at once; default: what -n says, else 16", kind="int", metavar="N"),
    Option(
        "--eval-unit-minutes",
        "So long a job is meant to take, by what its items took before",
        kind="float",
        default=15.0,
        metavar="M",
    ),
    Option("--eval-job-workers", "Workers of xdist in each job", kind="int", default=1, metavar="K"),
    Option(
        "--eval-slurm",
        'Words for sbatch, as they are, written with =: --eval-slurm="-p main --qos=high"',
        metavar="WORDS",
    ),
    Option("--eval-ray-address", "The Ray cluster; default: RAY_ADDRESS", metavar="URL"),
    Option("--eval-dlc-config", "How jobs of DLC are made: a YAML or JSON file, relative to rootdir", metavar="FILE"),
    Option(
        "--eval-on-interrupt",
        "What Ctrl-C does with jobs: they are cancelled, or go on and are found by the next launch",
        default="cancel",
        choices=("cancel", "detach"),
    ),
    Option("--eval-scripts", "With --collect-only: write the scripts of the jobs there", metavar="DIR"),
    Option("--eval-job", "For jobs alone: what to run, as the launch has written it", metavar="FILE"),
)


@dataclass(frozen=True)
class Cluster:
    """The options that are about jobs; ``jobs`` is None where neither they nor ``-n`` say how many.

    ``job`` is the file of the job that this session is, where it is one.
    """

    engine: str
    jobs: int | None
    unit_minutes: float
    workers: int
    slurm: str
    ray: str | None
    dlc: str | None
    on_interrupt: str
    scripts: Path | None
    job: Path | None


@dataclass(frozen=True)
class Options:
    """The options that hold for this launch, after command line and ini."""

    workdir: Path
    run: str
    mode: str
    only: str | None
    fresh: bool
    crash_retries: int
    scheduler: bool
    gpus: str | None
    max_cost: float | None
    notify: tuple[str, ...] | None
    notify_link: str
    cluster: Cluster
    settings: tuple[tuple[str, str, Any], ...]
    sets: tuple[str, ...]

    def command_line(self) -> list[Layer]:
        """The options that are settings of a pair, each a layer of its own so that its origin can be shown."""
        from pytest_evalrun.suite.runconfig import command_line_layer

        return [command_line_layer(flag, key, value) for flag, key, value in self.settings]

    def eval_set(self) -> list[Layer]:
        from pytest_evalrun.suite.runconfig import eval_set_layer

        return [eval_set_layer(self.sets)] if self.sets else []


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("evalrun", "model evaluation")
    for option in OPTIONS:
        group.addoption(option.flag, dest=option.dest, help=_help(option), default=None, **_argparse(option))
        parser.addini(option.dest, _help(option), **_ini(option))


def read_options(config: pytest.Config) -> Options:
    """The options of this launch. Raises pytest.UsageError for a value in an ini file that is not accepted."""
    values = option_values(config)
    settings = tuple(
        (option.flag, option.setting, values[option.dest])
        for option in OPTIONS
        if option.setting and values[option.dest] is not None
    )
    return Options(
        workdir=Path(os.path.normpath(config.rootpath / values["eval_workdir"])),
        run=values["eval_run"],
        mode=values["eval_mode"],
        only=values["eval_only"],
        fresh=values["eval_fresh"],
        crash_retries=values["eval_crash_retries"],
        scheduler=values["eval_scheduler"] == "on",
        gpus=values["eval_gpus"],
        max_cost=_money(values["eval_max_cost"]),
        notify=None if values["eval_notify"] is None else tuple(values["eval_notify"]),
        notify_link=values["eval_notify_link"] or "",
        cluster=_cluster(config, values),
        settings=settings,
        sets=tuple(values["eval_set"]),
    )


def _cluster(config: pytest.Config, values: dict[str, Any]) -> Cluster:
    here = config.invocation_params.dir
    return Cluster(
        engine=values["eval_engine"],
        jobs=values["eval_jobs"],
        unit_minutes=values["eval_unit_minutes"],
        workers=values["eval_job_workers"],
        slurm=values["eval_slurm"] or "",
        ray=values["eval_ray_address"],
        dlc=values["eval_dlc_config"],
        on_interrupt=values["eval_on_interrupt"],
        scripts=here / values["eval_scripts"] if values["eval_scripts"] else None,
        job=here / values["eval_job"] if values["eval_job"] else None,
    )


def stay_alone(config: pytest.Config) -> None:
    """Keep xdist out of a launch with an engine, before it has begun: its ``-n`` says how many jobs may run at once."""
    if hasattr(config, "workerinput") or not hasattr(config.option, "dist"):
        return
    engine = config.getoption("eval_engine") or config.getini("eval_engine")
    if engine and engine != "local" and not config.getoption("eval_job"):
        config.stash[_asked_workers] = len(config.option.tx or ())
        config.option.dist, config.option.tx, config.option.numprocesses = "no", [], None


def jobs_at_once(config: pytest.Config) -> int:
    """``--eval-jobs``, else what ``-n`` asked for, else JOBS."""
    return read_options(config).cluster.jobs or config.stash.get(_asked_workers, 0) or JOBS


def option_values(config: pytest.Config) -> dict[str, Any]:
    """What each option is in this launch, by its ``dest``; of a job, as its file says."""
    if config.getoption("eval_job"):
        return _of_job(config.invocation_params.dir / config.getoption("eval_job"))
    return {option.dest: _value(config, option) for option in OPTIONS}


def _of_job(file: Path) -> dict[str, Any]:
    """Neither ini nor command line count: the launch has said what they mean."""
    from pytest_evalrun.rundir.enginepaths import AttemptPaths
    from pytest_evalrun.rundir.jobfiles import JobFile

    with usage_errors():
        job = JobFile.read(file)
    attempt = AttemptPaths(file.parent)
    place = {"eval_job": str(file), "eval_workdir": str(attempt.workdir.root), "eval_run": attempt.root.name}
    return {option.dest: option.default for option in OPTIONS} | dict(job.options) | place


def header(config: pytest.Config) -> str | None:
    """Write what differs from the defaults in one line; None where nothing does."""
    values = option_values(config)
    changed = [
        f"{option.flag[7:]}={_shown(option, value)}"
        for option in OPTIONS
        if (value := values[option.dest]) != option.default
    ]
    return f"evalrun: {', '.join(changed)}" if changed else None


def _shown(option: Option, value: Any) -> str:
    if option.kind == "urls":
        return shown_urls(value)
    return " ".join(value) if isinstance(value, list) else str(value)


def _value(config: pytest.Config, option: Option) -> Any:
    if option.kind == "urls":
        return urls_of(config, option.dest)
    value = config.getoption(option.dest)
    if value is None:
        value = _from_ini(config, option)
    if option.choices and value is not None and value not in (accepted := option.accepted(value)):
        raise pytest.UsageError(f"ini key {option.dest}: {value!r} is not accepted; accepted: {', '.join(accepted)}")
    return value


def _from_ini(config: pytest.Config, option: Option) -> Any:
    """An ini key that is not set answers an empty value of its type, which here means the default."""
    value = config.getini(option.dest)
    if value in (None, "", []):
        return option.default
    if option.kind in NUMBERS:
        convert, what = NUMBERS[option.kind]
        try:
            return convert(value)
        except ValueError:
            raise pytest.UsageError(f"ini key {option.dest}: expected {what}, got {value!r}") from None
    return value


def _money(value: float | None) -> float | None:
    if value is not None and not 0 <= value < math.inf:
        raise pytest.UsageError(f"--eval-max-cost (ini eval_max_cost): {value:g} is not accepted; accepted: 0 or more")
    return value


def _argparse(option: Option) -> dict[str, Any]:
    if option.kind == "bool":
        return {"action": "store_const", "const": True}
    if option.kind == "list":
        return {"action": "append", "metavar": option.metavar}
    if option.kind == "urls":
        return {"action": "append", "nargs": "?", "type": url, "metavar": option.metavar}
    typed: dict[str, Any] = {"type": NUMBERS[option.kind][0]} if option.kind in NUMBERS else {}
    if option.offered:
        return {"type": partial(_offered, option), "metavar": f"{{{','.join(option.choices)},...}}"}
    if option.choices:
        return {"choices": option.choices}
    return typed | {"metavar": option.metavar}


def _offered(option: Option, value: str) -> str:
    """What is said of a name on the command line that nobody offers, by argparse, which names the option."""
    if value not in (accepted := option.accepted(value)):
        raise ArgumentTypeError(f"{value!r} is not accepted; accepted: {', '.join(accepted)}")
    return value


def _ini(option: Option) -> dict[str, Any]:
    if option.kind == "bool":
        return {"type": "bool", "default": option.default}
    if option.kind == "list":
        return {"type": "args", "default": []}
    if option.kind == "urls":
        return {"type": "linelist", "default": []}
    return {"type": "string", "default": ""}


def _help(option: Option) -> str:
    return option.help if option.default in (None, False, []) else f"{option.help} (default: {option.default})"


@contextmanager
def usage_errors() -> Iterator[None]:
    """End the session with exit code 4 and the sentence alone where the user's configuration is wrong."""
    from pytest_evalrun.errors import ConfigError
    from pytest_evalrun.suite.printable import printable

    try:
        yield
    except ConfigError as error:
        raise pytest.UsageError(printable(str(error))) from None
