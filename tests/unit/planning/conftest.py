"""Pairs without a suite, and a history written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.results import append_history
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task

if TYPE_CHECKING:
    from pathlib import Path


class Bench:
    """A suite's directory with models and data of any size, and the work directory beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = WorkDir(root / "outputs")
        self.work.root.mkdir()
        self.run = self.work.run("run")

    def pair(self, name, *, data=100, model=1000, skip=None, **settings):
        """``task/dataset`` with files of so many bytes; None where there is none."""
        task, dataset = name.split("/")
        path = self._file(f"{task}.bin", model)
        layers = (Layer("suite", "evalrun.yaml", {"adapter": "./model.py:Model"}), Layer("task", "c", settings))
        place = self._file(f"{dataset}.jsonl", data) or str(self.root / "nowhere")
        model = Task(task, path, str(self.root))
        return Pair("s", str(self.root), model, Dataset(dataset, place), layers, skip=skip)

    def _file(self, name, size):
        path = self.root / name
        if size is None:
            return None
        if not path.exists():
            path.write_bytes(b"x" * size)
        return str(path)

    def remember(
        self,
        name,
        *,
        load=0.0,
        predict=9.0,
        score=1.0,
        once=7.0,
        count=100,
        reused=0,
        total=None,
        p50=0.01,
        limit=None,
        **more,
    ):
        """One completed evaluation of ``count`` samples, as the last line of the history; ``once`` is what will not be
        paid again."""
        entry = {
            "pair": f"s/{name}",
            "fingerprint": {"prediction": {"limit": limit}} if limit else {},
            "metrics": {"top1": 0.5},
            "samples": {"total": total or count, "predicted": count, "failed": 0, "reused": reused},
            "seconds": {
                "load": load,
                "predict": predict,
                "score": score,
                "total": load + predict + score + once,
                "p50": p50,
                **more,
            },
            **({"timing": 2} if more else {}),
        }
        disk = Disk(interval=3600)
        append_history(disk, self.work.history, entry)
        disk._dirty.clear()  # no test here outlives a power cut
        disk.close()

    def write(self, text):
        with self.work.history.open("a", encoding="utf-8") as file:
            file.write(text)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)
