"""Slurm: one array of jobs for each resource class; squeue says how they stand, in Slurm's own words."""

from __future__ import annotations

import os
import re
import shlex
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_evalrun.engines.protocol import ClusterAway, Handle, JobState, Phase
from pytest_evalrun.engines.slurmarrays import SlurmArray, arrays
from pytest_evalrun.engines.slurmcalls import NOBODY_KNOWS, SlurmRefused, call
from pytest_evalrun.engines.slurmstates import FIELDS, SACCT_FIELDS, accounted, listed, memory_words
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.engines.protocol import Job, Resources
    from pytest_evalrun.suite.clusters import ClusterWords

# So much before a time limit a job is told to end after the batch at hand; Slurm may be up to a minute early.
NOTICE = 60
# More ids than this are not named in one question: all jobs of ours are asked for.
MOST_NAMED = 500
TAIL = 16384
# With --test-only the same is said of what no node has and of nodes that are all drained or down just now.
NOT_NOW = "Requested node configuration is not available"
# Slurm lists a job for so many seconds after its end, at the very least (MinJobAge).
REMEMBERED = 60.0


class SlurmEngine:
    """The commands of Slurm on this machine: sbatch, squeue, scancel, and sacct where it has anything to tell."""

    name = "slurm"
    throttles = True
    remarks = ()

    def __init__(self, words: ClusterWords, directory: Path) -> None:
        self._words = _split(words.slurm, "--eval-slurm")
        self._root = words.root
        self._arrays = directory.absolute() / "slurm"
        self._accounts: bool | None = None
        # When elements were last seen to wait: those that are cancelled before they start are not listed any more.
        self._waited: dict[str, float] = {}

    def check(self, jobs: Sequence[Job]) -> None:
        """Ask sbatch whether it would ever run what is asked for, once for each resource class."""
        for resources in dict.fromkeys(job.resources for job in jobs):
            words = self._wishes(resources)
            try:
                call(["sbatch", "--test-only", *words], text="#!/bin/bash\n")
            except SlurmRefused as error:
                if not (NOT_NOW in str(error) and self._would_wait(words)):
                    raise ConfigError(f"Slurm will not run `sbatch {shlex.join(words)}`: {_plain(error)}") from None
        call(["squeue", "--version"])
        call(["scancel", "--version"])

    def _would_wait(self, words: list[str]) -> bool:
        """Whether a job like this would be queued: by one that does nothing, an hour from now, and is cancelled."""
        probe = ["--parsable", "--begin=now+1hour", "--job-name=evalrun-check", f"--output={os.devnull}"]
        try:
            said = call(["sbatch", *words, *probe], text="#!/bin/bash\n")
        except SlurmRefused:
            return False
        call(["scancel", said.strip().partition(";")[0]])
        return True

    def submit(self, jobs: Sequence[Job], at_once: int) -> list[Handle]:
        array = SlurmArray.of(self._arrays, jobs)
        if array.names() == [job.name for job in jobs]:
            # It was tried before, and nobody answered: it may have been submitted all the same.
            there = {handle.name: handle for handle in self.find(array.names())}
            if len(there) == len(jobs):
                return [there[job.name] for job in jobs]
        self.prepare(jobs)
        command = self._command(array, jobs, at_once)
        try:
            said = call(command)
        except SlurmRefused as error:
            raise ConfigError(f"Slurm refused {_jobs(len(jobs))}: {_plain(error)}{self._hint(error)}") from None
        numbers = re.findall(r"^(\d+)(?:;\S*)?$", said, re.MULTILINE)
        if not numbers:
            raise ConfigError(f"`{shlex.join(command)}` printed no job id: {one_line(said)!r}")
        handles = [Handle(f"{numbers[-1]}_{element}", job.name) for element, job in enumerate(jobs)]
        self._waited |= dict.fromkeys((handle.id for handle in handles), time.monotonic())
        return handles

    def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobState]:
        states = self._ask(handles, ["--user", str(os.geteuid())])
        if missing := [handle for handle in handles if handle.id not in states]:
            # Of a run that somebody else began, or forgotten: both are rare.
            states |= self._ask(missing, [])
        states |= self._never_started(handles, states)
        if asked := [one for one in handles if one.id not in states or states[one.id].phase is Phase.CANCELLED]:
            states |= self._accounted(asked)
        return {handle: self._judged(handle, states.get(handle.id)) for handle in handles}

    def _never_started(self, handles: Sequence[Handle], states: Mapping[str, JobState]) -> dict[str, JobState]:
        """Elements that waited a moment ago, and are not listed though their array is: somebody cancelled them."""
        now = time.monotonic()
        arrays_listed = {identity.partition("_")[0] for identity in states}
        found = {}
        for handle in handles:
            state = states.get(handle.id)
            waited = now if state and state.phase is Phase.WAITING else self._waited.pop(handle.id, None)
            if state is None and waited and now - waited < REMEMBERED and handle.id.partition("_")[0] in arrays_listed:
                found[handle.id] = JobState(Phase.CANCELLED, reason="CANCELLED while it waited")
            elif waited == now:
                self._waited[handle.id] = now
        return found

    def cancel(self, handles: Sequence[Handle]) -> None:
        if handles:
            try:
                call(["scancel", *(handle.id for handle in handles)])
            except SlurmRefused as error:
                if not _is_over(str(error)):
                    raise ConfigError(f"Slurm did not cancel {_jobs(len(handles))}: {_plain(error)}") from None

    def find(self, names: Sequence[str]) -> list[Handle]:
        wanted = set(names)
        known = {array.name: listing for array, listing in arrays(self._arrays) if wanted.intersection(listing)}
        if not known:
            return []
        rows = call(["squeue", *_SHOWN, "--name", ",".join(known), "-o", "%i|%j"]).splitlines()
        found = {}
        for identity, _, array in (row.strip().partition("|") for row in rows):
            element = identity.rpartition("_")[2]
            name = dict(enumerate(known.get(array, ()))).get(int(element) if element.isdecimal() else -1)
            if name in wanted:
                found[name] = Handle(identity, name)
        # squeue lists by priority and state, in which jobs change places as they wait.
        return [found[name] for name in names if name in found]

    def prepare(self, jobs: Sequence[Job]) -> None:
        SlurmArray.of(self._arrays, jobs).write(jobs)

    def preview(self, jobs: Sequence[Job], at_once: int) -> str:
        return shlex.join(self._command(SlurmArray.of(self._arrays, jobs), jobs, at_once))

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _wishes(self, resources: Resources) -> list[str]:
        """What is asked of Slurm: ours first, so that the user's words win."""
        # A launch knows more than Slurm of what to do with a job that was ended: another attempt, from where it was.
        ours = ["--no-requeue", "--open-mode=append", f"--signal=B:USR1@{NOTICE}"]
        gpus = [f"--gres=gpu:{resources.gpus}"] if resources.gpus else []
        return [*ours, *gpus, *self._words, *_split(resources.flags, "slurm")]

    def _command(self, array: SlurmArray, jobs: Sequence[Job], at_once: int) -> list[str]:
        title = one_line(jobs[0].title) + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
        fixed = ["--parsable", f"--job-name={array.name}", f"--array=0-{len(jobs) - 1}%{max(at_once, 1)}"]
        place = [f"--chdir={self._root}"] if self._root else []
        wishes = self._wishes(jobs[0].resources)
        return ["sbatch", f"--comment={title}", *wishes, *fixed, *place, f"--output={array.output}", str(array.script)]

    def _hint(self, error: SlurmRefused) -> str:
        if "Invalid job array specification" not in str(error):
            return ""
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", call(["scontrol", "show", "config"]), re.MULTILINE)
        limit = f"MaxArraySize is {found[1]}" if found else "see MaxArraySize"
        return f" ({limit}; with a larger --eval-unit-minutes there are fewer jobs)"

    def _ask(self, handles: Sequence[Handle], whose: list[str]) -> dict[str, JobState]:
        numbers = dict.fromkeys(handle.id.partition("_")[0] for handle in handles)
        if not numbers:
            return {}
        named = ["--jobs", ",".join(numbers)] if len(numbers) <= MOST_NAMED else []
        try:
            return dict(listed(call(["squeue", *_SHOWN, *whose, *named, "-O", FIELDS])))
        except SlurmRefused as error:
            if NOBODY_KNOWS in str(error):
                return {}
            # Whatever hinders squeue, jobs go on.
            raise ClusterAway(str(error)) from None

    def _accounted(self, handles: Sequence[Handle]) -> dict[str, JobState]:
        """What the accounting knows of jobs that the controller has forgotten, or somebody cancelled: who."""
        if self._accounts is False:
            return {}
        ids = ",".join(handle.id for handle in handles)
        try:
            text = call(["sacct", "--noheader", "--parsable2", "--allocations", "--jobs", ids, "-o", SACCT_FIELDS])
        except ConfigError:
            # There is none, or no sacct. Where it is only away now, what the job has written must do.
            self._accounts = False
            return {}
        return dict(accounted(text))

    def _judged(self, handle: Handle, state: JobState | None) -> JobState:
        if state is None:
            return JobState(Phase.GONE)
        if state.phase not in (Phase.FAILED, Phase.CANCELLED):
            return state
        log, tail = self._log(handle)
        if tail is None:
            lost = state.phase is Phase.FAILED and log is not None
            return (
                replace(state, reason=f"{state.reason}; does {state.node} see {log}? It wrote none") if lost else state
            )
        words = memory_words(tail) if state.code in (None, 0, -9) else ""
        return replace(state, phase=Phase.MEMORY, reason=words) if words else state

    def _log(self, handle: Handle) -> tuple[Path | None, bytes | None]:
        """A job's log and the end of it; None where there is no such file."""
        element = int(handle.id.rpartition("_")[2])
        for array, names in arrays(self._arrays):
            if handle.name in names[element : element + 1]:
                return array.log(element), _tail(array.log(element))
        return None, None


_SHOWN = ["--noheader", "--array", "--all", "--states=all"]


def _split(words: str, origin: str) -> list[str]:
    try:
        return shlex.split(words)
    except ValueError as error:
        raise ConfigError(
            f"{origin}: found {words!r}: {error}; accepted: words for sbatch, quoted as in a shell"
        ) from None


def _tail(file: Path) -> bytes | None:
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - TAIL))
            return opened.read()
    except OSError:
        return None


def _is_over(said: str) -> bool:
    over: Iterable[str] = (NOBODY_KNOWS, "already completing or completed", "Job/step already")
    return all(any(words in sentence for words in over) for sentence in said.split("; "))


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _plain(error: SlurmRefused) -> str:
    """Its own words, without what every refusal of sbatch begins with."""
    return re.sub(r"(Batch job submission failed|allocation failure): ", "", str(error))
