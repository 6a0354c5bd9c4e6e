"""Lines that GitHub reads: escaped as it wants them, few, and one line each."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.report.annotations import LONGEST, MOST, Annotation, annotation_lines

LINE = re.compile(r"::(?P<kind>\w+) (?P<properties>[^:]*)::(?P<message>.*)")


def read(line):
    """As the runner does: the properties apart at commas, then each unescaped."""
    found = LINE.fullmatch(line)
    assert found is not None, line
    pairs = [part.split("=", 1) for part in found["properties"].split(",")]
    return found["kind"], {name: unescaped(value) for name, value in pairs}, unescaped(found["message"])


def unescaped(text):
    for code, sign in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, sign)
    return text


def test_a_breach_as_it_is_written():
    """This is what the runner documents."""
    annotation = Annotation("gate: s/a,b/c", "top1 50% < 90%\nmore", "evals/s/evalrun.yaml", 12)
    assert annotation.render() == (
        r"::error file=evals/s/evalrun.yaml,line=12,title=gate%3A s/a%2Cb/c::top1 50%25 < 90%25\nmore"
    )


def test_what_is_not_known_is_left_out():
    """An empty file would be shown as one."""
    assert Annotation("t", "m").render() == "::error title=t::m"


@given(st.text(min_size=1, max_size=40), st.text(max_size=40), st.text(min_size=1, max_size=40))
def test_no_text_begins_another_command(title, message, file):
    """It is one line, whose parts come back as they were but for what a terminal obeys."""
    line = Annotation(title, message, file).render()
    assert "\n" not in line
    assert "\r" not in line
    kind, properties, shown = read(line)
    assert kind == "error"
    assert list(properties) == ["file", "title"]
    if (title + message + file).isprintable():
        assert (properties["title"], shown, properties["file"]) == (title, message, file)


@pytest.mark.parametrize(("count", "more"), [(0, None), (MOST, None), (MOST + 1, 1), (1000, 990)])
def test_there_are_no_more_than_github_shows(count, more):
    """The others are counted by a notice, which is none of the errors."""
    lines = list(annotation_lines([Annotation(str(n), "m") for n in range(count)], "see summary.md"))
    kinds = [read(line)[0] for line in lines]
    assert kinds == ["error"] * min(count, MOST) + (["notice"] if more else [])
    if more:
        assert lines[-1].startswith(f"::notice title=evalrun::{more} more breached gate")
        assert lines[-1].endswith(": see summary.md")


def test_a_message_is_cut_before_it_is_escaped():
    """No escape is torn."""
    _, _, message = read(Annotation("t", "%" * 5000).render())
    assert message == "%" * (LONGEST - 1) + "…"


@pytest.mark.parametrize(
    ("kind", "more"), [("warning", "2 more undecided gates"), ("notice", "2 more advisory gates past their limits")]
)
def test_of_each_kind_there_are_no_more_than_github_shows(kind, more):
    """What is left is counted in its own words."""
    lines = list(annotation_lines([Annotation(str(n), "m") for n in range(MOST + 2)], "see summary.md", kind))
    assert [read(line)[0] for line in lines] == [kind] * MOST + ["notice"]
    assert read(lines[-1])[2] == f"{more}: see summary.md"
