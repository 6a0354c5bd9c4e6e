"""Gates that matter so much that a pair is not even asked where they cannot PASS."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_evalrun.comparison.beforehand import gates_before
from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.enginepaths import launched_run
from pytest_evalrun.rundir.layout import RunPaths, WorkDir
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.suite.pairs import Pair


def check_possible(pair: Pair, paths: PairPaths, count: int) -> None:
    """Raise PairError where a critical gate cannot PASS with so many samples, whatever the model says.

    ``pair`` is a whole one, and ``paths`` its files in the run.
    """
    run = launched_run(RunPaths(paths.run))
    found = gates_before([pair], WorkDir(run.root.parent), run, lambda _: count)
    for gate in (replace(outlook, n=count) for outlook in found.outlooks):
        if gate.fatal:
            against = f" against {gate.baseline}" if gate.baseline else " by its interval"
            what = f"gate on {gate.metric}: {gate.kind} {gate.limit}{against} is critical, and cannot PASS"
            needs = f"with {counted(count, 'sample')}: it needs {gate.least:,} where nothing got better"
            remedy = "more samples, a wider limit, a lower confidence, or `tier: supporting`"
            raise PairError(f"{what} {needs}; the model was not asked; accepted: {remedy}")
