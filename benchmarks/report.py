"""What the page of a run costs: 1,000 no-op pairs with and without it, and 500 pairs of 1,000 samples from nothing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from benchmarks.harness import MODELS, Figure, Scale, Timed, alternate, ratio, write_suite
from pytest_evalrun.report.html.report import BUDGET, ReportAsked, write_report
from pytest_evalrun.report.rows import read_summary
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.results import TIMING, Result
from pytest_evalrun.rundir.runs import begin_run
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from pathlib import Path

PAIRS, SAMPLES = 500, 1_000
MOST_SECONDS = 10.0
# Neither workers nor the launching process do anything for the page.
WITHOUT = """
from pytest_evalrun.plugin import controller
from pytest_evalrun.plugin.fragments import FragmentWriter

controller.page_remarks = lambda *_: []
FragmentWriter.write = lambda *_: None
"""


def measure(scale: Scale, place: Path) -> list[Figure]:
    """The same suite twice, one of them with a conftest.py that leaves the page out; and a page of everything anew."""
    commands = {}
    for name, conftest in (("with", ""), ("without", WITHOUT)):
        suite = write_suite(place / name, MODELS, scale.pairs // MODELS)
        (suite / "conftest.py").write_text(conftest)
        commands[name] = Timed(suite, ("-n", "2"), pairs=scale.pairs)
    spent = alternate(commands, scale.rounds)
    return [ratio(f"{scale.pairs:,} no-op pairs with the page, against without", spent, 1, 0.2), _from_nothing(place)]


def _from_nothing(place: Path) -> Figure:
    paths = RunPaths(place / "made" / "20260101_000000")
    paths.root.mkdir(parents=True)
    begin_run(paths)
    for number in range(PAIRS):
        _write_pair(paths, PairKey("made", f"m{number}", "d"))
    summary = read_summary(paths, lambda *_: False)
    start, used = time.perf_counter(), time.process_time()
    page = write_report(ReportAsked(paths, summary))
    seconds, processor, size = time.perf_counter() - start, time.process_time() - used, page.stat().st_size
    what = f"the page of {PAIRS} pairs of {SAMPLES:,} samples from nothing, and its size"
    held = processor <= MOST_SECONDS and size <= BUDGET
    shown = f"{size / 1e6:.1f} MB", f"{processor:.1f} s", f"<= {MOST_SECONDS:.0f} s"
    return Figure(what, seconds, MOST_SECONDS, *shown, held)


def _write_pair(paths: RunPaths, key: PairKey) -> None:
    """Predictions, scores and a result, as an evaluation leaves them."""
    files = paths.pair(key)
    for path in (files.predictions, files.result):
        path.parent.mkdir(parents=True, exist_ok=True)
    lines, scores = [], []
    for index in range(SAMPLES):
        head = {"index": index, "id": f"row-{index}"}
        told = {"status": "ok", "prediction": f"answer {index}", "reference": f"answer {index}", "error": None}
        lines.append(json.dumps(head | told | {"seconds": 0.01 + index % 50 / 1_000}) + "\n")
        scores.append(json.dumps(head | {"exact_match": float(index % 7 > 0)}) + "\n")
    files.predictions.write_text("".join(lines))
    files.scores.write_text("".join(scores))
    result = Result(
        *key,
        status="passed",
        metrics={"exact_match": {"value": 0.857, "n": SAMPLES, "low": 0.83, "high": 0.88, "better": "higher"}},
        samples={"total": SAMPLES, "predicted": SAMPLES, "failed": 0, "reused": 0},
        seconds={"total": 1.0, "p50": 0.03, "p95": 0.05},
        gates=[],
        fingerprint={"prediction": {"model": "0" * 64}, "score": {"metrics": {}}},
        environment={"python": "3.12"},
        timing=TIMING,
    )
    files.result.write_text(result.dumps())
