"""docs/report.md says what is so: keys, filters, options, figures; and its pictures are there, and small."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main

from pytest_evalrun.cli.show import app
from pytest_evalrun.report.html import choosing
from pytest_evalrun.report.html.render import HERE, static_text

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "report.md").read_text(encoding="utf-8")
MOST_BYTES = 150_000


def section(name: str) -> str:
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def words(rows: str) -> list[str]:
    """What stands in backquotes in the first column of a table."""
    return [
        word
        for row in rows.splitlines()
        if row.startswith("| `")
        for word in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]


def test_keys_are_those_that_the_page_lists():
    """Each key of the table is in the page's own list of keys, and no other is."""
    listed = re.findall(r"<kbd>([^<]+)</kbd>", (HERE / "templates" / "page.html.j2").read_text(encoding="utf-8"))
    assert sorted(words(section("Keys"))) == sorted({*listed})


def test_filters_are_those_of_the_page():
    """Each filter is told, in the order of the buttons."""
    (names,) = re.findall(r"FILTERS = \[([^\]]+)\]", static_text("report.js"))
    assert words(section("A pair")) == re.findall(r'"(\w+)"', names)


def test_commands_and_options_exist():
    """Every `evalrun` command that the page shows is one, with the options that it is given."""
    commands = typer.main.get_command(app).commands
    shown = re.findall(r"evalrun (report|view)\b([^`\n#]*)", PAGE)
    assert {name for name, _ in shown} == {"report", "view"}
    for name, arguments in shown:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {*re.findall(r"--[\w-]+", arguments)} <= known, (name, arguments)


def test_figures_are_those_of_the_code():
    """How many samples of a pair a page has is what the code chooses."""
    assert f"{choosing.MOST} samples a pair" in PAGE


def test_pictures_are_there_and_small():
    """Every picture that the page shows is a file of at most 150 KB, and none lies there that it does not show."""
    shown = {*re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE)}
    script = (DOCS.parent / "evals" / "screenshots.py").read_text(encoding="utf-8")
    assert shown == {f"{name}.png" for name in re.findall(r'Shot\("(report-[\w-]+)"', script)}
    assert shown == {path.name for path in DOCS.glob("report-*.png")}
    assert {name: size for name in shown if (size := (DOCS / name).stat().st_size) > MOST_BYTES} == {}
