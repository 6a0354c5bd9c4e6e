"""100,000 texts scored by the letter and the number in them, against a bare loop of ``re`` and ``json``."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale, Spent, Timed, ratio
from pytest_evalrun.rundir.layout import WorkDir

if TYPE_CHECKING:
    from pathlib import Path

LINES = 100_000
OPTIONS = 4

# What somebody writes who needs no more than two numbers, from the lines that the suite has kept.
BARE = """
import json, re, sys
letter = re.compile(r"^ANSWER\\s*:\\s*([A-D])\\s*$", re.MULTILINE)
number = re.compile(r"#### (\\S+)")
right = numbers = count = 0
with open(sys.argv[1], encoding="utf-8") as lines, open("scores.jsonl", "w", encoding="utf-8") as out:
    for text in lines:
        line = json.loads(text)
        letters, found = letter.findall(line["prediction"]), number.findall(line["prediction"])
        is_right = bool(letters) and letters[-1] == line["reference"]
        is_number = bool(found) and found[-1] == line["reference"]
        right, numbers, count = right + is_right, numbers + is_number, count + 1
        scores = {"letter": int(is_right), "number": int(is_number)}
        answers = {"letter": letters[-1] if letters else None, "number": found[-1] if found else None}
        out.write(json.dumps({"id": line["id"], "scores": scores, "answers": answers}) + "\\n")
assert (right, numbers, count) == (75_000, 0, 100_000), (right, numbers, count)
"""
ADAPTER = """
def predict(batch):
    return [f"Let me think.\\nIt may be A, or C.\\n#### {sample.input}\\nANSWER: {'ABCD'[int(sample.input) % 4]}"
            for sample in batch]
"""


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Ours starts pytest, checks what was predicted, and keeps a score and the answers of each sample."""
    suite, bare = place / "suite", place / "bare"
    predictions = _predict(suite)
    bare.mkdir()
    (bare / "loop.py").write_text(BARE)
    kept = suite / "kept"
    (suite / "outputs").rename(kept)
    spent: dict[str, list[Spent]] = {"suite": [], "bare": []}
    for _ in range(scale.rounds):
        shutil.rmtree(suite / "outputs", ignore_errors=True)
        shutil.copytree(kept, suite / "outputs", symlinks=True)
        spent["suite"].append(Timed(suite, ("-n", "0", "--eval-mode", "eval"), keep=True).run())
        spent["bare"].append(Timed(bare, ("loop.py", str(kept / predictions)), program=()).run())
    _check(suite)
    return [ratio(f"{LINES:,} texts scored by letter and regex, against a bare loop", spent, 2.0)]


def _predict(suite: Path) -> Path:
    """Of four samples three have the right letter; where the predictions are, below what was kept."""
    suite.mkdir()
    with (suite / "d.jsonl").open("w") as file:
        for number in range(LINES):
            right = "ABCD"[number % OPTIONS] if number % OPTIONS else "B"
            file.write(json.dumps({"x": str(number), "y": right}) + "\n")
    (suite / "adapter.py").write_text(ADAPTER)
    (suite / "pytest.ini").write_text("[pytest]\n")
    words = {
        "adapter": "./adapter.py:predict",
        "models": [{"name": "m"}],
        "datasets": [{"name": "d", "path": "d.jsonl"}],
        "format": "jsonl",
        "inputs": ["x"],
        "reference": "y",
        "max_batch_size": 256,
        "answer": {"letters": {"letter": "ABCD"}, "numbers": {"regex": r"#### (\S+)"}},
        "metrics": ["exact_match"],
    }
    (suite / "evalrun.yaml").write_text(json.dumps(words))
    Timed(suite, ("-n", "0", "--eval-mode", "infer")).run()
    (predictions,) = (suite / "outputs").glob("*/[0-9]*/predictions/*/m/d.jsonl")
    return predictions.relative_to(suite / "outputs")


def _check(suite: Path) -> None:
    (path,) = WorkDir(suite / "outputs/default").latest.glob("results/*/*/*.json")
    metrics = json.loads(path.read_text())["metrics"]
    found = {name: (metric["value"], metric["n"]) for name, metric in metrics.items()}
    if found.get("exact_match@letters") != (0.75, LINES) or found.get("exact_match@numbers") != (0.0, LINES):
        raise SystemExit(f"{path}: found {found}")
