"""Programs that do a whole pair or a range of it: asked for what is missing, and for nothing that is there."""

from __future__ import annotations

import time
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.datasets import create_reader
from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.predicting.asking import Asking, ProgramFailed
from pytest_evalrun.predicting.loop import BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS
from pytest_evalrun.predicting.outputs import own_places, reference_to_json
from pytest_evalrun.predicting.sites import site_of
from pytest_evalrun.programs.command_template import here, placeholders
from pytest_evalrun.programs.commands import knows_ranges, program_of
from pytest_evalrun.programs.records import Records
from pytest_evalrun.programs.results import FileResults, results_of
from pytest_evalrun.remote.faults import LOST
from pytest_evalrun.rundir.predictions import Line
from pytest_evalrun.rundir.shards import RangeFiles
from pytest_evalrun.rundir.state import RunningState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.models import LoadedModel
    from pytest_evalrun.predicting.sites import Site
    from pytest_evalrun.predicting.work import PairWork
    from pytest_evalrun.programs.results import Answer
    from pytest_evalrun.rundir.shards import WorkerArgs

LINES = 256


class Taken(NamedTuple):
    """How many samples were added, and the rows that they were made of."""

    good: int
    failed: int
    rows: int


class RangePredictor:
    """Has a program predict the positions of a pair, or of a shard: ``[low, high)``."""

    def __init__(self, work: PairWork, adapter: LoadedModel) -> None:
        self.pair = work.pair
        self.adapter = adapter
        self.context = work.context
        self.progress = work.progress
        self.count = work.count
        self.low = work.positions.start
        self.high = work.positions.stop
        self.end = work.total
        self.ranges = work.ranges
        self.paths = work.paths
        self.outputs = work.outputs
        self.output = work.outputs.directory
        self.own_places = own_places(work.pair, work.paths)
        self.state = work.state
        self.ranged = knows_ranges(work.settings)
        self._samples: Iterable[Sample] = ()
        self._total = 0
        self._finished = 0
        self._failures = 0
        # FAILED and RETRY of each range, as its program has counted them.
        self._counters: dict[tuple[int, int], tuple[int, int]] = {}

    def run(self, samples: Iterable[Sample]) -> None:
        """Predict every sample that is not done. Raises PairError where the program fails, or leaves no results."""
        # What a shard is given can be walked through once only.
        whole = not self.pair.is_shard
        self._samples = samples if whole else create_reader(self.pair.dataset, self.pair.settings, self.pair.root)
        self.output.mkdir(parents=True, exist_ok=True)
        files = RangeFiles(self.paths, self.context.disk)
        self.local = placeholders(self.pair, here(self.pair, self.output), "")
        self.results = results_of(self.pair.settings, self.local)
        self.records = Records(files, self.pair.settings, self.results, self.span, self.told)
        with files.locked():
            self.records.begin(self._facts())
            self.records.schedule(self._config(), self._ranges)
            self.records.settle(self.low, self.high)
        if isinstance(self.results, FileResults):
            self.results.began = self.records.began
        self._total = self.count - self.progress.done_count
        self._adopt()
        try:
            if self._missing(self.low) is not None:
                self._ask_for_all()
        finally:
            self.report(0, None)
            self.state.finish()

    def span(self, low: int, high: int) -> Iterable[Sample]:
        """The samples of a range, each time anew."""
        return self._samples[low:high] if isinstance(self._samples, list) else islice(self._samples, low, high)

    def told(self, low: int, high: int) -> tuple[int, int]:
        """What the program is told of a range: positions, or the ids that these have."""
        if self.pair.settings.range == "position":
            return low, high
        first: int | None = None
        before: int | None = None
        for sample in self.span(low, min(high + 1, self.end)):
            number = self._number(sample, before)
            first, before = number if first is None else first, number
        assert first is not None, "a range has a sample"
        assert before is not None, "and that one comes last"
        return first, before if high < self.end else before + 1

    def _number(self, sample: Sample, before: int | None) -> int:
        where = self.pair.dataset.path
        try:
            number = int(sample.id)
        except ValueError:
            raise PairError(f"{where}: range: id needs ids that are whole numbers; found {sample.id!r}") from None
        if before is not None and number <= before:
            raise PairError(f"{where}: range: id needs ids in ascending order; found {number} after {before}")
        return number

    def _ask_for_all(self) -> None:
        with site_of(self, self.adapter) as site:
            local = self.local | {"gpus": site.values["gpus"]}
            self._ask(Asking(self, site, local), site)

    def _ask(self, asking: Asking, site: Site) -> None:
        """Range by range. One that failed is started again for the rest, where it came further or had bad luck."""
        position, attempt, losses = self.low, 0, 0
        while missing := self._missing(position):
            before = self.progress.done_count
            try:
                asking.ask(*missing)
                position, losses = missing[1], 0
            except LOST as error:
                losses += 1
                site.recover(error, losses)
                self._interrupted(missing)
                self._tell_of_retry(losses, error)
            except ProgramFailed as error:
                self._interrupted(missing)
                advanced = self.progress.done_count > before
                if self._missing(self.low) is None:
                    self.context.warn(f"{self.pair.full_id}: all samples are done, though {error}")
                elif not (advanced or error.may_pass) or attempt == self.pair.settings.retries:
                    raise
                attempt += 1
                self._back_off(attempt, error)

    def _interrupted(self, missing: tuple[int, int]) -> None:
        """What was complete by then is kept."""
        self._failures += 1
        with self.records.files.locked():
            self.records.settle(*missing)
        self._adopt()

    def _tell_of_retry(self, attempt: int, error: Exception) -> None:
        told = {"attempt": attempt, "error": self.context.shown(str(error))}
        self.context.events.write("batch_retried", self.pair.full_id, batch=attempt, **told)

    def _back_off(self, attempt: int, error: PairError) -> None:
        pause = min(BACKOFF_SECONDS * 2 ** (attempt - 1), LONGEST_BACKOFF_SECONDS)
        self.context.say(f"{error}")
        self.context.say(f"starting it for the rest in {pause:g} s ({attempt} of {self.pair.settings.retries})")
        self._tell_of_retry(attempt, error)
        time.sleep(pause)

    def _missing(self, position: int) -> tuple[int, int] | None:
        """The next range from there of which nothing is done; of a program that knows no ranges, all that is not."""
        position = next((index for index in range(position, self.high) if not self.progress.is_done(index)), self.high)
        if position == self.high:
            return None
        if not self.ranged:
            return position, self.high
        end = next((index for index in range(position, self.high) if self.progress.is_done(index)), self.high)
        return position, end

    def _adopt(self) -> None:
        """Take over what completed ranges hold and the predictions do not."""
        for record in self.records.completed(self.low, self.high):
            files = _present(record)
            low, high = record.positions
            missing = any(not self.progress.is_done(i) for i in range(max(low, self.low), min(high, self.high)))
            if not missing or (self.results.keeps and not files):
                continue
            whole = program_of(self.pair.settings).rows == "any"

            def samples(low: int = low, high: int = high) -> Iterable[Sample]:
                return self.span(low, high)

            try:
                taken = self.append(self.results.answers(files, samples, whole=whole, strict=False), None)
            except PairError as error:
                self.context.say(f"what range {record.low}-{record.high} left cannot be used: {error}")
                continue
            if taken.good:
                self.context.say(f"{taken.good} samples were already done by the range {record.low}-{record.high}")

    def append(self, answers: Iterable[Answer], seconds: float | None) -> Taken:
        """The lines of answers that are not there yet."""
        good = failed = rows = 0
        waiting: list[Line] = []
        for answer in answers:
            index = answer.sample.index
            if not self.low <= index < self.high or self.progress.is_done(index):
                continue
            line = self._line(answer, seconds)
            good, failed = good + (line.status == "ok"), failed + (line.status != "ok")
            rows += max(len(answer.rows), line.status == "ok" and not self.results.keeps)
            waiting.append(line)
            if len(waiting) == LINES:
                self.progress.append(waiting)
                waiting.clear()
        self.progress.append(waiting)
        self._finished += good + failed
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

    def report(self, running: int, own: RunningState | None) -> None:
        """``running`` samples of the program at hand; what it says itself is believed."""
        if own is not None:
            self.state.update(own)
            return
        if not self._total:
            return
        size = max(1, self.pair.settings.max_batch_size)
        done = min(self._finished + running, self._total)
        batches = -(-self._total // size)
        batch = min(done // size + 1, batches)
        self.state.update(
            RunningState(
                current_batch=batch,
                total_batches=batches,
                batch_completed=done - (batch - 1) * size,
                batch_total=min(size, self._total - (batch - 1) * size),
                failed_batches=self._failures + sum(failed for failed, _ in self._counters.values()),
                retry_count=self._failures + sum(retries for _, retries in self._counters.values()),
                timestamp=int(time.time()),
                max_batch_size=size,
                total_data=self.count,
            )
        )

    def keep_counters(self, positions: tuple[int, int], own: RunningState | None) -> None:
        """What the program of a range says at its end: nobody else knows what it has tried again by itself."""
        if own is not None:
            self._counters[positions] = own.failed_batches, own.retry_count

    def _facts(self) -> dict[str, Any]:
        """What holds for every range, as args.json says it; secrets by name only."""
        pair, settings, own = self.pair.whole, self.pair.settings, program_of(self.pair.settings)
        return {
            "suite": pair.suite,
            "task": pair.task.name,
            "dataset": pair.dataset.name,
            "model": pair.task.path,
            "input": pair.dataset.path,
            "output": self.output,
            "command": own.command,
            "params": settings.params,
            "results": own.results,
            "id_column": own.results.get("id_column") or settings.id_column,
            "rows": own.rows,
            "range": settings.range,
            "batch_size": settings.max_batch_size,
        }

    def _config(self) -> dict[str, Any]:
        """How this launch goes about it, as scheduler_config.json says beside the ranges."""
        settings = self.pair.settings
        return {
            "positions": self.ranges,
            "gpus": settings.gpus,
            "min_gpu_memory": settings.min_gpu_memory,
            "workers_per_gpu": settings.workers_per_gpu,
            "retries": settings.retries,
            "timeout": settings.timeout,
        }

    def _ranges(self) -> list[tuple[int, int]]:
        """What programs are told of all shards of the launch; for ids the dataset is walked through once."""
        if self.pair.settings.range == "position":
            return self.ranges
        bounds: list[int] = []
        lows = {low for low, _ in self.ranges}
        number: int | None = None
        for position, sample in enumerate(self.span(0, self.ranges[-1][1])):
            number = self._number(sample, number)
            if position in lows:
                bounds.append(number)
        return list(pairwise([*bounds, number + 1])) if number is not None else []


def _present(record: WorkerArgs) -> list[Path]:
    """The accepted files of a range that are still there."""
    return [path for path in map(Path, record.files) if path.is_file()]
