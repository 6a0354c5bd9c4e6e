"""What a prediction and a score depend on, as named parts, so that a re-run can always say why."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.clusters import cluster_column
from pytest_evalrun.datasets.protocol import Repeated
from pytest_evalrun.errors import PairError
from pytest_evalrun.metrics import metric_source
from pytest_evalrun.suite.answering import JUDGE

if TYPE_CHECKING:
    from pytest_evalrun.datasets.protocol import Identity, Reader
    from pytest_evalrun.rundir.hashes import HashCache
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.settings import MetricSpec

Parts = dict[str, Any]

# Where the code means something else than it did, though a suite says the same: raised, what an older version made is
# made again. What was 1 at first is written down once it is more. Of a user's own code its source tells.
IDENTITY = 1  # what the parts of a prediction mean
COMPARISON = 2  # how the same predictions and references are scored: nobody is asked again
ANSWERS = 1  # how answers are taken out of the same predictions
METRICS = {"psnr": 2, "ssim": 2}
# What each sample adds to their value is kept beside its scores.
METRICS |= dict.fromkeys(("bleu", "chrf", "wer", "macro_f1", "rmse", "r2", "cost_per_success"), 2)


@dataclass(frozen=True)
class WantedPair:
    """What is asked for of a pair, or of a shard of it: its data, and all that predictions and scores depend on.

    ``count`` answers are evaluated: of the whole dataset, which has ``total``, or of as many of its first samples as a
    limit leaves; of each sample there are ``generations``.
    """

    reader: Reader
    total: int
    count: int
    prediction: Parts
    score: Parts
    is_shard: bool = False
    generations: int = 1


def wanted_of(pair: Pair, reader: Reader, identity: Identity, hashes: HashCache) -> WantedPair:
    """Hash the model and the sources, through the cache. Raises PairError where these cannot be read."""
    limit, each = pair.settings.limit, pair.settings.generations
    count = identity.count if limit is None else min(limit, identity.count)
    prediction, score = prediction_parts(pair, identity, hashes), score_parts(pair, identity, hashes)
    samples = reader if each == 1 else Repeated(reader, each)
    return WantedPair(samples, identity.count * each, count * each, prediction, score, pair.is_shard, each)


def prediction_parts(pair: Pair, identity: Identity, hashes: HashCache) -> Parts:
    """Everything that a prediction depends on; batch size, retries, places and devices do not count.

    Parameters keep the names of ``${SECRETS}``, never their values.
    """
    settings = pair.settings
    kind = settings.kind
    source = kind.source(settings, pair.root)
    parts: Parts = {
        "identity": IDENTITY,
        "model": _model(pair, hashes),
        "inputs": identity.inputs,
        "adapter": settings.adapter,
        "adapter_source": hashes.file(source) if source else None,
        "preprocess": dict(settings.preprocess),
        "output": dict(settings.words.get("output", {})),  # counted of every kind from the first
        "params": dict(settings.params),
    }
    if kind.version is not None and kind.version > 1:
        parts["adapter_version"] = kind.version
    parts |= kind.identity(settings, pair.root, hashes)
    parts |= kind.identity_in_data(settings, pair.root, pair.dataset, hashes)
    if settings.limit is not None:
        parts["limit"] = settings.limit
    if settings.generations > 1:
        parts["generations"] = settings.generations
    return parts


def score_parts(pair: Pair, identity: Identity, hashes: HashCache) -> Parts:
    """What a score depends on besides the predictions."""
    metrics: Parts = {}
    for spec in pair.settings.metrics:
        source = metric_source(spec, pair.root)
        metrics[spec.name] = {"use": spec.use, "params": _metric_params(spec, pair, hashes)}
        if source:
            metrics[spec.name]["source"] = hashes.file(source)
        if (version := METRICS.get(spec.use, 1)) > 1:
            metrics[spec.name]["version"] = version
    parts: Parts = {"references": identity.references, "metrics": metrics, "comparison": COMPARISON}
    if answer := pair.settings.answer:
        parts["answer"] = dict(answer)
        if column := (pair.settings.words.get("prompt") or {}).get("choices"):
            parts["choices"] = column
        if ANSWERS > 1:
            parts["answer_rules"] = ANSWERS
    if column := cluster_column(pair.settings):
        parts["cluster"] = {"column": column, "values": identity.clusters}
    return parts


def _metric_params(spec: MetricSpec, pair: Pair, hashes: HashCache) -> Parts:
    """All of them; of a judge what its verdicts depend on, not its key and its price."""
    if spec.use != JUDGE:
        return dict(spec.params)
    from pytest_evalrun.evaluation.judges import PairJudge

    return PairJudge(spec, pair).identity(hashes)


def _model(pair: Pair, hashes: HashCache) -> str | None:
    if pair.task.path is None:
        return None
    path = Path(pair.task.path)
    try:
        digest = hashes.path(path)
        others = pair.settings.kind.model_files(path, hashes)
        return f"{digest} {hashes.tree(path.parent, others)}" if others else digest
    except OSError as error:
        raise PairError(f"model {error.filename or path} cannot be read: {error.strerror}") from None


# What commonly changes results; absent ones are left out.
LIBRARIES = ("numpy", "onnxruntime", "scikit-image", "scikit-learn", "scipy", "tensorflow", "torch", "transformers")


@cache
def environment_now() -> dict[str, Any]:
    """Python, platform, and the versions of the libraries that are installed."""
    return {"python": platform.python_version(), "platform": platform.platform(), "libraries": _libraries()}


def model_size(pair: Pair) -> dict[str, int]:
    """For the environment of the result: ``model_bytes`` of a model that is a file."""
    if pair.task.path is None:
        return {}
    try:
        size = os.stat(pair.task.path)  # noqa: PTH116 - of 10,000 pairs
        return {"model_bytes": size.st_size} if S_ISREG(size.st_mode) else {}
    except OSError:
        return {}


def environment_changes(old: dict[str, Any]) -> str | None:
    """In words: ``onnxruntime 1.20.0 became 1.21.0``; None where no library differs."""
    then, now = old.get("libraries", {}), environment_now()["libraries"]
    changed = [
        f"{name} {then.get(name, '(none)')} became {now.get(name, '(none)')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    return ", ".join(changed) or None


def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
