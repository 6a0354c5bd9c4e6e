"""Batches on a board, in three stages: the files go over, the program answers, what it wrote comes back."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.children.faults import ModelError
from pytest_evalrun.errors import ConfigError, SampleError
from pytest_evalrun.programs.batch import predictions
from pytest_evalrun.programs.board import run_there
from pytest_evalrun.programs.command_template import arguments, placeholders, portable_command
from pytest_evalrun.programs.place import listed
from pytest_evalrun.programs.results import make_room
from pytest_evalrun.programs.running import name_of
from pytest_evalrun.remote.tarstream import TarEntry, check_name
from pytest_evalrun.remote.transfer import download, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.programs.board import BoardWork
    from pytest_evalrun.programs.command_template import Where
    from pytest_evalrun.programs.results import Results
    from pytest_evalrun.programs.running import ProgramIO
    from pytest_evalrun.suite.pairs import Pair

# One batch goes over, one is at work, one comes back; and one that failed is asked again, apart from these.
AT_ONCE = 3
APART = AT_ONCE
LIST = ".evalrun-batch"


@dataclass(frozen=True)
class Sent:
    """A batch on the board: its samples with their paths there, in which place, by which connection."""

    batch: Sequence[Sample]
    there: Sequence[Sample]
    place: int
    generation: int


@dataclass(frozen=True)
class Ran:
    """A batch that was answered: ``answers`` at once, or as files that must still be fetched (None)."""

    sent: Sent
    seconds: float
    answers: Sequence[Any] | None = None
    name: str = ""


class Stages(Protocol):
    """What a pipeline calls: ``upload`` and ``fetch`` each in a thread of its own, ``run`` in the main thread."""

    def upload(self, batch: Sequence[Sample]) -> Sent:
        """Raises LinkLost, ArrivedWrong, SampleError."""

    def run(self, sent: Sent) -> Ran:
        """Raises ModelError, LinkLost too where the batch is not there any more."""

    def fetch(self, ran: Ran) -> Sequence[Any]:
        """One prediction a sample."""


class Uploader:
    """Takes the files of batches to a board. ``root`` is the dataset's directory, ``aside`` one for lists of ours.

    ``outputs``: whether each batch has a directory for its output, which is empty when it goes over.
    """

    def __init__(self, work: BoardWork, root: Path, aside: Path, *, outputs: bool = True) -> None:
        self._work = work
        self._root = root
        self._aside = aside
        self._outputs = outputs
        self._count = 0

    def upload(self, batch: Sequence[Sample]) -> Sent:
        """Into the next of three places, which is emptied."""
        self._count += 1
        return self.upload_to(self._count % AT_ONCE, batch)

    def upload_to(self, place: int, batch: Sequence[Sample]) -> Sent:
        """Into this place, which is emptied; of each by one thread at a time."""
        generation = self._work.ready()
        target = f"{self._work.path}/in{place}"
        files: dict[str, Path] = {}
        there = [self._placed(sample, target, files) for sample in batch]
        list_file = self._aside / f"list{place}.txt"
        list_file.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{listed(sample)}\n" for sample in there)
        list_file.write_text(text, encoding="utf-8", errors="surrogateescape")
        entries = [TarEntry(path, name) for name, path in files.items()]
        output = f"{self._work.path}/out{place}" if self._outputs else ""
        upload(self._work.connection, [*entries, TarEntry(list_file, LIST)], target, output)
        return Sent(batch, there, place, generation)

    def close(self) -> None:
        for place in (*range(AT_ONCE), APART):
            (self._aside / f"list{place}.txt").unlink(missing_ok=True)

    def _placed(self, sample: Sample, target: str, files: dict[str, Path]) -> Sample:
        def place(path: PurePath) -> PurePosixPath:
            name = self._name(sample, Path(path), len(files))
            files[name] = Path(path)
            return PurePosixPath(target, name)

        return replace(sample, input=moved(sample.input, place))

    def _name(self, sample: Sample, path: Path, number: int) -> str:
        name = name_below(self._root, path, number)
        try:
            check_name(name)
        except ConfigError as error:
            raise SampleError(f"sample {sample.id!r}: {error}") from None
        return name


def name_below(root: Path, path: Path, number: int) -> str:
    """What a file is called on the board: as in its dataset; one from elsewhere by a number of its own."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else f".outside/{number}/{path.name}"


def moved(value: Any, place: Callable[[PurePath], PurePath]) -> Any:
    """The same input with every path in it put elsewhere."""
    if isinstance(value, PurePath):
        return place(value)
    if isinstance(value, dict):
        return {key: moved(entry, place) for key, entry in value.items()}
    return [moved(entry, place) for entry in value] if isinstance(value, list | tuple) else value


class BatchStages:
    """A program that is started once a batch. ``where`` gives the places on the board, with ``output`` filled in.

    What it leaves lies in ``output`` afterwards, where nothing is its own that lay there when it ``began``.
    """

    def __init__(
        self,
        pair: Pair,
        work: BoardWork,
        uploader: Uploader,
        where: Callable[[str], Where],
        environment: Callable[[Where], Mapping[str, str]],
        results: Results,
        output: Path,
        around: ProgramIO,
        look: Callable[[], None],
        announce: Callable[[Sequence[str]], None],
        began: float,
    ) -> None:
        self._pair = pair
        self._work = work
        self._uploader = uploader
        self._where = where
        self._environment = environment
        self._results = results
        self._output = output
        self._around = around
        self._look = look
        self._announce = announce
        self._began = began
        self._fetching = threading.Lock()
        # Where results are looked for once they are here.
        self._local = {**placeholders(pair, where(str(output)), ""), "batch": ""}

    def upload(self, batch: Sequence[Sample]) -> Sent:
        return self._uploader.upload(batch)

    def run(self, sent: Sent) -> Ran:
        started = time.perf_counter()
        with self._work.only(sent.generation):
            name = self._ask(sent)
        return Ran(sent, time.perf_counter() - started, name=name)

    def _ask(self, sent: Sent) -> str:
        where = self._where(f"{self._work.path}/out{sent.place}")
        values = {**placeholders(self._pair, where, ""), "batch": f"{self._work.path}/in{sent.place}/{LIST}"}
        argv = arguments(portable_command(self._pair), values, [listed(sample) for sample in sent.there])
        self._announce(argv)
        name = name_of(self._around.words(argv))
        ending = run_there(self._work, argv, self._environment(where), self._around, self._look)
        if ending.returncode:
            raise ModelError(ending.told(name), may_pass=ending.may_pass)
        return name

    def fetch(self, ran: Ran) -> Sequence[Any]:
        """One at a time: all batches have files of the same names."""
        with self._fetching, self._work.only(ran.sent.generation):
            return self._fetch(ran)

    def _fetch(self, ran: Ran) -> Sequence[Any]:
        pattern = self._results.pattern(self._local)
        make_room(pattern, self._began)
        self._results.began = time.time()
        download(self._work.connection, f"{self._work.path}/out{ran.sent.place}", self._output)
        return predictions(self._results, ran.sent.batch, pattern, ran.name)

    def predict(self, batch: Sequence[Sample]) -> Sequence[Any]:
        """All three, one after the other, while others may be on their way."""
        return self.fetch(self.run(self._uploader.upload_to(APART, batch)))
