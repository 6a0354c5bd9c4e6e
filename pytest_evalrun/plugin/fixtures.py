"""A suite brings to pytest its items, the fixtures ``pair`` and ``evaluation``, and selection by state."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.plugin.collectors import SUITE_FILE, SuiteModule
from pytest_evalrun.plugin.internals import (
    add_fixture,
    parameter_ids,
    parametrize_kept,
    register_fixtures,
    visible_fixtures,
)
from pytest_evalrun.plugin.items import (
    ABOUT_PAIRS,
    OFFERED,
    describe,
    is_offered,
    pair_of,
    params,
    uses,
)
from pytest_evalrun.plugin.reports import Failure, failure
from pytest_evalrun.plugin.worker import WorkerPlugin
from pytest_evalrun.plugin.xdist.units import asked
from pytest_evalrun.rundir.layout import paths_of
from pytest_evalrun.suite.names import escaped_id
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.evaluation.steps import Evaluation
    from pytest_evalrun.plugin.suites import Suites
    from pytest_evalrun.predicting.boards import HeldBoard
    from pytest_evalrun.rundir.predictions import Line
    from pytest_evalrun.rundir.results import Result
    from pytest_evalrun.slots.gpus import Gpu
    from pytest_evalrun.slots.need import Need
    from pytest_evalrun.suite.pairs import Pair


# Where one of these is set, a job of GitHub Actions wants to know how it went.
GITHUB = frozenset({"GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"})


class EvaluationResult:
    """What the ``evaluation`` fixture gives to a test: metrics, gates, predictions, and a place for own metrics."""

    def __init__(
        self, evaluation: Evaluation, worker: WorkerPlugin, test: str, properties: list[tuple[str, Any]]
    ) -> None:
        self._evaluation = evaluation
        self._worker = worker
        self._test = test
        self._properties = properties
        self._recorded: dict[str, Any] = {}

    @property
    def pair(self) -> Pair:
        return self._evaluation.pair

    @property
    def result(self) -> Result | None:
        """The whole result; None after ``--eval-mode infer``."""
        return self._evaluation.result

    @property
    def metrics(self) -> dict[str, float]:
        """Name of a metric → its value."""
        return self._evaluation.metrics

    @property
    def reused(self) -> bool:
        return self._evaluation.reused

    @property
    def predictions(self) -> Iterator[Line]:
        """One line a sample, in dataset order, streamed from disk."""
        from pytest_evalrun.evaluation.stored import stored_predictions

        return stored_predictions(paths_of(self._worker.context.paths, self.pair))

    def check_gates(self) -> None:
        """Fail the test with a table when a gate of the suite is breached."""
        __tracebackhide__ = True
        from pytest_evalrun.evaluation.gates import breach_table, in_brief

        breached = self._evaluation.breached
        if breached:
            table = breach_table(breached)
            count = counted(len(breached), "gate")
            raise Failure(f"{self.pair.full_id}: {count} breached\n{table}", in_brief(breached))

    def record(self, name: str, value: Any) -> None:
        """Keep a value of this test's own in ``results/<suite>/<task>/<dataset>/<test name>.json``.

        It stands in the tables and in JUnit's properties as ``<test name>.<name>``.
        """
        from pytest_evalrun.evaluation.stored import record_own

        self._recorded[name] = value
        context = self._worker.context
        values = context.secrets.fields(self._recorded)
        record_own(self.pair, paths_of(context.paths, self.pair), context.disk, self._test, values, self.result)
        full = f"{self._test}.{name}"
        others = [entry for entry in self._properties if entry[0] != full]
        # Builtins only travel from a worker.
        self._properties[:] = [*others, (full, json.loads(json.dumps(value, default=str)))]


class Fixtures:
    """The fixtures for tests, registered under the names of these methods where :class:`Items` says.

    None takes another as an argument: a project may have its own fixture of that name, and ours know their pair anyway.
    """

    def __init__(self, worker: WorkerPlugin) -> None:
        self._worker = worker

    def pair(self, request: pytest.FixtureRequest) -> Pair:
        """One model x one dataset of the suite: names, paths and settings."""
        pair: Pair = request.param if hasattr(request, "param") else _pair_for(request, "pair")
        return pair

    def evaluation(self, request: pytest.FixtureRequest) -> EvaluationResult:
        """The pair evaluated, or reused when nothing changed: metrics, gates, predictions."""
        pair = _pair_for(request, "evaluation")
        evaluation = self._worker.evaluate(request.node, pair)
        return EvaluationResult(evaluation, self._worker, _own_name(request.node, pair), request.node.user_properties)

    def gpus(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gpu, ...]]:
        """GPUs of the test's own, as many as its marker or its pair asks for; CUDA_VISIBLE_DEVICES names them."""
        if uses(request.node, "evaluation"):
            # First: its model needs GPUs for itself, which it would never get while this test has them.
            request.getfixturevalue("evaluation")
        pair = pair_of(request.node)
        with self._worker.lease(_need(request.node, pair), pair) as lease:
            for name, value in lease.environment().items():
                monkeypatch.setenv(name, value)
            yield lease.gpus

    def device(self, request: pytest.FixtureRequest) -> Iterator[HeldBoard]:
        """A board for the test's own use, one with the labels of its pair: ``device.run("uname", "-a").text``."""
        pair = _pair_for(request, "device")
        if uses(request.node, "evaluation"):
            # First: its model may need the only board there is, which goes back before the test gets it.
            request.getfixturevalue("evaluation")
        if uses(request.node, "gpus"):  # always in this order, or two tests could wait for each other
            request.getfixturevalue("gpus")
        with self._worker.board(pair) as board:
            yield board


class Items:
    """Registered when the first suite is found, on whatever process collects."""

    def __init__(self, config: pytest.Config, suites: Suites, worker: WorkerPlugin) -> None:
        self.config = config
        self.suites = suites
        self.fixtures = Fixtures(worker)

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        if file_path.name != SUITE_FILE or self.suites.is_foreign(file_path):
            return None
        suite = self.suites.load(str(file_path))
        return SuiteModule.from_parent(parent, path=file_path, has_pairs=suite is not None and suite.has_adapter)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        """A suite has our fixtures, whoever else has some; tests beside and below it those that their project lacks.

        Around pytest's own part, after which the directory's conftest.py has spoken, and before what is in it is read.
        """
        if isinstance(collector, SuiteModule):
            self._offer(collector, OFFERED)
        report = yield
        if isinstance(collector, pytest.Directory) and self.suites.is_root(collector.path):
            self._offer(collector, [name for name in OFFERED if not visible_fixtures(collector, name)])
        return report

    def _offer(self, node: pytest.Collector, names: Iterable[str]) -> None:
        register_fixtures(node, {name: getattr(self.fixtures, name) for name in names})

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> Generator[None, Any, Any]:
        """Every function that asks for a pair gets those of the nearest suite above it, first in its ids.

        Unless somebody else gives values to that very name: so others are only listened to, until all have spoken.
        """
        names = [name for name in ABOUT_PAIRS if uses(metafunc.definition, name)]
        if not names:
            return (yield)
        with parametrize_kept(metafunc) as spoken:
            result = yield
        taken = {name for args, kwargs in spoken for name in _names(*args, **kwargs)}
        if is_offered(metafunc.definition, "pair"):
            names.insert(0, "pair")
        if (name := next((name for name in names if name not in taken), None)) is not None:
            self._parametrize(metafunc, name)
        for args, kwargs in spoken:
            metafunc.parametrize(*args, **kwargs)
        return result

    def _parametrize(self, metafunc: pytest.Metafunc, name: str) -> None:
        """With an empty set pytest would skip the test, and nobody would miss it; so its fixture tells."""
        path = metafunc.definition.path
        own = path.name == SUITE_FILE
        suite = self.suites.load(str(path)) if own else self.suites.suite_above(path)
        if suite is not None and suite.pairs:
            add_fixture(metafunc.definition, name)
            metafunc.parametrize(name, list(params(suite, shards=own)), indirect=True)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """pytest escapes ids that are not ASCII; ``-k`` finds them by their raw names too."""
        pair = pair_of(item)
        if pair is not None and not pair.id.isascii():
            item.extra_keyword_matches.add(pair.id)
        if pair is not None and isinstance(item.parent, SuiteModule):
            describe(item, pair)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        options = self.suites.options
        if options.mode == "viz":
            self._keep(items, set())
        elif options.only:
            self._keep(items, self._selected(options.only))
        if not hasattr(config, "workerinput"):
            self.suites.raise_errors()

    def _keep(self, items: list[pytest.Item], wanted: set[str]) -> None:
        """Ordinary tests are not ours to deselect."""
        out = [item for item in items if (pair := pair_of(item)) and pair.whole.full_id not in wanted]
        if out:
            self.config.hook.pytest_deselected(items=out)
            gone = set(map(id, out))
            items[:] = [item for item in items if id(item) not in gone]

    def _selected(self, only: str) -> set[str]:
        from pytest_evalrun.evaluation.selection import select

        def choose() -> list[str]:
            pairs = [pair for suite in self.suites.found.values() for pair in suite.pairs]
            return sorted(select(only, pairs, self.suites.options.workdir, self.suites.options.run))

        return self.suites.selected(choose)


def _names(argnames: str | Sequence[str], *_: Any, **__: Any) -> Sequence[str]:
    """The names of a call of ``parametrize``."""
    return [name.strip() for name in argnames.split(",")] if isinstance(argnames, str) else argnames


def _pair_for(request: pytest.FixtureRequest, name: str) -> Pair:
    """The pair of the test that asks; items are made before it can ask by ``getfixturevalue``."""
    pair = pair_of(request.node)
    if pair is None:
        text = (
            f"fixture {name!r}: this test is not about a pair: it must name the fixture in its arguments or in "
            f"@pytest.mark.usefixtures({name!r}), be a function or a method, and have a suite with pairs above it"
        )
        raise Failure(text, text)
    return pair


def _need(item: pytest.Item, pair: Pair | None) -> Need:
    try:
        return asked(item, pair)
    except ConfigError as error:
        raise failure(error) from None


def _own_name(item: Any, pair: Pair) -> str:
    """The function's name, and its other parameters where it has any: each variant keeps its own values."""
    own, *others = parameter_ids(item)
    if own not in (pair.id, escaped_id(pair.id)):  # somebody else gives the pairs, and calls them as he likes
        others = [own, *others]
    return f"{item.originalname}[{'-'.join(others)}]" if others else str(item.originalname)


def register(config: pytest.Config, suites: Suites) -> None:
    """Switch on what this process needs: items and worker where items are collected, the controller where they end."""
    if not hasattr(config, "workerinput"):
        from pytest_evalrun.plugin.controller import controller

        launching = controller(config, suites)
        if GITHUB & os.environ.keys():
            from pytest_evalrun.plugin.ci import GithubPlugin

            config.pluginmanager.register(GithubPlugin(launching), "evalrun-ci")
        if suites.options.notify is not None:
            from pytest_evalrun.plugin.notifying import register_notifying

            register_notifying(launching, at_once=distributes(config))
        if suites.options.cluster.engine != "local" and suites.options.cluster.job is None:
            from pytest_evalrun.plugin.engine.launch import PLUGIN, EngineLaunch

            launching.engine = EngineLaunch(launching)
            config.pluginmanager.register(launching.engine, PLUGIN)
    if not distributes(config):
        worker = WorkerPlugin(config, suites)
        config.pluginmanager.register(worker, "evalrun-worker")
        config.pluginmanager.register(Items(config, suites, worker), "evalrun-items")


def distributes(config: pytest.Config) -> bool:
    """Say whether this process only hands out items to xdist workers."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return False
    return config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))


__all__ = ["EvaluationResult", "Items", "distributes", "register"]
