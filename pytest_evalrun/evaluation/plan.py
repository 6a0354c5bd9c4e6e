"""What is there of a pair against what is wanted: what would be done with it, and why. Nothing is read here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.differences import difference

if TYPE_CHECKING:
    from pytest_evalrun.evaluation.fingerprint import Parts, WantedPair
    from pytest_evalrun.rundir.aside import Aside
    from pytest_evalrun.rundir.differences import KnownTrees
    from pytest_evalrun.rundir.markers import Broken, Marker
    from pytest_evalrun.rundir.tally import Tally

NEW = "new"
# Before a plan can be carried out: what was put aside is wanted again, what is marked was damaged.
BACK, MEND = "back", "mend"


class Stored(Protocol):
    """What lies there of a pair. Most plans need little of it, so that whoever has it looks when it is asked for."""

    @property
    def marker(self) -> Marker | None:
        """The pair's own; None where there is none, or where it is damaged."""

    @property
    def parts(self) -> Parts | None:
        """The parts that the predictions were made from, by the fingerprint beside them."""

    @property
    def has_predictions(self) -> bool:
        """There are some, of the pair or of its shards."""

    @property
    def aside(self) -> Aside | None:
        """The predictions that were put aside last."""

    @property
    def is_half_aside(self) -> bool:
        """Those were put aside half: the rest still lies here."""

    @property
    def aside_holds(self) -> bool:
        """All of those is there, as it was; for this they are read."""

    @property
    def broken(self) -> Broken | None:
        """The first file that is not what the marker says."""

    @property
    def can_be_mended(self) -> bool:
        """That file is the predictions, and something of them is left to be kept."""

    def tally(self, count: int, generations: int) -> Tally:
        """Find out which of so many answers are there; for this the predictions are read."""


@dataclass(frozen=True)
class Plan:
    """What would be done with a pair, and why: ``reuse``, ``score``, ``resume`` or ``run``.

    Before one of these, ``back`` and ``mend``: of predictions put aside, of predictions that were damaged.
    """

    action: str
    reason: str
    wanted: WantedPair
    marker: Marker | None


def plan_of(stored: Stored, wanted: WantedPair, trees: KnownTrees) -> Plan:
    """Decide by what lies there now. Raises PairError where the predictions may be good and cannot be read."""
    action, reason = _decide(stored, wanted, trees)
    return Plan(action, reason, wanted, stored.marker)


def _decide(stored: Stored, wanted: WantedPair, trees: KnownTrees) -> tuple[str, str]:
    marker = stored.marker
    made_from = marker.fingerprint["prediction"] if marker else stored.parts
    if made_from is None:
        return "run", "re-run: its fingerprint is missing" if stored.has_predictions else NEW
    changed = difference(made_from, wanted.prediction, trees)
    # Where predictions lie there that are not wanted, or were put aside half: those that are may lie aside.
    if changed or marker is None:
        aside = stored.aside
        if aside is not None and (changed or stored.is_half_aside):
            since = difference(aside.stored.parts, wanted.prediction, trees)
            if since is None and stored.aside_holds:
                return BACK, f"found again: its predictions were put aside ({changed or 'half of them'})"
            if since and marker is None and aside.marker is not None:
                # The reason tells it from the last complete evaluation: after a dataset that was damaged for a while,
                # a model that changed is the model.
                changed = since
        if changed:
            return "run", f"re-run: {changed}"
    if marker is None:
        return _unmarked(stored, wanted)
    if stored.broken is not None:
        return _broken(stored, stored.broken)
    if changed := difference(marker.fingerprint["score"], wanted.score, trees):
        return "score", f"scored again: {changed}"
    return "reuse", f"reused: unchanged since {marker.time}"


def _unmarked(stored: Stored, wanted: WantedPair) -> tuple[str, str]:
    """Decide by how far predictions came that have no marker; of a shard its range tells."""
    if wanted.is_shard:
        return "resume", NEW
    found, count = stored.tally(wanted.count, wanted.generations), wanted.count
    if found.done_count == count:
        return "score", f"scored: all {count} samples were predicted before"
    failed = "" if found.done_count else f": {found.failed_count} failed before"
    return "resume", f"resumed at {found.done_count} of {count} samples{failed}" if found.seen_count else NEW


def _broken(stored: Stored, broken: Broken) -> tuple[str, str]:
    """Decide what a file costs that is not what the marker says: scores and results are made of the predictions."""
    if not stored.can_be_mended:
        return "score", f"scored again: {broken}"
    if broken.is_unreadable:
        raise PairError(f"{broken}; make it readable, or remove it: then its samples are asked again")
    return MEND, f"re-run: {broken}"
