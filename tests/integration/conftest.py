from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

# Plugins that each pytest which a test starts would load.
BROUGHT_ALONG = "hypothesispytest anyio platformdirs allure_pytest"
NEVER_USED = (
    "doctest legacypath pastebin setuponly setupplan stepwise subtests threadexception unittest unraisableexception"
)


def without(*plugins):
    """The options that leave them out."""
    return " ".join(f"-p no:{name}" for name in " ".join(plugins).split())


@pytest.fixture
def project(tmp_path):
    """An empty place for a suite of the test's own."""
    from support import Project

    return Project(tmp_path / "project")


@pytest.fixture
def batch(tmp_path):
    """A batch system of the test's own; see batchsystem.py."""
    from batchsystem import BatchSystem

    with BatchSystem(tmp_path / "batch") as system:
        yield system


@pytest.fixture
def cluster(project, batch):
    """``cluster(models=…)``: a suite whose jobs go to the batch system."""
    return lambda **words: project.make(**({"batch_system": batch.words()} | words))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The suite that ``project.make()`` writes, and a run of it, made once."""
    from support import Project

    made = Project(tmp_path_factory.mktemp("finished") / "project").make()
    ran = made.run()
    assert ran.code == 0, ran
    return made.root


@pytest.fixture
def evaluated(project, finished):
    """The same for a test of its own: a run is found again wherever it is copied to."""
    shutil.copytree(finished, project.root, symlinks=True)
    return project


@pytest.fixture(scope="session")
def warm():
    """One Python for all runs of this session that are waited for: it forks them."""
    from warm import WarmPython

    python = WarmPython()
    yield python
    python.close()


@pytest.fixture(scope="module", autouse=True)
def light_children(request):
    """What the tests of a module start does without plugins that our own tests bring along and that take two thirds of
    the start of each pytest; where a test waits for it anyway, without importing all of it once more; and, unless the
    module is marked as measured, without those of pytest's own that nothing here looks at, which take a quarter of
    what is left, and without coverage, which makes short processes half as long again."""
    from support import Project

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Project, "warm", request.getfixturevalue("warm"))
        for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):  # what is tested here is no job of anybody's own
            patch.delenv(name, raising=False)
        if request.node.get_closest_marker("measured"):
            patch.setenv("PYTEST_ADDOPTS", without(BROUGHT_ALONG))
        else:
            patch.setenv("PYTEST_ADDOPTS", without(BROUGHT_ALONG, NEVER_USED))
            for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
                patch.delenv(name, raising=False)
        yield


@pytest.fixture
def all_of_pytest(monkeypatch):
    """For a test of what another of pytest's own plugins does beside ours, and of what is imported when."""
    from support import Project

    monkeypatch.setenv("PYTEST_ADDOPTS", without(BROUGHT_ALONG))
    monkeypatch.setattr(Project, "warm", None)


@pytest.fixture
def with_allure(monkeypatch):
    """For a test of what Allure's plugin makes."""
    monkeypatch.setenv("PYTEST_ADDOPTS", os.environ["PYTEST_ADDOPTS"].replace(without("allure_pytest"), ""))


@pytest.fixture(scope="session")
def slurm():
    """A real Slurm of four nodes with four GPUs each, for all modules of this process that ask for one."""
    from slurmhost import Slurm

    with Slurm() as started:
        yield started


@pytest.fixture(scope="session")
def chromium():
    """A real browser, for all modules of this process that ask for one; see browser.py."""
    from browser import Chromium

    started = Chromium()
    yield started
    started.close()


@pytest.fixture
def window(chromium):
    """A window of it for a test; whatever the test looked at, the page did nothing that a page of ours never does."""
    with chromium.window() as opened:
        yield opened
        assert opened.troubles == []


@pytest.fixture
def boards(tmp_path, monkeypatch):
    """So many boards that run, with a home each.

    Neither the agent nor the keys of whoever runs the tests open a door, and no lease is anybody else's.
    """
    from sshd import Sshd

    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("EVALRUN_SLOTS_DIR", str(tmp_path / "slots"))
    with ExitStack() as stack:
        yield lambda count=1, **how: [
            stack.enter_context(Sshd(tmp_path / f"b{number}", **how)) for number in range(1, count + 1)
        ]
