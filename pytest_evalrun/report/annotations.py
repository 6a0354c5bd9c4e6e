"""What GitHub is told of a job in lines that it looks for: an error for each breached gate, and each that pairs met;
a warning for each gate that is undecided, a notice for each that fails nothing.

A GitLab job needs nothing like it: it shows what JUnit's file says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.suite.printable import counted, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# GitHub shows so many of a kind in a step, and passes over the others without a word.
MOST = 10
# It shows the first lines of a message, and stores no page of it.
LONGEST = 1_000


@dataclass(frozen=True)
class Annotation:
    """``file`` is relative to the repository, empty where it lies outside; ``line`` is None where nobody knows."""

    title: str
    message: str
    file: str = ""
    line: int | None = None

    def render(self, kind: str = "error") -> str:
        """Write it as GitHub reads it: ``::error file=F,line=1,title=T::MESSAGE``."""
        known = {"file": self.file, "line": self.line or "", "title": self.title}
        properties = ",".join(f"{name}={_in_property(str(value))}" for name, value in known.items() if value)
        return f"::{kind} {properties}::{_in_message(self.message)}"


KINDS = {
    "error": ("more breached gate or error", "more breached gates and errors"),
    "warning": ("more undecided gate", "more undecided gates"),
    "notice": ("more advisory gate past its limit", "more advisory gates past their limits"),
}


def annotation_lines(found: Sequence[Annotation], rest: str, kind: str = "error") -> Iterator[str]:
    """At most ``MOST`` of a kind, and a notice of how many there are beside them; ``rest`` says where those are."""
    for annotation in found[:MOST]:
        yield annotation.render(kind)
    if (left := len(found) - MOST) > 0:
        yield Annotation("evalrun", f"{counted(left, *KINDS[kind])}: {rest}").render("notice")


def _in_message(text: str) -> str:
    """A text of one line, cut before it is escaped: a ``%`` or a line end of its own would be read as another's."""
    shown = one_line(text)
    shown = shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _in_property(text: str) -> str:
    return _in_message(text).replace(":", "%3A").replace(",", "%2C")
