"""The suites of a run as they are today: which of its pairs are no longer on disk, and which are skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.runs import read_run_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.discovery import Suite
    from pytest_evalrun.suite.pairs import Pair


@dataclass(frozen=True)
class OnDisk:
    """The pairs of each suite that could be asked, by task and dataset, with the reason where one is skipped."""

    suites: Mapping[str, Mapping[tuple[str, str], str | None]]

    def is_gone(self, suite: str, task: str, dataset: str) -> bool:
        """True for a pair that its suite no longer has; pairs of a suite that nobody knows are not gone."""
        return suite in self.suites and (task, dataset) not in self.suites[suite]

    @property
    def skips(self) -> dict[str, str]:
        """Full id → why it is skipped."""
        return {
            f"{suite}/{task}/{dataset}": why
            for suite, pairs in self.suites.items()
            for (task, dataset), why in pairs.items()
            if why is not None
        }


def on_disk(paths: RunPaths, found: Iterable[Suite] = ()) -> OnDisk:
    """Ask the suites that the run's manifest names; ``found`` are suites that were discovered already.

    Raises ConfigError where a suite's file is there and wrong: then nobody can say what is gone.
    """
    there = {suite.name: _pairs(suite.pairs) for suite in found}
    for name, file in read_run_json(paths).get("suites", {}).items():
        if name not in there:
            from pytest_evalrun.suite.discovery import discover  # 0.1 s, which no session pays that found its suites

            path = paths.root / file  # relative, so that a copied tree finds its own suites
            there[name] = _pairs(discover(path.resolve()).pairs if path.is_file() else ())
    return OnDisk(there)


def _pairs(pairs: Iterable[Pair]) -> dict[tuple[str, str], str | None]:
    return {(pair.task.name, pair.dataset.name): pair.skip for pair in pairs}
