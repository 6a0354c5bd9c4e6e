"""What is predicted of a pair that is cut, wherever it lies, and how the pair takes it over."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.predictions import PredictionsFile, parse_line
from pytest_evalrun.rundir.results import SUFFIX
from pytest_evalrun.rundir.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.predictions import Line, Progress
    from pytest_evalrun.suite.pairs import Cut, Pair

    Holds = Callable[[Any], bool]

_FILE = re.compile(r"(\d+)-(\d+)\.jsonl")
# How our own lines begin. Most lines are of other ranges, and need no more than this look.
_INDEX = re.compile(rb'\{"index":(\d+),')
LINES = 256


class ShardProgress:
    """What is done of one range, wherever it was done: by this shard, by others of other cuts, by the whole pair."""

    def __init__(self, own: Progress, found: Tally) -> None:
        self.repaired = own.repaired
        self._own = own
        self._found = found

    @property
    def done_count(self) -> int:
        return self._found.done_count

    @property
    def failed_count(self) -> int:
        return self._found.failed_count

    def is_done(self, place: int) -> bool:
        return self._found.is_done(place)

    def append(self, lines: Sequence[Line]) -> None:
        self._own.append(lines)
        for line in lines:
            self._found.note(line.place(self._own.generations), line.status == "ok")

    def ordered(self) -> Iterator[Line]:
        """The lines of this cut's own file."""
        return self._own.ordered()

    def close(self) -> None:
        self._own.close()


def shard_progress(file: Progress, paths: PairPaths, own: range, holds: Holds) -> ShardProgress:
    """``file`` is what the shard appends to; its ``own`` positions are those of the whole dataset, however it is cut.

    ``holds`` is asked whether files that a prediction names are still what the model wrote.
    """
    return ShardProgress(file, tally_of(paths.whole, file.count, own, holds, file.generations))


def tally_of(
    whole: PairPaths, count: int, wanted: range | None = None, holds: Holds | None = None, generations: int = 1
) -> Tally:
    """Find out which answers of a range (of ``range(count)``) are there, of the pair or of any of its shards."""
    tally, wanted = Tally(count, generations), wanted or range(count)
    for line in lines_of(whole, wanted, generations):
        _note(tally, line, holds)
    return tally


def _samples_of(places: range, generations: int) -> range:
    """The positions of the samples of which these places are answers."""
    return range(places.start // generations, -(-places.stop // generations))


def lines_of(whole: PairPaths, wanted: range, generations: int) -> Iterator[Line]:
    """Yield the sound lines of a pair that are of these places, in whichever of its files they lie."""
    for file in (whole.predictions, *shard_files(whole, _samples_of(wanted, generations))):
        yield from _lines(file, wanted.stop, wanted, generations)


def _note(tally: Tally, line: Line, holds: Holds | None) -> None:
    """A sample that was predicted once is never asked again, so that of lines in several files a good one counts."""
    done = line.status == "ok" and (holds is None or holds(line.prediction))
    place = line.place(tally.generations)
    if done or not tally.is_done(place):
        tally.note(place, done)


def peek(paths: PairPaths, count: int, generations: int) -> Tally:
    """Find out how far the predictions of a pair came, those of shards included; changes nothing."""
    if shard_files(paths):
        return tally_of(paths, count, generations=generations)
    return PredictionsFile(paths.predictions, generations).peek(count)


def shard_files(whole: PairPaths, wanted: range | None = None) -> list[Path]:
    """Predictions of all cuts that there ever were of the pair as it is now, in the order of the dataset.

    With ``wanted`` only those that can have samples of a range.
    """
    directory = whole.shard_predictions
    try:
        names = [path.name for path in directory.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = sorted((int(match[1]), int(match[2]), name) for name in names if (match := _FILE.fullmatch(name)))
    return [directory / name for low, high, name in found if not wanted or (low < wanted.stop and wanted.start < high)]


def import_shards(pair: Pair, paths: PairPaths, progress: Progress, holds: Holds) -> int:
    """Take over what shards predicted, those of earlier cuts too. Returns how many samples had been done before.

    Raises PairError where the pair is cut and a shard has not done its part: the pair predicts nothing itself.
    """
    before = progress.done_count
    gather(paths, progress, holds)
    if not pair.cuts:
        return progress.done_count
    check_covered(pair, progress)
    return before


def gather(whole: PairPaths, progress: Progress, holds: Holds | None = None) -> None:
    """Add to the pair's predictions what its shards have and it has not; they stay until the pair is complete."""
    for file in shard_files(whole):
        waiting: list[Line] = []
        lines = _lines(file, progress.count, range(progress.count), progress.generations)
        for line in _missing(lines, progress, holds):
            waiting.append(line)
            if len(waiting) == LINES:
                progress.append(waiting)
                waiting.clear()
        progress.append(waiting)


def _missing(lines: Iterable[Line], progress: Progress, holds: Holds | None) -> Iterator[Line]:
    for line in lines:
        place = line.place(progress.generations)
        if line.status != "ok":
            if not progress.is_seen(place):
                yield line
        elif not progress.is_done(place) and (holds is None or holds(line.prediction)):
            yield line


def _lines(file: Path, count: int, wanted: range, generations: int) -> Iterator[Line]:
    """The sound lines of a file that are of a range; of a file that is not there, none."""
    samples = _samples_of(wanted, generations)
    try:
        lines = open_file(file)
    except FileNotFoundError:
        return
    with lines:
        for raw in lines:
            known = _INDEX.match(raw)
            if known and int(known[1]) not in samples:
                continue
            line = parse_line(raw, count, generations)
            if line is not None and line.place(generations) in wanted:
                yield line


def forget(whole: PairPaths, disk: Disk) -> list[OSError]:
    """The pair is complete: what its shards predicted is in its own file now. Their files go once that is synced."""
    if errors := disk.flush():
        return errors
    for file in shard_files(whole):
        file.unlink(missing_ok=True)
    for file in whole.shard_predictions.glob(f"*{SUFFIX}"):
        file.unlink(missing_ok=True)
    for file in (*whole.shard_states.glob("*.state"), *whole.shard_states.glob(".*.lock")):
        file.unlink(missing_ok=True)
    for directory in (whole.shard_predictions, whole.shard_states):
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()
    return []


def check_covered(pair: Pair, progress: Progress) -> None:
    """Raise PairError where shards have not done their part: which, and how much there is."""
    count = progress.count
    if progress.done_count + progress.failed_count == count:
        return
    ranges = zip(pair.cuts, pair.ranges, strict=True)
    missing = [cut for cut, (low, high) in ranges if not all(map(progress.is_seen, range(low, min(high, count))))]
    raise uncovered(pair, f"{progress.done_count} of {count} samples are predicted", missing)


def uncovered(pair: Pair, covered: str, missing: Sequence[Cut] | None = None) -> PairError:
    """The error that names the shards which are ``missing``; without it, all are."""
    missing = pair.cuts if missing is None else missing
    if not missing:
        return PairError(f"{covered}: the dataset grew after it was cut; the same command cuts it again")
    names = ", ".join(cut.label for cut in missing[:10]) + (", …" if len(missing) > 10 else "")
    complete = len(pair.cuts) - len(missing)
    return PairError(f"{complete} of {len(pair.cuts)} shards are complete, {covered}; missing: {names}")


def unpredicted(done: int, count: int, reason: str) -> PairError:
    return PairError(
        f"--eval-mode eval: {done} of {count} samples are predicted ({reason}); "
        "run without it, or with --eval-mode infer, first"
    )
