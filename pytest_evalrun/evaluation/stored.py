"""What is stored of a pair, for whoever has no life of an item at hand."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.plan import BACK
from pytest_evalrun.rundir.aside import bring_back
from pytest_evalrun.rundir.durable import IN_THE_WAY, write_atomic
from pytest_evalrun.rundir.fingerprints import read_fingerprint, write_fingerprint
from pytest_evalrun.rundir.layout import paths_of
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.rundir.markers import DAMAGED, keep_sound
from pytest_evalrun.rundir.predictions import PredictionsFile
from pytest_evalrun.rundir.results import Result, read_result, record_text
from pytest_evalrun.suite.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_evalrun.evaluation.context import Context
    from pytest_evalrun.evaluation.plan import Plan
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.predictions import Line
    from pytest_evalrun.suite.pairs import Pair


def write_error_result(pair: Pair, paths: PairPaths, status: Literal["error", "skipped"], reason: str) -> None:
    """So that the summary shows the pair; an old result stays the pair's result until a new one is complete.

    A disk that takes no result does not hide the error itself. Of a shard its pair will tell.
    """
    if pair.cut is not None:
        return
    old = read_result(paths.result)
    if old is not None and old.status not in ("error", "skipped"):
        return
    result = Result(
        suite=pair.suite,
        task=pair.task.name,
        dataset=pair.dataset.name,
        status=status,
        metrics={},
        samples={"total": 0, "predicted": 0, "failed": 0, "reused": 0},
        seconds={},
        gates=[],
        fingerprint={},
        environment={"error" if status == "error" else "skipped": reason},
    )
    try:
        write_atomic(paths.result, result.dumps())
    except OSError:
        return


def trouble_of(error: BaseException, paths: PairPaths) -> PairError:
    """The pair's error, with what caused it; a full disk needs room and no traceback."""
    if isinstance(error, OSError) and error.errno in IN_THE_WAY and (place := _ours(error, paths)):
        return PairError(f"{place}: {error.strerror}; move what lies there elsewhere, then the same command carries on")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PairError(f"{error.strerror}: make room for {paths.run}, then the same command carries on")
    trouble = PairError(f"{type(error).__name__}: {error}")
    trouble.__cause__ = error
    return trouble


def _ours(error: OSError, paths: PairPaths) -> str | None:
    """The file of the work directory that an error is about."""
    names = (os.fspath(name) for name in (error.filename2, error.filename) if isinstance(name, str | os.PathLike))
    return next((name for name in names if name.startswith(f"{paths.run.parent}/")), None)


def put_right(plan: Plan, context: Context, paths: PairPaths) -> None:
    """Do what must be done before the pair is planned anew: stale predictions come back, damaged ones go aside."""
    context.say(plan.reason)
    keep_fingerprint(plan, context, paths)
    if plan.action == BACK:
        bring_back(context.disk, paths)
    elif plan.marker is not None:
        kept = keep_sound(context.disk, paths, plan.marker)
        context.say(f"{kept} of its samples are kept, the others asked again; what lay there is called {DAMAGED} now")


def keep_fingerprint(plan: Plan, context: Context, paths: PairPaths) -> None:
    """Where only the marker has it, it must lie there before the marker goes; how they were timed the result knows."""
    if plan.marker is not None and read_fingerprint(paths.fingerprint) is None:
        result = read_result(paths.whole.result)
        parts, timing = plan.marker.fingerprint["prediction"], result.timing if result else None
        write_fingerprint(context.disk, paths.fingerprint, parts, context.launch.run_id, timing=timing)


def stored_predictions(pair: Pair, context: Context) -> Iterator[Line]:
    """The predictions of an evaluated pair, one line a sample, in dataset order."""
    return PredictionsFile(paths_of(context.paths, pair).predictions).lines()


def record_own(pair: Pair, context: Context, test: str, values: dict[str, Any], result: Result | None) -> None:
    """What a user's own test function found, beside the pair's result."""
    path = paths_of(context.paths, pair).test_result(safe_name(test))
    names = pair.suite, pair.task.name, pair.dataset.name
    context.disk.write(path, record_text(result, names, test, context.secrets.fields(values)))


@contextmanager
def locked(paths: PairPaths, shared: bool, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Only pairs that several items of a launch ask for need the lock: the second finds the first one's result.

    ``wait`` is called as long as another has it.
    """
    if not shared:
        yield
        return
    try:
        lock = FileLock.with_parents(paths.lock)
    except OSError as error:
        raise trouble_of(error, paths) from None
    with lock:
        while wait is not None and not lock.take():
            wait()
        if wait is None:
            lock.take(wait=None)
        yield
