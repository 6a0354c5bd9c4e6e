"""Runs written by hand, file by file, as the contract of the formats says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.suite.names import safe_name
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from pathlib import Path


def metric(value, n=10, better="higher", **more):
    return {"value": value, "n": n, "low": value - 0.05, "high": value + 0.05, "better": better, **more}


class HandMadeRun:
    """Writes what an evaluation would have written."""

    def __init__(self, root: Path) -> None:
        self.paths = RunPaths(root)
        root.mkdir(parents=True)
        self.paths.run_json.write_text('{"format": 1}')

    @staticmethod
    def key(suite, task, dataset):
        return PairKey(safe_name(suite), safe_name(task), safe_name(dataset))

    def result(self, suite, task, dataset, *, status="passed", metrics=None, total=10, failed=0, gates=(), **more):
        """``metrics`` maps names to values, or to whole metrics."""
        metrics = {n: m if isinstance(m, dict) else metric(m, total) for n, m in (metrics or {}).items()}
        values = {
            "suite": suite,
            "task": task,
            "dataset": dataset,
            "status": status,
            "metrics": metrics,
            "samples": {"total": total, "predicted": total - failed, "failed": failed, "reused": 0},
            "seconds": {"load": 0.1, "predict": 0.2, "score": 0.1, "total": 0.4, "p50": 0.01, "p95": 0.02},
            "gates": list(gates),
            "fingerprint": {},
            "environment": {},
        } | more
        return self.write(self.paths.pair(self.key(suite, task, dataset)).result, json.dumps(values))

    def predictions(self, suite, task, dataset, lines, tail=""):
        """``lines`` are (index, prediction, reference), or whole lines."""
        text = "".join(json.dumps(self.line(line), ensure_ascii=False) + "\n" for line in lines)
        return self.write(self.paths.pair(self.key(suite, task, dataset)).predictions, text + tail)

    def scores(self, suite, task, dataset, lines):
        text = "".join(json.dumps({"id": f"s{line['index']}", **line}) + "\n" for line in lines)
        return self.write(self.paths.pair(self.key(suite, task, dataset)).scores, text)

    @staticmethod
    def line(line):
        if isinstance(line, dict):
            return line
        index, prediction, reference = line
        head = {"index": index, "id": f"s{index}", "status": "ok", "prediction": prediction}
        return head | {"reference": reference, "error": None, "seconds": 0.01}

    @staticmethod
    def write(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path
