"""The files of an agent and its task in AgentBench's formats, beside its predictions: what its tools read goes on.

They are made of what predictions have: a line that a power cut or a full disk has cost is written again from there.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import SampleError
from pytest_evalrun.rundir.agentoverall import OverallWriter
from pytest_evalrun.rundir.agentruns import finished_runs, is_run
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import LineFile, encoded, read_file
from pytest_evalrun.suite.jsontext import parse_json, parse_line
from pytest_evalrun.suite.printable import counted
from pytest_evalrun.suite.secrets import NO_SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.rundir.agentoverall import Calculate
    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.predictions import Line
    from pytest_evalrun.suite.secrets import Secrets

    Index = int | str

# What sessions wait for, as people are told.
AGENT, ENVIRONMENT, SLOT = "the agent", "the environment", "a slot"
# Sessions are written down at most so often.
SESSION_SECONDS = 0.5


class AgentFiles:
    """What one process writes of one agent and its task, from any thread; no two processes write the same files.

    A disk that is full never raises: what it does not take is missing, until ``settle`` writes it.
    """

    def __init__(self, paths: PairPaths, disk: Disk, secrets: Secrets = NO_SECRETS) -> None:
        self._paths = paths.agent
        self._disk = disk
        self._secrets = secrets
        self._lock = threading.Lock()
        self._runs = LineFile(self._paths.runs, is_run)
        self._errors = LineFile(self._paths.errors, _is_line)
        self._overall: OverallWriter | None = None
        self._rows: tuple[str, Sequence[Mapping[str, Any]]] | None = None
        self._rows_written = 0.0
        self._is_closed = False

    def keep_overall(
        self,
        total: int,
        calculate: Calculate | None,
        *,
        generations: int = 1,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """From now on ``overall.json`` follows the runs, of which there are ``total`` to be.

        ``calculate`` is the task's own: called with AgentBench's outputs, in a thread that may wait for it. Why it
        failed is ``say``\\ ed, and costs nothing else.
        """
        self._overall = OverallWriter(
            self._paths, self._disk, self._secrets, total, calculate, generations=generations, say=say
        )

    def run(
        self, index: Index, prediction: Mapping[str, Any], detail: Mapping[str, Any], *, at: float | None = None
    ) -> None:
        """A sample has ended, now or ``at`` so many seconds of the epoch: ``runs.jsonl`` gets its line.

        ``prediction`` has the status and the result, ``detail`` the history. Raises SampleError for what JSON does not
        have.
        """
        output = {
            "index": index,
            "status": str(prediction["status"]),
            "result": prediction.get("result"),
            "history": detail.get("history") or [],
        }
        self._append(self._runs, self._paths.runs, index, None, None, output, at)
        if self._overall is not None:
            self._overall.note()

    def error(self, index: Index, fault: str, info: str, output: Mapping[str, Any] | None = None) -> None:
        """A sample came to nothing: ``error.jsonl`` says why, in AgentBench's word and in ours."""
        told = dict(output) if output is not None else None
        self._append(self._errors, self._paths.errors, index, str(fault), self._secrets.blank(info), told, None)

    def settle(self, answers: Iterable[Line]) -> int:
        """Give every answer that is kept its run, and return how many had none.

        ``answers`` are all lines of the predictions; ``index`` of their detail is AgentBench's, and ``ended``, in
        seconds of the epoch, when that was.
        """
        there: dict[Index, int] = {}
        for run in finished_runs(self._paths.directory):
            there[run.index] = there.get(run.index, 0) + 1
        settled = 0
        for line in answers:
            detail = line.detail or {}
            if line.status != "ok" or "index" not in detail:
                continue
            index = detail["index"]
            if there.get(index, 0):
                there[index] -= 1
                continue
            self.run(index, line.prediction, detail, at=detail.get("ended"))
            settled += 1
        return settled

    def config(self, text: str) -> None:
        """What is run, in YAML; secrets are blanked in it."""
        self._disk.write(self._paths.config, self._secrets.blank(text))

    def sessions(self, controller: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Which sessions are under way: for nobody but the owner, as the address of a controller is a key to it.

        It is written at most twice a second, and the last time in any case.
        """
        with self._lock:
            if self._is_closed:
                return
            self._rows = controller, rows
            is_due = time.monotonic() - self._rows_written >= SESSION_SECONDS
        if is_due:
            self._write_sessions()
        else:
            self._disk.later(self._write_sessions)

    def _write_sessions(self) -> None:
        with self._lock:
            if self._rows is None:
                return
            (controller, rows), self._rows_written = self._rows, time.monotonic()
            told = {"controller": controller, "pid": os.getpid(), "time": time.time(), "sessions": list(rows)}
            try:
                write_atomic(self._paths.sessions, json.dumps(told, default=str), private=True)
            except OSError:
                pass  # it is for whoever looks, and no more

    def close(self, *, at_once: bool = False) -> None:
        """Write what is left; ``at_once``: without a word of the task on all samples."""
        if self._overall is not None:
            self._overall.close(at_once=at_once)
        with self._lock:
            self._rows, self._is_closed = None, True
            self._runs.close()
            self._errors.close()
        self._paths.sessions.unlink(missing_ok=True)

    def _append(
        self,
        file: LineFile,
        path: Path,
        index: Index,
        fault: str | None,
        info: str | None,
        output: dict[str, Any] | None,
        at: float | None,
    ) -> None:
        stamp = int((time.time() if at is None else at) * 1000)
        # In the time of this place, as AgentBench has it.
        text = datetime.fromtimestamp(stamp / 1000).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006
        line = {
            "index": index,
            "error": fault,
            "info": info,
            "output": self._secrets.prediction(output),
            "time": {"timestamp": stamp, "str": text},
        }
        try:
            data = encoded(json.dumps(line, allow_nan=False) + "\n")
        except (ValueError, TypeError, RecursionError) as error:
            raise SampleError(f"sample {index}: what the task answered cannot be kept: {error}") from error
        with self._lock:
            if file.write(data):
                self._disk.mark(os.fspath(path))


def read_sessions(file: Path) -> dict[str, Any] | None:
    """The sessions that are under way, and who has them: controller, pid, time, sessions; None where none are."""
    try:
        told = parse_json(read_file(file))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("sessions"), list) else None


@dataclass(frozen=True)
class UnderWay:
    """How many sessions a running pair has, what they wait for, and for how many seconds the longest lasts."""

    sessions: int
    agent: int
    environment: int
    slot: int
    longest: float

    @property
    def text(self) -> str:
        waits = (self.agent, AGENT), (self.environment, ENVIRONMENT), (self.slot, SLOT)
        told = [f"{count} for {what}" for count, what in waits if count]
        if told:
            first, rest = told[0].split(" ", 1)
            told[0] = f"{first} {'waits' if first == '1' else 'wait'} {rest}"
        return ", ".join([counted(self.sessions, "session"), *told, f"longest {self.longest:.0f} s"])


def under_way(rows: Iterable[Any], now: float) -> UnderWay | None:
    """Count the sessions that a running pair has written down; None where there are none."""
    sound = [row for row in rows if isinstance(row, dict)]
    if not sound:
        return None
    waits = [_word(row.get("waiting_for")) for row in sound]
    since = [row["since"] for row in sound if type(row.get("since")) in (int, float)]
    longest = max((now - begun for begun in since), default=0.0)
    return UnderWay(
        len(sound), waits.count(AGENT), waits.count(ENVIRONMENT), waits.count(SLOT), max(0.0, longest)
    )  # fmt: skip


def _word(told: Any) -> str | None:
    """What a session waits for, in the word that is shown."""
    words = {"agent": AGENT, "environment": ENVIRONMENT, "slot": SLOT}
    return words.get(str(told).rpartition(" ")[2])


def _is_line(raw: bytes) -> bool:
    try:
        return isinstance(parse_line(raw), dict)
    except ValueError:
        return False
