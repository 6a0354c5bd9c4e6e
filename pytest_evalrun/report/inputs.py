"""What the samples of a run were asked: read anew from the suites that the run names, as they are today."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.rundir.suites import pairs_in

if TYPE_CHECKING:
    from collections.abc import Callable

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
    from pytest_evalrun.datasets.asked import asked_inputs, input_names

    return Inputs(input_names(pair.settings), partial(asked_inputs, pair))
