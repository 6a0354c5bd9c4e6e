"""The life of an item: what is reused, what is made again and why, and what is left behind whatever happens."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import threading
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError, EvalrunWarning, PairError
from pytest_evalrun.evaluation import fingerprint, life
from pytest_evalrun.evaluation.life import evaluate
from pytest_evalrun.evaluation.logs import ItemLog
from pytest_evalrun.evaluation.score import check_failures
from pytest_evalrun.evaluation.stored import record_own, stored_predictions
from pytest_evalrun.report.rows import PACE
from pytest_evalrun.rundir.layout import key_of
from pytest_evalrun.rundir.markers import write_marker
from pytest_evalrun.rundir.results import read_result


@pytest.fixture
def paths(evaluator):
    """The files of a pair in the run."""
    return lambda pair: evaluator.context().paths.pair(key_of(pair))


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def everything(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and ".db" not in path.name}


def test_a_pair_is_evaluated_once(shop, evaluator, paths):
    """The first time it is predicted, scored and marked; the second time it is reused, and nothing is asked."""
    shop.data(wrong={1})
    pair = shop.pair()
    first = evaluator(pair)
    assert (first.reused, first.reason) == (False, "new")
    assert first.metrics == {"exact_match": pytest.approx(5 / 6)}
    assert first.result.samples == {"total": 6, "predicted": 6, "failed": 0, "reused": 0}
    assert (first.result.status, first.breached) == ("passed", [])
    assert shop.asked() == [f"s{i}" for i in range(6)]

    before = everything(evaluator.run)
    second = evaluator(pair)
    assert second.reused
    assert second.reason.startswith("reused: unchanged since 20")
    assert second.metrics == first.metrics
    assert second.result.samples["reused"] == 6
    assert shop.notes() == []
    assert everything(evaluator.run) == before
    assert len(lines_of(evaluator.workdir / "history.jsonl")) == 1
    assert paths(pair).marker.exists()


def test_what_a_result_says(shop, evaluator, paths):
    """The file holds the fields of the contract, gates and intervals among them."""
    shop.data(wrong={0})
    pair = shop.pair(gates={"exact_match": {"min": 0.9}})
    evaluation = evaluator(pair)
    content = json.loads(paths(pair).result.read_text(encoding="utf-8"))
    assert [content[name] for name in ("suite", "task", "dataset", "status")] == ["letters", "echo", "clean", "failed"]
    assert content["metrics"]["exact_match"].keys() == {"value", "n", "low", "high", "better", "bounds"}
    assert content["seconds"].keys() == {"load", "predict", "score", "total", "p50", "p95", "throughput"}
    assert content["timing"] == 2
    assert "gpu_peak_gb" not in content["environment"]
    assert [gate["holds"] for gate in content["gates"]] == [False]
    assert content["fingerprint"].keys() == {"prediction", "score"}
    assert content["environment"]["python"] == fingerprint.environment_now()["python"]
    assert [verdict.metric for verdict in evaluation.breached] == ["exact_match"]


def test_latencies_and_throughput(shop, evaluator, paths):
    """p50 and p95 are of what the lines say, throughput of all of predicting; who only scores again keeps them."""
    shop.data(count=5)
    first = evaluator(shop.pair()).result.seconds
    waited = sorted(line["seconds"] for line in lines_of(paths(shop.pair()).predictions))
    assert (first["p50"], first["p95"]) == (waited[2], waited[4])
    assert first["throughput"] == pytest.approx(5 / first["predict"], rel=0.01)
    again = evaluator(shop.pair(metrics=["./m.py:wrong"])).result.seconds
    assert again["predict"] == 0
    assert [again[name] for name in PACE] == [first[name] for name in PACE]


def test_latencies_of_an_older_version_are_neither_shown_nor_kept(shop, evaluator, paths):
    """They are shares of batches: reused, scored again or carried on, until all is predicted anew."""
    shop.data()
    evaluator(shop.pair())
    files = paths(shop.pair())
    old = {**json.loads(files.result.read_text()), "seconds": {"p50": 0.1, "p95": 0.2, "total": 1.0}}
    del old["timing"]
    files.result.write_text(json.dumps(old))
    stored = json.loads(files.fingerprint.read_text())
    del stored["timing"]
    files.fingerprint.write_text(json.dumps(stored))
    write_marker(evaluator.context().disk, files, json.loads(files.marker.read_text())["fingerprint"])

    reused = evaluator(shop.pair())
    assert reused.reused
    scored = evaluator(shop.pair(metrics=["./m.py:wrong"]))
    files.marker.unlink()
    files.predictions.write_bytes(b"".join(files.predictions.read_bytes().splitlines(keepends=True)[:3]))
    carried_on = evaluator(shop.pair())
    for result in (reused.result, scored.result, carried_on.result, read_result(files.result)):
        assert (result.timing, result.seconds["p50"], result.seconds["p95"]) == (None, None, None)
    fresh = evaluator(shop.pair(), fresh=True, run_id="another").result
    assert fresh.timing == 2
    assert fresh.seconds["p50"] is not None


def test_predictions_that_came_back_have_not_the_throughput_of_those_between(shop, evaluator):
    """The result that lies there is of others: what only it knows, nobody knows of these."""
    shop.data()
    evaluator(shop.pair())
    between = evaluator(shop.pair(params={"plus": 1})).result.seconds
    back = evaluator(shop.pair())
    assert shop.asked() == [f"s{i}" for i in range(6)] * 2
    assert between["throughput"] is not None
    assert back.result.seconds["throughput"] is None
    assert back.result.seconds["p50"] is not None


def test_latencies_of_an_older_version_stay_so_without_their_fingerprint(shop, evaluator, paths):
    """Only the marker says what they were made from then, and only the result how they were timed."""
    shop.data()
    for task, timing in (("old", None), ("new", 2)):
        evaluator(shop.pair(task=task))
        files = paths(shop.pair(task=task))
        values = json.loads(files.result.read_text()) | {"timing": timing}
        files.result.write_text(json.dumps(values))
        write_marker(evaluator.context().disk, files, json.loads(files.marker.read_text())["fingerprint"])
        files.fingerprint.unlink()
        scored = evaluator(shop.pair(task=task, metrics=["./m.py:wrong"])).result
        assert (scored.timing, scored.seconds["p50"] is not None) == (timing, timing == 2)


def test_history_remembers_every_evaluation(shop, evaluator):
    """A line for each that was completed, with what it came to; reuse adds none."""
    shop.data()
    for plus in (0, 0, 1):
        evaluator(shop.pair(params={"plus": plus}))
    entries = lines_of(evaluator.workdir / "history.jsonl")
    assert [(entry["pair"], entry["metrics"]) for entry in entries] == [
        ("letters/echo/clean", {"exact_match": 1.0}),
        ("letters/echo/clean", {"exact_match": 0.0}),
    ]
    assert all(entry["time"].endswith("Z") for entry in entries)


def regroup(shop):
    """One sample belongs to others than before."""
    path = shop.root / "data" / "clean.jsonl"
    path.write_text(path.read_text().replace('"passage": "p1"', '"passage": "p2"', 1))


CLUSTERS = {
    "asked for": (None, {"cluster": "passage"}, "scored again: which samples belong together changed"),
    "by another column": ({"cluster": "passage"}, {"cluster": "id"}, "scored again: which samples belong together"),
    "no more": ({"cluster": "passage"}, None, "scored again: which samples belong together changed"),
    "moved": ({"cluster": "passage"}, {"cluster": "passage"}, "scored again: which samples belong together changed"),
    "moved, and nobody asks": (None, None, "reused"),
}


@pytest.mark.parametrize(("before", "after", "reason"), CLUSTERS.values(), ids=CLUSTERS)
def test_who_belongs_to_whom_is_scored_again_and_never_asked(shop, evaluator, paths, before, after, reason):
    """Scores carry the clusters of today's data; the column need not be among the inputs."""
    rows = [{"id": f"s{i}", "x": i, "y": i, "passage": f"p{i % 3}"} for i in range(6)]
    (shop.root / "data" / "clean.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rules = lambda words: {} if words is None else {"gate_rules": words}  # noqa: E731
    evaluator(shop.pair(**rules(before)))
    shop.notes()
    if before == after:
        regroup(shop)
    again = evaluator(shop.pair(**rules(after)))
    assert reason in again.reason and shop.asked() == []
    found = [line.get("cluster") for line in lines_of(paths(shop.pair()).scores)]
    moved = ["p0", "p2" if before else "p1", "p2", "p0", "p1", "p2"]
    expected = {"passage": moved if before == after else ["p0", "p1", "p2"] * 2, "id": [f"s{i}" for i in range(6)]}
    assert found == (expected[after["cluster"]] if after else [None] * 6)
    assert evaluator(shop.pair(**rules(after))).reused


def test_a_cluster_that_is_not_there_is_told_before_the_model_is_asked(shop, evaluator):
    """With the columns that there are."""
    shop.data()
    with pytest.raises(
        PairError, match=r"clean.jsonl:1: sample s0: gate_rules.cluster: no column 'z'; columns: id, x, y"
    ):
        evaluator(shop.pair(gate_rules={"cluster": "z"}))
    assert shop.asked() == []


AGAIN = {
    "model": (lambda shop: (shop.root / "weights.bin").write_bytes(b"WEIGHTS"), {}, "re-run: model changed", 6),
    "inputs": (lambda shop: shop.data(count=4), {}, "re-run: dataset changed", 4),
    "parameters": (lambda shop: None, {"params": {"plus": 1}}, "re-run: parameters changed (plus)", 6),
    "references": (lambda shop: shop.data(wrong={2}), {}, "scored again: references changed", 0),
    "metrics": (lambda shop: None, {"metrics": ["./m.py:wrong"]}, "metrics changed (exact_match, wrong)", 0),
    "batch size": (lambda shop: None, {"max_batch_size": 5}, "reused", 0),
    "gates": (lambda shop: None, {"gates": {"exact_match": {"min": 1}}}, "reused", 0),
}


@pytest.mark.parametrize(("change", "changed", "reason", "asked"), AGAIN.values(), ids=AGAIN)
def test_what_changed_is_made_again(shop, evaluator, change, changed, reason, asked):
    """No more than that, and the reason is told; the time after it is reused again."""
    shop.data()
    evaluator(shop.pair())
    shop.notes()
    change(shop)
    again = evaluator(shop.pair(**changed))
    assert reason in again.reason
    assert len(shop.asked()) == asked
    assert again.reused == (reason == "reused")
    assert evaluator(shop.pair(**changed)).reused


def test_new_references_come_into_the_lines(shop, evaluator, paths):
    """Predictions show today's references, though they were not made again."""
    shop.data()
    pair = shop.pair()
    evaluator(pair)
    shop.data(wrong={2})
    evaluator(pair)
    assert [line["reference"] for line in lines_of(paths(pair).predictions)] == [0, 1, -1, 3, 4, 5]
    assert evaluator(pair).metrics == {"exact_match": pytest.approx(5 / 6)}


def test_predictions_of_another_model_go_aside(shop, evaluator, paths):
    """They become .stale; nothing of them is taken for new, and the old result stays until the new one is there."""
    shop.data()
    pair = shop.pair()
    evaluator(pair)
    old = paths(pair).predictions.read_bytes()
    with pytest.raises(PairError, match="3 whole batches"):
        evaluator(shop.pair(params={"bad": [f"s{i}" for i in range(6)]}, max_batch_size=1))
    assert paths(pair).predictions.with_suffix(".jsonl.stale").read_bytes() == old
    assert not paths(pair).marker.exists()
    assert read_result(paths(pair).result).status == "passed"


def test_gates_of_today_judge_a_result_of_yesterday(shop, evaluator, paths):
    """A gate that changed needs no new evaluation, and the file says what holds today."""
    shop.data(wrong={0})
    for limit, status in ((0.5, "passed"), (0.95, "failed"), (0.95, "failed"), (0.5, "passed")):
        pair = shop.pair(gates={"exact_match": {"min": limit}})
        evaluation = evaluator(pair)
        assert evaluation.result.status == read_result(paths(pair).result).status == status
    assert evaluation.reused
    assert shop.notes().count("loaded") == 1


DAMAGES = {
    "marker": ("marker", b"{", "scored: all 6 samples were predicted before", 0, "is damaged"),
    "no marker": ("marker", None, "scored: all 6 samples were predicted before", 0, None),
    "result": ("result", b"{}", "scored again:", 0, None),
    "no result": ("result", None, "scored again:", 0, None),
    "scores": ("scores", b"", "scored again:", 0, None),
    "no predictions": ("predictions", None, "scored again:", 6, None),
    "no fingerprint": ("fingerprint", None, "reused", 0, None),
}


@pytest.mark.parametrize(("name", "content", "reason", "asked", "warning"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_made_again(shop, evaluator, paths, name, content, reason, asked, warning):
    """From the predictions, as far as they are there; the result is that of an undisturbed run."""
    shop.data(wrong={1})
    pair = shop.pair()
    undisturbed = evaluator(pair)
    shop.notes()
    path = getattr(paths(pair), name)
    path.unlink() if content is None else path.write_bytes(content)
    if warning:
        with pytest.warns(EvalrunWarning, match=warning):
            again = evaluator(pair)
    else:
        again = evaluator(pair)
    assert again.reason.startswith(reason)
    assert again.result.metrics == undisturbed.result.metrics
    assert len(shop.asked()) == asked
    assert evaluator(pair).reused


def test_a_result_damaged_unnoticed_is_made_again(shop, evaluator, paths):
    """Size and time as the marker says, and yet it cannot be read."""
    shop.data()
    pair = shop.pair()
    undisturbed = evaluator(pair).result.metrics
    path = paths(pair).result
    stat = path.stat()
    path.write_bytes(b"?" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = evaluator(pair)
    assert again.reason == "scored again: its result is damaged"
    assert again.result.metrics == undisturbed


def spoil(path, old, new):
    """A change that no size tells of."""
    content = path.read_bytes()
    assert len(old) == len(new)
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("count", [6, 300], ids=["a digest a sample", "a digest for some samples"])
@pytest.mark.parametrize("limit", [None, 5], ids=["whole", "limited"])
@pytest.mark.parametrize("distrust", [None, "2999-01-01T00:00:00Z"], ids=["by time", "by content"])
def test_marked_predictions_that_changed_are_not_trusted(shop, evaluator, paths, count, limit, distrust):
    """What its marker does not vouch for is asked again and lies aside; what it vouches for is not paid twice."""
    shop.data(count=count)
    pair = shop.pair(limit=limit)
    before = evaluator(pair).metrics
    path = paths(pair).predictions
    good, stat = path.read_bytes(), path.stat()
    shop.notes()
    spoil(path, b'"s3","status":"ok","prediction":3', b'"s3","status":"ok","prediction":7')
    spoiled = path.read_bytes()
    if distrust:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = evaluator(pair, distrust=distrust)
    group = -(-min(count, limit or count) // 64)
    assert shop.asked() == [f"s{i}" for i in range(3 // group * group, (3 // group + 1) * group)]
    assert again.reason.startswith(f"re-run: predictions/letters/echo/{path.name} changed after it was marked; resumed")
    assert again.metrics == before
    assert path.with_name(f"{path.name}.damaged").read_bytes() == spoiled
    assert [line["prediction"] for line in lines_of(path)] == [
        json.loads(line)["prediction"] for line in good.split(b"\n")[:-1]
    ]
    assert evaluator(pair).reused


MEDDLING = {
    "a line gone": lambda lines: lines[:2] + lines[3:],
    "a line twice": lambda lines: [*lines, lines[2]],
    "two changed places": lambda lines: [lines[1], lines[0], *lines[2:]],
    "one taken for another": lambda lines: [*lines[:5], lines[4].replace(b'"index":4', b'"index":5')],
    "a line more": lambda lines: [*lines, lines[5].replace(b"5", b"6")],
    "the end": lambda lines: lines[:3],
    "everything": lambda lines: [b"\0" * 400],
    "a comment": lambda lines: [b"# mine\n", *lines],
}


@pytest.mark.parametrize("meddle", MEDDLING.values(), ids=MEDDLING)
def test_whatever_was_done_to_marked_predictions(shop, evaluator, paths, meddle):
    """The result is that of an undisturbed run, and each sample is there once, in its place."""
    shop.data(wrong={1})
    pair = shop.pair()
    undisturbed = evaluator(pair).metrics
    path = paths(pair).predictions
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(meddle(lines)))
    assert evaluator(pair).metrics == undisturbed
    assert [(line["index"], line["prediction"]) for line in lines_of(path)] == [(i, i) for i in range(6)]
    assert evaluator(pair).reused


def test_a_marker_of_an_older_version_vouches_for_the_whole(shop, evaluator, paths):
    """It has no digests of parts: all samples are asked again."""
    shop.data()
    pair = shop.pair()
    evaluator(pair)
    marker = json.loads(paths(pair).marker.read_text())
    for facts in marker["files"].values():
        facts.pop("stride", None)
        facts.pop("groups", None)
    paths(pair).marker.write_text(json.dumps(marker))
    assert evaluator(pair).reused
    shop.notes()
    spoil(paths(pair).predictions, b'"prediction":3', b'"prediction":7')
    assert evaluator(pair).metrics == {"exact_match": 1.0}
    assert len(shop.asked()) == 6


def test_a_marker_of_another_pair_vouches_for_nothing(shop, evaluator, paths):
    """Copied beside predictions that were not finished it is as good as a damaged one."""
    shop.data()
    shop.data("other", count=6)
    pair, other = shop.pair(), shop.pair("other")
    evaluator(pair)
    evaluator(other)
    path = paths(pair).predictions
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    paths(pair).marker.write_bytes(paths(other).marker.read_bytes())
    with pytest.warns(EvalrunWarning, match="is damaged"):
        assert evaluator(pair).result.samples["predicted"] == 6


def test_what_carries_on_takes_nothing_for_damaged(shop, evaluator, paths, monkeypatch):
    """A marked pair whose failed sample is asked again, killed while it was: the marker went before the first line."""
    shop.data()
    pair = shop.pair(params={"bad": ["s3"]}, max_failed=1)
    evaluator(pair)
    shop.data(wrong={0})  # it is scored again, and what failed is asked again
    shop.notes()
    killed(monkeypatch, life.Scorer, "run")
    with pytest.raises(KeyboardInterrupt):
        evaluator(pair)
    monkeypatch.undo()
    shop.notes()
    assert evaluator(pair).metrics == {"exact_match": pytest.approx(4 / 5)}
    assert shop.asked() == ["s3"]
    assert not list(evaluator.run.rglob("*.damaged"))


def killed(monkeypatch, place, name):
    def die(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, name, die)


def half(data):
    data.write_bytes(b"".join(data.read_bytes().splitlines(keepends=True)[:3]))


def scrambled(data):
    data.write_bytes(data.read_bytes().replace(b'"x": ', b'"x": 1'))


def emptied(data):
    data.write_bytes(b"")


FAULTS = {
    "half of it": [half],
    "other content": [scrambled],
    "nothing": [emptied],
    "one fault after another": [half, scrambled, half],
}
CASES = {
    f"{name}, {word}": (faults, word != "evaluated")
    for name, faults in FAULTS.items()
    for word in ("evaluated", "an error")
}
del CASES["one fault after another, evaluated"]  # complete ones take each other's place


@pytest.mark.parametrize(("faults", "broken"), CASES.values(), ids=CASES)
def test_good_predictions_are_found_again(shop, evaluator, paths, faults, broken):
    """A fault of the data that has passed costs nothing, whatever was run meanwhile: nothing is asked again."""
    data = shop.data(wrong={1})
    good = data.read_bytes()
    pair = shop.pair()
    undisturbed, kept = evaluator(pair).metrics, paths(pair).predictions.read_bytes()
    meanwhile = shop.pair(metrics=["./m.py:broken"]) if broken else pair
    for fault in faults:
        data.write_bytes(good)
        fault(data)
        with contextlib.suppress(PairError):
            evaluator(meanwhile)
    data.write_bytes(good)
    shop.notes()
    again = evaluator(pair)
    assert shop.notes() == []
    assert again.metrics == undisturbed
    assert again.reused == (broken or faults == [emptied])  # another result has taken its place: it is scored again
    assert paths(pair).predictions.read_bytes() == kept
    assert evaluator(pair).reused


@pytest.mark.parametrize("mode", ["all", "infer"])
def test_unfinished_predictions_are_found_again(shop, evaluator, paths, mode):
    """What was predicted before the data was damaged for a while is carried on with, if it is the same."""
    data = shop.data()
    good = data.read_bytes()
    pair = shop.pair()
    evaluator(pair, mode=mode)
    path = paths(pair).predictions
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    paths(pair).marker.unlink(missing_ok=True)
    half(data)
    evaluator(pair)
    data.write_bytes(good)
    aside = path.with_name(f"{path.name}.stale")
    if mode == "infer":
        aside.write_bytes(aside.read_bytes().replace(b'"prediction":3', b'"prediction":7'))
    shop.notes()
    assert evaluator(pair).metrics == {"exact_match": 1.0}
    assert len(shop.asked()) == (6 if mode == "infer" else 2)


def test_parameters_that_go_back_and_forth(shop, evaluator):
    """The evaluation before this one is kept, complete: nothing is asked that was asked before."""
    shop.data()
    for plus in (0, 1):
        evaluator(shop.pair(params={"plus": plus}))
    shop.notes()
    for plus in (0, 1, 0, 1):
        pair = shop.pair(params={"plus": plus})
        assert evaluator(pair).metrics == {"exact_match": 1.0 - plus}
        assert shop.notes() == []


def test_fresh_means_fresh(shop, evaluator):
    """What lies aside is not found again by who asked for new predictions, nor by the launch after a kill."""
    shop.data()
    for plus in (0, 1):
        evaluator(shop.pair(params={"plus": plus}))
    shop.notes()
    evaluator(shop.pair(), run_id="two", fresh=True)
    assert len(shop.asked()) == 6


def test_the_model_is_blamed_for_its_fault(shop, evaluator):
    """After a dataset that was damaged for a while, too: what counts is the last complete evaluation."""
    data = shop.data()
    good, weights = data.read_bytes(), shop.root / "weights.bin"
    evaluator(shop.pair())
    half(data)
    with pytest.raises(PairError):
        evaluator(shop.pair(metrics=["./m.py:broken"]))
    data.write_bytes(good)
    weights.write_bytes(b"weig")
    assert evaluator(shop.pair()).reason == "re-run: model changed"


def test_killed_while_predictions_change_places(shop, evaluator, monkeypatch):
    """At any moment, when they go aside and when they come back: none is lost, and none is taken for another's."""
    data = shop.data()
    good = data.read_bytes()
    pair = shop.pair(metrics=["exact_match", "./m.py:off_by"])
    moments = 0
    for step in itertools.count():
        data.write_bytes(good)
        evaluator(pair, run_id=f"fresh {step}", fresh=True)
        shop.notes()
        died = [dying_at(step, monkeypatch, lambda: scrambled(data) or evaluator(pair))]
        data.write_bytes(good)
        died.append(dying_at(step, monkeypatch, lambda: evaluator(pair)))
        asked = len(shop.asked())
        assert evaluator(pair).metrics == {"exact_match": 1.0, "off_by": 0.0}
        assert shop.notes() == []
        assert asked <= 6  # those of the scrambled data
        if not any(died):
            break
        moments += 1
    assert moments > 10


def dying_at(step, monkeypatch, act):
    """Whether a kill before the ``step``-th change of a name ended it."""
    calls = itertools.count()

    def dying(real):
        def change(*args, **options):
            if next(calls) == step:
                raise KeyboardInterrupt
            return real(*args, **options)

        return change

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "unlink"):
            patch.setattr(os, name, dying(getattr(os, name)))
        try:
            act()
        except KeyboardInterrupt:
            return True
    return False


def fifo(path):
    os.mkfifo(path)


def directory(path):
    path.mkdir()
    (path / "mine").touch()


def link_to_nowhere(path):
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "not marked"])
@pytest.mark.parametrize("put", [fifo, directory, link_to_nowhere])
@pytest.mark.parametrize("name", ["marker", "predictions", "scores", "result", "state", "fingerprint", "lock"])
def test_what_lies_in_place_of_a_file(shop, evaluator, paths, name, put, marked):
    """It is replaced, or a sentence says what to move: nobody waits for it, and nothing is written through it."""
    shop.data(wrong={1})
    pair = shop.pair()
    undisturbed = evaluator(pair, shared=True).metrics
    if not marked:
        paths(pair).marker.unlink()
    path = getattr(paths(pair), name)
    path.unlink(missing_ok=True)
    put(path)
    told = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EvalrunWarning)  # a marker that is no file is a damaged one
            evaluator(pair, shared=True)
    except PairError as error:
        told.append(error)
        path.rename(path.with_name("moved"))
    assert [error.__cause__ for error in told] == [None] * len(told)
    assert all(str(error).startswith(f"{path}: ") for error in told)
    assert all(str(error).endswith("elsewhere, then the same command carries on") for error in told)
    assert evaluator(pair, shared=True).metrics == undisturbed
    assert not path.with_name("nowhere").exists()


def test_a_history_that_is_no_file_is_told(shop, evaluator):
    """The pair is complete by then; what was evaluated is not lost with the line that could not be added."""
    shop.data()
    evaluator.workdir.mkdir()
    fifo(evaluator.workdir / "history.jsonl")
    with pytest.raises(PairError, match=r"history.jsonl: .*; move what lies there elsewhere"):
        evaluator(shop.pair())
    assert evaluator(shop.pair()).reused


def test_predictions_without_fingerprint_are_not_trusted(shop, evaluator, paths):
    """Nobody knows what they were made from: neither marker nor fingerprint is there."""
    shop.data()
    pair = shop.pair()
    evaluator(pair)
    shop.notes()
    paths(pair).fingerprint.write_text("{")
    paths(pair).marker.unlink()
    assert evaluator(pair).reason == "re-run: its fingerprint is missing"
    assert len(shop.asked()) == 6


def test_a_damaged_line_is_asked_again(shop, evaluator, paths):
    """A torn end is told; its samples only are asked, and the file is complete and in order afterwards."""
    shop.data()
    pair = shop.pair()
    evaluator(pair)
    shop.notes()
    paths(pair).marker.unlink()
    lines = paths(pair).predictions.read_bytes().splitlines(keepends=True)
    paths(pair).predictions.write_bytes(b"".join([lines[0], b"torn\n", *lines[2:5], lines[5][:20]]))
    with pytest.warns(EvalrunWarning, match="a torn end .* was cut off; 1 damaged line is ignored"):
        again = evaluator(pair)
    assert again.reason == "resumed at 4 of 6 samples"
    assert shop.asked() == ["s1", "s5"]
    assert [line["index"] for line in lines_of(paths(pair).predictions)] == list(range(6))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(done=st.sets(st.integers(0, 5)), size=st.integers(1, 7))
def test_a_killed_pair_is_resumed(shop, evaluator, paths, done, size):
    """Whatever was predicted before the end is not asked again, and the result is that of an undisturbed run."""
    shop.data(wrong={1})
    pair = shop.pair(max_batch_size=size)
    undisturbed = evaluator(pair).result.metrics
    shop.notes()
    files = paths(pair)
    files.marker.unlink()
    kept = [line for line in lines_of(files.predictions) if line["index"] in done]
    files.predictions.write_text("".join(json.dumps(line) + "\n" for line in kept))
    again = evaluator(pair)
    assert again.result.metrics == undisturbed
    assert shop.asked() == [f"s{i}" for i in range(6) if i not in done]
    assert again.result.samples["reused"] == len(done)


FAILURES = {
    "none allowed": (0, 1, False),
    "a count": (1, 1, True),
    "more than the count": (1, 2, False),
    "a share": (0.34, 2, True),
    "exactly the share": (1 / 3, 2, True),
    "more than the share": (0.3, 2, False),
}


@pytest.mark.parametrize(("allowed", "bad", "holds"), FAILURES.values(), ids=FAILURES)
def test_failed_samples_are_an_error_unless_allowed(shop, evaluator, paths, allowed, bad, holds):
    """`max_failed` is a count, or a share below 1; the message names the first that failed."""
    shop.data()
    pair = shop.pair(params={"bad": ["s2", "s3"][:bad]}, max_failed=allowed)
    if holds:
        evaluation = evaluator(pair)
        assert evaluation.result.samples == {"total": 6, "predicted": 6 - bad, "failed": bad, "reused": 0}
        assert evaluation.result.metrics["exact_match"]["n"] == 6 - bad
        assert evaluator(pair).reused
    else:
        with pytest.raises(PairError, match=f"{bad} of 6 samples failed .*the first: s2: ValueError: no such sample"):
            evaluator(pair)
        assert not paths(pair).marker.exists()
        assert read_result(paths(pair).result).status == "error"


# max_failed, samples that count, samples of the dataset, failed of them
BOUNDS = {
    # 29 of 100 are 29 %, though 0.29 x 100 is less than 29 in floating point
    "a share is not cut by rounding": (0.29, 100, 100, 29),
    "a share is of the limit": (0.1, 20, 100, 2),
    "a count": (10, 100, 100, 10),
    "a count shrinks with the limit": (10, 20, 100, 2),
    "a count of which the limit leaves none": (10, 5, 100, 0),
    "a count that is no whole number there": (10, 25, 100, 2),
    "a third of three": (1, 1, 3, 0),
}


@pytest.mark.parametrize(("allowed", "count", "total", "most"), BOUNDS.values(), ids=BOUNDS)
def test_how_many_may_fail(allowed, count, total, most):
    """A count is meant for the whole dataset, and shrinks with the samples that are left of it; a share needs not."""
    check_failures(allowed, count, total, most, "")
    with pytest.raises(PairError, match=f"{most + 1} of {count} samples failed"):
        check_failures(allowed, count, total, most + 1, "")


NOTHING = {
    "as many may fail": {},
    "a share may fail": {"max_failed": 0.99},
    "with a gate": {"gates": {"exact_match": {"min": 0.5}}},
    "with a limit": {"limit": 2},
}


@pytest.mark.parametrize("settings", NOTHING.values(), ids=NOTHING)
def test_nothing_predicted_is_never_passed(shop, evaluator, paths, settings):
    """However many samples may fail, in whatever mode: the error is that of the first sample, and nothing is marked."""
    shop.data(count=4)
    bad = {"params": {"bad": [f"s{i}" for i in range(4)]}}
    pair = shop.pair(**{"max_failed": 10, "max_batch_size": 4} | bad | settings)
    said = rf"^no sample was predicted \(of {settings.get('limit', 4)}\); the first: s0: ValueError: no such sample"
    for mode in ("infer", "eval", "all"):
        with pytest.raises(PairError, match=said):
            evaluator(pair, mode=mode)
        assert not paths(pair).marker.exists()


def test_a_stored_result_of_nothing_is_not_reused(shop, evaluator, paths):
    """An older version marked such pairs as passed: they are asked again."""
    shop.data()
    pair = shop.pair()
    evaluator(pair)
    files = paths(pair)
    files.predictions.write_text("".join(failed(line) for line in lines_of(files.predictions)))
    content = json.loads(files.result.read_text())
    files.result.write_text(json.dumps(content | {"metrics": {}, "samples": {"total": 6, "predicted": 0, "failed": 6}}))
    context = evaluator.context()
    fingerprint = json.loads(files.marker.read_text())["fingerprint"]
    write_marker(context.disk, files, fingerprint)
    shop.notes()
    again = evaluator(pair)
    assert (again.reused, again.reason) == (False, "scored again: none of its samples was predicted")
    assert len(shop.asked()) == 6


def failed(line):
    return json.dumps(line | {"status": "failed", "prediction": None, "error": "broken"}) + "\n"


def test_failed_samples_alone_are_asked_again(shop, evaluator):
    """What was predicted stays; a model whose trouble has passed completes the pair."""
    shop.data()
    flaky = shop.root / "model.py"
    flaky.write_text(flaky.read_text().replace("if any(", "if (HERE / 'trouble').exists() and any("))
    (shop.root / "trouble").touch()
    pair = shop.pair(params={"bad": ["s3"]})
    with pytest.raises(PairError, match="1 of 6 samples failed"):
        evaluator(pair)
    shop.notes()
    (shop.root / "trouble").unlink()
    again = evaluator(pair)
    assert again.reason == "resumed at 5 of 6 samples"
    assert shop.asked() == ["s3"]
    assert again.metrics == {"exact_match": 1.0}


def test_infer_stops_before_scoring(shop, evaluator, paths):
    """Predictions, no result and no marker; `eval` then scores them without asking the model."""
    shop.data()
    pair = shop.pair()
    inferred = evaluator(pair, mode="infer")
    assert (inferred.result, inferred.metrics, inferred.predicted) == (None, {}, 6)
    assert not paths(pair).marker.exists()
    assert not paths(pair).result.exists()
    shop.notes()
    scored = evaluator(pair, mode="eval")
    assert scored.metrics == {"exact_match": 1.0}
    assert shop.notes() == []
    assert evaluator(pair, mode="infer").reused


def test_infer_judges_no_gate_of_what_is_reused(shop, evaluator, paths):
    """Nobody asked for a verdict; the result and its marker stay as they are."""
    shop.data()
    evaluator(shop.pair())
    before = paths(shop.pair()).result.read_bytes()
    reused = evaluator(shop.pair(gates={"exact_match": {"min": 2}}), mode="infer")
    assert (reused.reused, reused.result, reused.breached, reused.predicted) == (True, None, [], 6)
    assert (paths(shop.pair()).result.read_bytes(), paths(shop.pair()).marker.exists()) == (before, True)


def test_infer_tells_failed_samples(shop, evaluator):
    """They are an error there as well."""
    shop.data()
    with pytest.raises(PairError, match="1 of 6 samples failed"):
        evaluator(shop.pair(params={"bad": ["s2"]}), mode="infer")


def test_eval_needs_predictions(shop, evaluator):
    """Without them the pair is an error that says what to do; no model is loaded."""
    shop.data()
    with pytest.raises(PairError, match=r"--eval-mode eval: 0 of 6 samples are predicted \(new\); run without it"):
        evaluator(shop.pair(), mode="eval")
    assert shop.notes() == []


def test_eval_needs_all_predictions(shop, evaluator, paths):
    """How many there are is told; they stay for the run that carries on."""
    shop.data()
    pair = shop.pair()
    evaluator(pair, mode="infer")
    path = paths(pair).predictions
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    with pytest.raises(PairError, match=r"4 of 6 samples are predicted \(resumed at 4 of 6 samples\)"):
        evaluator(pair, mode="eval")
    shop.notes()
    assert evaluator(pair).metrics == {"exact_match": 1.0}
    assert shop.asked() == ["s4", "s5"]


def test_eval_scores_what_failed_within_bounds(shop, evaluator):
    """Samples that were asked and failed, as many as allowed, need no model either."""
    shop.data()
    pair = shop.pair(params={"bad": ["s2"]}, max_failed=1)
    evaluator(pair, mode="infer")
    shop.notes()
    assert evaluator(pair, mode="eval").result.samples["failed"] == 1
    assert shop.notes() == []


def test_eval_spoils_nothing(shop, evaluator):
    """Where the predictions are of other data they stay what they are: the data may come back."""
    data = shop.data()
    pair = shop.pair()
    evaluator(pair)
    shop.notes()
    original = data.read_bytes()
    shop.data(count=2)
    with pytest.raises(PairError, match=r"--eval-mode eval: .*dataset changed"):
        evaluator(pair, mode="eval")
    data.write_bytes(original)
    assert evaluator(pair).reused
    assert shop.notes() == []


def test_fresh_makes_again_once_a_launch(shop, evaluator, paths):
    """Predictions and result become .old; whoever asks for the pair later in this launch reuses the new ones."""
    shop.data()
    pair = shop.pair()
    evaluator(pair, run_id="one")
    old = paths(pair).result.read_bytes()
    shop.notes()
    assert evaluator(pair, run_id="two", fresh=True).reason == "new"
    assert len(shop.asked()) == 6
    assert paths(pair).result.with_suffix(".json.old").read_bytes() == old
    assert evaluator(pair, run_id="two", fresh=True).reused
    assert evaluator(pair, run_id="three").reused


def test_fresh_costs_nothing_where_the_model_does_not_load(shop, evaluator):
    """What is there is put aside only when the model is there that shall make it anew."""
    shop.data()
    evaluator(shop.pair(), run_id="one")
    with pytest.raises(PairError, match="does not fit what it is given"):
        evaluator(shop.pair(params={"nonsense": 1}), run_id="two", fresh=True)
    assert evaluator(shop.pair(), run_id="three").reused


def test_the_first_samples_are_no_full_result(shop, evaluator, paths):
    """A limit has files of its own, and takes no part in the pair's result."""
    shop.data()
    limited, full = shop.pair(limit=2), shop.pair()
    assert evaluator(limited).result.samples == {"total": 6, "predicted": 2, "failed": 0, "reused": 0}
    assert paths(limited).result.name == "clean.limit-2.json"
    assert evaluator(full).reason == "new"
    assert evaluator(limited).reused
    assert evaluator(shop.pair(limit=99)).result.samples["predicted"] == 6


def test_an_unclean_end_is_looked_behind(shop, evaluator, paths):
    """Size and time would deceive: after it, contents decide, once."""
    shop.data(wrong={1})
    pair = shop.pair()
    evaluator(pair)
    path = paths(pair).scores
    stat, content = path.stat(), path.read_bytes()
    path.write_bytes(content.replace(b"1.0", b"9.0", 1))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert evaluator(pair).reused
    again = evaluator(pair, distrust="2999-01-01T00:00:00Z")
    assert "scores.jsonl changed after it was marked" in again.reason
    assert path.read_bytes() == content


def test_another_library_is_told_and_reused(shop, evaluator, monkeypatch):
    """A change of the environment is a warning, never new work by itself."""
    shop.data()
    pair = shop.pair()
    evaluator(pair)
    monkeypatch.setattr(fingerprint, "environment_now", lambda: {"libraries": {"numpy": "99.0"}})
    with pytest.warns(EvalrunWarning, match=r"letters/echo/clean: reused, though .*numpy .* became 99.0"):
        assert evaluator(pair).reused


ERRORS = {
    "no dataset": ({}, "none", PairError, "the dataset cannot be read"),
    "no adapter": ({"adapter": None}, "clean", PairError, "no adapter"),
    "adapter not there": ({"adapter": "./model.py:Modell"}, "clean", ConfigError, "has no 'Modell'"),
    "metric fails": ({"metrics": ["./m.py:broken"]}, "clean", PairError, "metric broken failed: KeyError"),
    "reader fails": ({"format": "./r.py:Failing"}, "clean", PairError, "KeyError: 'no such split'"),
}


UNJUDGED = {
    "gate on nothing": ({"top1": {"min": 1}}, "gate on top1: the result has no such metric"),
    "no baseline": ({"exact_match": {"max_drop": 0, "baseline": "main"}}, "gate on exact_match: no baseline 'main'"),
}


@pytest.mark.parametrize(("gates", "message"), UNJUDGED.values(), ids=UNJUDGED)
def test_what_cannot_be_judged_was_evaluated(shop, evaluator, paths, gates, message):
    """An error that costs nothing: all is kept and marked, and judged without the model once the gate is mended."""
    shop.data()
    pair = shop.pair(gates=gates)
    for _ in range(2):
        with pytest.raises(PairError, match=message):
            evaluator(pair)
        result = read_result(paths(pair).result)
        assert (result.status, result.gates) == ("error", [])
        assert message in result.environment["error"]
        assert result.metrics["exact_match"]["n"] == result.samples["predicted"]
        assert paths(pair).marker.exists()
    evaluation = evaluator(shop.pair(gates={"exact_match": {"min": 0}}))
    assert evaluation.reused
    assert evaluation.result.status == "passed"
    assert "error" not in evaluation.result.environment


@pytest.mark.parametrize(("settings", "dataset", "kind", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_are_results_too(shop, evaluator, paths, settings, dataset, kind, message):
    """A pair that cannot be evaluated has a result with the reason, so that summaries show it; it is no full one."""
    shop.data()
    failing = "class Failing:\n    def __init__(self, path): pass\n    def __iter__(self): return iter(())\n"
    failing += "    def identity(self, hashes): raise KeyError('no such split')\n"
    (shop.root / "r.py").write_text(failing)
    pair = shop.pair(dataset, **settings)
    with pytest.raises(kind, match=message):
        evaluator(pair)
    result = read_result(paths(pair).result)
    assert result.status == "error"
    assert message in result.environment["error"]
    assert not paths(pair).marker.exists()


def test_an_error_leaves_an_old_result_alone(shop, evaluator, paths):
    """It stays the pair's result until a new one is complete."""
    shop.data()
    evaluator(shop.pair())
    before = paths(shop.pair()).result.read_bytes()
    with pytest.raises(PairError):
        evaluator(shop.pair(metrics=["./m.py:broken"]))
    assert paths(shop.pair()).result.read_bytes() == before


def test_a_full_disk_is_the_pairs_error(shop, evaluator, monkeypatch):
    """Also where not even the error can be kept."""
    shop.data()
    context = evaluator.context()

    def full(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(context.disk, "write", full)
    with pytest.raises(PairError, match=r"No space left on device: make room for .*carries on"):
        evaluate(shop.pair(), context)


def test_two_that_ask_for_one_pair(shop, evaluator):
    """Where user functions share a pair, the second waits and finds the first one's result."""
    shop.data(count=40)
    pair = shop.pair(max_batch_size=1)
    found = []
    threads = [threading.Thread(target=lambda: found.append(evaluator(pair, shared=True))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(evaluation.reused for evaluation in found) == [False, True, True]
    assert len(shop.asked()) == 40


def test_logs_of_predicting_and_scoring(shop, evaluator, paths):
    """Why it runs stands in the log; scoring has a log of its own."""
    shop.data()
    pair = shop.pair()
    context = evaluator.context()
    context.log = ItemLog(None)
    context.log.open(paths(pair).infer_log)
    evaluate(pair, context)
    context.log.close()
    assert "letters/echo/clean: new" in paths(pair).infer_log.read_text()
    assert paths(pair).eval_log.exists()


def test_what_scoring_warns_of_is_in_its_log(shop, evaluator, paths):
    """Beside the scores, with the pair's name."""
    shop.data().write_text('{"id": "s0", "x": " a", "y": " a"}\n')
    pair = shop.pair(params={"plus": ""})
    context = evaluator.context()
    context.log = ItemLog(None)
    evaluate(pair, context)
    context.log.close()
    assert "] warning: letters/echo/clean: 1 label and 1 prediction begin" in paths(pair).eval_log.read_text()


def test_predictions_can_be_read(shop, evaluator, paths):
    """One line a sample, in dataset order."""
    shop.data()
    pair = shop.pair()
    context = evaluator.context()
    evaluate(pair, context)
    assert [(line.index, line.prediction) for line in stored_predictions(paths(pair))] == [(i, i) for i in range(6)]


@pytest.mark.parametrize("before", [0, 3], ids=["first time", "after a shorter dataset"])
def test_reading_predictions_changes_nothing(shop, evaluator, paths, before):
    """After `infer` there is no result yet, or one of other data: the file is not measured by it."""
    pair = shop.pair()
    if before:
        shop.data(count=before)
        evaluator(pair)
    shop.data()
    context = evaluator.context(mode="infer")
    evaluate(pair, context)
    assert [line.index for line in stored_predictions(paths(pair))] == list(range(6))
    assert [line.index for line in stored_predictions(paths(pair))] == list(range(6))


def test_no_predictions_are_none_to_read(shop, paths):
    """A pair that was never evaluated."""
    assert list(stored_predictions(paths(shop.pair()))) == []


def test_what_a_test_records(shop, evaluator, paths):
    """Its values lie beside the pair's result under the test's own name; what is no JSON becomes text."""
    pair = shop.pair()
    disk = evaluator.context().disk
    record_own(pair, paths(pair), disk, "test_no/vowels", {"share": 0.5, "path": shop.root}, None)
    content = json.loads(paths(pair).test_result("test_no_vowels").read_text(encoding="utf-8"))
    assert content["values"] == {"share": 0.5, "path": str(shop.root)}
    assert (content["task"], content["test"]) == ("echo", "test_no/vowels")
