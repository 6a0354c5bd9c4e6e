"""Where there is no suite, nothing is there: no output, no import, no fixture, no handler, no other scheduler."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.usefixtures("all_of_pytest")

TESTS = """
import signal, sys
from pathlib import Path

HEAVY = "pandas numpy onnxruntime paramiko pynvml rich typer pydantic psutil yaml".split()

def test_light():
    assert not [name for name in HEAVY if name in sys.modules]
    ours = {name for name in sys.modules if name.startswith("pytest_evalrun")}
    light = "collectors hooks internals launch options suites urls".split()
    assert ours <= {"pytest_evalrun", "pytest_evalrun.plugin", *(f"pytest_evalrun.plugin.{name}" for name in light)}

def test_signals():
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

def test_plugins(request):
    names = [name for name, _ in request.config.pluginmanager.list_name_plugin() if "evalrun" in name]
    assert names in (["evalrun"], ["pytest_evalrun.plugin"])

def test_scheduler(request):
    session = request.config.pluginmanager.get_plugin("dsession")
    assert session is None or "evalrun" not in type(session.sched).__module__
"""
NO_XDIST = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "xdist":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
"""
SAYS_WHO_IMPORTED = """
import sys
from pathlib import Path

def pytest_unconfigure(config):
    name = getattr(config, "workerinput", {}).get("workerid", "launcher")
    heavy = {"pydantic", "pytest_evalrun.evaluation.life"}
    Path(f"{name}.imports").write_text(" ".join(heavy & set(sys.modules)))
"""
PROGRAM = {
    "adapter": "command",
    "command": ["sh", "-c", 'echo "{{\\"rate\\": 1}}" > "$0/m.json"', "{output}"],
    "results": {"metrics": "{output}/m.json"},
    "metrics": [],
}
# Without the entry points, which would load xdist: as if it were not installed.
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
WAYS = [
    pytest.param((), {}, id="n0"),
    pytest.param(("-n", "2"), {}, id="n2"),
    pytest.param(("-p", "no:xdist"), {}, id="no xdist"),
    pytest.param(("-p", "no_xdist", "-p", "pytest_evalrun.plugin"), ALONE, id="xdist not importable"),
]


@pytest.fixture
def plain(project):
    """A project without any suite; it has YAML files of its own, and directories to walk through."""
    for name in ("tests", "tests/deep/deeper", "other"):
        (project.root / name).mkdir(parents=True, exist_ok=True)
        (project.root / name / "config.yaml").write_text("metrics: [typo]\n")
    (project.root / "pytest.ini").write_text("[pytest]\n")
    (project.root / "tests/test_inert.py").write_text(TESTS)
    (project.root / "no_xdist.py").write_text(NO_XDIST)
    return project


@pytest.mark.parametrize(("args", "env"), WAYS)
def test_without_a_suite_nothing_is_there(plain, args, env):
    """Two lines of options in --help are all that the plugin is."""
    before = set(plain.root.rglob("*"))
    ran = plain.run(".", *args, **env, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(plain.root))
    assert ran.code == 0, ran
    assert "4 passed" in ran
    said = [line for line in ran.output.splitlines() if "eval" in line and not line.startswith("plugins:")]
    assert not said, ran
    assert set(plain.root.rglob("*")) == before
    if args == ("-n", "2"):
        return
    ran = plain.run("--fixtures", *args, **env, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(plain.root))
    assert ran.code == 0, ran
    assert "evaluation" not in ran, ran
    assert "pair" not in ran, ran


@pytest.mark.parametrize(("args", "env"), WAYS[2:])
def test_suites_are_evaluated_without_xdist_too(project, args, env):
    """Pairs, a breached gate, reuse."""
    project.make(models=("a", "b"), gates={"exact_match": {"min": 0.5}})
    (project.root / "no_xdist.py").write_text(NO_XDIST)
    env = env | {"PYTHONPATH": os.pathsep.join([str(project.root)])}
    ran = project.run("evals", *args, **env)
    assert ran.code == 0, ran
    assert "2 passed" in ran
    assert project.run("evals", *args, **env).output.count("reused: unchanged") == 2


@pytest.mark.parametrize("top", [{}, PROGRAM], ids=["python", "program"])
def test_only_who_discovers_a_suite_checks_what_is_written(project, top):
    """The others read what was published; and what evaluates a pair is imported where one is evaluated, only there."""
    project.make(**top)
    (project.root / "conftest.py").write_text(SAYS_WHO_IMPORTED)
    ran = project.run("evals", "-n", "2")
    assert ran.code == 0, ran
    imports = {path.stem: path.read_text() for path in project.root.glob("*.imports")}
    assert imports.keys() == {"launcher", "gw0", "gw1"}
    assert not imports["launcher"]
    names = [name for text in imports.values() for name in text.split()]
    assert sorted(names) == ["pydantic", "pytest_evalrun.evaluation.life"]


def test_a_path_that_cannot_be_is_pytests_to_refuse(plain):
    """Of what no file can be called pytest itself says that it is not there."""
    ran = plain.run("x" * 300)
    assert ran.code == pytest.ExitCode.USAGE_ERROR, ran
    assert "Traceback" not in ran, ran


def test_the_options_are_in_the_help(plain):
    """In a group of their own, each with its meaning."""
    ran = plain.run("--help")
    assert ran.code == 0, ran
    for flag in ("--eval-workdir", "--eval-run", "--eval-mode", "--eval-only", "--eval-limit", "--eval-fresh"):
        assert flag in ran, ran
