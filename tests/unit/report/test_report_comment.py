"""summary.md: the verdict first, every name as it is, and no longer than a comment may be."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pytest_evalrun.report.comment import MOST, to_markdown
from pytest_evalrun.report.matrix import matrices
from pytest_evalrun.report.room import Passage, fitted
from pytest_evalrun.report.rows import read_summary
from pytest_evalrun.report.summary import write_summary
from pytest_evalrun.report.text import markdown
from pytest_evalrun.report.verdict import verdict_of

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
SIGNS = "*_`|<b>[x](y)~~&amp;$#\\!"
NAMES = [
    "# heading",
    "+ item",
    "1. item",
    "12) item",
    "~~gone~~",
    "@octocat",
    "<script>alert(1)</script>",
    "[a](b)",
    "|",
    "`x`",
    "\\",
    "![i](j)",
    "<!-- -->",
    "___",
    "$x$",
]


def texts(tokens):
    """what a reader sees of each block of Markdown, in its order."""
    for token in tokens:
        if token.type == "inline":
            yield "".join(child.content for child in token.children if child.type in ("text", "code_inline"))


def seen(text):
    """What a reader sees of a text of one paragraph."""
    return "".join(texts(MARKDOWN.parse(text)))


def is_sound(text):
    """No construct but headings, lists and tables, each row of a table with as many cells as its header."""
    tokens = MARKDOWN.parse(text)
    kinds = {token.type for token in tokens if token.level == 0}
    assert kinds <= {"heading_open", "inline", "heading_close", "bullet_list_open", "bullet_list_close"} | {
        "paragraph_open",
        "paragraph_close",
        "table_open",
        "table_close",
    }
    inside = {child.type for token in tokens if token.type == "inline" for child in token.children}
    assert inside <= {"text", "html_inline", "code_inline", "text_special"}
    return True


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["{}", "- {}", "## {}", "| {} |\n|---|\n| x |", "| x |\n|---|\n| {} |"])
def test_a_name_is_seen_as_it_is_wherever_it_stands(name, place):
    """It begins no heading, list or emphasis, and tells nobody that they are mentioned."""
    shown = place.format(markdown(name))
    assert is_sound(shown)
    assert name in seen(shown)
    assert "@octocat" not in shown


def of(run, present):
    return (run.paths.summary / "summary.md").read_text(encoding="utf-8")


def test_the_verdict_is_the_first_line_and_what_is_bad_follows(run, present, breach):
    """Gates furthest off first, then errors, each with the reason; then the tables."""
    run.result("s", "near", "d", status="failed", metrics={"m": 0.8}, gates=[breach("m", 0.8)])
    run.result("s", "far", "d", status="failed", metrics={"m": 0.1}, gates=[breach("m", 0.1)])
    run.result("s", "broken", "d", status="error", environment={"error": "no model\nTraceback of it"})
    summary = write_summary(run.paths, present)
    lines = of(run, present).splitlines()
    assert lines[0] == f"# {verdict_of(summary).line}"
    assert lines[2:5] == [
        r"- s/far/d: m 0.1000 \< 0.9000 (min)",
        r"- s/near/d: m 0.8000 \< 0.9000 (min)",
        "- s/broken/d: ERROR: no model",
    ]
    assert lines[6] == "## s: m"
    assert (run.paths.summary / "summary.txt").read_text().startswith(f"{verdict_of(summary).line}\n\ns: m\n")


def many(run, tasks, datasets, metrics, breach):
    """Pairs with names full of signs, all of them bad: every other a breach, every other an error of many words."""
    for task in range(tasks):
        for dataset in range(datasets):
            names = f"{SIGNS}{task}", f"{SIGNS}{dataset}"
            values = {f"{SIGNS}{metric}": 0.5 for metric in range(metrics)}
            if task % 2:
                gates = [breach(name) for name in values]
                run.result(SIGNS, *names, status="failed", metrics=values, gates=gates)
            else:
                run.result(SIGNS, *names, status="error", environment={"error": f"{SIGNS} " * 200})


SHAPES = {
    "500 pairs": (100, 5, 2),
    "one task, wide": (1, 300, 1),
    "one dataset, long": (600, 1, 1),
    "as many metrics": (4, 4, 60),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_is_no_longer_than_a_comment_may_be(run, present, breach, shape):
    """Whatever there is: what is left out is said, and no row, name or escape is torn."""
    many(run, *shape, breach)
    summary = read_summary(run.paths, present)
    text = to_markdown(summary, matrices(summary), verdict_of(summary))
    assert len(text) <= MOST
    assert len(text) > MOST / 2, "the room is used"
    assert is_sound(text)
    assert "summary.txt" in text
    assert text.count("\n- … ") >= 1
    assert seen(text.partition("\n")[0]) == verdict_of(summary).line


def test_the_longest_names_leave_room_for_the_rest(run, present, breach):
    """Of what is bad only so much stands above as leaves most of the room; each mention takes nine more characters."""
    for number in range(40):
        name = f"{number} " + " @a" * 100
        gates = [breach(name)] if number % 2 else []
        status = "failed" if gates else "error"
        run.result("s", name, name, status=status, metrics={name: 0.5} if gates else {}, gates=gates)
    summary = read_summary(run.paths, present)
    text = to_markdown(summary, matrices(summary), verdict_of(summary))
    assert len(text) <= MOST
    assert is_sound(text)
    assert text.index("Not passed") > 10_000


def test_what_fits_is_whole(run, present, breach):
    """Then nothing is said of what is not there."""
    many(run, 6, 2, 1, breach)
    summary = read_summary(run.paths, present)
    text = to_markdown(summary, matrices(summary), verdict_of(summary))
    assert "summary.txt" not in text
    assert text.count(": ERROR: ") == 6
    assert is_sound(text)


def test_tables_of_confusion_give_way_first(run, present, metric, breach):
    """A matrix and what has not passed are whole where only tables are too many."""
    labels = [f"label {number}" for number in range(25)]
    table = {"labels": labels, "rows": [[1000] * 25] * 25}
    for task in range(40):
        run.result("s", f"t{task}", "d", metrics={"m": 0.5, "confusion": metric(0.9, table=table)})
    run.result("s", "bad", "d", status="failed", metrics={"m": 0.5}, gates=[breach("m")])
    summary = read_summary(run.paths, present)
    text = to_markdown(summary, matrices(summary), verdict_of(summary))
    assert len(text) <= MOST
    assert text.count("\n| t") == 40
    assert "## Not passed\n\n- s/bad/d: failed (m 0.5000)\n" in text
    shown = text.count("\n### s/t")
    assert 5 < shown < 40
    left = re.search(r"Too long for a comment, and in summary\.txt: (.+) and (\d+) more\.", text)
    assert left is not None
    assert int(left[2]) + 3 == 40 - shown


def test_a_matrix_that_is_cut_keeps_its_means_and_legend(run, present):
    """They are of all its rows, shown or not."""
    for task in range(3000):
        run.result("s", f"task {task} of a name that is not short", "d", metrics={"m": 0.5})
    summary = read_summary(run.paths, present)
    text = to_markdown(summary, matrices(summary), verdict_of(summary))
    assert len(text) <= MOST
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[-1] == "| mean | 0.5000 |"
    left = re.fullmatch(r"\| … ([\d,]+) more, in summary\.txt \|", rows[-2])
    assert left is not None
    assert int(left[1].replace(",", "")) == 3000 - (len(rows) - 4)
    assert is_sound(text)


PASSAGES = st.builds(
    lambda head, body, more: Passage("", ["h" * head], ["b" * line for line in body], ["f"], "{} more" if more else ""),
    st.integers(0, 20),
    st.lists(st.integers(0, 40), max_size=12),
    st.booleans(),
)


@settings(deadline=None)
@given(st.lists(PASSAGES, max_size=6), st.integers(0, 600))
def test_passages_never_take_more_room_than_there_is(passages, room):
    """With the empty line behind each; what is whole is not said to be cut, and what is cut says by how much."""
    shown = fitted(passages, room)
    total = 0
    for passage, most in shown.items():
        lines = passage.lines(most)
        size = sum(len(line) + 1 for line in lines) + 1
        assert size <= most
        total += size
        left = sum(int(line.removesuffix(" more")) for line in lines if line.endswith(" more"))
        there = len(passage.body) - left
        assert lines == [*passage.head, *passage.body[:there], *([f"{left} more"] if left else []), *passage.foot]
    assert total <= room


def test_large_passages_share_what_small_ones_leave():
    """None takes the room of others, and what is small is whole."""
    large = [Passage(name, ["head"], ["line"] * 100, more="{} more") for name in "ab"]
    small = Passage("c", ["head"], ["line"] * 6, more="{} more")
    shown = fitted([large[0], small, large[1]], 400)
    assert len(small.lines(shown[small])) == 7
    first, second = (len(passage.lines(shown[passage])) for passage in large)
    assert first == second > 20
