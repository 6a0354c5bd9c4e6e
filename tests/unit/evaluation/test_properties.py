"""What readers of test reports learn of an evaluation: numbers as numbers, all else as text with its unit."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_evalrun.evaluation.gates import GateVerdict
from pytest_evalrun.evaluation.properties import properties_of
from pytest_evalrun.rundir.results import Result


class Share(float):
    """What a user's metric may answer."""


def evaluation(metrics, verdicts=(), failed=0, **more):
    samples = {"total": 10, "predicted": 10 - failed, "failed": failed, "reused": 0}
    seconds = {"total": 12.345678, "p50": 0.01, "p95": None}
    result = Result("s", "t", "d", "passed", metrics, samples, seconds, [], {}, {}, **more)
    return SimpleNamespace(result=result, verdicts=list(verdicts))


def test_all_that_is_known_is_told():
    """With units; of a gate whether it holds, and by what."""
    metrics = {"top1": {"value": 0.91, "n": 8, "low": 0.8500001, "high": 0.95}}
    verdicts = [
        GateVerdict("top1", "min", 0.91, 0.94, 0.03, "FAIL", False),
        GateVerdict("top1", "max_drop", 0.91, 0.91, 0.0),
    ]
    usage = {"requests": 10, "cost": 0.0103, "currency": "USD"}
    assert list(properties_of(evaluation(metrics, verdicts, failed=2, usage=usage))) == [
        ("top1", 0.91),
        ("top1.interval", "[0.85, 0.95] at 95 %"),
        ("top1.samples", "8 samples"),
        ("gate.top1.min", "FAIL: 0.91 < 0.94 by 0.03"),
        ("gate.top1.max_drop", "PASS: 0.91 = 0.91"),
        ("samples", "8 of 10 samples, 2 failed"),
        ("seconds", "12.3457 s"),
        ("seconds.p50", "0.01 s"),
        ("cost", "0.0103 USD"),
    ]


TOLD = {"interval": [-0.05, 0.0123456], "n": 180, "confidence": 0.9, "method": "Tango's score interval"}
RESTS = "-0.02 [-0.05, +0.01235], n=180 at 90 % by Tango's score interval; against main"
JUDGED = {
    "unsure and kept": (("INCONCLUSIVE", True, "supporting"), f"INCONCLUSIVE, holds: 0.91 < 0.94 by 0.03; {RESTS}"),
    "unsure and breached": (
        ("INCONCLUSIVE", False, "critical"),
        f"INCONCLUSIVE, breached: 0.91 < 0.94 by 0.03; {RESTS}",
    ),
    "advisory": (("FAIL", True, "advisory"), f"FAIL, holds: 0.91 < 0.94 by 0.03; {RESTS}"),
    "failed": (("FAIL", False, "critical"), f"FAIL: 0.91 < 0.94 by 0.03; {RESTS}"),
}


@pytest.mark.parametrize(("judged", "text"), JUDGED.values(), ids=JUDGED)
def test_what_a_gate_rests_on(judged, text):
    """The verdict, what the status follows where that is something else, numbers, interval, method and baseline."""
    gate = GateVerdict("top1", "max_drop", 0.91, 0.94, 0.03, *judged, TOLD | {"baseline": "main"}, -0.02)
    told = dict(properties_of(evaluation({"top1": {"value": 0.91}}, [gate])))
    assert told["gate.top1.max_drop"] == text


def test_an_undecided_gate_says_what_it_would_need():
    """Its interval alone may look like a verdict."""
    told = TOLD | {"why": "20 samples: 183 are needed"}
    for verdict, ends in (("INCONCLUSIVE", True), ("PASS", False)):
        gate = GateVerdict("top1", "max_drop", 0.95, 0.94, 0.0, verdict, True, "critical", told, 0.02)
        text = dict(properties_of(evaluation({"top1": {"value": 0.95}}, [gate])))["gate.top1.max_drop"]
        assert text.endswith("; 20 samples: 183 are needed") == ends


def test_what_is_not_known_is_left_out():
    """A metric of the user's own may have no interval; and its number is one that travels from a worker."""
    told = dict(properties_of(evaluation({"own": {"value": Share(0.5), "low": None, "high": None}})))
    assert told.keys() == {"own", "samples", "seconds", "seconds.p50"}
    assert type(told["own"]) is float


def test_of_inference_alone_nothing_is_told():
    """There is no result."""
    assert list(properties_of(SimpleNamespace(result=None, verdicts=[]))) == []
