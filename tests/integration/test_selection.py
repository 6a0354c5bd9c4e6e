"""Pairs are selected like any test; nothing is made before the first of them is dispatched."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest
from support import Project


class Cached(Project):
    """With pytest's own cache, which ``--lf`` and ``--ff`` need."""

    def command(self, *args):
        return [sys.executable, "-m", "pytest", *args]


@pytest.fixture
def project(tmp_path):
    """Like everywhere, with a cache."""
    return Cached(tmp_path / "project")


def models(*names, **of):
    """Entries of ``models``; ``of`` has further keys by name."""
    return [{"name": name, "path": "a.bin"} | of.get(name, {}) for name in names]


def ended(ran):
    """Full ids of the pairs that ended, in the order of their lines."""
    return re.findall(r"^(?:PASSED|FAILED|ERROR|SKIPPED) +(echo/.*?)(?:  |$)", ran.output, re.MULTILINE)


def plan(ran):
    """Full id → what would be done and why, as ``--collect-only`` says."""
    lines = ran.output.partition("evalrun plan")[2].splitlines()[1:]
    return {line.split()[1]: f"{line.split()[0]}: {line.partition('(')[2]}" for line in lines if "echo/" in line}


@pytest.fixture
def four(project):
    """Two models x two datasets."""
    return project.make(models=("a", "b"), datasets=("one", "two"))


def test_a_tag_is_a_marker(project):
    """Tags of models, datasets and overrides select with -m, and --strict-markers knows them."""
    project.make(models=("a",))
    entries = models("a", "b", a={"tags": ["quick"]})
    project.yaml((), ("one",), models=entries, overrides=[{"match": "b/*", "tags": ["quick", "slow"]}])
    ran = project.run("evals", "-m", "quick and not slow", "--strict-markers", "-n", "1")
    assert (ran.code, ended(ran)) == (0, ["echo/a/one"]), ran


def test_a_name_in_any_script_is_found_by_k(project):
    """pytest escapes such ids; the raw name selects all the same."""
    project.make(models=("a",))
    project.yaml((), ("one",), models=models("任务A", "任务B"))
    ran = project.run("evals", "-k", "任务A")
    assert (ran.code, ended(ran)) == (0, ["echo/任务A/one"]), ran
    assert "1 deselected" in ran


@pytest.mark.parametrize("workers", ["0", "1"])
def test_lf_and_ff_take_up_what_failed(four, workers):
    """A breached gate is a failure that pytest remembers."""
    four.dataset("two", 8, wrong=8)
    four.yaml(("a", "b"), ("one", "two"), gates={"exact_match": {"min": 0.5}})
    ran = four.run("evals", "-n", workers)
    assert (ran.code, sorted(ended(ran))) == (1, [f"echo/{m}/{d}" for m in "ab" for d in ("one", "two")]), ran
    ran = four.run("evals", "--lf", "-n", workers)
    assert (ran.code, sorted(ended(ran))) == (1, ["echo/a/two", "echo/b/two"]), ran
    if workers == "0":
        ran = four.run("evals", "--ff")
        assert ended(ran) == ["echo/a/two", "echo/b/two", "echo/a/one", "echo/b/one"], ran


def test_an_odd_id_can_be_pasted_and_deselected(project):
    """As pytest itself shows it, with whatever is in the names."""
    project.make(models=("a",))
    project.yaml((), ("one",), models=models('it\'s $(touch owned) "x"', "任务 A", "plain"))
    listed = project.run("evals", "--collect-only", "-q")
    ids = [line for line in listed.output.splitlines() if line.startswith("evals/echo/evalrun.yaml::test_pair[")]
    assert len(ids) == 3, listed
    ran = project.run(*ids[:2], "-n", "1")
    assert "2 passed" in ran, ran
    ran = project.run("evals", *(word for nodeid in ids[:2] for word in ("--deselect", nodeid)), "-n", "1")
    assert (ran.code, ended(ran)) == (0, ["echo/plain/one"]), ran
    assert not list(project.root.rglob("owned"))


@pytest.mark.parametrize(("workers", "option", "most"), [("0", "--maxfail=2", 2), ("2", "-x", 1)])
def test_a_failure_may_end_the_run(project, workers, option, most):
    """The rest stays pending, and the run is closed in good order."""
    names = "abcdefgh"
    project.make(models=("a",))
    project.dataset("one", 4, wrong=4)
    project.yaml((), ("one",), models=models(*names), gates={"exact_match": {"min": 0.5}})
    ran = project.run("evals", option, "-n", workers)
    assert ran.code == (1 if workers == "0" else 2), ran
    failed = len(ended(ran))
    assert failed == most if workers == "0" else most <= failed < len(names), ran
    states = [line[-1] for line in (project.latest / ".task_list").read_text().splitlines() if line.startswith("-")]
    assert (states.count("3"), states.count("0")) == (failed, len(names) - failed)
    assert json.loads((project.latest / "session.json").read_text())["ended"]
    assert (project.latest / "summary/summary.csv").exists()


def test_collect_only_says_what_would_be_done_and_why(project, tmp_path):
    """A dry run: run, reuse, score or skip, each with its reason; it makes no run directory, however often."""
    datasets = ("new", "same", "scored", "changed")
    project.make(models=("a",), datasets=datasets)
    entries = models("a", "off", off={"skip": "not today"})
    project.yaml((), datasets, models=entries)
    for _ in range(2):
        ran = project.run("evals", "--collect-only")
        assert ran.code == 0, ran
        assert {verdict for name, verdict in plan(ran).items() if "/a/" in name} == {"run: new)"}, ran
        assert plan(ran)["echo/off/new"] == "skip: not today)", ran
        assert not (project.root / "outputs").exists()
    project.run("evals", "-k", "not new")
    project.dataset("scored", 8, wrong=1)
    (project.suite / "changed.jsonl").write_text('{"x": 5, "y": 5}\n')
    before = sorted(path.name for path in project.workdir.iterdir())
    files = sorted(project.latest.rglob("*"))
    for _ in range(2):
        ran = project.run("evals", "--collect-only", "-q", ASKED=str(tmp_path / "asked"))
        found = plan(ran)
        assert found["echo/a/new"] == "run: new)", ran
        assert found["echo/a/same"].startswith("reuse: reused: unchanged since"), ran
        assert found["echo/a/scored"] == "score: scored again: references changed)", ran
        assert found["echo/a/changed"].startswith("run: re-run: dataset changed"), ran
        assert "8 samples" in ran
    assert not (tmp_path / "asked").exists()
    assert sorted(path.name for path in project.workdir.iterdir()) == before
    assert sorted(project.latest.rglob("*")) == files


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        pytest.param(("--fixtures",), 0, ("pair", "evaluation"), id="--fixtures"),
        pytest.param(("-k", "typo"), 5, ("4 deselected",), id="-k typo"),
        pytest.param(("-k", "typo", "-n", "2"), 5, ("no tests ran",), id="-k typo n2"),
        pytest.param(("--setup-plan",), 0, (), id="--setup-plan"),
        pytest.param(("--dist", "each", "--tx", "2*popen"), 1, ("8 errors", "--dist load"), id="--dist each"),
    ],
)
def test_where_no_pair_is_dispatched_no_run_is_made(four, args, code, words, all_of_pytest):
    """The run directory is born with the first item."""
    ran = four.run("evals", *args)
    assert ran.code == code, ran
    for word in words:
        assert word in ran, ran
    assert "Traceback" not in ran, ran
    assert not (four.root / "outputs").exists()


def test_the_runs_own_state_selects(four):
    """unfinished, failed and stale; ordinary tests are never deselected by it."""
    (four.root / "evals" / "test_plain.py").write_text("def test_plain():\n    pass\n")
    four.dataset("two", 8, wrong=8)
    four.yaml(("a", "b"), ("one", "two"), gates={"exact_match": {"min": 0.5}})
    assert four.run("evals", "-n", "1", "-k", "a/").code == 1
    ran = four.run("evals", "-n", "1", "--eval-only", "failed")
    assert ended(ran) == ["echo/a/two"], ran
    assert "1 failed, 1 passed" in ran, ran
    ran = four.run("evals", "-n", "1", "--eval-only", "unfinished")
    assert sorted(ended(ran)) == ["echo/a/two", "echo/b/one", "echo/b/two"], ran
    four.dataset("one", 8)
    (four.suite / "one.jsonl").write_text('{"x": 5, "y": 5}\n')
    ran = four.run("evals", "-n", "1", "--eval-only", "stale")
    assert sorted(ended(ran)) == ["echo/a/one", "echo/b/one"], ran
    assert "re-run: dataset changed" in ran
    ran = four.run("evals", "-n", "1", "--eval-only", "stale")
    assert ended(ran) == [], ran
    assert "1 passed" in ran, ran


def test_quiet_and_verbose_are_pytests_own(four):
    """-q keeps pytest's letters, -v shows a word and the metrics behind each node id."""
    ran = four.run("evals", "-q")
    assert "....  " in ran, ran
    assert ended(ran) == [], ran
    ran = four.run("evals", "-v", "-n", "2")
    assert ran.output.count("PASSED exact_match=1 [") == 4 or ran.output.count("PASSED") == 4, ran
    assert ended(ran) == [], ran
    assert "run: outputs/default/" in ran, ran


def test_a_broken_neighbour_is_not_looked_at(project):
    """What is wrong with a suite beside the one that was asked for is nobody's business now."""
    project.make(("a",))
    other = project.root / "other"
    other.mkdir()
    (other / "evalrun.yaml").write_text("adapter: 7\n")
    ran = project.run("evals", "-n", "0")
    assert (ran.code, "1 passed" in ran) == (0, True), ran
    assert project.run("-n", "2", "other/..").code == 4
    assert project.run("-n", "0").code == 4


def test_the_tables_at_the_end_are_of_what_was_selected(project):
    """A run has other suites too: one line says so, and the files have them."""
    project.make()
    shutil.copytree(project.suite, project.suite.with_name("other"))
    both = project.run("evals")
    assert "echo: exact_match" in both and "other: exact_match" in both
    assert "also in summary.md" not in both
    one = project.run("evals/other")
    assert "other: exact_match" in one and "echo: exact_match" not in one
    assert "also in summary.md: echo (1 pair)" in one
    assert "echo" in (project.latest / "summary/summary.md").read_text()
