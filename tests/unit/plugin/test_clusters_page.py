"""docs/clusters.md says what there is: options, words, what runs in the launch, what is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_evalrun.engines.dlcconfig import read_dlc_config
from pytest_evalrun.engines.exits import GO_ON_LATER
from pytest_evalrun.engines.losses import MOST_IDLE
from pytest_evalrun.engines.protocol import Engine
from pytest_evalrun.plugin.options import JOBS, OPTIONS
from pytest_evalrun.suite.discovery import discover

PAGE = (Path(__file__).parents[3] / "docs" / "clusters.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
# Those that are about jobs stand together, and the last of them is for jobs alone.
NAMES = [option.flag for option in OPTIONS]
ABOUT_JOBS = NAMES[NAMES.index("--eval-engine") : NAMES.index("--eval-job")]


def section(name: str) -> str:
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("flag", ABOUT_JOBS)
def test_the_table_has_every_option_about_jobs(flag):
    """Each option of engines is in the table, with an example."""
    rows = [row for row in section("Options").splitlines() if row.startswith("| `")]
    assert any(f"{flag} " in row or f"{flag}=" in row for row in rows)


def test_the_table_has_the_defaults():
    """What the table says of defaults holds."""
    defaults = {option.flag: option.default for option in OPTIONS}
    table = section("Options")
    assert f"else {JOBS} |" in table
    assert f"`--eval-unit-minutes {defaults['--eval-unit-minutes']:g}`" in table
    assert f"default: `{defaults['--eval-on-interrupt']}`" in table
    assert f"`--eval-crash-retries {defaults['--eval-crash-retries']}`" in table


def test_words_of_a_suite_are_accepted(tmp_path):
    """The suite of the page is read, and its words reach the pairs that they are for."""
    words = next(text for text in EXAMPLES if "slurm:" in text)
    for name in ("models/small.onnx", "models/large/model.onnx", "d.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"x": "a", "y": "a"}\n')
    rest = "adapter: onnx\ndatasets: [{name: d, format: jsonl, path: d.jsonl}]\ninputs: [x]\nreference: y\n"
    (tmp_path / "evalrun.yaml").write_text(words + rest + "metrics: [exact_match]\n")
    pairs = {pair.task.name: pair.settings for pair in discover(tmp_path / "evalrun.yaml", environ={}).pairs}
    assert (pairs["small"].slurm, pairs["small"].gpus) == (None, 0)
    assert (pairs["large"].slurm, pairs["large"].gpus) == ("--mem=64G --constraint=a100", 2)
    assert all(dict(each.ray) == {"resources": {"board": 1}} for each in pairs.values())
    assert all(list(each.secrets_env) == ["HF_TOKEN"] for each in pairs.values())


def test_the_file_of_dlc_is_accepted(tmp_path):
    """dlc.yaml of the page is read, without a remark."""
    file = tmp_path / "dlc.yaml"
    file.write_text(next(text for text in EXAMPLES if "workspace_id" in text))
    assert read_dlc_config(file).remarks == ()


def test_figures_of_losses_are_those_of_the_code():
    """How often is too often, and the code that means to go on later, are as the page says."""
    assert f"After {MOST_IDLE} such jobs in a row" in section("What is lost, and what happens then")
    assert f"exits with {GO_ON_LATER}" in section("What is lost, and what happens then")


def test_the_page_names_all_that_an_engine_must_have():
    """Whoever writes an engine is told each method that is called."""
    methods = {name for name in vars(Engine) if not name.startswith("_") and callable(vars(Engine)[name])}
    text = section("Other clusters")
    assert methods
    assert {name for name in methods if f"`{name}`" not in text} == set()
