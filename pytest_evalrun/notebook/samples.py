"""The samples of a pair as a DataFrame: predictions and scores side by side, and what was asked."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pytest_evalrun.notebook.columns import INPUT, JUDGED, SAMPLES, SCORE
from pytest_evalrun.notebook.frames import frame_of
from pytest_evalrun.report.records import NO_SCORES, JudgesWords, judges_in
from pytest_evalrun.report.samplelines import AllLines, all_lines, answer_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from pytest_evalrun.report.rows import SummaryRow
    from pytest_evalrun.report.samplelines import Inputs
    from pytest_evalrun.rundir.layout import PairPaths

# What scores say beside the scores themselves.
OF_SCORES = ("answer", "no_answer")
NOTHING: dict[str, Any] = {}


def samples_of(
    files: PairPaths, row: SummaryRow | None, inputs: Inputs, problems: list[str], *, live: bool
) -> pd.DataFrame:
    """Make a row of each answer of a pair, in dataset order; no rows where nothing was predicted yet.

    ``row`` is the pair's result, whose metrics come first among the scores. What cannot be read is told in
    ``problems``; the end of a file that a living session is writing is none.
    """
    lines = _read(files.predictions, problems, live=live)
    scored = _beside(lines, _read(files.scores, problems, live=live))
    values: dict[str, Sequence[Any]] = {
        column.name: [line.get(column.name) for line in (scored if column.name in OF_SCORES else lines)]
        for column in SAMPLES
    }
    more = {
        SCORE: _scores(scored, row.metrics if row else ()),
        JUDGED: _judged(lines, files, row.fingerprint) if row else {},
        INPUT: _asked(lines, inputs) if lines else {},
    }
    columns = [column._replace(name=name) for column, found in more.items() for name in found]
    return frame_of([*SAMPLES, *columns], values | more[SCORE] | more[JUDGED] | more[INPUT])


def _scores(scored: list[dict[str, Any]], metrics: Iterable[str]) -> dict[str, list[Any]]:
    named = dict.fromkeys(name for line in scored for name in line if name not in NO_SCORES)
    ordered = dict.fromkeys([*(name for name in metrics if name in named), *named])
    return {f"score.{name}": [line.get(name) for line in scored] for name in ordered}


def _judged(lines: list[dict[str, Any]], files: PairPaths, fingerprint: Mapping[str, Any]) -> dict[str, list[Any]]:
    judges = judges_in(fingerprint)
    said = list(map(JudgesWords(files, fingerprint).of, lines)) if judges else []
    return {f"judge.{name}": [words.get(name) for words in said] for name in judges}


def _read(path: Path, problems: list[str], *, live: bool) -> list[dict[str, Any]]:
    try:
        found = all_lines(path)
    except FileNotFoundError:
        found = AllLines([])
    except OSError as error:
        found = AllLines([], [f"it cannot be read: {error.strerror}"])
    broken = [*found.broken, *(["its end is torn"] if found.torn and not live else [])]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        problems.append(f"{path}: {broken[0]}{more}; the rest is shown")
    return found.lines


def _beside(lines: list[dict[str, Any]], scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each line what was scored of its answer; nothing where that was not."""
    places, scored = list(map(answer_of, lines)), list(map(answer_of, scores))
    if places == scored:
        return scores
    found = dict(zip(scored, scores, strict=True))
    return [found.get(place, NOTHING) for place in places]


def _asked(lines: list[dict[str, Any]], inputs: Inputs) -> dict[str, list[Any]]:
    """Column → what was asked of each line; no columns where nobody knows any more."""
    if inputs.samples is None:
        return {}
    parts = [inputs.parts(value) for _, value in inputs.paired(lines, lambda line: line)]
    names = dict.fromkeys(name for found in parts for name in found)
    return {
        name if name == "input" else f"input.{name}": [_plain(found.get(name)) for found in parts] for name in names
    }


def _plain(value: Any) -> Any:
    """A path as text; what is no value of JSON, an image's pixels say, by the name of its type."""
    if value is None or isinstance(value, str | int | float | list | dict):
        return value
    return str(value) if isinstance(value, PurePath) else f"<{type(value).__name__}>"
