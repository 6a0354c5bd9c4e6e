"""Saved baselines: ``baselines/NAME/<suite>/<task>/<dataset>.jsonl``: a head and a line a sample, to be committed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_evalrun.comparison.side import SampleScores, Side
from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.suite.jsontext import parse_line
from pytest_evalrun.suite.pairs import PairKey
from pytest_evalrun.suite.problems import LONGEST_SHOWN, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DIRECTORY = "baselines"
ENDING = ".jsonl"
FORMAT = 1
# All of a baseline together; what is committed is cloned by everybody.
MOST_BYTES = 20_000_000
MOST_NAMED = 5
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
# What is asked of the head's parts, in JSON's words.
_KINDS = {str: "a text", int: "a whole number", list: "a list", dict: "an object"}
# What stands in the place of a file that nobody has fetched.
_POINTER = b"version https://git-lfs"
# Of these it says how each was when it was saved.
_TEXTS = ("pair", "run", "time")


def is_baseline_name(name: str) -> bool:
    """Letters, digits, and ``. _ -`` behind the first of them; ``latest`` is always a run."""
    return name != "latest" and _NAME.fullmatch(name) is not None


def baseline_places(root: Path) -> Iterator[Path]:
    """The directories called ``baselines`` from a suite's directory upwards, the nearest first.

    Up to the repository's root (where ``.git`` is), and never one that others may write to.
    """
    return (place for place in _places(root) if is_ours(place))


def _places(root: Path) -> Iterator[Path]:
    start = Path(os.path.abspath(root))  # noqa: PTH100 - the directories above it as people see them
    for directory in (start, *start.parents):
        if (directory / DIRECTORY).is_dir():
            yield directory / DIRECTORY
        if os.path.lexists(directory / ".git"):
            return


def is_ours(place: Path) -> bool:
    """Tell whether nobody else may put something there: in ``/tmp`` everybody may make a directory of this name."""
    info, above = place.stat(), place.parent.stat()
    mine = info.st_uid == os.geteuid()
    if above.st_mode & 0o002 and not mine:
        return False
    return not info.st_mode & 0o022 or (mine and not info.st_mode & 0o002)


def file_among(directories: Sequence[Path], name: str, key: PairKey) -> Path | None:
    """The file of a pair in the baseline ``name``; None where no baseline of that name is there at all.

    ``directories`` are those of :func:`directories_of`. Evaluations of first samples have that of their whole pair.
    Raises PairError where there are two of one name, or it has no such pair: some that it has are named.
    """
    files = [file for directory in directories if (file := file_in(directory, key)).is_file()]
    if len(files) > 1:
        names = " and ".join(shown(str(file)) for file in files)
        raise PairError(f"baseline {name}: there are two of it: {names}; remove one, or save it under another name")
    if directories and not files:
        raise _without(directories, name, key)
    for file in files:
        check_inside(file)
    return files[0] if files else None


def _without(directories: Sequence[Path], name: str, key: PairKey) -> PairError:
    """The error of a baseline that lacks a pair. There may be 10,000 of both: no more is listed than is told."""
    for file in (file_in(directory, key) for directory in directories):
        if os.path.lexists(file):
            return PairError(f"{shown(str(file))}: it is no file; save it again: {save_again(name)}")
    some = ["/".join(pair_of(file)) for file in islice(_files(directories[0]), MOST_NAMED + 1)]
    has = ", ".join(some[:MOST_NAMED]) + (", …" if len(some) > MOST_NAMED else "")
    told = f"{shown(str(directories[0]))} has no {'/'.join(key.full)}; it has: {has or 'nothing'}"
    brief = f"the baseline {name} does not have this pair"
    return PairError(f"baseline {name}: {told}; save it again: {save_again(name)}", brief=brief)


def directories_of(root: Path, name: str) -> list[Path]:
    """The directories of the baseline ``name``, the nearest first; one place may have some pairs, another others.

    Raises PairError where there is none but such that others may write to.
    """
    if not is_baseline_name(name):
        return []
    there = [place / name for place in _places(root) if (place / name).is_dir()]
    ours = [directory for directory in there if is_ours(directory.parent)]
    if there and not ours:
        others = f"{shown(str(there[0].parent))}: others may write to it"
        raise PairError(f"baseline {name}: {others}, so that it is not read; take that from them: chmod go-w")
    return ours


def file_in(directory: Path, key: PairKey) -> Path:
    """The file of a pair in the directory of a baseline."""
    suite, task, dataset = key.full
    return directory / suite / task / f"{dataset}{ENDING}"


def files_in(directory: Path) -> list[Path]:
    """The files of all pairs of a baseline, in the order of their names."""
    return sorted(_files(directory))


def _files(directory: Path) -> Iterator[Path]:
    return (file for file in directory.glob(f"*/*/*{ENDING}") if not file.name.startswith("."))


def pair_of(file: Path) -> tuple[str, str, str]:
    """The safe names of a file's pair."""
    return file.parent.parent.name, file.parent.name, file.name.removesuffix(ENDING)


def check_inside(file: Path) -> None:
    """Raise PairError where links lead from ``baselines/NAME/…`` to elsewhere."""
    place = file.parents[3]
    # Of links in a circle resolve() makes a RuntimeError, realpath a path like any other.
    if not Path(os.path.realpath(file)).is_relative_to(place.parent.resolve() / place.name):
        raise PairError(f"{shown(str(file))}: a link leads out of {shown(str(place))}; accepted: files that lie there")


@dataclass(frozen=True)
class BaselineHead:
    """What the first line of a file says: the run that it was saved from, how many samples follow.

    ``pair`` is whose place the file lies in: who copies it to another pair's has that judged by it, everywhere.
    ``names`` are the metrics of the scores in a line, ``statistics`` those of its last part. ``binary`` are metrics
    whose value is the mean of scores that are all 0 or 1; None where the head does not say.
    """

    file: Path
    pair: str
    run: str
    time: str
    samples: int
    metrics: Mapping[str, Mapping[str, Any]]
    scoring: Mapping[str, Any]
    names: Sequence[str]
    statistics: Sequence[str]
    binary: Sequence[str] | None = None


def read_head(file: Path) -> BaselineHead:
    """Read the first line alone. Raises PairError as :func:`read_baseline` does."""
    raw = _first_line(file)
    if not raw:
        _refuse(file, 1, "the file is empty")
    if raw.startswith(_POINTER):
        _refuse(file, 1, "found a pointer of Git LFS; fetch the file itself with `git lfs pull`")
    try:
        values = parse_line(raw)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        _refuse(file, 1, f"found {_cut(raw)}, expected the head of a baseline")
    version = values.get("format")
    if version != FORMAT:
        newer = type(version) is int and version > FORMAT
        _refuse(
            file, 1, f"format: found {version!r}, accepted: {FORMAT}{'; a newer version wrote it' if newer else ''}"
        )
    return _head(file, values)


def _placed(file: Path, pair: str) -> str:
    """The pair whose place it is: with its own name where the head is of it, else by its safe names."""
    place = pair_of(file)
    return pair if PairKey.of_id(pair) == place else "/".join(place)


def _first_line(file: Path) -> bytes:
    try:
        with open_file(file) as lines:
            size = os.fstat(lines.fileno()).st_size
            if size > MOST_BYTES:
                most = f"accepted: {MOST_BYTES / 1e6:.0f} MB, of all of a baseline together"
                raise PairError(f"{shown(str(file))}: found {size / 1e6:.1f} MB, {most}")
            return lines.readline()
    except OSError as error:
        raise PairError(f"{shown(str(file))}: {error.strerror}; save it again: {_save_over(file)}") from error


def _head(file: Path, values: Mapping[str, Any]) -> BaselineHead:
    parts = [(name, str) for name in _TEXTS] + [("samples", int), ("metrics", dict), ("scoring", dict)]
    for name, kind in (*parts, ("names", list), ("statistics", list)):
        if type(values.get(name)) is not kind:
            _refuse(file, 1, f"{name}: found {_cut(values.get(name))}, expected {_KINDS[kind]}")
    for name, metric in values["metrics"].items():
        value = metric.get("value") if isinstance(metric, dict) else None
        bounds = metric.get("bounds", [0, 1]) if isinstance(metric, dict) else None
        sound = type(bounds) is list and len(bounds) == 2 and all(map(_is_number, bounds))
        if not _is_number(value) or metric.get("better") not in ("higher", "lower") or not sound:
            _refuse(file, 1, f"metrics: {name}: found {_cut(metric)}, expected a value and which way is better")
    for name in (*values["names"], *values["statistics"]):
        if type(name) is not str or name not in values["metrics"]:
            _refuse(file, 1, f"names: found {_cut(name)}, accepted: those in metrics")
    binary = values.get("binary")
    known = {name: values[name] for name in (*(name for name, _ in parts), "names", "statistics")}
    known["pair"] = _placed(file, values["pair"])
    return BaselineHead(file, **known, binary=binary if isinstance(binary, list) else None)


def read_baseline(file: Path, name: str) -> Side:
    """Raises PairError for what is damaged, empty or of another format: file, line, what was found.

    The head is read at once; of lines below it the rows raise.
    """
    head = read_head(file)
    return Side(name, head.pair, head.metrics, partial(_rows, head), head.scoring, saved=True)


def _rows(head: BaselineHead) -> Iterator[SampleScores]:
    number = 1
    with open_file(head.file) as lines:
        lines.readline()
        for number, raw in enumerate(lines, 2):
            yield _row(head, number, raw)
    if number - 1 != head.samples:
        _refuse(head.file, number, f"the file ends after {number - 1} of {head.samples} samples")


def _row(head: BaselineHead, number: int, raw: bytes) -> SampleScores:
    try:
        name, reference, scores, *more = parse_line(raw)
        cluster, statistics = (*more, None, None)[:2]
        sound = type(name) is type(reference) is str and type(scores) is list and len(more) <= 2
        sound = sound and (statistics is None or type(statistics) is list)
    except (ValueError, TypeError):
        sound = False
    if not sound or len(scores) > len(head.names) or len(statistics or ()) > len(head.statistics):
        _refuse(head.file, number, f"found {_cut(raw)}, expected id, reference and scores of a sample")
    found = {}
    for metric, score in zip(head.names, scores, strict=False):
        if score is None:
            continue
        if not _is_number(score):
            _refuse(head.file, number, f"{metric}: found {_cut(score)}, accepted: finite numbers")
        found[metric] = float(score)
    if not more:
        return SampleScores(name, reference, found)
    told = {metric: row for metric, row in zip(head.statistics, statistics or (), strict=False) if row is not None}
    return SampleScores(name, reference, found, None if cluster is None else str(cluster), told)


def _is_number(found: Any) -> bool:
    try:
        return type(found) in (int, float) and isfinite(found)
    except OverflowError:  # a whole number beyond any float
        return False


def _cut(found: Any) -> str:
    text = found.decode(errors="replace").rstrip("\n") if isinstance(found, bytes) else repr(found)
    text = text or "an empty line"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _refuse(file: Path, line: int, problem: str) -> NoReturn:
    raise PairError(f"{shown(str(file))}:{line}: {problem}; save it again: {_save_over(file)}")


def save_again(name: str) -> str:
    """The command that replaces a baseline that is there: without ``--force`` it would be refused."""
    return f"evalrun baseline save {name} --force"


def _save_over(file: Path) -> str:
    return save_again(file.parents[2].name)
