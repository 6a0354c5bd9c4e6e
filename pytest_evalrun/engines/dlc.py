"""``--eval-engine dlc``: jobs of Alibaba's PAI-DLC, by its published API. No real one has been seen."""

from __future__ import annotations

import re
import shlex
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.engines.dlccalls import PAGE, DlcCalls, DlcRefusedError
from pytest_evalrun.engines.dlcconfig import read_dlc_config
from pytest_evalrun.engines.dlcjobs import create_request, display_name, tool_command
from pytest_evalrun.engines.dlclogs import MORE, append_log, known_lines, lines_of
from pytest_evalrun.engines.dlcstates import job_state
from pytest_evalrun.engines.protocol import ClusterAway, Handle, JobState, Phase
from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_evalrun.engines.protocol import Job
    from pytest_evalrun.suite.clusters import ClusterWords

# ListJobs leaves out what is older than a week, unless it is told another day.
OLDEST = timedelta(days=60)
NAME = re.compile(r"evalrun-.*-(?P<unit>[A-Za-z0-9_]+)-(?P<attempt>[0-9]+)-[0-9a-f]+")
LOG_SECONDS = 10.0  # between two questions for the log of one job
LOGS_A_POLL = 4  # questions for logs of jobs that run, each time that we look


class DlcEngine:
    """Jobs by the API. What a job writes is asked for now and then, and once more when it has ended."""

    name = "dlc"
    throttles = False

    def __init__(self, words: ClusterWords, directory: Path) -> None:
        if words.dlc is None:
            raise ConfigError(
                "--eval-engine dlc: --eval-dlc-config (ini eval_dlc_config) is missing; accepted: a YAML or JSON file "
                "with workspace_id, resource_id and worker_image, relative to rootdir"
            )
        self.directory = directory
        self.config = read_dlc_config(Path(words.root, Path(words.dlc).expanduser()))
        self._calls: DlcCalls | None = None
        self._made: dict[str, Handle] = {}
        self._logs: dict[str, Path] = {}
        self._logged: dict[Handle, float] = {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What of the file has no effect, and why."""
        return self.config.remarks

    @property
    def calls(self) -> DlcCalls:
        if self._calls is None:
            self._calls = DlcCalls(self.config.access, self.config.file)
        return self._calls

    def check(self, jobs: Sequence[Job]) -> None:  # noqa: ARG002 - what a quota has is not published
        """Ask one question, so that a wrong key or workspace is told before anything is submitted."""
        try:
            next(self._listed(), None)
        except DlcRefusedError as refused:
            raise ConfigError(f"{self.config.file}: DLC refuses: {refused}") from None

    def submit(self, jobs: Sequence[Job], at_once: int) -> list[Handle]:  # noqa: ARG002 - no more are given
        """Make jobs one by one.

        Where that ends half-way, some are there: ClusterAway then, whatever the reason, and ``find`` knows them.
        """
        handles: list[Handle] = []
        for job in jobs:
            self._logs[job.name] = job.log
            try:
                job_id = self.calls.create(create_request(self.calls.models, self.config.words, job))
            except DlcRefusedError as refused:
                text = f"{self.config.file}: DLC refuses the job {job.title!r}: {refused}"
                raise (ClusterAway if handles else ConfigError)(text) from None
            handles.append(Handle(job_id, job.name))
            self._made[job.name] = handles[-1]
        return handles

    def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobState]:
        try:
            jobs = self._jobs([handle.id for handle in handles])
            states = {handle: job_state(jobs[handle.id]) if handle.id in jobs else self._gone() for handle in handles}
        except DlcRefusedError as refused:
            # A key that has expired, say: jobs go on, and so does who waits for them.
            raise ClusterAway(f"DLC refuses: {refused}") from None
        self._follow(states, jobs)
        return states

    def _jobs(self, ids: Sequence[str]) -> dict[str, Any]:
        """Ask for many at once; one that the list leaves out, as a new one may be, is asked for by itself.

        One page holds all of them; a service that does not know how to choose by ids would list its whole workspace.
        """
        found: dict[str, Any] = {}
        for start in range(0, len(ids), PAGE):
            asked = ids[start : start + PAGE]
            page = islice(self._listed(job_ids=",".join(asked)), PAGE)
            found |= {job.job_id: job for job in page if job.job_id in asked}
        for job_id in ids:
            if job_id not in found and (job := self.calls.job(job_id)) is not None:
                found[job_id] = job
        return found

    def _listed(self, **words: Any) -> Iterator[Any]:
        since = (datetime.now(UTC) - OLDEST).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.calls.jobs(workspace_id=self.config.words.workspace_id, start_time=since, **words)

    @staticmethod
    def _gone() -> JobState:
        return JobState(Phase.GONE, reason="DLC knows no such job")

    def _follow(self, states: dict[Handle, JobState], jobs: dict[str, Any]) -> None:
        """Ask for the logs of what has ended, and of a few that run: those that were asked for longest ago."""
        now = time.monotonic()
        known = {handle: state for handle, state in states.items() if state.phase not in (Phase.WAITING, Phase.GONE)}
        due = sorted(
            (handle for handle, state in known.items() if not state.phase.is_end),
            key=lambda handle: self._logged.get(handle, 0.0),
        )
        due = [handle for handle in due if now - self._logged.get(handle, -LOG_SECONDS) >= LOG_SECONDS][:LOGS_A_POLL]
        for handle in (*due, *(handle for handle, state in known.items() if state.phase.is_end)):
            self._logged[handle] = now
            self._take_log(handle, jobs[handle.id], is_last=states[handle].phase.is_end)

    def _take_log(self, handle: Handle, job: Any, *, is_last: bool) -> None:
        """A log is for people: where it cannot be had, or written, nothing else fails."""
        file = self._log_of(handle.name)
        if file is None:
            return
        try:
            known = known_lines(file)
            try:
                answer = lines_of(self._written(handle, job, len(known) + MORE))
            except (ClusterAway, DlcRefusedError) as error:
                answer = [*known, f"evalrun: the end of this log could not be had: {error}"] if is_last else []
            append_log(file, answer)
        except OSError:
            return

    def _written(self, handle: Handle, job: Any, most: int) -> list[str]:
        """The log of a job's one pod, which a list of jobs may leave out."""
        pods = job.pods or getattr(self.calls.job(handle.id), "pods", None) or []
        return self.calls.log(handle.id, pods[0].pod_id, most) if pods else []

    def _log_of(self, name: str) -> Path | None:
        """The file for a job's log; of what another launch has submitted by its name, in which unit and attempt are."""
        if name not in self._logs and (found := NAME.fullmatch(name)):
            self._logs[name] = self.directory.joinpath(found["unit"], found["attempt"], "job.log")
        file = self._logs.get(name)
        return file if file is not None and file.parent.is_dir() else None

    def cancel(self, handles: Sequence[Handle]) -> None:
        for handle in handles:
            try:
                self.calls.stop(handle.id)
            except DlcRefusedError:
                # Over already, or gone.
                continue

    def find(self, names: Sequence[str]) -> list[Handle]:
        """Ask once for all names: the service looks for what they have in common anywhere in a name."""
        found = {name: self._made[name] for name in names if name in self._made}
        wanted = {display_name(name): name for name in names if name not in found}
        try:
            jobs = [*self._listed(display_name=_common([*wanted]), show_own=True)] if wanted else []
        except DlcRefusedError as refused:
            raise ClusterAway(f"DLC refuses: {refused}") from None
        found |= {
            wanted[job.display_name]: Handle(job.job_id, wanted[job.display_name])
            for job in jobs
            if job.display_name in wanted
        }
        return [found[name] for name in names if name in found]

    def prepare(self, jobs: Sequence[Job]) -> None:
        """A job's script is all that there is to it."""

    def preview(self, jobs: Sequence[Job], at_once: int) -> str:  # noqa: ARG002 - one job a question
        """Give what the tool ``dlc`` would be told, though it is not used: the API has no commands."""
        return "\n".join(shlex.join(tool_command(self.config.words, job)) for job in jobs)

    def close(self) -> None:
        self._calls = None


def _common(names: Sequence[str]) -> str:
    """Give what all begin with."""
    first, last = min(names), max(names)
    return first[: next((place for place, letter in enumerate(first) if last[place] != letter), len(first))]
