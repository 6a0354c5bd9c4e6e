"""When a process that was told to leave may do so."""

from __future__ import annotations

import pytest

from pytest_evalrun.predicting.leaving import Leaving


@pytest.mark.parametrize(
    ("patient", "asked", "asking", "waits", "stops"),
    [
        pytest.param(False, True, True, False, False, id="a session of a person ends at once"),
        pytest.param(True, False, True, True, False, id="a job that nobody told to leave goes on"),
        pytest.param(True, True, True, True, True, id="a job finishes what it has asked, and asks no more"),
        pytest.param(True, True, False, False, True, id="a job that asks nothing leaves at once"),
    ],
)
def test_only_a_job_waits_and_only_for_what_it_has_asked(patient, asked, asking, waits, stops):
    """Nobody breaks in on a batch that is under way in a job, and no other one begins."""
    leaving = Leaving(patient=patient)
    leaving.asked = asked
    if asking:
        with leaving.asking():
            assert (leaving.waits, leaving.stops) == (waits, stops)
    assert (leaving.waits, leaving.stops) == ((waits, stops) if not asking else (False, stops))
