"""The live session of a run: every file that only the launching process writes, kept up to date as items end."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.configs import write_snapshot
from pytest_evalrun.rundir.events import EventMerger, MainLog
from pytest_evalrun.rundir.processes import Living
from pytest_evalrun.rundir.runs import (
    add_manifest,
    check_format,
    create_run,
    errors_in,
    naming,
    note_outcomes,
    point_latest,
    resolve_run,
    skipped_in,
    sweep_run,
)
from pytest_evalrun.rundir.sessions import open_session
from pytest_evalrun.rundir.tasklist import Mirrors, Status, TaskList, read_task_list
from pytest_evalrun.rundir.tasklock import TaskListLock
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.secrets import secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from pytest_evalrun.rundir.events import Level
    from pytest_evalrun.rundir.layout import RunPaths, WorkDir
    from pytest_evalrun.rundir.runs import BoardRecord
    from pytest_evalrun.suite.discovery import Suite
    from pytest_evalrun.suite.pairs import Pair

# The task list is right within half a second; written more often it would cost what grows with the pairs.
TICK_SECONDS = 0.25
LONGEST_TICK_SECONDS = 0.5
# How the log shows that an item ended so.
SIGNS: Mapping[str, tuple[Level, str]] = {
    "passed": ("INFO", "✓"),
    "failed": ("ERROR", "✗"),
    "error": ("ERROR", "✗"),
    "skipped": ("INFO", "⊘"),
}
# Of the time, about this share goes into rewriting the list.
MOST_SHARE = 0.02


class LiveRun:
    """Opened when the first item is dispatched, closed at session finish.

    Raises ConfigError where the run cannot be used, RunBusy where another session lives on it.
    """

    def __init__(
        self,
        workdir: WorkDir,
        wanted: str,
        suites: Sequence[Suite],
        argv: Sequence[str],
        say: Callable[[str], None],
        facts: Mapping[str, Any] = MappingProxyType({}),
        *,
        only: Collection[Pair] | None = None,
    ) -> None:
        """``facts`` are told in ``run_started``; ``only`` are a job's pairs: its launch has noted the settings."""
        self.secrets = secrets_of(suites)
        argv = self.secrets.words(argv)
        suites = suites if only is None else [suite.with_pairs(only) for suite in suites]
        self._say = say
        self._untold: dict[str, bool] = {}
        self._before: dict[str, Status] = {}
        self._cut: dict[str, Pair] = {}
        self._dirty = threading.Event()
        self._ended = threading.Event()
        self._pause = TICK_SECONDS
        self._thread = threading.Thread(target=self._tick, name="evalrun-tasklist", daemon=True)
        with ExitStack() as opened:  # where one cannot be had, this process may go on, and try again
            with naming(workdir, wanted):
                self.paths = open_run(workdir, wanted, run_name(suites))
                self.session = open_session(self.paths, argv, notify=say)
                opened.callback(self.session.close, clean=True)
                point_latest(workdir, self.paths)
            sweep_run(workdir, self.paths, deep=self.session.unclean)
            self._open_files(workdir, opened)
            self.tasks = self._task_list(suites, say)
            self._skipped = self._passed_over(suites)
            self._errors = errors_in(self.paths)
            self._start(suites, argv, facts, noted=only is not None)
            opened.pop_all()

    def _open_files(self, workdir: WorkDir, opened: ExitStack) -> None:
        """What only this process writes; ``opened`` closes it where something else cannot be had."""
        self._processes = Living(self.paths.processes_dir)
        self.log = MainLog(self.paths.main_log, self.secrets)
        opened.callback(self.log.close)
        self.mirrors = Mirrors(self.paths)
        opened.callback(self.mirrors.close)
        self.events = EventMerger(self.paths.events, self.paths.root / "events", self.secrets)
        opened.callback(self.events.close)
        self.lock = TaskListLock(workdir.root, self._tell_later)
        opened.callback(self.lock.cleanup)

    def _start(self, suites: Sequence[Suite], argv: Sequence[str], facts: Mapping[str, Any], *, noted: bool) -> None:
        if not noted:
            write_snapshot(self.paths, datetime.now().astimezone(), suites, argv, self.secrets)
        places = {suite.name: os.path.relpath(suite.file, self.paths.root) for suite in suites}
        add_manifest(self.paths, places, [], skipped=self._skipped)
        self.mirrors.main(os.getpid())
        self.mirrors.running([])
        self.events.write("run_started", argv=list(argv), run_id=self.session.run_id, pid=os.getpid(), **facts)
        self.log.write("INFO", f"run {self.paths.root.name} started by process {os.getpid()}")
        self._write_tasks()
        self._tell()
        self._thread.start()

    def _task_list(self, suites: Iterable[Suite], say: Callable[[str], None]) -> TaskList:
        """List all pairs of this launch's suites but skipped ones, with the states that the run already has."""
        groups: dict[str, tuple[str, list[str]]] = {}
        for pair in (pair for suite in suites for pair in suite.pairs if pair.skip is None):
            group = groups.setdefault(_task_dir(pair), (plugin_of(pair), []))
            group[1].append(pair.dataset.name)
        tasks = TaskList((directory, plugin, names) for directory, (plugin, names) in groups.items())
        old = read_task_list(self.paths.task_list)
        if old is None:
            self.log.write("WARNING", ".task_list was damaged; it is made again")
            say(f"{self.paths.task_list} was damaged: it is made again; what is finished is known from the markers")
        tasks.adopt(old or {})
        return tasks

    def _passed_over(self, suites: Iterable[Suite]) -> dict[str, str]:
        """Collect who is skipped and why: what these suites say now, and what was noted of the pairs of others."""
        names = {suite.name for suite in suites}
        noted = {name: why for name, why in skipped_in(self.paths).items() if name.partition("/")[0] not in names}
        skips = ((pair.full_id, pair.skip) for suite in suites for pair in suite.pairs)
        return noted | {name: self.secrets.blank(why) for name, why in skips if why is not None}

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Give the run back where the launching process fails in what it still has to do before the first item."""
        try:
            yield
        except BaseException:
            self.close(clean=True)
            raise

    def claim(self, directories: Sequence[str], boards: Sequence[BoardRecord] = ()) -> None:
        """Note where models write outside the run, and on boards: only what the manifest names is ever removed."""
        if directories or boards:
            add_manifest(self.paths, {}, directories, boards)

    def _tell_later(self, line: str) -> None:
        """Keep a line to be told once, by the main thread: the one that keeps the task list must not write there."""
        self._untold.setdefault(line, True)

    def _tell(self) -> None:
        for line in [line for line, untold in list(self._untold.items()) if untold]:
            self._untold[line] = False
            self._say(line)

    def started(self, pair: Pair) -> None:
        name = pair.whole.full_id
        status = self.tasks.get(_task_dir(pair), pair.dataset.name)
        if status is not Status.RUNNING:
            self._before[name] = status
        if pair.is_shard:
            self._cut[name] = pair
        self._set(pair, Status.RUNNING)
        self.log.write("TASK", f"start: {_called(pair)}")
        self._tell()

    def finished(self, pair: Pair, outcome: str, *, worker: str, status: Status | None, note: str) -> None:
        """``outcome`` is the item's; ``status`` that of the pair, None where it stands as it stood before."""
        self.events.pull(worker)
        name = pair.whole.full_id
        if status is not None:
            self._keep_error(name, note if outcome == "error" and status is Status.FAILED else None)
        if status is not None and (not pair.is_shard or self._before.get(name) is not Status.FAILED):
            self._before[name] = status
        if not pair.is_shard:
            self._cut.pop(name, None)
            self._set(pair, self._before.get(name, Status.PENDING))
        if outcome == "skipped" and status is not None:
            self._skipped[name] = self.secrets.blank(note)
        level, sign = SIGNS[outcome]
        self.log.write(level, f"{sign} {outcome}: {_called(pair)}{f': {note}' if note else ''}")
        self._tell()

    def _keep_error(self, name: str, error: str | None) -> None:
        """Remember the error of a pair that was evaluated before: its older result stays, and tells of none."""
        if error is None:
            self._errors.pop(name, None)
        elif name in self._errors or self._before.get(name) in (Status.COMPLETED, Status.FAILED):
            self._errors[name] = self.secrets.blank(error)

    def _set(self, pair: Pair, status: Status) -> None:
        self.tasks.set(_task_dir(pair), pair.dataset.name, status)
        self._dirty.set()

    def crashed(self, pair: Pair, reason: str) -> None:
        """Write the last event of an item whose worker could not write it."""
        limit = pair.peek("limit")
        told = {"outcome": "error", "reused": False, "reason": reason, "seconds": None}
        self.events.write("item_finished", pair.full_id, **told, **({"limit": limit} if limit else {}))

    def worker_lost(self, worker: str, error: str) -> None:
        self.events.pull(worker)
        self.events.write("worker_lost", lost=worker, error=error)
        self.log.write("ERROR", f"worker {worker} was lost: {error}")

    def _tick(self) -> None:
        while not self._ended.wait(self._pause):
            if self._dirty.is_set():
                self._dirty.clear()
                self._write_tasks()
                self.mirrors.running(entry.pid for entry in self._processes.look())

    def _write_tasks(self) -> None:
        """A disk that is full must not end a session that still evaluates: the next tick tries again."""
        started = time.perf_counter()
        failed = self.tasks.failed()  # before the list: it must never be behind what the other file says
        try:
            written = self.tasks.write(self.paths.task_list, self.lock)
        except ConfigError as error:
            self.log.write("ERROR", str(error))
            self._tell_later(f"{error}; .task_list is behind until then")
            written = False
        self.mirrors.failed(failed)
        if not written:
            self._dirty.set()
        self._pause = min(LONGEST_TICK_SECONDS, max(TICK_SECONDS, (time.perf_counter() - started) / MOST_SHARE))

    def workers(self) -> list[int]:
        """The processes of this session that are not the launching one."""
        return [entry.pid for entry in self._processes.look() if entry.pid != os.getpid()]

    def settle(self) -> None:
        """Write how every pair stands, now that no item ends any more; what was running is pending."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            self._settle_cut()
            self.tasks.stop_running()
            self._write_tasks()
            try:
                note_outcomes(self.paths, self._skipped, self._errors)
            except (ConfigError, OSError) as error:  # a disk that is full must not cost the session its end
                self.log.write("ERROR", f"who was skipped could not be noted, nor who ended in an error: {error}")
            self._tell()

    def _settle_cut(self) -> None:
        """Reset pairs of which only shards were run: they stand as before, unless their marker is gone."""
        for name, pair in self._cut.items():
            status = self._before.get(name, Status.PENDING)
            over = status is Status.COMPLETED and not self.paths.pair(pair.key).marker.exists()
            self._set(pair, Status.PENDING if over else status)

    def abort(self, by: str | None) -> None:
        """Write what must be written before this process ends at once; may be called in the middle of anything."""
        if self.session.info.ended is None:
            self.mirrors.close()
            self.log.write("INFO", "run was interrupted, and ended at once")
            self.session.close(clean=False, stopped=by)

    def close(self, clean: bool, stopped: str | None = None) -> None:
        """Remove the process files and give the locks back. ``stopped``: the signal that ended the session, if any."""
        self.settle()
        self.mirrors.close()
        self.events.pull_all()
        self.events.write("run_finished", clean=clean)
        self.events.close()
        self.log.write("INFO", "run ended" if clean else "run was interrupted")
        self.log.close()
        self.session.close(clean, stopped)
        self.lock.cleanup()


def run_name(suites: Iterable[Suite]) -> str | None:
    """What suites want a new run to be called, where they agree; None where they do not, or want nothing."""
    names = {suite.run_name for suite in suites if suite.run_name is not None}
    return names.pop() if len(names) == 1 else None


def open_run(workdir: WorkDir, wanted: str, name: str | None = None) -> RunPaths:
    """The run to carry on in, or a new one of this name where there is none."""
    paths = resolve_run(workdir, wanted)
    if paths is None:
        return create_run(workdir, datetime.now().astimezone(), name)
    check_format(paths)
    return paths


@contextmanager
def existing_run(workdir: WorkDir, wanted: str, argv: Sequence[str]) -> Iterator[RunPaths]:
    """A run that is there, held alone for a moment. Raises ConfigError where there is none."""
    paths = resolve_run(workdir, wanted)
    if paths is None:
        raise ConfigError(f"{workdir.root}: there is no run yet; run pytest without --eval-mode viz first")
    check_format(paths)
    session = open_session(paths, argv)
    try:
        yield paths
    finally:
        session.close(clean=True)


def plugin_of(pair: Pair) -> str:
    """The seed's plugin column: what POST_PROCESS_PLUGIN names."""
    return str(pair.peek("post_process_plugin") or "")


def _called(pair: Pair) -> str:
    return first_samples(pair.full_id, pair.peek("limit"))


def _task_dir(pair: Pair) -> str:
    return f"{pair.suite}/{pair.task.name}"
