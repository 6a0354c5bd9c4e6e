"""A pair whose programs do ranges of it: its samples, what is told of a range, what came of it and how far that is."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from pytest_evalrun.datasets import create_reader
from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.predicting.outputs import own_places, reference_to_json
from pytest_evalrun.programs.command_template import here, placeholders
from pytest_evalrun.programs.commands import knows_ranges
from pytest_evalrun.programs.records import Records
from pytest_evalrun.programs.results import results_of
from pytest_evalrun.rundir.predictions import Line
from pytest_evalrun.rundir.shards import RangeFiles
from pytest_evalrun.rundir.state import RunningState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.work import PairWork
    from pytest_evalrun.programs.results import Answer

LINES = 256


class Taken(NamedTuple):
    """The numbers of samples that were added, and of the rows that they were made of."""

    good: int
    failed: int
    rows: int


class RangeWork:
    """The positions ``[low, high)`` of a pair, and the files in which its ranges are written down."""

    def __init__(self, work: PairWork, samples: Iterable[Sample]) -> None:
        self.pair = work.pair
        self.context = work.context
        self.paths = work.paths
        self.predictions = work.progress
        self.count = work.count
        self.low, self.high = work.positions.start, work.positions.stop
        # Where positions end that a program may be told: those of the whole dataset.
        self.end = work.total
        self.ranges = work.ranges
        self.ranged = knows_ranges(work.settings)
        self.outputs = work.outputs
        self.output = work.outputs.directory
        self.own_places = own_places(work.pair, work.paths)
        self.local = placeholders(self.pair, here(self.pair, self.output), "")
        self.results = results_of(work.settings, self.local)
        files = RangeFiles(work.paths, work.context.disk)
        self.records = Records(files, work.settings, self.results, self.span, self.bounds)
        self.progress = RangeProgress(work)
        # What a shard is given can be walked through once only.
        whole = not self.pair.is_shard
        self._samples = samples if whole else create_reader(self.pair.dataset, work.settings, self.pair.root)

    def span(self, low: int, high: int) -> Iterable[Sample]:
        """Give the samples of a range, each time anew."""
        return self._samples[low:high] if isinstance(self._samples, list) else islice(self._samples, low, high)

    def needed(self, low: int, high: int) -> Iterable[Sample]:
        """Give the samples that a program needs for a range: who counts positions counts in the whole dataset.

        All others do whatever is there.
        """
        return self.span(0, self.end) if self.ranged else self.span(low, high)

    def bounds(self, low: int, high: int) -> tuple[int, int]:
        """Give a range as the program knows it: positions, or the ids that these have."""
        if self.pair.settings.range == "position":
            return low, high
        first: int | None = None
        before: int | None = None
        for number in self.numbers(low, min(high + 1, self.end)):
            first, before = number if first is None else first, number
        assert first is not None, "a range has a sample"
        assert before is not None, "and that one comes last"
        return first, before if high < self.end else before + 1

    def numbers(self, low: int, high: int) -> Iterator[int]:
        """Give the ids of a range as numbers. Raises PairError where they are none, or do not ascend."""
        where = self.pair.dataset.path
        before: int | None = None
        for sample in self.span(low, high):
            try:
                number = int(sample.id)
            except ValueError:
                raise PairError(f"{where}: range: id needs ids that are whole numbers; found {sample.id!r}") from None
            if before is not None and number <= before:
                raise PairError(f"{where}: range: id needs ids in ascending order; found {number} after {before}")
            before = number
            yield number

    def missing(self, position: int) -> tuple[int, int] | None:
        """Find the next range of which nothing is done; for a program that knows no ranges, all from there on."""
        is_done = self.predictions.is_done
        position = next((index for index in range(position, self.high) if not is_done(index)), self.high)
        if position == self.high:
            return None
        if not self.ranged:
            return position, self.high
        return position, next((index for index in range(position, self.high) if is_done(index)), self.high)

    def append(self, answers: Iterable[Answer], seconds: float | None) -> Taken:
        """Keep the lines of answers that are not there yet."""
        good = failed = rows = 0
        waiting: list[Line] = []
        for answer in answers:
            index = answer.sample.index
            if not self.low <= index < self.high or self.predictions.is_done(index):
                continue
            line = self._line(answer, seconds)
            good, failed = good + (line.status == "ok"), failed + (line.status != "ok")
            rows += max(len(answer.rows), line.status == "ok" and not self.results.keeps)
            waiting.append(line)
            if len(waiting) == LINES:
                self.predictions.append(waiting)
                waiting.clear()
        self.predictions.append(waiting)
        self.progress.finished += good + failed
        return Taken(good, failed, rows)

    def _line(self, answer: Answer, seconds: float | None) -> Line:
        sample = answer.sample
        reference = reference_to_json(sample.reference, self.pair.dataset.path)
        error = answer.error
        try:
            value = self.outputs.to_json(answer.prediction, sample) if error is None else None
        except (SampleError, OSError) as trouble:
            value, error = None, str(trouble)
        if error is not None:
            return Line(sample.index, sample.id, "failed", None, reference, self.context.shown(error), seconds)
        kept = self.context.secrets.prediction(value)
        return Line(sample.index, sample.id, "ok", kept, reference, None, seconds, blanked=kept is not value)


class RangeProgress:
    """The progress of a pair in its state file: samples ``finished`` in this session, programs that failed."""

    def __init__(self, work: PairWork) -> None:
        self.finished = 0
        self.failures = 0
        self._state = work.state
        self._size = max(1, work.settings.max_batch_size)
        self._count = work.count
        self._total = work.count - work.progress.done_count
        # FAILED and RETRY of each range, as its program has counted them.
        self._counters: dict[tuple[int, int], tuple[int, int]] = {}

    def report(self, running: int, own: RunningState | None) -> None:
        """Write the state, with ``running`` samples of the program at hand; what it says itself is believed."""
        if own is not None:
            self._state.update(own)
            return
        if not self._total:
            return
        size = self._size
        done = min(self.finished + running, self._total)
        batches = -(-self._total // size)
        batch = min(done // size + 1, batches)
        self._state.update(
            RunningState(
                current_batch=batch,
                total_batches=batches,
                batch_completed=done - (batch - 1) * size,
                batch_total=min(size, self._total - (batch - 1) * size),
                failed_batches=self.failures + sum(failed for failed, _ in self._counters.values()),
                retry_count=self.failures + sum(retries for _, retries in self._counters.values()),
                timestamp=int(time.time()),
                max_batch_size=size,
                total_data=self._count,
            )
        )

    def keep_counters(self, positions: tuple[int, int], own: RunningState | None) -> None:
        """Keep what the program of a range says at its end: nobody else knows what it has tried again by itself."""
        if own is not None:
            self._counters[positions] = own.failed_batches, own.retry_count

    def finish(self) -> None:
        self.report(0, None)
        self._state.finish()
