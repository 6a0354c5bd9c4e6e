"""What would be done with a pair, decided without a look at anything but what is handed over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.fingerprint import WantedPair
from pytest_evalrun.evaluation.plan import plan_of
from pytest_evalrun.rundir.aside import Aside
from pytest_evalrun.rundir.markers import Broken, Marker, StoredFingerprint
from pytest_evalrun.rundir.tally import Tally

MODEL, OTHER, THIRD = {"model": "a"}, {"model": "b"}, {"model": "a", "adapter": "x"}
SCORE, OTHER_SCORE = {"references": "1"}, {"references": "2"}
FILES = {"predictions/p.jsonl": {"size": 1, "mtime_ns": 1, "sha256": ""}}


class Untouched:
    """Of a pair that has nothing: whatever else a plan asks for is a look too many."""

    marker = parts = None
    has_predictions = False


def marked(prediction=MODEL, score=SCORE):
    return Marker("2026-01-01", {"prediction": prediction, "score": score}, FILES)


def aside(parts, *, complete=False):
    return Aside(StoredFingerprint(parts, "launch"), {}, marked(parts) if complete else None)


def stored(**known):
    """What lies there; to ask for anything that is not named here is an error."""
    return type("Stored", (Untouched,), known)()


def begun(done=0, failed=0):
    """Predictions without a marker, of which so many samples are there."""
    found = Tally(6)
    for index in range(done + failed):
        found.note(index, index < done)
    return {"parts": MODEL, "aside": None, "tally": lambda *_: found}


LOST, GONE = Broken("predictions/p.jsonl", "changed after it was marked"), Broken("results/p.json", "is missing")
PLANS = {
    "nothing": ({}, ("run", "new")),
    "predictions of nobody knows what": ({"has_predictions": True}, ("run", "re-run: its fingerprint is missing")),
    "complete": ({"marker": marked(), "broken": None}, ("reuse", "reused: unchanged since 2026-01-01")),
    "other labels": (
        {"marker": marked(score=OTHER_SCORE), "broken": None},
        ("score", "scored again: references changed"),
    ),
    "another model": ({"marker": marked(OTHER), "aside": None}, ("run", "re-run: model changed")),
    "damaged predictions": (
        {"marker": marked(), "broken": LOST, "can_be_mended": True},
        ("mend", "re-run: predictions/p.jsonl changed after it was marked"),
    ),
    "damaged result": (
        {"marker": marked(), "broken": GONE, "can_be_mended": False},
        ("score", "scored again: results/p.json is missing"),
    ),
    "damage to what is not wanted": (
        {"marker": marked(OTHER), "aside": None, "broken": LOST},
        ("run", "re-run: model changed"),
    ),
    "begun": (begun(), ("resume", "new")),
    "half": (begun(3), ("resume", "resumed at 3 of 6 samples")),
    "only failures": (begun(0, 2), ("resume", "resumed at 0 of 6 samples: 2 failed before")),
    "all predicted": (begun(6), ("score", "scored: all 6 samples were predicted before")),
    "set back": (
        {"marker": marked(OTHER), "aside": aside(MODEL), "aside_holds": True},
        ("back", "found again: its predictions were put aside (model changed)"),
    ),
    "set back, and damaged": (
        {"marker": marked(OTHER), "aside": aside(MODEL), "aside_holds": False},
        ("run", "re-run: model changed"),
    ),
    "half aside": (
        {"parts": MODEL, "aside": aside(MODEL), "is_half_aside": True, "aside_holds": True},
        ("back", "found again: its predictions were put aside (half of them)"),
    ),
    "since the last complete one": (
        {"parts": OTHER, "aside": aside(THIRD, complete=True)},
        ("run", "re-run: adapter changed"),
    ),
    "since one that never ended": ({"parts": OTHER, "aside": aside(THIRD)}, ("run", "re-run: model changed")),
}


@pytest.mark.parametrize(("known", "expected"), PLANS.values(), ids=PLANS)
def test_a_plan_is_made_of_what_is_stored_and_what_is_wanted(known, expected):
    """Each with its reason, and nothing is asked for that the plan does not depend on: looks cost."""
    planned = plan_of(stored(**known), wanted(), SimpleNamespace())
    assert (planned.action, planned.reason) == expected


def test_a_shard_begins_without_a_look_at_predictions():
    """How far its own range came is found out when it is done."""
    assert plan_of(stored(parts=MODEL, aside=None), wanted(is_shard=True), SimpleNamespace()).reason == "new"


def test_predictions_that_cannot_be_read_are_an_error():
    """They may be what they were: nobody asks for them again unless they are removed."""
    shut = Broken("predictions/p.jsonl", "cannot be read: Permission denied")
    with pytest.raises(PairError, match="Permission denied; make it readable, or remove it"):
        plan_of(stored(marker=marked(), broken=shut, can_be_mended=True), wanted(), SimpleNamespace())


def wanted(**settings):
    return WantedPair(SimpleNamespace(), 6, 6, MODEL, SCORE, **settings)
