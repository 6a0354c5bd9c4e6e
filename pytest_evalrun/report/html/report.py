"""``summary/report.html``: made of the fragments of all pairs, within its budget, and only where something changed."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from pytest_evalrun.report.commands import command_line
from pytest_evalrun.report.html.budget import PairRoom, shares_of
from pytest_evalrun.report.html.details import anchor_of
from pytest_evalrun.report.html.fragments import VERSION, Fragments, SampleSource, earlier_runs
from pytest_evalrun.report.html.page import (
    PROBLEMS,
    PageFacts,
    PairFacts,
    detail_json,
    left_out_lines,
    page_of,
)
from pytest_evalrun.report.html.past import past_of, read_past
from pytest_evalrun.report.verdict import verdict_of
from pytest_evalrun.rundir.durable import Replacement
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.lines import encoded, open_file, utc_time
from pytest_evalrun.rundir.results import read_result
from pytest_evalrun.rundir.sessions import read_session
from pytest_evalrun.suite.printable import counted, first_of
from pytest_evalrun.suite.secrets import NO_SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.report.html.fragments import Fragment, KnownOrigin
    from pytest_evalrun.report.html.model import Page
    from pytest_evalrun.report.rows import Summary, SummaryRow
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import PairKey
    from pytest_evalrun.suite.secrets import Secrets

# The whole page.
BUDGET = 20_000_000
# What the page takes beside the details: of itself, of a pair, and of a cell of a matrix.
FRAME, OF_A_PAIR, OF_A_CELL = 200_000, 700, 900
# So much of all fragments is kept in memory between looking at them and writing them.
IN_MEMORY = 64_000_000
PIECES = 2_000


@dataclass(frozen=True)
class ReportAsked:
    """What is to be made: ``against`` is the run to compare with, None for the one before.

    ``origin`` tells of a row where its samples come from.
    """

    paths: RunPaths
    summary: Summary
    against: RunPaths | None = None
    origin: Callable[[SummaryRow], KnownOrigin | None] = field(default=lambda _: None)
    secrets: Secrets = NO_SECRETS
    budget: int = BUDGET


def write_report(asked: ReportAsked, *, always: bool = False) -> Path:
    """Make the page where a result changed since it was made, or ``always``; its path.

    Raises OSError where it cannot be read or written.
    """
    path = asked.paths.report
    earlier = [asked.against] if asked.against is not None else earlier_runs(asked.paths)
    signature = signature_of(asked, earlier)
    if always or _signature_in(path) != signature:
        _Making(asked, earlier).write(path, signature)
    return path


def page_now(asked: ReportAsked) -> tuple[Page, Mapping[PairKey, PairFacts]]:
    """The page of a run as it stands, and what is known of each pair: for who shows it otherwise."""
    earlier = [asked.against] if asked.against is not None else earlier_runs(asked.paths)
    making = _Making(asked, earlier)
    return making.page(()), making.facts


def signature_of(asked: ReportAsked, earlier: Sequence[RunPaths]) -> str:
    """A digest of all that the page depends on: results by size and time, and how they stand in this summary."""
    digest = hashlib.blake2s(f"{VERSION} {asked.budget} {earlier[0].root if earlier else ''}".encode(errors="replace"))
    digest.update(f"{verdict_of(asked.summary).line}\n".encode(errors="replace"))  # of pairs without a result, too
    root = os.fspath(asked.paths.results)
    for row in asked.summary.present:
        suite, task, dataset = row.key
        try:
            stat = os.stat(f"{root}/{suite}/{task}/{dataset}.json")  # noqa: PTH116 - of 10,000 pairs
            facts = f"{stat.st_size} {stat.st_mtime_ns}"
        except OSError:
            facts = "-"
        digest.update(f"{row.full_id} {row.status} {row.error} {row.skipped} {facts}\n".encode(errors="replace"))
    return f"\n<!-- {digest.hexdigest()} -->\n"


def _signature_in(path: Path) -> str | None:
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - 75))
            return file.read().decode(errors="replace")[-75:]
    except OSError:
        return None


class _Making:
    """The page on its way: what is known of each pair, how much of it there is room for, and the file."""

    def __init__(self, asked: ReportAsked, earlier: Sequence[RunPaths]) -> None:
        self._asked = asked
        self._fragments = Fragments(asked.paths, earlier, asked.secrets)
        self._rows = list(asked.summary.present)
        self._wanted: dict[PairKey, PairRoom] = {}
        self.facts: dict[PairKey, PairFacts] = {}
        self._untold: list[str] = []
        self._look()

    def _look(self) -> None:
        history = read_past(WorkDir(self._asked.paths.root.parent).history, {row.pair for row in self._rows})
        kept = 0
        for row in self._rows:
            fragment = self._fragment(row)
            samples = 0
            if fragment is not None:
                samples = sum(map(len, fragment.samples)) + len(fragment.samples)
                kept += samples
                fragment = fragment if kept <= IN_MEMORY else fragment.without_samples()
            detail = len(fragment.detail) if fragment is not None else 0
            self._wanted[row.key] = PairRoom(detail, samples, row.status in PROBLEMS)
            self.facts[row.key] = PairFacts(past_of(row, history.get(row.pair, ())), fragment)

    def _fragment(self, row: SummaryRow) -> Fragment | None:
        """As it lies there, or made anew; None where that cannot be."""
        files = self._asked.paths.pair(row.key)
        fragment = self._fragments.read(files)
        if fragment is None and (result := read_result(files.result)) is not None:
            try:
                origin = self._asked.origin(row)
                # What is made without inputs is not kept: whoever knows these makes it with them.
                whole = origin is None or origin.is_whole
                make = self._fragments.make if whole else self._fragments.fresh
                fragment = make(files, result, SampleSource.of(origin))
            except Exception:  # noqa: BLE001 - of one pair, for whatever reason: the page tells of all others
                self._untold.append(row.full_id)
        return fragment

    def page(self, left_out: Sequence[str]) -> Page:
        asked = self._asked
        session = read_session(asked.paths)
        against = Counter(f.fragment.against for f in self.facts.values() if f.fragment and f.fragment.against)
        about = PageFacts(
            run=asked.paths.root.name,
            made=utc_time(timespec="seconds"),
            command=asked.secrets.blank(command_line(session.argv)) if session is not None else "",
            against=against.most_common(1)[0][0] if against else None,
            left_out=tuple(left_out),
        )
        return page_of(asked.summary, about, self.facts)

    def write(self, path: Path, signature: str) -> None:
        """In one step. Where the page is larger than was thought, the details get less."""
        signature = "" if self._untold else signature  # so that the next time it is tried again
        room = self._asked.budget - self._frame()
        for last in (False, False, True):
            size = self._try(path, signature, max(0, room), last=last)
            if size <= self._asked.budget:
                return
            room -= size - self._asked.budget

    def _frame(self) -> int:
        cells = sum(len(row.metrics) for row in self._rows)
        return FRAME + OF_A_PAIR * len(self._rows) + OF_A_CELL * cells

    def _try(self, path: Path, signature: str, room: int, *, last: bool) -> int:
        """The size of a page with so much room for details, kept unless it is too large; the ``last`` is anyhow."""
        from pytest_evalrun.report.html.render import render  # Jinja2, which no other summary needs

        shares = shares_of(self._wanted, room)
        size, file = 0, Replacement(os.fspath(path))
        try:
            for piece in _larger(render(self.page(tuple(self._left_out(shares))), self._details(shares))):
                file.write(piece)
                size += len(piece)
            file.write(signature)
            size += len(signature)
            if last or size <= self._asked.budget:
                file.put()
        finally:
            file.drop()
        return size

    def _details(self, shares: Mapping[PairKey, int | None]) -> Iterator[tuple[str, str]]:
        for row in self._rows:
            facts, share = self.facts[row.key], shares[row.key]
            fragment = facts.fragment
            if fragment is not None and share and not fragment.samples:  # those that were not kept in memory
                fragment = self._fragments.read(self._asked.paths.pair(row.key)) or fragment
            samples = None if share is None else fragment.kept(share) if fragment is not None else []
            yield anchor_of(row.key), detail_json(row, facts, samples).decode()

    def _left_out(self, shares: Mapping[PairKey, int | None]) -> Iterator[str]:
        without = [row.full_id for row in self._rows if shares[row.key] is None]
        fewer = 0
        for row in self._rows:
            fragment, share = self.facts[row.key].fragment, shares[row.key]
            if fragment is not None and share is not None:
                fewer += fragment.total > len(fragment.order) or share < self._wanted[row.key].samples
        problems = sum(row.status in PROBLEMS for row in self._rows)
        yield from left_out_lines(fewer, without, problems)
        if self._untold:
            yield f"{counted(len(self._untold), 'pair')} whose details could not be made: {first_of(self._untold, 5)}"


def _larger(pieces: Iterable[str]) -> Iterator[bytes]:
    """The same in pieces that are worth a call."""
    coming = iter(pieces)
    while some := list(islice(coming, PIECES)):
        yield encoded("".join(some))
