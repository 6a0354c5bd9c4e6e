"""What is known of gates before their pairs are asked: where it is looked, and what is left alone."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from pytest_evalrun.comparison.baselinefile import read_head
from pytest_evalrun.comparison.baselinelines import BaselineLines
from pytest_evalrun.comparison.beforehand import gated_pairs, gates_before
from pytest_evalrun.comparison.side import SampleScores, Side
from pytest_evalrun.rundir.layout import RunPaths, WorkDir
from pytest_evalrun.rundir.results import Result
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Cut, Dataset, Pair, Task

GATES = {
    "top1": {"max_drop": 0.02, "baseline": "main"},
    "loss": {"max_drop": 0.1, "baseline": "main"},
    "f1": {"max_drop": 0.1, "baseline": "main"},
}
METRICS = {
    "top1": {"value": 0.5, "n": 4, "low": 0.1, "high": 0.9, "better": "higher", "bounds": [0, 1]},
    "loss": {"value": 1.5, "n": 4, "low": 1.0, "high": 2.0, "better": "lower"},
    "f1": {"value": 0.5, "n": 4, "low": 0.1, "high": 0.9, "better": "higher", "bounds": [0, 1]},
}


@pytest.fixture
def root(tmp_path):
    """A suite in a directory of its own, whose baseline ``main`` has 400 samples."""
    root = tmp_path / "suite"
    rows = [
        SampleScores(
            str(place),
            "0" * 12,
            {"top1": place % 2, "loss": place / 7},
            statistics={"f1": [place % 3]},
        )
        for place in range(400)
    ]
    side = Side("20261101_101500", "letters/a/one", METRICS, lambda: iter(rows))
    file = root / "baselines" / "main" / "letters" / "a" / "one.jsonl"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(BaselineLines(side, "2026-11-01T10:15:00Z").data))
    (root / ".git").mkdir()
    return root


@pytest.fixture
def workdir(tmp_path):
    return WorkDir(tmp_path / "outputs")


def pair(root, layers=(), gates=GATES, **more):
    settings = (*layers, Layer("suite", "evalrun.yaml", {"gates": gates} if gates else {}))
    return Pair("letters", str(root), Task("a", None, "/"), Dataset("one", "/one"), settings, **more)


def unknown(_):
    return None


def evaluated(run, gates=(), predicted=300, name="one", metrics=METRICS):
    """A result of the pair in a run."""
    samples = {"total": predicted, "predicted": predicted, "failed": 0, "reused": 0}
    result = Result("letters", "a", "one", "passed", metrics, samples, {"total": 1.5}, [*gates], {}, {})
    path = run.root / "results" / "letters" / "a" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(result.dumps())
    run.run_json.write_text("{}")


def test_a_saved_head_says_which_scores_are_0_or_1(root):
    """Of a metric with a statistic its scores say nothing of its value."""
    head = read_head(root / "baselines" / "main" / "letters" / "a" / "one.jsonl")
    assert (head.names, head.binary, head.statistics) == (["top1", "loss"], ["top1"], ["f1"])


def test_an_earlier_head_that_does_not_say_is_one(root):
    """Nobody knows then: it is no damage."""
    file = root / "baselines" / "main" / "letters" / "a" / "one.jsonl"
    head, *lines = file.read_text().splitlines(keepends=True)
    told = json.loads(head)
    del told["binary"]
    file.write_text("".join([json.dumps(told) + "\n", *lines]))
    assert read_head(file).binary is None


def test_each_kind_of_scores_has_its_least_n(root, workdir):
    """0 or 1: of a corpus; of scores without bounds nobody knows, nor what would be seen."""
    found = gates_before([pair(root)], workdir, None, unknown)
    known = {gate.metric: (gate.n, gate.least, gate.discordance, gate.known) for gate in found.outlooks}
    assert known["top1"][0] == 400
    assert (known["top1"][1] > 180, *known["top1"][2:]) == (True, 0.1, False)
    assert known["f1"] == (400, 36, None, False)
    assert known["loss"] == (400, None, None, False)
    assert [gate.metric for gate in found.outlooks if gate.problem] == ["loss", "f1"]


@pytest.mark.parametrize(
    ("last", "cuts", "counted", "n"),
    [
        pytest.param(300, (0, 200), 100, 300, id="last result"),
        pytest.param(None, (0, 200), 100, 200, id="shards"),
        pytest.param(None, None, 100, 100, id="counted before"),
        pytest.param(None, None, None, 400, id="baseline"),
    ],
)
def test_samples_are_counted_where_that_costs_least(root, workdir, last, cuts, counted, n):
    """By the last result first: of what failed then, nothing will be compared either."""
    run = workdir.run("20261101_101500")
    if last is not None:
        evaluated(run, predicted=last)
    one = pair(root, cuts=(Cut(*cuts, "0-200"),) if cuts else ())
    found = gates_before([one], workdir, run, lambda _: counted)
    assert {gate.n for gate in found.outlooks} == {n}


def test_a_limit_has_results_of_its_own(root, workdir):
    """Where there are none, the first samples are those of the whole."""
    run = workdir.run("20261101_101500")
    evaluated(run, predicted=300)
    limited = pair(root, [Layer("command line", "", {"limit": 50})])
    assert {gate.n for gate in gates_before([limited], workdir, run, unknown).outlooks} == {50}
    evaluated(run, predicted=45, name="one.limit-50")
    assert {gate.n for gate in gates_before([limited], workdir, run, unknown).outlooks} == {45}


def test_how_wide_the_last_interval_was_tells_of_other_scores(root, workdir):
    """For as many samples as there are now."""
    run = workdir.run("20261101_101500")
    last = {"metric": "loss", "kind": "max_drop", "interval": [-0.3, 0.1], "n": 75}
    evaluated(run, [last, "no gate", {"metric": "f1", "kind": "max_drop", "interval": "none"}])
    found = {gate.metric: gate for gate in gates_before([pair(root)], workdir, run, unknown).outlooks}
    assert (found["loss"].half, found["loss"].known) == (pytest.approx(0.1), True)
    assert found["f1"].half is None


def test_flips_of_samples_in_clusters_tell_nothing(root, workdir):
    """1,000 of them of 25 passages are not 1,000 samples: how wide the interval was does."""
    run = workdir.run("20261101_101500")
    last = {
        "metric": "top1",
        "kind": "max_drop",
        "interval": [-0.1, 0.1],
        "n": 300,
        "discordance": 0.01,
        "clusters": 25,
    }
    layers = [Layer("suite", "", {"gate_rules": {"cluster": "passage"}})]
    (fresh,) = gates_before([pair(root, layers, {"top1": GATES["top1"]})], workdir, None, unknown).outlooks
    assert (fresh.discordance, fresh.half, fresh.problem is not None) == (None, None, True)
    evaluated(run, [last])
    (known,) = gates_before([pair(root, layers, {"top1": GATES["top1"]})], workdir, run, unknown).outlooks
    assert (known.discordance, known.half) == (None, pytest.approx(0.1))
    assert "300 samples in 25 clusters, and PASS needs 183 clusters unless it got better" in known.text
    assert (known.impossible, known.fatal) == (True, False)
    assert "PASS possible from 183 clusters on" in fresh.text


def test_an_interval_of_single_samples_tells_nothing_of_clusters(root, workdir):
    """Nor that of clusters of single samples, once nobody names a cluster any more."""
    run = workdir.run("20261101_101500")
    evaluated(run, [{"metric": "f1", "kind": "max_drop", "interval": [-0.1, 0.1], "n": 300}])
    layers = [Layer("suite", "", {"gate_rules": {"cluster": "passage"}})]
    (clustered,) = gates_before([pair(root, layers, {"f1": GATES["f1"]})], workdir, run, unknown).outlooks
    (single,) = gates_before([pair(root, [], {"f1": GATES["f1"]})], workdir, run, unknown).outlooks
    assert (clustered.half, clustered.problem is not None) == (None, True)
    assert (single.half, single.problem) == (pytest.approx(0.1), None)


@pytest.mark.parametrize(
    ("baseline", "problem"),
    [
        pytest.param("mian", "no baseline mian yet", id="none"),
        pytest.param("../outputs/gone", "no baseline ../outputs/gone yet", id="no run"),
        pytest.param("other", "the run other has no result of this pair", id="not of this pair"),
    ],
)
def test_a_baseline_that_is_not_there_is_a_problem(root, workdir, baseline, problem):
    """It is told with the gate; the run goes on."""
    other = workdir.run("other")
    other.root.mkdir(parents=True)
    other.run_json.write_text("{}")
    gates = {"top1": {"max_drop": 0.02, "baseline": baseline}}
    (gate,) = gates_before([pair(root, gates=gates)], workdir, None, unknown).outlooks
    assert (gate.problem, gate.least) == (problem, None)


@pytest.mark.parametrize("baseline", ["20261101_101500", "../outputs/20261101_101500"], ids=["name", "path"])
@pytest.mark.parametrize(
    ("scores", "binary"),
    [
        pytest.param([{"top1": 1.0}, {"top1": 0.0}, {"top1": None}], True, id="0 or 1"),
        pytest.param([{"top1": 1.0}, {"top1": 0.5}], False, id="between"),
        pytest.param([{"top1": 1.0, "statistic": {"top1": [1]}}], False, id="a statistic"),
        pytest.param(["[1]"], None, id="no object"),
        pytest.param(["{"], None, id="torn"),
        pytest.param(None, None, id="no file"),
    ],
)
def test_of_a_run_its_first_scores_tell(root, workdir, baseline, scores, binary):
    """Whatever lies there: the comparison itself will tell what is damaged."""
    run = workdir.run("20261101_101500")
    evaluated(run)
    if scores is not None:
        file = RunPaths(run.root).pair(pair(root).key).scores
        file.parent.mkdir(parents=True)
        file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in scores))
    gates = {"top1": {"max_drop": 0.02, "baseline": baseline}}
    (gate,) = gates_before([pair(root, gates=gates)], workdir, None, unknown).outlooks
    assert gate.n == 300
    assert (gate.discordance is not None) == bool(binary)


def test_who_has_no_gates_is_not_looked_at():
    """Not even settings are resolved: each of 10,000 pairs would pay for it."""

    class Untouched(SimpleNamespace):
        @property
        def settings(self):
            raise AssertionError("resolved")

    plain, with_gates = Layer("suite", "", {"limit": 3}), Layer("suite", "", {"gates": GATES})
    pairs = [Untouched(skip=None, layers=(plain,)), Untouched(skip="why", layers=(with_gates,))]
    gated = Untouched(skip=None, layers=(plain, with_gates))
    assert gated_pairs([*pairs, gated]) == [gated]


def test_gates_by_value_are_left_out(root, workdir):
    """A number, a summary, a bound that the value is held against."""
    gates = {
        "top1": {"min": 0.5, "max": 0.9, "max_drop": 0.1, "baseline": 0.7},
        "loss": {"max_drop": 0.1, "baseline": "summary.csv"},
    }
    found = gates_before([pair(root, gates=gates)], workdir, None, unknown)
    assert (found.outlooks, found.fatal) == ((), 0)


ODD = [{"discordance": "x"}, {"discordance": -5}, {"discordance": 10**400}, {"n": 0}, {"n": "x"}, {"interval": [1]}]
ODD += [{"interval": ["x", None]}, {"interval": [2, 10**400]}, {"metric": ["top1"]}, {"interval": {}}]


@pytest.mark.parametrize("odd", ODD, ids=lambda one: str(one)[:25])
@pytest.mark.parametrize("samples", [300, "many", -1, None, 10**400], ids=lambda one: str(one)[:5])
def test_a_result_that_somebody_edited_costs_no_launch(root, workdir, odd, samples):
    """What it says is then not known."""
    run = workdir.run("20261101_101500")
    last = {"metric": "top1", "kind": "max_drop", "interval": [-0.1, 0.1], "n": 300, "discordance": 0.01} | odd
    evaluated(run, [last], predicted=samples)
    found = gates_before([pair(root)], workdir, run, unknown)
    assert {gate.n for gate in found.outlooks} == {300 if samples == 300 else 400}
    assert all(gate.text for gate in found.outlooks)


def test_a_place_that_cannot_be_read_is_a_problem(root, workdir, monkeypatch):
    """The pair will say more of it."""

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pytest_evalrun.comparison.lookup.directories_of", refused)
    (gate,) = gates_before([pair(root, gates={"top1": GATES["top1"]})], workdir, None, unknown).outlooks
    assert gate.problem == "main: Permission denied"
