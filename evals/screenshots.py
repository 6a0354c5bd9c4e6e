"""The reports of sample suites, before and after a breach, as Chromium shows them: the pictures of docs/report.md.

    .venv/bin/python evals/screenshots.py            runs the suites, makes the reports, takes all pictures
    .venv/bin/python evals/screenshots.py --docs     and puts the chosen ones into docs/

It needs Debian's chromium and fonts-noto-cjk. Runs and pictures are left in `outputs/screenshots/`. The exit code is 0
where every page stayed within its window, asked for nothing and complained of nothing.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Error as BrowserError
from playwright.sync_api import sync_playwright
from shows import MOST_SECONDS, ROOT, Verdict, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from playwright.sync_api import Browser, Page

OUT = Path("outputs", "screenshots")
PROJECT = ROOT / OUT / "project"
DOCS = ROOT / "docs"
WIDTHS = {1440: 900, 768: 1024, 390: 844}
SCHEMES = ("light", "dark")
MOST_BYTES = 150_000  # of a picture in docs/
# Somebody sets the scale of the quantised model as for darker pictures: a little, then too much.
SLIPS = ("0.0015", "0.0009")
SLIP = (
    '\n  - {match: "mlp_int8/*", preprocess: {input: image, color: gray, size: [8, 8], layout: NCHW, dtype: float32,'
    " scale: SCALE}}"
)
EXAMPLES_INI = "[pytest]\neval_workdir = ../outputs/examples\n"


class NotInstalledError(Exception):
    """Something is missing that the pictures need."""


@dataclass(frozen=True)
class Shot:
    """A picture: of which run's page, what is opened there, how wide and in which colours.

    ``pair`` is its id; ``only`` the filter of its samples, ``expand`` which of these is opened; ``to`` what is scrolled
    to, a CSS selector; ``kept`` whether docs/ shows it.
    """

    name: str
    run: str
    pair: str = ""
    only: str = ""
    expand: int | None = None
    to: str = ""
    width: int = 1440
    scheme: str = "light"
    kept: bool = False


def main() -> int:
    return shown("evals/screenshots", _show, NotInstalledError, "the browser is closed")


def _show(until_the_end: ExitStack) -> int:
    program = shutil.which("chromium")
    if program is None:
        msg = "there is no chromium: apt-get install chromium fonts-noto-cjk"
        raise NotInstalledError(msg)
    shutil.rmtree(ROOT / OUT, ignore_errors=True)
    verdict = Verdict()
    for what, problems in _runs():
        verdict.holds(what, problems)
    browser = until_the_end.enter_context(sync_playwright()).chromium.launch(
        executable_path=program, args=["--no-sandbox"]
    )
    camera = Camera(browser)
    for shot in [*SHOTS, *_all_widths()]:
        camera.take(shot)
    verdict.holds(f"{camera.taken} pictures are in {OUT}/pictures, of pages that asked for nothing", camera.problems)
    if "--docs" in sys.argv[1:]:
        verdict.holds("the pictures of docs/ are small", _publish())
    return verdict.told()


# --- runs -------------------------------------------------------------------------------------------------------------


def _runs() -> Iterator[tuple[str, list[str]]]:
    """The suites in a project of their own, each run to its end, and what went wrong."""
    for name in ("evals/digits", "evals/restore", "evals/llm", "evals/agents", "examples/breach"):
        shutil.copytree(ROOT / name, PROJECT / name, ignore=shutil.ignore_patterns("__pycache__"))
    (PROJECT / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (PROJECT / "examples" / "pytest.ini").write_text(EXAMPLES_INI, encoding="utf-8")
    suite = PROJECT / "evals" / "digits" / "evalrun.yaml"
    as_it_was = suite.read_text(encoding="utf-8")
    yield "all passes", _evaluate("before", "evals")
    for run, scale in zip(("drift", "breach"), SLIPS, strict=True):
        slipped = as_it_was.replace("overrides:", f"overrides:{SLIP.replace('SCALE', scale)}", 1)
        suite.write_text(slipped, encoding="utf-8")
        yield f"{run}: a scale of {scale}", _evaluate(run, "evals/digits", code=1 if run == "breach" else 0)
    yield "a suite fails on purpose", _evaluate("example", "examples", code=1)


def _evaluate(name: str, suite: str, code: int = 0) -> list[str]:
    """Evaluate into a new run, which has this name from now on; the exit code must be this one."""
    words = ["pytest", suite, "-n", "2", "--eval-run", "new"]
    print(f"$ {shlex.join(words)}", flush=True)
    log = PROJECT / f"{name}.log"
    with log.open("wb") as file:
        argv = [sys.executable, "-m", *words]
        done = subprocess.run(argv, cwd=PROJECT, stdout=file, stderr=file, timeout=MOST_SECONDS, check=False)  # noqa: S603
    if done.returncode != code:
        return [f"exit code {done.returncode}: {log}"]
    workdir = PROJECT / "outputs" / ("examples" if name == "example" else "default")
    (PROJECT / name).symlink_to((workdir / "latest").resolve())
    return []


def page_of(run: str) -> Path:
    return PROJECT / run / "summary" / "report.html"


# --- pictures ---------------------------------------------------------------------------------------------------------

SAMPLES = "#samples-title"
SHOTS = (
    Shot("report-before", "before", kept=True),
    Shot("report-breach", "breach", kept=True),
    Shot("report-breach-phone", "breach", width=390, scheme="dark", kept=True),
    Shot("report-pair", "breach", pair="digits/mlp_int8/clean", kept=True),
    Shot("report-samples", "breach", pair="digits/mlp_int8/clean", only="flipped", expand=0, to=SAMPLES, kept=True),
    Shot("report-images", "before", pair="restore/denoise_learned/photos", expand=0, to=SAMPLES, kept=True),
    Shot("report-llm", "before", pair="llm/ngram@fewshot/facts", only="wrong", expand=0, to=SAMPLES, kept=True),
    Shot("report-agent", "before", pair="agents/scripted/files", expand=0, to=SAMPLES, kept=True),
    Shot("report-example", "example", kept=True),
)


def _all_widths() -> Iterator[Shot]:
    """Overview and a pair of each run that is shown, at all widths, in both colours; for the eye."""
    opened = {
        "before": "llm/ngram@fewshot/facts",
        "breach": "digits/mlp_int8/clean",
        "example": "breach/keywords/messages",
    }
    for run, pair in opened.items():
        for width in WIDTHS:
            for scheme in SCHEMES:
                yield Shot(f"{run}-{width}-{scheme}", run, width=width, scheme=scheme)
                yield Shot(f"{run}-pair-{width}-{scheme}", run, pair=pair, expand=0, width=width, scheme=scheme)


@dataclass
class Camera:
    """Takes pictures, and notes what a page of ours never does."""

    browser: Browser
    problems: list[str] = field(default_factory=list)
    taken: int = 0

    def take(self, shot: Shot) -> None:
        height = WIDTHS[shot.width]
        context = self.browser.new_context(
            viewport={"width": shot.width, "height": height}, color_scheme=shot.scheme, reduced_motion="reduce"
        )
        try:
            page = context.new_page()
            page.set_default_timeout(20_000)
            self._watch(shot, page)
            _open(shot, page)
            wide = page.evaluate("document.documentElement.scrollWidth") - shot.width
            self.problems += [f"{shot.name}: wider than its window by {wide} pixels"] if wide > 0 else []
            target = ROOT / OUT / "pictures" / f"{shot.name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=target, full_page=not shot.kept)
            self.taken += 1
        except BrowserError as error:
            self.problems.append(f"{shot.name}: {error}")
        finally:
            context.close()

    def _watch(self, shot: Shot, page: Page) -> None:
        def told(what: str) -> None:
            self.problems.append(f"{shot.name}: {what}")

        page.on("console", lambda said: told(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: told(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else told(asked.url))


def _open(shot: Shot, page: Page) -> None:
    page.goto(page_of(shot.run).as_uri())
    if shot.pair:
        page.locator(".pairs a", has=page.locator("bdi", has_text=re.compile(f"^{re.escape(shot.pair)}$"))).click()
        page.locator("#pair").wait_for()
    if shot.only:
        page.click(f"[data-filter={shot.only}]")
    if shot.expand is not None:
        page.locator("#samples > .sample > button").nth(shot.expand).click()
        page.wait_for_load_state("networkidle")
    if shot.to:
        page.locator(shot.to).evaluate("element => element.scrollIntoView()")


def _publish() -> list[str]:
    """Put the chosen ones into docs/, with fewer colours where they would be large; those that still are."""
    from PIL import Image

    large = []
    for shot in SHOTS:
        target = DOCS / f"{shot.name}.png"
        with Image.open(ROOT / OUT / "pictures" / target.name) as picture:
            whole = picture.convert("RGB")
        whole.save(target, optimize=True)
        if target.stat().st_size > MOST_BYTES:
            whole.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(target, optimize=True)
        size = target.stat().st_size
        large += [f"{target.name}: {size:,} bytes"] if size > MOST_BYTES else []
    return large


if __name__ == "__main__":
    sys.exit(main())
