"""What other runs have predicted of a pair, as the next attempt of a job takes it over: nobody asks for it again.

An earlier attempt may still be writing, on another host: nothing of it is changed, nothing is shared with it. What its
lines name is copied, and counts where it is what they say.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.evaluation.plan import NEW
from pytest_evalrun.evaluation.shards import lines_of
from pytest_evalrun.predicting.outputs import Outputs, output_directory
from pytest_evalrun.rundir.differences import difference
from pytest_evalrun.rundir.layout import RunPaths, paths_of
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.markers import BLOCK, read_fingerprint, read_marker, sound_in
from pytest_evalrun.rundir.predictions import file_of
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_evalrun.evaluation.plan import Plan
    from pytest_evalrun.evaluation.steps import Steps
    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.predictions import Line

# So many are written at once.
LINES = 256


class Takes(Protocol):
    """The predictions of a pair or of a shard, which get what others have."""

    @property
    def done_count(self) -> int: ...

    def is_done(self, place: int) -> bool: ...

    def append(self, lines: Sequence[Line]) -> None: ...


def take_over_sources(steps: Steps, plan: Plan, progress: Takes, wanted: range) -> Plan:
    """Add to predictions what the sources of this launch have of the places ``wanted``; the plan says so then.

    Of a source that was made from something else, nothing is taken, and the plan says what has changed since.
    """
    if not steps.launch.sources or progress.done_count == len(wanted):
        return plan
    changed: str | None = None
    outputs = Outputs(output_directory(steps.pair, steps.paths))
    for source in steps.launch.sources:
        paths = paths_of(RunPaths(Path(source)), steps.pair)
        stored = read_fingerprint(paths.fingerprint)
        if stored is None or paths.run == steps.paths.run:
            continue
        if (told := difference(stored.parts, plan.wanted.prediction, steps.hashes)) is not None:
            changed = changed or told
            continue
        if taken := _take(steps, paths, progress, outputs, wanted, plan.wanted.generations):
            steps.say(f"{counted(taken, 'answer')} taken over from {source}")
    return _explained(plan, progress.done_count, len(wanted), changed)


def _explained(plan: Plan, done: int, size: int, changed: str | None) -> Plan:
    """What is new to this attempt need not be new to the run."""
    if plan.reason != NEW:
        return plan
    if done == size:
        return replace(plan, reason=f"scored: all {size} samples were predicted before")
    if done:
        return replace(plan, reason=f"resumed at {done} of {size} samples")
    return replace(plan, reason=f"re-run: {changed}") if changed else plan


def _take(steps: Steps, paths: PairPaths, progress: Takes, outputs: Outputs, wanted: range, generations: int) -> int:
    """Keep the answers of one source that are missing; returns how many those were."""
    theirs, taken = output_directory(steps.pair, paths), 0
    marker = read_marker(paths.whole.marker)
    is_sound = sound_in(paths, marker) if marker is not None else None
    waiting: list[Line] = []
    for line in lines_of(paths.whole, wanted, generations):
        if line.status != "ok" or progress.is_done(line.place(generations)):
            continue
        if is_sound is not None and not is_sound(line.index):
            continue  # somebody has changed it since
        if bring_files(line.prediction, theirs, outputs, steps.disk):
            waiting.append(line)
        if len(waiting) == LINES:
            taken += _keep(progress, waiting, generations)
            steps.context.check_launcher()
    return taken + _keep(progress, waiting, generations)


def _keep(progress: Takes, waiting: list[Line], generations: int) -> int:
    """Write down what has gathered; of a sample with two lines in a source, one."""
    lines = list({line.place(generations): line for line in waiting}.values())
    progress.append(lines)
    waiting.clear()
    return len(lines)


def bring_files(prediction: Any, theirs: Path, outputs: Outputs, disk: Disk) -> bool:
    """Copy the files that a prediction names; False where one of them is not what the model wrote."""
    for named in _named_in(prediction):
        name = named["file"]
        if not Path(name).is_absolute() and theirs != outputs.directory and not outputs.hold(named):
            try:
                _copy(theirs / name, outputs.directory / name, disk)
            except FileNotFoundError:
                return False
    return outputs.hold(prediction)


def _named_in(prediction: Any) -> Iterator[dict[str, Any]]:
    if file_of(prediction) is not None:
        yield prediction
    elif isinstance(prediction, dict | list):
        for part in prediction.values() if isinstance(prediction, dict) else prediction:
            yield from _named_in(part)


def _copy(source: Path, target: Path, disk: Disk) -> None:
    with open_file(source) as file, disk.replacing(target) as copy:
        while block := file.read(BLOCK):
            copy.write(block)
