"""The pairs of some suites and of a run as a list: for programs, and as a tree for people."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.known import known_pairs, on_disk
from pytest_evalrun.report.rows import passed_over
from pytest_evalrun.report.runs import find_run, is_run
from pytest_evalrun.report.text import columns, natural_key, number
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.lines import utc_time
from pytest_evalrun.rundir.runs import read_run_json, run_names
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.entries import SUITE_FILE
from pytest_evalrun.suite.foreign import why_foreign
from pytest_evalrun.suite.names import escaped_id
from pytest_evalrun.suite.printable import counted, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_evalrun.report.known import KnownPair, KnownPairs
    from pytest_evalrun.report.runs import FoundRun
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import Pair, Suite

SIGNS = {"pending": "○", "running": "◐", "passed": "✓", "failed": "✗", "error": "✗", "skipped": "⊘"}
MOST_FOREIGN = 5
# pytest's own norecursedirs: what it does not walk into, we do not list.
NOT_WALKED = ("*.egg", ".*", "_darcs", "build", "CVS", "dist", "node_modules", "venv", "{arch}")
Names = tuple[str, str, str]


@dataclass(frozen=True)
class ListedPair:
    """One pair: as it is on disk (``pair``), as the run has it (``known``), or both."""

    names: Names
    pair: Pair | None
    nodeid: str | None
    known: KnownPair | None
    when: str | None = None
    gone: bool = False

    @property
    def full_id(self) -> str:
        """``suite/task/dataset``."""
        return "/".join(self.names)

    @property
    def status(self) -> str | None:
        """The status in the run, or ``skipped``; None where no run says anything of it."""
        if self.pair is not None and self.pair.skip is not None:
            return "skipped"
        return self.known.status if self.known else None

    @property
    def skip(self) -> str | None:
        """The reason why it is skipped: by its suite, or the last time that its turn came."""
        if self.pair is not None and self.pair.skip is not None:
            return self.pair.skip
        return self.known.row.skipped if self.known and self.known.row and self.status == "skipped" else None

    @property
    def failed(self) -> bool:
        return self.status in ("failed", "error")


@dataclass(frozen=True)
class ListQuery:
    """The subject of a list: suites, the run that says how they stand, and whether pairs of the run alone belong."""

    suites: tuple[Suite, ...]
    run: FoundRun | None
    rest: bool


def asked_for(places: Sequence[str], workdir: Path) -> ListQuery:
    """Read a command's words: one may be a run, the others are paths; without a word it is here, and the latest run.

    A run alone speaks of its own suites. Raises ConfigError for what is neither, and for two runs.
    """
    runs = [place for place in places if is_run(place, workdir)]
    paths = [Path(place) for place in places if place not in runs]
    if missing := [place for place in places if place not in runs and not Path(place).exists()]:
        raise ConfigError(f"{missing[0]}: not found; accepted: {_accepted(missing[0], workdir)}")
    if len(runs) > 1:
        raise ConfigError(f"{' '.join(runs)}: one run at a time; to compare two: evalrun diff")
    if not runs:
        return ListQuery(tuple(suites_at(paths, workdir)), _latest(workdir), rest=not paths)
    found = find_run(runs[0], workdir)
    suites = suites_at(paths, workdir) if paths else map(discover, suites_of(found.paths))
    return ListQuery(tuple(suites), found, rest=not paths)


def _accepted(word: str, workdir: Path) -> str:
    names = difflib.get_close_matches(word, run_names(WorkDir(workdir)), n=5, cutoff=0.4)
    return "a directory, an evalrun.yaml, or a run" + (f"; nearest: {', '.join(names)}" if names else "")


def _latest(workdir: Path) -> FoundRun | None:
    """No run that can be read is no reason not to list."""
    try:
        return find_run("latest", workdir)
    except ConfigError:
        return None


def suites_at(paths: Sequence[Path] | None, workdir: Path) -> Iterator[Suite]:
    """The suites at or below the paths, here where there are none. Raises ConfigError where nothing is found."""
    found = False
    foreign: list[str] = []
    for suite in find_suites(paths or [Path()], workdir, foreign):
        found = True
        yield suite
    if not found:
        where = ", ".join(str(path.absolute()) for path in paths or [Path()])
        passed = "".join(f"\npassed over, for it is no suite: {why}" for why in foreign[:MOST_FOREIGN])
        raise ConfigError(f"no suite found: looked for evalrun.yaml in {where} and below{passed}")


def find_suites(paths: Iterable[Path], workdir: Path, foreign: list[str]) -> Iterator[Suite]:
    """Find every suite at or below the paths, each once; not in the work directory, nor in what a suite protects.

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


def entries(asked: ListQuery) -> tuple[list[ListedPair], list[str]]:
    """The pairs of the suites with what the run says, then those that only the run has; and what else to know."""
    paths = asked.run.paths if asked.run else None
    found = known_pairs(paths) if paths else None
    known = {(pair.suite, pair.task, pair.dataset): pair for pair in found.pairs} if found else {}
    listed = [
        _entry(pair, suite, known.pop(_names(pair), None), paths) for suite in asked.suites for pair in suite.pairs
    ]
    if paths and asked.rest:
        gone = on_disk(paths, asked.suites).is_gone
        listed += [ListedPair(n, None, None, pair, _when(paths, pair), gone(*n)) for n, pair in known.items()]
    guessed = [asked.run.remark] if asked.run and asked.run.remark else []
    return listed, [*guessed, *(_remarks(found) if found else ())]


def _remarks(found: KnownPairs) -> list[str]:
    remarks = [f"{name} is damaged; the rest is shown" for name in found.damaged]
    if count := len(found.limits):
        remarks.append(f"{counted(count, 'result')} of --eval-limit left out; `evalrun clean --limits` removes such")
    return remarks


def suites_of(paths: RunPaths) -> list[Path]:
    """The suite files that a run's manifest names and that are there; relative to the run, so a copy has its own."""
    files = read_run_json(paths).get("suites", {}).values()
    return [path for file in files if (path := (paths.root / file).resolve()).is_file()]


def _entry(pair: Pair, suite: Suite, known: KnownPair | None, paths: RunPaths | None) -> ListedPair:
    if pair.skip is not None and known is not None and known.row is not None:
        known = replace(known, row=passed_over(known.row, pair.skip))
    file, here = Path(suite.file), Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    when = _when(paths, known) if pair.skip is None else None
    return ListedPair(_names(pair), pair, f"{shown.as_posix()}::test_pair[{escaped_id(pair.id)}]", known, when)


def _names(pair: Pair) -> Names:
    return pair.suite, pair.task.name, pair.dataset.name


def _when(paths: RunPaths | None, pair: KnownPair | None) -> str | None:
    """Return when its result was written, in UTC; None where there is none."""
    if paths is None or pair is None:
        return None
    try:
        written = paths.pair(pair.key).result.stat().st_mtime
    except OSError:
        return None
    return utc_time(at=written, timespec="seconds")


def to_json(entry: ListedPair, why: str | None = None) -> dict[str, Any]:
    """Describe an entry for programs; ``why`` is what would be done with the pair, and the reason."""
    suite, task, dataset = entry.names
    pair, row = entry.pair, entry.known.row if entry.known else None
    return {
        "suite": suite,
        "task": task,
        "dataset": dataset,
        "nodeid": entry.nodeid,
        "model": pair.task.path if pair else None,
        "data": pair.dataset.path if pair else None,
        "tags": list(pair.tags) if pair else [],
        "skip": entry.skip,
        "status": entry.status,
        "metrics": {name: metric["value"] for name, metric in row.metrics.items()} if row else {},
        "samples": dict(row.samples) if row else {},
        "seconds": row.seconds if row else None,
        "when": entry.when,
        "error": row.error if row else None,
        "next": why,
    }


def flat(found: Iterable[ListedPair]) -> list[str]:
    """List ids to paste, where no run says more."""
    rows = [(e.full_id, e.nodeid or "", _status(e)) for e in found]
    return columns([("pair", "node id", "status"), *rows])


def _status(entry: ListedPair) -> str:
    return f"skipped: {entry.skip}" if entry.skip else entry.status or "-"


def tree(found: Iterable[ListedPair], why: Mapping[str, str]) -> Iterator[str]:
    """Write suite, task, dataset; each dataset with its status, metrics, samples, seconds, time, and what is next."""
    ordered = sorted(found, key=lambda entry: tuple(map(natural_key, entry.names)))
    rows = [_row(entry, why.get(entry.full_id, "")) for entry in ordered]
    lines = iter(columns(rows)) if rows else iter(())
    for suite, of_suite in groupby(ordered, key=lambda entry: entry.names[0]):
        yield one_line(suite)
        for task, of_task in groupby(of_suite, key=lambda entry: entry.names[1]):
            yield f"  {one_line(task)}"
            yield from (f"    {next(lines)}" for _ in of_task)


def _row(entry: ListedPair, why: str) -> tuple[str, ...]:
    row = entry.known.row if entry.known else None
    status = _status(entry)
    metrics = ", ".join(f"{name} {number(metric['value'])}" for name, metric in row.metrics.items()) if row else ""
    samples = f"{row.samples.get('predicted', 0)} of {row.samples['total']}" if row and row.samples.get("total") else ""
    seconds = f"{number(row.seconds)} s" if row and row.seconds is not None else ""
    sign = SIGNS.get(entry.status or "pending", "!")
    why = "no longer on disk" if entry.gone else why
    return f"{sign} {entry.names[2]}", status, metrics, samples, seconds, entry.when or "", why
