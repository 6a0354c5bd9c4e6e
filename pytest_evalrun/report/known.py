"""Every pair that a run knows of: by its task list, by its results, and by what else lies there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.rows import SummaryRow, read_summary
from pytest_evalrun.report.text import natural_key
from pytest_evalrun.rundir.results import FAILED, read_result
from pytest_evalrun.rundir.runs import read_run_json
from pytest_evalrun.rundir.sessions import session_state
from pytest_evalrun.rundir.tasklist import Status, read_task_list
from pytest_evalrun.suite.names import safe_name
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.rundir.tasklist import Place
    from pytest_evalrun.suite.discovery import Suite


WORDS = {
    Status.PENDING: "pending",
    Status.RUNNING: "running",
    Status.COMPLETED: "passed",
    Status.FAILED: "failed",
}


NO_ADAPTER = "its suite has no adapter; its pairs are for tests of the user's own"


@dataclass(frozen=True)
class KnownPair:
    """A pair as a run has it; ``row`` is its result, where it has one. ``limit``: of the first samples alone."""

    suite: str
    task: str
    dataset: str
    key: PairKey
    status: str
    row: SummaryRow | None = None
    limit: int | None = None

    @property
    def id(self) -> str:
        """``task/dataset``, and ``.limit-N`` behind it for an evaluation of the first N samples."""
        return f"{self.task}/{PairKey('', '', self.dataset).limited(self.limit).dataset}"

    @property
    def full_id(self) -> str:
        """``suite/`` and the ``id``."""
        return f"{self.suite}/{self.id}"

    @property
    def place(self) -> Place:
        """The key of the pair in the task list."""
        return f"{self.suite}/{self.task}", self.dataset

    @property
    def failed(self) -> bool:
        return self.status in FAILED


@dataclass(frozen=True)
class KnownPairs:
    """The pairs in natural order, evaluations of first samples apart from them, and what of the run is damaged."""

    pairs: tuple[KnownPair, ...]
    damaged: tuple[str, ...]
    limits: tuple[KnownPair, ...] = ()


def known_pairs(paths: RunPaths, *, live: bool | None = None) -> KnownPairs:
    """Read a run without touching it; what is damaged costs only what it says itself.

    ``live`` says whether a session runs, for who knows it; only then a pair is "running".
    """
    states = read_task_list(paths.task_list)
    summary = read_summary(paths, lambda *_: False)
    live = session_state(paths).word == "live" if live is None else live
    found = {row.key: _of_row(row, states or {}, live) for row in summary.rows}
    for place, state in (states or {}).items():
        pair = _of_place(place, state, live)
        if pair is not None:
            found.setdefault(pair.key, pair)
    damaged = list(summary.unreadable)
    damaged += [] if states is not None else [".task_list"]
    for key in _of_files(paths):
        found.setdefault(key, KnownPair(*key.full, key, "pending", limit=key.limit))
    for key, pair in found.items():
        if f"results/{key.suite}/{key.task}/{key.dataset}.json" in summary.unreadable:
            found[key] = replace(pair, status="damaged")
    pairs = sorted(found.values(), key=_order)
    full = tuple(pair for pair in pairs if pair.limit is None)
    return KnownPairs(full, tuple(damaged), tuple(pair for pair in pairs if pair.limit is not None))


def counts(paths: RunPaths, states: Mapping[Place, Status]) -> dict[Status, int]:
    """Count the pairs of a run by status: by the task list of its last launch, and of others by their results."""
    listed = {pair.key for place, state in states.items() if (pair := _of_place(place, state, live=False))}
    found = Counter(states.values())
    for path in paths.results.glob("*/*/*.json"):
        key = PairKey(path.parent.parent.name, path.parent.name, path.name.removesuffix(".json"))
        if key in listed or key.limit is not None or (result := read_result(path)) is None:
            continue
        if result.status in FAILED:
            found[Status.FAILED] += 1
        elif result.status == "passed":
            found[Status.COMPLETED] += 1
    return {status: found[status] for status in Status}


def _of_row(row: SummaryRow, states: dict[Place, Status], live: bool) -> KnownPair:
    """Make a pair from its result, which stays while the pair is evaluated again."""
    state = states.get((f"{row.suite}/{row.task}", row.dataset))
    status = "running" if live and state is Status.RUNNING and row.limit is None else row.status
    return KnownPair(row.suite, row.task, row.dataset, row.key, status, row, row.limit)


def _of_place(place: Place, state: Status, live: bool) -> KnownPair | None:
    suite, slash, task = place[0].partition("/")
    if not slash:
        return None
    status = "pending" if state is Status.RUNNING and not live else WORDS[state]
    key = PairKey(safe_name(suite), safe_name(task), safe_name(place[1]))
    return KnownPair(suite, task, place[1], key, status)


def _of_files(paths: RunPaths) -> Iterator[PairKey]:
    """Pairs that only their files speak of, by their safe names."""
    for directory, ending in (("state", ".state"), ("predictions", ".fingerprint.json"), ("results", ".json")):
        for path in sorted((paths.root / directory).glob(f"*/*/*{ending}")):
            name = path.name.removesuffix(ending).removesuffix(".complete")
            if not name.startswith("."):
                yield PairKey(path.parent.parent.name, path.parent.name, name)


def _order(pair: KnownPair) -> tuple[Any, ...]:
    return natural_key(pair.suite), natural_key(pair.task), natural_key(pair.dataset), pair.limit or 0


@dataclass(frozen=True)
class OnDisk:
    """The pairs of each suite that could be asked, by task and dataset, with the reason where one is skipped."""

    suites: Mapping[str, Mapping[tuple[str, str], str | None]]

    def is_gone(self, suite: str, task: str, dataset: str) -> bool:
        """True for a pair that its suite no longer has; pairs of a suite that nobody knows are not gone."""
        return suite in self.suites and (task, dataset) not in self.suites[suite]

    @property
    def skips(self) -> dict[str, str]:
        """Full id → why it is skipped."""
        return {
            f"{suite}/{task}/{dataset}": why
            for suite, pairs in self.suites.items()
            for (task, dataset), why in pairs.items()
            if why is not None
        }


def suites_of(paths: RunPaths) -> list[Suite]:
    """Discover the suites of the run's manifest that are there. Raises ConfigError for one that is wrong."""
    from pytest_evalrun.suite.discovery import discover

    files = [(paths.root / file).resolve() for file in read_run_json(paths).get("suites", {}).values()]
    return [discover(file) for file in files if file.is_file()]


def on_disk(paths: RunPaths, found: Iterable[Suite] = ()) -> OnDisk:
    """Ask the suites that the run's manifest names; ``found`` are suites that were discovered already.

    Raises ConfigError where a suite's file is there and wrong: then nobody can say what is gone.
    """
    there = {suite.name: _pairs(suite) for suite in found}
    for name, file in read_run_json(paths).get("suites", {}).items():
        if name not in there:
            from pytest_evalrun.suite.discovery import discover  # 0.1 s, which no session pays that found its suites

            path = paths.root / file  # relative, so that a copied tree finds its own suites
            there[name] = _pairs(discover(path.resolve())) if path.is_file() else {}
    return OnDisk(there)


def _pairs(suite: Suite) -> dict[tuple[str, str], str | None]:
    """The pairs of a suite, with the reason where one is skipped: where it names no model, all are for tests alone."""
    other = None if suite.has_adapter else NO_ADAPTER
    return {(pair.task.name, pair.dataset.name): pair.skip or other for pair in suite.pairs}
