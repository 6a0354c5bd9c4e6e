"""A batch system of the tests' own, small but real: jobs are processes, slots are few, and nodes die.

>>> with BatchSystem(tmp_path / "batch") as batch:
...     project.make(batch_system=batch.words())          # then: pytest evals/ --eval-engine command
...     batch.wait(lambda jobs: jobs and jobs[0].state == "RUN")
...     batch.kill_node("n1")

It is a queue in a directory, one process that starts and ends jobs (``batch.down()`` kills it with SIGKILL: commands
fail then, jobs go on; ``batch.up()`` starts another, which takes over what runs), and commands that a suite names:

    submit --name N --log L [--gpus G] [--minutes M] SCRIPT    prints "job ID is in the queue"
    status [ID …]     a line a job, "ID NAME STATE CODE NODE REASON"; fails where it does not know one of the ids
    cancel ID …       SIGTERM to all of a job's processes, SIGKILL after the grace

As real ones do, a job gets the environment of who submitted it, `CUDA_VISIBLE_DEVICES` of what was leased to it, and
all that is left of its processes is killed once its script has ended. The program runs as a file, too: this module
imports nothing but what comes with Python.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICK = 0.02
PATIENCE = 30.0
MARK, JOB = "EVALRUN_TEST_BATCH", "BATCH_JOB_ID"
WAITING, RUNNING = "QUEUED", "RUN"
DONE, FAILED, PREEMPTED, LOST, TIME, MEMORY, CANCELLED = "DONE", "EXIT", "PREEMPT", "LOST", "TIMELIMIT", "OOM", "CANCEL"
STATES = {
    "waiting": WAITING,
    "running": RUNNING,
    "done": DONE,
    "failed": FAILED,
    "preempted": PREEMPTED,
    "lost": LOST,
    "time limit": TIME,
    "out of memory": MEMORY,
    "cancelled": CANCELLED,
}
LINE = r"^(?P<id>\d+) \S+ (?P<state>[A-Z]+) (?P<code>\S+) (?P<node>\S+) (?P<reason>.*)$"
# It notes the code of the script, which leads a process group of its own: no signal for a job comes to this.
# One that is stopped has not ended: bash without job control does not hear of it.
SHEPHERD = """setsid bash "$1" >>"$2" 2>&1 </dev/null &
wait $!
echo $? >"$3.new"; mv "$3.new" "$3"
"""


@dataclass(frozen=True)
class BatchJob:
    """A job as its batch system has it; ``pid`` is what waits for its script, None before it has begun."""

    id: str
    name: str
    script: Path
    log: Path
    state: str
    code: int | None
    node: str | None
    gpus: tuple[int, ...]
    minutes: float | None
    pid: int | None
    shown: bool

    @property
    def is_over(self) -> bool:
        return self.state not in (WAITING, RUNNING)


class BatchSystem:
    """Starts with its nodes up; ends every process of every job when it is left.

    ``nodes`` are slots by name, each node has ``gpus``; ``grace`` are the seconds from SIGTERM to SIGKILL. ``at`` says
    who gets the SIGTERM: all of a job's processes (``group``, as in PBS and LSF) or its script alone (as in Slurm with
    ``--signal=B:``, and in a container).
    """

    def __init__(self, place: Path, *, nodes=None, gpus: int = 4, grace: float = 20.0, at: str = "group") -> None:
        self.place = place
        place.mkdir(parents=True)
        (place / "codes").mkdir()
        self.mark = uuid.uuid4().hex
        up = {name: {"slots": slots, "gpus": gpus, "up": True} for name, slots in (nodes or {"n1": 2, "n2": 2}).items()}
        rules = {"grace": grace, "at": at, "held": False, "refusal": None, "mute": False, "mark": self.mark}
        (place / "queue.json").write_text(json.dumps({"nodes": up, "jobs": {}, "next": 1, **rules}))
        self._daemon: subprocess.Popen[bytes] | None = None
        self.up()

    def __enter__(self) -> BatchSystem:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything, jobs that were stopped or forgotten too."""
        self.down()
        kill_marked(MARK, self.mark)

    # what a suite says of it

    def command(self, *words: str) -> str:
        return shlex.join([sys.executable, "-I", __file__, str(self.place), *words])

    def words(self, **more: object) -> dict[str, object]:
        """The `batch_system` of a suite."""
        given = "--name {name} --log {log} --gpus {gpus} --minutes {minutes} {script}"
        return {
            "submit": f"{self.command('submit')} {given}",
            "status": f"{self.command('status')} {{ids}}",
            "cancel": f"{self.command('cancel')} {{ids}}",
            "id": r"job (\d+) is",
            "state": LINE,
            "gone": r"unknown job (?P<id>\d+)",
            "states": dict(STATES),
            **more,
        }

    # what is seen of it

    def jobs(self) -> list[BatchJob]:
        """All there ever were, the oldest first."""
        with queue(self.place) as now:
            return [job_of(job) for job in now["jobs"].values()]

    def job(self, ident: str) -> BatchJob:
        return next(job for job in self.jobs() if job.id == ident)

    def living(self) -> list[BatchJob]:
        return [job for job in self.jobs() if not job.is_over]

    def wait(self, holds, seconds: float = PATIENCE) -> list[BatchJob]:
        """Wait until ``holds(jobs)``; the jobs as they are then."""
        end = time.monotonic() + seconds
        while not holds(jobs := self.jobs()):
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {jobs}\n{self.logs()}")
            time.sleep(TICK)
        return jobs

    def logs(self) -> str:
        return "\n".join(f"--- {job.log}\n{_text(job.log)}" for job in self.jobs())

    def calls(self, command: str = "") -> list[list[str]]:
        """The words of each command that was called, the oldest first."""
        lines = _text(self.place / "calls.jsonl").splitlines()
        return [words for words in map(json.loads, lines) if not command or words[0] == command]

    def processes(self, ident: str | None = None) -> list[int]:
        """PIDs of what lives of a job, or of all."""
        return (
            marked(MARK, self.mark) if ident is None else [pid for pid in marked(JOB, ident) if pid in self.processes()]
        )

    # what happens to it

    def down(self) -> None:
        """Kill the process that has the queue: commands fail, what runs goes on."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    def up(self) -> None:
        if self._daemon is None:
            words = [sys.executable, "-I", __file__, str(self.place), "daemon"]
            log = (self.place / "daemon.log").open("ab")
            with log:
                self._daemon = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            end = time.monotonic() + PATIENCE
            while not is_served(self.place):
                assert self._daemon.poll() is None and time.monotonic() < end, _text(self.place / "daemon.log")
                time.sleep(TICK)

    def hold(self, held: bool = True) -> None:
        """Start nothing more, until ``hold(False)``."""
        self._change(held=held)

    def refuse(self, text: str | None) -> None:
        """Take no more jobs, and say why; None takes them again."""
        self._change(refusal=text)

    def mute(self, muted: bool = True) -> None:
        """Take jobs, but fail before the answer is there, as where a connection breaks."""
        self._change(mute=muted)

    def kill_node(self, name: str) -> list[str]:
        """A node loses its power: its jobs are lost, with all their processes. Gives their ids."""
        with queue(self.place) as now:
            now["nodes"][name]["up"] = False
            hit = [job for job in now["jobs"].values() if job["node"] == name and job["state"] == RUNNING]
            for job in hit:
                kill_marked(MARK, self.mark, also=(JOB, job["id"]))
                job.update(state=LOST, reason=f"node {name} is down")
        return [job["id"] for job in hit]

    def repair_node(self, name: str) -> None:
        with queue(self.place) as now:
            now["nodes"][name]["up"] = True

    def lose(self, ident: str) -> None:
        """A node cannot be reached: its job is lost for the queue, but only stands still; ``thaw`` lets it go on."""
        with queue(self.place) as now:
            self.freeze(ident)
            now["jobs"][ident].update(state=LOST, reason="node does not answer")

    def freeze(self, ident: str) -> None:
        """Stop all processes of a job (SIGSTOP)."""
        for pid in self.processes(ident):
            _send(pid, signal.SIGSTOP)

    def thaw(self, ident: str) -> None:
        for pid in self.processes(ident):
            _send(pid, signal.SIGCONT)

    def preempt(self, ident: str) -> None:
        """The job's node is wanted for others: SIGTERM, and SIGKILL after the grace."""
        self._end(ident, PREEMPTED, "preempted by a job of higher priority")

    def expire(self, ident: str) -> None:
        """The time of the job is over."""
        self._end(ident, TIME, "walltime exceeded")

    def cancel(self, ident: str) -> None:
        """An administrator cancels it."""
        self._end(ident, CANCELLED, "cancelled by root")

    def out_of_memory(self, ident: str) -> None:
        """The kernel kills all of it, at once."""
        with queue(self.place) as now:
            now["jobs"][ident].update(verdict=MEMORY, why="out of memory")
            kill_marked(MARK, self.mark, also=(JOB, ident))

    def kill(self, ident: str, number: int = signal.SIGKILL) -> None:
        """Somebody kills a job's script and all below it on its node, and the queue knows nothing of why."""
        for pid in self.processes(ident):
            if pid != self.job(ident).pid:
                _send(pid, number)

    def requeue(self, ident: str) -> None:
        """A job starts again from the top, under the same id; by hand, as `qrerun` does."""
        with queue(self.place) as now:
            kill_marked(MARK, self.mark, also=(JOB, ident))
            now["jobs"][ident] |= begin_again(self.place, ident)

    def forget(self, *ids: str) -> None:
        """Show jobs no more, all that are over where none is named; what runs goes on."""
        with queue(self.place) as now:
            for job in now["jobs"].values():
                if job["id"] in ids or (not ids and job["state"] not in (WAITING, RUNNING)):
                    job["shown"] = False

    def _change(self, **values: object) -> None:
        with queue(self.place) as now:
            now.update(values)

    def _end(self, ident: str, verdict: str, why: str) -> None:
        with queue(self.place) as now:
            end_job(now, now["jobs"][ident], verdict, why)


@contextmanager
def queue(place: Path):
    """The queue for one process at a time, written back at the end."""
    with (place / "queue.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = (place / "queue.json").read_text()
        now = json.loads(before)
        yield now
        if (after := json.dumps(now)) != before:
            (place / "queue.json.new").write_text(after)
            (place / "queue.json.new").replace(place / "queue.json")


def job_of(job: dict) -> BatchJob:
    return BatchJob(
        job["id"],
        job["name"],
        Path(job["script"]),
        Path(job["log"]),
        job["state"],
        job["code"],
        job["node"],
        tuple(job["devices"]),
        job["minutes"],
        job["pid"],
        job["shown"],
    )


def begin_again(place: Path, ident: str) -> dict:
    """What a job has that has not begun."""
    (place / "codes" / ident).unlink(missing_ok=True)
    nothing = dict.fromkeys(("code", "node", "pid", "deadline", "kill_at", "verdict", "why"))
    return {"state": WAITING, "devices": [], "reason": "", "shown": True, **nothing}


def end_job(now: dict, job: dict, verdict: str, why: str) -> None:
    """Ask a job to end; one that waits never begins, and of one that is over nothing changes."""
    if job["state"] == WAITING:
        job.update(state=verdict, reason=why)
    elif job["state"] == RUNNING and job["verdict"] is None:
        job.update(verdict=verdict, why=why, kill_at=time.monotonic() + now["grace"])
        with suppress(ProcessLookupError):
            if now["at"] == "group":
                os.killpg(_script_of(job), signal.SIGTERM)
            else:
                _send(_script_of(job), signal.SIGTERM)


def tick(place: Path, now: dict) -> None:
    """Look after what runs, then start what has room."""
    while _reaped():
        pass
    for job in now["jobs"].values():
        if job["state"] == RUNNING:
            _look_after(place, now, job)
    for job in now["jobs"].values():
        if job["state"] == WAITING:
            _begin(place, now, job)


def _look_after(place: Path, now: dict, job: dict) -> None:
    if job["deadline"] and time.monotonic() > job["deadline"]:
        end_job(now, job, TIME, f"walltime of {job['minutes']:g} min exceeded")
    if job["kill_at"] and time.monotonic() > job["kill_at"]:
        kill_marked(MARK, now["mark"], also=(JOB, job["id"]))
    noted = _text(place / "codes" / job["id"])
    if not noted and _is_alive(job["pid"]):
        return
    kill_marked(MARK, now["mark"], also=(JOB, job["id"]))
    code = int(noted or 128 + signal.SIGKILL)
    job.update(code=code, state=job["verdict"] or (FAILED if code else DONE), reason=job["why"] or "")


def _begin(place: Path, now: dict, job: dict) -> None:
    job["reason"] = "held" if now["held"] else "no free slot"
    found = None if now["held"] else _room(now, job["gpus"])
    if found is None:
        return
    node, devices = found
    env = job["env"] | {MARK: now["mark"], JOB: job["id"], "CUDA_VISIBLE_DEVICES": ",".join(map(str, devices))}
    words = ["bash", "-c", SHEPHERD, "shepherd", job["script"], job["log"], str(place / "codes" / job["id"])]
    process = subprocess.Popen(
        words,
        env=env,
        cwd=job["cwd"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + job["minutes"] * 60 if job["minutes"] else None
    job.update(state=RUNNING, node=node, devices=devices, pid=process.pid, deadline=deadline, reason="")


def _room(now: dict, gpus: int) -> tuple[str, list[int]] | None:
    for name, node in now["nodes"].items():
        running = [job for job in now["jobs"].values() if job["node"] == name and job["state"] == RUNNING]
        taken = {device for job in running for device in job["devices"]}
        free = [device for device in range(node["gpus"]) if device not in taken]
        if node["up"] and len(running) < node["slots"] and len(free) >= gpus:
            return name, free[:gpus]
    return None


def marked(name: str, value: str) -> list[int]:
    """The processes that have a variable in their environment, but for this one."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            ours = process.pid != os.getpid() and process.environ().get(name) == value
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def kill_marked(name: str, value: str, also: tuple[str, str] | None = None) -> None:
    """Kill them, and what they start meanwhile."""
    end = time.monotonic() + PATIENCE
    while left := set(marked(name, value)) & (set(marked(*also)) if also else set(marked(name, value))):
        assert time.monotonic() < end, f"do not die: {left}"
        for number in (signal.SIGSTOP, signal.SIGKILL):  # none sees another die
            for pid in left:
                _send(pid, number)
        while _reaped():
            pass


def is_served(place: Path) -> bool:
    """Say whether a process has the queue."""
    with (place / "daemon.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _script_of(job: dict) -> int:
    """The process that runs the script: the child of the one that waits for it."""
    import psutil

    with suppress(psutil.Error):
        shepherd = psutil.Process(job["pid"])
        while shepherd.status() != psutil.STATUS_ZOMBIE:
            if found := shepherd.children():
                return found[0].pid
            time.sleep(TICK)
    raise ProcessLookupError


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


# the program


def serve(place: Path) -> None:
    """Be the one process that has the queue, until the directory goes away or somebody kills it."""
    with (place / "daemon.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock.fileno(), False)
        while place.exists() and os.getppid() != 1:
            with queue(place) as now:
                tick(place, now)
            time.sleep(TICK)


def submit(place: Path, words: argparse.Namespace) -> str:
    with queue(place) as now:
        if now["refusal"]:
            sys.exit(f"submit: {now['refusal']}")
        if words.gpus > max(node["gpus"] for node in now["nodes"].values()):
            sys.exit(f"submit: no node has {words.gpus} GPUs")
        ident = str(now["next"])
        given = {"id": ident, "name": words.name, "script": words.script, "log": words.log, "gpus": words.gpus}
        more = {"minutes": words.minutes, "env": dict(os.environ), "cwd": str(Path.cwd())}
        now["jobs"][ident] = given | more | begin_again(place, ident)
        now["next"] += 1
        muted = now["mute"]
    if muted:
        sys.exit("submit: connection reset by peer")
    return f"job {ident} is in the queue"


def status(place: Path, ids: list[str]) -> tuple[str, list[str]]:
    """The lines of jobs, and which ids are unknown."""
    with queue(place) as now:
        shown = {job["id"]: job for job in now["jobs"].values() if job["shown"]}
    lines = []
    for job in (shown[ident] for ident in ids or shown if ident in shown):
        code = "-" if job["code"] is None else job["code"]
        lines.append(f"{job['id']} {job['name']} {job['state']} {code} {job['node'] or '-'} {job['reason']}")
    return "\n".join(lines), [ident for ident in ids if ident not in shown]


def cancel(place: Path, ids: list[str]) -> list[str]:
    with queue(place) as now:
        living = {job["id"] for job in now["jobs"].values() if job["shown"] and job["state"] in (WAITING, RUNNING)}
        for ident in living & set(ids):
            end_job(now, now["jobs"][ident], CANCELLED, "cancelled by its owner")
    return [ident for ident in ids if ident not in living]


def main() -> None:
    place, command, *rest = sys.argv[1:]
    root = Path(place)
    if command == "daemon":
        serve(root)
        return
    with (root / "calls.jsonl").open("a") as file:
        file.write(json.dumps([command, *rest]) + "\n")
    if not is_served(root):
        sys.exit(f"{command}: cannot connect to server")
    if command == "submit":
        parser = argparse.ArgumentParser(prog="submit", allow_abbrev=False)
        for name, kind in {"--name": str, "--log": str, "--gpus": int, "--minutes": float}.items():
            parser.add_argument(name, type=kind, default=0 if kind is int else None)
        parser.add_argument("script")
        print(submit(root, parser.parse_args(rest)))
        return
    if command == "status":
        lines, unknown = status(root, rest)
        print(lines)
    else:
        unknown = cancel(root, rest)
    if unknown:
        sys.exit("\n".join(f"{command}: unknown job {ident}" for ident in unknown))


if __name__ == "__main__":
    main()
