"""One run, one live session: kernel locks decide, ``session.json`` says who holds them.

The controller holds ``session.lock`` for life, every worker holds ``members.lock`` shared. A new session must get the
first, and the second once exclusively: then no process of an older session writes any more. While it has both it
replaces ``session.json``, so that a worker of the old session that wakes up later finds another run id and leaves.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

from pytest_evalrun.errors import ConfigError, RunBusy
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import json_document, read_file, utc_time
from pytest_evalrun.rundir.locks import FileLock, is_locked
from pytest_evalrun.rundir.processes import Living, ProcessEntry, start_time
from pytest_evalrun.rundir.runs import sync
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.rundir.layout import RunPaths

SESSION_FORMAT = 1
# Whoever asks for the state of a session holds its lock for a moment; that must not refuse a new one.
GRACE = 0.3
NOTIFY_AFTER = 1.0


@dataclass(frozen=True)
class SessionInfo:
    """What ``session.json`` says of a session; ``ended`` is missing while it lives, and for ever once it was killed.

    ``stopped`` says by whom or what, where it did not end by itself.
    """

    run_id: str
    pid: int
    start_time: float | None
    host: str
    boot_id: str
    argv: tuple[str, ...]
    started: str
    ended: str | None = None
    clean: bool | None = None
    distrust: str | None = None
    stopped: str | None = None
    format: int = SESSION_FORMAT

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, content: Any) -> SessionInfo:
        """Raises KeyError, TypeError or ValueError on anything else than ``to_json`` made."""
        return cls(
            run_id=str(content["run_id"]),
            pid=int(content["pid"]),
            start_time=content.get("start_time"),
            host=str(content["host"]),
            boot_id=str(content["boot_id"]),
            argv=tuple(map(str, content["argv"])),
            started=str(content["started"]),
            ended=content.get("ended"),
            clean=content.get("clean"),
            distrust=content.get("distrust"),
            stopped=content.get("stopped"),
            format=int(content["format"]),
        )


class SessionState(NamedTuple):
    """How the last session of a run stands: never one, living, killed, or ended."""

    word: Literal["none", "live", "dead", "ended"]
    info: SessionInfo | None


class RunSession:
    """The right to write in a run; held until ``close`` or the death of the process.

    ``distrust`` is the moment up to which markers are believed only by content: a later session that ended well and
    looked at a few pairs only says nothing about the others.
    """

    def __init__(self, paths: RunPaths, lock: FileLock, info: SessionInfo, *, unclean: bool) -> None:
        self.info = info
        self.unclean = unclean
        self.distrust = info.distrust
        self._paths = paths
        self._lock = lock

    @property
    def run_id(self) -> str:
        return self.info.run_id

    def close(self, clean: bool, stopped: str | None = None) -> None:
        """End the session; unless it is ``clean`` the next one will not trust sizes and times. Never raises.

        ``stopped``: the signal that ended it. Where somebody asked for it, it is he who is remembered.
        """
        if not self._lock.is_open:
            return
        try:
            self.info = _ended(self._paths, self.info, clean, stopped)
        except OSError:
            pass  # a full disk: without "ended" the next session checks by hash, which is right
        finally:
            self._lock.close()


class Member:
    """A worker's part in a session; held until ``close`` or the death of the process."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def close(self) -> None:
        self._lock.close()


def open_session(
    paths: RunPaths,
    argv: Sequence[str],
    wait: float = 15.0,
    notify: Callable[[str], None] = lambda _: None,
) -> RunSession:
    """Become the one live session of a run, once the workers of a killed one are gone.

    ``argv`` goes into ``session.json`` as it is: blank its secrets. ``notify`` is told whom it waits for.
    """
    lock = _open(paths.session_lock)
    try:
        if not _take(lock, GRACE):
            _refuse(paths)
        unclean = _ended_unclean(paths)
        info = _new_info(argv, utc_time() if unclean else _distrust_of(paths))
        _begin(paths, info, wait, notify)
    except BaseException:
        lock.close()
        raise
    return RunSession(paths, lock, info, unclean=unclean)


def join_session(paths: RunPaths, run_id: str) -> Member:
    """Become a member of a live session; a straggler of one that is dead is refused."""
    lock = _open(paths.members_lock)
    try:
        _take(lock, None, shared=True)
        _check_session(paths, run_id)
    except BaseException:
        lock.close()
        raise
    return Member(lock)


def _check_session(paths: RunPaths, run_id: str) -> None:
    info = read_session(paths)
    if info is None or info.run_id != run_id:
        raise RunBusy(f"{paths.root}: the session that this worker belongs to is over; nothing was written")


def session_state(paths: RunPaths) -> SessionState:
    """How the last session of a run stands, without waiting for it or keeping it from anything."""
    info = read_session(paths)
    if is_locked(paths.session_lock):
        return SessionState("live", info)
    if info is None:
        return SessionState("none", None)
    return SessionState("ended" if info.ended else "dead", info)


def read_session(paths: RunPaths) -> SessionInfo | None:
    """The session that last had the run; None where there was none, or its file is corrupt."""
    try:
        return SessionInfo.from_json(parse_json(read_file(paths.session_json)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def ask_to_stop(paths: RunPaths, info: SessionInfo, who: str) -> None:
    """Leave word for a session, before it is signalled, who wants it to stop."""
    try:
        write_atomic(paths.stop_json, json_document({"run_id": info.run_id, "by": who}))
    except OSError:
        pass  # a full disk: it stops all the same, and calls the signal


def end_killed(paths: RunPaths, stopped: str) -> None:
    """Of a session that could not say so itself; ask while nobody has the run."""
    info = read_session(paths)
    if info is not None and info.ended is None:
        _ended(paths, info, False, stopped)


def _ended(paths: RunPaths, info: SessionInfo, clean: bool, stopped: str | None) -> SessionInfo:
    asked = _asked(paths)
    by = asked.get("by") if stopped and asked.get("run_id") == info.run_id else None
    info = replace(info, ended=utc_time(), clean=clean, stopped=by or stopped)
    _write(paths, info)
    paths.stop_json.unlink(missing_ok=True)
    return info


def _asked(paths: RunPaths) -> dict[str, str]:
    try:
        asked = parse_json(read_file(paths.stop_json))
    except (OSError, ValueError):
        return {}
    return {key: str(value) for key, value in asked.items()} if isinstance(asked, dict) else {}


def _ended_unclean(paths: RunPaths) -> bool:
    if not paths.session_json.exists():
        return False
    info = read_session(paths)
    return info is None or info.ended is None or info.clean is False


def _distrust_of(paths: RunPaths) -> str | None:
    info = read_session(paths)
    return info.distrust if info else None


def _new_info(argv: Sequence[str], distrust: str | None) -> SessionInfo:
    pid = os.getpid()
    return SessionInfo(
        run_id=uuid.uuid4().hex,
        pid=pid,
        start_time=start_time(pid),
        host=socket.gethostname(),
        boot_id=boot_id(),
        argv=tuple(argv),
        started=utc_time(),
        distrust=distrust,
    )


def boot_id() -> str:
    """What tells this start of the machine from the one before: process ids begin anew with it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        import psutil

        return str(psutil.boot_time())


def _begin(paths: RunPaths, info: SessionInfo, wait: float, notify: Callable[[str], None]) -> None:
    members = _open(paths.members_lock)
    try:
        _wait_for_members(paths, members, wait, notify)
        _write(paths, info)
    except OSError as error:
        raise ConfigError(f"{paths.session_json}: cannot be written: {error.strerror}; {_ELSEWHERE}") from error
    finally:
        members.close()


def _write(paths: RunPaths, info: SessionInfo) -> None:
    write_atomic(paths.session_json, json_document(info.to_json()))
    sync(paths.session_json)  # after a power cut the file of the session before would call this one clean


def _wait_for_members(paths: RunPaths, members: FileLock, wait: float, notify: Callable[[str], None]) -> None:
    if _take(members, min(wait, NOTIFY_AFTER)):
        return
    notify(f"waiting up to {wait:g} s for processes of an earlier session: {_living(paths)}")
    if not _take(members, max(0.0, wait - NOTIFY_AFTER)):
        raise RunBusy(
            f"{paths.root}: processes of an earlier session still work in it after {wait:g} s: {_living(paths)}; "
            "end them, or start another run with --eval-run new"
        )


def _living(paths: RunPaths) -> str:
    found = [_named(entry) for entry in Living(paths.processes_dir).look()]
    return ", ".join(found) or f"none that {paths.processes_dir} names on {socket.gethostname()}"


def _named(entry: ProcessEntry) -> str:
    return f"PID {entry.pid} ({entry.pair})" if entry.pair else f"PID {entry.pid}"


def _refuse(paths: RunPaths) -> NoReturn:
    info = read_session(paths)
    if info is None or info.ended:
        who = "a session that has only just started"
    else:
        who = f"PID {info.pid} on {info.host} since {info.started} ({' '.join(info.argv)})"
    raise RunBusy(f"{paths.root} is in use by {who}; wait for it, end it, or start another run with --eval-run new")


_ELSEWHERE = "choose another place with --eval-workdir"


def _open(path: Path) -> FileLock:
    try:
        return FileLock(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be opened: {error.strerror}; {_ELSEWHERE}") from error


def _take(lock: FileLock, wait: float | None, *, shared: bool = False) -> bool:
    try:
        return lock.take(shared=shared, wait=wait)
    except OSError as error:
        raise ConfigError(f"{lock.path}: cannot be locked: {error.strerror}; {_ELSEWHERE}") from error
