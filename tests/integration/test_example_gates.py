"""examples/gates: four models whose quality is known, with 200 samples and with 5,000, against a committed baseline."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "gates"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
PAGE = (EXAMPLE.parents[1] / "docs" / "gates.md").read_text(encoding="utf-8")
VERDICTS = {
    model: {"n200": few, "n5000": many}
    for model, few, many in re.findall(r"\| `(\w+)` \| \S+ \| ([A-Z]+) \| ([A-Z]+) \|", README)
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The example as it is committed, in a project of its own."""
    root = tmp_path_factory.mktemp("gates")
    ignored = shutil.ignore_patterns("__pycache__", "outputs")
    shutil.copytree(EXAMPLE, root / "examples" / "gates", ignore=ignored)
    (root / "pytest.ini").write_text("[pytest]\n")
    return root


@pytest.fixture
def example(project, copied):
    shutil.copytree(copied, project.root, dirs_exist_ok=True)
    return project


def gates_of(project) -> dict[str, dict[str, dict]]:
    """The gate of each pair's result, by model and dataset."""
    results = (project.latest / "results" / "gates").glob("*/*.json")
    found = [json.loads(file.read_text(encoding="utf-8")) for file in results]
    told: dict[str, dict[str, dict]] = {}
    for result in found:
        told.setdefault(result["task"], {})[result["dataset"]] = result["gates"][0]
    return told


def test_verdicts_are_those_of_the_readme(example):
    """5,000 samples tell what 200 leave open, and the README shows what is really printed."""
    ran = example.run("examples/gates", "-n0")
    assert ran.code == 1, ran
    found = gates_of(example)
    assert {
        model: {name: gate["verdict"] for name, gate in gates.items()} for model, gates in found.items()
    } == VERDICTS
    assert set(VERDICTS) == {"better", "equal", "slightly_worse", "much_worse"}
    assert len(texts(README)) > 10
    assert [line for line in texts(README) if line not in ran.output.splitlines()] == []


def test_the_page_shows_what_is_really_printed(example):
    """All that docs/gates.md shows of a run and of `evalrun gate` comes out of this example."""
    ran = example.run("examples/gates", "-n0")
    code, output, errors = example.evalrun("gate", "main", "latest", "-k", "n200")
    assert code == 1, errors
    printed = [line.rstrip() for line in (ran.output + output).splitlines()]
    assert len(texts(PAGE)) > 15
    assert [line for line in texts(PAGE) if line not in printed] == []


def texts(page: str) -> list[str]:
    """All lines of a page that are shown as printed."""
    return [line for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]


def test_no_verdict_contradicts_what_is_true(example):
    """How good the models truly are is known: PASS only where the drop is allowed, FAIL only where it is not."""
    example.run("examples/gates", "-n0")
    truth = {"better": 0.03, "equal": 0.0, "slightly_worse": -0.035, "much_worse": -0.1}
    for model, gates in gates_of(example).items():
        for gate in gates.values():
            low, high = gate["interval"]
            assert low <= truth[model] <= high
            assert (gate["verdict"] == "PASS") <= (truth[model] >= -0.02)
            assert (gate["verdict"] == "FAIL") <= (truth[model] < -0.02)


def test_the_baseline_is_that_of_the_first_release(example):
    """Whoever makes the baseline again by the README's commands gets the scores that are committed."""
    suite = example.root / "examples" / "gates"
    committed = {file.relative_to(suite): lines_of(file) for file in (suite / "baselines").rglob("*.jsonl")}
    shutil.rmtree(suite / "baselines")
    ran = example.run("examples/gates", "-n0", "--eval-set", "params.release=1")
    assert "no baseline" in ran.output
    code, output, errors = example.evalrun("baseline", "save", "main", "--dir", "examples/gates/baselines")
    assert code == 0, errors
    assert "8 pairs, 20,800 samples" in output
    assert {file.relative_to(suite): lines_of(file) for file in (suite / "baselines").rglob("*.jsonl")} == committed


def lines_of(file: Path) -> tuple[dict, list[str]]:
    """The head but for the run and the time, and the samples."""
    head, *samples = file.read_text(encoding="utf-8").splitlines()
    kept = {key: value for key, value in json.loads(head).items() if key not in {"run", "time"}}
    return kept, samples


def test_the_data_are_made_again_byte_for_byte(example):
    """`python examples/gates/sums.py` makes the questions that are committed."""
    suite = example.root / "examples" / "gates"
    namespace: dict = {"__name__": "sums"}
    exec(compile((suite / "sums.py").read_text(encoding="utf-8"), "sums.py", "exec"), namespace)
    for count in (200, 5_000):
        namespace["write"](suite / "again.jsonl", count)
        assert (suite / "again.jsonl").read_bytes() == (suite / f"n{count}.jsonl").read_bytes()
