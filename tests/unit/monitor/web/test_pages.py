"""The page as it is served: made once for all, again when results changed, and never written."""

from __future__ import annotations

import json
import re

import pytest

from pytest_evalrun.monitor.web import pages
from pytest_evalrun.monitor.web.found import FoundPairs
from pytest_evalrun.monitor.web.pages import ServedPage
from pytest_evalrun.report.html.details import anchor_of
from pytest_evalrun.report.html.fragments import Fragments
from pytest_evalrun.rundir.results import read_result
from pytest_evalrun.suite.pairs import PairKey

KEY = PairKey("echo", "a", "one")
BASE = "/t/token"


@pytest.fixture
def page(run):
    run.start()
    return ServedPage(run.paths, lambda _: lambda _: None)


def found(run, key=KEY):
    return FoundPairs(run.paths).find(anchor_of(key))


def values(page, version):
    """The cells of the page's matrices."""
    return re.findall(r'<span class="v">([\d.]+)', page.sections(version).decode())


def test_page_is_made_when_results_changed(run, page):
    """With a new version of the results at once; else it is the one that is there, for all who come."""
    run.result("echo/a/one", 0.25)
    assert values(page, 0) == ["0.2500"]
    run.result("echo/a/two", 0.75)
    assert values(page, 0) == ["0.2500"]
    assert values(page, 1) == ["0.2500", "0.7500"]
    whole = page.whole(BASE, 1)
    assert page.whole(BASE, 1) is whole


def test_page_is_made_again_after_a_while(run, page, monkeypatch):
    """Whoever comes later sees what is there, though nobody watched meanwhile."""
    monkeypatch.setattr(pages, "RESULTS_INTERVAL", 0.0)
    monkeypatch.setattr(pages, "PATIENCE", 0)
    run.result("echo/a/one", 0.25)
    assert values(page, 0) == ["0.2500"]
    run.result("echo/a/one", 0.5)
    assert values(page, 0) == ["0.5000"]


def test_dear_page_is_made_seldom(run, page, monkeypatch):
    """So that a run of 10,000 pairs can be watched: its own time, many times over, but not for ever."""
    monkeypatch.setattr(pages, "PATIENCE", 10**9)
    page.sections(0)
    assert page.pause == pages.LONGEST_PAUSE


def test_whole_page_knows_where_it_came_from(run, page):
    """It is live, has its script by digest, and may ask this server alone."""
    whole = page.whole(BASE, 0)
    assert json.loads(re.search(rb'id="page-config">(.*?)</script>', whole.body)[1]) == {"live": True, "base": BASE}
    assert "connect-src 'self'" in whole.policy
    assert "script-src 'sha256-" in whole.policy


def test_nothing_is_written(run, page):
    """The run is as it was, whatever was looked at."""
    run.result("echo/a/one")
    before = sorted(run.paths.root.parent.rglob("*"))
    page.whole(BASE, 0)
    page.detail(found(run), BASE)
    assert sorted(run.paths.root.parent.rglob("*")) == before


def test_detail_without_a_fragment_is_the_same(run, page):
    """What no session has made is made for who looks, once; links lead to this server, samples come apart."""
    run.result("echo/a/one")
    files = run.files("echo/a/one")
    line = {"index": 0, "id": "s0", "status": "ok", "prediction": 1, "reference": 1, "error": None, "seconds": 0.1}
    files.predictions.parent.mkdir(parents=True)
    files.predictions.write_text(json.dumps(line) + "\n")
    made = json.loads(page.detail(found(run), BASE))
    assert made["total"] == 1
    assert {"name": "predictions", "href": f"{BASE}/files/run/predictions/echo/a/one.jsonl"} in made["files"]
    assert "samples" not in made
    Fragments(run.paths).make(files, read_result(files.result))
    assert json.loads(page.detail(found(run), BASE)) == made


def test_pair_without_a_result_has_a_beginning(run, page):
    """Its samples and its log are there before it has come to anything."""
    files = run.files("echo/a/one")
    for path in (files.predictions, files.infer_log):
        path.parent.mkdir(parents=True)
        path.touch()
    detail = json.loads(page.detail(found(run), BASE))
    assert (detail["id"], detail["status"], detail["total"]) == ("echo/a/one", "pending", 1)
    assert [file["name"] for file in detail["files"]] == ["predictions", "log of inference"]


def test_pairs_are_found_by_their_names(run):
    """Those that ran, have results, or are listed only; names with slashes and of first samples, too."""
    run.result("echo/a/one")
    assert found(run).result.status == "passed"
    assert found(run, PairKey("echo", "dir_b", "two")).pair == "echo/dir/b/two"
    run.files("echo/a/two").infer_log.parent.mkdir(parents=True)
    (run.paths.root / "logs/infer/echo/a/two.limit-5.log").touch()
    limited = found(run, PairKey("echo", "a", "two.limit-5"))
    assert (limited.pair, limited.id) == ("echo/a/two", "echo/a/two (first 5 samples)")
    assert found(run, PairKey("echo", "a", "none")) is None


def test_origins_are_asked_anew_with_each_launch(run):
    """A suite that changed is read again when a launch has read it."""
    asked = []

    def origins(_):
        asked.append(None)
        return lambda _: None

    page = ServedPage(run.paths, origins)
    run.result("echo/a/one")
    for _ in range(3):
        page.sources(found(run))
    assert len(asked) == 1
    run.paths.configs.mkdir()
    (run.paths.configs / "now.yaml").touch()
    page.sources(found(run))
    assert len(asked) == 2


def test_earlier_run_is_compared_with(run, make_run, page):
    """The newest run before this one that has the pair, for flips and arrows."""
    (run.paths.root.parent / "latest").unlink()
    old = make_run({"echo/a": ["one"]}, "work/20261120_000000")
    old.result("echo/a/one", 0.75)
    run.result("echo/a/one", 0.25)
    assert page.before(found(run)).result == old.files("echo/a/one").result
