"""Gates: breached exactly where the value is past the limit, and the distance is told."""

from __future__ import annotations

import os

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_evalrun.comparison.compare import FlippedSamples
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.gates import GateVerdict, breach_table, in_brief, judge
from pytest_evalrun.evaluation.gateverdicts import settled
from pytest_evalrun.suite.gates import GateRules
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task

# What a verdict of a paired comparison rests on.
PAIRED = {
    "why": "the whole interval lies below -0.01", "confidence": 0.95, "method": "Tango's score interval",
    "interval": [-0.052, -0.0112], "n": 180, "baseline": "main", "margin": 0.01, "before": 0.94,
}  # fmt: skip
RESTS = "-0.03 [-0.052, -0.0112], n=180"
NUMBERS = st.floats(-1e6, 1e6)


def failed(metric, kind, value, limit, by, **more):
    return GateVerdict(metric, kind, value, limit, by, "FAIL", holds=False, **more)


HEADER = "suite,task,dataset,status,metric,value,samples,predicted,failed,seconds,n,low,high\n"


def gated(gates, root="/suite", dataset="clean", **settings):
    layer = Layer("suite", f"{root}/evalrun.yaml", {"gates": gates} | settings)
    return Pair("letters", str(root), Task("echo", None, str(root)), Dataset(dataset, "/data"), (layer,))


def metric(value, better="higher"):
    return {"value": value, "n": 10, "low": value, "high": value, "better": better}


def verdict(value, better="higher", **gate):
    (found,) = judge(gated({"m": gate}), {"m": metric(value, better)})
    return found


CASES = {
    "min holds": (0.9, "higher", {"min": 0.9}, 0.9, 0),
    "min breached": (0.75, "higher", {"min": 0.9}, 0.9, 0.15),
    "max holds": (3, "lower", {"max": 4.5}, 4.5, 0),
    "max breached": (5, "lower", {"max": 4.5}, 4.5, 0.5),
    "drop holds": (0.88, "higher", {"max_drop": 0.02, "baseline": 0.9}, 0.88, 0),
    "drop exactly": (0.7, "higher", {"max_drop": 0.1, "baseline": 0.8}, 0.7, 0),
    "drop breached": (0.8, "higher", {"max_drop": 0.02, "baseline": 0.9}, 0.88, 0.08),
    "a rise is no drop": (0.99, "higher", {"max_drop": 0, "baseline": 0.9}, 0.9, 0),
    "no drop allowed": (0.89, "higher", {"max_drop": 0, "baseline": 0.9}, 0.9, 0.01),
    "rise of an error": (1.3, "lower", {"max_drop": 0.2, "baseline": 1.0}, 1.2, 0.1),
    "fall of an error": (0.1, "lower", {"max_drop": 0.2, "baseline": 1.0}, 1.2, 0),
    "rise of an error exactly": (0.3, "lower", {"max_drop": 0.2, "baseline": 0.1}, 0.3, 0),
}


@pytest.mark.parametrize(("value", "better", "gate", "limit", "by"), CASES.values(), ids=CASES)
def test_by_how_much(value, better, gate, limit, by):
    """The limit is in the metric's unit, and the distance 0 where the gate holds; a drop is a loss of quality."""
    found = verdict(value, better, **gate)
    assert (found.limit, found.by) == (pytest.approx(limit), pytest.approx(by))
    assert found.holds == (by == 0)


@given(NUMBERS, NUMBERS, st.sampled_from(["min", "max"]))
def test_a_limit_is_breached_by_any_distance(value, limit, kind):
    """`min` and `max` are exact: equal holds, anything past it breaches, by that much."""
    found = verdict(value, **{kind: limit})
    past = limit - value if kind == "min" else value - limit
    assert found.by == max(0.0, past)
    assert (found.by > 0) == (not found.holds) == (past > 0)


@given(NUMBERS, st.floats(0, 1e3), st.floats(-1e3, 1e3), st.sampled_from(["higher", "lower"]))
def test_a_drop_is_what_was_lost(baseline, allowed, change, better):
    """Breached where the loss is more than allowed; not where it is that and a rounding error."""
    loss = -change if better == "higher" else change
    assume(abs(loss - allowed) > 1e-6 * max(1.0, abs(baseline)))
    found = verdict(baseline + change, better, max_drop=allowed, baseline=baseline)
    assert found.holds == (loss < allowed)
    assert (found.by > 0) == (not found.holds)
    exactly = baseline - allowed if better == "higher" else baseline + allowed
    assert verdict(exactly, better, max_drop=allowed, baseline=baseline).holds


def test_all_gates_are_judged():
    """Several metrics with several conditions each; JSON says whether each holds."""
    gates = {"m": {"min": 0.5, "max": 0.6}, "e": {"max": 1}}
    found = judge(gated(gates), {"m": metric(0.7), "e": metric(0.5, "lower"), "free": metric(0)})
    assert [(v.metric, v.kind, v.holds) for v in found] == [("m", "min", True), ("m", "max", False), ("e", "max", True)]
    assert found[1].to_json() == {
        "metric": "m", "kind": "max", "value": 0.7, "limit": 0.6, "by": pytest.approx(0.1), "verdict": "FAIL",
        "holds": False, "tier": "supporting",
    }  # fmt: skip


def test_a_gate_on_a_metric_that_is_not_there():
    """The metrics that the result has are listed."""
    with pytest.raises(PairError, match="gate on m: the result has no such metric; it has: top1, mae"):
        judge(gated({"m": {"min": 1}}), {"top1": metric(1), "mae": metric(1)})
    with pytest.raises(PairError, match="it has: none"):
        judge(gated({"m": {"min": 1}}), {})


def test_the_table_shows_what_is_breached():
    """Metric, value, limit, by how much; gates that hold are not in it."""
    table = breach_table([failed("top1", "min", 0.75, 0.9, 0.15), GateVerdict("mae", "max", 1, 2, 0)])
    assert table.splitlines() == ["metric  value  gate  limit  by", "top1    0.75   min   0.9    0.15"]


def test_below_the_table_stands_what_an_interval_rests_on():
    """Baseline, verdict, the interval and its method, and the first samples that came out otherwise."""
    flips = FlippedSamples(9, 1, ("s3", "s19"), ("s7",))
    gate = failed("top1", "max_drop", 0.91, 0.93, 0.02, told=PAIRED, change=-0.03, flips=flips)
    assert breach_table([gate]).splitlines()[2:] == [
        "top1 max_drop 0.01 against main (0.94): FAIL",
        f"  {RESTS} at 95 % by Tango's score interval",
        "  lost 9: s3, s19 and 7 others; won 1: s7",
    ]


TIERS = {
    "advisory fails nothing": ({"tier": "advisory"}, {"min": 0.9}, True),
    "the gate's own word": ({"tier": "advisory"}, {"min": 0.9, "tier": "critical"}, False),
    "of a drop too": ({"tier": "advisory"}, {"max_drop": 0, "baseline": 0.9}, True),
    "supporting": ({}, {"min": 0.9}, False),
}


@pytest.mark.parametrize(("rules", "gate", "holds"), TIERS.values(), ids=TIERS)
def test_what_is_advisory_is_judged_and_fails_nothing(rules, gate, holds):
    """The verdict is what it is, whatever the tier."""
    (found,) = judge(gated({"m": gate}, gate_rules=rules), {"m": metric(0.8)})
    assert (found.verdict, found.holds) == ("FAIL", holds)


SETTLED = [
    *(("PASS", unsure, "critical", True) for unsure in ("value", "fail", "pass")),
    *(("FAIL", unsure, "critical", False) for unsure in ("value", "fail", "pass")),
    ("INCONCLUSIVE", "fail", "critical", False),
    ("INCONCLUSIVE", "pass", "critical", True),
    ("INCONCLUSIVE", "fail", "advisory", True),
    ("FAIL", "fail", "advisory", True),
]


@pytest.mark.parametrize(("word", "unsure", "tier", "holds"), SETTLED)
def test_what_the_status_follows(word, unsure, tier, holds):
    """The verdict; where it is INCONCLUSIVE `when_unsure`; nothing where the gate is advisory."""
    rules = GateRules(when_unsure=unsure, tier=tier)
    assert settled(0.1, rules, word) == settled(0.0, rules, word) == holds


def test_where_nothing_is_sure_the_value_decides():
    """Unless the suite says otherwise."""
    assert settled(0.0, GateRules(), "INCONCLUSIVE")
    assert not settled(0.1, GateRules(), "INCONCLUSIVE")


def test_a_share_of_the_baseline():
    """`5%` of it, whatever its sign, and whichever way is better."""
    for before, better, limit in ((0.8, "higher", 0.76), (2.0, "lower", 2.1), (-2.0, "higher", -2.1), (0, "higher", 0)):
        assert verdict(limit, better, max_drop="5%", baseline=before).holds
        worse = limit - 0.01 if better == "higher" else limit + 0.01
        found = verdict(worse, better, max_drop="5%", baseline=before)
        assert (found.holds, found.limit) == (False, pytest.approx(limit))


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        (failed("top1", "min", 0.75, 0.9, 0.15), "top1 0.75 < 0.9"),
        (failed("mae", "max", 3.25, 2, 1.25), "mae 3.25 > 2"),
        (failed("mae", "max_drop", 3.25, 2, 1.25), "mae 3.25 > 2"),
        (failed("top1", "min", 0.49999999, 0.5, 1e-8), "top1 0.49999999 < 0.5"),
        (failed("top1", "max_drop", 0.91, 0.93, 0.02, told=PAIRED, change=-0.03), f"top1 0.91 < 0.93 ({RESTS})"),
        (
            GateVerdict("top1", "max_drop", 0.95, 0.93, 0, "INCONCLUSIVE", False, told=PAIRED, change=-0.03),
            f"top1 0.95 > 0.93? ({RESTS})",
        ),
        (
            failed("mae", "max_drop", 0.93, 0.91, 0.02, told=PAIRED, change=-0.03, higher=False),
            "mae 0.93 > 0.91 (+0.03 [+0.0112, +0.052], n=180)",
        ),
        (
            failed("top1", "min", 0.91, 0.93, 0.02, told={"interval": [0.88, 0.928], "n": 180}),
            "top1 0.91 < 0.93 ([0.88, 0.928], n=180)",
        ),
    ],
    ids=["min", "max", "drop", "close", "paired", "unsure", "rise", "interval"],
)
def test_a_breach_in_brief_begins_with_metric_value_and_limit(gate, text):
    """For a line that may be cut; two numbers that differ look different."""
    assert gate.in_brief() == text
    assert in_brief([gate, GateVerdict("held", "min", 1, 0, 0), gate]) == f"{text}, {text}"


@pytest.fixture
def baseline(tmp_path):
    """Writes the summary of an older run; judges a value against it."""
    file = tmp_path / "old" / "summary.csv"
    file.parent.mkdir()

    def judged(rows, value=0.8, dataset="clean", **settings):
        file.write_text(rows)
        os.utime(file, ns=(judged.time, judged.time))
        judged.time += 1
        pair = gated({"top1": {"max_drop": 0.05, "baseline": "old/summary.csv"}}, tmp_path, dataset, **settings)
        return judge(pair, {"top1": metric(value)})[0]

    judged.time = 1
    return judged


def test_a_baseline_is_a_summary(baseline):
    """The row of this very pair and metric counts; a file that changes is read again."""
    rows = HEADER + "letters,echo,clean,passed,mae,7,,,,,,,\nletters,echo,clean,passed,top1,0.9,,,,,,,\n"
    rows += "letters,echo,other,error,,,,,,,,,\nletters,echo,noisy,passed,top1,0.1,,,,,,,\n"
    assert baseline(rows).limit == pytest.approx(0.85)
    assert baseline(rows).by == pytest.approx(0.05)
    assert baseline(rows.replace("0.9", "0.84")).holds
    assert baseline(rows, dataset="noisy").holds
    assert baseline("\ufeff" + rows).limit == pytest.approx(0.85)  # as spreadsheets save it


LIMITED = {
    "the whole": ({}, 0.9),
    "as many samples": ({"limit": 10}, 0.2),
    "another number of them": ({"limit": 20}, 0.9),
}


@pytest.mark.parametrize(("settings", "value"), LIMITED.values(), ids=LIMITED)
def test_a_baseline_of_first_samples_is_none_of_the_whole(baseline, settings, value):
    """Wherever its row stands; an evaluation of as many samples is compared with it, else with the whole."""
    full = "letters,echo,clean,passed,top1,0.9,,,,,,,,\n"
    limited = "letters,echo,clean,passed,top1,0.2,,,,,,,,10\n"
    header = HEADER.rstrip("\n") + ",limit\n"
    for rows in (full + limited, limited + full):
        assert baseline(header + rows, **settings).limit == pytest.approx(value - 0.05)


def test_a_baseline_of_first_samples_alone_is_no_baseline(baseline):
    """Neither by its column nor by the name that earlier versions gave the dataset."""
    for name, limit in (("clean.limit-10", ""), ("clean", "10")):
        row = f"letters,echo,{name},passed,top1,0.2,,,,,,,,{limit}\n"
        with pytest.raises(PairError, match="no row for letters/echo/clean and metric top1"):
            baseline(HEADER.rstrip("\n") + ",limit\n" + row)


BASELINES = {
    "no row": (HEADER, "old/summary.csv: no row for letters/echo/clean and metric top1; copy a summary.csv"),
    "another table": ("a,b\n1,2\n", "old/summary.csv: not a copy of a summary.csv"),
    "NaN": (HEADER + "letters,echo,clean,passed,top1,nan,,,,,,,\n", "summary.csv: the value 'nan' is no number"),
    "no number": (HEADER + "letters,echo,clean,passed,top1,good,,,,,,,\n", "not a copy of a summary.csv: "),
}


@pytest.mark.parametrize(("rows", "message"), BASELINES.values(), ids=BASELINES)
def test_a_baseline_that_says_nothing(baseline, rows, message):
    """The file is named, and what to do."""
    with pytest.raises(PairError) as caught:
        baseline(rows)
    assert message in str(caught.value)


def test_an_advisory_drop_from_nothing_is_told(tmp_path):
    """It cannot be judged, and fails nothing; what else the gate says is judged."""
    gate = {"min": 0.5, "max_drop": 0, "baseline": "gone.csv", "tier": "advisory"}
    lowest, drop = judge(gated({"top1": gate}, tmp_path), {"top1": metric(1)})
    assert (lowest.verdict, drop.verdict, drop.holds) == ("PASS", "INCONCLUSIVE", True)
    assert drop.told["why"].endswith("gone.csv cannot be read: No such file or directory")


def test_a_baseline_that_is_not_there(tmp_path):
    """The file is named with the gate that wants it."""
    with pytest.raises(PairError, match=r"gate on top1: the baseline .*gone.csv cannot be read: No such file"):
        judge(gated({"top1": {"max_drop": 0, "baseline": "gone.csv"}}, tmp_path), {"top1": metric(1)})
