"""What reports carry: builtins only, and what they say of a pair."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from pytest_evalrun.comparison.conclusion import FAIL, INCONCLUSIVE, PASS
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.gates import GateVerdict
from pytest_evalrun.evaluation.steps import Evaluation
from pytest_evalrun.plugin.reports import (
    Failure,
    failure,
    make_crashed,
    make_safe,
    outcome_of,
    reason_of,
    shorten,
    stands,
    tell,
)
from pytest_evalrun.rundir.results import Result
from pytest_evalrun.rundir.tasklist import Status
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task
from pytest_evalrun.suite.secrets import Secrets

BREACH = GateVerdict("top1", "min", 0.5, 0.9, 0.4, FAIL, holds=False)


class Odd(float):
    """As a library's number may be."""


def pair(kind="suite", **settings):
    layers = (Layer(kind, "evalrun.yaml", settings),)
    return Pair("letters", "/", Task("a", None, "/"), Dataset("one", "/one"), layers)


def evaluated(verdicts=(), value=0.5):
    metrics = {"top1": {"value": Odd(value), "n": 4, "low": 0.1, "high": 0.9, "better": "higher", "table": {"x": 1}}}
    samples = {"total": 4, "predicted": 4, "failed": 0, "reused": 0}
    result = Result("letters", "a", "one", "passed", metrics, samples, {"total": 1.5}, [], {}, {})
    return Evaluation(pair(), result, False, "new", list(verdicts))


def inferred(reused=False):
    return Evaluation(pair(), None, reused, "new", predicted=4)


@pytest.mark.parametrize(
    ("skipped", "longrepr", "reason"),
    [
        pytest.param(
            True, ("pair_module.py", 11, "Skipped: no board: b1: no answer"), "no board: b1: no answer", id="skip"
        ),
        pytest.param(False, "Failed: m.onnx is empty\nin its log", "m.onnx is empty", id="text"),
        pytest.param(
            False, SimpleNamespace(reprcrash=SimpleNamespace(message="assert 1 == 2")), "assert 1 == 2", id="crash"
        ),
        pytest.param(False, "Failed: s/t/d: 1 gate breached\nmetric", "1 gate breached", id="named"),
        pytest.param(False, None, "", id="nothing"),
    ],
)
def test_why_there_is_no_result_is_one_line(skipped, longrepr, reason):
    """Whatever pytest has kept of it; who is told of the pair need not hear its name again."""
    assert reason_of(SimpleNamespace(skipped=skipped, longrepr=longrepr), "s/t/d") == reason


@pytest.mark.parametrize(
    ("error", "line"),
    [
        pytest.param(Failure("s/a/one: 1 gate breached\ntable", "top1 0.5 < 0.9"), "top1 0.5 < 0.9", id="gate"),
        pytest.param(
            failure(PairError("the program `p` failed", brief="exit code 3: why")), "exit code 3: why", id="own"
        ),
        pytest.param(failure(PairError("timed out after 1 s\nmore")), "timed out after 1 s", id="first line"),
        pytest.param(PairError("/data/a b/x.csv:3: label missing"), "x.csv:3: label missing", id="file"),
        pytest.param(AssertionError("assert 1 == 2"), "assert 1 == 2", id="a user's"),
    ],
)
def test_the_short_summary_begins_with_what_matters(error, line):
    """pytest cuts it by the terminal's width; what it shows above says everything."""
    with pytest.raises(type(error)) as caught:
        raise error
    report = SimpleNamespace(longrepr=caught.getrepr(style="value"), skipped=False)
    shorten(report, error)
    assert reason_of(report, "s/m/d") == line
    assert str(error) in str(report.longrepr)


def test_of_a_worker_that_died_it_says_how():
    """Of what was run in it nothing else is known."""
    report = SimpleNamespace(nodeid="e.yaml::test_pair[a/one]", location=("e.yaml", 0, "?"), skipped=False)
    make_crashed(report, pair(), "its worker gw1 died: it ended with exit code 3", "worker died: exit code 3")
    assert reason_of(report, "s/m/d") == "worker died: exit code 3"
    assert str(report.longrepr).strip() == "its worker gw1 died: it ended with exit code 3"


@pytest.mark.parametrize(
    ("report", "outcome"),
    [
        pytest.param({"passed": True, "when": "call"}, "passed", id="passed"),
        pytest.param({"when": "call"}, "failed", id="quality"),
        pytest.param({"when": "setup"}, "error", id="infrastructure"),
        pytest.param({"when": "teardown"}, "error", id="at the end"),
        pytest.param({"skipped": True, "when": "setup"}, "skipped", id="skipped"),
    ],
)
def test_failed_always_means_quality(report, outcome):
    """Trouble in a fixture is an error."""
    report = {"passed": False, "skipped": False} | report
    assert outcome_of(SimpleNamespace(**report)) == outcome


def test_a_report_tells_the_essentials():
    """Names, metrics with their intervals, samples and seconds; of tables and other large things nothing."""
    assert tell(pair(limit=3), evaluated([BREACH]), worker="gw1", test=None, evaluates=True) == {
        "pair": "letters/a/one",
        "worker": "gw1",
        "suite_item": True,
        "test": None,
        "evaluates": True,
        "limit": 3,
        "quick_look": False,
        "shard": False,
        "reused": False,
        "reason": "new",
        "scored": True,
        "breached": True,
        "predicted": 0,
        "metrics": {"top1": [0.5, 0.1, 0.9]},
        "samples": {"total": 4, "predicted": 4, "failed": 0, "reused": 0},
        "seconds": 1.5,
    }


@pytest.mark.parametrize(
    ("verdict", "tier", "told"),
    [
        pytest.param(INCONCLUSIVE, "critical", {"unsure": ["top1"]}, id="open"),
        pytest.param(INCONCLUSIVE, "advisory", {}, id="open, and decides nothing"),
        pytest.param(FAIL, "advisory", {"advisory": ["top1 0.5 < 0.9"]}, id="advisory"),
        pytest.param(FAIL, "supporting", {}, id="told by its failure"),
        pytest.param(PASS, "critical", {}, id="passed"),
    ],
)
def test_a_report_tells_of_gates_what_the_outcome_does_not(verdict, tier, told):
    """Which metrics an interval leaves open, and what is missed that fails nothing."""
    judged = [replace(BREACH, verdict=verdict, tier=tier, holds=tier == "advisory")] * 2
    report = tell(pair(), evaluated(judged), worker="gw1", test=None, evaluates=True)
    assert {name: report[name][:1] for name in ("unsure", "advisory") if name in report} == told


def test_only_builtins_travel():
    """A subclass of float would end the session of a distributed run."""
    told = tell(pair(), evaluated(), worker="main", test=None, evaluates=True)
    assert type(told["metrics"]["top1"][0]) is float


def test_without_an_evaluation_there_is_little_to_tell():
    """An error before it, or inference alone."""
    told = tell(pair(), None, worker="main", test=None, evaluates=True)
    assert "scored" not in told
    told = tell(pair(), inferred(), worker="main", test=None, evaluates=True)
    assert (told["scored"], told["predicted"], "metrics" in told) == (False, 4, False)


STANDS = {
    "passed": ("passed", evaluated(), {}, Status.COMPLETED),
    "a gate is breached": ("failed", evaluated([BREACH]), {}, Status.FAILED),
    "error": ("error", None, {}, Status.FAILED),
    "inferred": ("passed", inferred(), {}, Status.PENDING),
    "skipped": ("skipped", None, {}, Status.PENDING),
    "a user's function is skipped": ("skipped", None, {"test": "test_own"}, None),
    "reused by inference": ("passed", inferred(reused=True), {}, None),
    "skipped under a limit": ("skipped", None, {"pair": pair("command line", limit=3)}, None),
    "limited by --eval-limit": ("passed", evaluated(), {"pair": pair("command line", limit=3)}, None),
    "limited by --eval-set": ("failed", evaluated([BREACH]), {"pair": pair("--eval-set", limit=3)}, None),
    "limited by EVALRUN_LIMIT": ("passed", evaluated(), {"pair": pair("environment", limit=3)}, None),
    "limited by its suite": ("passed", evaluated(), {"pair": pair(limit=3)}, Status.COMPLETED),
    "not limited after all": ("passed", evaluated(), {"pair": pair("--eval-set", limit=None)}, Status.COMPLETED),
    "a user's function passes": ("passed", evaluated(), {"test": "test_own"}, Status.COMPLETED),
    "a user's own assert": ("failed", evaluated(), {"test": "test_own"}, Status.COMPLETED),
    "a user's function on a breach": ("passed", evaluated([BREACH]), {"test": "test_own"}, Status.FAILED),
    "an error before a user's function": ("error", None, {"test": "test_own"}, Status.FAILED),
    "a function of the pair alone": ("failed", None, {"test": "test_own", "evaluates": False}, None),
}


@pytest.mark.parametrize(("outcome", "evaluation", "how", "status"), STANDS.values(), ids=STANDS)
def test_how_a_pair_stands_after_an_item(outcome, evaluation, how, status):
    """As its evaluation says; what a user's function finds besides is that function's own affair."""
    how = {"pair": pair(), "test": None, "evaluates": True} | how
    told = tell(how.pop("pair"), evaluation, worker="main", **how)
    assert stands(outcome, told) == status


@pytest.mark.parametrize("name", ["test_pair[m/d]", "test_own[m/d-x::y[z]]", "TestOwn::test_own[m/d]"])
def test_a_crash_is_an_error_of_the_whole_test(name):
    """It is called as its node id says behind the file, whatever parameters look like."""
    report = SimpleNamespace(nodeid=f"s/file::{name}", location=("s/file", None, "s/file"))
    make_crashed(report, pair(), "its worker died", "worker died")
    assert (report.when, str(report.longrepr), report.location[2]) == ("setup", "its worker died", name)


def test_what_pytest_shows_is_safe_and_holds_no_secret():
    """The message and every line of a traceback, sections, properties; pytest's own colours stay where it made them."""
    said = "\x1b[2J\u202e hunter22222222 \x1b[31mred\x1b[0m"
    with pytest.raises(ValueError, match="hunter") as caught:
        raise ValueError(said)
    properties = [("key", "hunter22222222"), ("n", 1)]
    for colours, shown in ((True, "\x1b[31mred\x1b[0m"), (False, "\\x1b[31mred\\x1b[0m")):
        for longrepr in (caught.getrepr(), caught.getrepr(style="value"), said, ("/file.py", 3, said)):
            report = SimpleNamespace(longrepr=longrepr, sections=[("log", said)], user_properties=properties)
            make_safe(report, Secrets(("hunter22222222",)), colours=colours)
            text = report.longrepr[2] if isinstance(longrepr, tuple) else str(report.longrepr)
            assert f"\\x1b[2J\\u202e *** {shown}" in text
            assert "hunter22222222" not in text
            assert type(report.longrepr) is type(longrepr)
            assert report.sections == [("log", f"\\x1b[2J\\u202e *** {shown}")]
            assert report.user_properties == [("key", "***"), ("n", 1)]


def test_an_agents_report_says_how_samples_ended():
    """The controller is told in words; of other models there is nothing to tell."""
    evaluation = evaluated()
    result = replace(evaluation.result, statuses={"completed": 3, "failed": 1})
    told = tell(pair(), replace(evaluation, result=result), worker="gw0", test=None, evaluates=True)
    assert told["ends"] == "3 completed, 1 failed"
    assert "ends" not in tell(pair(), evaluation, worker="gw0", test=None, evaluates=True)
