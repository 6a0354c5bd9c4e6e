"""Gates of results in the words of a person, wherever they are shown."""

from __future__ import annotations

import csv
import io

import pytest

from pytest_evalrun.report import results
from pytest_evalrun.report.gatewords import basis_of, interval_words, margin_of, signed
from pytest_evalrun.report.matrix import matrices
from pytest_evalrun.report.rows import read_summary
from pytest_evalrun.report.summary import write_summary
from pytest_evalrun.report.verdict import verdict_of

HELD = {"metric": "m", "kind": "max_drop", "value": 0.92, "limit": 0.91, "by": 0, "holds": True, "tier": "supporting"}
OPEN = HELD | {
    "verdict": "INCONCLUSIVE",
    "why": "n=180, discordance 0.08: 1,237 for an 80 % chance at ± 0.02",
    "method": "Tango's score interval",
    "interval": [-0.035, 0.014],
    "n": 180,
    "confidence": 0.95,
    "baseline": "main",
    "margin": 0.02,
    "before": 0.93,
    "p": 0.4,
    "lost": 8,
    "won": 6,
    "discordance": 0.0778,
    "unsure": "value",
}
FAILS = OPEN | {"value": 0.9, "by": 0.01, "holds": False, "verdict": "FAIL", "interval": [-0.052, -0.021], "why": "-"}
BREACHED = OPEN | {"value": 0.9, "by": 0.01, "holds": False}
ADVICE = FAILS | {"tier": "advisory", "holds": True}


@pytest.fixture
def made(run, present):
    """The summary of a pair with these gates, and the texts that are made of it."""

    def make(*gates, status="passed", better="higher"):
        metric = {"value": gates[-1]["value"], "n": 180, "low": 0.88, "high": 0.95, "better": better}
        run.result("s", "t", "d", status=status, metrics={"m": metric}, total=180, gates=gates)
        return write_summary(run.paths, present)

    return make


def text(run, kind):
    return (run.paths.summary / f"summary.{kind}").read_text()


WORDS = {
    "of a drop": ({}, "higher", "change -0.01 [-0.035, +0.014]"),
    "of a rise": ({"value": 3.2, "before": 3.0, "interval": [-0.3, -0.1]}, "lower", "change +0.2 [+0.1, +0.3]"),
    "of a share": ({"margin": "5%"}, "higher", "value - 0.95 x before [-0.035, +0.014]"),
    "of a share of a rise": ({"margin": "5%"}, "lower", "value - 1.05 x before [-0.014, +0.035]"),
    "of a value": ({"kind": "min", "interval": [0.9, 0.95]}, "higher", "interval [0.9000, 0.9500]"),
    "of a highest value": ({"kind": "max", "interval": [0.9, 0.95]}, "lower", "interval [0.9000, 0.9500]"),
    "without what was before": ({"before": None}, "higher", "change [-0.035, +0.014]"),
    "without an interval": ({"interval": None}, "higher", ""),
    "damaged": ({"interval": [0.1, "x"]}, "higher", ""),
    "no interval at all": ({"interval": [float("nan"), 0.1]}, "higher", ""),
    "beyond any number": ({"interval": [-(10**400), 0.1]}, "higher", ""),
}


@pytest.mark.parametrize(("gate", "better", "words"), WORDS.values(), ids=WORDS)
def test_an_interval_is_told_in_the_metrics_own_unit(gate, better, words):
    """A drop of quality is a rise where lower is better; what is no interval is none."""
    assert interval_words(OPEN | gate, better) == words


def test_a_change_has_a_sign_and_three_digits():
    """None at all has no sign, however it came to be."""
    assert [signed(value) for value in (0.05, -0.01234, 0.0, -0.0, 12.0)] == ["+0.05", "-0.0123", "0", "0", "+12"]


def test_what_a_verdict_rests_on():
    """The method by its name, and what was counted; nothing of a gate by its value."""
    assert basis_of(OPEN) == "Tango's score interval, n=180, discordance 0.0778, 8 lost, 6 won"
    assert (
        basis_of({"method": "t", "approximate": True, "n": 40, "clusters": 21}) == "t, approximate, n=40, clusters=21"
    )
    assert basis_of({"method": "Student's t (approximate)", "approximate": True}) == "Student's t (approximate)"
    assert (basis_of(HELD), margin_of(HELD), margin_of({"margin": "5%"})) == ("", "0.91", "5%")


def test_an_undecided_gate_is_marked_in_every_matrix(run, made):
    """Beside the value, whether or not it holds; the legend explains the sign, and summary.csv stays as it is."""
    (matrix,) = matrices(made(OPEN))
    assert matrix.cells == (("0.9200 ?",),)
    assert matrix.legend() == "Signs: ? undecided: too few samples, or an interval with both sides of its gate in it"
    assert "? undecided: too few samples" in text(run, "md")
    assert "? undecided: too few samples" in text(run, "txt")
    (row,) = csv.DictReader(io.StringIO(text(run, "csv")))
    assert (row["value"], "?" in text(run, "csv")) == ("0.92", False)
    (matrix,) = matrices(made(BREACHED, status="failed"))
    assert matrix.cells == (("0.9000 ✗ ?",),)


def test_an_undecided_gate_is_counted_in_the_verdict_and_told(run, made):
    """With what the verdict rests on; it makes a run neither better nor worse."""
    found = verdict_of(made(OPEN))
    assert found.line == "PASSED: the only pair passed; 1 gate undecided"
    assert found.good
    told = "undecided: s/t/d: m 0.9200 > 0.9100 (max_drop); change -0.01 [-0.035, +0.014]: n=180, discordance 0.08"
    assert told in text(run, "txt")
    assert r"- undecided: s/t/d: m 0.9200 \> 0.9100 (max_drop); change -0.01 \[-0.035, +0.014\]: n=180" in text(
        run, "md"
    )


def test_a_breach_says_whether_its_interval_leaves_it_open(run, made):
    """One that the interval decides is told with that; of one that it does not, by what it would be decided."""
    (breach,) = verdict_of(made(FAILS, status="failed")).breaches
    assert breach.text == "m 0.9000 < 0.9100 (max_drop); change -0.03 [-0.052, -0.021]"
    found = verdict_of(made(BREACHED, status="failed"))
    assert found.line == "FAILED: the only pair failed (1 gate breached); 1 gate undecided"
    assert found.breaches[0].text.endswith("; undecided")
    assert text(run, "md").count("1,237 for an 80 % chance") == 1
    assert text(run, "txt").count("1,237 for an 80 % chance") == 1


def test_alarms_are_told_wherever_a_verdict_is(run, made):
    """What got worse beyond chance, and the chance that all would pass; nothing where no samples were compared."""
    made(FAILS | {"p": 0.0001}, status="failed")
    for kind in ("txt", "md"):
        assert "alarms (s): 1 of 1 gate got worse beyond chance: t/d m -0.03 against main" in text(run, kind)
        assert "if nothing had changed" in text(run, kind)
    made(HELD)
    assert "alarms" not in text(run, "txt") + text(run, "md")


def test_advice_is_told_apart_and_counts_for_nothing(run, made):
    """It fails nothing, is no breach and no sign, and an undecided one of it is not counted."""
    found = verdict_of(made(ADVICE))
    assert (found.line, found.breaches, len(found.advisory)) == ("PASSED: the only pair passed", (), 1)
    assert "advisory: s/t/d: m 0.9000 < 0.9100 (max_drop)" in text(run, "txt")
    assert r"- advisory: s/t/d: m 0.9000 &lt; 0.9100" in text(run, "md").replace(r"\<", "&lt;")
    assert verdict_of(made(OPEN | {"tier": "advisory"})).undecided == ()


def test_a_pair_whose_gates_could_not_be_judged_has_values_of_its_own(run, made, present):
    """It is an error, and none of an earlier evaluation: a baseline was not there, say."""
    run.result("s", "t", "d", status="error", metrics={"m": 0.92}, environment={"error": "no baseline main"})
    summary = read_summary(run.paths, present)
    assert [row.outdated for row in summary.rows] == [False]
    found = verdict_of(summary)
    assert (found.line, found.troubles[0].brief) == ("ERROR: the only pair ended in an error", "no baseline main")
    (matrix,) = matrices(summary)
    assert (matrix.cells, matrix.legend()) == ((("0.9200 error",),), "")


def test_gates_of_a_pair_that_ended_in_an_error_say_nothing(run, present):
    """They are those of an earlier evaluation."""
    run.result("s", "t", "d", status="error", metrics={"m": 0.92}, gates=[OPEN, ADVICE])
    found = verdict_of(read_summary(run.paths, present))
    assert (found.undecided, found.advisory) == ((), ())


def test_a_pair_shows_what_its_gates_rest_on(made):
    """In a table of their own; gates by a value alone need none, and what is advisory is said to be."""
    (row,) = made(OPEN, ADVICE, HELD).rows
    (_, metrics), (header, judged) = results.tables(row)
    assert header == results.GATES
    assert list(judged) == [
        (
            *("m max_drop 0.02", "INCONCLUSIVE", "change -0.01 [-0.035, +0.014]", "main, 0.9300"),
            *("Tango's score interval, n=180, discordance 0.0778, 8 lost, 6 won", OPEN["why"]),
        ),
        (
            *("m max_drop 0.02, advisory", "FAIL", "change -0.03 [-0.052, -0.021]", "main, 0.9300"),
            *("Tango's score interval, n=180, discordance 0.0778, 8 lost, 6 won", ""),
        ),
    ]
    (cells,) = metrics
    assert cells[-1] == (
        "max_drop 0.9100 holds, undecided; max_drop 0.9100 is past by 0.01000, and advisory; max_drop 0.9100 holds"
    )


def test_a_result_of_an_earlier_version_is_shown_as_it_was(run, present):
    """Without a verdict of its own the value decides, and there is nothing more to tell."""
    old = {"metric": "m", "kind": "max_drop", "value": 0.92, "limit": 0.91, "by": 0, "holds": True}
    run.result("s", "t", "d", metrics={"m": 0.92}, gates=[old])
    summary = write_summary(run.paths, present)
    assert len(list(results.tables(summary.rows[0]))) == 1
    assert "undecided" not in text(run, "txt") + text(run, "md")
    assert verdict_of(summary).line == "PASSED: the only pair passed"
