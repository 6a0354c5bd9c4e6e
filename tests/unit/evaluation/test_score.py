"""Scoring: metrics see exactly the samples that were predicted, and what does not fit is named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation import score
from pytest_evalrun.evaluation.score import CHUNK, Latencies, Scorer, check_failures, with_references
from pytest_evalrun.metrics.protocol import MetricValue
from pytest_evalrun.rundir.predictions import Line, PredictionsFile

USERS = """
import numpy as np

from pytest_evalrun.errors import PairError
from pytest_evalrun.metrics.protocol import MetricValue

class Full:
    better = "higher"
    def __init__(self, scores=None, result=None):
        self.scores, self.answer, self.n = scores, result, 0
    def update(self, predictions, references):
        self.n += len(predictions)
        return [1.0] * len(predictions) if self.scores is None else self.scores
    def result(self):
        return MetricValue(float(self.n), self.n, 0.0, 9.0, "higher") if self.answer is None else self.answer

class Bounded(Full):
    bounds = [0, 2]
    def unanswered(self, references):
        self.n += len(references)
        return [-1.0] * len(references)

class Ratio:
    def compute(self, predictions, references):
        return sum(predictions) / sum(references)
    def statistic(self, prediction, reference):
        return None if prediction < 0 else (np.float64(prediction), reference)
    def values_of(self, rows):
        return lambda draws: draws @ [row[0] for row in rows] / (draws @ [row[1] for row in rows])

class Counted(Full):
    def __init__(self, told=()):
        super().__init__()
        self.told = told
    def statistic(self):
        return self.told
    def values_of(self, rows):
        return lambda draws: draws.sum(axis=1)

class Ending(Full):
    def result(self):
        return self.n / 0

class Unfit(Full):
    def update(self, predictions, references):
        raise PairError("metric unfit: found images; accepted: numbers")

def images(prediction, reference):
    return float(prediction.read_bytes() == reference.read_bytes())
"""


@pytest.fixture
def scored(shop, context):
    """``scored(lines, samples, **settings)``: the scores, with what lies behind them."""
    (shop.root / "u.py").write_text(USERS)

    def run(lines, samples=None, **settings):
        samples = [Sample(line.index, line.id, None, line.reference) for line in lines] if samples is None else samples
        pair = shop.pair(**settings)
        paths = context.paths.pair(pair.key)
        progress = PredictionsFile(paths.predictions).open(context.disk, max(len(samples), len(lines)))
        progress.append(lines)
        progress.close()
        run.scores_file, run.progress, run.outputs = paths.scores, progress, paths.outputs
        return Scorer(pair, context.disk, paths, max(len(samples), len(lines))).run(samples, progress)

    return run


def ok(index, prediction, reference=None, seconds=0.5):
    return Line(index, f"s{index}", "ok", prediction, reference, None, seconds)


def failed(index, error="ValueError: no"):
    return Line(index, f"s{index}", "failed", None, None, error, None)


def values(scores):
    return {name: (metric["value"], metric["n"]) for name, metric in scores.metrics.items()}


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_failed_samples_are_no_wrong_answers(scored):
    """A metric is over the samples that were predicted and says how many; what failed is counted apart."""
    scores = scored([ok(0, "a", "a"), failed(1), ok(2, "b", "a"), failed(3, "late")], metrics=["exact_match"])
    assert values(scores) == {"exact_match": (0.5, 2)}
    assert (scores.predicted, scores.failed, scores.first_failure) == (2, 2, "s1: ValueError: no")


@pytest.mark.parametrize(
    ("error", "shown"),
    [("sample s0: 'x' is no number", "sample s0: 'x' is no number"), ("/data/s0: broken", "/data/s0: broken")],
)
def test_a_failure_is_named_once(scored, error, shown):
    """Many reasons begin with the sample's name or file."""
    assert scored([failed(0, error)], metrics=["exact_match"]).first_failure == shown


def test_the_sample_that_a_metric_refuses_is_named(scored):
    """Of a whole chunk, the one whose reference is no number."""
    lines = [ok(0, 1, 1), ok(1, 2, 2), ok(2, 3, "three"), ok(3, 4, "four")]
    with pytest.raises(PairError, match=r"^sample s2: metric mae: the reference is text 'three'"):
        scored(lines, metrics=["mae"])


def test_each_sample_has_its_scores(scored):
    """A line a predicted sample, with every metric under the name it is reported by."""
    metrics = ["exact_match", {"./m.py:off_by": {"name": "distance"}}, "./m.py:wrong"]
    scores = scored([ok(0, 4, 4), failed(1), ok(2, 7, 4)], metrics=metrics)
    assert values(scores) == {"exact_match": (0.5, 2), "distance": (1.5, 2), "wrong": (0.5, 2)}
    assert lines_of(scored.scores_file) == [
        {"index": 0, "id": "s0", "exact_match": 1.0, "distance": 0.0, "wrong": 0.0},
        {"index": 2, "id": "s2", "exact_match": 0.0, "distance": 3.0, "wrong": 1.0},
    ]


def test_the_bounds_of_a_metric_are_in_its_result(scored):
    """Where it declares what its scores are between; a majority's are those of what it is made of."""
    metrics = ["mae", "./u.py:Bounded", "exact_match", {"majority": {"of": "Bounded"}}, {"pass_at": {"of": "Bounded"}}]
    scores = scored([ok(0, 1, 1), ok(1, 2, 1)], metrics=metrics)
    assert {name: metric.get("bounds") for name, metric in scores.metrics.items()} == {
        "mae": None,
        "Bounded": [0.0, 2.0],
        "exact_match": [0.0, 1.0],
        "majority": [0.0, 2.0],
        "pass_at_1": [0.0, 1.0],
    }


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, 2 * CHUNK + 1], ids=["below", "exact", "above"])
def test_chunks_lose_nothing(scored, count):
    """Streaming in chunks feeds every sample once, in order."""
    scores = scored([ok(i, i, i) for i in range(count)], metrics=["./u.py:Full"])
    assert values(scores) == {"Full": (count, count)}
    assert [line["index"] for line in lines_of(scored.scores_file)] == list(range(count))


def test_without_metrics_samples_are_counted(scored):
    """A suite may leave all scoring to test functions."""
    scores = scored([ok(0, 1), failed(1)], metrics=[])
    assert (scores.metrics, scores.predicted, scores.failed) == ({}, 1, 1)


def test_nothing_predicted_has_no_metrics(scored):
    """Where all samples failed there is no number at all."""
    scores = scored([failed(0), failed(1)], metrics=["exact_match"])
    assert (scores.metrics, scores.failed) == ({}, 2)


def test_metrics_see_files_as_paths(scored, shop):
    """What the model wrote is handed to a metric where it lies, like a reference that is a file."""
    reference = shop.root / "reference.txt"
    reference.write_text("same")
    line = ok(0, {"file": "a.txt", "size": 4, "sha256": "-"}, str(reference))
    run = shop.root.parent / "outputs" / "run 1" / "outputs" / "letters" / "echo" / "clean"
    run.mkdir(parents=True)
    (run / "a.txt").write_text("same")
    scores = scored([line], [Sample(0, "s0", None, reference)], metrics=["./u.py:images"])
    assert run == scored.outputs
    assert values(scores) == {"images": (1.0, 1)}


def test_outdated_references_are_noticed(scored):
    """Today's references are scored; that the lines show others is told, so that they are rewritten."""
    lines = [ok(0, "a", "a"), ok(1, "b", "old")]
    samples = [Sample(0, "s0", None, "a"), Sample(1, "s1", None, "b")]
    assert not scored(lines[:1], samples[:1]).outdated
    scores = scored(lines, samples)
    assert scores.outdated
    assert values(scores) == {"exact_match": (1.0, 2)}
    renewed = list(with_references(samples, scored.progress, 2, "/data"))
    assert [line.reference for line in renewed] == ["a", "b"]
    assert [line.prediction for line in renewed] == ["a", "b"]


CHANGED = {
    "another sample": ([ok(0, 1), ok(1, 1)], [Sample(0, "s0", 0), Sample(1, "t1", 0)], "is of sample s1"),
    "fewer samples": ([ok(0, 1), ok(1, 1)], [Sample(0, "s0", 0)], "the dataset changed"),
    "more samples": ([ok(0, 1)], [Sample(0, "s0", 0), Sample(1, "s1", 0)], "the dataset changed"),
    "a gap": ([ok(0, 1), ok(2, 1)], [Sample(i, f"s{i}", 0) for i in range(3)], "is of sample s2"),
}


@pytest.mark.parametrize(("lines", "samples", "message"), CHANGED.values(), ids=CHANGED)
def test_a_dataset_that_changes_meanwhile_is_no_result(scored, lines, samples, message):
    """Predictions and samples must be the same ones, one to one; else there are no scores at all."""
    with pytest.raises(PairError, match=message):
        scored(lines, samples, metrics=["./u.py:Full"])
    assert not scored.scores_file.exists()


FAULTS = {
    "raises": ("./m.py:broken", "metric broken failed: KeyError: 'no such label'"),
    "knows why": ("./u.py:Unfit", "metric unfit: found images; accepted: numbers"),
    "too few scores": ({"./u.py:Full": {"scores": []}}, "metric Full: update answered 0 scores to 1 predictions"),
    "no scores": ({"./u.py:Full": {"scores": 7}}, "metric Full: update answered int"),
    "odd scores": ({"./u.py:Full": {"scores": ["good"]}}, "metric Full: update answered the score 'good'"),
    "nan": ({"./u.py:Full": {"scores": [float("nan")]}}, "metric Full: update answered the score nan"),
    "result fails": ("./u.py:Ending", "metric Ending failed: ZeroDivisionError"),
    "out of bounds": (
        {"./u.py:Bounded": {"scores": [3]}},
        "sample s0: metric Bounded: the score 3.0 is outside of the",
    ),
    "bounds of its own": (
        {"./u.py:Full": {"result": MetricValue(1.0, 1, 0.0, 1.0, "higher", bounds=(0, 1))}},
        "metric Full: result answered the bounds (0, 1), and the metric declares none; accepted: the attribute",
    ),
    "few statistics": ({"./u.py:Counted": {"told": []}}, "metric Counted: statistic answered 0 rows to 1 predictions"),
    "no statistic": (
        {"./u.py:Counted": {"told": [{1}]}},
        "metric Counted: statistic answered set {1}; accepted: values",
    ),
    "endless": ({"./u.py:Counted": {"told": [[float("inf")]]}}, "metric Counted: statistic answered a list [inf]; acc"),
    "no result": ({"./u.py:Full": {"result": 0.5}}, "metric Full: result answered float; accepted: a MetricValue"),
}


@pytest.mark.parametrize(("metric", "message"), FAULTS.values(), ids=FAULTS)
def test_a_metric_that_fails_is_named(scored, metric, message):
    """The pair is an ERROR with the metric's name, what was found and what is accepted."""
    with pytest.raises(PairError) as caught:
        scored([ok(0, 1, 1)], metrics=[metric])
    assert message in str(caught.value)


def test_scores_of_samples_without_an_answer_are_looked_at_too(scored):
    """What a user's metric says of them is a score like any other, within its bounds."""
    lines = [ok(0, "ANSWER: a", "a"), ok(1, "hm", "a")]
    with pytest.raises(PairError, match=r"sample s1: metric Bounded: the score -1.0 is outside of the bounds"):
        scored(lines, metrics=["./u.py:Bounded"], answer={"after": "ANSWER:"})


def test_what_a_sample_adds_is_kept_beside_its_scores(scored):
    """Of metrics whose value is no mean, by name; a sample that adds nothing has none."""
    metrics = ["macro_f1", "exact_match", {"rmse": {"name": "off"}}, "./u.py:Ratio"]
    scored([ok(0, 1, 2), failed(1), ok(2, -1, 2)], metrics=metrics)
    first, second = lines_of(scored.scores_file)
    assert first["statistic"] == {"macro_f1": [2, 1], "off": 1.0, "Ratio": [1.0, 2]}
    assert second["statistic"] == {"macro_f1": [2, -1], "off": 3.0}
    scored([ok(0, 1, 2)], metrics=["exact_match", "confusion"])
    assert "statistic" not in lines_of(scored.scores_file)[0]


def test_what_a_sample_without_an_answer_adds(scored):
    """In its own line, whatever was answered around it; of several answers each metric has its own."""
    lines = [ok(0, "hm", "a"), ok(1, "ANSWER: b", "a"), ok(2, "hm", "b")]
    scored(lines, metrics=["macro_f1"], answer={"after": "ANSWER:"})
    told = [line["statistic"]["macro_f1"] for line in lines_of(scored.scores_file)]
    assert told == [["a", None], ["a", "b"], ["b", None]]
    scored(lines, metrics=["macro_f1"], answer={"strict": {"after": "ANSWER:"}, "loose": {"regex": "[a-z]$"}})
    told = [line["statistic"] for line in lines_of(scored.scores_file)]
    assert told[0] == {"macro_f1@strict": ["a", None], "macro_f1@loose": ["a", "m"]}


def test_statistics_of_metrics_that_leave_out_samples_without_an_answer(scored):
    """A number that is not there has no distance: the sample adds nothing."""
    scored([ok(0, "hm", 1), ok(1, "it is 3", 1)], metrics=["rmse"], answer={"last_number": True})
    assert [line.get("statistic") for line in lines_of(scored.scores_file)] == [None, {"rmse": 2.0}]


@pytest.fixture
def passages(shop):
    """The data of the samples that are scored, with a column that nobody asks the model with."""
    rows = [{"id": f"s{i}", "x": i, "y": i, "passage": i // 2} for i in range(5)]
    (shop.root / "data" / "clean.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.usefixtures("passages")
def test_each_sample_says_to_which_cluster_it_belongs(scored):
    """As text; those that failed have no line, and all answers to one sample have the same."""
    rules = {"cluster": "passage"}
    scored([ok(0, 1), failed(1), failed(2), ok(3, 1), ok(4, 1)], metrics=["./u.py:Full"], gate_rules=rules)
    assert [(line["id"], line["cluster"]) for line in lines_of(scored.scores_file)] == [
        ("s0", "0"),
        ("s3", "1"),
        ("s4", "2"),
    ]
    with pytest.raises(PairError, match="the dataset changed while it was evaluated; run it again"):
        scored([ok(i, 1) for i in range(6)], metrics=["./u.py:Full"], gate_rules=rules)


def test_a_cluster_in_the_input_is_read_nowhere_else(scored, shop):
    """Of a reader of the user's, which may be slow and is not asked again."""
    (shop.root / "r.py").write_text("def rows(path): raise SystemExit\n")
    samples = [Sample(0, "s0", {"x": 1, "passage": 7}), Sample(1, "s1", {"x": 2, "passage": "b"})]
    rules = {"gate_rules": {"cluster": "passage"}, "format": "./r.py:rows"}
    scored([ok(0, 1), ok(1, 1)], samples, metrics=["./u.py:Full"], **rules)
    assert [line["cluster"] for line in lines_of(scored.scores_file)] == ["7", "b"]


@pytest.mark.usefixtures("passages")
def test_all_answers_to_a_sample_are_of_its_cluster(shop, context):
    """Each has a line of its own."""
    pair = shop.pair(generations=2, metrics=["exact_match"], gate_rules={"cluster": "passage"})
    paths = context.paths.pair(pair.key)
    samples = [Sample(index, f"s{index}", None, 1, generation) for index in range(4) for generation in range(2)]
    progress = PredictionsFile(paths.predictions, 2).open(context.disk, 8)
    progress.append([ok(sample.index, 1, 1)._replace(generation=sample.generation) for sample in samples])
    progress.close()
    Scorer(pair, context.disk, paths, 8).run(samples, progress)
    assert [line["cluster"] for line in lines_of(paths.scores)] == ["0"] * 4 + ["1"] * 4


def test_numbers_of_any_library_are_scores(scored):
    """What a user's metric computed with numpy is kept as JSON."""
    import numpy as np

    metric = {"./u.py:Full": {"scores": [np.float32(0.5), np.int64(2), np.bool_(1), None]}}
    scored([ok(i, i) for i in range(4)], metrics=[metric])
    assert [line["Full"] for line in lines_of(scored.scores_file)] == [0.5, 2, 1, None]


@given(st.lists(st.none() | st.floats(0, 100), max_size=200), st.integers(2, 20), st.integers(1, 50))
def test_latencies_are_thinned_evenly(seconds, most, chunk):
    """However many there are, those kept are every n-th, from the first on, and never more than allowed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "MOST_LATENCIES", most)
        latencies = Latencies()
        for start in range(0, len(seconds), chunk):
            latencies.extend(seconds[start : start + chunk])
    known = [value for value in seconds if value is not None]
    assert latencies.values == known[:: latencies.stride]
    assert len(latencies.values) <= most
    assert latencies.stride == 1 or len(known) > most


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_are_values_in_order(seconds, one, other):
    """A quantile is one of the values, and a higher share is never a lower value."""
    latencies = Latencies(seconds)
    low, high = latencies.quantile(min(one, other)), latencies.quantile(max(one, other))
    assert {low, high} <= set(seconds)
    assert low <= high
    assert latencies.quantile(1.0) == max(seconds)


def test_no_latency_is_no_quantile():
    """Where nothing was measured there is no number."""
    assert Latencies().quantile(0.5) is None


BLANKS = {
    "labels": ([" cat", "cat ", "a"], ["cat", "cat", "a"], "2 labels begin or end with a blank"),
    "one prediction": (["cat", "a"], ["cat\n", "a"], "1 prediction begins or ends with a blank"),
    "both": ([" cat", "a"], ["a\n", 7], "1 label and 1 prediction begin or end with a blank"),
}


@pytest.mark.parametrize(("references", "predictions", "words"), BLANKS.values(), ids=BLANKS)
def test_blanks_around_labels_are_told_once(scored, references, predictions, words):
    """A blank that may cost a sample is one warning, with the remedy; where it is stripped there is none."""
    lines = [
        Line(place, f"s{place}", "ok", prediction, reference, None, 0.1)
        for place, (prediction, reference) in enumerate(zip(predictions, references, strict=True))
    ]
    found = scored(lines, metrics=["top1", {"macro_f1": {"strip": True}}, "exact_match"])
    remedy = "which counts; without: top1: {strip: true}, exact_match: {strip: true}"
    assert found.warning == f"{words}, {remedy}"
    assert scored(lines, metrics=[{"top1": {"strip": True}}]).warning is None


BRIEFLY = {
    "a program": (
        "b: the program `p` ended with exit code 1; the end of its output:\nhello\ncannot do b",
        "cannot do b",
    ),
    "a sample": ("b: ValueError: bad one", "b: ValueError: bad one"),
}


@pytest.mark.parametrize(("first", "why"), BRIEFLY.values(), ids=BRIEFLY)
def test_too_many_failures_are_told_in_brief(first, why):
    """How many of how many, and why the first of them: of a program that ended what it wrote last."""
    with pytest.raises(PairError, match=r"^1 of 3 samples failed \(max_failed is 0\); the first: b: ") as failed:
        check_failures(0, 3, 3, 1, first)
    assert failed.value.brief == f"1 of 3 failed: {why}"
