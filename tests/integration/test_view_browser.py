"""``evalrun view`` in a real browser: the same page of all samples, as a run goes on, from its own server alone."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import WIDTHS
from hostile import PAYLOADS, SUITE, TURNS, hostile
from reportpage import Report, numbers
from support import EVALRUN, Project, kill_group, wait_for

EVALS = Path(__file__).parents[2] / "evals"
# Waits in its middle until it is told to go on.
WAITING = """
import os, time

class Model:
    def __init__(self, path):
        pass

    def predict(self, batch):
        for sample in batch:
            while sample.input == 9 and not os.path.exists("go"):
                time.sleep(0.01)
            print("asked <b>", sample.input)
        return [sample.input for sample in batch]
"""


@contextmanager
def viewed(chromium, project, **how):
    """The page of the project's latest run in a browser, from a server that ends with the block."""
    argv = [*EVALRUN, "view"]
    process = subprocess.Popen(
        argv, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        line = process.stdout.readline()
        assert "http://" in line, line + process.stdout.read()
        link = next(word for word in line.split() if word.startswith("http://"))
        with chromium.window(host=urlsplit(link).netloc, **how) as window:
            yield Report(window, link)
            assert window.troubles == []
    finally:
        kill_group(process)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A run of 1,200 samples, which no page holds."""
    project = numbers(Project(tmp_path_factory.mktemp("many") / "project"), 1200)
    assert project.run().code == 0
    return project


def test_all_samples_come_page_by_page(chromium, many):
    """Filters, search and pages are of all samples, not of those that a report has room for."""
    with viewed(chromium, many) as report:
        report.open("echo/a/one")
        report.says("1,200 samples, page 1 of 24")
        report.page.click("#next-page")
        report.says("1,200 samples, page 2 of 24")
        assert report.ids[0] == "n00050"
        report.press("failed").says("12 samples")
        assert "ValueError: no answer to 50" in report.expand()
        report.press("wrong").says("108 samples, page 1 of 3")
        report.press("all").search("n01199", "1 sample")
        assert report.ids == ["n01199"]


def test_hostile_runs_stay_text(chromium, project):
    """What a model says runs nothing and asks for nothing on the live page either; logs are text as well."""
    assert hostile(project).run().code == 1
    with viewed(chromium, project) as report:
        for pair in report.pairs:
            report.open(pair)
            if report.page.locator("#samples").count():
                report.page.locator("#samples > .sample").first.wait_for()
                report.expand_all()
            report.back()
        assert any(SUITE in pair for pair in report.pairs)
        report.open(report.pairs[0]).page.locator("#pair pre.log", has_text="loading").wait_for()
        everything = report.page.locator("html").text_content()
        assert PAYLOADS[0] in everything
        assert [character for character in TURNS if character in everything] == []


@pytest.mark.parametrize("width", [WIDTHS[0], WIDTHS[-1]])
def test_a_run_comes_onto_the_page_as_it_goes(chromium, project, width):
    """A pair that runs is shown with its progress and its log; when it ends, its result is there without a reload."""
    project.make(samples=12, max_batch_size=1)
    (project.suite / "model.py").write_text(WAITING)
    process = project.start("evals", "-n1")
    try:
        wait_for(lambda: project.workdir.is_dir() and (project.workdir / "latest").exists(), process=process)
        with viewed(chromium, project, width=width) as report:
            page = report.page
            page.locator("#live", has_text="9 of 12").wait_for()
            assert "Running" in page.inner_text("#live .state")
            assert report.window.overflow() <= 0
            (project.root / "go").touch()
            page.locator("h1", has_text="PASSED").wait_for()
            page.locator("#live .state", has_text="Ended").wait_for()
            report.open("echo/a/one").says("12 samples")
            page.click("[data-stage=infer]")
            page.locator("#pair pre.log", has_text="asked <b> 11").wait_for()
            assert report.window.overflow() <= 0
    finally:
        kill_group(process)


def test_pictures_come_from_the_server(chromium, project):
    """Pictures that a model wrote are shown, and compared, from the run itself."""
    shutil.copytree(EVALS / "restore", project.root / "evals" / "restore")
    (project.root / "pytest.ini").write_text("[pytest]\n")
    assert project.run("evals", "-k", "denoise_learned/photos").code == 0
    with viewed(chromium, project) as report:
        report.open("restore/denoise_learned/photos")
        report.page.locator("#samples > .sample").first.wait_for()
        report.expand()
        report.page.locator(".sample .body figcaption", has_text="mean").wait_for()
        images = report.page.locator(".sample .body img")
        sizes = images.evaluate_all("images => images.map((image) => image.naturalWidth)")
        assert len(sizes) >= 3
        assert min(sizes) > 0
