"""Which file and line an annotation names, and which text of others is no command."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_evalrun.plugin.ci import GithubPlugin, github_lines, obeyed_by_nobody, repository
from pytest_evalrun.report.rows import Summary, SummaryRow
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import PairKey

GATE = {"metric": "m", "kind": "min", "value": 0.5, "limit": 0.9, "by": 0.4, "holds": False}


def row(task, **more):
    """A result that breaches its gate."""
    metrics = {"m": {"value": 0.5}}
    named = ("s", task, "d", None, PairKey("s", task, "d"))
    return SummaryRow(*named, "failed", metrics, {}, 1.0, more.pop("gates", [GATE]), None, **more)


def pair(task, *layers):
    limit = next((layer.values["limit"] for layer in layers if "limit" in layer.values), None)
    return SimpleNamespace(full_id=f"s/{task}/d", suite="s", layers=layers, peek=lambda _: limit)


@pytest.fixture
def told(tmp_path, monkeypatch):
    """The lines of a launch whose repository is ``tmp_path``."""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))

    def lines(rows, pairs, errors=(), suites=None):
        files = suites or {"s": str(tmp_path / "s" / "evalrun.yaml")}
        return list(github_lines(Summary(tuple(rows)), pairs, dict(errors), files, tmp_path))

    return lines


def test_a_gate_is_named_where_the_highest_layer_sets_it(told, tmp_path):
    """In the suite or in what it imports; one from the command line or the environment has no file."""
    for name in ("common.yaml", "evalrun.yaml"):
        (tmp_path / name).touch()
    low = Layer("suite", str(tmp_path / "common.yaml"), {"gates": {"m": {"min": 0.1}, "k": {}}}, {"gates.m.min": 3})
    high = Layer("override", str(tmp_path / "evalrun.yaml"), {"gates": {"m": {"min": 0.9}}}, {"gates.m": 7})
    other = Layer("command line", "--eval-set", {"gates": {"m": {"min": 0.9}}})
    nothing = Layer("suite", str(tmp_path / "evalrun.yaml"), {"gates": "odd"})
    lines = told([row(task) for task in "abcd"], [pair("a", low, high), pair("b", low, nothing), pair("c", other)])
    assert [line.partition(",title")[0] for line in lines] == [
        "::error file=evalrun.yaml,line=7",
        "::error file=common.yaml,line=3",
        "::error file=s/evalrun.yaml",
    ]


def test_only_what_this_launch_has_done_is_told(told):
    """Not an older result of the same run, nor the values of a pair that ended in an error now."""
    first = Layer("command line", "--eval-limit", {"limit": 10})
    rows = [row("a"), row("b"), row("c"), row("other")]
    lines = told(rows, [pair("a"), pair("b"), pair("c", first)], {"s/b/d": "no model"})
    assert [line.partition("title=")[2] for line in lines] == [
        "ERROR%3A s/b/d::no model",
        "gate breached%3A s/a/d::m 0.5000 < 0.9000 (min)",
    ]


def test_what_is_undecided_or_advisory_is_no_error(told):
    """A warning and a notice, after the errors; a breach that its interval leaves open is told once, as an error."""
    undecided = GATE | {"verdict": "INCONCLUSIVE", "why": "n=180", "interval": [0.4, 0.95], "by": 0, "holds": True}
    advisory = GATE | {"verdict": "FAIL", "tier": "advisory", "holds": True}
    gates = [undecided, undecided | {"holds": False, "by": 0.4}, advisory]
    at, text = "file=s/evalrun.yaml,title=gate", "m 0.5000 < 0.9000 (min)"
    assert told([row("a", gates=gates)], [pair("a")]) == [
        f"::error {at} breached%3A s/a/d::{text}; interval [0.4000, 0.9500]; undecided: n=180",
        f"::warning {at} undecided%3A s/a/d::{text}; interval [0.4000, 0.9500]: n=180",
        f"::notice {at} advisory%3A s/a/d::{text}",
    ]


def test_a_suite_outside_of_the_repository_has_no_file(told):
    """GitHub would look for it in vain."""
    (line,) = told([row("a")], [pair("a")], suites={"s": "/elsewhere/evalrun.yaml"})
    assert line.startswith("::error title=")


def test_the_repository_is_what_holds_the_root(tmp_path, monkeypatch):
    """Where GitHub does not say it: the directory of git, or else pytest's own root."""
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    root = tmp_path / "repository" / "python"
    root.mkdir(parents=True)
    assert repository(root) == root
    (tmp_path / "repository" / ".git").mkdir()
    assert repository(root) == tmp_path / "repository"


TEXTS = {
    "::error::x": r"\x3a:error::x",
    "a\n \t::add-mask::x\nb": "a\n \t\\x3a:add-mask::x\nb",
    "std::vector a::b": "std::vector a::b",
    ": one": ": one",
    "see ##[group]x": r"see ##\x5bgroup]x",
}


@pytest.mark.parametrize(("text", "shown"), TEXTS.items(), ids=TEXTS.values())
def test_what_a_model_says_is_no_command(text, shown):
    """Of either form that the runner knows; what is none stays as it is."""
    assert obeyed_by_nobody(text) == shown


@pytest.mark.parametrize("passed", [True, False])
def test_what_a_pair_printed_is_no_command(passed):
    """Whether it passed or not: pytest may be asked to show the output of both."""
    plugin = GithubPlugin(SimpleNamespace(pairs={"one": pair("t")}))
    printed = [("Captured stdout call", "::add-mask::a\n")]
    report = SimpleNamespace(nodeid="one", passed=passed, longrepr=None, sections=printed, when="call")
    report.failed, report.skipped = not passed, False
    plugin.pytest_runtest_logreport(report)
    assert report.sections == [("Captured stdout call", "\\x3a:add-mask::a\n")]
