"""Programs that do a whole pair or a range of it: asked for what is missing, and for nothing that is there."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import EvalrunError, PairError
from pytest_evalrun.predicting.loop import BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS
from pytest_evalrun.predicting.places import place_of
from pytest_evalrun.predicting.rangerun import ProgramFailed, RangeRun
from pytest_evalrun.predicting.rangework import RangeWork
from pytest_evalrun.programs.commands import program_of
from pytest_evalrun.remote.faults import LOST
from pytest_evalrun.suite.waiting import backoff

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.session import LoadedModel
    from pytest_evalrun.predicting.work import PairWork
    from pytest_evalrun.programs.place import Place


def predict_ranges(pair_work: PairWork, samples: Iterable[Sample], model: LoadedModel) -> None:
    """Predict every sample that is not done. Raises PairError where the program fails, or leaves no results."""
    pair_work.outputs.directory.mkdir(parents=True, exist_ok=True)
    work = RangeWork(pair_work, samples)
    records = work.records
    with records.files.locked():
        records.begin(_facts(work))
        records.schedule(_config(work), lambda: _ranges(work))
        records.settle(work.low, work.high)
    work.results.began = records.began
    _adopt(work)
    try:
        if work.missing(work.low) is not None:
            with place_of(pair_work, model, work.output) as place:
                _ask(work, place)
    finally:
        work.progress.finish()


def _ask(work: RangeWork, place: Place) -> None:
    """Ask range by range. A program that failed is started again for the rest if it came further or had bad luck."""
    position, attempt, losses = work.low, 0, 0
    while missing := work.missing(position):
        before = work.predictions.done_count
        try:
            RangeRun(work, place, *missing).run()
            position, losses = missing[1], 0
        except LOST as error:
            losses += 1
            place.recover(error, losses)
            if work.results.keeps:
                with suppress(*LOST, EvalrunError):
                    place.fetch(lost=True)
            _interrupted(work, missing)
            _note_retry(work, losses, error)
        except ProgramFailed as error:
            _interrupted(work, missing)
            advanced = work.predictions.done_count > before
            if work.missing(work.low) is None:
                work.context.warn(f"{work.pair.full_id}: all samples are done, though {error}")
            elif not (advanced or error.may_pass) or attempt == work.pair.settings.retries:
                raise
            attempt += 1
            _back_off(work, attempt, error)


def _interrupted(work: RangeWork, missing: tuple[int, int]) -> None:
    """Keep what was complete by then."""
    work.progress.failures += 1
    with work.records.files.locked():
        work.records.settle(*missing)
    _adopt(work)


def _note_retry(work: RangeWork, attempt: int, error: Exception) -> None:
    shown = work.context.shown(str(error))
    work.context.events.write("batch_retried", work.pair.full_id, batch=attempt, attempt=attempt, error=shown)


def _back_off(work: RangeWork, attempt: int, error: PairError) -> None:
    pause = backoff(attempt - 1, BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS)
    work.context.say(f"{error}")
    work.context.say(f"starting it for the rest in {pause:g} s ({attempt} of {work.pair.settings.retries})")
    _note_retry(work, attempt, error)
    time.sleep(pause)


def _adopt(work: RangeWork) -> None:
    """Take over what completed ranges hold and the predictions do not."""
    for record in work.records.completed(work.low, work.high):
        files = [path for path in map(Path, record.files) if path.is_file()]
        low, high = record.positions
        positions = range(max(low, work.low), min(high, work.high))
        if all(map(work.predictions.is_done, positions)) or (work.results.keeps and not files):
            continue
        whole = program_of(work.pair.settings).rows == "any"

        def samples(low: int = low, high: int = high) -> Iterable[Sample]:
            return work.span(low, high)

        try:
            taken = work.append(work.results.answers(files, samples, whole=whole, strict=False), None)
        except PairError as error:
            work.context.say(f"what range {record.low}-{record.high} left cannot be used: {error}")
            continue
        if taken.good:
            work.context.say(f"{taken.good} samples were already done by the range {record.low}-{record.high}")


def _facts(work: RangeWork) -> dict[str, Any]:
    """Say what holds for every range, as args.json does; secrets by name only."""
    pair, settings, own = work.pair.whole, work.pair.settings, program_of(work.pair.settings)
    return {
        "suite": pair.suite,
        "task": pair.task.name,
        "dataset": pair.dataset.name,
        "model": pair.task.path,
        "input": pair.dataset.path,
        "output": work.output,
        "command": own.command,
        "params": settings.params,
        "results": own.results,
        "id_column": own.results.get("id_column") or settings.id_column,
        "rows": own.rows,
        "range": settings.range,
        "batch_size": settings.max_batch_size,
    }


def _config(work: RangeWork) -> dict[str, Any]:
    """Say how this launch goes about it, as scheduler_config.json does beside the ranges."""
    settings = work.pair.settings
    return {
        "positions": work.ranges,
        "gpus": settings.gpus,
        "min_gpu_memory": settings.min_gpu_memory,
        "workers_per_gpu": settings.workers_per_gpu,
        "retries": settings.retries,
        "timeout": settings.timeout,
    }


def _ranges(work: RangeWork) -> list[tuple[int, int]]:
    """List what programs are told of all shards of the launch; for ids the dataset is walked through once."""
    if work.pair.settings.range == "position":
        return work.ranges
    lows = {low for low, _ in work.ranges}
    bounds: list[int] = []
    number: int | None = None
    for position, number in enumerate(work.numbers(0, work.end)):
        if position in lows:
            bounds.append(number)
    return list(pairwise([*bounds, number + 1])) if number is not None else []
