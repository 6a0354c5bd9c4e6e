"""The place of the runs of a pytest that were started here is found as pytest finds it, without starting it."""

from __future__ import annotations

import os
import shlex
from argparse import ArgumentError, ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.baselinefile import DIRECTORY
from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

DEFAULT = "outputs/default"
KEY = "eval_workdir"


def workdir_of(paths: Sequence[str] = ()) -> Path:
    """The work directory of ``pytest PATHS``: relative where it is below the current directory, absolute elsewhere.

    Options in PYTEST_ADDOPTS and in ``addopts`` count as they do for pytest. Raises ConfigError for an ini file that
    pytest could not read either.
    """
    rootdir, ini = _project(paths, "--workdir")
    words = [*_words(ini.get("addopts")), *_from_environment()]
    workdir = _options("addopts", words).workdir or ini.get(KEY) or DEFAULT
    return _from_here(rootdir / str(workdir))


def baselines_of() -> Path:
    """The directory of baselines of a project, in the rootdir of a pytest that were started here."""
    return _from_here(_project((), "--dir")[0] / DIRECTORY)


def _project(paths: Sequence[str], instead: str) -> tuple[Path, dict[str, Any]]:
    from pytest_evalrun.cli.internals import project_of

    given = _options("PYTEST_ADDOPTS", _from_environment())
    try:
        return project_of(paths, Path.cwd(), given.inifile, given.override_ini, given.rootdir)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{error}; pytest refuses it too; {instead} does without it") from None


def _from_here(path: Path) -> Path:
    found, here = Path(os.path.normpath(path)), Path.cwd()
    return found.relative_to(here) if found.is_relative_to(here) else found


def _options(source: str, words: Sequence[str]) -> Namespace:
    """Those that decide where a work directory is."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config-file", dest="inifile")
    parser.add_argument("-o", "--override-ini", action="append")
    parser.add_argument("--rootdir")
    parser.add_argument("--eval-workdir", dest="workdir")
    try:
        return parser.parse_known_args(words)[0]
    except ArgumentError as error:
        raise ConfigError(f"{source}: {error}") from None


def _from_environment() -> list[str]:
    return _words(os.environ.get("PYTEST_ADDOPTS"))


def _words(options: Any) -> list[str]:
    """A line in an ini file or in the environment, a list in TOML."""
    try:
        return shlex.split(options) if isinstance(options, str) else [str(word) for word in options or ()]
    except ValueError as error:
        raise ConfigError(f"options of pytest: {options}: {error}") from None
