"""The life of a shard, and how its pair takes over what all of them predicted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.predictions import PredictionsFile, Tally, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.predictions import Line, Progress
    from pytest_evalrun.suite.pairs import Cut, Pair

_FILE = re.compile(r"(-?\d+)-(-?\d+)\.jsonl")
LINES = 256


class ShardProgress:
    """What is done of one range, wherever it was done: by this shard, by others of other cuts, by the whole pair."""

    def __init__(self, own: Progress, others: Sequence[Tally], cut: Cut) -> None:
        self.repaired = own.repaired
        self._own = own
        self._others = others
        self._range = range(cut.low, cut.high)

    @property
    def done_count(self) -> int:
        return sum(self.is_done(index) for index in self._range)

    def is_done(self, index: int) -> bool:
        return self._own.is_done(index) or any(other.is_done(index) for other in self._others)

    def append(self, lines: Sequence[Line]) -> None:
        self._own.append(lines)

    def close(self) -> None:
        self._own.close()


def shard_progress(pair: Pair, paths: PairPaths, disk: Disk, count: int) -> ShardProgress:
    """``count`` is that of the whole dataset: positions are its own, however it is cut."""
    assert pair.cut is not None
    own = PredictionsFile(paths.predictions).open(disk, count)
    whole = paths.whole
    others = [whole.predictions, *(file for file in shard_files(whole) if file != paths.predictions)]
    return ShardProgress(own, [PredictionsFile(file).peek(count) for file in others], pair.cut)


def shard_files(whole: PairPaths) -> list[Path]:
    """Predictions of all cuts that there ever were of the pair as it is now."""
    directory = whole.shard_predictions
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    return [directory / name for name in sorted(names) if _FILE.fullmatch(name)]


def gather(whole: PairPaths, progress: Progress, count: int) -> None:
    """Add to the pair's predictions what its shards have and it has not; they stay until the pair is complete."""
    for file in shard_files(whole):
        waiting: list[Line] = []
        for line in _lines(file, count):
            if not progress.is_done(line.index):
                waiting.append(line)
            if len(waiting) == LINES:
                progress.append(waiting)
                waiting.clear()
        progress.append(waiting)


def _lines(file: Path, count: int) -> Iterator[Line]:
    with file.open("rb") as lines:
        for raw in lines:
            if (line := parse_line(raw, count)) is not None:
                yield line


def forget(whole: PairPaths) -> None:
    """The pair is complete: what its shards predicted is in its own file now."""
    for file in shard_files(whole):
        file.unlink(missing_ok=True)
    for state in whole.shard_states.glob("*.state"):
        state.unlink(missing_ok=True)
    if whole.shard_predictions.is_dir() and not any(whole.shard_predictions.iterdir()):
        whole.shard_predictions.rmdir()


def uncovered(pair: Pair, progress: Progress, count: int) -> PairError:
    """Which shards have not done their part, and how much there is."""
    missing = [cut for cut in pair.cuts if not all(progress.is_seen(i) for i in range(cut.low, min(cut.high, count)))]
    names = ", ".join(cut.label for cut in missing[:10]) + (", …" if len(missing) > 10 else "")
    complete = len(pair.cuts) - len(missing)
    return PairError(
        f"{complete} of {len(pair.cuts)} shards are complete, {progress.done_count} of {count} samples are predicted; "
        f"missing: {names}"
    )
