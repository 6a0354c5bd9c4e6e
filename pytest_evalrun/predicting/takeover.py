"""Answers that were paid for are taken over where what would be sent now is what was sent for them.

When a dataset or a prompt has changed, the old predictions lie aside. Their lines have a digest of what was sent: a
sample that would be sent the same is given such a line, under the index, the id and the reference that it has today.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.errors import SampleError
from pytest_evalrun.predicting.outputs import reference_to_json
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.predictions import Line
from pytest_evalrun.rundir.sampleids import scratch
from pytest_evalrun.suite.jsontext import parse_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Any, BinaryIO

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.work import PairWork

# So many are written at once.
LINES = 256
_HAS_DIGEST = b'"digest":"'


class KnowsDigests(Protocol):
    """A session that can tell what it would send, without sending it."""

    def digest(self, sample: Sample) -> str:
        """The digest of what would be sent. Raises SampleError where nothing can be made of the sample."""


def take_over(work: PairWork, session: KnowsDigests, samples: Iterable[Sample], old: Sequence[Path]) -> int:
    """Keep what is known of samples that are not done, and return how many answers that was.

    ``samples`` are all of the work, also those that are done, in the order of the dataset: each has its line of
    ``old``, so that a second time, after a kill in the middle, every sample finds the one that it found before.
    """
    if not old:
        return 0
    taken = 0
    with ExitStack() as stack:
        answers = _Answers([stack.enter_context(open_file(file)) for file in old], old[0].parent)
        stack.callback(answers.close)
        lines = _lines(work, session, islice(samples, work.count), answers)
        while some := list(islice(lines, LINES)):
            work.progress.append(some)
            taken += len(some)
            work.context.check_launcher()
    return taken


def _lines(work: PairWork, session: KnowsDigests, samples: Iterable[Sample], answers: _Answers) -> Iterator[Line]:
    each = work.settings.generations
    for sample in samples:
        try:
            line = answers.take(session.digest(sample))
        except SampleError:
            continue  # it fails when it is asked
        if line is not None and not work.progress.is_done(sample.index * each + sample.generation):
            reference = reference_to_json(sample.reference, work.pair.dataset.path)
            generation = sample.generation if each > 1 else None
            yield line._replace(index=sample.index, id=sample.id, reference=reference, generation=generation)


class _Answers:
    """Answered lines of files by the digest of what was sent, each of them once; where they are is kept in a file.

    A line that was taken over before lies in two files: the same request took the same seconds in both.
    """

    def __init__(self, files: list[BinaryIO], directory: Path) -> None:
        self._files = files
        self._database = scratch(directory)
        columns = "digest TEXT, request TEXT, file INTEGER, place INTEGER, UNIQUE (digest, request)"
        self._database.execute(f"CREATE TABLE lines ({columns})")
        # For all that is done with it: nothing of it is kept, and each end of a transaction would be written.
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR IGNORE INTO lines VALUES (?, ?, ?, ?)", self._found())

    def _found(self) -> Iterator[tuple[str, str, int, int]]:
        for number, file in enumerate(self._files):
            place = 0
            for raw in file:
                if _HAS_DIGEST in raw and (line := _answered(raw)) is not None and line.detail is not None:
                    request = f"{line.seconds} {line.detail.get('request_id')}"
                    yield line.detail["digest"], request, number, place
                place += len(raw)

    def take(self, digest: str) -> Line | None:
        """The first line with a digest that nobody took; None where there is none any more."""
        find = "SELECT rowid, file, place FROM lines WHERE digest = ? ORDER BY rowid LIMIT 1"
        found = self._database.execute(find, (digest,)).fetchone()
        if found is None:
            return None
        row, number, place = found
        self._database.execute("DELETE FROM lines WHERE rowid = ?", (row,))
        self._files[number].seek(place)
        return _answered(self._files[number].readline())

    def close(self) -> None:
        self._database.close()


def _answered(raw: bytes) -> Line | None:
    """The answer in a line, with the digest of what was sent for it; None for one that failed or is damaged."""
    try:
        fields: Any = parse_line(raw)
        line = Line(**fields)
        is_known = line.status == "ok" and isinstance(line.detail, dict) and isinstance(line.detail["digest"], str)
    except (ValueError, TypeError, KeyError):
        return None
    return line if is_known and raw[-1:] == b"\n" else None
