"""The page of a run as it is served: made again when results changed, once for all who look, and nothing is written."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.monitor.follow import Signature, signature
from pytest_evalrun.monitor.web.watch import RESULTS_INTERVAL
from pytest_evalrun.report.commands import command_line
from pytest_evalrun.report.html.fragments import Fragments, SampleSource, earlier_runs
from pytest_evalrun.report.html.page import PageFacts, PairFacts, detail_json, page_of
from pytest_evalrun.report.html.past import past_of, read_past
from pytest_evalrun.report.html.safejson import safe_json, shown
from pytest_evalrun.report.known import OnDisk, on_disk, suites_of
from pytest_evalrun.report.rows import KnownRows, Summary, read_summary
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.lines import utc_time
from pytest_evalrun.rundir.sessions import read_session
from pytest_evalrun.suite.jsontext import parse_line
from pytest_evalrun.suite.secrets import Secrets, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_evalrun.monitor.web.found import FoundPair
    from pytest_evalrun.report.html.fragments import Fragment, KnownOrigin
    from pytest_evalrun.report.html.model import Page
    from pytest_evalrun.report.rows import SummaryRow
    from pytest_evalrun.rundir.layout import PairPaths, RunPaths
    from pytest_evalrun.suite.discovery import Suite
    from pytest_evalrun.suite.pairs import PairKey

    Origins = Callable[[FoundPair], KnownOrigin | None]

# So many times its own processor time passes before a page is made again for a run that goes on.
PATIENCE = 100
LONGEST_PAUSE = 300.0
# Details that had to be made because no fragment tells them, of the pairs that were looked at last.
MOST_DETAILS = 32
_IN_RUN = "../"


@dataclass(frozen=True)
class MadePage:
    """A page as it is sent, and what browsers may do for it."""

    body: bytes
    policy: str


@dataclass(frozen=True)
class _Launch:
    """What the suites of a run say, as of its last launch."""

    seen: Signature | None
    disk: OnDisk
    secrets: Secrets
    origin: Origins


@dataclass
class _Made:
    """What was made at a moment: the sections for all who watch, the whole for those who come."""

    version: int
    at: float
    page: Page
    sections: bytes
    whole: MadePage | None = None


class ServedPage:
    """Makes the page of a run, and details of its pairs.

    ``origins`` makes what tells where the samples of a pair come from, anew with each launch. ``pause`` is how many
    seconds should pass before the page is made again. For one thread at a time.
    """

    def __init__(self, paths: RunPaths, origins: Callable[[Sequence[Suite]], Origins]) -> None:
        self.pause = RESULTS_INTERVAL
        self._paths = paths
        self._origins = origins
        self._rows = KnownRows()
        self._heads: dict[PairKey, tuple[Signature | None, Fragment | None]] = {}
        self._launch: _Launch | None = None
        self._details: dict[PairKey, tuple[object, Fragment]] = {}
        self._made: _Made | None = None

    def whole(self, base: str, version: int) -> MadePage:
        """The page with script and style; ``version`` as for ``sections``."""
        from pytest_evalrun.report.html.render import LiveConfig, content_policy, render

        made = self._now(version)
        if made.whole is None:
            body = "".join(render(made.page, live=LiveConfig(base)))
            made.whole = MadePage(body.encode("utf-8", "backslashreplace"), content_policy(live=True))
        return made.whole

    def sections(self, version: int) -> bytes:
        """What of the page changes with results; ``version`` is of the results that must be on it."""
        return self._now(version).sections

    def detail(self, pair: FoundPair, base: str) -> bytes:
        """All of a pair but its samples, as JSON; of one without a result what there is of it already."""
        summary = self._summary()
        row = next((row for row in summary.rows if row.key == pair.key), None)
        if row is None or pair.result is None:
            return safe_json(shown(self._beginning(pair, base)))
        found = read_past(WorkDir(self._paths.root.parent).history, {row.pair})
        facts = PairFacts(past_of(row, found.get(row.pair, ())), self._fragment(pair))
        detail = parse_line(detail_json(row, facts, []))
        del detail["samples"]
        detail["note"] = ""
        detail["files"] = [self._linked(file, base) for file in detail["files"]]
        return safe_json(detail)

    def sources(self, pair: FoundPair) -> SampleSource:
        """Where the samples of a pair come from, by its suite as it is today."""
        return SampleSource.of(self._known().origin(pair))

    def secrets(self) -> Secrets:
        """What the suites of the run keep secret: it may stand in what a model said before anybody called it one."""
        return self._known().secrets

    def before(self, pair: FoundPair) -> PairPaths | None:
        """The files of the same pair in the newest earlier run that has a result of it."""
        return self._fragments().before(pair.files)

    def _fragments(self) -> Fragments:
        return Fragments(self._paths, earlier_runs(self._paths), self.secrets())

    def _now(self, version: int) -> _Made:
        """The page as of this version of the results, or a little older than now."""
        from pytest_evalrun.report.html.render import render_sections

        made = self._made
        if made is None or made.version < version or time.monotonic() - made.at >= self.pause:
            started = time.thread_time()
            page = self._make()
            sections = render_sections(page).encode("utf-8", "backslashreplace")
            self.pause = min(LONGEST_PAUSE, max(RESULTS_INTERVAL, PATIENCE * (time.thread_time() - started)))
            made = self._made = _Made(version, time.monotonic(), page, sections)
        return made

    def _make(self) -> Page:
        summary = self._summary()
        rows = summary.present
        history = read_past(WorkDir(self._paths.root.parent).history, {row.pair for row in rows})
        fragments = self._fragments()
        heads = {row.key: self._head(fragments, row) for row in rows}
        facts = {row.key: PairFacts(past_of(row, history.get(row.pair, ())), heads[row.key]) for row in rows}
        against = Counter(head.against for head in heads.values() if head is not None and head.against)
        session = read_session(self._paths)
        about = PageFacts(
            run=self._paths.root.name,
            made=utc_time(timespec="seconds"),
            command=self.secrets().blank(command_line(session.argv)) if session is not None else "",
            against=against.most_common(1)[0][0] if against else None,
        )
        return page_of(summary, about, facts)

    def _summary(self) -> Summary:
        disk = self._known().disk
        return read_summary(self._paths, disk.is_gone, disk.skips, known=self._rows)

    def _known(self) -> _Launch:
        """What the suites say, asked anew with each launch; of suites that are wrong nobody knows."""
        seen = signature(self._paths.configs)
        if self._launch is None or self._launch.seen != seen:
            try:
                suites = suites_of(self._paths)
                disk = on_disk(self._paths, suites)
            except (ConfigError, OSError):
                suites, disk = [], OnDisk({})
            self._launch = _Launch(seen, disk, secrets_of(suites), self._origins(suites))
        return self._launch

    def _head(self, fragments: Fragments, row: SummaryRow) -> Fragment | None:
        files = self._paths.pair(row.key)
        seen = signature(files.fragment)
        known = self._heads.get(row.key)
        if known is None or known[0] != seen:
            known = self._heads[row.key] = seen, fragments.head(files) if seen is not None else None
        return known[1]

    def _fragment(self, pair: FoundPair) -> Fragment | None:
        """As it lies there; where it does not, made for this once: whoever only looks writes nothing."""
        fragments = self._fragments()
        fragment = fragments.read(pair.files)
        if fragment is not None or pair.result is None:
            return fragment
        seen = tuple(map(signature, (pair.files.result, pair.files.predictions, pair.files.scores)))
        known = self._details.pop(pair.key, None)
        if known is None or known[0] != seen:
            try:
                known = seen, fragments.fresh(pair.files, pair.result, self.sources(pair)).without_samples()
            except (OSError, ValueError):
                return None
        self._details[pair.key] = known
        while len(self._details) > MOST_DETAILS:
            del self._details[next(iter(self._details))]
        return known[1]

    def _beginning(self, pair: FoundPair, base: str) -> dict[str, Any]:
        """A pair that has come to no result yet: its samples come, its logs grow."""
        names = ("predictions", pair.files.predictions), ("log of inference", pair.files.infer_log)
        there = [{"name": name, "href": f"{_IN_RUN}{_relative(path, self._paths.root)}"} for name, path in names]
        return {
            "anchor": pair.anchor,
            "id": pair.id,
            "status": "pending",
            "note": "It has come to no result yet: these are the samples that are there.",
            # How many there are says the list of samples itself.
            "total": int(pair.files.predictions.is_file()),
            "files": [linked for file in there if (linked := self._linked(file, base))["href"]],
            **dict.fromkeys(("error", "skipped", "histogram", "usage", "statuses", "against")),
            **{name: [] for name in ("gates", "changes", "tables", "history", "scored", "binary")},
            **{name: {} for name in ("environment", "seconds", "counts", "better")},
        }

    def _linked(self, file: dict[str, Any], base: str) -> dict[str, Any]:
        """Lead to a file of the run by this server; name what lies elsewhere, and a directory, only."""
        told: str = file.get("href") or ""
        name = unquote(told.removeprefix(_IN_RUN), errors="surrogateescape")
        if not told.startswith(_IN_RUN) or not os.path.isfile(f"{self._paths.root}/{name}"):  # noqa: PTH113
            return {"name": file["name"], "href": None}
        return {"name": file["name"], "href": f"{base}/files/run/{quote(name, errors='surrogateescape')}"}


def _relative(path: Path, root: Path) -> str:
    return quote(os.path.relpath(path, root), errors="surrogateescape")
