"""``predictions/….jsonl``: one line a sample, appended batch by batch, trusted after any crash.

While a pair runs, the last line of a sample wins: one that failed is asked again, and its new line follows the old.
"""

from __future__ import annotations

import re
import sys
from array import array
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.lines import compact_line, is_plain, joined, open_file
from pytest_evalrun.rundir.tally import Tally
from pytest_evalrun.suite import jsontext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Appender, Disk

REWRITE_LINES = 256
# So many lines are kept in memory for whoever scores them: of a tiny pair, opening the file is what costs.
FEW_LINES = 256
FEW_BYTES = 1 << 18
_NAMES_A_FILE = b'"sha256":'
# How a line of several answers ends; the text of an answer has its quotes escaped.
_GENERATION = re.compile(rb'"generation":(\d+)\}\n\Z')

_FILE_KEYS = ["file", "size", "sha256"]


def named_file(name: str, size: int, sha256: str) -> dict[str, Any]:
    """How a prediction names a file that the model wrote. The order of the keys is part of it: see ``plain``."""
    return dict(zip(_FILE_KEYS, (name, size, sha256), strict=True))


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    """An object that a model answered, the same to everybody, and never to be taken for the name of a file.

    What names a file has its keys in our order; an answer that has just these keys gets another.
    """
    return dict(sorted(answer.items(), reverse=True)) if answer.keys() == set(_FILE_KEYS) else answer


def file_of(prediction: Any) -> str | None:
    """The name of the file that a prediction is, relative to the output directory where it lies there; else None."""
    if not isinstance(prediction, dict) or list(prediction) != _FILE_KEYS:
        return None
    name, size, sha256 = prediction.values()
    known = isinstance(name, str) and type(size) is int and isinstance(sha256, str)
    return name if known and "\0" not in name and ".." not in name.split("/") else None


class Line(NamedTuple):
    """What became of one sample. ``status`` is ``ok`` or ``failed``; ``error`` says why it failed.

    ``seconds`` is what whoever asked had to wait for it; ``detail`` what else the model told.
    ``blanked`` where a secret was taken out of the prediction, or of ``detail``.
    """

    index: int  # type: ignore[assignment] # the word of the format; tuple.index is not missed
    """The place of the sample in the dataset, from 0."""
    id: str
    """The sample's id."""
    status: str
    """`ok` or `failed`."""
    prediction: Any
    """What the model answered; a file that it wrote is named with size and hash."""
    reference: Any
    """What the answer should have been."""
    error: str | None
    """Why the sample failed."""
    seconds: float | None
    """What whoever asked had to wait for it."""
    detail: dict[str, Any] | None = None
    """What else the model told."""
    blanked: bool = False
    """Whether a secret was taken out of the prediction, or of `detail`."""
    generation: int | None = None
    """Which answer to the sample it is, from 0, where several were asked for."""

    def place(self, generations: int) -> int:
        """Its place among all answers, of which each sample has so many."""
        return self.index if generations == 1 else self.index * generations + (self.generation or 0)

    def comes_back(self) -> bool:
        """Whether a reader gets these very values: a text of somebody's own class comes back as a plain one."""
        return all(map(is_plain, self))

    def dumps(self) -> bytes:
        """The line of the file. Raises PairError for what JSON does not have."""
        fields = {
            "index": self.index,
            "id": self.id,
            "status": self.status,
            "prediction": self.prediction,
            "reference": self.reference,
            "error": self.error,
            "seconds": self.seconds,
        }
        if self.detail is not None:
            fields["detail"] = self.detail
        if self.blanked:
            fields["blanked"] = True
        if self.generation is not None:
            fields["generation"] = self.generation
        try:
            return compact_line(fields, (self.prediction, self.reference, self.seconds, self.detail))
        except (ValueError, TypeError, RecursionError) as error:
            raise PairError(f"sample {self.id}: its prediction or reference cannot be kept: {error}") from error


# The fields of most lines, in their order.
_USUAL = list(Line._fields[:7])


def parse_line(raw: bytes, count: int, generations: int = 1) -> Line | None:
    """The answer of one line; None where it is torn, damaged, or where its place is none in ``range(count)``."""
    try:
        fields = jsontext.parse_line(raw)
        line = Line(*fields.values()) if list(fields) == _USUAL else Line(**fields)  # by name costs twice as much
    except (ValueError, TypeError):
        return None
    index, name, status, *_ = line
    if type(index) is not int or not 0 <= index * generations < count or type(name) is not str or raw[-1:] != b"\n":
        return None
    if line.generation is not None if generations == 1 else not _is_of(line.generation, generations):
        return None
    return line if status in ("ok", "failed") else None


def _is_of(generation: Any, generations: int) -> bool:
    return type(generation) is int and 0 <= generation < generations


class _Scan(NamedTuple):
    """What a file holds: ``end`` is where its last sound line ends, ``damaged`` counts the unsound ones before.

    ``lost`` counts sound lines that name files which are not what the model wrote.
    """

    tally: Tally
    end: int
    size: int
    damaged: int
    lost: int = 0


def _scan(path: Path, count: int, generations: int, holds: Callable[[Any], bool] | None = None) -> _Scan:
    tally, end, position, damaged, trailing, lost = Tally(count, generations), 0, 0, 0, 0, 0
    try:
        file = open_file(path)
    except FileNotFoundError:
        return _Scan(tally, 0, 0, 0)
    with file:
        for raw in file:
            position += len(raw)
            line = parse_line(raw, count, generations)
            if line is None:
                trailing += 1
                continue
            damaged, trailing, end = damaged + trailing, 0, position
            if holds is not None and _NAMES_A_FILE in raw and not holds(line.prediction):
                lost += 1
                tally.forget(line.place(generations))
            else:
                tally.note(line.place(generations), line.status == "ok")
    tally.in_order = tally.in_order and not damaged
    return _Scan(tally, end, position, damaged, lost)


def _ordered(path: Path, tally: Tally) -> Iterator[Line]:
    if not tally.seen_count:
        return
    with open_file(path) as file:
        for raw in file if tally.in_order else _jumping(file, tally.count, tally.generations):
            line = parse_line(raw, tally.count, tally.generations)
            assert line is not None, "the scan saw a sound line here"
            yield line


def _jumping(file: BinaryIO, count: int, generations: int) -> Iterator[bytes]:
    places = array("q", [-1]) * count
    position = 0
    for raw in file:
        line = parse_line(raw, count, generations)
        if line is not None:
            places[line.place(generations)] = position
        position += len(raw)
    for place in places:
        if place >= 0:
            file.seek(place)
            yield file.readline()


def _line_count(path: Path) -> int:
    try:
        with open_file(path) as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0


def _generations_in(path: Path) -> int:
    """How many answers a sample has at most, by what the lines of a file say; most files say nothing of it."""
    with open_file(path) as file:
        if _GENERATION.search(file.readline()) is None:
            return 1
        file.seek(0)
        return 1 + max(int(found[1]) for raw in file if (found := _GENERATION.search(raw)))


class PredictionsFile:
    """The predictions of one pair, before anybody reads or writes them; of each sample there are ``generations``."""

    def __init__(self, path: Path, generations: int = 1) -> None:
        self.path = path
        self.generations = generations

    def peek(self, count: int) -> Tally:
        """How far the file came, of so many answers; changes nothing."""
        return _scan(self.path, count, self.generations).tally

    def lines(self) -> Iterator[Line]:
        """The last line of each answer, in dataset order, however many there are; changes nothing."""
        count = _line_count(self.path)
        scan = _scan(self.path, count, _generations_in(self.path) if count else 1)
        scan.tally.in_order = scan.tally.in_order and scan.end == scan.size
        return _ordered(self.path, scan.tally)

    def as_kept(self) -> Iterator[Line]:
        """Every sound line of the file, however far it came, in the order in which they were kept; changes nothing."""
        try:
            file = open_file(self.path)
        except FileNotFoundError:
            return
        with file:
            lines = (parse_line(raw, sys.maxsize, self.generations) for raw in file)
            yield from (line for line in lines if line is not None)

    def open(
        self, disk: Disk, count: int, holds: Callable[[Any], bool] | None = None, marker: Path | None = None
    ) -> Progress:
        """Carry on with the file: what a crash tore off its end is cut, what is damaged before is ignored.

        ``holds`` is asked of each prediction that names files whether they are still what the model wrote. ``marker``
        vouches for the file as it is, and goes before it is changed: killed in between, it is not taken for damaged.
        """
        scan = _scan(self.path, count, self.generations, holds)
        if scan.end < scan.size:
            if marker is not None:
                marker.unlink(missing_ok=True)
            with self.path.open("r+b") as file:
                file.truncate(scan.end)
        return Progress(self.path, disk, scan.tally, _repairs(self.path.name, scan), marker)


def _repairs(name: str, scan: _Scan) -> str | None:
    found = []
    if scan.end < scan.size:
        found.append(f"a torn end ({scan.size - scan.end} bytes) was cut off")
    if scan.damaged:
        lines = "1 damaged line is" if scan.damaged == 1 else f"{scan.damaged} damaged lines are"
        found.append(f"{lines} ignored, the samples are asked again")
    if scan.lost:
        found.append(f"files of {scan.lost} predictions are gone or changed, the samples are asked again")
    return f"{name}: {'; '.join(found)}" if found else None


class Progress:
    """The predictions of one pair while they are being made; ``repaired`` says what a crash had left."""

    def __init__(self, path: Path, disk: Disk, tally: Tally, repaired: str | None, marker: Path | None = None) -> None:
        self.path = path
        self._marker = marker
        self.repaired = repaired
        self._disk = disk
        self._tally = tally
        self._appender: Appender | None = None
        # All lines of the file, in its order; None where they are too many, or where it would say something else.
        self._kept: list[Line] | None = [] if tally.count <= FEW_LINES and not tally.seen_count else None
        self._kept_bytes = 0

    @property
    def count(self) -> int:
        """How many answers there are to be."""
        return self._tally.count

    @property
    def generations(self) -> int:
        """How many of them each sample has."""
        return self._tally.generations

    @property
    def done_count(self) -> int:
        return self._tally.done_count

    @property
    def failed_count(self) -> int:
        """Samples whose last line says that they failed."""
        return self._tally.failed_count

    @property
    def in_order(self) -> bool:
        """Whether the file has one sound line a sample, in dataset order."""
        return self._tally.in_order

    def is_done(self, place: int) -> bool:
        return self._tally.is_done(place)

    def is_seen(self, place: int) -> bool:
        return self._tally.is_seen(place)

    def begin(self) -> None:
        """Open the file now: if it is set aside later, lines still go to where they belong."""
        if self._appender is None:
            self._unmark()
            self._appender = self._disk.appender(self.path)

    def append(self, lines: Sequence[Line]) -> None:
        """A batch, in one write; lines of samples that are there already take their place."""
        if not lines:
            return
        places = [line.place(self.generations) for line in lines]
        for place in places:
            self._tally.is_done(place)  # raises IndexError before anything is written
        data = joined(line.dumps() for line in lines)
        self.begin()
        assert self._appender is not None
        try:
            self._appender.write(data)
        except OSError:
            self._tally.in_order, self._kept = False, None  # half a batch may lie there now
            raise
        for place, line in zip(places, lines, strict=True):
            self._tally.note(place, line.status == "ok")
        self._keep(lines, len(data))

    def _keep(self, lines: Sequence[Line], size: int) -> None:
        """In memory too, while these are few and the file would give them back just so."""
        self._kept_bytes += size
        if self._kept is not None:
            same = self._tally.in_order and self._kept_bytes <= FEW_BYTES and all(map(Line.comes_back, lines))
            self._kept = [*self._kept, *lines] if same else None

    def ordered(self) -> Iterator[Line]:
        """The last line of each sample in dataset order; samples without a line are left out.

        Costs 8 bytes a sample where the file is not in order.
        """
        kept, self._kept = self._kept, None  # once: a metric may change what it is given
        return iter(kept) if kept else _ordered(self.path, self._tally)

    def rewrite(self, disk: Disk, lines: Iterable[Line]) -> None:
        """Replace the file by these lines in one step; they may be made from ``ordered``."""
        tally = Tally(self._tally.count, self.generations)
        with disk.replacing(self.path) as file:
            rest = iter(lines)
            while chunk := list(islice(rest, REWRITE_LINES)):
                for line in chunk:
                    tally.note(line.place(self.generations), line.status == "ok")
                file.write(joined(line.dumps() for line in chunk))
            self._unmark()
        self.close()  # it still writes to the file that was replaced
        self._tally, self._kept = tally, None

    def _unmark(self) -> None:
        if self._marker is not None:
            self._marker.unlink(missing_ok=True)

    def close(self) -> None:
        if self._appender is not None:
            self._appender.close()
            self._appender = None
