"""List what will go, and ask."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_evalrun.report.screen import print_lines
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 40


def agreed(lines: Sequence[str], what: str, *, yes: bool, dry_run: bool) -> bool:
    """Ask whether to do it: true where there is something to do, and somebody said so."""
    most = len(lines) if dry_run or len(lines) <= SHOWN else SHOWN
    print_lines(lines[:most])
    if most < len(lines):
        print_lines([f"… and {len(lines) - most} more; --dry-run lists all"])
    if not lines:
        print_lines(["nothing to do"])
    if not lines or dry_run:
        return False
    return yes or _says_yes(what)


def _says_yes(what: str) -> bool:
    """Nobody at the keyboard is no consent."""
    sys.stdout.write(one_line(f"{what}? [y/N] "))
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not (answer and sys.stdin.isatty()):  # no Enter key has ended the line
        print_lines([""])
    if answer.strip().lower() in ("y", "yes"):
        return True
    print_lines(["nothing was changed" if answer else "nobody answered, nothing was changed; --yes does not ask"])
    return False
