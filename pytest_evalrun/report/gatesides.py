"""What ``evalrun gate`` is given by name: a saved baseline or a run, pair by pair as sides of comparisons."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.comparison.baselinefile import (
    baseline_places,
    check_inside,
    directories_of,
    files_in,
    pair_of,
    read_baseline,
)
from pytest_evalrun.comparison.candidate import PairSides
from pytest_evalrun.comparison.runside import run_side
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.report.known import OnDisk
from pytest_evalrun.report.rows import read_summary
from pytest_evalrun.report.runs import find_run
from pytest_evalrun.report.text import natural_key
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.sessions import session_state
from pytest_evalrun.suite.pairs import PairKey
from pytest_evalrun.suite.printable import counted, one_line
from pytest_evalrun.suite.problems import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.report.rows import Summary, SummaryRow
    from pytest_evalrun.report.runs import FoundRun


def find_compared(word: str, workdir: Path, roots: Iterable[Path]) -> FoundRun | list[Path]:
    """The run that a word means, or the directories of the saved baseline that it means.

    A baseline comes before a run of its name; ``roots`` are where it may be looked for upwards. Raises ConfigError
    where there is neither.
    """
    if "/" in word or word in {".", ".."}:
        path = Path(os.path.abspath(word))  # noqa: PTH100 - resolve() would follow links
        if not os.path.islink(path) and not RunPaths(path).run_json.is_file() and files_in(path):  # noqa: PTH114
            return [path]
        return find_run(word, workdir)
    roots = list(roots)
    places = list(dict.fromkeys(place for root in roots for place in baseline_places(root)))
    there = {(place / word).resolve(): place / word for place in places if (place / word).is_dir()}
    if word != "latest" and there:
        return list(there.values())
    _check_readable(word, roots)
    try:
        return find_run(word, workdir)
    except ConfigError as error:
        looked = ", ".join(shown(str(place)) for place in places) or "no directory called baselines"
        raise ConfigError(f"{error}; a saved baseline of that name is not there either (looked in {looked})") from None


def _check_readable(word: str, roots: Iterable[Path]) -> None:
    """Raise ConfigError where a baseline of this name is there, and others may write to it: a gate does not read it."""
    try:
        for root in roots:
            directories_of(root, word)
    except PairError as error:
        raise ConfigError(str(error)) from error


def baseline_sides(name: str, directories: Sequence[Path]) -> PairSides:
    """The pairs of a saved baseline; what is damaged costs only what it says itself. Raises ConfigError without any."""
    pairs: dict[str, Side] = {}
    damaged: dict[str, str] = {}
    files: dict[tuple[str, str, str], Path] = {}
    for file in (file for directory in directories for file in files_in(directory)):
        key = pair_of(file)
        try:
            _check_alone(file, files.setdefault(key, file))
            check_inside(file)
            side = read_baseline(file, name)
            pairs[side.pair] = side
        except PairError as error:
            damaged["/".join(key)] = str(error)
    if not pairs and not damaged:
        where = ", ".join(shown(str(directory)) for directory in directories)
        raise ConfigError(f"the baseline {name} has no pairs: {where} is empty; save it: evalrun baseline save {name}")
    for pair in damaged:
        pairs.pop(pair, None)
    return PairSides(name, _ordered(pairs), damaged=damaged)


def _check_alone(file: Path, first: Path) -> None:
    if file != first:
        both = f"{shown(str(first))} and {shown(str(file))}"
        raise PairError(f"there are two of it: {both}; remove one, or save it under another name")


def run_sides(found: FoundRun, disk: OnDisk | None = None) -> PairSides:
    """The pairs of a run that have scores, whether or not they passed; ``disk`` says which of them are still there."""
    disk = disk or OnDisk({})
    summary = read_summary(found.paths, disk.is_gone, disk.skips)
    pairs: dict[str, Side] = {}
    lacking = {pair: "it ended in an error" if how == "error" else how for pair, how in summary.lacking.items()}
    for row in summary.full:
        if (why := _why_not(row)) is not None:
            lacking[row.pair] = why
        else:
            scoring = row.fingerprint.get("score") or {}
            pairs[row.pair] = run_side(found.name, row.pair, found.paths.pair(row.key), row.metrics, scoring)
    damaged = dict(_damaged(summary))
    return PairSides(found.name, _ordered(pairs), lacking, damaged, tuple(_remarks(found, summary)))


def _why_not(row: SummaryRow) -> str | None:
    """Why a pair is no side. One whose gates could not be judged has been evaluated all the same."""
    if row.gone:
        return "its suite no longer has it"
    evaluated = row.status in ("passed", "failed") or (row.status == "error" and not row.outdated)
    if evaluated and row.metrics:
        return None
    if row.status == "error":
        return f"it ended in an error: {one_line((row.error or '').partition(chr(10))[0]) or 'its log says in which'}"
    return f"skipped: {one_line(row.skipped or '')}" if row.status == "skipped" else "it has no scores"


def _damaged(summary: Summary) -> Iterator[tuple[str, str]]:
    for name in summary.unreadable:
        *_, suite, task, file = name.split("/")
        key = PairKey(suite, task, file.removesuffix(".json"))
        if key.limit is None:
            yield "/".join(key), f"{name} cannot be read: it is damaged; evaluate the pair again"


def _remarks(found: FoundRun, summary: Summary) -> Iterator[str]:
    if session_state(found.paths).word == "live":
        yield f"{found.name} is still going: what is pending will come"
    if (count := sum(row.limit is not None for row in summary.rows)) > 0:
        yield f"{counted(count, 'evaluation')} of first samples in {found.name} left out"
    if (count := sum(row.status == "failed" for row in summary.full)) > 0:
        yield f"{counted(count, 'pair')} of {found.name} failed in that run; here these gates alone are judged"


def _ordered(pairs: Mapping[str, Side]) -> dict[str, Side]:
    return {pair: pairs[pair] for pair in sorted(pairs, key=natural_key)}
