"""The directories outside a run that its models wrote to, as its manifest names them: which may go, and why not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.control.opendirectory import OpenDirectory
from pytest_evalrun.control.selection import other_manifests
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.known import known_pairs
from pytest_evalrun.rundir.runs import read_run_json
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.names import nested
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pytest_evalrun.report.runs import FoundRun
    from pytest_evalrun.suite.pairs import Pair, Suite


@dataclass(frozen=True)
class Outside:
    """A recorded directory; ``root`` is where the way to it is taken from, ``name`` the way, link by link refused.

    ``owners`` are the pairs that wrote there, ``kept`` says why it stays, where it does.
    """

    root: Path
    name: str
    owners: frozenset[PairKey] = frozenset()
    kept: str | None = None

    @property
    def path(self) -> Path:
        return self.root / self.name


def outside_directories(found: FoundRun, chosen: Collection[PairKey] | None) -> list[Outside]:
    """Those of the manifest, or of the chosen pairs only; one that somebody else still needs is kept."""
    manifest = read_run_json(found.paths)
    files = [(found.paths.root / file).resolve() for file in manifest.get("suites", {}).values()]
    suites = [_discovered(file) for file in files if file.is_file()]
    others = _of_other_runs(found)
    directories = [Path(os.path.abspath(text)) for text in map(str, manifest.get("directories", []))]  # noqa: PTH100
    known = known_pairs(found.paths, live=False)
    keys = [pair.key for pair in (*known.pairs, *known.limits) if chosen is None or pair.key in chosen]
    return [
        _outside(directory, suites, others, found, keys)
        for directory in directories
        if os.path.lexists(directory) and (chosen is None or _is_of(directory, suites, chosen))
    ]


def _discovered(path: Path) -> Suite:
    try:
        return discover(path)
    except ConfigError as error:
        raise ConfigError(f"{error}\nnobody can say what belongs to the suite; nothing was changed") from error


def _outside(
    directory: Path, suites: list[Suite], others: dict[str, str], found: FoundRun, keys: Sequence[PairKey]
) -> Outside:
    root = _root(directory, suites)
    name = str(directory.relative_to(root))
    kept = _needed(directory, suites, found) or _linked(root, name)
    if kept is None and (run := others.get(str(directory))):
        kept = f"run {run} wrote there too"
    return Outside(root, name, _writers(directory, suites, keys), kept)


def _writers(directory: Path, suites: list[Suite], keys: Sequence[PairKey]) -> frozenset[PairKey]:
    """Pick the pairs of a run that wrote there; for a suite that is gone, those whose dataset it is named after."""
    owners = {key.full for key in _owners(directory, suites)}
    names = {PairKey("", "", part).full.dataset for part in directory.parts[-2:]}
    return frozenset(key for key in keys if (key.full in owners if owners else key.full.dataset in names))


def _linked(root: Path, name: str) -> str | None:
    """Say why it stays, where the way leads over a link that was not there when the run was made."""
    try:
        with OpenDirectory(root, follow=True) as tree:
            tree.size(name)
    except ConfigError as error:
        return str(error)
    return "it is a symbolic link" if (root / name).is_symlink() else None


def _root(directory: Path, suites: list[Suite]) -> Path:
    """The suite above it, else what is above ``task/dataset``; the way there may lead over the user's own links."""
    roots = [Path(suite.root) for suite in suites if directory.is_relative_to(suite.root)]
    if roots:
        return max(roots, key=lambda root: len(root.parts))
    depths = [len(way) for suite in suites for pair in suite.pairs for way in _below(directory, pair)]
    top = directory.parent
    for _ in range(max(depths, default=1)):
        top = top.parent
    return top


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
            yield "a dataset", pair.dataset.path
            if pair.task.path:
                yield "a model", pair.task.path
            for name in filter(None, (pair.settings.in_subdir, pair.settings.references)):
                yield "the data of a dataset", str(Path(pair.dataset.path, str(name)))


def _of_other_runs(found: FoundRun) -> dict[str, str]:
    """Directory → the run beside this one whose manifest names it too."""
    named: dict[str, str] = {}
    for paths, manifest in other_manifests(found):
        named.update(dict.fromkeys(map(str, manifest.get("directories", [])), paths.root.name))
    return named


def _is_of(directory: Path, suites: list[Suite], chosen: Collection[PairKey]) -> bool:
    """Say whether only chosen pairs write there."""
    owners = _owners(directory, suites)
    return bool(owners) and owners <= set(chosen)


def _owners(directory: Path, suites: list[Suite]) -> set[PairKey]:
    """The pairs whose directory it is: ``…/task/dataset``, or a directory in the dataset."""
    root = _root(directory, suites)
    near = [suite for suite in suites if suite.root == str(root)] or suites
    limit = PairKey("", "", directory.name).limit
    return {
        pair.key.limited(limit)
        for suite in near
        for pair in suite.pairs
        if _below(directory, pair) or str(directory.parent) == pair.dataset.path
    }


def _below(directory: Path, pair: Pair) -> list[tuple[str, ...]]:
    """The way of its task, where the end of a directory is ``task/dataset`` of the pair: in one step, or nested."""
    if PairKey("", "", directory.name).full.dataset != pair.key.dataset:
        return []
    ways = {(pair.key.task,), nested(pair.task.name)}
    return [way for way in ways if directory.parent.parts[-len(way) :] == way]
