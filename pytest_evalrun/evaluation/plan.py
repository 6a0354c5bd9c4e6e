"""What is there of a pair against what is wanted: what would be done with it, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.datasets import create_reader
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.fingerprint import difference, prediction_parts, score_parts
from pytest_evalrun.evaluation.shards import anything, peek
from pytest_evalrun.rundir.aside import read_aside
from pytest_evalrun.rundir.fingerprints import read_fingerprint
from pytest_evalrun.rundir.markers import DAMAGED, Marker, read_marker
from pytest_evalrun.rundir.results import read_result

if TYPE_CHECKING:
    from pytest_evalrun.datasets.protocol import Identity, Reader
    from pytest_evalrun.evaluation.context import Context
    from pytest_evalrun.evaluation.fingerprint import Parts
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.markers import Broken
    from pytest_evalrun.rundir.results import Result
    from pytest_evalrun.suite.pairs import Pair

NEW = "new"
# Before a plan can be carried out: what was put aside is wanted again, what is marked was damaged.
BACK, MEND = "back", "mend"


@dataclass(frozen=True)
class Plan:
    """What would be done with a pair, and why: ``reuse``, ``score``, ``resume`` or ``run``.

    Before one of these, ``back`` and ``mend``: of predictions put aside, of predictions that were damaged. ``count``
    samples are evaluated: the dataset, or as many of its first as are asked for.
    """

    action: str
    reason: str
    reader: Reader
    identity: Identity
    count: int
    prediction: Parts
    score: Parts
    marker: Marker | None


class Planner:
    """Plans one pair, or one shard; changes nothing, and reads data only through the hash cache."""

    def __init__(self, pair: Pair, context: Context, paths: PairPaths) -> None:
        self._pair = pair
        self._context = context
        self._paths = paths
        self._hashes = context.hashes(pair.settings.fingerprint)

    def plan(self) -> Plan:
        """By what lies there now. Raises PairError where data or predictions cannot be read."""
        reader = create_reader(self._pair.dataset, self._pair.settings, self._pair.root)
        identity = self._context.identity(self._pair, reader)
        limit = self._pair.settings.limit
        count = identity.count if limit is None else min(limit, identity.count)
        prediction = prediction_parts(self._pair, identity, self._hashes)
        score = score_parts(self._pair, identity, self._hashes)
        marker = self._marker()
        action, reason = self._decide(count, prediction, score, marker)
        return Plan(action, reason, reader, identity, count, prediction, score, marker)

    def distrusts(self, marker: Marker) -> bool:
        """Markers from before an unclean end are believed by content only; to the second, as markers say it."""
        distrust = self._context.launch.distrust
        return distrust is not None and marker.time[:19] <= distrust[:19]

    def result_of(self, plan: Plan) -> Result | None:
        """The result that lies there, if it is of these predictions: of some that came back it may be of others."""
        result = read_result(self._paths.result)
        made_from = result.fingerprint.get("prediction", {}) if result else {}
        return None if difference(made_from, plan.prediction, self._hashes) else result

    def _marker(self) -> Marker | None:
        marker = read_marker(self._paths.marker)
        if marker is not None and not marker.vouches_for(self._paths.whole):
            marker = None
        if marker is None and self._paths.marker.exists():
            self._context.warn(f"{self._pair.full_id}: {self._paths.marker.name} is damaged; the pair is scored again")
        return marker

    def _decide(self, count: int, prediction: Parts, score: Parts, marker: Marker | None) -> tuple[str, str]:
        stored = marker.fingerprint["prediction"] if marker else self._stored_parts()
        if stored is None:
            return "run", "re-run: its fingerprint is missing" if anything(self._paths) else NEW
        changed = difference(stored, prediction, self._hashes)
        if (changed or marker is None) and (found := self._aside(changed, prediction, marker)):
            return found
        if marker is None:
            return self._unmarked(count)
        if broken := marker.broken(self._paths.run, by_hash=self.distrusts(marker)):
            return self._damage(broken)
        if changed := difference(marker.fingerprint["score"], score, self._hashes):
            return "score", f"scored again: {changed}"
        return "reuse", f"reused: unchanged since {marker.time}"

    def _stored_parts(self) -> Parts | None:
        stored = read_fingerprint(self._paths.fingerprint)
        return stored.parts if stored else None

    def _aside(self, changed: str | None, wanted: Parts, marker: Marker | None) -> tuple[str, str] | None:
        """Where predictions lie there that are not wanted, or were put aside half: those that are may lie aside.

        A re-run has the reason that tells it from the last complete evaluation: after a dataset that was damaged for
        a while, a model that changed is the model.
        """
        aside = read_aside(self._paths)
        if aside is not None and (changed or aside.stored == read_fingerprint(self._paths.fingerprint)):
            since = difference(aside.stored.parts, wanted, self._hashes)
            if since is None and aside.holds(self._paths):
                return BACK, f"found again: its predictions were put aside ({changed or 'half of them'})"
            if since and marker is None and aside.marker is not None:
                changed = since
        return ("run", f"re-run: {changed}") if changed else None

    def _unmarked(self, count: int) -> tuple[str, str]:
        """Predictions of this very fingerprint, but no marker: how far did they come? Of a shard its range tells."""
        if self._pair.cut is not None:
            return "resume", NEW
        found = peek(self._paths, count)
        if found.done_count == count:
            return "score", f"scored: all {count} samples were predicted before"
        failed = "" if found.done_count else f": {found.failed_count} failed before"
        return "resume", f"resumed at {found.done_count} of {count} samples{failed}" if found.seen_count else NEW

    def _damage(self, broken: Broken) -> tuple[str, str]:
        """Where a file is not what the marker says: scores and results are made of the predictions.

        Raises PairError where the predictions may be what they were and cannot be read.
        """
        path = self._paths.whole.predictions
        aside = path.with_name(path.name + DAMAGED)
        if self._paths.run / broken.name != path or (broken.is_missing and not aside.exists()):
            return "score", f"scored again: {broken}"
        if broken.is_unreadable:
            raise PairError(f"{broken}; make it readable, or remove it: then its samples are asked again")
        return MEND, f"re-run: {broken}"
