"""The page as text: everything of others is text in it, and only our script and style count."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser

import pytest

from pytest_evalrun.report.html.model import Cell, GateNote, Grid, Page, PageProblem, PairHead, Scatter, ScatterPoint
from pytest_evalrun.report.html.render import (
    HERE,
    LiveConfig,
    content_policy,
    moment,
    raw_json,
    render,
    render_sections,
    static_text,
)
from pytest_evalrun.report.verdict import Breach, Trouble, Verdict
from pytest_evalrun.suite.jsontext import parse_json

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\" onfocus='alert(1)' {{ 7*7 }} \u202e&amp;"
LARGEST_SCRIPT = 40_000


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of scripts, styles and everything else."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.texts = {"script": [], "style": [], "": []}
        self._within = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._within = tag
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        if tag == self._within:
            self._within = ""

    def handle_data(self, data):
        if self._within:
            self.texts[self._within][-1] += data
        else:
            self.texts[""].append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def verdict(word="failed", **counts):
    return Verdict(word, counts or {"failed": 1, "passed": 2}, (Breach("a/b/c", "top1", "min", 0.5, 0.9, -0.4),), ())


def page(text="digits", **others):
    """A page on which everything that is not ours is this text."""
    cell = Cell(
        "p1", "0.50", 0.5, 0.4, 0.6, 9, 10, False, -0.44, f"min 0.9 {text}", trend="worse", before=text, marks=("old",)
    )
    facts = {
        "against": text,
        "problems": (PageProblem(text, "p1", "failed", text), PageProblem(text, "p2", "error", text)),
        "grids": (Grid(text, text, "higher", (text,), (text, "other"), ((cell, None),)),),
        "scatters": (Scatter(text, text, text, (ScatterPoint("p1", text, 1, 0.5, True),)),),
        "heads": (PairHead("p1", text, "failed", text, (0.1, 0.5), text), PairHead("p2", text, "error", text)),
        "left_out": (text,),
        "notes": (GateNote(text, "p1", "undecided", text), GateNote(text, "", "advisory", text)),
        "alarms": (text,),
    }
    return Page(run=text, made=text, command=text, verdict=verdict(), **(facts | others))


def bare(**others):
    """A page with nothing on it."""
    return Page(run="empty", made="now", command="pytest", verdict=Verdict("nothing", {}, (), ()), **others)


def whole(page, details=(), **others):
    return "".join(render(page, details, **others))


def test_hostile_text_is_text():
    """What others wrote, wherever it stands, makes no element, no handler and no script."""
    plain, hostile = Elements(whole(page("digits"))), Elements(whole(page(HOSTILE)))
    assert [tag for tag, _ in plain.elements] == [tag for tag, _ in hostile.elements]
    assert [sorted(attributes) for _, attributes in plain.elements] == [
        sorted(attributes) for _, attributes in hostile.elements
    ]
    assert HOSTILE in hostile.texts[""]


def test_no_handlers_and_no_styles_in_elements():
    """No element carries a handler or a style of its own, for the policy lets neither count."""
    for _, attributes in Elements(whole(page())).elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


@pytest.mark.parametrize("live", [pytest.param(None, id="file"), pytest.param(LiveConfig("/t/x"), id="live")])
def test_policy_names_what_is_in_the_page(live):
    """The digests of the policy are those of the scripts and of the style as the browser finds them in the page."""
    found = Elements(whole(page(), [("p1", '{"a":1}')], live=live))
    (policy,) = (meta["content"] for meta in found.of("meta") if "http-equiv" in meta)
    scripts = [
        text
        for text, attributes in zip(found.texts["script"], found.of("script"), strict=True)
        if "type" not in attributes
    ]
    for text in [*scripts, *found.texts["style"]]:
        assert f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert policy.count("sha256-") == len(scripts) + 1
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")


def test_a_file_may_ask_nobody():
    """A page in a file may load nothing at all; one of a server may ask that server."""
    assert "connect-src" not in content_policy()
    assert "img-src data:;" in content_policy()
    assert "connect-src 'self'" in content_policy(live=True)
    assert "http" not in content_policy() + content_policy(live=True)


def test_nothing_is_loaded():
    """No element of a page leads the browser to load anything."""
    assert not [
        attributes
        for tag, attributes in Elements(whole(page())).elements
        if "src" in attributes or tag in ("link", "iframe", "object", "base")
    ]


def test_details_stand_as_they_are():
    """What opens of a pair stands in the page as it came, but nothing in it ends its element."""
    raw = '{"text":"</script><script>alert(1)</script>"}'
    found = Elements(whole(page(), [("p1", raw)]))
    place = next(i for i, each in enumerate(found.of("script")) if each.get("id") == "detail-p1")
    assert parse_json(found.texts["script"][place]) == parse_json(raw)
    assert found.texts["script"].count("alert(1)") == 0


def test_json_keeps_its_meaning():
    """JSON that is made safe for a script element is the same value."""
    raw = '{"<a>":["</script>","<!--"]}'
    assert "<" not in raw_json(raw)
    assert parse_json(raw_json(raw)) == parse_json(raw)
    assert raw_json('{"a":1}') == '{"a":1}'


def test_details_are_taken_one_by_one():
    """The page is written in pieces: of the details no more is read than was written."""
    taken = []

    def details():
        for i in range(100):
            taken.append(i)
            yield f"p{i}", "{}"

    pieces = render(page(), details())
    for piece in pieces:
        if 'id="detail-' in piece or piece == "p0":
            break
    assert len(taken) < 3
    assert sum(piece.count("</script>") for piece in pieces) >= 100


def test_scripts_are_small():
    """The script of a page is at most 40 KB, and so is what a live page has besides."""
    for name in ("report.js", "live.js"):
        assert len(static_text(name).encode()) <= LARGEST_SCRIPT


@pytest.mark.parametrize("name", ["report.js", "live.js"])
def test_scripts_make_no_markup(name):
    """No script of ours makes markup of a text, runs one, or would end its own element."""
    text = static_text(name)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|</script", text)
    assert '.setAttribute("style"' not in text
    assert "\r" not in text


def test_templates_and_statics_lie_in_the_package():
    """Whoever installs the package has what the page is made of."""
    assert sorted(file.name for file in (HERE / "static").iterdir()) == ["live.js", "report.css", "report.js"]
    assert (HERE / "templates" / "page.html.j2").is_file()


def test_anchors_lead_somewhere():
    """Every link of the page leads to a place in it, or to a pair of the list."""
    found = Elements(whole(page()))
    pairs = {head.anchor for head in page().heads}
    ids = {attributes["id"] for _, attributes in found.elements if "id" in attributes}
    assert all(
        attributes["href"].removeprefix("#") in ids | pairs
        for attributes in found.of("a")
        if attributes["href"].startswith("#")
    )
    assert len(ids) == sum("id" in attributes for _, attributes in found.elements)


def test_verdict_comes_first_then_what_went_wrong():
    """The page begins with the verdict, problems follow, then matrices, scatters, pairs, and what was left out."""
    text = whole(page())
    places = [text.index(each) for each in (verdict().line, 'id="problems"', 'id="matrices"', 'id="trade-offs"')]
    places += [text.index(each) for each in ('id="pairs"', 'id="left-out"')]
    assert places == sorted(places)


def test_many_problems_fold():
    """Of hundreds of problems the first are seen, the others open; all are there."""
    many = tuple(PageProblem(f"pair {i}", "p1", "error", "why") for i in range(300))
    found = Elements(whole(page(problems=many)))
    assert "275 more" in found.texts[""]
    assert sum(text.startswith("pair ") for text in found.texts[""]) == 300


def test_nothing_to_show():
    """A run without pairs has a page that says so, and how to begin."""
    text = whole(bare())
    assert "NOTHING: no pair has a result" in text
    assert "No pair has a result yet" in text
    assert 'id="matrices"' not in text


def test_live_page_knows_its_server():
    """A live page has the place for what runs and the address of its server; a file has neither."""
    text = whole(page(), live=LiveConfig("/t/token"))
    assert '{"base": "/t/token", "live": true}' in text
    assert 'id="live"' in text
    assert 'id="live"' not in whole(page())
    assert '{"live": false}' in whole(page())


def test_sections_are_those_of_the_page():
    """What a live page fetches anew is what stands in the page at first."""
    assert render_sections(page()) in whole(page())


def test_status_is_told_in_words():
    """How the run came out is a sign and a word, not a colour alone."""
    errors = Verdict("error", {"error": 3}, (), (Trouble("a", "why"),))
    text = whole(Page(run="r", made="now", command="", verdict=errors))
    assert re.search(r'<h1 class="verdict error"><i aria-hidden="true">!</i><span>ERROR: all 3 pairs', text)


def test_moments_are_read_by_people():
    """A moment is told without letters in it and to the minute; what is none stays."""
    assert moment("2026-11-28T23:25:17Z") == "2026-11-28 23:25 UTC"
    assert moment("2026-11-28T23:25:17.5+00:00") == "2026-11-28 23:25 UTC"
    assert moment("Tuesday, UTC") == "Tuesday, UTC"


def luminance(colour):
    """How light a colour is, as WCAG 2 defines it."""
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [pytest.param(0, id="light"), pytest.param(1, id="dark")])
def test_text_can_be_read(scheme):
    """All text has the contrast that WCAG AA asks for, on every ground on which it stands; edges have theirs."""
    block = re.findall(r":root \{(.*?)\}", static_text("report.css"), re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+): (#\w+)", block))
    shades = ["h1", "h2", "h3", "b1", "b2", "b3"]
    grounds = {
        "ink": ["paper", "raised", "sunk", "ins", "del", *shades],
        "soft": ["paper", "raised", "sunk", "h1", "b1"],
        "blue": ["paper", "raised", "sunk", *shades],
        "orange": ["paper", "raised", *shades],
    }
    for text, grounds_of in grounds.items():
        for ground in grounds_of:
            low, high = sorted((luminance(colours[text]), luminance(colours[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)
    low, high = sorted((luminance(colours["edge"]), luminance(colours["paper"])))
    assert (high + 0.05) / (low + 0.05) >= 3
