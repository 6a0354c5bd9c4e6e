"""Where the command looks for runs: where pytest would put them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_evalrun.cli import app
from pytest_evalrun.cli.project import workdir_of
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.plugin.options import read_options

ROOT = Path(__file__).parents[3]
INI = "[pytest]\neval_workdir = runs/all\n"
INNER = {"pytest.ini": INI, "inner/pytest.ini": "[pytest]\neval_workdir = own\n"}


@pytest.mark.parametrize(
    ("files", "here", "args", "addopts"),
    [
        pytest.param({}, ".", (), "", id="no ini file"),
        pytest.param({"setup.py": ""}, "a/b", (), "", id="a setup.py"),
        pytest.param({"pytest.ini": INI}, ".", (), "", id="where the ini file is"),
        pytest.param({"pytest.ini": INI}, "a/b", (), "", id="far below the ini file"),
        pytest.param({"pyproject.toml": "[tool.pytest]\neval_workdir = 'x'\n"}, "a", (), "", id="pyproject.toml"),
        pytest.param({"tox.ini": "[pytest]\n"}, "a", (), "", id="an ini file without the key"),
        pytest.param(INNER, ".", (), "", id="above a project of its own"),
        pytest.param(INNER, "inner", (), "", id="within a project of its own"),
        pytest.param(INNER, ".", ("inner",), "", id="its path"),
        pytest.param(INNER, ".", ("inner/evalrun.yaml::test_pair[a/b]",), "", id="an id of it"),
        pytest.param(INNER, ".", ("inner", "a"), "", id="its path and another"),
        pytest.param({"pytest.ini": f"{INI}addopts = -q --eval-workdir 'of addopts'\n"}, "a", (), "", id="addopts"),
        pytest.param({"pytest.ini": INI}, "a", (), "--eval-workdir=environment -v", id="PYTEST_ADDOPTS"),
        pytest.param({"pytest.ini": INI}, "a", (), "-o eval_workdir=over", id="an override"),
        pytest.param(INNER, "a", (), "-c ../inner/pytest.ini", id="another ini file"),
        pytest.param(INNER, ".", (), "--rootdir a", id="another rootdir"),
        pytest.param({"pytest.ini": "[pytest]\neval_workdir = /elsewhere/runs\n"}, "a", (), "", id="absolute"),
    ],
)
def test_it_is_the_one_that_pytest_takes(pytester, monkeypatch, files, here, args, addopts):
    """Of all that decides where pytest keeps runs, nothing is decided otherwise by the command."""
    for directory in ("a/b", "inner"):
        (pytester.path / directory).mkdir(parents=True)
    (pytester.path / "inner" / "evalrun.yaml").touch()
    for name, text in files.items():
        (pytester.path / name).write_text(text)
    monkeypatch.setenv("PYTEST_ADDOPTS", addopts)
    monkeypatch.chdir(pytester.path / here)
    config = pytester.parseconfig(*args)
    assert Path.cwd() / workdir_of(args) == read_options(config).workdir


def test_examples_leave_the_run_of_the_project_alone(monkeypatch):
    """They are a project of their own; the run of `pytest evals/` is somebody's work."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    assert str(workdir_of(["examples"])) == str(workdir_of(["examples/breach"])) == "outputs/examples"
    assert str(workdir_of(["evals"])) == "outputs/default"


def test_it_is_shown_as_one_would_write_it(tmp_path, monkeypatch):
    """Below the current directory without the way there; elsewhere it says where."""
    (tmp_path / "pytest.ini").write_text(INI)
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    assert str(workdir_of()) == "runs/all"
    monkeypatch.chdir(tmp_path / "a")
    assert str(workdir_of()) == str(tmp_path / "runs/all")


@pytest.mark.parametrize(
    ("ini", "addopts"),
    [("[pytest\n", ""), ("[pytest]\naddopts = 'open\n", ""), ("[pytest]\n", "--rootdir"), ("[pytest]\n", "-c no.ini")],
)
def test_what_pytest_cannot_read_is_an_error_of_ours(tmp_path, monkeypatch, ini, addopts):
    """A sentence, and no traceback."""
    (tmp_path / "pytest.ini").write_text(ini)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", addopts)
    with pytest.raises(ConfigError):
        workdir_of()


def test_every_command_asks_for_it():
    """There is one way to name a work directory, and one to do without."""
    asked = {command.callback.__name__: command.callback.__annotations__ for command in app.registered_commands}
    speak_of_no_run = {"schema", "controller", "task_worker", "start"}
    kinds = {name: told["workdir"] for name, told in asked.items() if name not in speak_of_no_run}
    assert set(kinds.values()) == {"WorkDirOption"}, kinds
