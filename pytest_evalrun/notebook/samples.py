"""The samples of a pair as a DataFrame: predictions and scores side by side, and what was asked."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pytest_evalrun.notebook.columns import INPUT, JUDGED, SAMPLES, SCORE
from pytest_evalrun.notebook.frames import frame_of
from pytest_evalrun.report.records import JudgesWords, judges_in
from pytest_evalrun.report.samplecolumns import SampleColumns, read_columns
from pytest_evalrun.suite.answering import TAKEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pandas as pd

    from pytest_evalrun.report.rows import SummaryRow
    from pytest_evalrun.report.sampleinputs import Inputs
    from pytest_evalrun.rundir.layout import PairPaths

# What scores say beside the scores themselves.
OF_SCORES = ("answer", "no_answer")
JSON_TYPES = frozenset({str, int, float, bool, list, dict, type(None)})


def samples_of(
    files: PairPaths, row: SummaryRow | None, inputs: Inputs, problems: list[str], *, live: bool
) -> pd.DataFrame:
    """Make a row of each answer of a pair, in dataset order; no rows where nothing was predicted yet.

    ``row`` is the pair's result, whose metrics come first among the scores. What cannot be read is told in
    ``problems``; the end of a file that a living session is writing is none.
    """
    lines = _read(files.predictions, problems, live=live)
    scored = _read(files.scores, problems, live=live).beside(lines)
    values = {column.name: (scored if column.name in OF_SCORES else lines).of(column.name) for column in SAMPLES}
    more = {
        SCORE: _scores(scored, row.metrics if row else ()),
        JUDGED: _judged(lines, files, row.fingerprint) if row else {},
        INPUT: _asked(lines, inputs) if len(lines) else {},
    }
    columns = [column._replace(name=name) for column, found in more.items() for name in found]
    return frame_of([*SAMPLES, *columns], values | more[SCORE] | more[JUDGED] | more[INPUT])


def _read(path: Path, problems: list[str], *, live: bool) -> SampleColumns:
    try:
        found = read_columns(path)
    except FileNotFoundError:
        return SampleColumns()
    except OSError as error:
        problems.append(f"{path}: {error.strerror}; the rest is shown")
        return SampleColumns()
    broken = [*found.broken, *(["its end is torn"] if found.torn and not live else [])]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        problems.append(f"{path}: {broken[0]}{more}; the rest is shown")
    return found


def _scores(scored: SampleColumns, metrics: Iterable[str]) -> dict[str, list[Any]]:
    ordered = dict.fromkeys([*(name for name in metrics if name in scored.values), *scored.values])
    return {f"score.{name}": scored.of(name) for name in ordered if name not in TAKEN}


def _judged(lines: SampleColumns, files: PairPaths, fingerprint: Mapping[str, Any]) -> dict[str, list[Any]]:
    judges = judges_in(fingerprint)
    told = JudgesWords(files, fingerprint)
    said = [told.of({"index": index, "generation": generation}) for index, generation in lines.places() if judges]
    return {f"judge.{name}": [words.get(name) for words in said] for name in judges}


def _asked(lines: SampleColumns, inputs: Inputs) -> dict[str, list[Any]]:
    """Column → what was asked of each line; no columns where nobody knows any more."""
    if inputs.samples is None:
        return {}
    asked = ({"index": index, "id": name} for index, name in zip(lines.of("index"), lines.of("id"), strict=True))
    found = inputs.parted([value for _, value in inputs.paired(asked, lambda line: line)])
    return {name if name == "input" else f"input.{name}": _plain(column) for name, column in found.items()}


def _plain(values: list[Any]) -> list[Any]:
    """A path as text; what is no value of JSON, an image's pixels say, by the name of its type."""
    return values if {*map(type, values)} <= JSON_TYPES else list(map(_plainly, values))


def _plainly(value: Any) -> Any:
    if type(value) in JSON_TYPES:
        return value
    return str(value) if isinstance(value, PurePath) else f"<{type(value).__name__}>"
