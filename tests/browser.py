"""A real Chromium for tests of what people see; it notes all that a page does: requests, errors, dialogs, scripts."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Dialog, Page

# Widths that people have: a large screen, a tablet, a telephone.
WIDTHS = (1440, 768, 390)
# What the payloads of tests set where they are run.
EVIL = "evalrunEvil"
# Elements that a text of a model may never become, and attributes that no element of the page has.
_FOREIGN = f"""() => {{
    const found = [];
    for (const each of document.querySelectorAll("iframe, object, embed, base, form, meta[http-equiv=refresh], link"))
        found.push(each.outerHTML.slice(0, 200));
    for (const each of document.querySelectorAll("*"))
        for (const one of each.attributes)
            if (one.name.startsWith("on") || one.name === "style" || /^\\s*javascript:/i.test(one.value))
                found.push(each.tagName + " " + one.name + "=" + one.value.slice(0, 200));
    if (window.{EVIL} !== undefined) found.push("a script ran: " + window.{EVIL});
    return found;
}}"""


@dataclass
class Window:
    """A page in the browser. ``left`` are requests to anywhere but to files and ``host``, each of them refused."""

    page: Page
    host: str | None = None
    asked: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(60_000)
        self.page.context.route("**/*", self._decide)
        self.page.on(
            "console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", self._dismiss)

    def _decide(self, route: Any) -> None:
        url = route.request.url
        self.asked.append(url)
        if url.startswith(("file:", "data:", "blob:")) or (self.host and url.startswith(f"http://{self.host}/")):
            route.continue_()
        else:
            self.left.append(url)
            route.abort()

    def _dismiss(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def open(self, file: Path, *, anchor: str = "") -> Page:
        self.page.goto(file.resolve().as_uri() + (f"#{anchor}" if anchor else ""))
        return self.page

    @property
    def troubles(self) -> list[str]:
        """All that a page of ours never does, whatever a model said."""
        return [
            *(f"left: {url}" for url in self.left),
            *(f"console: {text}" for text in self.errors),
            *(f"dialog: {text}" for text in self.dialogs),
            *self.page.evaluate(_FOREIGN),
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the screen."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


class Chromium:
    """The browser of a test module. No test downloads one: it is Debian's."""

    def __init__(self) -> None:
        program = shutil.which("chromium")
        assert program, "these tests need Chromium: apt-get install chromium fonts-noto-cjk (.ci/tools does it)"
        self._playwright = sync_playwright().start()
        self._browser: Browser = self._playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        self.version = self._browser.version
        asyncio._set_running_loop(None)

    @contextmanager
    def window(self, *, width: int = 1440, height: int = 900, host: str | None = None, **how: Any) -> Iterator[Window]:
        """A window of its own, without cookies or storage of others; ``how`` is what playwright knows of contexts.

        Playwright's loop counts as running in this thread only for so long: other tests have loops of their own.
        """
        asyncio._set_running_loop(self._playwright._loop)
        context = self._browser.new_context(viewport={"width": width, "height": height}, **how)
        try:
            yield Window(context.new_page(), host)
        finally:
            context.close()
            asyncio._set_running_loop(None)

    def close(self) -> None:
        asyncio._set_running_loop(self._playwright._loop)
        self._browser.close()
        self._playwright.stop()
        asyncio._set_running_loop(None)
