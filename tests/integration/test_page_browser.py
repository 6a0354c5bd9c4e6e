"""The report of a run in a real browser: what it shows is what the run's files say, and all that is promised works."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from browser import WIDTHS
from reportpage import A_PAGE, A_PAIR, Report, numbers, report_of, summary_of
from support import Project

SAMPLES = 180


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A run of two models whose run before had other answers: each has samples that it lost and that it won."""
    project = numbers(Project(tmp_path_factory.mktemp("compared") / "project"), SAMPLES, {"a": 10, "b": 9})
    assert project.run().code == 0
    project.before = project.latest
    for name, every in {"a": 7, "b": 6}.items():
        (project.suite / f"{name}.bin").write_text(str(every))
    project.yaml(["a", "b"], ["one"], **settings_of(project) | {"gates": {"exact_match": {"min": 0.85}}})
    assert project.run("evals", "--eval-run", "new").code == 1
    return project


def settings_of(project):
    return json.loads((project.suite / "evalrun.yaml").read_text())


@pytest.fixture
def report(window, compared):
    return Report(window, report_of(compared))


def scored(run, model="a"):
    """Id → score of the samples that have one, in the order of the dataset, and the ids of those that have none."""
    place = run / "predictions" / "echo" / model / "one"
    lines = [json.loads(line) for line in place.with_suffix(".jsonl").read_text().splitlines()]
    failed = [line["id"] for line in lines if line["status"] == "failed"]
    scores = [json.loads(line) for line in place.with_suffix(".scores.jsonl").read_text().splitlines()]
    return {line["id"]: line["exact_match"] for line in scores if line["id"] not in failed}, failed


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_the_verdict_is_that_of_the_summary(report, compared):
    """Its line counts the pairs as summary.csv has them, and is what summary.md starts with."""
    statuses = {row["task"]: row["status"] for row in summary_of(compared)}
    assert statuses == {"a": "passed", "b": "failed"}
    line = report.page.inner_text("h1")
    assert "FAILED: 1 of 2 pairs failed (1 gate breached); 1 passed" in line
    assert report.page.title().startswith("FAILED")


def test_breached_gates_stand_first_with_their_reason(report):
    """A pair whose gate is breached is named above all matrices, with metric, value and limit; a click opens it."""
    problem = report.page.locator("#problems li")
    text = problem.inner_text()
    assert all(word in text for word in ("failed", "echo/b/one", "exact_match", "0.85")), text
    assert problem.bounding_box()["y"] < report.page.locator("#matrices").bounding_box()["y"]
    problem.locator("a").click()
    assert "echo/b/one" in report.opened().page.inner_text("#pair h2.title")


def test_cells_are_those_of_the_summary(report, compared):
    """Each cell of a matrix has the value and the interval of summary.csv, and a sign beside its colour."""
    rows = {row["task"]: row for row in summary_of(compared) if row["metric"] == "exact_match"}
    for task, sign in (("a", "✓"), ("b", "✗")):
        line = report.page.locator("#matrices tr").filter(has=report.page.locator("th bdi", has_text=task)).first
        cell = line.locator("td").inner_text()
        shown = [float(number) for number in re.findall(r"[\d.]+", cell)]
        assert shown == pytest.approx([float(rows[task][key]) for key in ("value", "low", "high")], abs=1e-4)
        assert sign in cell
        assert "▼" in cell  # both were better before


def test_the_course_of_a_metric_is_drawn(report):
    """A pair with two results in the history has a line of two points."""
    points = report.page.locator("#pairs .spark polyline").first.get_attribute("points")
    assert len(points.split()) == 2


def test_a_pair_says_what_changed(report):
    """Between two results the model changed, and the pair says so."""
    assert "model" in report.open("echo/a/one").page.inner_text(".changes")


# --- filters, search, pages -------------------------------------------------------------------------------------------


def test_filters_show_what_the_files_say(report, compared):
    """Wrong, failed and flipped samples are those of predictions and scores, in the order of the dataset."""
    scores, failed = scored(compared.latest)
    before, _ = scored(compared.before)
    expected = {
        "all": [f"n{number:05}" for number in range(SAMPLES)],
        "wrong": [name for name, score in scores.items() if not score],
        "failed": failed,
        "flipped": [name for name, score in scores.items() if score != before[name]],
    }
    assert all(expected.values())
    report.open("echo/a/one")
    for name, ids in expected.items():
        report.press(name)
        report.says(f"{len(ids)} samples, page 1 of 4" if name == "all" else f"{len(ids)} samples")
        assert report.all_ids() == ids


def test_worst_and_best_are_in_order_of_score(report, compared):
    """The worst come first, or the best do, and of each all that have a score."""
    scores, _ = scored(compared.latest)
    report.open("echo/a/one").press("worst")
    worst = [scores[name] for name in report.all_ids()]
    assert worst == sorted(scores.values())
    report.press("best")
    best = [scores[name] for name in report.all_ids()]
    assert best == sorted(scores.values(), reverse=True)


def test_of_what_counts_faults_1_is_wrong(window, project):
    """Where less is better, who has a fault is marked and filtered as wrong, and who has none as right."""
    project.make(samples=0, metrics=["./fault.py:fault"])
    (project.suite / "fault.py").write_text(
        "def fault(prediction, reference):\n    return float(prediction != reference)\n\nfault.better = 'lower'\n"
    )
    project.dataset("one", 8, wrong=3)
    assert project.run().code == 0
    report = Report(window, report_of(project)).open("echo/a/one")
    marks = report.page.locator("#samples > .sample > button > .mark .vh").all_text_contents()
    assert marks == ["wrong"] * 3 + ["right"] * 5
    shown = report.ids
    report.press("wrong").says("3 samples")
    assert report.ids == shown[:3]


def test_search_finds_in_all_of_a_sample(report):
    """By id, by input, by what the model said: what has the text is shown, and its absence is said."""
    report.open("echo/a/one")
    report.search("n00123", "1 sample")
    assert report.ids == ["n00123"]
    report.search("no answer to", "2 samples")
    assert report.ids == ["n00050", "n00150"]
    report.search("nowhere at all", "No sample is like that.")
    report.search("", f"{SAMPLES} samples, page 1 of 4")


def test_pages_turn(report):
    """50 samples are a page; first and last page have no other before and after them."""
    report.open("echo/a/one")
    assert len(report.ids) == A_PAGE
    assert not report.page.locator("#previous-page").is_enabled()
    report.page.click("#next-page")
    report.says(f"{SAMPLES} samples, page 2 of 4")
    assert (report.ids[0], len(report.ids)) == (f"n{A_PAGE:05}", A_PAGE)
    report.page.click("#next-page")
    report.page.click("#next-page")
    assert len(report.ids) == SAMPLES - 3 * A_PAGE
    assert not report.page.locator("#next-page").is_enabled()


def test_an_open_sample_has_all_of_it(report, compared):
    """Input, reference, prediction, the score, and how it flipped."""
    report.open("echo/a/one").press("flipped")
    text = report.expand().lower()
    assert all(
        word in text for word in ("x", "reference", "prediction", "-1", "exact_match 0", "lost", compared.before.name)
    ), text


def test_a_failed_sample_has_its_error(report):
    """What the model raised is told in full."""
    report.open("echo/a/one").press("failed")
    assert "ValueError: no answer to 50" in report.expand()


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_go_through_samples(report):
    """j opens the next sample, k the one before, n and p turn pages, Escape closes a sample, then the pair."""
    report.open("echo/a/one")
    press = report.page.keyboard.press
    press("j")
    press("j")
    assert "n00001" in report.page.inner_text(".sample.open > button")
    press("k")
    assert "n00000" in report.page.inner_text(".sample.open > button")
    press("n")
    report.says(f"{SAMPLES} samples, page 2 of 4")
    press("p")
    report.says(f"{SAMPLES} samples, page 1 of 4")
    press("j")
    press("Escape")
    assert report.page.locator(".sample.open").count() == 0
    press("Escape")
    report.page.locator("#overview").wait_for()


def test_keys_search_and_help(report):
    """A slash goes to the search, Escape leaves it; a question mark shows the keys, and the list has all of them."""
    press = report.page.keyboard.press
    press("?")
    assert report.page.locator("#help").is_visible()
    keys = report.page.locator("#help kbd").all_inner_texts()
    assert {*keys} == {"j", "k", "n", "p", "Enter", "/", "Esc", "?"}
    press("Escape")
    assert not report.page.locator("#help").is_visible()
    press("/")
    assert report.focused == "pair-search"
    report.page.keyboard.type("b/")
    report.lists("echo/b/one")
    press("Escape")
    report.open("echo/b/one")
    press("/")
    assert report.focused == "sample-search"


def test_a_keyboard_reaches_a_pair_and_comes_back(report):
    """j goes to a pair, Enter opens it, and Escape leaves the focus where it was."""
    for key in ("j", "j", "Enter"):
        report.page.keyboard.press(key)
    assert "echo/b/one" in report.opened().page.inner_text("#pair h2.title")
    report.page.keyboard.press("Escape")
    report.page.locator("#overview").wait_for()
    assert "echo/b/one" in report.focused


def test_the_address_opens_what_was_open(chromium, compared):
    """The address of a sample, opened elsewhere, shows this sample; back is the overview."""
    with chromium.window() as window:
        report = Report(window, report_of(compared)).open("echo/b/one")
        report.page.click("#next-page")
        report.expand(3)
        address = report.page.locator(".sample.open .chips a").get_attribute("href")
    with chromium.window() as window:
        page = window.open(report_of(compared), anchor=address.removeprefix("#"))
        assert f"n{A_PAGE + 3:05}" in page.inner_text(".sample.open > button")
        page.go_back()
        assert window.troubles == []


# --- many samples, no network, other places ---------------------------------------------------------------------------


def test_a_page_has_200_samples_of_10000(window, project):
    """It says how many are left out, and links the file that has them; wrong ones are never left out for right ones."""
    project.make(samples=0)
    project.dataset("one", 10_000, wrong=37)
    assert project.run().code == 0
    report = Report(window, report_of(project)).open("echo/a/one")
    assert report.count.startswith(f"{A_PAIR} samples")
    note = report.page.inner_text("#pair .note, #pair section > p.quiet")
    assert "200 of 10,000" in note
    report.press("wrong")
    report.says("37 samples")
    link = report.page.locator("#pair a[href$='/one.jsonl']").first.get_attribute("href")
    assert (report_of(project).parent / link).resolve() == project.latest / "predictions" / "echo" / "a" / "one.jsonl"


def test_it_opens_wherever_it_is_copied_to(window, compared, tmp_path):
    """A copy alone, in a place with an odd name, has all that it shows."""
    copy = tmp_path / "a b#c?d%20é" / "report.html"
    copy.parent.mkdir()
    shutil.copy(report_of(compared), copy)
    assert len(Report(window, copy).open("echo/a/one").ids) == A_PAGE
    assert [url for url in window.asked if not url.startswith("data:")] == [copy.resolve().as_uri()]


def test_without_scripts_the_overview_is_there(chromium, compared):
    """Where no script may run, verdict, problems, matrices and pairs are there to be read."""
    with chromium.window(java_script_enabled=False) as window:
        page = window.page
        page.goto(report_of(compared).as_uri())
        assert page.locator("h1").inner_text().startswith(("✗", "FAILED"))
        assert [page.locator(f"#{name}").is_visible() for name in ("problems", "matrices", "pairs")] == [True] * 3


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(chromium, compared, width, scheme):
    """On a telephone as on a large screen, in light and dark: overview, pair and sample need no scrolling sideways."""
    with chromium.window(width=width, color_scheme=scheme) as window:
        report = Report(window, report_of(compared))
        assert window.overflow() <= 0
        report.open("echo/b/one").expand()
        assert window.overflow() <= 0
        assert window.troubles == []


def test_a_telephone_shows_whether_a_gate_holds(chromium, compared):
    """That is not among the columns for which one must scroll sideways."""
    with chromium.window(width=WIDTHS[-1]) as window:
        page = Report(window, report_of(compared)).open("echo/b/one").page
        place = page.locator(".gates td", has_text="breached").bounding_box()
        assert place["x"] + place["width"] <= WIDTHS[-1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(chromium, compared, scheme):
    """All text has a contrast of 4.5 to what is behind it, as WCAG wants, in light and dark."""
    with chromium.window(color_scheme=scheme) as window:
        report = Report(window, report_of(compared))
        assert window.faint() == []
        report.open("echo/b/one").expand()
        assert window.faint() == []


def test_print_has_all_pairs_and_no_tools(window, compared):
    """On paper stand verdict, problems, matrices and pairs on white, without what can only be clicked."""
    report = Report(window, report_of(compared))
    report.page.emulate_media(media="print")
    assert not report.page.locator("#pair-tools").is_visible()
    assert report.pairs == ["echo/a/one", "echo/b/one"]
    assert report.page.evaluate("getComputedStyle(document.body).backgroundColor") in (
        "rgb(255, 255, 255)",
        "rgba(0, 0, 0, 0)",
    )
    assert len(report.page.pdf()) > 10_000
