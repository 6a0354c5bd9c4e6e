"""GO only where all that matters was judged and passed; an exit code a verdict."""

from __future__ import annotations

import pytest

from pytest_evalrun.comparison.conclusion import Conclusion
from pytest_evalrun.comparison.decision import JudgedMetric, broken, decide


def gate(word, pair="s/t/d", tier="supporting", **told):
    """A gate as it stands: judged, missing, or none of both."""
    if word in ("PASS", "FAIL", "INCONCLUSIVE"):
        return JudgedMetric(pair, "m", tier, Conclusion(word, "why"), told=told)
    return JudgedMetric(pair, "m", tier, problem="why", missing=word == "MISSING", told=told)


CASES = {
    "all pass": (["PASS", "PASS"], 0, "GO: all 2 gates pass"),
    "one passes": (["PASS"], 0, "GO: the only gate passes"),
    "one fails": (
        ["PASS", "FAIL", "INCONCLUSIVE"],
        1,
        "NO-GO: 1 of 3 gates past what is allowed, 1 gate undecided; 1 PASS",
    ),
    "one is missing": (["PASS", "MISSING"], 1, "NO-GO: 1 gate of 1 pair missing; 1 PASS"),
    "one is undecided": (["PASS", "INCONCLUSIVE"], 2, "INCONCLUSIVE: 1 gate undecided; 1 PASS"),
    "one cannot be judged": (["PASS", "BROKE"], 3, "BROKE: 1 gate that could not be judged; 1 PASS"),
    "a failure is one whatever else broke": (
        *(["FAIL", "BROKE"], 1, "NO-GO: 1 of 2 gates past what is allowed, 1 gate that could not be judged; 0 PASS"),
    ),
    "what broke might have failed": (
        *(["INCONCLUSIVE", "BROKE"], 3, "BROKE: 1 gate that could not be judged, 1 gate undecided; 0 PASS"),
    ),
    "nothing": ([], 3, "BROKE: no gate was judged"),
}


@pytest.mark.parametrize(("words", "code", "line"), CASES.values(), ids=CASES)
def test_the_worst_gate_decides(words, code, line):
    """What fails or is missing comes before what could not be judged, and that before what is undecided."""
    found = decide("main", "latest", [gate(word) for word in words])
    assert (found.code, found.line) == (code, line)


def test_what_is_advisory_decides_nothing():
    """It is told where it is past its limit; alone it is no judgement at all; a pair that is missing always counts."""
    past = gate("FAIL", tier="advisory")
    found = decide("b", "c", [gate("PASS"), past, gate("BROKE", tier="advisory")])
    assert found.line == "GO: the only gate passes; 1 advisory gate past what is allowed"
    alone = decide("b", "c", [past], remedy="write one")
    assert (alone.code, alone.why) == (3, "no gate was judged: 1 gate here, all advisory; write one")
    assert decide("b", "c", [gate("PASS"), gate("MISSING", tier="advisory")]).code == 1


def test_only_pass_lets_an_undecided_gate_pass():
    """``value`` and ``fail`` of a suite decide what a test's status follows: here it is undecided."""
    codes = {
        unsure: decide("b", "c", [gate("INCONCLUSIVE", unsure=unsure)]).code for unsure in ("value", "fail", "pass")
    }
    assert codes == {"value": 2, "fail": 2, "pass": 0}
    told = decide("b", "c", [gate("INCONCLUSIVE", unsure="pass"), gate("PASS")]).line
    assert told == "GO: all 2 gates pass, 1 of them undecided, which the policy lets pass"


def test_gates_come_worst_first():
    """By how they stand, then by how far they are off."""
    words = ["PASS", "INCONCLUSIVE", "BROKE", "FAIL", "MISSING"]
    gates = [gate(word, f"s/t/{word}") for word in words]
    gates += [gate("FAIL", "s/t/far", by=0.4, limit=0.8), gate("FAIL", "s/t/past", "advisory")]
    order = [one.pair.removeprefix("s/t/") for one in decide("b", "c", gates).gates]
    assert order == ["MISSING", "far", "FAIL", "BROKE", "INCONCLUSIVE", "past", "PASS"]


def test_what_cannot_be_begun_is_a_decision_of_one_line():
    """The other lines are remarks; a mistake without words is one too."""
    found = broken("b", "c", "policy.yaml:2: a\npolicy.yaml:3: b")
    assert (found.code, found.line, found.remarks) == (3, "BROKE: policy.yaml:2: a", ("policy.yaml:3: b",))
    assert broken("b", "c", "").why == "no gate was judged"


def test_programs_are_told_each_gate_with_its_standing():
    """As ``gates[]`` of a result has it, and why where there is no verdict."""
    told = decide(
        "b", "c", [gate("MISSING"), gate("FAIL", kind="max_drop", by=0.1)], "policy.yaml", ["a remark"]
    ).to_json()
    assert [one["verdict"] for one in told["gates"]] == ["MISSING", "FAIL"]
    assert (told["gates"][0]["problem"], told["gates"][1]["by"]) == ("why", 0.1)
    assert (told["verdict"], told["code"], told["policy"], told["remarks"]) == ("NO-GO", 1, "policy.yaml", ["a remark"])
