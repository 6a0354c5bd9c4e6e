"""Results that a program left behind, one answer a sample: rows of a table, files by name, metrics of the whole."""

from __future__ import annotations

import csv
import glob
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeGuard

from pytest_evalrun.errors import PairError
from pytest_evalrun.programs.commands import program_of
from pytest_evalrun.programs.placing import place
from pytest_evalrun.programs.tables import TABLES, TableRow
from pytest_evalrun.rundir.aside import STALE
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.template import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.suite.settings import Settings

    Samples = Callable[[], Iterable[Sample]]

# File times come from a clock that ticks a hundred times a second or more.
TICK_SECONDS = 0.01
_NOT_FINITE = frozenset({"nan", "-nan", "NaN", "inf", "-inf", "Infinity", "-Infinity"})


class Answer(NamedTuple):
    """A sample with its prediction, or the reason why it has none. ``rows`` are those that it was made of."""

    sample: Sample
    prediction: Any
    error: str | None = None
    rows: Sequence[TableRow] = ()


@dataclass(frozen=True)
class Counted:
    """The way to count results while their program runs, by the files whose names end with ``ending``.

    Their lines, less that of a ``header``, or the files themselves, which lie in ``directory`` of the output; of
    results that come all at once, neither.
    """

    by: Literal["lines", "files", ""]
    ending: str = ""
    directory: str = ""
    header: bool = False


class Results(Protocol):
    """The files that a program writes, and how they are read.

    ``keeps``: what a program left that was interrupted can be told from what is torn. ``counted``: how far a running
    program is. Files that are older than ``began`` are none of the program's.
    """

    keeps: bool
    began: float

    @property
    def counted(self) -> Counted: ...

    def pattern(self, values: Mapping[str, str]) -> str:
        """Give the glob of the files; empty where they are known by the samples' names only."""

    def answers(self, files: Sequence[Path], samples: Samples, *, whole: bool, strict: bool) -> Iterator[Answer]:
        """Give answers in the order of the samples. ``whole``: the program ended well, so that every sample gets one.

        ``strict``: rows of other samples are an error. Raises PairError where nothing can be made of the files.
        """


def results_of(settings: Settings, values: Mapping[str, str]) -> Results:
    """Make what reads the results that the suite declares; ``values`` fill the templates."""
    declared = program_of(settings).results
    if declared.get("metrics"):
        return MetricsResults(declared["metrics"])
    if declared.get("files"):
        return FileResults(declared["files"], values)
    return TableResults(settings)


def _ending(template: str) -> str:
    """Give what comes behind the last placeholder: it alone is known of names that nobody can know yet."""
    return template.rpartition("}")[2] if "}" in template else template


def matching(pattern: str) -> list[Path]:
    return [Path(path) for path in sorted(glob.glob(pattern))] if pattern else []  # noqa: PTH207 - absolute


def is_older(path: Path, began: float) -> bool:
    """Say whether a file was left by somebody before: its content may be changed back in time, its inode not."""
    try:
        return path.stat().st_ctime < began - TICK_SECONDS
    except OSError:
        return False


def make_room(pattern: str, began: float) -> None:
    """Remove what a program wrote since it ``began``, before it writes again; what lay there before becomes stale."""
    for path in matching(pattern):
        if is_older(path, began):
            path.replace(path.with_name(path.name + STALE))
        else:
            path.unlink(missing_ok=True)


def located(template: str, values: Mapping[str, str]) -> str:
    """Make a glob of a template: relative to the output directory, and only what the user wrote is magic."""
    safe = {name: glob.escape(value) for name, value in values.items()} if glob.has_magic(template) else dict(values)
    text = fill(template, safe)
    if glob.has_magic(template):
        return os.path.join(glob.escape(values["output"]), text)  # noqa: PTH118 - a pattern
    return glob.escape(os.path.join(values["output"], text))  # noqa: PTH118 - as above


class TableResults:
    """Tables, CSV or JSON lines, with one row a sample, or any number."""

    keeps = True

    def __init__(self, settings: Settings) -> None:
        own = program_of(settings)
        self.kind = "csv" if own.results.get("csv") else "jsonl"
        self.template = own.results[self.kind]
        self.id_column = own.results.get("id_column") or settings.id_column or "id"
        self.column = own.results.get("prediction")
        self.any = own.rows == "any"
        self.began = 0.0

    @property
    def counted(self) -> Counted:
        return Counted("lines", _ending(self.template), header=self.kind == "csv")

    def pattern(self, values: Mapping[str, str]) -> str:
        return located(self.template, values)

    def answers(self, files: Sequence[Path], samples: Samples, *, whole: bool, strict: bool) -> Iterator[Answer]:
        tables = [TABLES[self.kind](file, self.id_column, whole) for file in files]
        placed = place(tables, lambda: (sample.id for sample in samples()), strict=strict)
        following = next(placed, None)
        where = ", ".join(str(file) for file in files)
        torn = "".join(f"; {table.torn}" for table in tables if table.torn)
        for position, sample in enumerate(samples()):
            rows: list[TableRow] = []
            if following is not None and following.position == position:
                rows, following = following.rows, next(placed, None)
            if rows or whole:
                yield self._answer(sample, rows, where, torn)

    def _answer(self, sample: Sample, rows: list[TableRow], where: str, torn: str) -> Answer:
        wrong = next((row for row in rows if row.id != sample.id), None)
        if wrong is not None:  # somebody wrote into the file while it was read
            return Answer(sample, None, f"{where}: the row of {wrong.id!r} cannot be told from that of {sample.id!r}")
        if not self.any and len(rows) != 1:
            count = f"{len(rows)} rows" if rows else "no row"
            return Answer(sample, None, f"{where}: {count} of sample {sample.id}{torn if not rows else ''}")
        try:
            predictions = [self._prediction(row) for row in rows]
        except ValueError as error:
            line = f":{rows[0].line}" if rows[0].line else ""  # unknown where a row was sought by its offset
            return Answer(sample, None, f"{where}{line}: sample {sample.id}: {error}")
        return Answer(sample, predictions if self.any else predictions[0], rows=rows)

    def _prediction(self, row: TableRow) -> Any:
        """Pick the prediction from a row. Raises ValueError for a number that is none."""
        if self.column is None:
            return {name: value for name, value in row.values.items() if name != self.id_column}
        if self.column not in row.values:
            columns = ", ".join(row.values)
            raise PairError(f"results.prediction: no column {self.column!r}; columns: {columns}")
        value = row.values[self.column]
        if (self.kind == "csv" and value in _NOT_FINITE) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"the program answered {value}")
        return value


class FileResults:
    """A file a sample, in the output directory, found by the sample's name."""

    keeps = False

    def __init__(self, template: str, values: Mapping[str, str]) -> None:
        self.template = template
        self.values = dict(values)
        self.directory = Path(values["output"])
        self.began = 0.0

    @property
    def counted(self) -> Counted:
        return Counted("files", _ending(self.template), str(PurePath(self.template).parent))

    def pattern(self, values: Mapping[str, str]) -> str:  # noqa: ARG002 - known by the samples
        return ""

    def path(self, sample: Sample) -> Path:
        """Name the sample's file. Raises PairError where its name leads out of the output directory."""
        names = {"id": sample.id, "stem": os.path.splitext(sample.id)[0]}  # noqa: PTH122 - an id
        path = Path(os.path.normpath(self.directory / fill(self.template, self.values | names)))
        if not path.is_relative_to(self.directory):
            raise PairError(f"results.files: {path} lies outside the output directory {self.directory}")
        return path

    def answers(self, files: Sequence[Path], samples: Samples, *, whole: bool, strict: bool) -> Iterator[Answer]:  # noqa: ARG002
        for sample in samples():
            path = self.path(sample)
            if path.is_file() and not is_older(path, self.began):
                yield Answer(sample, path)
            elif whole:
                yield Answer(sample, None, f"sample {sample.id}: the program wrote no file {path}")


class MetricsResults:
    """A JSON object of numbers: the program has scored by itself, and says nothing of single samples."""

    keeps = False
    counted = Counted("")

    def __init__(self, template: str) -> None:
        self.template = template
        self.began = 0.0

    def pattern(self, values: Mapping[str, str]) -> str:
        return located(self.template, values)

    def answers(self, files: Sequence[Path], samples: Samples, *, whole: bool, strict: bool) -> Iterator[Answer]:  # noqa: ARG002
        """Name the file as the answer of the first sample, so that it is as safe as a prediction."""
        if len(files) != 1:
            raise PairError(f"results.metrics: {self.template!r} fits {len(files)} files; it must be one")
        read_metrics(files[0])
        for place_, sample in enumerate(samples()):
            yield Answer(sample, files[0] if place_ == 0 else None)


def read_metrics(path: Path) -> dict[str, dict[str, Any]]:
    """Read name → value, better, and what else the file says. Raises PairError where it holds no numbers."""
    try:
        values = parse_json(read_file(path))
    except (OSError, ValueError) as error:
        raise PairError(f"{path}: no metrics: {error}") from None
    if not isinstance(values, dict) or not values:
        raise PairError(f'{path}: found no metric; accepted: an object such as {{"psnr": 31.5}}')
    return {str(name): _metric(path, name, value) for name, value in values.items()}


def _metric(path: Path, name: str, value: Any) -> dict[str, Any]:
    given = value if isinstance(value, dict) else {"value": value}
    number, better = given.get("value"), given.get("better", "higher")
    if not _is_finite(number):
        raise PairError(f"{path}: metric {name}: found {number!r}; accepted: a finite number, or one under `value`")
    if better not in ("higher", "lower"):
        raise PairError(f"{path}: metric {name}: better is {better!r}; accepted: higher, lower")
    others = {key: given[key] for key in ("n", "low", "high") if key in given}
    for key, other in others.items():
        if not _is_finite(other):
            raise PairError(f"{path}: metric {name}: {key} is {other!r}; accepted: a finite number")
    return {"value": float(number), "better": better} | others


def _is_finite(value: Any) -> TypeGuard[float]:
    """Say whether a float can hold it, which not every whole number of JSON is."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


class KeptRows:
    """A copy of rows that were accepted, for whoever puts the files of all ranges together."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self._kind = kind
        self._aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._aside.open("w", encoding="utf-8", newline="")
        self._writer: Any = None

    def add(self, rows: Sequence[TableRow]) -> None:
        for row in rows:
            if self._kind == "jsonl":
                self._file.write(json.dumps(row.values, ensure_ascii=False) + "\n")
                continue
            if self._writer is None:
                self._writer = csv.DictWriter(
                    self._file, list(row.values), restval="", extrasaction="ignore", lineterminator="\n"
                )
                self._writer.writeheader()
            self._writer.writerow(row.values)

    def close(self) -> Path:
        self._file.close()
        self._aside.replace(self.path)
        return self.path

    def drop(self) -> None:
        self._file.close()
        self._aside.unlink(missing_ok=True)
