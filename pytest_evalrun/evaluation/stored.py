"""What is stored of a pair: what lies there, looked at when it is asked for, and how it is put right."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.plan import BACK
from pytest_evalrun.evaluation.shards import peek, shard_files
from pytest_evalrun.rundir.aside import bring_back, read_aside
from pytest_evalrun.rundir.durable import IN_THE_WAY, write_atomic
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.rundir.markers import DAMAGED, keep_sound, read_fingerprint, read_marker, write_fingerprint
from pytest_evalrun.rundir.predictions import PredictionsFile
from pytest_evalrun.rundir.results import Result, read_result, record_text
from pytest_evalrun.suite.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_evalrun.evaluation.fingerprint import Parts
    from pytest_evalrun.evaluation.plan import Plan
    from pytest_evalrun.rundir.aside import Aside
    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.markers import Broken, Marker, StoredFingerprint
    from pytest_evalrun.rundir.predictions import Line
    from pytest_evalrun.rundir.tally import Tally
    from pytest_evalrun.suite.pairs import Pair


class StoredPair:
    """The files of a pair, or those that its shards share; each is read once, when a plan first depends on it.

    ``distrust`` is when the last session that ended badly did: what was marked before is believed by content only.
    """

    def __init__(self, paths: PairPaths, distrust: str | None = None) -> None:
        self.paths = paths
        self.distrust = distrust

    @cached_property
    def marker(self) -> Marker | None:
        """The pair's own; None where there is none, or where it is damaged."""
        marker = read_marker(self.paths.marker)
        return marker if marker is not None and marker.vouches_for(self.paths.whole) else None

    def warning(self, pair: str) -> str | None:
        """Say what the user should hear of the marker of a pair; None where that is nothing."""
        if self.marker is not None or not self.paths.marker.exists():
            return None
        return f"{pair}: {self.paths.marker.name} is damaged; the pair is scored again"

    @cached_property
    def fingerprint(self) -> StoredFingerprint | None:
        return read_fingerprint(self.paths.fingerprint)

    @property
    def parts(self) -> Parts | None:
        """The parts that the predictions were made from, by the fingerprint beside them."""
        return self.fingerprint.parts if self.fingerprint is not None else None

    @property
    def has_predictions(self) -> bool:
        """There are some, of the pair or of its shards."""
        whole = self.paths.whole
        return whole.predictions.exists() or bool(shard_files(whole))

    @cached_property
    def aside(self) -> Aside | None:
        """The predictions that were put aside last."""
        return read_aside(self.paths)

    @property
    def is_half_aside(self) -> bool:
        """Those were put aside half: the rest still lies here."""
        return self.aside is not None and self.aside.stored == self.fingerprint

    @property
    def aside_holds(self) -> bool:
        """All of those is there, as it was; for this they are read."""
        return self.aside is not None and self.aside.holds(self.paths)

    @cached_property
    def broken(self) -> Broken | None:
        """The first file that is not what the marker says."""
        if self.marker is None:
            return None
        return self.marker.broken(self.paths.run, by_hash=is_from_before(self.marker, self.distrust))

    @property
    def can_be_mended(self) -> bool:
        """That file is the predictions, and something of them is left to be kept."""
        path = self.paths.whole.predictions
        if self.broken is None or self.paths.run / self.broken.name != path:
            return False
        return not self.broken.is_missing or path.with_name(path.name + DAMAGED).exists()

    def tally(self, count: int, generations: int) -> Tally:
        """Find out which of so many answers are there; for this the predictions are read."""
        return peek(self.paths, count, generations)


def is_from_before(marker: Marker, distrust: str | None) -> bool:
    """Compare to the second, as markers say it: was this one written before that moment?"""
    return distrust is not None and marker.time[:19] <= distrust[:19]


def write_error_result(pair: Pair, paths: PairPaths, status: Literal["error", "skipped"], reason: str) -> None:
    """So that the summary shows the pair; an old result stays the pair's result until a new one is complete.

    A disk that takes no result does not hide the error itself. Of a shard its pair will tell.
    """
    if pair.is_shard:
        return
    old = read_result(paths.result)
    if old is not None and (old.metrics or old.status not in ("error", "skipped")):
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


def put_right(plan: Plan, paths: PairPaths, disk: Disk, run_id: str) -> str | None:
    """Do what must be done before the pair is planned anew: stale predictions come back, damaged ones go aside.

    Returns in words how much of damaged ones is kept.
    """
    keep_fingerprint(plan, paths, disk, run_id)
    if plan.action == BACK:
        bring_back(disk, paths)
    elif plan.marker is not None:
        kept = keep_sound(disk, paths, plan.marker)
        return f"{kept} of its samples are kept, the others asked again; what lay there is called {DAMAGED} now"
    return None


def keep_fingerprint(plan: Plan, paths: PairPaths, disk: Disk, run_id: str) -> None:
    """Write the fingerprint where only the marker has it: it must lie there before the marker goes."""
    if plan.marker is not None and read_fingerprint(paths.fingerprint) is None:
        result = read_result(paths.whole.result)
        parts, timing = plan.marker.fingerprint["prediction"], result.timing if result else None
        write_fingerprint(disk, paths.fingerprint, parts, run_id, timing=timing)


def stored_predictions(paths: PairPaths) -> Iterator[Line]:
    """The predictions of an evaluated pair, one line a sample, in dataset order."""
    return PredictionsFile(paths.predictions).lines()


def record_own(
    pair: Pair, paths: PairPaths, disk: Disk, test: str, values: dict[str, Any], result: Result | None
) -> None:
    """Write what a user's own test function found, which holds no secret any more, beside the pair's result."""
    names = pair.suite, pair.task.name, pair.dataset.name
    disk.write(paths.test_result(safe_name(test)), record_text(result, names, test, values))


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
