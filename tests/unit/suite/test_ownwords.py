"""Words that a kind of model adds to evalrun.yaml: in every layer, with file and line, and told to whoever errs."""

from __future__ import annotations

import sys

import pytest
from packages import installed

from pytest_evalrun import registry
from pytest_evalrun.suite.runconfig import eval_set_layer

MODULE = """
from typing import Annotated
from pydantic import BaseModel, Field
from pytest_evalrun.adapters import ModelKind

class Deep(BaseModel):
    model_config = {"extra": "forbid"}
    low: int = 0

class Recorded(ModelKind):
    class Own(BaseModel):
        answers: Annotated[str, Field(min_length=1)]
        column: str = "answer"
        times: Annotated[int, Field(ge=1)] = 1
        deep: Deep = Deep()

class Taken(ModelKind):
    class Own(BaseModel):
        limit: int = 1
"""
MODELS = "models:\n  - {name: m}\ndatasets: [{path: clean.csv}]\n"
RECORDED = f"adapter: recorded\nanswers: a.csv\n{MODELS}"


@pytest.fixture
def suite(suite, tmp_path, monkeypatch):
    """With a package that offers kinds, one of them broken."""
    points = {"recorded": "recorded_kind:Recorded", "taken": "recorded_kind:Taken", "broken": "no_such_module:Kind"}
    points |= {"no_kind": "recorded_kind:Deep"}
    place = installed(tmp_path / "site", "recorded", {registry.ADAPTERS: points}, recorded_kind=MODULE)
    monkeypatch.syspath_prepend(place)
    yield suite
    sys.modules.pop("recorded_kind", None)


def test_words_of_a_kind_stand_in_every_layer(suite):
    """As those of all kinds do; a higher layer wins, and the pair knows where each comes from."""
    suite(RECORDED + "overrides: [{match: '*', times: 2, deep: {low: 1}}]\n")
    own = suite.settings("m/clean").own
    assert (own.answers, own.column, own.times, own.deep.low) == ("a.csv", "answer", 2, 1)
    settings = suite.settings("m/clean", environ={"EVALRUN_TIMES": "3"}, eval_set=[eval_set_layer(["column=x"])])
    assert (settings.own.times, settings.own.column) == (3, "x")
    assert settings.origins["times"].source == "EVALRUN_TIMES"


def test_words_of_a_kind_in_a_run_config(tree, suite):
    """Of a suite that names the kind; in another they are the program's business."""
    text = "discover: {model_file_ext: .bin, in_subdir: in}\n"
    tree(f"adapter: recorded\nanswers: a\n{text}").write({"a/.run_config": "COLUMN=x\nMINE=1\n"})
    settings = tree.settings("a/d1")
    assert (settings.own.column, settings.env) == ("x", {"MINE": "1"})
    tree(f"adapter: ./my.py:Model\n{text}")
    assert tree.settings("a/d1").env == {"COLUMN": "x", "MINE": "1"}


MISTAKES = {
    "value": (RECORDED + "times: 0\n", "evals/evalrun.yaml:6: times: found 0; accepted: greater than or equal to 1"),
    "value of an entry": (
        RECORDED.replace("{name: m}", "{name: m, times: x}"),
        "evals/evalrun.yaml:4: models[0].times: found 'x'; accepted: integer",
    ),
    "inside a word": (RECORDED + "deep: {lo: 1}\n", ":6: deep.lo: unknown key; did you mean 'low'? accepted: low"),
    "missing": (
        f"adapter: recorded\n{MODELS}",
        "evals/evalrun.yaml:1: answers: is missing; adapter recorded needs it",
    ),
    "unknown": (
        RECORDED + "colum: x\n",
        ":6: colum: unknown key; did you mean 'column'? accepted: adapter, answer, answers,",
    ),
    "a word of others": (
        RECORDED + "command: echo\n",
        "evals/evalrun.yaml:6: command: `command` is a word of the kinds command and ssh; this is recorded",
    ),
    "a word of this kind elsewhere": (
        f"adapter: ./my.py:Model\n{MODELS}column: x\n",
        ":5: column: `column` is a word of the kind recorded; this is ./my.py:Model",
    ),
    "a word of onnx": (
        f"adapter: ./my.py:Model\n{MODELS}output: {{kind: class}}\n",
        ":5: output: `output` is a word of the kind onnx; this is ./my.py:Model",
    ),
    "none at once": (
        f"adapter: ./my.py:Model\n{MODELS}concurrency: 0\n",
        ":5: concurrency: found 0; accepted: greater than or equal to 1",
    ),
    "a word of two kinds, as the other means it": (
        f"{MODELS.replace('{name: m}', '{name: m, adapter: ./my.py:Model}')}concurrency: 10-20-100\n",
        ":4: concurrency: found '10-20-100'; accepted with ./my.py:Model: a number from 1",
    ),
    "a word of two kinds, of neither": (
        f"adapter: recorded\nanswers: a\n{MODELS}concurrency: 2\n",
        ":6: concurrency: `concurrency` is a word of the kinds http, openai and python; this is recorded",
    ),
    "taken": (f"adapter: taken\n{MODELS}", ":1: adapter: adapter taken of the package recorded (entry point taken ="),
    "broken": (
        f"adapter: broken\n{MODELS}",
        ":1: adapter: adapter broken of the package recorded (entry point broken = no_such_module:Kind) cannot be",
    ),
    "no kind": (f"adapter: no_kind\n{MODELS}", "is no kind of model; accepted: a class that extends"),
    "name": (f"adapter: recordd\n{MODELS}", ":1: adapter: found the unknown name 'recordd'; did you mean 'recorded'?"),
}


@pytest.mark.parametrize(("text", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_have_file_and_line(suite, text, told):
    """A word is told with its place, and with the words of its kind; one of another kind with whose it is."""
    assert told in suite(text).problem()


def test_words_that_are_accepted_are_those_of_the_kind(suite):
    """Whoever has a model of one kind is not offered the words of another."""
    told = suite(RECORDED + "colum: x\n").problem()
    assert "times" in told
    assert "command" not in told
    assert "output" not in told


def test_words_may_be_for_some_of_the_pairs(suite):
    """What stands for all models need not mean something to each; and a launch may choose another adapter."""
    text = "models: [{name: m, adapter: ./my.py:Model}, {name: n, adapter: recorded}]\ndatasets: [{path: clean.csv}]\n"
    assert suite(f"{text}answers: a.csv\n").ids() == ["m/clean", "n/clean"]
    assert not hasattr(suite.settings("m/clean").own, "answers")
    assert suite(RECORDED).ids(environ={"EVALRUN_ADAPTER": "./my.py:Model"}) == ["m/clean"]


def test_two_kinds_may_have_one_word(suite):
    """It means to each pair what its own kind means by it."""
    models = (
        "models: [{name: m, adapter: ./my.py:Model, concurrency: 3}, {name: n, adapter: openai, base_url: http://n/v1}]"
    )
    suite(f"{models}\ndatasets: [{{path: clean.csv}}]\noverrides: [{{match: n/*, concurrency: 1-2-3}}]\n")
    assert [suite.settings(pair).own.concurrency for pair in ("m/clean", "n/clean")] == [3, "1-2-3"]


def test_a_broken_package_hurts_who_asks_for_it_alone(suite):
    """A key that nobody knows makes us look at all kinds; one that cannot be had is passed over."""
    assert suite().ids() == ["m1/clean", "m1/noisy", "m2/clean", "m2/noisy"]
    assert "unknown key" in suite("adapter: ./my.py:Model\n" + MODELS + "colour: x\n").problem()


def test_a_kind_that_is_not_installed_is_told_before_its_words(suite):
    """Who has forgotten to install a package reads its name first, and not only that its words are unknown."""
    suite(f"adapter: recrded\nsheet: a.csv\n{MODELS}")
    first, second = suite.problems()
    assert "evalrun.yaml:1: adapter: found the unknown name 'recrded'; did you mean 'recorded'?" in first
    assert "evalrun.yaml:2: sheet: unknown key" in second
