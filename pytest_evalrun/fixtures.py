"""What a suite brings to pytest: items, the fixtures ``pair`` and ``evaluation``, selection by state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.collect import SUITE_FILE, SuiteModule, Suites, escaped, params
from pytest_evalrun.units import asked
from pytest_evalrun.worker import Worker, pair_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_evalrun.evaluation.boards import HeldBoard
    from pytest_evalrun.evaluation.life import Evaluation
    from pytest_evalrun.rundir.predictions import Line
    from pytest_evalrun.rundir.results import Result
    from pytest_evalrun.slots.gpus import Gpu
    from pytest_evalrun.suite.pairs import Pair


class EvaluationResult:
    """What the ``evaluation`` fixture gives to a test: metrics, gates, predictions, and a place for own metrics."""

    def __init__(self, evaluation: Evaluation, worker: Worker, test: str) -> None:
        self._evaluation = evaluation
        self._worker = worker
        self._test = test
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

        return stored_predictions(self.pair, self._worker.context)

    def check_gates(self) -> None:
        """Fail the test with a table when a gate of the suite is breached."""
        __tracebackhide__ = True
        from pytest_evalrun.evaluation.gates import breach_table

        breached = self._evaluation.breached
        if breached:
            noun = "gate" if len(breached) == 1 else "gates"
            table = breach_table(breached)
            pytest.fail(f"{self.pair.full_id}: {len(breached)} {noun} breached\n{table}", pytrace=False)

    def record(self, name: str, value: Any) -> None:
        """Keep a value of this test's own in ``results/<suite>/<task>/<dataset>/<test name>.json``."""
        from pytest_evalrun.evaluation.stored import record_own

        self._recorded[name] = value
        record_own(self.pair, self._worker.context, self._test, self._recorded)


class Items:
    """Registered when the first suite is found, on whatever process collects."""

    def __init__(self, config: pytest.Config, suites: Suites, worker: Worker) -> None:
        self.config = config
        self.suites = suites
        self.worker = worker

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        if file_path.name != SUITE_FILE:
            return None
        return SuiteModule.from_parent(parent, path=file_path)

    @pytest.fixture
    def pair(self, request: pytest.FixtureRequest) -> Pair:
        """One model x one dataset of the suite: names, paths and settings."""
        pair: Pair = request.param
        return pair

    @pytest.fixture
    def evaluation(self, request: pytest.FixtureRequest, pair: Pair) -> EvaluationResult:
        """The pair evaluated, or reused when nothing changed: metrics, gates, predictions."""
        evaluation = self.worker.evaluate(request.node, pair)
        return EvaluationResult(evaluation, self.worker, _own_name(request.node, pair))

    @pytest.fixture
    def gpus(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gpu, ...]]:
        """GPUs of the test's own, as many as its marker or its pair asks for; CUDA_VISIBLE_DEVICES names them."""
        if "evaluation" in request.fixturenames:
            # First: its model needs GPUs for itself, which it would never get while this test has them.
            request.getfixturevalue("evaluation")
        pair = pair_of(request.node)
        with self.worker.lease(asked(request.node, pair), pair) as lease:
            for name, value in lease.environment().items():
                monkeypatch.setenv(name, value)
            yield lease.gpus

    @pytest.fixture
    def device(self, request: pytest.FixtureRequest, pair: Pair) -> Iterator[HeldBoard]:
        """A board for the test's own use, one with the labels of its pair: ``device.run("uname", "-a").text``."""
        if "evaluation" in request.fixturenames:
            # First: its model may need the only board there is, which goes back before the test gets it.
            request.getfixturevalue("evaluation")
        if "gpus" in request.fixturenames:  # always in this order, or two tests could wait for each other
            request.getfixturevalue("gpus")
        with self.worker.board(pair) as board:
            yield board

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every function that asks for a pair gets those of the nearest suite above it."""
        if "pair" not in metafunc.fixturenames:
            return
        path = metafunc.definition.path
        own = path.name == SUITE_FILE
        suite = self.suites.load(str(path)) if own else self.suites.suite_above(path)
        metafunc.parametrize("pair", list(params(suite, shards=own)) if suite else [], indirect=True)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """pytest escapes ids that are not ASCII; ``-k`` finds them by their raw names too."""
        pair = pair_of(item)
        if pair is not None and not pair.id.isascii():
            item.extra_keyword_matches.add(pair.id)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        options = self.suites.options
        if options.mode == "viz":
            self._keep(items, set())
        elif options.only:
            self._keep(items, self._selected(options.only))
        if not hasattr(config, "workerinput"):
            self.suites.raise_errors()
        self.suites.publish_places(items)

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


def _own_name(item: Any, pair: Pair) -> str:
    """The function's name, and its other parameters where it has any: each variant keeps its own values."""
    own = pair.id if pair.id in item.callspec.id else escaped(pair.id)
    before, _, after = f"-{item.callspec.id}-".partition(f"-{own}-")
    others = f"{before}-{after}".strip("-")
    return f"{item.originalname}[{others}]" if others else str(item.originalname)


def register(config: pytest.Config, suites: Suites) -> None:
    """Switch on what this process needs: items and worker where items are collected, the controller where they end."""
    from pytest_evalrun.session import controller

    if not hasattr(config, "workerinput"):
        controller(config)
    if not distributes(config):
        worker = Worker(config, suites)
        config.pluginmanager.register(worker, "evalrun-worker")
        config.pluginmanager.register(Items(config, suites, worker), "evalrun-items")


def distributes(config: pytest.Config) -> bool:
    """Whether this process only hands out items to xdist workers."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return False
    return config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))


__all__ = ["EvaluationResult", "Items", "distributes", "register"]
