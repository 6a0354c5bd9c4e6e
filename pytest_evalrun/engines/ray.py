"""Ray: a unit is a job of its Jobs API, which Ray starts on a machine that has what the unit needs.

What a job says goes into its file by itself: the machine that runs it sees the directory of the run, or could not run
it at all. So nothing is lost where no launch is there to fetch it, and no line comes twice.
"""

from __future__ import annotations

import json
import re
import shlex
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_evalrun.engines.protocol import ClusterAway, Handle, JobState, Phase
from pytest_evalrun.engines.rayjobs import address_of, connected, last_line, machines, never_grows
from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.engines.protocol import Job, Resources
    from pytest_evalrun.suite.clusters import ClusterWords

# A job that is stopped has so long for the batch at hand, before it is killed; three seconds, if nobody says so.
STOP = {"RAY_JOB_STOP_WAIT_TIME_S": "60"}
# Of a job that asks for no GPU; Ray itself would show it all that its machine has.
NO_GPUS = {"CUDA_VISIBLE_DEVICES": ""}
# All jobs that a cluster ever had come in one answer: where ours are so few of them, each is asked for by itself.
CROWD = 20
# Numbers of a request, and what they are called in a command.
OPTIONS = {"num_cpus": "num-cpus", "num_gpus": "num-gpus", "memory": "memory"}
PHASES = {"PENDING": Phase.WAITING, "RUNNING": Phase.RUNNING, "SUCCEEDED": Phase.DONE, "STOPPED": Phase.CANCELLED}
# What ended a job that did not end itself, by words of Ray's message: the first that is in there says it.
DEATHS = (
    (re.compile(r"node was (forcibly )?preempted", re.IGNORECASE), Phase.PREEMPTED),
    (re.compile(r"its node has died"), Phase.LOST),
    (re.compile(r"running low on memory|OUT_OF_MEMORY"), Phase.MEMORY),
)
# Whatever these say, the job itself has done nothing wrong.
NOT_ITS_FAULT = {
    # No machine was free for it for as long as Ray lets a job wait.
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": Phase.PREEMPTED,
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": Phase.LOST,
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": Phase.LOST,
}
# Where a value is to be put in, between the single quotes of a shell.
_VALUE = re.compile(r'"@([A-Za-z_][A-Za-z0-9_]*)@"')
# Lines of Ray's own in the log of a job.
_ITS_OWN = re.compile(r"Running entrypoint for job |.*\bjob_manager\.py:|Job entrypoint command failed")


class RayEngine:
    """Jobs by Ray's own client; a cluster that cannot be reached at first is an error, later it is only away."""

    name = "ray"
    throttles = False
    remarks = ()

    def __init__(self, words: ClusterWords, directory: Path) -> None:  # noqa: ARG002 - as every engine is made
        self._address = address_of(words.ray)
        self._stopped: set[str] = set()
        self._listed = 0

    @cached_property
    def _client(self) -> Any:
        return connected(self._address)

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse what no machine has, where none can come by itself; how large a GPU is, the job looks itself."""
        wanted = {job.resources: _wanted(job.resources) for job in jobs}
        there = machines(self._client)
        for need in wanted.values():
            if not any(_fits(need, machine) for machine in there) and never_grows(self._client):
                raise ConfigError(
                    f"--eval-engine ray: no machine of {self._address} has {_text(need)} at once; it has "
                    f"{'; '.join(sorted(_text(_known(machine, need)) for machine in there)) or 'none at all'}; "
                    "accepted: less in `gpus` or `ray: {resources: …}`, or another cluster"
                )

    def submit(self, jobs: Sequence[Job], at_once: int) -> list[Handle]:  # noqa: ARG002 - it is given no more
        return [self._submitted(job) for job in jobs]

    def _submitted(self, job: Job) -> Handle:
        try:
            self._client.submit_job(submission_id=job.name, **_request(job))
        except (RuntimeError, ValueError, TypeError) as error:
            # Asked again, because the answer was lost: it is there already.
            if f"{job.name} already exists" not in str(error):
                raise ConfigError(f"Ray at {self._address} refuses {job.title}: {last_line(str(error))}") from None
        return Handle(job.name, job.name)

    def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobState]:
        if len(handles) * CROWD < self._listed:
            found = {handle.id: self._asked(self._client.get_job_info, handle.id) for handle in handles}
        else:
            found = self._all()
        return {handle: self._state(handle.id, found.get(handle.id)) for handle in handles}

    def _all(self) -> dict[str, Any]:
        jobs = self._asked(self._client.list_jobs) or ()
        self._listed = len(jobs)
        return {job.submission_id: job for job in jobs if job.submission_id}

    def _asked(self, question: Callable[..., Any], *names: str) -> Any:
        """Give the answer; None where it does not know the job. Raises ClusterAway where it is none."""
        try:
            return question(*names)
        except (RuntimeError, ValueError) as error:
            if "does not exist" in str(error):
                return None
            raise ClusterAway(f"Ray at {self._address} cannot answer now: {last_line(str(error))}") from None

    def _state(self, name: str, details: Any) -> JobState:
        if details is None:
            return JobState(Phase.GONE, reason="Ray does not know it (any more)")
        state = state_of(details)
        if state.phase is Phase.WAITING and name in self._stopped:
            # Ray lets it wait on, and ends it as soon as it has begun.
            return JobState(Phase.CANCELLED, reason="stopped before it began")
        return state

    def cancel(self, handles: Sequence[Handle]) -> None:
        for handle in handles:
            self._asked(self._client.stop_job, handle.id)
            self._stopped.add(handle.id)

    def find(self, names: Sequence[str]) -> list[Handle]:
        known = self._all()
        return [Handle(name, name) for name in names if name in known]

    def prepare(self, jobs: Sequence[Job]) -> None:
        """A job's script is all that there is to it."""

    def preview(self, jobs: Sequence[Job], at_once: int) -> str:  # noqa: ARG002 - one command a job
        return "\n".join(map(self._command, jobs))

    def _command(self, job: Job) -> str:
        """As a line for a shell, which adds the values of variables that are handed on: they are not shown."""
        request = _request(job)
        words = ["ray", "job", "submit", "--address", self._address, "--submission-id", job.name, "--no-wait"]
        for key, option in OPTIONS.items():
            if value := request.get(f"entrypoint_{key}"):
                words += [f"--entrypoint-{option}", f"{value:.12g}"]
        if value := request.get("entrypoint_resources"):
            words += ["--entrypoint-resources", json.dumps(value)]
        shown = request["runtime_env"]["env_vars"] | {name: f"@{name}@" for name in job.environment}
        words += ["--runtime-env-json", json.dumps({"env_vars": shown})]
        words += ["--metadata-json", json.dumps(request["metadata"])]
        # The command is put together from its words again, by the rules of another system than this one.
        line = shlex.join([*words, "--", "bash", "-c", request["entrypoint"]])
        return _VALUE.sub(r'''"'"$\1"'"''', line)

    def close(self) -> None:
        """Nothing is held: each question is a connection of its own."""


def _request(job: Job) -> dict[str, Any]:
    """Give what Ray is asked for. Raises ConfigError for a resource that has another word."""
    need = dict(_wanted(job.resources))
    environment = STOP | ({} if job.resources.gpus else NO_GPUS) | dict(job.environment)
    request: dict[str, Any] = {
        "entrypoint": f"exec bash {shlex.quote(str(job.script))} >>{shlex.quote(str(job.log))} 2>&1",
        "runtime_env": {"env_vars": environment},
        "metadata": {"title": job.title},
        "entrypoint_num_gpus": need.pop("GPU", 0),
        "entrypoint_num_cpus": need.pop("CPU"),
    }
    if memory := need.pop("memory", 0):
        request["entrypoint_memory"] = int(memory)
    return request | {"entrypoint_resources": need} if need else request


def _wanted(resources: Resources) -> dict[str, float]:
    """By Ray's names. A core at least: of jobs that ask for nothing, all would run on the head."""
    custom = dict(resources.custom)
    if "GPU" in custom:
        raise ConfigError("ray.resources: found GPU; accepted: `gpus: N` of the suite, and any other name here")
    return {"CPU": 1.0} | ({"GPU": float(resources.gpus)} if resources.gpus else {}) | custom


def _fits(need: Mapping[str, float], machine: Mapping[str, float]) -> bool:
    return all(machine.get(name, 0.0) >= amount for name, amount in need.items())


def _known(machine: Mapping[str, float], need: Mapping[str, float]) -> dict[str, float]:
    return {name: machine.get(name, 0.0) for name in need}


def _text(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())


def state_of(details: Any) -> JobState:
    """Say what Ray's ``JobDetails`` mean."""
    node = re.sub(r"^https?://|:\d+$", "", details.driver_agent_http_address or "")
    status = details.status.value
    if status in PHASES:
        reason = details.message if status in ("PENDING", "STOPPED") else ""
        return JobState(PHASES[status], details.driver_exit_code, node, reason or "")
    message, error = details.message or "", details.error_type or ""
    if error == "JOB_ENTRYPOINT_COMMAND_ERROR":
        return JobState(Phase.FAILED, _code(details.driver_exit_code), node, _said(message))
    said = (phase for pattern, phase in DEATHS if pattern.search(message))
    return JobState(next(said, NOT_ITS_FAULT.get(error, Phase.FAILED)), None, node, _cause(message))


def _code(code: int | None) -> int | None:
    """A shell adds 128 to the number of the signal that ended what it has run."""
    return 128 - code if code is not None and 128 < code <= 128 + 64 else code


def _said(message: str) -> str:
    """Give what was said before the job had its file; of an ordinary end only the code."""
    first, *lines = message.splitlines() or [""]
    said = [line.strip() for line in lines if line.strip() and not _ITS_OWN.match(line)]
    return said[-1] if said else first.partition(",")[0].rstrip(".")


def _cause(message: str) -> str:
    """Of what Ray says of its own process the part that is about this one; guesses, advice and tables are left out."""
    _, found, told = message.rpartition("\nThe actor ")
    text = f"The actor {told}" if found else message.partition("\n")[0].removeprefix("Unexpected error occurred: ")
    return " ".join(text.split()).partition(" Some common causes")[0]
