"""evalrun.yaml → a module of items, and what pytest must not walk into. Nothing here asks which suites there are."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.plugin.internals import MadeModule
from pytest_evalrun.plugin.launch import revive_imports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUITE_FILE = "evalrun.yaml"


class SuiteModule(MadeModule):
    """evalrun.yaml collected as a module whose only function is ``test_pair``, or none: a suite need not run its pairs.

    ``has_pairs`` says which.
    """

    def __init__(self, *, has_pairs: bool, **given: Any) -> None:
        super().__init__(**given)
        self._has_pairs = has_pairs

    def make(self) -> ModuleType:
        """A module of its own, because reports show what a module says of itself."""
        from pytest_evalrun.plugin.pair_module import test_pair

        module = ModuleType("evalrun", f"The suite in {self.path}.")
        vars(module)["test_pair"] = test_pair
        return module

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        return super().collect() if self._has_pairs else []


class DataDirectory(pytest.File):
    """A directory of samples or outputs: nothing in it is ever collected.

    A File to pytest, because of a Directory it would run the ``conftest.py``.
    """

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        return []


def refuse_data(config: pytest.Config) -> None:
    """Raise UsageError for data named on the command line: of such a path pytest runs every ``conftest.py`` at once."""
    for argument in config.known_args_namespace.file_or_dir:
        given = config.invocation_params.dir / argument.partition("::")[0]
        path = Path(os.path.abspath(given))  # noqa: PTH100 - links stay, as in the paths of a suite
        directory = path if os.path.isdir(path) else path.parent  # noqa: PTH112 - no name is too long for it
        file = next((found for parent in directory.parents if _is_suite(found := parent / SUITE_FILE)), None)
        if file is not None and not os.path.isfile(directory / SUITE_FILE):  # noqa: PTH113 - as above
            _refuse_inside(directory, file)


def _refuse_inside(directory: Path, file: Path) -> None:
    from pytest_evalrun.errors import ConfigError
    from pytest_evalrun.suite.discovery import discover
    from pytest_evalrun.suite.printable import printable

    try:
        suite = discover(file)
    except ConfigError:
        return  # told when it is collected
    for data in suite.protected:
        if directory.is_relative_to(data):
            told = f"{directory}: this is data of {file}, and nothing in it is a test; give that file, choose with -k"
            raise pytest.UsageError(printable(told))


def suite_files(config: pytest.Config) -> Iterator[Path]:
    """Find suites above and below what was named, for ``-n auto``, which is answered before anything is collected."""
    skipped = config.getini("norecursedirs")
    for argument in config.args:
        path = config.invocation_params.dir / argument.partition("::")[0]
        yield from (found for parent in path.parents if _is_suite(found := parent / SUITE_FILE))
        for directory, names, files in os.walk(path if os.path.isdir(path) else path.parent):  # noqa: PTH112
            if SUITE_FILE in files and _is_suite(found := Path(directory, SUITE_FILE)):
                yield found
                names.clear()  # what is below may be data
            names[:] = [name for name in names if not any(fnmatch.fnmatch(name, word) for word in skipped)]


def _is_suite(path: Path) -> bool:
    """Nothing is imported where there is no such file."""
    if not os.path.isfile(path):  # noqa: PTH113 - as above
        return False
    revive_imports()
    from pytest_evalrun.suite.foreign import is_suite

    return is_suite(str(path))
