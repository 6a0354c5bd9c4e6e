"""docs/command.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pytest_evalrun.programs.commands import PLACEHOLDERS
from pytest_evalrun.programs.schema import ProgramModel, ResultsModel
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.schema import SettingsModel

PAGE = (Path(__file__).parents[3] / "docs" / "command.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_suites(tmp_path, example):
    """Every example is accepted as it stands."""
    for name in ("models/a.bin", "data/questions.csv", "data/photos/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "evalrun.yaml").write_text(example)
    suite = discover(tmp_path / "evalrun.yaml", environ={})
    assert len(suite.pairs) == len(yaml.safe_load(example)["models"])


def test_placeholders_are_all_told():
    """The page has every placeholder, and in its table the ways of asking that know it."""
    rows = [row for row in PAGE.splitlines() if row.startswith("| `{")]
    table = {name: row for row in rows for name in re.findall(r"`\{(\w+)\}`", row.partition(" | ")[0])}
    for ask, names in PLACEHOLDERS.items():
        for name in names:
            assert f"`{ask}`" in table[name] or table[name].endswith("| always |")


def test_words_are_real():
    """What the page calls a word of the suite is one."""
    section = PAGE.partition("## The words")[2].partition("## Placeholders")[0]
    words = [
        word
        for row in section.splitlines()
        if row.startswith("| `")
        for word in re.findall(r"`(\w+)`", row[: row.index(" |", 2)])
    ]
    assert {*words} - {"script"} <= SettingsModel.model_fields.keys() | ProgramModel.model_fields.keys()
    assert {"csv", "jsonl", "files", "metrics"} < ResultsModel.model_fields.keys()
