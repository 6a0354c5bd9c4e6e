"""The results of a run as rows: one a pair, in natural order."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import INCONCLUSIVE, verdict_word
from pytest_evalrun.report.text import natural_key
from pytest_evalrun.rundir.results import read_result, recorded_of, result_files
from pytest_evalrun.rundir.runs import errors_in, skipped_in
from pytest_evalrun.rundir.tasklist import Status, read_task_list
from pytest_evalrun.suite.names import safe_name
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.rundir.results import Result
    from pytest_evalrun.rundir.tasklist import Place

NOTHING = {"total": 0, "predicted": 0, "failed": 0, "reused": 0}
PACE = ("p50", "p95", "throughput")
OUTDATED = "its last evaluation ended in an error; the values are those of the one before"


@dataclass(frozen=True)
class SummaryRow:
    """One pair of a run: what its result says, and whether the pair is still on disk.

    ``key`` names its files. An evaluation of the first N samples (``limit``) must never be taken for the full result:
    it has files of its own, an ``id`` like them (``mlp/clean.limit-10``), and is ``shown`` only by the launch that made
    it.
    ``pace`` has ``PACE``: seconds that a sample was waited for, and samples a second; None is what nobody knows.
    ``recorded`` is what tests of the user's own found of this very result: ``<test name>.<name>`` → value.
    ``statuses`` is how an agent's samples ended: status → count. ``usage`` is what endpoints told of its answers.
    ``model_bytes`` is the size of the model's files; None where nobody knows.
    ``outdated``: the values are those of an earlier evaluation, because the last one ended in an error. A pair whose
    gates could not be judged is an error too, and its values are its own.
    """

    suite: str
    task: str
    dataset: str
    limit: int | None
    key: PairKey
    status: str
    metrics: Mapping[str, Mapping[str, Any]]
    samples: Mapping[str, int]
    seconds: float | None
    gates: Sequence[Mapping[str, Any]]
    error: str | None
    gone: bool = False
    skipped: str | None = None
    shown: bool = True
    pace: Mapping[str, float | None] = field(default_factory=dict)
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, Any] = field(default_factory=dict)
    statuses: Mapping[str, int] = field(default_factory=dict)
    usage: Mapping[str, Any] | None = None
    model_bytes: int | None = None
    outdated: bool = False

    @property
    def cost(self) -> float | None:
        """What its answers cost, in the currency of the launch; None where nobody knows."""
        found: float | None = (self.usage or {}).get("cost")
        return found

    @property
    def breached(self) -> set[str]:
        """The metrics whose gates do not hold."""
        return {gate["metric"] for gate in self.gates if not gate["holds"]}

    @property
    def undecided(self) -> set[str]:
        """The metrics of which some gate's interval allows both."""
        return {gate["metric"] for gate in self.gates if verdict_word(gate) == INCONCLUSIVE}

    @property
    def generations(self) -> int:
        """How many answers each sample has."""
        each = self.fingerprint.get("prediction", {}).get("generations", 1)
        return each if type(each) is int else 1

    @property
    def predictions(self) -> str:
        """The pair's predictions file, relative to the run."""
        return "predictions/" + "/".join(self.key) + ".jsonl"

    @property
    def id(self) -> str:
        """``task/dataset``, and ``.limit-N`` behind it for the first N samples: what people give to commands."""
        return f"{self.task}/{PairKey('', '', self.dataset).limited(self.limit).dataset}"

    @property
    def full_id(self) -> str:
        """``suite/`` and the ``id``."""
        return f"{self.suite}/{self.id}"

    @property
    def pair(self) -> str:
        """The pair's full id."""
        return f"{self.suite}/{self.task}/{self.dataset}"


@dataclass(frozen=True)
class Summary:
    """All that is in a run. ``unreadable`` are result files that could not be parsed, relative to the run.

    ``lacking``: full ids of pairs that are to be evaluated and have no result, and how each stands: ``pending``, or
    ``error`` where it ended in one that could not be written down.
    """

    rows: tuple[SummaryRow, ...]
    unreadable: tuple[str, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)

    @property
    def present(self) -> tuple[SummaryRow, ...]:
        """The rows to show whose pairs are still on disk: what means are taken over."""
        return tuple(row for row in self.rows if row.shown and not row.gone)

    @property
    def ids(self) -> set[str]:
        """The full ids of all pairs that are still on disk, with a result or without."""
        return {row.pair for row in self.full if not row.gone} | self.lacking.keys()

    @property
    def gone(self) -> tuple[SummaryRow, ...]:
        """The rows whose pairs are no longer on disk."""
        return tuple(row for row in self.rows if row.gone and row.limit is None)

    def among(self, suites: Container[str]) -> Summary:
        """Return the summary of these suites alone."""
        lacking = {name: how for name, how in self.lacking.items() if name.partition("/")[0] in suites}
        return replace(self, rows=tuple(row for row in self.rows if row.suite in suites), lacking=lacking)

    @property
    def full(self) -> tuple[SummaryRow, ...]:
        """The rows of whole evaluations."""
        return tuple(row for row in self.rows if row.limit is None)


def read_summary(
    paths: RunPaths,
    gone: Callable[[str, str, str], bool],
    skips: Mapping[str, str] = MappingProxyType({}),
    limits: Mapping[PairKey, bool] = MappingProxyType({}),
    known: KnownRows | None = None,
) -> Summary:
    """Read every result of the run. ``gone(suite, task, dataset)`` says which pairs are no longer on disk.

    ``skips``: full ids of pairs that are skipped besides those that the run has noted, and why. ``limits``: the
    evaluations of first samples that this launch asked for, and whether they came to a result. ``known``: rows of
    whoever reads the run again and again.
    """
    rows: list[SummaryRow] = []
    skips = skipped_in(paths) | dict(skips)
    states, errors = read_task_list(paths.task_list) or {}, errors_in(paths)
    unreadable: list[str] = []
    for path, found in (known or KnownRows()).read(paths.results):
        if found is None:
            unreadable.append(path.relative_to(paths.root).as_posix())
        else:
            row = replace(found, gone=True) if gone(found.suite, found.task, found.dataset) else found
            if row.limit is None:
                failed = states.get((f"{row.suite}/{row.task}", row.dataset)) is Status.FAILED
                row = _as_it_stands(row, errors.get(row.pair), failed=failed)
            else:
                row = replace(_as_it_stands(row, failed=not limits.get(row.key, True)), shown=row.key in limits)
            rows.append(passed_over(row, skips[row.pair]) if row.pair in skips else row)
    rows.sort(key=_order)
    return Summary(tuple(rows), tuple(sorted(unreadable)), _lacking(states, rows, unreadable, skips, gone))


def _lacking(
    states: Mapping[Place, Status],
    rows: Sequence[SummaryRow],
    unreadable: Sequence[str],
    skips: Mapping[str, str],
    gone: Callable[[str, str, str], bool],
) -> dict[str, str]:
    """The pairs of the task list that have no result; of one that is damaged it is told as such."""
    there = {(f"{row.suite}/{row.task}", row.dataset) for row in rows if row.limit is None}
    found: dict[str, str] = {}
    for place in sorted(states.keys() - there, key=_natural):
        suite, _, task = place[0].partition("/")
        file = "/".join(("results", *map(safe_name, (suite, task, place[1])))) + ".json"
        full_id = "/".join(place)
        if file not in unreadable and full_id not in skips and not gone(suite, task, place[1]):
            found[full_id] = "error" if states[place] is Status.FAILED else "pending"
    return found


def _natural(place: Place) -> tuple[Any, ...]:
    """A sort key of a task's directory and a dataset."""
    return natural_key(place[0]), natural_key(place[1])


class KnownRows:
    """Rows as results say them; read again only where a result, or what tests recorded of it, changed since."""

    def __init__(self) -> None:
        self._rows: dict[Path, tuple[object, SummaryRow | None]] = {}

    def read(self, results: Path) -> Iterator[tuple[Path, SummaryRow | None]]:
        """Yield every result's file and row, None for a damaged one, in the order of their names."""
        before, self._rows = self._rows, {}
        for path in result_files(results):
            seen = _stamp(os.fspath(path)), _stamp(os.fspath(path)[: -len(".json")])
            known = before.get(path)
            if known is None or known[0] != seen:
                result = read_result(path)
                known = seen, None if result is None else _row(path, result)
            self._rows[path] = known
            yield path, known[1]


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116 - of 10,000 pairs
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def passed_over(row: SummaryRow, why: str) -> SummaryRow:
    """Empty the row of a pair that is skipped, whatever older result lies there."""
    nothing = replace(
        row, status="skipped", metrics={}, samples=NOTHING, seconds=None, gates=(), recorded={}, statuses={}
    )
    return replace(nothing, error=None, skipped=why, usage=None, outdated=False)


def _as_it_stands(row: SummaryRow, error: str | None = None, *, failed: bool) -> SummaryRow:
    """Turn the row into an error where the pair ended in one since: an old result stays until there is a new one.

    ``error`` is what was noted of it; without that a pair whose old result has failed may have failed again.
    """
    if failed and (row.status == "passed" or (row.status == "failed" and error is not None)):
        old = bool(row.metrics)
        return replace(row, status="error", error=f"{error} ({OUTDATED})" if error else OUTDATED, outdated=old)
    return row


def _order(row: SummaryRow) -> tuple[Any, ...]:
    return natural_key(row.suite), natural_key(row.task), natural_key(row.dataset), row.limit or 0


def _row(path: Path, result: Result) -> SummaryRow:
    suite, task, file = str(path).rsplit("/", 2)  # pathlib would take a third of a summary's time
    key = PairKey(suite.rpartition("/")[2], task, file.removesuffix(".json"))
    return SummaryRow(
        suite=result.suite,
        task=result.task,
        dataset=result.dataset,
        limit=None if result.dataset == key.dataset else key.limit,
        key=key,
        status=result.status,
        metrics=result.metrics,
        samples=result.samples,
        seconds=result.seconds.get("total"),
        gates=result.gates,
        error=result.environment.get("error"),
        skipped=result.environment.get("skipped"),
        pace={name: result.seconds.get(name) for name in PACE},
        fingerprint=result.fingerprint,
        recorded=recorded_of(path, result),
        statuses=result.statuses or {},
        usage=result.usage,
        model_bytes=result.environment.get("model_bytes"),
    )
