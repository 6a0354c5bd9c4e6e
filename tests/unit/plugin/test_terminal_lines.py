"""Lines on the terminal: one a pair as it ends, then the tables; at -q pytest's own letters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_evalrun.plugin.terminal import Terminal
from pytest_evalrun.report.rows import read_summary
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.results import Result
from pytest_evalrun.suite.pairs import Dataset, Pair, Task

TOLD = {
    "suite_item": True,
    "reused": False,
    "reason": "new",
    "metrics": {"top1": [0.912345, 0.9, 0.95]},
    "samples": {"total": 10, "predicted": 10, "failed": 0, "reused": 0},
    "seconds": 1.234,
}
PAIR = Pair("letters", "/", Task("a", None, "/"), Dataset("one", "/one"), ())
SKIPPED = Pair("letters", "/", Task("a", None, "/"), Dataset("two", "/two"), (), skip="too slow")
NODEID = "letters/test_own.py::test_share[a/one]"


class Reporter:
    """As much of pytest's terminal reporter as is spoken through; keeps the text."""

    def __init__(self):
        self.text, self.currentfspath = "", "before"
        self._tw = SimpleNamespace(fullwidth=80, width_of_current_line=0)

    def write(self, text, **markup):
        self.text += text
        self._tw.width_of_current_line = len(self.text.rpartition("\n")[2])

    def write_line(self, text, **markup):
        self.write(f"{text}\n")

    def section(self, title):
        self.write_line(f"== {title}")

    def ensure_newline(self):
        """Not relied upon: it forgets what stands in the line when that came from a worker."""


@pytest.fixture
def reporter():
    return Reporter()


@pytest.fixture
def terminal(reporter, tmp_path):
    """``terminal(verbose)``: one that speaks through the reporter, for a user who stands in tmp_path."""

    def make(verbose=0, reporter=reporter):
        plugins = SimpleNamespace(get_plugin={"terminalreporter": reporter}.get)
        invocation = SimpleNamespace(dir=tmp_path)
        option = SimpleNamespace(verbose=verbose)
        return Terminal(
            SimpleNamespace(pluginmanager=plugins, option=option, invocation_params=invocation, rootpath=tmp_path)
        )

    return make


def report(outcome="passed", when="call", told=TOLD):
    flags = {name: outcome == name for name in ("passed", "failed", "skipped")}
    more = {} if told is None else {"evalrun": told}
    return SimpleNamespace(when=when, nodeid=NODEID, **flags, **more)


LINES = {
    "new": ("passed", PAIR, {}, "PASSED  letters/a/one  top1=0.9123 [0.9, 0.95]  10 samples  1.23s  (new)"),
    "reused": (
        "passed", PAIR, {"reused": True, "reason": "reused: unchanged since t"},
        "PASSED  letters/a/one  top1=0.9123 [0.9, 0.95]  10 samples  (reused: unchanged since t)",
    ),
    "some failed": (
        "failed", PAIR, {"samples": {"total": 10, "predicted": 9, "failed": 1, "reused": 0}},
        "FAILED  letters/a/one  top1=0.9123 [0.9, 0.95]  9 of 10 samples  1.23s  (new)",
    ),
    "one sample": (
        "passed", PAIR, {"samples": {"total": 1, "predicted": 1, "failed": 0, "reused": 0}},
        "PASSED  letters/a/one  top1=0.9123 [0.9, 0.95]  1 sample  1.23s  (new)",
    ),
    "an agent": (
        "passed", PAIR, {"ends": "9 completed, 1 unknown"},
        "PASSED  letters/a/one  top1=0.9123 [0.9, 0.95]  10 samples  (9 completed, 1 unknown)  1.23s  (new)",
    ),
    "a gate that its interval leaves open": (
        "passed", PAIR, {"unsure": ["top1"]},
        "PASSED  letters/a/one  top1=0.9123? [0.9, 0.95]  10 samples  1.23s  (new)",
    ),
    "a gate that fails nothing": (
        "passed", PAIR, {"advisory": ["top1 0.91 < 0.94"]},
        "PASSED  letters/a/one  top1=0.9123 [0.9, 0.95]  (advisory: top1 0.91 < 0.94)  10 samples  1.23s  (new)",
    ),
    "a user's function": (
        "passed", PAIR, {"suite_item": False, "test": "test_share", "metrics": {}, "samples": None, "seconds": None},
        "PASSED  letters/a/one::test_share  (new)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("outcome", "pair", "told", "line"), LINES.values(), ids=LINES)
def test_a_line_a_pair(terminal, reporter, outcome, pair, told, line):
    """Outcome, name, metrics with intervals, samples, seconds, and why it was reused or made again."""
    terminal().item(pair, outcome, TOLD | told)
    assert reporter.text == f"{line}\n"


def test_an_error_says_what_the_trouble_was(terminal, reporter):
    """And nothing else: there are no values."""
    terminal().item(PAIR, "error", {"pair": "letters/a/one"}, "m.onnx: the model is empty")
    assert reporter.text == "ERROR   letters/a/one  m.onnx: the model is empty\n"


def test_who_was_skipped_says_why(terminal, reporter):
    """By its suite from the start, or when its turn came."""
    terminal().item(SKIPPED, "skipped", {"pair": "letters/a/two"}, "too slow")
    assert reporter.text == "SKIPPED letters/a/two  too slow\n"


@pytest.mark.parametrize("verbose", [-1, 1], ids=["-q", "-v"])
def test_lines_are_for_normal_verbosity(terminal, reporter, verbose):
    """At -q letters suffice, and at -v pytest writes a line itself."""
    terminal(verbose).item(PAIR, "passed", TOLD)
    assert reporter.text == ""


def test_a_line_begins_a_line(terminal, reporter):
    """Whatever letters of ordinary tests stand there."""
    reporter.write("..F")
    terminal().line("waiting")
    terminal().item(PAIR, "error", {})
    assert reporter.text == "..F\nevalrun: waiting\nERROR   letters/a/one\n"


def test_without_a_reporter_nothing_is_said(terminal, capfd):
    """`-p no:terminal` is no error."""
    silent = terminal(reporter=None)
    silent.line("waiting")
    silent.starts(NODEID)
    silent.item(PAIR, "passed", TOLD)
    assert capfd.readouterr() == ("", "")


def test_pytest_repeats_no_file_name(terminal, reporter, tmp_path):
    """It would begin each of our lines with the suite's file."""
    terminal().starts(NODEID)
    assert reporter.currentfspath == tmp_path / "letters" / "test_own.py"


STATUSES = {
    "a line of ours": (0, report(), ("passed", "", ("PASSED", {"green": True}))),
    "error": (0, report("failed", "setup"), ("error", "", ("ERROR", {"red": True}))),
    "skipped": (0, report("skipped", "setup"), ("skipped", "", ("SKIPPED", {"yellow": True}))),
    "quiet": (-1, report(), None),
    "another test": (0, report(told=None), None),
    "verbose and open": (
        1, report(told=TOLD | {"unsure": ["top1"]}),
        ("passed", "P", ("PASSED top1=0.9123? [0.9, 0.95] 10 samples 1.23s (new)", {"green": True})),
    ),
    "verbose": (
        1, report("failed"),
        ("failed", "F", ("FAILED top1=0.9123 [0.9, 0.95] 10 samples 1.23s (new)", {"red": True})),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("verbose", "shown", "status"), STATUSES.values(), ids=STATUSES)
def test_status(terminal, verbose, shown, status):
    """Counted as pytest counts; without a letter where a line follows, with the metrics at -v."""
    assert terminal(verbose).status(shown) == status


@pytest.fixture
def summary(tmp_path):
    """Of a run with one pair."""
    paths = RunPaths(tmp_path / "outputs" / "run")
    metrics = {"top1": {"value": 0.5, "n": 4, "low": 0.1, "high": 0.9, "better": "higher"}}
    samples = {"total": 4, "predicted": 4, "failed": 0, "reused": 0}
    result = Result("letters", "a", "one", "passed", metrics, samples, {"total": 1.5}, [], {}, {})
    path = paths.pair(PAIR.key).result
    path.parent.mkdir(parents=True)
    path.write_text(result.dumps())
    return read_summary(paths, lambda *_: False)


def test_the_end_is_of_what_was_selected(terminal, reporter, summary, tmp_path):
    """The run may have more: that is told in a line."""
    shown = terminal()
    shown.summary, shown.suites = summary, {"another"}
    shown.show(reporter, tmp_path / "outputs" / "run")
    assert "top1" not in reporter.text
    assert "also in summary.md: letters (1 pair)\n" in reporter.text


@pytest.mark.parametrize("selected", [{"letters/a/one"}, {"letters/a/one", "letters/a/two"}, {"letters/a/two"}])
def test_the_verdict_is_told_where_the_run_has_more_than_was_selected(terminal, reporter, summary, selected):
    """In the words of its report; of what was selected pytest counts the outcomes."""
    shown = terminal()
    shown.summary, shown.selected = summary, selected
    shown.show(reporter, None)
    told = "the whole run: PASSED: the only pair passed\n" in reporter.text
    assert told == ("letters/a/one" not in selected)


@pytest.mark.parametrize("verbose", [0, -1], ids=["normal", "-q"])
def test_the_end(terminal, reporter, summary, tmp_path, verbose):
    """Tables, where they are kept, and remarks; at -q no tables."""
    shown = terminal(verbose)
    shown.summary, shown.suites = summary, {"letters"}
    shown.remarks.append("every selected pair was skipped")
    shown.show(reporter, tmp_path / "outputs" / "run")
    lines = reporter.text.splitlines()
    assert lines[0] == "== evalrun"
    assert lines[-3:] == [
        "run: outputs/run/",
        "summary: outputs/run/summary/summary.md",
        "every selected pair was skipped",
    ]
    assert any("top1" in line for line in lines) == (verbose == 0)


@pytest.mark.parametrize("suites", [{"letters"}, {"another"}], ids=["selected", "not selected"])
def test_alarms_stand_below_the_tables(terminal, reporter, summary, suites):
    """Of the suites that were selected, whatever of them was."""
    gate = {"metric": "top1", "kind": "max_drop", "value": 0.5, "before": 0.75, "margin": 0.02, "baseline": "main"}
    gate |= {"limit": 0.73, "by": 0.0, "holds": True, "verdict": "INCONCLUSIVE", "tier": "critical", "p": 0.001}
    gate |= {"n": 4, "interval": [-0.7, 0.2], "discordance": 0.25, "confidence": 0.95}
    judged = replace(summary, rows=tuple(replace(row, gates=(gate,)) for row in summary.rows))
    shown = terminal()
    shown.summary, shown.suites = judged, suites
    shown.show(reporter, None)
    told = [line for line in reporter.text.splitlines() if line.startswith("alarms (letters): ")]
    assert len(told) == (2 if "letters" in suites else 0)
    assert all("a/one top1 -0.25 against main" in line for line in told[:1])


def test_a_run_elsewhere_is_named_whole(terminal, reporter):
    """It does not lie where the user stands; where no tables were made, none are named."""
    shown = terminal()
    shown.remarks.append("remark")
    shown.show(reporter, Path("/data/run"))
    assert reporter.text == "== evalrun\nrun: /data/run/\nremark\n"


def test_nothing_to_show_is_no_section(terminal, reporter):
    """Of a session without a run."""
    terminal().show(reporter, None)
    assert reporter.text == ""
