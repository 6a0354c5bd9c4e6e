"""``overall.json`` of an agent and its task, as AgentBench writes it, and from the first finished sample on."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.agentruns import RUN_STATUSES, end_of, task_ends, task_outputs
from pytest_evalrun.rundir.lines import open_file, read_file
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import AgentPaths
    from pytest_evalrun.suite.secrets import Secrets

    # AgentBench's outputs -> what the task itself says of them all.
    Calculate = Callable[[list[dict[str, Any]]], Any]

# It is written again when so many more have ended, and not before so many seconds have passed.
GROWTH = 1.5
SECONDS = 2.0


def overall_of(ends: Sequence[tuple[str, int]], total: int) -> dict[str, Any]:
    """What there is to say of samples that have ended, of which there must be some, and of ``total`` that there are.

    ``ends`` are their statuses and the lengths of their histories.
    """
    count, statuses, lengths = len(ends), Counter(status for status, _ in ends), [length for _, length in ends]
    validation: dict[str, float] = {status: statuses[status] / count for status in RUN_STATUSES}
    validation |= {
        "average_history_length": sum(lengths) / count,
        "max_history_length": max(lengths),
        "min_history_length": min(lengths),
    }
    coverage = {"finished": count, "total": total}
    return {"total": count, "validation": validation, "custom": None, "coverage": coverage}


def read_overall(file: Path) -> dict[str, Any] | None:
    """What the file says; None where there is none or it is damaged."""
    try:
        content = parse_json(read_file(file))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def is_whole(overall: dict[str, Any] | None) -> bool:
    """Whether it is of all samples, and the task has said what it says of them. One of AgentBench's is."""
    if overall is None or "custom_error" in overall:
        return False
    coverage = overall.get("coverage")
    return coverage is None or (isinstance(coverage, dict) and coverage.get("finished") == coverage.get("total"))


class OverallWriter:
    """Writes ``overall.json`` again as samples end, in a thread of its own: the task is asked, which takes its time.

    It is read back from ``runs.jsonl``, so that nothing is kept in memory meanwhile; as it is written each time that
    half as many again have ended, what that costs a sample does not grow with their number.
    """

    def __init__(
        self,
        paths: AgentPaths,
        disk: Disk,
        secrets: Secrets,
        total: int,
        calculate: Calculate | None,
        *,
        generations: int = 1,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """``calculate`` is called in a thread of this class, and by ``close`` in the calling one."""
        self._paths = paths
        self._disk = disk
        self._secrets = secrets
        self._total = total
        self._calculate = calculate
        self._generations = generations
        self._say = say
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._closed = threading.Event()
        self._count = _lines_in(paths.runs)
        self._written = 0
        # The task has nothing to say of its results, and is asked no more.
        self._is_silent = False
        # It stays as it is: who is asked now has nobody to answer to.
        self._is_left = False
        self._thread: threading.Thread | None = None

    def note(self) -> None:
        """Take into account that one more has ended."""
        with self._lock:
            self._count += 1
            if self._count < self._written * GROWTH or self._due.is_set():
                return
            self._due.set()
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="evalrun-overall", daemon=True)
                self._thread.start()

    def close(self, *, at_once: bool = False) -> None:
        """Write it a last time, and say why where the task failed; ``at_once``: leave it as it is, wait for nobody."""
        with self._lock:
            self._closed.set()
            self._due.set()
            self._is_left = at_once
            thread, self._thread = self._thread, None
        if at_once:
            return
        if thread is not None:
            thread.join()
        told = read_overall(self._paths.overall)
        if self._written < self._count or not is_whole(told):
            told = self._write()
        if told is not None and self._say is not None and (error := told.get("custom_error")):
            self._say(f"overall.json: the task did not say what it says of all samples: {error}")

    def _run(self) -> None:
        while True:
            self._due.wait()
            if self._closed.is_set():
                return
            self._due.clear()
            self._write()
            if self._closed.wait(SECONDS):
                return

    def _write(self) -> dict[str, Any] | None:
        """Write what there is to say by now, and return it; None where no sample has ended, or the disk is full."""
        with self._lock:
            count = self._count
        try:
            told: dict[str, Any] | None = self._secrets.prediction(self._told())
            if told is None or self._is_left:
                return None
            self._disk.write(self._paths.overall, json.dumps(told, indent=4, ensure_ascii=False))
        except OSError:  # predictions say so, which are written first
            return None
        with self._lock:
            self._written = count
            if count < self._count and self._count >= count * GROWTH:
                self._due.set()
        return told

    def _told(self) -> dict[str, Any] | None:
        """All outputs are in memory only where the task has something to say of them."""
        if self._calculate is None or self._is_silent:
            ends = task_ends(self._paths.directory, self._generations)
            return overall_of(ends, self._total) if ends else None
        outputs = task_outputs(self._paths.directory, self._generations)
        if not outputs:
            return None
        told = overall_of([end_of(output) for output in outputs], self._total)
        try:
            told["custom"] = self._calculate(outputs)
        except Exception as error:  # noqa: BLE001 - it is the user's code, behind a server
            return told | {"custom_error": f"{type(error).__name__}: {error}"}
        self._is_silent = told["custom"] is None
        return told


def _lines_in(file: Path) -> int:
    try:
        with open_file(file) as lines:
            return sum(1 for _ in lines)
    except OSError:
        return 0
