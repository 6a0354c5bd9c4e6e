"""Any batch system with commands for submit, status and cancel, as the suite's `batch_system` gives them.

Commands are words, filled and started without a shell. What they print is read by the suite's expressions.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import time
from typing import TYPE_CHECKING

from pytest_evalrun.engines.calling import call_program
from pytest_evalrun.engines.protocol import ClusterAway, Handle, JobState, Phase
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.batchsystem import COMMANDS, BatchSystem
from pytest_evalrun.suite.printable import one_line
from pytest_evalrun.suite.problems import found
from pytest_evalrun.suite.template import fill, names_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from subprocess import CompletedProcess

    from pytest_evalrun.engines.protocol import Job
    from pytest_evalrun.suite.clusters import ClusterWords

# A command that takes longer is one of a cluster that does not answer.
PATIENCE = 60.0
# The limit of a job is an allowance, for what was measured elsewhere may be slower here.
ALLOWANCE, SHORTEST, UNKNOWN = 3, 30, 24 * 60
# So long a job that was submitted need not be shown yet.
APPEARS = 10.0
# Groups that may be empty, and what tools print then.
TOLD = ("code", "node", "reason")
NOTHING = frozenset({"-", "<none>"})
MOST_TOLD = 400


class CommandEngine:
    """One batch system; each method is one command, or one a job where its template has ``{id}``."""

    name = "command"
    throttles = False
    remarks = ()

    def __init__(self, words: ClusterWords, directory: Path) -> None:  # noqa: ARG002 - as every engine is made
        if not words.batch:
            raise ConfigError(
                "--eval-engine command: no suite of this launch says how jobs are submitted; add `batch_system` with "
                "submit, status, cancel, state and states to evalrun.yaml (examples/clusters has some)"
            )
        self._system = BatchSystem.of(words.batch)
        self._root = words.root or None
        # By name: submitting again what was taken before the cluster went away would be a second job.
        self._taken: dict[str, Handle] = {}
        # When what was not shown yet was submitted, and the last job that was asked for.
        self._unseen: dict[Handle, float] = {}
        self._last: Handle | None = None
        # What was cancelled, and may take its time.
        self._ending: set[Handle] = set()

    def check(self, jobs: Sequence[Job]) -> None:  # noqa: ARG002 - no cluster says before what it will take
        """Raise ConfigError where a command is not there; a preview needs none."""
        for key in COMMANDS:
            program = fill(getattr(self._system, key)[0], {})
            path = os.path.join(self._root or "", program) if os.sep in program else program  # noqa: PTH118 - stays bare
            if shutil.which(path) is None:
                where = f"below {self._root}" if os.sep in program else "on PATH"
                raise ConfigError(
                    f"{self._system.place(key)}: found the program {program!r}, which is not {where}; accepted: one "
                    "that this machine can start (launches begin where the commands of the cluster are installed)"
                )

    def submit(self, jobs: Sequence[Job], at_once: int) -> list[Handle]:  # noqa: ARG002 - the launch throttles
        try:
            return [self._submitted(job) for job in jobs]
        except ConfigError:
            # The launch has no handles of what was taken before, and will not submit it again.
            self._take_back(jobs)
            raise

    def _submitted(self, job: Job) -> Handle:
        if job.name not in self._taken:
            done = self._run(self._submit_words(job), {**os.environ, **job.environment})
            if done.returncode != 0:
                self._check_there(_said(done))
                raise ConfigError(f"{self._system.place('submit')}: job {job.name} was refused: {_said(done)}")
            self._last = self._taken[job.name] = Handle(self._id_in(done), job.name)
            self._unseen[self._last] = time.monotonic()
        return self._taken[job.name]

    def _submit_words(self, job: Job) -> list[str]:
        minutes = UNKNOWN if job.minutes is None else max(SHORTEST, math.ceil(ALLOWANCE * job.minutes))
        values = {
            "name": job.name,
            "title": one_line(job.title),
            "script": str(job.script),
            "log": str(job.log),
            "directory": str(job.script.parent),
            "gpus": str(job.resources.gpus),
            "minutes": str(minutes),
            "seconds": str(60 * minutes),
        }
        return [fill(word, values) for word in self._system.submit]

    def _id_in(self, done: CompletedProcess[str]) -> str:
        pattern = self._system.id
        if pattern is None:
            words = done.stdout.split()
            identity = words[-1] if words else ""
        else:
            match = pattern.search(done.stdout)
            identity = (match[1] or "") if match else ""
        if not identity or identity.startswith("-"):
            what = (
                f"{self._system.place('id')}: {found(pattern.pattern)} finds" if pattern else "batch_system.id: finds"
            )
            raise ConfigError(f"{what} no id in what `submit` printed: {_said(done)}")
        return identity

    def _check_there(self, said: str) -> None:
        """Raise ClusterAway where `status` does not answer either: it is no refusal then."""
        try:
            self.poll([self._last] if self._last else [])
        except ClusterAway as error:
            raise ClusterAway(f"{said}; {error}") from None

    def _take_back(self, jobs: Sequence[Job]) -> None:
        if taken := [self._taken.pop(job.name) for job in jobs if job.name in self._taken]:
            try:
                self.cancel(taken)
            except (ClusterAway, ConfigError):
                pass  # told by what was refused; such a job sees that it is nobody's, and leaves

    def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobState]:
        states = dict(pair for text in self._ask(handles) for pair in self._states_in(text))
        for handle in handles:
            self._last = handle
            if handle.id in states:
                self._unseen.pop(handle, None)
        return {handle: states.get(handle.id) or self._unshown(handle) for handle in handles}

    def _unshown(self, handle: Handle) -> JobState:
        since = self._unseen.get(handle)
        if since is not None and time.monotonic() - since < APPEARS:
            return JobState(Phase.WAITING, reason="not shown yet")
        return JobState(Phase.GONE)

    def _ask(self, handles: Sequence[Handle]) -> Iterator[str]:
        """What `status` prints. Raises ClusterAway where it fails, but not because of a job that is gone."""
        for ids, words in self._calls("status", [handle.id for handle in handles]):
            done = self._run(words)
            if done.returncode != 0:
                told = {identity for identity, _ in self._states_in(done.stdout)} | set(self._gone_in(done))
                if not ids or not set(ids) <= told:
                    hint = (
                        "" if self._system.gone else " (if that is about a job that has ended, add batch_system.gone)"
                    )
                    raise ClusterAway(f"`{shlex.join(words)}`: {_said(done)}{hint}")
            yield done.stdout

    def _states_in(self, text: str) -> Iterator[tuple[str, JobState]]:
        for match in self._system.state.finditer(text):
            named = {key: " ".join((value or "").split()) for key, value in match.groupdict().items()}
            code, node, reason = ("" if named.get(key) in NOTHING else named.get(key, "") for key in TOLD)
            yield named["id"], self._state(named["state"], _number(code), node, reason)

    def _state(self, word: str, code: int | None, node: str, reason: str) -> JobState:
        meaning = self._system.meaning(word, code, reason)
        if meaning is None:
            # Whether it is an end nobody knows: what the job writes tells, or that it is not shown any more.
            return JobState(Phase.RUNNING, None, node, f"{word}: batch_system.states has no such word")
        phase = Phase(meaning)
        if phase is Phase.DONE:
            phase, code = (Phase.FAILED, code) if code else (phase, 0)
        return JobState(phase, _signal_or_code(code) if phase.is_end else None, node, reason)

    def _gone_in(self, done: CompletedProcess[str]) -> list[str]:
        pattern = self._system.gone
        return [match["id"] for match in pattern.finditer(done.stdout + done.stderr)] if pattern else []

    def cancel(self, handles: Sequence[Handle]) -> None:
        """Where the command fails it is asked how they stand, and those that live are cancelled one by one.

        Raises ConfigError for jobs that were never accepted for it; one that is ending may well be refused again.
        """
        if self._cancelled(handles) is None:
            return
        living = self._living(handles)
        said = [text for handle in living if (text := self._cancelled([handle])) is not None]
        if said and (left := [handle.id for handle in self._living(living) if handle not in self._ending]):
            raise ConfigError(f"{self._system.place('cancel')}: {', '.join(left)} cannot be cancelled: {said[-1]}")

    def _cancelled(self, handles: Sequence[Handle]) -> str | None:
        """Call the command; None where it succeeds, what it says where it fails."""
        said = None
        for ids, words in self._calls("cancel", [handle.id for handle in handles]):
            done = self._run(words)
            if done.returncode != 0:
                said = _said(done)
            else:
                self._ending.update(handle for handle in handles if handle.id in ids)
        return said

    def _living(self, handles: Sequence[Handle]) -> list[Handle]:
        return [handle for handle, state in self.poll(handles).items() if not state.phase.is_end]

    def find(self, names: Sequence[str]) -> list[Handle]:
        """By the group ``name``, of a `status` that shows all jobs."""
        found: dict[str, Handle] = {}
        if not self._asks_by_id and "name" in self._system.state.groupindex:
            for text in self._ask(()):
                for match in self._system.state.finditer(text):
                    found[match["name"]] = Handle(match["id"], match["name"])
        found |= self._taken
        return [found[name] for name in names if name in found]

    def prepare(self, jobs: Sequence[Job]) -> None:
        """A job's script is all that there is to it."""

    def preview(self, jobs: Sequence[Job], at_once: int) -> str:  # noqa: ARG002 - each job has its own command
        return "\n".join(shlex.join(self._submit_words(job)) for job in jobs)

    def close(self) -> None:
        """Nothing is kept open."""

    @property
    def _asks_by_id(self) -> bool:
        return any(name in ("id", "ids") for word in self._system.status for name in names_in(word))

    def _calls(self, key: str, ids: Sequence[str]) -> Iterator[tuple[Sequence[str], list[str]]]:
        """The words of each call, and which ids it is about: one for all, or one for each where there is ``{id}``."""
        template: tuple[str, ...] = getattr(self._system, key)
        if any("id" in names_in(word) for word in template):
            for one in ids:
                yield [one], list(_filled(template, [one]))
        elif ids or not any("ids" in names_in(word) for word in template):
            yield ids, list(_filled(template, ids))

    def _run(self, words: list[str], env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
        """Call a program. Raises ClusterAway where it takes too long, ConfigError where it is not there."""
        try:
            return call_program(words, patience=PATIENCE, cwd=self._root, env=env)
        except OSError as error:
            raise ConfigError(f"batch_system: {words[0]} cannot be started here: {error.strerror}") from None


def _filled(template: Sequence[str], ids: Sequence[str]) -> Iterator[str]:
    values = {"ids": ",".join(ids), "id": ids[0] if ids else ""}
    for word in template:
        if word == "{ids}":
            yield from ids
        else:
            yield fill(word, values)


def _number(text: str) -> int | None:
    return int(text) if text.lstrip("-").isdecimal() else None


def _signal_or_code(code: int | None) -> int | None:
    """Shells add 128 to a signal, PBS 256."""
    base = next((base for base in (128, 256) if code is not None and base < code <= base + 64), None)
    return code if code is None or base is None else base - code


def _said(done: CompletedProcess[str]) -> str:
    """What a command has to say, the last of it; or its exit code where it says nothing."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    text = " / ".join(one_line(line).strip() for line in lines[-5:])[-MOST_TOLD:]
    return text or f"nothing, with exit code {done.returncode}"
