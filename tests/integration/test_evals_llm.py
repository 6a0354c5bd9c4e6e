"""The sample suite evals/llm: its server says what it was asked, run by run."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from support import Project

EVALS = Path(__file__).parents[2] / "evals" / "llm"
FACTS, QUIZ = 40, 24
GENERATIONS = 3  # of facts, where there are examples
PROMPTS = ("plain", "system", "fewshot")
OF_FACTS = (len(PROMPTS) - 1 + GENERATIONS) * FACTS
PAIRS = [f"ngram@{prompt}/{dataset}" for prompt in PROMPTS for dataset in ("facts", "quiz")]


class Suite(Project):
    """A copy of the suite, as it is after a clone; its server keeps a line a request."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.suite = root / "evals" / "llm"
        self.log = root / "requests.jsonl"

    def clone(self) -> Suite:
        shutil.copytree(EVALS, self.suite, ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / "pytest.ini").write_text("[pytest]\n")
        return self

    def evaluate(self, *options: str):
        """How it ended, and the bodies of the requests of this run; none where no server was started."""
        self.log.unlink(missing_ok=True)
        ran = self.run("evals", *options, EVALS_LLM_LOG=str(self.log))
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return ran, [json.loads(line) for line in lines]

    def change(self, name: str, old: str, new: str) -> None:
        path = self.suite / name
        text = path.read_text()
        assert text.count(old) == 1, (name, old)
        path.write_text(text.replace(old, new))

    def told(self, pair: str) -> str:
        """What the log of a pair says."""
        task, dataset = pair.split("/")
        return (self.latest / "logs" / "infer" / "llm" / task / f"{dataset}.log").read_text()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The suite after its first run, what pytest said, and what its server was asked."""
    suite = Suite(tmp_path_factory.mktemp("llm") / "clone").clone()
    ran, asked = suite.evaluate("-n", "2")
    assert ran.code == 0, ran
    return suite.root, ran, asked


@pytest.fixture
def suite(tmp_path, first):
    """A copy of it for a test of its own."""
    shutil.copytree(first[0], tmp_path / "clone", symlinks=True)
    return Suite(tmp_path / "clone")


def reused(ran) -> list[str]:
    return [pair for pair in PAIRS if f"llm/{pair} " in ran and "(reused: unchanged" in line_of(ran, pair)]


def line_of(ran, pair: str) -> str:
    return next(line for line in ran.output.splitlines() if f" llm/{pair} " in line)


def test_passes_from_a_fresh_clone(first):
    """Every pair passes its gates, and its server was asked for each sample once."""
    _, ran, asked = first

    assert all(line_of(ran, pair).startswith("PASSED") for pair in PAIRS), ran
    assert {line["status"] for line in asked} == {200}
    assert set(Counter(line["digest"] for line in asked).values()) == {1}
    assert len(asked) == len(PROMPTS) * QUIZ + OF_FACTS


def test_second_run_asks_nothing(suite):
    """All of it is reused, and no server started for that; that a file was touched changes nothing."""
    os.utime(suite.suite / "data" / "facts_dev.jsonl", (1, 1))
    ran, _ = suite.evaluate("-n", "2")

    assert ran.code == 0, ran
    assert reused(ran) == PAIRS
    assert not suite.log.exists()


def test_another_way_to_the_answer_asks_nothing(suite):
    """Another regex scores again what was answered."""
    suite.change("evalrun.yaml", "{first_line: true}", "{regex: '(\\w+)\\W*$'}")
    ran, asked = suite.evaluate()

    assert asked == []
    assert "scored again" in line_of(ran, "ngram@plain/facts"), ran
    assert reused(ran) == [pair for pair in PAIRS if pair.endswith("quiz")]


def test_another_template_asks_again(suite):
    """What is asked with another template is asked again, for that reason; nothing else is."""
    suite.change("evalrun.yaml", '"{{ question }}"', '"{{ question }} "')
    ran, asked = suite.evaluate()

    assert len(asked) == OF_FACTS
    assert reused(ran) == [pair for pair in PAIRS if pair.endswith("quiz")]
    assert "prompt changed (template)" in suite.told("ngram@plain/facts")


def test_a_row_that_is_mended_is_asked_once(suite):
    """Of all that a dataset asks, the one row that changed; as often as each prompt asks for it."""
    suite.change("data/facts.jsonl", "Which metal is liquid", "Which metal is a liquid")
    ran, asked = suite.evaluate()

    questions = [line["body"]["messages"][-1]["content"] for line in asked]
    assert questions == ["Which metal is a liquid at room temperature?"] * (2 + GENERATIONS), ran
    assert all(f"{FACTS - 1} answers taken over" in suite.told(f"ngram@{prompt}/facts") for prompt in PROMPTS[:2])


def test_examples_that_changed_are_the_reason(suite):
    """Other examples in a file are told as the reason, with its name; who is not shown them is not asked."""
    suite.change("data/facts_dev.jsonl", "capital of France", "chief city of France")
    ran, asked = suite.evaluate()

    assert len(asked) == GENERATIONS * FACTS
    assert all("chief city" in str(line["body"]["messages"]) for line in asked)
    assert reused(ran) == [pair for pair in PAIRS if pair != "ngram@fewshot/facts"]
    assert "few-shot file data/facts_dev.jsonl" in suite.told("ngram@fewshot/facts")
