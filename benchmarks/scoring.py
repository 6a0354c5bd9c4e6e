"""100,000 answers of a language model scored by letter and by regex, against a bare loop of re and json.

Both run in this process, over the same two files. Ours is the scoring pass alone: that the predictions are opened, and
that pytest starts, is measured elsewhere.
"""

from __future__ import annotations

import json
import random
import re
import time
from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale, Spent, ratio
from pytest_evalrun.datasets import create_reader
from pytest_evalrun.evaluation.context import Context, Launch
from pytest_evalrun.evaluation.score import Scorer
from pytest_evalrun.rundir.predictions import Line, PredictionsFile
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task
from pytest_evalrun.suite.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = 100_000
WORDS = ("the", "of", "and", "in", "that", "was", "for", "it", "with", "his", "had", "not", "which", "they")
WAYS = {
    "letter": ({"letter": "ABCD"}, re.compile(r"(?im)^[^\w\n]*answer\s*:\s*\(?([A-D])\b")),
    "regex": ({"regex": "ANSWER: ([A-D])"}, re.compile("ANSWER: ([A-D])")),
}
SETTINGS = {"adapter": "./none.py:f", "format": "jsonl", "id_column": "id", "inputs": ["question"]}


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Ours checks each line against its sample, and has intervals and the share without an answer."""
    context = Context(Launch(str(place / "run"), str(place), "bench"), "main", Secrets(()))
    _write(place, context, _pair(place, {}))
    figures = []
    for name, (way, pattern) in WAYS.items():
        pair = _pair(place, way)
        spent: dict[str, list[Spent]] = {"ours": [], "bare": []}
        for _ in range(scale.rounds):
            spent["ours"].append(_ours(context, pair))
            spent["bare"].append(_bare(place, context.paths.pair(pair.key).predictions, pattern))
        figures.append(ratio(f"{SAMPLES:,} answers scored by {name}, against a loop of re and json", spent, 2.0))
    context.close()
    return figures


def _pair(place: Path, answer: dict[str, str]) -> Pair:
    settings = {**SETTINGS, "reference": "answer", "metrics": ["exact_match"], "answer": answer or None}
    data = Dataset("d", str(place / "d.jsonl"))
    return Pair("s", str(place), Task("m", None, str(place)), data, (Layer("suite", "evalrun.yaml", settings),))


def _write(place: Path, context: Context, pair: Pair) -> None:
    """Questions, and an answer each that ends with a line of its own, as an endpoint's lines are kept."""
    chance = random.Random(1)  # noqa: S311 - words, no secrets
    with (place / "d.jsonl").open("w") as file:
        for index in range(SAMPLES):
            question = " ".join(chance.choices(WORDS, k=20))
            file.write(json.dumps({"id": f"q{index}", "question": question, "answer": chance.choice("ABCD")}) + "\n")
    usage = {"input": 50, "output": 80, "cached": 0}
    progress = PredictionsFile(context.paths.pair(pair.key).predictions).open(context.disk, SAMPLES)
    for sample in create_reader(pair.dataset, pair.settings, pair.root):
        text = f"{' '.join(chance.choices(WORDS, k=60))}.\nANSWER: {chance.choice('ABCD')}"
        detail = {"finish_reason": "stop", "usage": usage, "attempts": 1, "digest": f"{chance.getrandbits(256):064x}"}
        progress.append([Line(sample.index, sample.id, "ok", text, sample.reference, None, 0.5, detail)])
    progress.close()


def _ours(context: Context, pair: Pair) -> Spent:
    paths = context.paths.pair(pair.key)
    progress = PredictionsFile(paths.predictions).open(context.disk, SAMPLES)
    samples = create_reader(pair.dataset, pair.settings, pair.root)
    started, used = time.perf_counter(), time.process_time()
    scores = Scorer(pair, context.disk, paths, SAMPLES).run(samples, progress)
    spent = Spent(time.perf_counter() - started, time.process_time() - used)
    metrics = scores.metrics
    if metrics["exact_match"]["n"] != SAMPLES or metrics["unanswered"]["value"]:
        raise SystemExit(f"scored: {metrics}")
    return spent


def _bare(place: Path, predictions: Path, pattern: re.Pattern[str]) -> Spent:
    """What somebody writes who needs no more than the lines and one number."""
    started, used = time.perf_counter(), time.process_time()
    right = none = 0
    with (place / "d.jsonl").open() as rows, predictions.open() as said, (place / "scores.jsonl").open("w") as out:
        for text, raw in zip(rows, said, strict=True):
            row, line = json.loads(text), json.loads(raw)
            found = pattern.findall(line["prediction"])
            answer = found[-1] if found else None
            score = float(answer == row["answer"])
            right += score
            none += answer is None
            kept = {"index": line["index"], "id": line["id"], "exact_match": score, "answer": answer}
            out.write(json.dumps(kept) + "\n")
    spent = Spent(time.perf_counter() - started, time.process_time() - used)
    if none or not 0.2 < right / SAMPLES < 0.3:
        raise SystemExit(f"the bare loop: {right} of {SAMPLES} are right, {none} have no answer")
    return spent
