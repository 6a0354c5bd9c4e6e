"""The results of a run as rows: one a pair, in natural order."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.text import natural_key
from pytest_evalrun.rundir.results import iter_results
from pytest_evalrun.rundir.tasklist import Status, read_task_list
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.rundir.results import Result

_LIMIT = re.compile(r"\.limit-([0-9]+)\Z")
OUTDATED = "its last evaluation ended in an error; the values are those of the one before"


@dataclass(frozen=True)
class Row:
    """One pair of a run: what its result says, and whether the pair is still on disk.

    ``key`` names its files, ``of`` its dataset. An evaluation of the first N samples (``limit``) has files of its
    own, and is shown as a dataset of its own (``clean.limit-10``): it must never be taken for the full result.
    """

    suite: str
    task: str
    dataset: str
    of: str
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

    @property
    def breached(self) -> set[str]:
        """The metrics whose gates do not hold."""
        return {gate["metric"] for gate in self.gates if not gate["holds"]}

    @property
    def outdated(self) -> bool:
        """Whether the values are those of an earlier evaluation, because the last one ended in an error."""
        return self.status == "error" and bool(self.metrics)

    @property
    def expected(self) -> int:
        """How many samples there should be."""
        total = self.samples.get("total", 0)
        return total if self.limit is None else min(total, self.limit)

    @property
    def predictions(self) -> str:
        """The pair's predictions file, relative to the run."""
        return "predictions/" + "/".join(self.key) + ".jsonl"

    @property
    def id(self) -> str:
        """``task/dataset``."""
        return f"{self.task}/{self.dataset}"

    @property
    def full_id(self) -> str:
        """``suite/task/dataset``."""
        return f"{self.suite}/{self.task}/{self.dataset}"


@dataclass(frozen=True)
class Summary:
    """All that is in a run. ``unreadable`` are result files that could not be parsed, relative to the run."""

    rows: tuple[Row, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def present(self) -> tuple[Row, ...]:
        """The rows whose pairs are still on disk: what means are taken over."""
        return tuple(row for row in self.rows if not row.gone)

    @property
    def gone(self) -> tuple[Row, ...]:
        """The rows whose pairs are no longer on disk."""
        return tuple(row for row in self.rows if row.gone)


def read_summary(paths: RunPaths, gone: Callable[[str, str, str], bool]) -> Summary:
    """Every result of the run. ``gone(suite, task, dataset)`` says which pairs are no longer on disk."""
    rows: list[Row] = []
    states = read_task_list(paths.task_list) or {}
    unreadable: list[str] = []
    for path, result in iter_results(paths.results):
        if result is None:
            unreadable.append(path.relative_to(paths.root).as_posix())
        else:
            row = _row(path, result, gone(result.suite, result.task, result.dataset))
            rows.append(_as_it_stands(row, states.get((f"{row.suite}/{row.task}", row.dataset))))
    return Summary(tuple(sorted(rows, key=_order)), tuple(sorted(unreadable)))


def _as_it_stands(row: Row, state: Status | None) -> Row:
    """An old result stays until a new one is complete, but a pair that ended in an error since has not passed."""
    if state is Status.FAILED and row.status == "passed":
        return replace(row, status="error", error=OUTDATED)
    return row


def _order(row: Row) -> tuple[Any, ...]:
    return natural_key(row.suite), natural_key(row.task), natural_key(row.dataset)


def _row(path: Path, result: Result, gone: bool) -> Row:
    suite, task, file = str(path).rsplit("/", 2)  # pathlib would take a third of a summary's time
    key = PairKey(suite.rpartition("/")[2], task, file.removesuffix(".json"))
    limit = _limit(key, result)
    return Row(
        suite=result.suite,
        task=result.task,
        dataset=result.dataset if limit is None else f"{result.dataset}.limit-{limit}",
        of=result.dataset,
        limit=limit,
        key=key,
        status=result.status,
        metrics=result.metrics,
        samples=result.samples,
        seconds=result.seconds.get("total"),
        gates=result.gates,
        error=result.environment.get("error"),
        gone=gone,
        skipped=result.environment.get("skipped"),
    )


def _limit(key: PairKey, result: Result) -> int | None:
    """The N of an evaluation of the first N samples; only the name of its files tells."""
    limit = _LIMIT.search(key.dataset)
    return int(limit[1]) if limit and not result.dataset.endswith(limit[0]) else None
