"""All that the page tells of one pair, but what depends on the rest of its run: made once, and kept as a fragment."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pytest_evalrun.report.html.safejson import safe_json, shown_json
from pytest_evalrun.report.matrix import MOST_LABELS, table_of
from pytest_evalrun.report.records import judges_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.report.html.choosing import Chosen
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.results import Result
    from pytest_evalrun.suite.pairs import PairKey

# What differs from run to run.
_BY_ITSELF = frozenset({"gpu_peak_gb"})
_NO_ENVIRONMENT = frozenset({"error", "skipped", "libraries"})


@lru_cache(maxsize=16384)
def anchor_of(key: PairKey) -> str:
    """What a pair is called in links of the page: the same in every run."""
    return "p" + hashlib.blake2s("/".join(key).encode(errors="replace"), digest_size=6).hexdigest()


def detail_of(files: PairPaths, result: Result, chosen: Chosen) -> bytes:
    """The detail without status, history, changes and samples, which are put before and behind it."""
    metrics = result.metrics
    tables = [
        {"metric": name, "labels": table["labels"], "rows": table["rows"]}
        for name, metric in metrics.items()
        if (table := table_of(metric)) is not None and len(table["labels"]) <= MOST_LABELS
    ]
    detail = {
        "gates": result.gates,
        "environment": environment_of(result),
        "tables": tables,
        "histogram": chosen.histogram,
        "seconds": result.seconds,
        "counts": result.samples | chosen.counts,
        "usage": result.usage,
        "statuses": result.statuses,
        "scored": chosen.scored,
        "binary": chosen.binary,
        "better": {name: metric.get("better", "higher") for name, metric in metrics.items()},
        "files": list(_files(files, result)),
    }
    return shown_json(detail)


def environment_of(result: Result) -> dict[str, str]:
    """Python, platform and versions of libraries, each as a text."""
    return _flat(result.environment)


def moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What of an environment became another, but by itself: ``numpy 1.26.4 became 2.1.0``."""
    before, after = _flat(old), _flat(new)
    for name in sorted({*before, *after} - _BY_ITSELF):
        if before.get(name) != after.get(name):
            yield f"{name} {before.get(name, '(none)')} became {after.get(name, '(none)')}"


def _flat(told: Mapping[str, Any]) -> dict[str, str]:
    libraries = told.get("libraries")
    found = {name: str(value) for name, value in told.items() if name not in _NO_ENVIRONMENT}
    return found | ({name: str(version) for name, version in libraries.items()} if isinstance(libraries, dict) else {})


def _files(files: PairPaths, result: Result) -> Iterator[dict[str, str]]:
    """The files of the pair that are there, as links from the page."""
    link = linker(files.run)
    found = {
        "result": files.result,
        "predictions": files.predictions,
        "scores": files.scores,
        "log of inference": files.infer_log,
        "log of scoring": files.eval_log,
    }
    if result.statuses:
        found["conversations"] = files.agent.runs
    if judges_in(result.fingerprint):
        found["verdicts of the judge"] = files.judged_verdicts
    for name, path in found.items():
        if os.path.exists(path) and (href := link(path)) is not None:  # noqa: PTH110 - of 10,000 pairs
            yield {"name": name, "href": href}


def linker(run: Path) -> Callable[[Path], str | None]:
    """Make what gives addresses for a page in ``summary/``: of files in the run such that move with it."""
    root = f"{os.fspath(run)}/"

    def link(path: Path) -> str | None:
        name = os.fspath(path)
        if name.startswith(root) and "/../" not in name:
            return "../" + quote(name[len(root) :], errors="surrogateescape")
        return "file://" + quote(name, errors="surrogateescape") if name.startswith("/") else None

    return link


def joined_detail(head: Mapping[str, Any], detail: bytes, tail: Mapping[str, Any], samples: list[bytes]) -> bytes:
    """One JSON object of what stands before a detail and behind it, and of samples that are JSON already."""
    parts = [safe_json(head)[1:-1], detail[1:-1], safe_json(tail)[1:-1], b'"samples":[' + b",".join(samples) + b"]"]
    return b"{" + b",".join(part for part in parts if part) + b"}"
