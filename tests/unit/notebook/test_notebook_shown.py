"""How a run shows itself, in text and in a notebook: whatever it is called, nothing of it is run."""

from __future__ import annotations

from html.parser import HTMLParser

from IPython.core.formatters import DisplayFormatter

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>\u202e'


class Shown(HTMLParser):
    """The tags of a page and its texts, as a browser finds them; every tag that opens must be closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts += [data.strip()] if data.strip() else []


def breached(name):
    return {"metric": name, "kind": "min", "value": 0.5, "limit": 0.9, "by": 0.4, "holds": False}


def test_a_run_says_how_it_came_out(hand, run):
    """Verdict, what is wrong, and a matrix a metric; in text the verdict alone."""
    hand.result("s", "a", "d", metrics={"top1": 0.95})
    hand.result("s", "b", "d", status="failed", metrics={"top1": 0.5}, gates=[breached("top1")])
    hand.result("s", "c", "d", status="error", environment={"error": "OSError: gone"})
    assert repr(run) == f"<Run run1: {run.verdict.line}>"
    assert run.verdict.line.startswith("ERROR: 1 of 3 pairs ended in an error")
    shown = Shown(run._repr_html_())
    assert shown.texts[:2] == ["run1", f": {run.verdict.line}"]
    assert "s/b/d: top1 0.5000 < 0.9000 (min)" in shown.texts
    assert "s/c/d: OSError: gone" in shown.texts
    table = shown.texts[shown.texts.index("s: top1") :]
    assert table[1:8] == ["d", "a", "0.9500", "b", "0.5000 ✗", "c", "error"]
    assert any("breaches its gate" in text for text in shown.texts)


def test_names_of_any_kind_are_only_text(hand, run):
    """Tags, handlers and signs that turn the direction of writing."""
    hand.result(HOSTILE, HOSTILE, HOSTILE, status="failed", metrics={HOSTILE: 0.5}, gates=[breached(HOSTILE)])
    hand.result("s", "t", "d", status="error", environment={"error": HOSTILE})
    page = run._repr_html_()
    shown = Shown(page)
    assert set(shown.tags) <= {"div", "p", "strong", "small", "ul", "li"} | {
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert shown.attributes == {"class", "scope"}
    assert "\u202e" not in page
    assert sum(HOSTILE[:-1] in text for text in shown.texts) >= 4


def test_an_empty_run_shows_itself(run):
    """Nothing is no error."""
    assert repr(run) == f"<Run run1: {run.verdict.line}>"
    assert Shown(run._repr_html_()).texts == ["run1", f": {run.verdict.line}"]


def test_a_large_run_is_cut_and_says_so(hand, run):
    """An output that nobody reads must not fill the notebook."""
    for number in range(45):
        hand.result("s", f"t{number}", "d", metrics={f"m{i}": 1.0 for i in range(14 if number == 0 else 1)})
    for number in range(22):
        hand.result("s", "t0", f"d{number}", status="error", environment={"error": "gone"})
    texts = Shown(run._repr_html_()).texts
    assert "… and 6 more" in texts  # of 45 tasks and their mean
    assert "… and 17 more" in texts  # of 22 errors
    assert "… 5 more" in texts
    assert "… and 2 matrices more: run.results has them" in texts


def test_jupyter_takes_text_and_page(hand, run):
    """IPython's own formatter, which decides what a notebook is given."""
    hand.result("s", "t", "d", metrics={"top1": 1.0})
    data, _ = DisplayFormatter().format(run)
    assert data == {"text/plain": repr(run), "text/html": run._repr_html_()}
