"""The report of a run in a browser, as a person uses it, and what the run's files say of the same samples."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING

from support import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from browser import Window
    from playwright.sync_api import Page
    from support import Project

# 50 samples a page, 200 a pair: what the page promises.
A_PAGE, A_PAIR = 50, 200

# The first model is right but of every tenth sample, a second run's of every seventh; each 100th has no answer.
NUMBERS = """
class Model:
    def __init__(self, path=None):
        self.every = int(open(path).read())

    def predict_one(self, sample):
        if sample.input % 100 == 50:
            raise ValueError(f"no answer to {sample.input}")
        return -1 if sample.input % self.every == 0 else sample.input
"""


def numbers(project: Project, samples: int, models: dict[str, int] | None = None) -> Project:
    """Models that are wrong in every so many samples, and fail in one of 100."""
    models = models or {"a": 10}
    words = {"adapter": "./numbers.py:Model", "id_column": "id", "max_failed": samples, "retries": 0}
    project.make([*models], samples=0, **words, concurrency=1)
    (project.suite / "numbers.py").write_text(NUMBERS)
    lines = [{"id": f"n{number:05}", "x": number, "y": number} for number in range(samples)]
    (project.suite / "one.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, every in models.items():
        (project.suite / f"{name}.bin").write_text(str(every))
    return project


def report_of(project: Project) -> Path:
    return project.latest / "summary" / "report.html"


def summary_of(project: Project) -> list[dict[str, str]]:
    with (project.latest / "summary" / "summary.csv").open(newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


class Report:
    """An open report: a file, or the address of a page that a server of ours has."""

    def __init__(self, window: Window, place: Path | str) -> None:
        self.window = window
        self.page: Page = window.open(place)

    @property
    def pairs(self) -> list[str]:
        """The ids of the pairs that are listed now."""
        return self.page.locator("#pairs .pairs li:visible bdi").all_inner_texts()

    def lists(self, *pairs: str) -> None:
        """Wait until these are the pairs that are listed."""
        wait_for(lambda: self.pairs == [*pairs])

    def open(self, pair: str) -> Report:
        """Click a pair in the list."""
        name = re.compile(f"^{re.escape(pair)}$")
        self.page.locator("#pairs .pairs a").filter(has=self.page.locator("bdi", has_text=name)).click()
        return self.opened()

    def opened(self) -> Report:
        self.page.locator("#pair h2.title").wait_for()
        return self

    def back(self) -> None:
        self.page.click("#close-pair")
        self.page.locator("#overview").wait_for()

    def press(self, name: str) -> Report:
        """Press the filter of this name."""
        self.page.click(f"[data-filter={name}]")
        return self

    def can_press(self, name: str) -> bool:
        return self.page.locator(f"[data-filter={name}]").is_enabled()

    def search(self, text: str, count: str) -> None:
        """Type into the search of samples, and wait until it says this count."""
        self.page.fill("#sample-search", text)
        self.says(count)

    def says(self, count: str) -> None:
        """Wait until the line above the samples says so."""
        self.page.locator("#sample-count", has_text=re.compile(f"^{re.escape(count)}$")).wait_for()

    @property
    def count(self) -> str:
        return self.page.inner_text("#sample-count")

    @property
    def ids(self) -> list[str]:
        """The ids of the samples on this page of them."""
        return self.page.locator("#samples > .sample > button > span:nth-child(2)").all_inner_texts()

    def all_ids(self) -> list[str]:
        """Those of all pages, turned one by one."""
        ids = self.ids
        while self.page.locator("#next-page").is_visible() and self.page.locator("#next-page").is_enabled():
            self.page.click("#next-page")
            ids += self.ids
        return ids

    def expand(self, number: int = 0) -> str:
        """Open a sample, and what it then says."""
        sample = self.page.locator("#samples > .sample").nth(number)
        sample.locator("> button").click()
        return sample.locator(".body").inner_text()

    def expand_all(self) -> None:
        """Open all samples of this page of them."""
        self.page.evaluate(
            "document.querySelectorAll('#samples > .sample > button').forEach((button) => button.click())"
        )

    @property
    def focused(self) -> str:
        """The id of the element that has the focus, or the text of its first lines."""
        return self.page.evaluate("document.activeElement.id || document.activeElement.textContent.slice(0, 80)")
