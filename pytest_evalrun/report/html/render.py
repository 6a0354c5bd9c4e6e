"""The page as text: templates, script and style in one file that needs nothing else, in pieces as it is written.

Jinja2 escapes all text; the browser runs no script and applies no style but those whose digests the page names.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.html.cells import cell_of, occurring
from pytest_evalrun.report.html.charts import bars, plot_of, sparkline
from pytest_evalrun.report.verdict import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jinja2 import Environment

    from pytest_evalrun.report.html.model import Grid, Page, PairHead

HERE = Path(__file__).parent
SIGNS = {"error": "!", "failed": "✗", "pending": "…", "passed": "✓", "skipped": "–"}
# So many problems and scatters are looked at; the others open.
PROBLEMS_FIRST = 25
SCATTERS_FIRST = 6
# Of more pairs the browser lays out only the matrices that are seen.
MANY = 500
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(?:\.\d+)?(?:Z|\+00:00)")


@dataclass(frozen=True)
class LiveConfig:
    """A page that a server of ours shows: ``base`` is the path below which its interface lies, without a slash."""

    base: str


def render(page: Page, details: Iterable[tuple[str, str]] = (), *, live: LiveConfig | None = None) -> Iterator[str]:
    """Yield the page in pieces; ``details`` are the pairs' anchors and what opens there, as JSON text."""
    template = _environment().get_template("page.html.j2")
    yield from template.generate(
        _common(page),
        live=live is not None,
        policy=content_policy(live=live is not None),
        style=static_text("report.css"),
        scripts=[static_text(name) for name in scripts(live=live is not None)],
        details=details,
        config={"live": False} if live is None else {"live": True, "base": live.base},
    )


def render_sections(page: Page) -> str:
    """Render what changes of a page while its run goes on: all but the details, the script and the style."""
    return _environment().get_template("sections.html.j2").render(_common(page))


def content_policy(*, live: bool = False) -> str:
    """What the browser may do for the page: run our script, apply our style, show images that stand in it.

    A live page may also ask the server that it came from, and show what that has.
    """
    code = " ".join(f"'{_digest(static_text(name))}'" for name in scripts(live=live))
    parts = ["default-src 'none'", f"script-src {code}", f"style-src '{_digest(static_text('report.css'))}'"]
    parts += ["img-src data: 'self'", "connect-src 'self'"] if live else ["img-src data:"]
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def scripts(*, live: bool = False) -> tuple[str, ...]:
    """Name the scripts of a page, in the order in which they run."""
    return ("report.js", "live.js") if live else ("report.js",)


@lru_cache(maxsize=8)
def static_text(name: str) -> str:
    """Read what is put into the page as it is; its digest is that of these very characters."""
    return (HERE / "static" / name).read_text(encoding="utf-8")


@lru_cache(maxsize=8)
def _digest(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(raw_json=raw_json, moment=moment)
    environment.globals.update(
        bars=bars,
        cell_of=cell_of,
        occurring=occurring,
        plot_of=plot_of,
        sparkline=sparkline,
        statuses=statuses,
        suites=suites,
        signs=SIGNS,
    )
    return environment


def _common(page: Page) -> dict[str, Any]:
    return {"page": page, "problems_first": PROBLEMS_FIRST, "scatters_first": SCATTERS_FIRST, "many": MANY}


def raw_json(text: str) -> str:
    """JSON that may stand in a script element whoever wrote it: in JSON a ``<`` is always within a string."""
    return text.replace("<", "\\u003c") if "<" in text else text


def moment(text: str) -> str:
    """A moment of ISO 8601 in UTC as people read it; any other text as it is."""
    found = _MOMENT.fullmatch(text)
    return f"{found[1]} {found[2]} UTC" if found else text


def suites(grids: Sequence[Grid]) -> list[list[Grid]]:
    """The matrices of each suite: they stand together, and those of the next begin a row of their own."""
    return [[*found] for _, found in groupby(grids, key=attrgetter("suite"))]


def statuses(heads: Sequence[PairHead]) -> list[tuple[str, int]]:
    """Count the pairs of each status, worst first."""
    counts = Counter(head.status for head in heads)
    known = [word for word in WORDS if counts[word]]
    return [(word, counts[word]) for word in [*known, *(word for word in counts if word not in WORDS)]]
