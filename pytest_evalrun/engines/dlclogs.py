"""What pods of DLC write, appended to ``job.log`` line by line, and none of them twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MORE = 2_000  # lines that are asked for beyond those that are there
MISSING = "evalrun: lines may be missing here: the log was longer than what the service keeps of it"


def lines_of(entries: Sequence[str]) -> list[str]:
    """Entries of a log as lines; one entry may be several."""
    return [line for entry in entries for line in entry.splitlines() or [""]]


def new_lines(known: Sequence[str], answer: Sequence[str]) -> list[str]:
    """Tell what of an answer is not known yet.

    An answer is the whole log or its beginning, or its end where it has become too long: that is told by its first
    line, and overlaps what is known, or lines were lost between.
    """
    if not known or not answer:
        return [*answer]
    if answer[0] == known[0] and [*answer[: len(known)]] == [*known[: len(answer)]]:
        return [*answer[len(known) :]]
    for length in range(min(len(known), len(answer)), 0, -1):
        if [*known[-length:]] == [*answer[:length]]:
            return [*answer[length:]]
    return [MISSING, *answer]


def append_log(file: Path, answer: Sequence[str]) -> None:
    """Append what a file has not yet. Raises OSError where the disk does not take it."""
    fresh = new_lines(known_lines(file), answer)
    if fresh:
        with file.open("a", encoding="utf-8", errors="replace") as log:
            log.write("".join(f"{line}\n" for line in fresh))


def known_lines(file: Path) -> list[str]:
    """Read what was appended before, whoever did it; a last line that is half there was not."""
    try:
        return file.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
