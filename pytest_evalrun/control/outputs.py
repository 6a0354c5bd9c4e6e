"""The directories outside a run that its models wrote to, as its manifest names them: which may go, and why not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.control.tree import Tree
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.runs import read_run_json, run_names
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pytest_evalrun.report.runs import FoundRun
    from pytest_evalrun.suite.pairs import Pair, Suite


@dataclass(frozen=True)
class Outside:
    """A recorded directory; ``root`` is where the way to it is taken from, ``name`` the way, link by link refused.

    ``kept`` says why it stays, where it does.
    """

    root: Path
    name: str
    kept: str | None = None

    @property
    def path(self) -> Path:
        return self.root / self.name


def outside_directories(found: FoundRun, chosen: Collection[PairKey] | None) -> list[Outside]:
    """Those of the manifest, or of the chosen pairs only; one that somebody else still needs is kept."""
    manifest = read_run_json(found.paths)
    suites = _suites(found, manifest.get("suites", {}))
    others = _of_other_runs(found)
    directories = [Path(os.path.abspath(text)) for text in map(str, manifest.get("directories", []))]  # noqa: PTH100
    return [
        _outside(directory, suites, others, found)
        for directory in directories
        if os.path.lexists(directory) and (chosen is None or _is_of(directory, suites, chosen))
    ]


def _suites(found: FoundRun, files: dict[str, str]) -> list[Suite]:
    """The suites of the run that are still there."""
    paths = [(found.paths.root / file).resolve() for file in files.values()]
    return [suite for path in paths if path.is_file() for suite in _discovered(path)]


def _discovered(path: Path) -> Iterator[Suite]:
    try:
        yield discover(path)
    except ConfigError as error:
        raise ConfigError(f"{error}\nnobody can say what belongs to the suite; nothing was changed") from error


def _outside(directory: Path, suites: list[Suite], others: dict[str, str], found: FoundRun) -> Outside:
    root = _root(directory, suites)
    name = str(directory.relative_to(root))
    kept = _needed(directory, suites, found) or _linked(root, name)
    if kept is None and (run := others.get(str(directory))):
        kept = f"run {run} wrote there too"
    return Outside(root, name, kept)


def _linked(root: Path, name: str) -> str | None:
    """Whether the way leads over a link that was not there when the run was made."""
    try:
        with Tree(root, follow=True) as tree:
            tree.size(name)
    except ConfigError as error:
        return str(error)
    return "it is a symbolic link" if (root / name).is_symlink() else None


def _root(directory: Path, suites: list[Suite]) -> Path:
    """The suite above it, else what is above ``task/dataset``; the way there may lead over the user's own links."""
    roots = [Path(suite.root) for suite in suites if directory.is_relative_to(suite.root)]
    return max(roots, key=lambda root: len(root.parts), default=directory.parent.parent)


def _needed(directory: Path, suites: list[Suite], found: FoundRun) -> str | None:
    """Why it is no directory of outputs, whatever the manifest says: what must never go lies in it."""
    real = Path(os.path.realpath(directory))
    if len(directory.parts) <= 3:
        return "it is too near to the root of the file system to be a directory of outputs"
    for what, path in _never(suites, found):
        if Path(os.path.realpath(path)).is_relative_to(real):
            return f"{what} lies there: {path}"
    return None


def _never(suites: list[Suite], found: FoundRun) -> Iterator[tuple[str, str]]:
    yield "the run itself", str(found.paths.root)
    yield "your home directory", str(Path.home())
    yield "the current directory", str(Path.cwd())
    for suite in suites:
        yield "a suite", suite.file
        for pair in suite.pairs:
            yield from _sources(pair)


def _sources(pair: Pair) -> Iterator[tuple[str, str]]:
    yield "a dataset", pair.dataset.path
    if pair.task.path:
        yield "a model", pair.task.path
    for name in (pair.settings.in_subdir, pair.settings.references):
        if name:
            yield "the data of a dataset", str(Path(pair.dataset.path, str(name)))


def _of_other_runs(found: FoundRun) -> dict[str, str]:
    """Directory → the run beside this one whose manifest names it too."""
    named: dict[str, str] = {}
    for name in run_names(found.workdir):
        if name != found.name:
            try:
                manifest = read_run_json(found.workdir.run(name))
            except ConfigError:
                continue
            named.update(dict.fromkeys(map(str, manifest.get("directories", [])), name))
    return named


def _is_of(directory: Path, suites: list[Suite], chosen: Collection[PairKey]) -> bool:
    """Whether only chosen pairs write there."""
    owners = _owners(directory, suites)
    return bool(owners) and owners <= set(chosen)


def _owners(directory: Path, suites: list[Suite]) -> set[PairKey]:
    """The pairs whose directory it is: ``…/task/dataset``, or a directory in the dataset."""
    root = _root(directory, suites)
    near = [suite for suite in suites if suite.root == str(root)] or suites
    name = PairKey("", *directory.parts[-2:])
    return {
        pair.key.limited(name.limit)
        for suite in near
        for pair in suite.pairs
        if name.full[1:] == pair.key[1:] or str(directory.parent) == pair.dataset.path
    }
