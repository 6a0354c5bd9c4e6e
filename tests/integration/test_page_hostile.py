"""Whatever names, samples and errors hold: the report shows it as text, and neither runs nor asks for anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from agentsuite import Agents
from browser import WIDTHS
from hostile import DATASET, PAYLOADS, SUITE, TASK, TURNING, TURNS, hostile, long_lines, many_pairs
from reportpage import Report, report_of, summary_of
from support import Project

EVALS = Path(__file__).parents[2] / "evals"
MOST_BYTES = 20_000_000
DATA = "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """The report of a run in which everything that may have a text has one that tries to run."""
    project = hostile(Project(tmp_path_factory.mktemp("evil") / "project"))
    assert project.run().code == 1
    return report_of(project)


def through_all(report):
    """Open every pair, press every filter that there is, and open the samples."""
    for link in range(report.page.locator("#pairs .pairs a").count()):
        report.page.locator("#pairs .pairs a").nth(link).click()
        report.opened()
        for name in ("all", "wrong", "failed", "worst", "best", "flipped"):
            if report.page.locator(f"[data-filter={name}]").count() and report.can_press(name):
                report.press(name)
                report.expand_all()
                yield name
        report.back()


def test_no_text_runs_or_asks_for_anything(chromium, evil):
    """In the overview and in each sample of each pair under each filter: no script, no request, no markup, no error."""
    with chromium.window() as window:
        report = Report(window, evil)
        assert window.troubles == []
        seen = [*through_all(report)]
        assert {*seen} >= {"all", "wrong", "failed", "worst", "best"}
        assert window.troubles == []
        assert [url for url in window.asked if not url.startswith("data:")] == [evil.resolve().as_uri()]


def test_each_text_is_shown_as_it_is(window, evil):
    """Input, reference and prediction have every character of what was said, but those that turn or end lines."""
    report = Report(window, evil).open(f"{SUITE}/{TASK}/{DATASET}")
    report.expand_all()
    bodies = report.page.locator("#samples .body").all_text_contents()
    assert len(bodies) == len(PAYLOADS) + len(TURNING)
    assert [text for payload, text in zip(PAYLOADS, bodies, strict=False) if text.count(payload) < 2] == []
    everything = report.page.locator("html").text_content()
    assert [character for character in TURNS if character in everything] == []
    assert "safe\\u202egnp.exe" in everything


def test_names_are_shown_as_they_are(window, evil):
    """The name of a dataset, of a suite, of a metric that is markup is read in the page as it was written."""
    report = Report(window, evil)
    page = report.page
    assert DATASET in page.inner_text("#matrices thead >> nth=0")
    assert f"{SUITE}/{TASK}/{DATASET}" in report.pairs
    assert page.locator("#overview img, #overview script").count() == 0


def test_the_policy_refuses_what_would_be_put_in(chromium, evil):
    """Should markup ever get into the page, its policy still refuses scripts, handlers, styles, images and requests."""
    with chromium.window() as window:
        page = Report(window, evil).page
        page.evaluate(
            """() => {
            const put = document.createElement("div");
            put.innerHTML = `<img src="http://203.0.113.1/x.png" onerror="window.evalrunEvil = 1">
                <style>body {display: none}</style><iframe src="http://203.0.113.1/"></iframe>`;
            document.body.append(put);
            const script = document.createElement("script");
            script.textContent = "window.evalrunEvil = 2";
            document.body.append(script);
        }"""
        )
        refused = page.evaluate("fetch('http://203.0.113.1/').then(() => 'answered', () => 'refused')")
        assert refused == "refused"
        assert page.evaluate("window.evalrunEvil") is None
        assert page.locator("h1").is_visible()
        assert window.left == []


def test_lines_of_a_megabyte_stop_nothing(chromium, project):
    """Samples of a megabyte a text open, in pieces; the page is in its budget, and no wider than a telephone."""
    assert long_lines(project).run().code == 0
    assert report_of(project).stat().st_size < MOST_BYTES
    for width in (WIDTHS[0], WIDTHS[-1]):
        with chromium.window(width=width) as window:
            report = Report(window, report_of(project)).open("echo/a/one")
            for number in range(3):
                report.expand(number)
            assert len(report.page.inner_text("#pair")) < 100_000
            assert window.overflow() <= 0
            assert window.troubles == []


def test_500_pairs_are_found_by_name(window, project):
    """All of them are in the list and in the matrix; typing finds one, the status those that have it."""
    assert many_pairs(project).run("evals", "-n", "2").code == 0
    assert report_of(project).stat().st_size < MOST_BYTES
    report = Report(window, report_of(project))
    assert len(report.pairs) == 500
    assert report.page.locator("#matrices td").count() == 500
    report.page.fill("#pair-search", "m07/d3")
    report.lists("echo/m07/d3")
    assert "1 of 500 pairs" in report.page.inner_text("#pair-count")
    assert window.overflow() <= 0


def test_no_pairs_are_told(window, project):
    """Of a run all of whose pairs are gone from disk, the page says that no pair has a result."""
    assert project.make().run().code == 0
    shutil.rmtree(project.suite)
    assert project.evalrun("report", "--html")[0] == 0
    page = Report(window, report_of(project)).page
    assert "NOTHING: no pair has a result" in page.inner_text("h1")
    assert page.locator("#problems, #matrices").count() == 0


def test_pictures_stand_side_by_side(window, project):
    """Input, reference and prediction are shown as pictures, with their difference, and a slider between two."""
    shutil.copytree(EVALS / "restore", project.root / "evals" / "restore")
    (project.root / "pytest.ini").write_text("[pytest]\n")
    assert project.run("evals", "-k", "denoise_learned/photos").code == 0
    report = Report(window, report_of(project)).open("restore/denoise_learned/photos")
    report.expand()
    body = report.page.locator(".sample .body")
    body.locator(".compare img").first.wait_for()
    loaded = "images => images.every(image => image.complete && image.naturalWidth > 0)"
    report.page.wait_for_function(f"() => ({loaded})([...document.querySelectorAll('.sample .body img')])")
    captions = " ".join(body.locator("figcaption").all_inner_texts())
    assert all(word in captions for word in ("reference", "prediction", "difference", "mean")), captions
    slider = body.locator(".compare + input[type=range]")
    slider.focus()
    report.page.keyboard.press("End")
    over = body.locator(".compare img").nth(1)
    assert over.evaluate("image => image.style.clipPath") == "inset(0px 0px 0px 100%)"
    assert body.locator("canvas").evaluate(f"canvas => {DATA}.some((value, at) => at % 4 < 3 && value)")


def test_a_confusion_matrix_has_every_sample(window, project):
    """Of digits that a real model reads: all samples are in its cells, and those on the diagonal are the right ones."""
    shutil.copytree(EVALS / "digits", project.root / "evals" / "digits")
    (project.root / "pytest.ini").write_text("[pytest]\n")
    assert project.run("evals", "-k", "logreg/clean").code == 0
    (row,) = [row for row in summary_of(project) if row["metric"] == "top1"]
    page = Report(window, report_of(project)).open("digits/logreg/clean").page
    cells = page.locator("table.confusion tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.querySelectorAll('td')].map((cell) => Number(cell.textContent) || 0))"
    )
    assert sum(map(sum, cells)) == int(row["samples"]) == 300
    right = sum(line[number] for number, line in enumerate(cells))
    assert right == round(float(row["value"]) * 300)


def test_conversations_are_read_turn_by_turn(window, tmp_path):
    """A sample of an agent is what was said, in order, each turn with who said it; its status is counted."""
    suite = Agents(tmp_path / "project").write({"good": {}}, {"count": {"samples": 3, "turns": 2}})
    assert suite.run().code == 0
    report = Report(window, report_of(suite)).open("agents/good/count")
    report.expand(1)
    turns = [turn.split() for turn in report.page.locator(".sample .turn").all_inner_texts()]
    assert [turn[0] for turn in turns] == ["user", "agent", "user", "agent"]
    assert [turn[1:] for turn in turns] == [["count:", "say", "1."], ["1"]] * 2
    assert "completed" in report.page.text_content("#pair")


def test_values_agree_with_the_summary(window, evil):
    """Every value of summary.csv is in some cell of the matrices, hostile names or not."""
    project = Project(evil.parents[4])
    page = Report(window, evil).page
    cells = " ".join(page.locator("#matrices td").all_inner_texts())
    values = [row["value"] for row in summary_of(project) if row["metric"] == "exact_match" and row["value"]]
    assert values
    assert all(f"{float(value):.4g}" in cells for value in values)
