"""Stop the session that lives on a run, and what a killed one has left, its jobs too: never a process by its name."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pytest_evalrun.control.hold import held
from pytest_evalrun.control.jobs import end_jobs
from pytest_evalrun.control.targets import Target
from pytest_evalrun.control.tasks import to_pending
from pytest_evalrun.errors import ConfigError, RunBusy
from pytest_evalrun.report.commands import carry_on_command, command_line
from pytest_evalrun.report.runs import called
from pytest_evalrun.rundir.events import MainLog
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.rundir.processes import Living, ProcessEntry
from pytest_evalrun.rundir.sessions import ask_to_stop, end_killed, session_state
from pytest_evalrun.rundir.tasklist import Status, left_in_words, read_task_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_evalrun.rundir.launches import LaunchNote
    from pytest_evalrun.rundir.layout import RunPaths, WorkDir
    from pytest_evalrun.rundir.sessions import SessionInfo, SessionState

GRACE = 10.0
# What was told to end by its parent is given this long, even where the grace is used up.
LINGER = 2.0
# Nobody survives SIGKILL for long, but for a process that waits for a dead disk.
KILLED = 5.0
# The locks of a process are free a moment after its death, where the system does not say when it is really gone.
RELEASE = 1.0
POLL = 0.05


def stop_run(workdir: WorkDir, paths: RunPaths, grace: float, say: Callable[[str], None]) -> None:
    """End the session, every process and every job of it; then the run stands as after Ctrl-C, and can be carried on.

    ``say`` is told each step. Raises ConfigError where the session cannot be ended from here, or a job.
    """
    with _alone(paths):
        state = _settled(paths, grace)
        deadline = time.monotonic() + grace
        stopped = _main(state, paths, grace, say)
        ended = False
        if stopped or state.word == "dead" or _are_members_left(paths):
            ended = _others(paths, state.info, max(LINGER, deadline - time.monotonic()), say)
        tidied = _tidy(workdir, paths, say, stopped=stopped)
        cancelled = end_jobs(paths, max(LINGER, deadline - time.monotonic()), say)
    if not (stopped or ended or tidied or cancelled):
        say(f"{paths.root.name} is not running: {_how_it_ended(state)}")
    elif state.info is not None:
        _say_what_is_left(paths, say)
        say(f"carry on with: {carry_on_command(state.info.argv, called(workdir, paths))}")


def stop_launch(launch: LaunchNote, grace: float, say: Callable[[str], None]) -> None:
    """End a launch that has no run yet: nothing has been evaluated, and nothing is left of it."""
    with Target(launch.process) as target:
        if target.alive:
            say(f"SIGTERM to process {launch.pid}, which is starting and has no run yet")
            _end(target, grace, say)


@contextmanager
def _alone(paths: RunPaths) -> Iterator[None]:
    """A second stop waits for the first: a second SIGTERM would cut short the end that the first one began."""
    root = paths.root
    with FileLock(root, lambda: os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as lock:
        with suppress(OSError):  # NFS locks no directories; two at once are then only less polite to each other
            lock.take(wait=None)
        yield


def _settled(paths: RunPaths, seconds: float) -> SessionState:
    """The state once it says who has the run: a session that begins names itself a moment after it has the lock."""
    end = time.monotonic() + max(seconds, 1.0)
    while True:
        state = session_state(paths)
        if state.word != "live" or (state.info is not None and not state.info.ended):
            return state
        if time.monotonic() > end:
            raise RunBusy(_nameless(paths, state.info))
        time.sleep(POLL)


def _nameless(paths: RunPaths, info: SessionInfo | None) -> str:
    if info is None:
        return f"{paths.session_json} is missing or damaged, and somebody has the run: nobody can say which process"
    return f"{paths.root} is held by something that does not name itself: a launch that waits, or a reset or clean"


def _main(state: SessionState, paths: RunPaths, grace: float, say: Callable[[str], None]) -> bool:
    """End the launching process, if it lives."""
    info = state.info
    if info is None or info.ended:
        return False
    with Target(ProcessEntry(info.pid, 0, info.start_time)) as target:  # 0: the group may be that of a shell's job
        if not target.alive:
            _check_place(state, info, paths)
            return False
        if not _is_its_owners(info.pid, paths):
            raise ConfigError(
                f"{paths.session_json} names process {info.pid}, which is not of the user whose run this is; "
                "run the same command as that user"
            )
        ask_to_stop(paths, info, _who())
        say(f"{paths.root.name}: SIGTERM to process {info.pid} ({command_line(info.argv)})")
        return _end(target, grace, say)


def _is_its_owners(pid: int, paths: RunPaths) -> bool:
    """Root ends in a user's run nothing but that user's: who writes the files of a run can name any process in them."""
    owner = _owner(paths)
    if os.geteuid() != 0 or owner == 0:
        return True
    import psutil

    try:
        return psutil.Process(pid).uids().real == owner
    except psutil.NoSuchProcess:
        return True


def _owner(paths: RunPaths) -> int:
    return paths.root.stat().st_uid


def _check_place(state: SessionState, info: SessionInfo, paths: RunPaths) -> None:
    """A process that is not here may live on another host."""
    here = socket.gethostname()
    if info.host != here:
        raise ConfigError(
            f"{paths.root} was last run on host {info.host} (PID {info.pid}), and this is {here}; "
            f"run `evalrun stop {paths.root.name}` there"
        )
    if state.word == "live":
        raise RunBusy(
            f"{paths.root} is live, but PID {info.pid} is not its process here: it runs in another container, or on "
            f"another machine that is called {info.host} too; stop it there"
        )


def _end(target: Target, grace: float, say: Callable[[str], None]) -> bool:
    started = time.monotonic()
    if not target.send(signal.SIGTERM):
        return False
    if target.wait(grace):
        say(f"it ended after {time.monotonic() - started:.1f} s")
        return True
    say(f"it did not end within {grace:g} s: SIGKILL")
    _kill(target)
    return True


def _kill(target: Target) -> None:
    target.send(signal.SIGKILL)
    if not target.wait(KILLED):
        raise ConfigError(f"process {target.entry.pid} does not die: it waits for a device or a disk; see `ps {_ps}`")


_ps = "-o pid,stat,wchan,cmd"


def _others(paths: RunPaths, info: SessionInfo | None, seconds: float, say: Callable[[str], None]) -> bool:
    """End what is left of the recorded processes and of the groups that they lead."""
    spared = (None if info is None else info.pid, os.getpid())
    left = [entry for entry in Living(paths.processes_dir).look() if entry.pid not in spared]
    targets = [Target(entry) for entry in left if _is_its_owners(entry.pid, paths)]
    try:
        told = [one for one in targets if one.send_group(signal.SIGTERM) or one.send(signal.SIGTERM)]
        if told:
            say(f"SIGTERM to {len(told)} more: {', '.join(_named(target.entry) for target in told)}")
        end = time.monotonic() + seconds
        stubborn = [target for target in told if not target.wait(max(0.0, end - time.monotonic()))]
        if stubborn:
            say(f"SIGKILL to {', '.join(_named(target.entry) for target in stubborn)}")
        for target in stubborn:
            target.send_group(signal.SIGKILL)
            _kill(target)
    finally:
        for target in targets:
            target.close()
    return bool(told)


def _named(entry: ProcessEntry) -> str:
    return f"{entry.pid} ({entry.pair})" if entry.pair else str(entry.pid)


def _are_members_left(paths: RunPaths) -> bool:
    """Say whether workers still write although their session ended; recorded processes that do not are none of ours.

    A process that ran pytest.main() lives on after it, a notebook's kernel for one.
    """
    try:
        with held(paths):
            return False
    except RunBusy:
        return True


def _tidy(workdir: WorkDir, paths: RunPaths, say: Callable[[str], None], *, stopped: bool) -> bool:
    """Tidy what the session would have tidied at its end; another launch that is already there does it itself."""
    try:
        with held(paths, wait=RELEASE):
            changed = to_pending(workdir, paths)
            gone = [path.name for path in (paths.main_pid, paths.running_pids) if _unlink(path)]
            if stopped:
                end_killed(paths, _who())
            _unlink(paths.stop_json)
            if changed or gone:
                MainLog(paths.main_log).write("WARNING", "stopped by `evalrun stop`; what was running is pending")
    except RunBusy:
        return False
    if changed is None:
        say(f"{paths.task_list} is damaged; the next launch makes it again")
    if changed:
        say(f"{changed} running {'pair is' if changed == 1 else 'pairs are'} pending now")
    if gone:
        say(f"removed {', '.join(gone)}")
    return bool(changed or gone)


def _say_what_is_left(paths: RunPaths, say: Callable[[str], None]) -> None:
    if states := read_task_list(paths.task_list):
        found = list(states.values())
        say(left_in_words({status: found.count(status) for status in Status}))


def _who() -> str:
    """By its own account, for people."""
    import getpass

    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        user = str(os.geteuid())
    return f"`evalrun stop` of {user} (PID {os.getpid()})"


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _how_it_ended(state: SessionState) -> str:
    info = state.info
    if info is None:
        return "no session has begun yet"
    if info.ended:
        return f"its last session ended {info.ended}{f', stopped by {info.stopped}' if info.stopped else ''}"
    return f"its last session (PID {info.pid}) was killed"
