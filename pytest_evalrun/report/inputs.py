"""What the samples of a run were asked: read anew from the suites that the run names, as they are today."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.samplelines import Inputs
from pytest_evalrun.rundir.runs import read_run_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import Pair


def inputs_in(paths: RunPaths) -> Callable[[str, str, str], Inputs]:
    """Make what gives the inputs of a pair by its names: none where its suite is no longer there to say so."""
    named = pairs_in(paths)

    def inputs(suite: str, task: str, dataset: str) -> Inputs:
        pair = named(suite, task, dataset)
        return Inputs() if pair is None else inputs_of(pair)

    return inputs


def pairs_in(paths: RunPaths) -> Callable[[str, str, str], Pair | None]:
    """A pair by its names, as the suites of the run have it today; a suite that is wrong has none."""
    from pytest_evalrun.suite.discovery import discover  # 0.1 s

    files = read_run_json(paths).get("suites", {})

    @cache
    def pairs(suite: str) -> dict[tuple[str, str], Pair]:
        # Relative to the run, as the manifest has it: a copied tree finds its own suites.
        file = (paths.root / files.get(suite, "")).resolve()
        try:
            found = discover(file).pairs if os.path.isfile(file) else ()  # noqa: PTH113 - whatever the name is
        except ConfigError:
            return {}
        return {(pair.task.name, pair.dataset.name): pair for pair in found}

    return lambda suite, task, dataset: pairs(suite).get((task, dataset))


def inputs_of(pair: Pair) -> Inputs:
    """The inputs of a pair of a suite, by the suite's reader."""
    from pytest_evalrun.datasets import create_reader

    settings = pair.settings

    def samples() -> Iterator[tuple[str, Any]]:
        return ((sample.id, sample.input) for sample in create_reader(pair.dataset, settings, pair.root))

    several = settings.suffixes if len(settings.suffixes) > 1 else ()
    return Inputs(settings.inputs or several, samples)
