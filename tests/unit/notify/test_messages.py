"""What messages say, and what they never say."""

from __future__ import annotations

import pytest

from pytest_evalrun.notify.messages import MOST_GATES, MOST_PAIRS, About, RunEnd, ended, first_error, stalled, started
from pytest_evalrun.notify.occasions import Stall
from pytest_evalrun.report.verdict import Breach, Trouble, Verdict
from pytest_evalrun.suite.secrets import Secrets

SECRET = "s3cr3t-of-12-letters"
COMMAND = "pytest evals -n 5 --eval-notify"


def about(**words):
    given = {"suites": {"digits"}, "name": "20261128_230000", "place": "/w/outputs/default/x on host", "link": ""}
    return About(**given | {"safe": Secrets((SECRET,)).blank} | words)


def end_of(verdict, **words):
    given = {
        "stopped": None,
        "crashed": False,
        "seconds": 3725.0,
        "code": 0,
        "costs": [],
        "left": "2 of 3 pairs are left",
        "outcomes": {"passed": 3},
    }
    return RunEnd(verdict, **given | {"carry_on": COMMAND, "kinds": {}} | words)


def verdict(word="passed", breaches=(), troubles=(), **counts):
    return Verdict(word, counts or ({} if word == "nothing" else {word: 3}), tuple(breaches), tuple(troubles))


def lines(message):
    return {fact.label: list(fact.lines) for fact in message.facts}


def test_a_run_that_passed():
    """Nothing to carry on with."""
    message = ended(about(), end_of(verdict()))
    assert (message.occasion, message.level, message.title) == ("end", "good", "PASSED: digits (20261128_230000)")
    assert lines(message) == {
        "verdict": [verdict().line],
        "this launch": ["3 items: 3 passed; 1 h 02 min; exit code 0"],
        "run": ["/w/outputs/default/x on host"],
    }


def test_a_run_with_breached_gates():
    """At most five of them, the worst, with value and limit; the cost; the command; the link."""
    breaches = [Breach(f"digits/m{number}/d", "top1", "min", 0.5, 0.9, 0.4) for number in range(7)]
    found = verdict("failed", breaches, passed=1, failed=7)
    message = ended(about(link="https://ci.example/7"), end_of(found, code=1, costs=["0.0103 USD in this run"]))
    told = lines(message)
    assert (message.level, message.title) == ("bad", "FAILED: digits (20261128_230000)")
    assert told["verdict"] == [found.line]
    assert told["worst 5 of 7 gates"] == [f"{breach.pair}: {breach.text}" for breach in breaches[:MOST_GATES]]
    assert told["cost"] == ["0.0103 USD in this run"]
    assert told["carry on with"] == [COMMAND]
    assert told["link"] == ["https://ci.example/7"]


def test_errors_are_named_by_their_kind():
    """Why they came may be a model's own words, and is not told."""
    troubles = [Trouble(f"digits/m{number}/d", "ValueError: what the model said") for number in range(7)]
    message = ended(
        about(), end_of(verdict("error", (), troubles), code=1, kinds={"digits/m0/d": "a model (ValueError)"})
    )
    assert lines(message)["in ERROR"] == [
        *(
            "digits/m0/d: a model (ValueError)",
            *(f"digits/m{number}/d" for number in range(1, MOST_PAIRS)),
            "and 2 more",
        )
    ]
    assert "what the model said" not in repr(message)


ENDS = {
    "stopped": ({"stopped": "Ctrl-C", "code": 2}, "INTERRUPTED", "warning"),
    "crashed": ({"crashed": True, "code": 3}, "CRASHED", "bad"),
    "another test failed": ({"code": 1}, "PASSED", "warning"),
}


@pytest.mark.parametrize(("words", "word", "level"), ENDS.values(), ids=ENDS)
def test_a_run_that_did_not_end_well(words, word, level):
    """It says so in its first word or in its colour, and how to carry on."""
    message = ended(about(), end_of(verdict(), **words))
    assert (message.title.partition(":")[0], message.level) == (word, level)
    assert lines(message)["carry on with"] == [COMMAND]
    assert ("stopped by" in lines(message)) == (word == "INTERRUPTED")


def test_who_stopped_it_and_what_is_left():
    """In the first line."""
    message = ended(about(), end_of(None, stopped="evalrun stop by me", code=2))
    assert message.facts[0].lines == ("evalrun stop by me; 2 of 3 pairs are left",)
    assert lines(message)["verdict"] == ["no summary could be made"]
    assert ended(about(), end_of(None)).title.startswith("ENDED: ")


@pytest.mark.parametrize("word", ["pending", "skipped", "nothing"])
def test_what_is_neither_good_nor_bad(word):
    """Is no success."""
    message = ended(about(), end_of(verdict(word)))
    assert message.level == "warning"
    assert "carry on with" in lines(message)


def test_the_first_error_of_a_kind():
    """Which pair, what kind, where to read on."""
    message = first_error(about(), "digits/mlp/clean", "a model (ValueError)", 3, 12)
    assert (message.occasion, message.level, message.title) == ("error", "warning", "ERROR: digits (20261128_230000)")
    assert lines(message) == {
        "pair": ["digits/mlp/clean"],
        "trouble": ["a model (ValueError), the first of its kind in this launch"],
        "why": ["evalrun logs digits/mlp/clean"],
        "so far": ["3 of 12 items over; the others go on"],
        "run": ["/w/outputs/default/x on host"],
    }


def test_a_stall():
    """For how long, and what runs."""
    running = {f"digits/m{number}/d": 3000.0 - number for number in range(7)}
    message = stalled(about(), Stall(1800.0, running), 3, 12)
    assert message.title == "nothing has finished for 30 min: digits (20261128_230000)"
    told = lines(message)
    assert told["running"] == [*(f"digits/m{number}/d, for 50 min" for number in range(5)), "and 2 more"]
    assert told["so far"] == ["3 of 12 items over"]
    assert "running" not in lines(stalled(about(), Stall(40.0, {}), 0, 1))


def test_a_start():
    """How much there is to do, of which suites."""
    message = started(about(suites={"a", "b", "c", "d"}), 1)
    assert (message.title, message.level) == ("started: a, b, c and 1 more (20261128_230000)", "info")
    assert lines(message)["to do"] == ["1 item"]


def test_all_of_it_is_safe():
    """No secret, no character that drives anything, one line each, a title that is not endless."""
    message = first_error(about(link=f"https://x/{SECRET}"), f"s/{SECRET}\x1b[31m\n\u202e/d", "k", 0, 1)
    assert SECRET not in repr(message)
    assert all(line.isprintable() for fact in message.facts for line in fact.lines)
    assert len(started(about(name="x" * 500), 1).title) == 200


def test_undecided_gates_are_counted():
    """Which they are and why, the summary says: it may quote nobody, but it is long."""
    undecided = (Breach("digits/m/d", "top1", "max_drop", 0.92, 0.91, 0.0, why="n=180", holds=True),) * 3
    found = Verdict("passed", {"passed": 3}, undecided=undecided)
    told = lines(ended(about(), end_of(found)))
    assert told["undecided"] == ["3 gates: too few samples to tell; ? in the summary"]
    assert told["verdict"] == ["PASSED: all 3 pairs passed; 3 gates undecided"]
