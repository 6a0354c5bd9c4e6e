"""What OpenCompass' summariser writes of the results of models and datasets: text, CSV and Markdown, to the byte."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# These come first, in this order; others as they come.
METRICS = (
    "score", "auc_score", "accuracy", "humaneval_pass@1", "rouge1", "avg_toxicity_score", "bleurt_diff",
    "matthews_correlation", "truth", "f1", "exact_match", "extract_rate",
)  # fmt: skip
HEADER = ("dataset", "version", "metric", "mode")
# How models are asked: all of ours answer, none is asked how probable a text is.
MODE = "gen"
NOTHING = "-"
_WIDE = 128
_DIVIDER = f"{'-' * _WIDE} THIS IS A DIVIDER {'-' * _WIDE}"
_MODEL = "-" * 31
# Between columns, and what a column is wider than its header.
_GAP, _MORE = "  ", 2


@dataclass(frozen=True)
class Summarised:
    """The result of a model on a dataset: metric → number, or ``error`` → why there is none."""

    model: str
    dataset: str
    version: str | None
    result: Mapping[str, Any]

    @property
    def metrics(self) -> list[str]:
        """Its metrics in the summariser's order; none of what has an error."""
        return [] if "error" in self.result else sorted(self.result, key=_place)


def summary_files(found: Sequence[Summarised], time: str) -> tuple[str, str, str]:
    """The texts of ``summary_{time}.txt``, ``.csv`` and ``.md``."""
    table = summary_table(found)
    marks = markdown_table(table)
    text = "\n".join(
        [
            time,
            *_framed("tabulate", tabulated(table)), "", _DIVIDER, "",
            *_framed("csv", "\n".join(",".join(row) for row in table)), "",
            *_framed("markdown", marks), _DIVIDER, "",
            *_framed("raw", _raw(found)), "",
        ]
    )  # fmt: skip
    plain = "".join(",".join(cell.replace(",", " ") for cell in row) + "\n" for row in table)
    return text, plain, marks


def summary_table(found: Sequence[Summarised]) -> list[list[str]]:
    """The header, and a row a dataset and metric; a dataset without any has a row of its own."""
    models = list(dict.fromkeys(one.model for one in found))
    datasets = list(dict.fromkeys(one.dataset for one in found))
    results = {(one.model, one.dataset): one for one in found}
    table = [[*HEADER, *models]]
    for dataset in datasets:
        of_it = [results[model, dataset] for model in models if (model, dataset) in results]
        metrics = sorted(dict.fromkeys(name for one in of_it for name in one.metrics), key=_place)
        version = _common(one.version for one in of_it)
        for metric in metrics:
            cells = [_cell(results.get((model, dataset)), metric) for model in models]
            table.append([dataset, version, metric, MODE, *cells])
        if not metrics:
            table.append([dataset, *[NOTHING] * (len(HEADER) - 1 + len(models))])
    return table


def _place(metric: str) -> int:
    return METRICS.index(metric) if metric in METRICS else len(METRICS)


def _common(versions: Iterable[str | None]) -> str:
    """The version of a dataset; of several none is that of all."""
    found = set(versions)
    return (found.pop() or NOTHING) if len(found) == 1 else NOTHING


def _cell(one: Summarised | None, metric: str) -> str:
    value = None if one is None else one.result.get(metric)
    return NOTHING if value is None else f"{value:.02f}"


def _framed(name: str, text: str) -> list[str]:
    return [f"{name} format", "^" * _WIDE, text, "$" * _WIDE]


def markdown_table(table: Sequence[Sequence[str]]) -> str:
    """Each line with its end."""
    head, *rows = ("| " + " | ".join(row) + " |\n" for row in table)
    return head + "|" + " | ".join(["-----"] * len(table[0])) + "|\n" + "".join(rows)


def _raw(found: Sequence[Summarised]) -> str:
    datasets = list(dict.fromkeys(one.dataset for one in found))
    results = {(one.model, one.dataset): dict(one.result) for one in found}
    lines = []
    for model in dict.fromkeys(one.model for one in found):
        lines += [_MODEL, f"Model: {model}"]
        lines += [f"{dataset}: {results.get((model, dataset), {})}" for dataset in datasets]
    return "\n".join(lines)


def tabulated(table: Sequence[Sequence[str]]) -> str:
    """The table as ``tabulate(table, headers="firstrow", floatfmt=".2f")`` writes it, of the library of that name.

    A column of numbers alone is set to the right, one of which any has a fraction with two digits behind the point.
    """
    columns = [_column(cells) for cells in zip(*table, strict=True)]
    head, *rows = zip(*columns, strict=True)
    rule = _GAP.join("-" * len(cell) for cell in head)
    return "\n".join([_GAP.join(head).rstrip(), rule, *(_GAP.join(row).rstrip() for row in rows)])


def _column(cells: Sequence[str]) -> list[str]:
    header, *values = cells
    values = [value.strip() for value in values]
    numbers = bool(values) and all(map(_is_number, values))
    if numbers and not all(map(_is_whole, values)):
        values = [format(float(value), ".2f") for value in values]
        fractions = any("." in value for value in values)
        # Points stand below each other; what has none, as nan, ends before them.
        values = [value if "." in value or not fractions else f"{value}   " for value in values]
    width = max(len(header) + _MORE, *map(len, values)) if values else len(header) + _MORE
    return [cell.rjust(width) if numbers else cell.ljust(width) for cell in (header, *values)]


def _is_whole(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) or text.lower() in {"inf", "-inf", "nan"}
