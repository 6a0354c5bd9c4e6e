"""How a run came out: one line for whoever was not there, and what is behind it."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace

import pytest

from pytest_evalrun.report.known import on_disk
from pytest_evalrun.report.rows import read_summary
from pytest_evalrun.report.verdict import Breach, Trouble, verdict_of
from pytest_evalrun.rundir.runs import note_outcomes, note_skipped

GATE = {"metric": "m", "kind": "min", "value": 0.5, "limit": 0.9, "by": 0.4, "holds": False}


@pytest.fixture
def verdict(run, present):
    """The verdict on what the run holds by now."""

    def judged(gone=present, **more):
        return verdict_of(read_summary(run.paths, gone, **more))

    return judged


def listed(run, **states):
    """The task list of one suite and one task, by dataset."""
    lines = [f"-{dataset}|{state}" for dataset, state in states.items()]
    run.write(run.paths.task_list, "\n".join([f"*s/t||{len(lines)}", *lines, f"+summary|1|{len(lines)}", ""]))


STATUSES = {
    "passed": (["passed"] * 12, "PASSED: all 12 pairs passed"),
    "one": (["passed"], "PASSED: the only pair passed"),
    "some skipped": (["passed", "passed", "skipped"], "PASSED: 2 of 3 pairs passed; 1 skipped"),
    "failed": (["passed", "failed"], "FAILED: 1 of 2 pairs failed (1 gate breached); 1 passed"),
    "error": (
        ["passed", "failed", "error", "failed"],
        "ERROR: 1 of 4 pairs ended in an error; 2 failed, 1 passed; 2 gates breached",
    ),
    "pending": (["passed", "pending"], "PENDING: 1 of 2 pairs without a result yet; 1 passed"),
    "all skipped": (["skipped", "skipped"], "SKIPPED: all 2 pairs skipped"),
    "nothing": ([], "NOTHING: no pair has a result"),
}


@pytest.mark.parametrize(("statuses", "line"), STATUSES.values(), ids=STATUSES)
def test_the_worst_that_happened_is_the_word(run, verdict, statuses, line):
    """Its pairs are told first, then the others, worst first; only a run that passed is good."""
    for number, status in enumerate(statuses):
        gates = [GATE] if status == "failed" else []
        run.result("s", "t", f"d{number}", status=status, metrics={"m": 0.5} if gates else {}, gates=gates)
    found = verdict()
    assert found.line == line
    assert found.word.upper() == line.partition(":")[0]
    assert found.good == line.startswith("PASSED")
    assert found.total == len(statuses)


def test_pairs_that_never_ran_are_pending(run, verdict):
    """The task list knows them; a run that was cut off has not passed, nor one of which only some were selected."""
    run.result("s", "t", "done", metrics={"m": 0.5})
    listed(run, done=2, running=1, waiting=0, deleted=2)
    found = verdict()
    assert found.line == "PENDING: 3 of 4 pairs without a result yet; 1 passed"
    assert (found.word, dict(found.counts)) == ("pending", {"pending": 3, "passed": 1})


def test_who_is_skipped_or_gone_is_not_waited_for(run, verdict):
    """Neither has to have a result; gone ones that have one are told at the end, and count for nothing."""
    run.result("s", "t", "done", metrics={"m": 0.5})
    run.result("s", "t", "old", status="failed", metrics={"m": 0.5}, gates=[GATE])
    listed(run, done=2, slow=0, removed=0, old=3)
    note_skipped(run.paths, {"s/t/slow": "not today"})
    found = verdict(lambda suite, task, dataset: dataset in ("removed", "old"))
    assert found.line == "PASSED: the only pair passed; 1 pair gone from disk"
    assert found.breaches == ()


def test_pairs_of_a_suite_without_an_adapter_are_not_waited_for(run):
    """No model of theirs is ever asked: they are there for tests of the user's own."""
    pair = SimpleNamespace(task=SimpleNamespace(name="t"), dataset=SimpleNamespace(name="d"), skip=None)
    listed(run, d=0)
    words = {}
    for has_adapter in (False, True):
        disk = on_disk(run.paths, [SimpleNamespace(name="s", pairs=[pair], has_adapter=has_adapter)])
        words[has_adapter] = verdict_of(read_summary(run.paths, disk.is_gone, disk.skips)).word
    assert words == {False: "nothing", True: "pending"}


def test_an_error_that_could_not_be_written_down_is_one(run, verdict):
    """On a full disk there is no result; the task list still says that the pair failed."""
    listed(run, d=3)
    found = verdict()
    assert found.line == "ERROR: the only pair ended in an error"
    assert found.troubles == (Trouble("s/t/d", "it ended in an error; its log says in which"),)


def test_a_damaged_result_is_an_error(run, verdict):
    """Nobody can say how its pair came out, and it is counted once."""
    run.result("s", "t", "d").write_text("{")
    listed(run, d=2)
    found = verdict()
    assert found.line == "ERROR: the only pair ended in an error"
    assert [(one.pair, "damaged" in one.reason) for one in found.troubles] == [("results/s/t/d.json", True)]


def test_old_values_are_said_to_be_old(run, verdict):
    """A pair whose last evaluation ended in an error keeps its values, and none of its gates is judged by them."""
    run.result("s", "t", "broken", metrics={"m": 0.5}, gates=[GATE | {"holds": True, "by": 0}])
    listed(run, broken=3)
    found = verdict()
    assert found.line == "ERROR: the only pair ended in an error (1 of them with values of an earlier evaluation)"
    assert (found.outdated, found.breaches) == (1, ())


def test_an_error_counts_and_not_the_gate_that_was_breached_before_it(run, verdict):
    """Where the run has noted the error: of a pair that failed before, nobody else knows that it is one now."""
    run.result("s", "t", "d", status="failed", metrics={"m": 0.5}, gates=[GATE])
    listed(run, d=3)
    assert verdict().line == "FAILED: the only pair failed (1 gate breached)"
    note_outcomes(run.paths, {}, {"s/t/d": "no model", "s/t/other": "no data"})
    found = verdict()
    assert found.line == "ERROR: the only pair ended in an error (1 of them with values of an earlier evaluation)"
    assert (found.breaches, found.troubles[0].brief.partition(" (")[0]) == ((), "no model")
    listed(run, d=2)
    assert verdict().word == "failed", "it was evaluated since"


def limited(run, dataset, limit, **more):
    """An evaluation of the first samples."""
    name = f"{dataset}.limit-{limit}"
    path = run.result("s", "t", name, **more)
    path.write_text(path.read_text().replace(f'"{name}"', f'"{dataset}"'))
    return run.key("s", "t", name)


def test_first_samples_alone_are_said_to_be_that(run, verdict):
    """Where a launch made nothing else they are its verdict, though its pairs are pending; otherwise they are not."""
    listed(run, x=0, y=0)
    keys = [limited(run, "x", 10, metrics={"m": 0.5}), limited(run, "y", 10, metrics={"m": 0.5})]
    assert verdict().line == "PENDING: all 2 pairs without a result yet"
    found = verdict(limits=dict.fromkeys(keys, True))
    assert found.line == "PASSED: all 2 pairs passed, by their first samples alone"
    assert found.limited
    assert found.good


def test_first_samples_beside_whole_evaluations(run, verdict):
    """They are told apart; where one of them is bad, so is the whole: the launch has failed by it."""
    run.result("s", "t", "x", metrics={"m": 0.95})
    keys = [limited(run, "x", 10, status="failed", metrics={"m": 0.5}, gates=[GATE])]
    keys.append(limited(run, "y", 1, metrics={"m": 0.5}))
    found = verdict(limits=dict.fromkeys(keys, True))
    assert found.line == "FAILED: 2 evaluations of first samples alone: 1 failed, 1 passed; 1 passed"
    assert [breach.pair for breach in found.breaches] == ["s/t/x (first 10 samples)"]
    good = verdict(limits={keys[1]: True})
    assert good.line == "PASSED: the only pair passed; 1 evaluation of first samples alone: 1 passed"


BREACHES = {
    "min": ({}, "m 0.5000 < 0.9000 (min)"),
    "max": ({"kind": "max", "value": 2.5, "limit": 2, "by": 0.5}, "m 2.500 > 2.000 (max)"),
    "drop": ({"kind": "max_drop", "value": 0.88, "limit": 0.89, "by": 0.01}, "m 0.8800 < 0.8900 (max_drop)"),
    "rise": ({"kind": "max_drop", "value": 3.5, "limit": 3.2, "by": 0.3}, "m 3.500 > 3.200 (max_drop)"),
    "close": ({"value": 0.89999999, "by": 1e-8}, "m 0.89999999 < 0.9 (min)"),
    "none": ({"value": None, "by": None}, "m has no value (min 0.9000)"),
    "NaN": ({"value": float("nan"), "by": float("nan")}, "m has no value (min 0.9000)"),
    "a name of two lines": ({"metric": "m\nn\x1b[2J"}, r"m\nn\x1b[2J 0.5000 < 0.9000 (min)"),
}


@pytest.mark.parametrize(("gate", "text"), BREACHES.values(), ids=BREACHES)
def test_a_breach_says_on_which_side_of_its_limit_the_value_is(run, verdict, gate, text):
    """By the kind of gate, where the numbers look alike, and where there is none."""
    run.result("s", "t", "d", status="failed", metrics={}, gates=[GATE | gate])
    (breach,) = verdict().breaches
    assert breach.text == text


def test_breaches_are_worst_first_whatever_the_order_of_files(run, verdict):
    """As a share of the limit; what has no value is worst; those alike are in natural order."""
    gates = [GATE | {"by": 0.1}, GATE | {"metric": "k"}, GATE | {"metric": "psnr", "limit": 40, "by": 8}]
    gates.append(GATE | {"metric": "lost", "value": None})
    for dataset in random.Random(3).sample(["v10", "v2"], 2):
        run.result("s", "t", dataset, status="failed", metrics={"m": 0.5}, gates=gates)
    assert [(one.pair[-3:].strip("/"), one.metric) for one in verdict().breaches] == [
        ("v2", "lost"),
        ("v10", "lost"),
        ("v2", "k"),
        ("v10", "k"),
        ("v2", "psnr"),
        ("v10", "psnr"),
        ("v2", "m"),
        ("v10", "m"),
    ]


def test_a_breach_of_a_limit_of_zero_has_a_severity():
    """Nothing is a share of zero, so its distance stands for itself."""
    assert Breach("p", "m", "max", 0.25, 0.0, 0.25).severity == 0.25


def test_a_trouble_in_brief_is_one_short_line():
    """Whatever the error was, with escapes for what drives a terminal."""
    brief = Trouble("p", "\x1b[31m" + "long " * 100 + "\nTraceback").brief
    assert len(brief) == 200
    assert brief.startswith(r"\x1b[31mlong long")


def test_time_and_money_are_those_of_all_results(run, verdict):
    """Judges are paid too; currencies are never added up; of a run without either nothing is said."""
    run.result("s", "t", "free", metrics={"m": 0.5}, seconds={"total": None})
    assert (verdict().seconds, verdict().cost) == (None, "")
    judge = {"requests": 1, "cost": 0.25, "currency": "USD"}
    run.result("s", "t", "a", seconds={"total": 1.5}, usage={"cost": 1.5, "currency": "USD", "judge": {"j": judge}})
    run.result("s", "t", "b", seconds={"total": 2}, usage={"cost": 2, "currency": "CNY"})
    run.result("s", "t", "c", seconds={"total": 2}, usage=json.loads('{"requests": 3}'))
    found = verdict()
    assert (found.seconds, found.cost) == (5.5, "2 CNY and 1.75 USD")


def test_of_some_suites_alone(run, present):
    """What is lacking of others is not theirs."""
    run.result("s", "t", "d", metrics={"m": 0.5})
    run.write(run.paths.task_list, "*s/t||1\n-d|2\n*other/t||1\n-d|0\n+summary|2|2\n")
    summary = read_summary(run.paths, present)
    assert verdict_of(summary).word == "pending"
    assert verdict_of(summary.among({"s"})).line == "PASSED: the only pair passed"
