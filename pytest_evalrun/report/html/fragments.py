"""``results/….fragment``: what the page tells of one pair, made where the pair was scored and kept beside its result.

The first line says what it was made from, and what the page must know of it; the second is the pair's detail without
what depends on the rest of the run; each line that follows is a sample, the most telling first. All but the first are
JSON that may stand in a page. A fragment may be missing, torn or of another version: it is made again then.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from pytest_evalrun.report.html.choosing import Chosen, Flipped, SampleChoice
from pytest_evalrun.report.html.details import anchor_of, detail_of, linker, moved
from pytest_evalrun.report.html.parts import FilePlaces, Parts
from pytest_evalrun.report.html.safejson import encoded_json, escaped
from pytest_evalrun.report.records import JudgesWords, record_of, scored_lines
from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.enginepaths import launched_run
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.lines import open_file, read_file
from pytest_evalrun.rundir.results import read_result
from pytest_evalrun.rundir.runs import run_names
from pytest_evalrun.rundir.samplelines import SMALL_FILE, NotInOrder, answer_of, ascending, lines_at
from pytest_evalrun.suite.jsontext import parse_line
from pytest_evalrun.suite.secrets import NO_SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.rundir.layout import PairPaths, RunPaths
    from pytest_evalrun.rundir.results import Result
    from pytest_evalrun.suite.secrets import Secrets

    Line = Mapping[str, Any]

# Raised where fragments are made otherwise.
VERSION = 1
# Earlier runs that are looked at for the same pair.
MOST_EARLIER = 10
# So many lines of a large pair's predictions are read whatever they say.
SPREAD = 4_096


def earlier_runs(paths: RunPaths) -> list[RunPaths]:
    """The runs of the work directory that are older than this one, the newest first; of a job's its launch's are."""
    paths = launched_run(paths)
    workdir = WorkDir(paths.root.parent)
    names = run_names(workdir)
    name = paths.root.name
    return [workdir.run(each) for each in names[names.index(name) + 1 :]] if name in names else []


class KnownOrigin(Protocol):
    """Where the samples of a pair come from, in the words of who evaluates pairs."""

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def samples(self) -> Callable[[], Iterator[tuple[str, Any]]]: ...
    @property
    def written(self) -> Path | None: ...
    @property
    def data(self) -> Path | None: ...
    @property
    def is_whole(self) -> bool: ...


@dataclass(frozen=True)
class SampleSource:
    """Where the samples of a pair come from, as its suite has it today; nothing where there is no suite any more.

    ``written`` is the directory that its model writes to, where that is another than the run's own.
    """

    inputs: Inputs = field(default_factory=Inputs)
    written: Path | None = None
    data: Path | None = None

    @classmethod
    def of(cls, origin: KnownOrigin | None) -> SampleSource:
        """That of a pair whose origin is known."""
        if origin is None:
            return NO_SOURCE
        return cls(Inputs(origin.names, origin.samples), origin.written, origin.data)


NO_SOURCE = SampleSource()


@dataclass(frozen=True)
class Fragment:
    """A fragment as it was read: ``order`` are the places of its samples, ``total`` how many answers the pair has.

    ``against`` is the run that it was compared with, ``before`` the values there, ``changes`` what of the environment
    is another.
    """

    anchor: str
    against: str | None
    before: Mapping[str, float]
    changes: Sequence[str]
    order: Sequence[tuple[int, int]]
    total: int
    detail: bytes
    samples: Sequence[bytes] = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.detail) + sum(map(len, self.samples)) + len(self.samples)

    def without_samples(self) -> Fragment:
        """The same for who has no use for them, or reads it again."""
        return replace(self, samples=())

    def kept(self, most: int) -> list[bytes]:
        """The most telling samples of so many bytes together, in the order of the dataset."""
        chosen, left = 0, most
        for sample in self.samples:  # none where they were left away
            left -= len(sample) + 1
            if left < 0:
                break
            chosen += 1
        ordered = sorted(range(chosen), key=lambda number: self.order[number])
        return [self.samples[number] for number in ordered]


class Fragments:
    """The fragments of a run; ``earlier`` are the runs to compare with, the newest first."""

    def __init__(self, run: RunPaths, earlier: Sequence[RunPaths] = (), secrets: Secrets = NO_SECRETS) -> None:
        self.run = run
        self._earlier = earlier[:MOST_EARLIER]
        self._secrets = secrets
        self._link = linker(run.root)

    def read(self, files: PairPaths) -> Fragment | None:
        """The fragment of a pair; None where it is missing, or made from something else than what lies there now."""
        try:
            lines = read_file(files.fragment).split(b"\n")
            head = parse_line(lines[0])
            base = self.before(files)
            if head["v"] != VERSION or head["made"] != _made(files, base) or lines.pop() or len(lines) < 2:
                return None
            order = [(place[0], place[1]) for place in head["order"]]
            found = head["anchor"], head["against"], head["before"], head["changes"], order, head["total"]
            return Fragment(*found, lines[1], lines[2:]) if len(lines) == len(order) + 2 else None
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None

    def head(self, files: PairPaths) -> Fragment | None:
        """What the rest of the page needs of it, without detail and samples, as of whenever it was made."""
        try:
            with open_file(files.fragment) as file:
                head = parse_line(file.readline())
            if head["v"] != VERSION:
                return None
            found = head["anchor"], head["against"], head["before"], head["changes"], (), head["total"]
            return Fragment(*found, b"", ())
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def make(self, files: PairPaths, result: Result, source: SampleSource = NO_SOURCE) -> Fragment:
        """Make the fragment of a pair, and keep it. Raises OSError where its files cannot be read, or it not kept."""
        base = self.before(files)
        made = _made(files, base)
        fragment = self._of(files, result, source, base)
        head = {
            "v": VERSION,
            "made": made,
            "anchor": fragment.anchor,
            "against": fragment.against,
            "before": fragment.before,
            "changes": fragment.changes,
            "order": fragment.order,
            "total": fragment.total,
        }
        write_atomic(files.fragment, b"\n".join([orjson.dumps(head), fragment.detail, *fragment.samples, b""]))
        return fragment

    def fresh(self, files: PairPaths, result: Result, source: SampleSource = NO_SOURCE) -> Fragment:
        """Make the fragment of a pair for who writes nothing into runs. Raises OSError where files cannot be read."""
        return self._of(files, result, source, self.before(files))

    def _of(self, files: PairPaths, result: Result, source: SampleSource, base: PairPaths | None) -> Fragment:
        chosen, samples = self._samples(files, result, source, base)
        old = read_result(base.result) if base is not None else None
        return Fragment(
            anchor=anchor_of(files.key),
            against=base.run.name if base is not None else None,
            before={} if old is None else {name: metric["value"] for name, metric in old.metrics.items()},
            changes=[] if old is None else list(moved(old.environment, result.environment)),
            order=list(samples),
            total=chosen.total,
            detail=detail_of(files, result, chosen),
            samples=list(samples.values()),
        )

    def _samples(
        self, files: PairPaths, result: Result, source: SampleSource, base: PairPaths | None
    ) -> tuple[Chosen, dict[tuple[int, int], bytes]]:
        """The samples to show by their places, each as JSON, the most telling first."""
        better = {name: metric.get("better", "higher") for name, metric in result.metrics.items()}
        lower = frozenset(name for name, way in better.items() if way == "lower")

        def choice() -> SampleChoice:
            return SampleChoice(better, Flipped(base.scores if base is not None else None, lower))

        chosen, wanted = _seen(files, choice, (result.fingerprint.get("prediction") or {}).get("generations", 1))
        parts = Parts(self._places(files, source), self._secrets)
        made: dict[tuple[int, int], bytes] = {}
        told = JudgesWords(files, result.fingerprint)
        for (line, score), value in source.inputs.paired(wanted, lambda both: both[0]):
            place = answer_of(line)
            sample = record_of(line, score, source.inputs.parts(value), told.of(line))
            made[place] = encoded_json(parts.record(sample, chosen.places[place]))
            if len(made) == len(chosen.places):
                break
        there = [place for place in chosen.places if place in made]
        safe = escaped(b"\n".join([made[place] for place in there])).split(b"\n")
        return chosen, dict(zip(there, safe, strict=bool(there)))

    def _places(self, files: PairPaths, source: SampleSource) -> FilePlaces:
        return FilePlaces(source.written or files.outputs, source.data, self._link)

    def before(self, files: PairPaths) -> PairPaths | None:
        """The files of the pair in the newest earlier run that has a result of it."""
        for run in self._earlier:
            found = run.pair(files.key)
            if os.path.exists(found.result):  # noqa: PTH110 - of 10,000 pairs
                return found
        return None


def _seen(
    files: PairPaths, choice: Callable[[], SampleChoice], generations: int
) -> tuple[Chosen, Iterable[tuple[Line, Line]]]:
    """What was seen of a pair's answers, and the lines of the chosen ones in dataset order.

    A large pair is gone through in passing, where its files are as a finished evaluation leaves them.
    """
    if _size(files.complete[1]) <= SMALL_FILE:
        lines = list(scored_lines(files))
        chosen = choice().over(lines)
        return chosen, (both for both in lines if answer_of(both[0]) in chosen.places)
    try:
        with open_file(files.predictions) as file:
            every = max(1, _size(files.complete[1]) // (len(file.readline()) or 1) // SPREAD)
            file.seek(0)
            scores = ascending(files.scores) if files.scores.is_file() else ()
            chosen = choice().in_passing(scores, file, every)
        places = sorted(chosen.places)
        found = lines_at(files.predictions, places, generations)
        graded = lines_at(files.scores, places, generations) if files.scores.is_file() else {}
        return chosen, [(found[place], graded.get(place, {})) for place in places if place in found]
    except NotInOrder:
        chosen = choice().over(scored_lines(files))
        return chosen, (both for both in scored_lines(files) if answer_of(both[0]) in chosen.places)


def _made(files: PairPaths, base: PairPaths | None) -> list[list[int]]:
    """What a fragment depends on: sizes and times of these files, by which any change of them is told."""
    _, *paths = files.complete
    if base is not None:
        _, _, *others = base.complete
        paths += others
    return [_facts(path) for path in paths]


def _facts(path: str) -> list[int]:
    try:
        stat = os.stat(path)  # noqa: PTH116 - of 10,000 pairs
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _size(path: str) -> int:
    return (_facts(path) or [0])[0]
