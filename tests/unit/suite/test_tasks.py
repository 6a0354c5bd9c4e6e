"""Datasets that a task server has: how they are named, and what is a mistake in them."""

from __future__ import annotations

import pytest

MODELS = "models: [{name: m, adapter: ./my.py:Model}]\n"
NAMED = {
    "by the name": ("datasets: [{name: os, format: agentbench}]", {"os": "os"}),
    "by the task": ("datasets: [{task: os-std, format: agentbench}]", {"os-std": "os-std"}),
    "by both": ("datasets: [{name: os, task: os-std, format: agentbench}]", {"os": "os-std"}),
    "by a task of the suite": (
        "task: os-std\nformat: agentbench\ndatasets: [{name: os}, {name: few, limit: 3}]",
        {"os": "os-std", "few": "os-std"},
    ),
}


@pytest.mark.parametrize(("text", "tasks"), NAMED.values(), ids=NAMED)
def test_a_dataset_is_a_task(suite, text, tasks):
    """A dataset of a task server has no path; its task is called as it is, unless the suite says how."""
    pairs = suite(MODELS + text + "\n").discover().pairs
    assert {pair.dataset.name: pair.settings.task for pair in pairs} == tasks
    assert [pair.dataset.path for pair in pairs] == [f"task://{task}" for task in tasks.values()]


def test_an_imported_format_is_enough(suite):
    """The format may be said by whatever lies below the entries."""
    suite(f"import: common.yaml\n{MODELS}datasets: [{{name: os}}]\n", **{"common.yaml": "format: agentbench\n"})
    (pair,) = suite.discover().pairs
    assert (pair.id, pair.dataset.is_task) == ("m/os", True)


def test_a_task_may_be_chosen_by_an_override(suite):
    """An override changes which task a dataset is, and not what it is called."""
    suite(MODELS + "datasets: [{name: os, format: agentbench}]\noverrides: [{match: 'm/*', task: os-std}]\n")
    (pair,) = suite.discover().pairs
    assert (pair.id, pair.settings.task) == ("m/os", "os-std")


def test_nothing_is_protected_for_a_task(suite):
    """A task is no directory that others must stay out of."""
    assert suite(MODELS + "datasets: [{name: os, format: agentbench}]\n").discover().protected == ()


MISTAKES = {
    "no path": ("datasets: [{name: clean}]", ":2: datasets[0].path: is missing; accepted: the file or directory"),
    "format of an override": (
        "datasets: [{name: os}]\noverrides: [{match: '*', format: agentbench}]",
        ":2: datasets[0].path: is missing; accepted: the file or directory that has the samples; none for",
    ),
    "path of a task": (
        "datasets: [{path: clean.csv, format: agentbench}]",
        ":2: datasets[0].path: found next to format agentbench, whose samples a task server has; accepted: `task`",
    ),
    "no name": ("datasets: [{format: agentbench}]", ":2: datasets[0]: found neither name nor path; accepted: one of"),
}


@pytest.mark.parametrize(("text", "problem"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_usage_errors(suite, text, problem):
    """What is wrong is told with its line, and with what is accepted."""
    assert problem in suite(MODELS + text + "\n").problem()
