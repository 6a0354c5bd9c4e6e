"""Rules of finding a metric, and laws that every built-in metric obeys."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalrun import metrics, registry
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.checks import library
from pytest_evalrun.metrics.protocol import Metric
from pytest_evalrun.suite.settings import MetricSpec

LABELS = ["top1", "macro_f1", "confusion", "exact_match"]
NUMBERS = ["mae", "rmse", "r2", "number"]
TEXTS = ["includes", "regex", "f1", "json_match"]
VALUES = (
    dict.fromkeys(LABELS, st.sampled_from([0, 1, 2, "a"]))
    | dict.fromkeys(NUMBERS, st.floats(-1e6, 1e6))
    | dict.fromkeys(TEXTS, st.sampled_from(["a cat", "cat", "1", "the dog sat on a mat"]))
    | {"choice": st.sampled_from(["A", "B", "C"])}
)


def create(name, **params):
    return metrics.create_metric(MetricSpec(name, name, params), "/nowhere")


@pytest.mark.parametrize("name", sorted(registry.names(registry.METRICS)))
def test_every_name_makes_a_metric(name):
    """Each built-in name is known, makes what the protocol asks for, and has no file to fingerprint."""
    assert registry.find(registry.METRICS, name) is not None
    assert isinstance(create(name), Metric)
    assert metrics.metric_source(MetricSpec(name, name), "/nowhere") is None


@pytest.mark.parametrize("name", sorted(registry.names(registry.METRICS)))
def test_no_sample_is_an_error(name):
    """A metric over nothing is no number: JSON has no NaN."""
    with pytest.raises(PairError, match=f"metric {name}: no sample to score"):
        create(name).result()


# Of errors in the unit of the data, decibels, counts and money nobody knows how far they go.
UNBOUNDED = {"mae", "rmse", "r2", "psnr", "wer", "turns", "tokens", "cost_per_success", "overall", "majority"}
BOUNDS = {"bleu": (0, 100), "chrf": (0, 100), "ssim": (-1, 1)}


@pytest.mark.parametrize("name", sorted(registry.names(registry.METRICS)))
def test_metrics_declare_what_their_scores_are_between(name):
    """Shares and means of shares are from 0 to 1; a judge's scores are on its scale."""
    expected = None if name in UNBOUNDED else BOUNDS.get(name, (0, 1))
    assert getattr(create(name), "bounds", None) == expected
    assert (create("judge", scale=[1, 5]).bounds, create("judge", scale={"A": 2, "B": 2}).bounds) == ((1, 5), None)


def test_unknown_metric_lists_what_there_is():
    """A name that nobody offers is the user's mistake, answered with the accepted names."""
    assert registry.find(registry.METRICS, "top_one") is None
    with pytest.raises(
        ConfigError, match=r"metric 'top_one' is unknown; accepted: bleu, .*exact_match, .*topk, .*wer, or a path"
    ):
        create("top_one")


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        pytest.param("top1", {"k": 3}, r"metric top1: found parameters {'k': 3}; accepted: strip", id="one"),
        pytest.param("topk", {"n": 3}, r"metric topk: found parameters {'n': 3}; accepted: k", id="misspelt"),
        pytest.param("topk", {"k": 0}, "topk: k is 0; accepted: a whole number from 1", id="zero-k"),
        pytest.param("topk", {"k": "3"}, "topk: k is '3'", id="text-k"),
        pytest.param("exact_match", {"strip": "no"}, "exact_match: strip is 'no'; accepted: true, false", id="strip"),
        pytest.param("psnr", {"data_range": -1}, "psnr: data_range is -1; accepted: a number above 0", id="range"),
    ],
)
def test_wrong_parameters(name, params, message):
    """A parameter that a metric lacks or cannot use names the value found and those accepted."""
    with pytest.raises(ConfigError, match=message):
        create(name, **params)


def test_counting_metrics_import_no_numpy():
    """A small pair must not pay for libraries: top1, topk and exact_match are plain Python."""
    code = (
        "import sys; from pytest_evalrun import metrics; from pytest_evalrun.suite.settings import MetricSpec\n"
        "for name, prediction in (('top1', 'a'), ('topk', list('abcde')), ('exact_match', 'a')):\n"
        "    metric = metrics.create_metric(MetricSpec(name, name), '.')\n"
        "    metric.update([prediction], ['a']); metric.result()\n"
        "print([m for m in ('numpy', 'pytest', 'sklearn', 'skimage', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_no_metric_on_labels_or_numbers_waits_for_scikit_learn():
    """Its import takes longer than most pairs are scored in; what is counted is its own number all the same."""
    code = (
        "import sys; from pytest_evalrun import metrics; from pytest_evalrun.suite.settings import MetricSpec\n"
        "for name in ('macro_f1', 'confusion', 'mae', 'rmse', 'r2'):\n"
        "    metric = metrics.create_metric(MetricSpec(name, name), '.')\n"
        "    metric.update([1, 2, 2], [1, 2, 3]); metric.result()\n"
        "print([m for m in ('pytest', 'sklearn', 'scipy', 'skimage', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def chunked(metric, pairs, cuts):
    """Feed the pairs in pieces; the scores of all pieces, and the result."""
    edges = [0, *sorted(cut % (len(pairs) + 1) for cut in cuts), len(pairs)]
    scores = []
    for low, high in pairwise(edges):
        scores += metric.update([p for p, _ in pairs[low:high]], [r for _, r in pairs[low:high]])
    return scores, metric.result()


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_laws(name, data):
    """Chunking never changes a result, a result is the same each time, its interval holds it, and JSON holds all."""
    pairs = data.draw(st.lists(st.tuples(VALUES[name], VALUES[name]), min_size=2, max_size=30))
    cuts = data.draw(st.lists(st.integers(0, 30), max_size=4))
    whole, pieces = chunked(create(name), pairs, []), chunked(create(name), pairs, cuts)
    assert whole == pieces
    _, result = whole
    assert result.low <= result.value <= result.high
    assert (result.n, len(whole[0])) == (len(pairs), len(pairs))
    json.dumps(result.to_json(), allow_nan=False)


def test_missing_library_names_the_extra():
    """Without its library a metric says what to install; only that pair ends."""
    with pytest.raises(PairError, match=r'metric ssim: needs no_such_library.*pip install "pytest-evalrun\[vision\]"'):
        library("ssim", "no_such_library")
