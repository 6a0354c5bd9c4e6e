"""The suites below some directories, found the way pytest finds them, without pytest."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.foreign import why_foreign

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.suite.discovery import Suite

SUITE_FILE = "evalrun.yaml"
# pytest's own norecursedirs: what it does not walk into, we do not list.
NOT_WALKED = ("*.egg", ".*", "_darcs", "build", "CVS", "dist", "node_modules", "venv", "{arch}")


def find_suites(paths: Iterable[Path], workdir: Path, foreign: list[str]) -> Iterator[Suite]:
    """Every suite at or below the paths, each once; not in the work directory, nor in what a suite protects.

    ``foreign`` gets a line for each file that is called like one and is none.
    """
    seen: set[str] = set()
    for path in paths:
        for suite in _suites(Path(os.path.realpath(path)), os.path.realpath(workdir), foreign):
            if suite.file not in seen:
                seen.add(suite.file)
                yield suite


def _suites(path: Path, workdir: str, foreign: list[str]) -> Iterator[Suite]:
    if path.is_file() and path.name == SUITE_FILE:
        yield discover(path)
    elif path.is_dir():
        yield from _walk(path, workdir, foreign)
    else:
        raise ConfigError(f"{path}: not found; accepted: a directory, or an {SUITE_FILE}")


def _walk(top: Path, workdir: str, foreign: list[str]) -> Iterator[Suite]:
    protected = {workdir}
    for directory, names, files in os.walk(top):
        if SUITE_FILE in files and (why := why_foreign(f"{directory}/{SUITE_FILE}")):
            foreign.append(why)
        elif SUITE_FILE in files:
            suite = discover(Path(directory, SUITE_FILE))
            yield suite
            protected.update(os.path.realpath(path) for path in suite.protected)
        names[:] = sorted(name for name in names if _is_walked(f"{directory}/{name}", name, protected))


def _is_walked(path: str, name: str, protected: set[str]) -> bool:
    if path in protected or any(fnmatch(name, pattern) for pattern in NOT_WALKED):
        return False
    return not os.path.exists(f"{path}/pyvenv.cfg")  # noqa: PTH110 - in the walk of a whole project
