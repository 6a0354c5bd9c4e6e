"""What must hold with every pytest that the package promises to work with, and without xdist; tox runs it with each."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUITE = """
name: small
models:
  - {name: upper, adapter: "./models.py:upper"}
  - {name: plain, adapter: "./models.py:plain"}
datasets:
  - {name: words, format: jsonl, path: words.jsonl}
  - {name: more, format: jsonl, path: more.jsonl}
inputs: [text]
reference: wanted
metrics: [exact_match]
"""
MODELS = """
def upper(batch):
    return [sample.input.upper() for sample in batch]

def plain(batch):
    return [sample.input for sample in batch]
"""
HEAVY = (
    "pandas",
    "numpy",
    "onnxruntime",
    "paramiko",
    "pynvml",
    "rich",
    "typer",
    "pydantic",
    "psutil",
    "orjson",
    "yaml",
)

# Where xdist is left out on purpose there is no -n to ask for.
WITH_XDIST = [] if importlib.util.find_spec("xdist") is None else [pytest.param(("-n", "2"), id="n2")]
ALONE = pytest.param((), id="alone")
WAYS = [ALONE, pytest.param(("-p", "no:xdist"), id="no xdist"), *WITH_XDIST]


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Path:
    """Two models and two datasets of three words: `upper` is right about all of them, `plain` about none."""
    root = pytester.mkdir("small")
    for name, words in (("words", "one two three"), ("more", "four five six")):
        rows = [json.dumps({"text": word, "wanted": word.upper()}) for word in words.split()]
        (root / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    (root / "models.py").write_text(MODELS)
    (root / "evalrun.yaml").write_text(SUITE)
    return root


def run(pytester: pytest.Pytester, *args: str, way: Sequence[str] = ()) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-v", *way, *args)


def value(pytester: pytest.Pytester, pair: str) -> float:
    text = (pytester.path / f"outputs/default/latest/results/small/{pair}.json").read_text()
    return float(json.loads(text)["metrics"]["exact_match"]["value"])


def predictions(pytester: pytest.Pytester) -> list[Path]:
    return list((pytester.path / "outputs/default/latest/predictions").rglob("*.jsonl"))


@pytest.mark.parametrize("way", WAYS)
def test_pairs_pass_and_are_reused(pytester: pytest.Pytester, suite: Path, way: Sequence[str]) -> None:
    """Every pair is one item that passes and leaves its result; a second run does not ask its model again."""
    run(pytester, way=way).assert_outcomes(passed=4)
    assert value(pytester, "upper/words") == 1
    assert value(pytester, "plain/more") == 0
    stamps = {file: file.stat().st_mtime_ns for file in predictions(pytester)}
    assert stamps
    run(pytester, way=way).assert_outcomes(passed=4)
    assert {file: file.stat().st_mtime_ns for file in predictions(pytester)} == stamps


@pytest.mark.parametrize("way", WAYS)
def test_breached_gate_fails(pytester: pytest.Pytester, suite: Path, way: Sequence[str]) -> None:
    """A gate that does not hold is a failure of its pair and of no other; `--lf` selects just these."""
    with (suite / "evalrun.yaml").open("a") as file:
        file.write("gates: {exact_match: {min: 0.5}}\n")
    run(pytester, way=way).assert_outcomes(passed=2, failed=2)
    again = run(pytester, "--lf", way=way)
    again.assert_outcomes(failed=2)
    again.stdout.fnmatch_lines(["*exact_match*0.5*"])


@pytest.mark.parametrize("way", [ALONE, *WITH_XDIST])
def test_broken_model_is_an_error(pytester: pytest.Pytester, suite: Path, way: Sequence[str]) -> None:
    """A model that cannot be had is an ERROR of its pairs; the others go on."""
    (suite / "models.py").write_text(
        MODELS.replace("def plain(batch):", "def plain(batch):\n    raise RuntimeError(7)")
    )
    done = run(pytester, "--eval-retries", "0", way=way)
    done.assert_outcomes(passed=2, errors=2)
    assert done.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("way", [ALONE, *WITH_XDIST])
def test_mistyped_key_is_a_usage_error(pytester: pytest.Pytester, suite: Path, way: Sequence[str]) -> None:
    """A suite that cannot be read ends with exit code 4, names the key, and runs nothing."""
    with (suite / "evalrun.yaml").open("a") as file:
        file.write("metric: [top1]\n")
    done = run(pytester, way=way)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "metric" in done.stdout.str() + done.stderr.str()
    assert not (pytester.path / "outputs").exists()


@pytest.mark.parametrize(
    ("args", "passed"),
    [
        pytest.param(("-k", "upper"), 2, id="-k"),
        pytest.param(("small/evalrun.yaml::test_pair[plain/more]",), 1, id="pasted id"),
        pytest.param(("--deselect", "small/evalrun.yaml::test_pair[plain/more]"), 3, id="--deselect"),
    ],
)
def test_selection_is_pytests_own(pytester: pytest.Pytester, suite: Path, args: Sequence[str], passed: int) -> None:
    """Pairs are selected like any test."""
    outcomes = run(pytester, *args).parseoutcomes()
    assert outcomes["passed"] == passed


def test_collect_only_makes_nothing(pytester: pytest.Pytester, suite: Path) -> None:
    """A dry run lists every pair and leaves no run directory behind."""
    done = pytester.runpytest_subprocess("--collect-only", "-q")
    done.stdout.fnmatch_lines(["small/evalrun.yaml::test_pair[[]upper/words[]]"])
    assert not (pytester.path / "outputs").exists()


@pytest.mark.parametrize("way", [ALONE, *WITH_XDIST])
def test_users_own_test_gets_the_pairs(pytester: pytest.Pytester, suite: Path, way: Sequence[str]) -> None:
    """A test function that takes `pair` runs once for each pair."""
    (suite / "test_own.py").write_text("def test_name(pair):\n    assert pair.suite == 'small'\n")
    run(pytester, "small/test_own.py", way=way).assert_outcomes(passed=4)


def test_inert_without_a_suite(pytester: pytest.Pytester) -> None:
    """Where there is no suite nothing heavy is imported, nothing printed, nothing made."""
    pytester.makepyfile(
        f"import sys\n\ndef test_light():\n    assert not [name for name in {HEAVY} if name in sys.modules]\n"
    )
    done = pytester.runpytest_subprocess()
    done.assert_outcomes(passed=1)
    done.stdout.no_fnmatch_line("eval*")
    assert not (pytester.path / "outputs").exists()
