"""What jobs get of the command line of their launch."""

from __future__ import annotations

import pytest

from pytest_evalrun.plugin.engine.handedon import handed_on

CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--device", default="cpu")
    parser.addoption("--fast", action="store_true")
    parser.addoption("--level", type=int, default=1)
    parser.addoption("--tag", action="append", default=[])
    parser.addoption("--dirs", nargs="*", default=[])
"""
CASES = {
    "nothing": ([], []),
    "plugins, warnings, ini": (
        ["-p", "no:nose", "-W", "error", "-o", "xfail_strict=true"],
        ["-p", "no:nose", "-W", "error", "-o", "xfail_strict=true"],
    ),
    "how items are told": (["-vv", "--tb=short", "-l"], ["--verbose", "--verbose", "--showlocals", "--tb=short"]),
    "capture": (["-s"], ["--capture=no"]),
    "import mode": (["--import-mode=importlib"], ["--import-mode=importlib"]),
    "a choice": (["--device", "cuda:1"], ["--device=cuda:1"]),
    "a switch": (["--fast"], ["--fast"]),
    "a number": (["--level=3"], ["--level=3"]),
    "several": (["--tag=a b", "--tag=c"], ["--tag=a b", "--tag=c"]),
    "many": (["--dirs", "x", "y"], ["--dirs", "x", "y"]),
    "as the default": (["--device=cpu"], []),
    "quiet": (["-q"], ["--verbosity=-1"]),
    "selection": (["-k", "a", "-m", "b", "-x", "--lf", "--deselect", "z"], []),
    "reports": (["--junitxml=x.xml", "--durations=3", "-ra", "--color=no"], []),
    "xdist": (["-n", "2", "--dist", "loadfile"], []),
    "ours": (["--eval-limit=3", "--eval-jobs=2"], []),
    "messages": (["--eval-notify=a://t0k3n", "-o", "eval_notify=a://t0k3n", "-o", "eval_notify_link=x"], []),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES)
def test_what_shapes_items_is_handed_on(pytester, given, expected):
    """Whatever says how an item runs or is told goes along, options of users' own too; the rest is the launch's."""
    pytester.makeconftest(CONFTEST)
    config = pytester.parseconfig(pytester.path, *given)
    # What pytester gives to each of its sessions comes first.
    own = handed_on(pytester.parseconfig(pytester.path))
    assert handed_on(config)[len(own) :] == expected
