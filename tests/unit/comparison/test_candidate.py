"""A candidate beside a base: what is judged, what is missing, and what cannot be said."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_evalrun.comparison.candidate import Judging, PairSides, judge_pairs
from pytest_evalrun.comparison.policy import AskedGate
from pytest_evalrun.comparison.side import SampleScores, Side
from pytest_evalrun.errors import PairError
from pytest_evalrun.stats.estimate import IntervalEstimate
from pytest_evalrun.suite.gates import Gate, GateRules

N = 400


def side(name, wrong=0, pair="s/t/d", better="higher", metrics=("m",), reads=None, reference="r"):
    """A pair of so many samples, of which the first are wrong; ``reads`` is told whenever they are read."""
    right, fault = (1.0, 0.0) if better == "higher" else (0.0, 1.0)
    value = (right * (N - wrong) + fault * wrong) / N
    facts = {"value": value, "n": N, "low": 0.0, "high": 1.0, "better": better}

    def rows():
        if reads is not None:
            reads.append(name)
        for index in range(N):
            yield SampleScores(str(index), reference, dict.fromkeys(metrics, fault if index < wrong else right))

    return Side(name, pair, dict.fromkeys(metrics, facts), rows)


def sides(name, *found, **more):
    return PairSides(name, {each.pair: each for each in found}, **more)


def judged(base, candidate, *asked, interval=None, known=True):
    """The gates of every pair are ``asked``; nobody knows them where not ``known``."""
    judging = Judging(lambda _: list(asked) if known else None, lambda *_: None, lambda *_: interval)
    return list(judge_pairs(base, candidate, judging))


def asked(metric="m", tier="supporting", **words):
    return AskedGate(metric, Gate(**words), GateRules(tier=tier))


DROP = asked(max_drop=0.02)


def test_a_drop_is_judged_sample_by_sample():
    """As ``gates[]`` of a result has it, and which samples it cost."""
    (found,) = judged(sides("main", side("main")), sides("new", side("new", 40)), DROP)
    assert (found.standing, found.tier, found.better) == ("FAIL", "supporting", "higher")
    told = {"kind": "max_drop", "before": 1.0, "value": 0.9, "limit": 0.98, "margin": 0.02, "baseline": "main", "n": N}
    assert told.items() <= found.told.items()
    assert found.told["by"] == pytest.approx(0.08)
    assert (found.flips.lost, found.flips.first_lost[:2]) == (40, ("0", "1"))


def test_where_less_is_better_a_drop_is_a_rise():
    """The limit is in the metric's own unit, the interval in the sense of quality."""
    before, after = side("main", 40, better="lower"), side("new", 80, better="lower")
    (found,) = judged(sides("main", before), sides("new", after), DROP)
    assert (found.standing, found.told["limit"], found.told["value"]) == ("FAIL", pytest.approx(0.12), 0.2)
    assert found.told["interval"][1] < -0.02


def test_a_share_is_of_what_was_before():
    """5 % of 0.9 are 0.045."""
    gates = [asked(max_drop="5%"), asked(max_drop="30%")]
    base, new = sides("main", side("main", 40)), sides("new", side("new", 100))
    assert [one.standing for one in judged(base, new, *gates)] == ["FAIL", "PASS"]
    assert judged(base, new, gates[0])[0].told["limit"] == pytest.approx(0.855)


def test_samples_are_read_once_for_all_gates_of_a_pair():
    """And not at all where values alone are judged."""
    reads = []
    base, new = sides("main", side("main", reads=reads)), sides("new", side("new", reads=reads))
    judged(base, new, asked(min=0.5), asked(max=1.0))
    assert reads == []
    judged(base, new, DROP, asked(max_drop=0.5, min=0.9))
    assert sorted(reads) == ["main", "new"]


def test_what_the_candidate_lacks_is_missing():
    """A pair with why, where that is known; a metric with those that there are; each gate by itself."""
    base = sides("main", side("main", metrics=("m", "k")), side("main", pair="s/t/e"))
    new = sides("new", side("new", metrics=("k",)), lacking={"s/t/e": "skipped: not today"})
    found = judged(base, new, DROP, asked("k", max_drop=1), asked("nobody", min=1))
    assert [(one.pair, one.metric, one.standing) for one in found] == [
        ("s/t/d", "m", "MISSING"),
        ("s/t/d", "k", "PASS"),
        ("s/t/e", "m", "MISSING"),
    ]
    assert found[0].problem == "new has no such metric of this pair; it has: k"
    assert found[2].problem == "skipped: not today"
    (gone,) = judged(sides("main", side("main")), sides("new"), DROP)
    assert gone.problem == "new has no such pair"


@pytest.mark.parametrize("known", [True, False])
def test_what_cannot_be_read_is_no_decision_and_not_missing(known):
    """A result of the candidate that is damaged says nothing of it: neither GO nor NO-GO."""
    new = sides("new", damaged={"s/t/d": "results/s/t/d.json cannot be read"})
    (found,) = judged(sides("main", side("main")), new, DROP, known=known)
    assert (found.standing, found.matters) == ("BROKE", True)
    assert found.problem == "new: results/s/t/d.json cannot be read"
    assert not [*judged(sides("main", side("main")), new, asked("nobody", min=1))]


def test_a_pair_whose_gates_nobody_knows():
    """Missing, where the candidate lacks it; else it cannot be judged: it is never passed over."""
    base = sides("main", side("main"))
    (gone,) = judged(base, sides("new"), known=False)
    assert (gone.standing, gone.metric) == ("MISSING", "")
    (there,) = judged(base, sides("new", side("new")), known=False)
    assert there.standing == "BROKE"
    assert "give --policy" in there.problem


def test_what_cannot_be_compared_says_why():
    """Other references, a damaged side, a damaged file of the base; the other pairs are judged."""
    (other,) = judged(sides("main", side("main")), sides("new", side("new", reference="x")), DROP)
    assert other.standing == "BROKE"
    assert "400" in other.problem

    def torn():
        raise PairError("scores.jsonl:3: torn")
        yield

    damaged = Side("new", "s/t/d", side("new").metrics, torn)
    found = judged(sides("main", side("main")), sides("new", damaged), DROP, asked(max_drop=0.1, min=0.5))
    assert [(one.standing, one.problem) for one in found] == [
        ("BROKE", "scores.jsonl:3: torn"),
        ("PASS", None),
        ("BROKE", "scores.jsonl:3: torn"),
    ]
    base = sides("main", side("main"), damaged={"s/t/x": "x.jsonl:1: torn"})
    assert [one.standing for one in judged(base, sides("new", side("new")), DROP)] == ["BROKE", "PASS"]


BOUNDS = {
    "kept": ({"min": 0.9}, "PASS"),
    "missed": ({"min": 0.99}, "FAIL"),
    "over": ({"max": 0.9}, "FAIL"),
    "by its interval": ({"min": 0.9, "by": "interval"}, "PASS"),
    "in its interval": ({"min": 0.94, "by": "interval"}, "INCONCLUSIVE"),
    "below its interval": ({"max": 0.9, "by": "interval"}, "FAIL"),
    "too few": ({"min": 0.92, "by": "interval"}, "INCONCLUSIVE"),
}


@pytest.mark.parametrize(("words", "standing"), BOUNDS.values(), ids=BOUNDS)
def test_a_bound_is_of_the_candidate_alone(words, standing):
    """By its value, or by its interval, where that proves something."""
    estimate = IntervalEstimate(0.95, 0.93, 0.97, N, "Wilson")
    interval = SimpleNamespace(estimate=estimate, problem=None, too_few=lambda margin: "few" if margin < 0.04 else None)
    (found,) = judged(sides("main", side("main")), sides("new", side("new", 20)), asked(**words), interval=interval)
    assert found.standing == standing
    assert ("interval" in found.told) == ("by" in words)


def test_a_metric_that_only_the_candidate_has_is_bounded_and_not_compared():
    """There is nothing that it could have dropped from."""
    base, new = sides("main", side("main")), sides("new", side("new", metrics=("m", "k")))
    assert [one.told["kind"] for one in judged(base, new, asked("k", max_drop=0.1, min=0.5))] == ["min"]
