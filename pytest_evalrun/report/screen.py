"""The output of the command: lines, tables, JSON, and words beside them; all of it is safe to show."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.text import columns
from pytest_evalrun.suite.printable import one_line, printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to whoever reads the output, a terminal or a pipe."""
    for line in lines:
        sys.stdout.write(f"{one_line(line)}\n")
    sys.stdout.flush()  # a line on stderr must not come before it


def warn(lines: Iterable[str]) -> None:
    """Write lines beside the output, so that programs can read that alone."""
    for line in lines:
        sys.stderr.write(f"{printable(line)}\n")


def print_json(value: Any) -> None:
    """Write a value for programs, and for whoever looks at it."""
    sys.stdout.write(f"{printable_json(value)}\n")
    sys.stdout.flush()


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table that folds on a terminal; aligned plain text, nothing folded, into a pipe."""
    if not sys.stdout.isatty():
        print_lines(columns([header, *rows]))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))  # Text: names are no markup
    Console().print(table)
