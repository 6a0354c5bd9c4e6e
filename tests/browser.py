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
# Elements that a text of a model may never become, and attributes that no element of the page has; how wide and how
# dark something is, the page's own script sets.
_FOREIGN = f"""() => {{
    const foreign = "iframe, object, embed, base, meta[http-equiv=refresh], link:not([href='data:,']), "
        + "form:not([method=dialog])";
    const ours = /^(clip-path: inset\\([\\d.px% ]+\\);|left: [\\d.]+%;|--share: \\d+%;)$/;
    const found = [...document.querySelectorAll(foreign)].map((each) => each.outerHTML.slice(0, 200));
    for (const each of document.querySelectorAll("*"))
        for (const {{ name, value }} of each.attributes)
            if (name.startsWith("on") || /^\\s*javascript:/i.test(value) || (name === "style" && !ours.test(value)))
                found.push(each.tagName + " " + name + "=" + value.slice(0, 200));
    if (window.{EVIL} !== undefined) found.push("a script ran: " + window.{EVIL});
    return found;
}}"""

# The contrast of WCAG 2: relative luminances of a text's colour and of the first background behind it that is opaque,
# with those above laid over it.
_FAINT = """() => {
    const parse = (colour) => {
        const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((value, at) => value * a + below[at] * (1 - a));
    const linear = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    const behind = (element) => {
        if (!element) return canvas;
        const colour = parse(getComputedStyle(element).backgroundColor);
        return colour[3] === 1 ? colour.slice(0, 3) : over(colour, behind(element.parentElement));
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
        if (!text || !element.checkVisibility() || element.closest("svg, [disabled], .vh, .skip, script")) continue;
        const back = behind(element), front = over(parse(getComputedStyle(element).color), back);
        const [high, low] = [luminance(back), luminance(front)].sort((a, b) => b - a);
        const contrast = (high + 0.05) / (low + 0.05);
        if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${text.slice(0, 60)}`);
    }
    return [...new Set(found)];
}"""


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
        self.page.set_default_timeout(20_000)
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

    def open(self, place: Path | str, *, anchor: str = "") -> Page:
        """Go to a file, or to an address."""
        address = place if isinstance(place, str) else place.resolve().as_uri()
        self.page.goto(address + (f"#{anchor}" if anchor else ""))
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

    def faint(self) -> list[str]:
        """Texts whose contrast to what is behind them is below 4.5, each with its contrast."""
        return self.page.evaluate(_FAINT)


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
