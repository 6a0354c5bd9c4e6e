"""The sample suite evals/agents, from a fresh clone."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from agentsuite import Agents, nothing_left

EVALS = Path(__file__).parents[2] / "evals"
PAIRS = [f"{agent}/{world}" for agent in ("scripted", "ngram") for world in ("sql", "files")]
SOLVED = {"scripted/sql": 18, "scripted/files": 18, "ngram/sql": 0, "ngram/files": 0}
STATUSES = {
    "scripted/sql": {"completed": 20},
    "scripted/files": {"completed": 20},
    "ngram/sql": {"agent validation failed": 20},
    "ngram/files": {"agent invalid action": 20},
}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The suite after its first run, as it is after a clone."""
    suite = Agents(tmp_path_factory.mktemp("evals") / "clone")
    for name in ("agents", "llm"):
        shutil.copytree(EVALS / name, suite.root / "evals" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (suite.root / "pytest.ini").write_text("[pytest]\n")
    return suite, suite.run("evals/agents", "-n", "2")


def test_passes_from_a_fresh_clone(first):
    """Every pair passes its gates, without a key, and nothing is left running."""
    suite, ran = first

    assert (ran.code, ran.counts) == (0, {"passed": 4}), ran
    nothing_left(suite.root)


@pytest.mark.parametrize("pair", PAIRS)
def test_samples_end_as_they_must(first, pair):
    """The agent with rules solves what it has rules for; the other one ends with the statuses for what it says."""
    suite, _ = first
    ends = [line["prediction"] for line in suite.predictions(*pair.split("/"))]

    assert sum(end["result"]["success"] for end in ends) == SOLVED[pair]
    assert Counter(end["status"] for end in ends) == STATUSES[pair]


def test_second_run_plays_nothing(first):
    """All of it is reused."""
    suite, _ = first
    before = {pair: suite.predictions(*pair.split("/")) for pair in PAIRS}
    ran = suite.run("evals/agents", "-n", "2")

    assert ran.output.count("(reused: unchanged") == 4, ran
    assert json.dumps({pair: suite.predictions(*pair.split("/")) for pair in PAIRS}) == json.dumps(before)
