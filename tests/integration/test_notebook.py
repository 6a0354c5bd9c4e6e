"""Runs of a real pytest as a notebook sees them: docs/notebook.md, an example to copy, and a run that is under way."""

from __future__ import annotations

import re

import pytest
from support import kill_group, wait_for

import pytest_evalrun as er
from pytest_evalrun.errors import ConfigError
from tools import notebook


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Two runs of two models and two datasets."""
    root = tmp_path_factory.mktemp("digits")
    notebook.make_runs(root)
    return root


@pytest.mark.parametrize("page", notebook.PAGES, ids=lambda page: page.name)
def test_pages_show_what_their_code_shows(digits, page):
    """All Python of the page is run in order; whoever changes a column or a word runs `make docs`."""
    text = page.read_text(encoding="utf-8")
    assert "```python" in text
    assert notebook.fresh(text, digits) == text, f"{page.name} is stale: make docs"


def test_code_that_fails_is_not_passed_over(digits):
    """A page whose code is wrong fails its test, not its reader."""
    with pytest.raises(AttributeError, match="laod"):
        notebook.fresh("```python\nimport pytest_evalrun as er\ner.laod()\n```\n", digits)


def test_samples_are_those_of_the_file(digits):
    """Every answer with its scores, and the path of the image that was asked about."""
    frame = er.load(workdir=digits / "outputs/default").samples("mlp/clean")
    assert len(frame) == 300
    assert frame["index"].tolist() == list(range(300))
    assert frame["score.top1"].mean() == pytest.approx(0.98)
    assert frame["input"].iloc[0] == str(digits / "evals/digits/data/clean/0000.png")


def test_a_run_is_read_while_it_goes_on(project):
    """Pairs that run, samples so far; the session notices nothing, and the same Run sees how it ended."""
    models = [{"name": "a", "path": "a.bin", "params": {"delay": 0.05}}]
    project.make(samples=60, models=[]).yaml(["a"], ["one"], models=models)
    (project.suite / "a.bin").write_text("weights")
    process = project.start("evals")
    try:
        wait_for(lambda: list(project.workdir.glob("*/predictions/*/*/one.jsonl")), process=process)
        run = er.load("latest", workdir=project.workdir)
        wait_for(lambda: len(run.samples("a/one")) >= 4, process=process)
        wait_for(lambda: run.pairs["status"].tolist() == ["running"], process=process)
        assert "(running)" in repr(run)
        early = run.samples("a/one")
        assert 4 <= len(early) < 60
        assert early["input.x"].tolist() == early["prediction"].tolist() == list(range(len(early)))
        assert not [name for name in early if name.startswith("score.")]
        output = process.communicate(timeout=120)[0]
    finally:
        kill_group(process)
    assert process.returncode == 0, output
    assert run.pairs["status"].tolist() == ["passed"]
    assert run.samples("a/one")["score.exact_match"].sum() == 60
    assert run.events["event"].iloc[-1] == "run_finished"


def test_a_suite_of_yesterday_has_samples_without_inputs(evaluated):
    """Its run is there, its data is not."""
    run = er.load(workdir=evaluated.workdir)
    assert "input.x" in run.samples("a/one")
    (evaluated.suite / "evalrun.yaml").unlink()
    frame = run.samples("a/one")
    assert len(frame) == 8
    assert not [name for name in frame if name.startswith("input")]
    assert run.results["value"].tolist() == [1.0]


def test_data_that_cannot_be_read_costs_the_inputs(evaluated):
    """A warning says which file."""
    (evaluated.suite / "one.jsonl").write_text("{torn\n")
    run = er.load(workdir=evaluated.workdir)
    with pytest.warns(UserWarning, match=re.escape("echo/a/one: the inputs are not shown: ")):
        assert len(run.samples("a/one")) == 8


def test_no_run_of_a_project_is_an_error_of_one_line(project, monkeypatch):
    """What to do stands in it."""
    project.make()
    monkeypatch.chdir(project.root)
    with pytest.raises(ConfigError) as raised:
        er.load("latest")
    assert str(raised.value).count("\n") == 0
