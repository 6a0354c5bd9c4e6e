"""What the samples of a run were asked: read anew from the suites that the run names, as they are today."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.samplelines import Inputs
from pytest_evalrun.rundir.suites import pairs_in

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


def inputs_of(pair: Pair) -> Inputs:
    """The inputs of a pair of a suite, by the suite's reader."""
    from pytest_evalrun.datasets import create_reader

    settings = pair.settings

    def samples() -> Iterator[tuple[str, Any]]:
        return ((sample.id, sample.input) for sample in create_reader(pair.dataset, settings, pair.root))

    several = settings.suffixes if len(settings.suffixes) > 1 else ()
    return Inputs(settings.inputs or several, samples)
