"""What readers of test reports learn of an evaluation: numbers as numbers, all else as text with its unit."""

from __future__ import annotations

from types import SimpleNamespace

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
    verdicts = [GateVerdict("top1", "min", 0.91, 0.94, 0.03), GateVerdict("top1", "max_drop", 0.91, 0.91, 0.0)]
    usage = {"requests": 10, "cost": 0.0103, "currency": "USD"}
    assert list(properties_of(evaluation(metrics, verdicts, failed=2, usage=usage))) == [
        ("top1", 0.91),
        ("top1.interval", "[0.85, 0.95] at 95 %"),
        ("top1.samples", "8 samples"),
        ("gate.top1.min", "breached: 0.91 < 0.94 by 0.03"),
        ("gate.top1.max_drop", "holds: 0.91 = 0.91"),
        ("samples", "8 of 10 samples, 2 failed"),
        ("seconds", "12.3457 s"),
        ("seconds.p50", "0.01 s"),
        ("cost", "0.0103 USD"),
    ]


def test_what_is_not_known_is_left_out():
    """A metric of the user's own may have no interval; and its number is one that travels from a worker."""
    told = dict(properties_of(evaluation({"own": {"value": Share(0.5), "low": None, "high": None}})))
    assert told.keys() == {"own", "samples", "seconds", "seconds.p50"}
    assert type(told["own"]) is float


def test_of_inference_alone_nothing_is_told():
    """There is no result."""
    assert list(properties_of(SimpleNamespace(result=None, verdicts=[]))) == []
