"""examples/plugin: a package that adds a kind of model, a metric and a reader, installed beside ours."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packages import installed

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"
(SUITE,) = re.findall(r"```yaml\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)


@pytest.fixture
def plugin(project, tmp_path, monkeypatch):
    """The suite of the README on disk, and the package as pip leaves it."""
    declared = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    source = (EXAMPLE / "evalrun_recorded.py").read_text()
    site = installed(tmp_path / "site", declared["name"], declared["entry-points"], evalrun_recorded=source)
    monkeypatch.setenv("PYTHONPATH", str(site))
    project.suite.mkdir(parents=True)
    (project.root / "pytest.ini").write_text("[pytest]\n")
    (project.suite / "evalrun.yaml").write_text(SUITE)
    (project.suite / "sums.txt").write_text("1+1\t2\n2+3\t5\n")
    (project.suite / "answers.csv").write_text("id,answer,first\n1,2,9\n2,6,9\n")
    (project.suite / "service.csv").write_text("id,text\n1,2\n2,50\n")
    return project


def test_a_package_adds_a_kind_of_model(plugin):
    """Its model, metric and reader work by name in workers; a change of its words or of its file is evaluated again."""
    assert "2 passed" in plugin.run("evals", "-n2")
    assert (within(plugin, "colleague"), within(plugin, "service")) == (1.0, 0.5)
    assert "settings of the adapter" not in plugin.run("evals", "-n2")
    assert loads(plugin) == 2
    again = plugin.run("evals", "-n2", "--eval-set", "column=first", "-k", "colleague")
    assert "settings of the adapter changed (column)" in again
    assert within(plugin, "colleague") == 0.0
    (plugin.suite / "service.csv").write_text("id,text\n1,2\n2,5\n")
    assert "answers changed" in plugin.run("evals", "-p", "no:xdist", "-k", "service")
    assert within(plugin, "service") == 1.0
    assert loads(plugin) == 4


def test_its_words_are_checked_when_the_suite_is_read(plugin):
    """A slip is a usage error with file and line, and the words that are accepted are those of its kind."""
    (plugin.suite / "evalrun.yaml").write_text(SUITE.replace("column: text", "colum: text"))
    done = plugin.run("evals", "-n2")
    assert done.code == 4
    told = r"evalrun\.yaml:3: models\[1\]\.colum: unknown key; did you mean 'column'\? accepted: adapter, answer, "
    assert re.search(told, done.output)


def within(project, task):
    return project.result(task, "sums")["metrics"]["within"]["value"]


def loads(project):
    return sum(event["event"] == "model_loaded" for event in project.events())
