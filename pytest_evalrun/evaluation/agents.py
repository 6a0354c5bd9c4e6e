"""What is known of an agent's pair besides scores: how its samples ended, and what its task says of them all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.agentoverall import is_whole, read_overall
from pytest_evalrun.rundir.results import FAILED_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.predictions import Line
    from pytest_evalrun.suite.pairs import Pair

# The metric that is the task's own.
OVERALL = "overall"


def lacks_overall(pair: Pair, paths: PairPaths) -> bool:
    """Tell whether the task must be asked for what a metric wants of it, though all samples have ended."""
    settings = pair.settings
    wanted = settings.is_agent and any(spec.use == OVERALL for spec in settings.metrics)
    return wanted and not is_whole(read_overall(paths.agent.overall))


class StatusTally:
    """Counts lines of an agent by the status of its task server; those that came to nothing have failed."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, lines: Iterable[Line]) -> None:
        """Take lines into account; one whose prediction is no agent's has no status."""
        for line in lines:
            if line.status != "ok":
                self._counts[FAILED_SAMPLES] += 1
            elif isinstance(line.prediction, dict) and isinstance(status := line.prediction.get("status"), str):
                self._counts[status] += 1

    def to_json(self) -> dict[str, int] | None:
        """Write it as it stands in a result, the most common first; None where nothing was counted."""
        failed = self._counts[FAILED_SAMPLES]
        told = {name: count for name, count in self._counts.most_common() if count and name != FAILED_SAMPLES}
        return told | ({FAILED_SAMPLES: failed} if failed else {}) or None
