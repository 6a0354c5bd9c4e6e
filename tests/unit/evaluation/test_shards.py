"""What shards predicted is taken over whole, whatever was cut, stopped or damaged before."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation import shardlife
from pytest_evalrun.evaluation.cuts import ranges
from pytest_evalrun.evaluation.shards import shard_files, tally_of
from pytest_evalrun.rundir.layout import key_of
from pytest_evalrun.rundir.predictions import Line
from pytest_evalrun.suite.pairs import Cut

# Notes what it has answered; stops as Ctrl-C does where a file names the sample.
STOPPED = """
from pathlib import Path

HERE = Path(__file__).parent

class Model:
    def __init__(self, path=None):
        pass

    def predict(self, batch):
        stop = HERE / "stop.txt"
        if stop.exists() and any(sample.id in stop.read_text().split() for sample in batch):
            raise KeyboardInterrupt
        with (HERE / "asked.txt").open("a") as file:
            file.writelines(f"{sample.id}\\n" for sample in batch)
        return [sample.input * 10 for sample in batch]
"""


def cut(pair, word, value, count):
    """The pair as a launch would cut it."""
    return replace(pair, cuts=tuple(Cut(low, high, f"{low}-{high}") for low, high in ranges(count, word, value)))


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def paths(evaluator):
    return lambda pair: evaluator.context().paths.pair(key_of(pair))


def launch(evaluator, pair, run_id="launch"):
    """All items of a pair, one after the other; the evaluation of the pair itself."""
    for shard in pair.shards():
        evaluator(shard, run_id=run_id)
    return evaluator(pair, run_id=run_id)


def shown(lines):
    """What must not depend on how a pair was cut: everything but the time that a sample took."""
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


STEPS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.tuples(st.sampled_from(["shards", "shard_size"]), st.integers(1, 15))),
        st.lists(st.integers(0, 14), max_size=6),
        st.one_of(st.none(), st.integers(0, 12)),
    ),
    max_size=6,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 13), steps=STEPS, last=st.one_of(st.none(), st.integers(1, 15)))
def test_cuts_and_interruptions_change_nothing(tmp_path_factory, shop, evaluator, count, steps, last):
    """Any sequence of them ends in the predictions of an undisturbed run, and no finished sample is asked again."""
    place = tmp_path_factory.mktemp("law")
    shop, evaluator = type(shop)(place / "suite"), type(evaluator)(place / "outputs")
    (shop.root / "model.py").write_text(STOPPED)
    shop.data(count=count)
    pair = shop.pair()
    for asked, chosen, stop in steps:
        (shop.root / "stop.txt").write_text("" if stop is None else f"s{stop}")
        whole = pair if asked is None else cut(pair, *asked, count)
        items = [whole.shards()[i] for i in chosen if i < len(whole.cuts)] or [whole]
        for item in items:
            try:
                evaluator(item)
            except (KeyboardInterrupt, PairError):
                break
    (shop.root / "stop.txt").unlink(missing_ok=True)
    done = launch(evaluator, pair if last is None else cut(pair, "shards", last, count))
    evaluator.close()
    key = key_of(pair)
    run = evaluator.context().paths.pair(key)
    assert done.result.samples["predicted"] == done.result.samples["total"] == count
    assert [line["prediction"] for line in lines_of(run.predictions)] == [i * 10 for i in range(count)]
    assert [line["index"] for line in lines_of(run.predictions)] == list(range(count))
    assert sorted(shop.asked(), key=lambda name: int(name[1:])) == [f"s{i}" for i in range(count)]
    assert shard_files(run) == []


def test_a_cut_pair_is_as_good_as_a_plain_one(shop, evaluator, paths):
    """Lines, metrics and samples are those of the same pair undisturbed."""
    shop.data(count=11, wrong={3})
    whole = evaluator(shop.pair(task="plain"))
    parts = launch(evaluator, cut(shop.pair(task="cut"), "shards", 4, 11))
    assert (parts.metrics, parts.result.samples) == (whole.metrics, whole.result.samples)
    plain, gathered = (lines_of(paths(shop.pair(task=task)).predictions) for task in ("plain", "cut"))
    assert shown(gathered) == shown(plain)
    assert parts.reason == "4 shards"


def test_more_shards_than_samples_are_one_each(shop, evaluator):
    """There is never an empty one."""
    shop.data(count=3)
    pair = cut(shop.pair(), "shards", 50, 3)
    assert [c.label for c in pair.cuts] == ["0-1", "1-2", "2-3"]
    assert launch(evaluator, pair).result.samples["predicted"] == 3


def test_another_cut_reuses_every_sample(shop, evaluator):
    """Two shards of three, then four, then none: what was asked once is never asked again."""
    shop.data(count=12)
    evaluator(cut(shop.pair(), "shards", 3, 12).shards()[1])
    evaluator(cut(shop.pair(), "shards", 3, 12).shards()[2])
    assert shop.asked() == [f"s{i}" for i in range(4, 12)]
    reasons = [evaluator(shard).reason for shard in cut(shop.pair(), "shards", 4, 12).shards()[:2]]
    assert reasons == ["new", "resumed at 2 of 3 samples"]
    assert shop.asked() == ["s0", "s1", "s2", "s3"]
    plain = evaluator(shop.pair())
    assert plain.reason == "scored: all 12 samples were predicted before"
    assert shop.notes() == []


def test_a_plain_pair_takes_over_what_shards_had(shop, evaluator, paths):
    """And it says how much; a later cut finds it in the pair's own file."""
    shop.data(count=10)
    evaluator(cut(shop.pair(), "shards", 2, 10).shards()[1])
    shop.notes()
    plain = evaluator(shop.pair())
    assert plain.reason == "resumed at 5 of 10 samples"
    assert plain.result.samples["reused"] == 5
    assert shop.asked() == [f"s{i}" for i in range(5)]
    assert [line["index"] for line in lines_of(paths(shop.pair()).predictions)] == list(range(10))
    again = cut(shop.pair(), "shards", 3, 10)
    assert [evaluator(item).reused for item in (*again.shards(), again)] == [True] * 4
    assert shop.notes() == []


def test_a_pair_without_its_shards_is_an_error_with_its_coverage(shop, evaluator, paths):
    """It asks the model nothing, and what is there stays."""
    shop.data(count=10)
    pair = cut(shop.pair(), "shards", 5, 10)
    for place in (0, 3):
        evaluator(pair.shards()[place])
    shop.notes()
    with pytest.raises(PairError) as error:
        evaluator(pair)
    assert str(error.value) == ("2 of 5 shards are complete, 4 of 10 samples are predicted; missing: 2-4, 4-6, 8-10")
    assert shop.notes() == []
    assert launch(evaluator, pair).result.status == "passed"
    assert len(shop.asked()) == 6


def test_a_dataset_that_grew_after_it_was_cut(shop, evaluator):
    """The pair says so: its shards are all done, and yet there are more samples."""
    shop.data(count=6)
    pair = cut(shop.pair(), "shards", 2, 6)
    shop.data(count=8)
    with pytest.raises(PairError, match="6 of 8 samples are predicted: the dataset grew after it was cut"):
        launch(evaluator, pair)


def test_failed_samples_of_shards_count_together(shop, evaluator):
    """The share that may fail is that of the pair; one shard that fails more than that is an error by itself."""
    shop.data(count=12)
    bad = {"params": {"bad": ["s1", "s5"]}, "max_batch_size": 3}
    tolerant = cut(shop.pair(max_failed=2, **bad), "shards", 3, 12)
    evaluation = launch(evaluator, tolerant)
    assert evaluation.result.samples == {"total": 12, "predicted": 10, "failed": 2, "reused": 0}
    strict = cut(shop.pair(task="strict", max_failed=1, **bad), "shards", 3, 12)
    for shard in strict.shards():
        evaluator(shard)
    with pytest.raises(PairError, match=r"2 of 12 samples failed \(max_failed is 1\)"):
        evaluator(strict)
    none = cut(shop.pair(task="none", **bad), "shards", 3, 12)
    with pytest.raises(PairError, match=r"1 of 12 samples failed \(max_failed is 0\)"):
        evaluator(none.shards()[0])


@pytest.mark.parametrize("allowed", [2, 0.5], ids=["count", "share"])
def test_a_shard_that_predicted_nothing_passes_as_far_as_its_pair_allows(shop, evaluator, allowed):
    """One of two that failed whole is half of the pair: what may fail is judged of the pair, in every mode."""
    shop.data(count=4)
    pair = cut(shop.pair(max_failed=allowed, params={"bad": ["s0", "s1"]}), "shards", 2, 4)
    for mode in ("infer", "eval"):
        for shard in pair.shards():
            evaluator(shard, mode=mode)
    assert evaluator(pair).result.samples["failed"] == 2


def test_a_shard_of_which_more_failed_than_may_of_its_pair_is_an_error(shop, evaluator):
    """A count shrinks with the limit, for shards too."""
    shop.data(count=8)
    bad = {"bad": ["s0", "s1"]}
    pair = cut(shop.pair(max_failed=2, limit=4, params=bad), "shards", 2, 4)
    first, second = pair.shards()
    with pytest.raises(PairError, match=r"^2 of 4 samples failed \(max_failed is 2 of 8, so 1 of these\)"):
        evaluator(first)
    evaluator(second)
    with pytest.raises(PairError, match=r"^2 of 4 samples failed"):
        evaluator(pair)


def test_a_pair_whose_shards_all_predicted_nothing_is_an_error(shop, evaluator, paths):
    """Each of them passes where all may fail, their pair does not: nothing predicted is never passed."""
    shop.data(count=4)
    pair = cut(shop.pair(max_failed=4, params={"bad": [f"s{i}" for i in range(4)]}), "shards", 2, 4)
    for mode in ("infer", "eval", "all"):
        for shard in pair.shards():
            evaluator(shard, mode=mode)
        with pytest.raises(PairError, match=r"^no sample was predicted \(of 4\); the first: s0: ValueError"):
            evaluator(pair, mode=mode)
        assert not paths(pair).marker.exists()


def test_a_sample_that_failed_is_asked_again_until_it_is_good(shop, evaluator, paths):
    """Then its good line counts, in whatever file the bad one lies."""
    shop.data(count=6)
    (shop.root / "model.py").write_text(
        STOPPED.replace("raise KeyboardInterrupt", "raise ValueError('not today')").replace("* 10", "")
    )
    (shop.root / "stop.txt").write_text("s4")
    pair = cut(shop.pair(max_failed=1, max_batch_size=1), "shards", 2, 6)
    first, second = pair.shards()
    evaluator(first)
    assert evaluator(second).predicted == 2
    with pytest.raises(PairError):
        evaluator(replace(pair, layers=shop.pair(max_failed=0, max_batch_size=1).layers))
    (shop.root / "stop.txt").unlink()
    other = cut(shop.pair(max_failed=0), "shards", 3, 6)
    assert launch(evaluator, other).result.samples["failed"] == 0
    assert sorted(shop.asked()) == [f"s{i}" for i in range(6)]
    assert [line["status"] for line in lines_of(paths(pair).predictions)] == ["ok"] * 6


@pytest.mark.parametrize("failing", [0, 1])
def test_eval_mode_scores_what_shards_left(shop, evaluator, failing):
    """Samples that failed, and may, are no reason to ask for inference again."""
    shop.data(count=6)
    pair = cut(shop.pair(max_failed=1, params={"bad": ["s1"] * failing}), "shards", 2, 6)
    assert launch(lambda item, **how: evaluator(item, mode="infer", **how), pair).result is None
    shop.notes()
    result = launch(lambda item, **how: evaluator(item, mode="eval", **how), pair).result
    assert result.samples["failed"] == failing
    assert shop.notes() == []


def test_eval_mode_without_predictions_is_an_error_and_touches_nothing(shop, evaluator, paths):
    """Of each shard, and of the pair."""
    shop.data(count=6)
    pair = cut(shop.pair(), "shards", 2, 6)
    for item in (*pair.shards(), pair):
        with pytest.raises(PairError, match="0 of"):
            evaluator(item, mode="eval")
    assert not paths(pair).shard_predictions.exists()
    assert shop.notes() == []


CHANGES = {
    "model": lambda shop: (shop.root / "weights.bin").write_bytes(b"WEIGHTS"),
    "dataset": lambda shop: shop.data(count=6, start=1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("complete", [True, False])
def test_a_change_makes_all_shards_stale_once(shop, evaluator, paths, change, complete):
    """The first that sees it puts everything aside; the others, and a second launch, find the new state."""
    shop.data(count=6)
    pair = cut(shop.pair(), "shards", 3, 6)
    launch(evaluator, pair) if complete else evaluator(pair.shards()[0])
    shop.notes()
    change(shop)
    evaluator(pair.shards()[0])
    evaluator(pair.shards()[1])
    fingerprint = paths(pair).fingerprint.stat().st_ino
    assert launch(evaluator, pair, "another").result.samples["predicted"] == 6
    assert len(shop.asked()) == 6
    assert paths(pair).fingerprint.stat().st_ino == fingerprint
    assert paths(pair).fingerprint.with_name("clean.fingerprint.json.stale").exists()


def test_a_shard_that_is_overtaken_by_a_change_leaves_nothing_for_new(shop, evaluator, paths, monkeypatch):
    """While it still works on the old model another finds a new one: its lines go where the old predictions went."""
    shop.data(count=6)
    pair = cut(shop.pair(), "shards", 3, 6)
    evaluator(pair.shards()[2])
    real = shardlife._predict

    def overtaken(*args):
        monkeypatch.setattr(shardlife, "_predict", real)
        (shop.root / "weights.bin").write_bytes(b"WEIGHTS")
        evaluator(pair.shards()[1])
        return real(*args)

    monkeypatch.setattr(shardlife, "_predict", overtaken)
    with pytest.raises(PairError, match="changed while it ran"):
        evaluator(pair.shards()[0])
    run = paths(pair)
    assert [file.name for file in shard_files(run)] == ["2-4.jsonl"]
    assert tally_of(run, 6).done_count == 2
    aside = run.shard_predictions.with_name("clean.stale")
    assert [len(lines_of(aside / name)) for name in ("0-2.jsonl", "4-6.jsonl")] == [2, 2]


def test_fresh_makes_all_of_a_launch_again_once(shop, evaluator, paths):
    """The first shard puts the old aside, the pair nothing: alone it says what is missing and leaves all as it was."""
    shop.data(count=6)
    pair = cut(shop.pair(), "shards", 3, 6)
    launch(evaluator, pair)
    shop.notes()
    with pytest.raises(PairError, match=r"0 of 3 shards are complete, 0 of 6 samples are predicted \(--eval-fresh\)"):
        evaluator(pair, run_id="alone", fresh=True)
    assert paths(pair).marker.exists()
    launch(lambda item, **how: evaluator(item, fresh=True, **how), pair, "again")
    assert sorted(shop.asked()) == [f"s{i}" for i in range(6)]
    launch(lambda item, **how: evaluator(item, fresh=True, **how), pair, "again")
    assert shop.notes() == []


def test_predictions_whose_fingerprint_is_gone_are_nobodys(shop, evaluator, paths):
    """Nothing that shards left is taken for new when nobody knows what it was made from."""
    shop.data(count=6)
    pair = cut(shop.pair(), "shards", 3, 6)
    for shard in pair.shards():
        evaluator(shard)
    shop.notes()
    paths(pair).fingerprint.unlink()
    assert evaluator(shop.pair()).reason == "re-run: its fingerprint is missing"
    assert len(shop.asked()) == 6


def test_damage_to_a_complete_pair_is_made_good_by_its_shards(shop, evaluator, paths):
    """A marker does not keep them from asking for what its predictions have lost."""
    shop.data(count=6)
    pair = cut(shop.pair(), "shards", 3, 6)
    launch(evaluator, pair)
    shop.notes()
    lines = paths(pair).predictions.read_bytes().splitlines(keepends=True)
    paths(pair).predictions.write_bytes(b"".join(lines[:3]))
    assert launch(evaluator, pair).result.samples["predicted"] == 6
    assert shop.asked() == ["s3", "s4", "s5"]


@pytest.mark.parametrize("complete", [True, False], ids=["of the pair", "of its shards"])
def test_predictions_of_shards_are_found_again(shop, evaluator, paths, complete):
    """Data that was other data for a while costs no sample that was predicted before, cut or gathered."""
    data = shop.data(count=6)
    good = data.read_bytes()
    pair = cut(shop.pair(), "shards", 3, 6)
    for shard in pair.shards()[: 3 if complete else 2]:
        evaluator(shard)
    if complete:
        evaluator(pair)
    shop.data(count=6, start=50)
    launch(evaluator, pair, "of other data")
    data.write_bytes(good)
    shop.notes()
    assert launch(evaluator, pair, "again").metrics == {"exact_match": 1.0}
    assert shop.asked() == ([] if complete else ["s4", "s5"])
    assert not paths(pair).shard_predictions.exists()


IMAGES = """
import numpy

class Model:
    def __init__(self, path):
        pass

    def predict(self, batch):
        with open(__file__ + ".asked", "a") as file:
            file.writelines(f"{sample.id}\\n" for sample in batch)
        return [numpy.zeros((4, 4, 3), dtype="uint8") for sample in batch]
"""


def test_files_that_a_model_wrote_and_are_gone_are_made_again(shop, evaluator, paths):
    """By the shard that they belong to, whether they are named in its own file or in the pair's."""
    shop.data(count=6)
    (shop.root / "images.py").write_text(IMAGES)
    pair = cut(shop.pair(adapter="./images.py:Model", metrics=[], reference=None), "shards", 3, 6)
    asked = shop.root / "images.py.asked"
    for shard in pair.shards():
        evaluator(shard)
    run = paths(pair)
    (run.outputs / "s3.png").unlink()
    with pytest.raises(PairError, match="missing: 2-4"):
        evaluator(pair)
    asked.unlink()
    assert launch(evaluator, pair).result.samples["predicted"] == 6
    assert asked.read_text().split() == ["s3"]


def test_a_torn_line_of_a_shard_is_asked_again(shop, evaluator, paths):
    """What a crash left half written is cut off and said."""
    shop.data(count=6)
    pair = cut(shop.pair(), "shards", 2, 6)
    evaluator(pair.shards()[0])
    file = shard_files(paths(pair))[0]
    os.truncate(file, file.stat().st_size - 5)
    shop.notes()
    with pytest.warns(Warning, match="a torn end"):
        evaluator(pair.shards()[0])
    assert shop.asked() == ["s2"]


def test_the_pair_survives_a_full_disk(shop, evaluator, paths, monkeypatch):
    """Half a batch that was gathered is no harm: shards keep what they have, and the next time all is there."""
    shop.data(count=6)
    pair = cut(shop.pair(), "shards", 2, 6)
    for shard in pair.shards():
        evaluator(shard)
    shop.notes()
    from pytest_evalrun.rundir import durable

    def full(fd, data):
        lines = data.startswith(b'{"index"')
        os.write(fd, data[: len(data) // 2] if lines else data)
        if lines:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_all", full)
        with pytest.raises(PairError, match="No space left on device: make room"):
            evaluator(pair)
    assert len(shard_files(paths(pair))) == 2
    with pytest.warns(Warning, match="a torn end"):
        assert evaluator(pair).result.samples["predicted"] == 6
    assert shop.notes() == []


def test_a_limit_has_files_of_its_own(shop, evaluator, paths):
    """Shards of a limited evaluation never meet those of the full one."""
    shop.data(count=8)
    limited = cut(shop.pair(limit=4), "shards", 2, 4)
    full = cut(shop.pair(), "shards", 2, 8)
    assert launch(evaluator, limited).result.samples == {"total": 8, "predicted": 4, "failed": 0, "reused": 0}
    assert launch(evaluator, full).result.samples["predicted"] == 8
    assert len(shop.asked()) == 12
    assert paths(limited).predictions != paths(full).predictions


def test_history_knows_what_the_shards_took(shop, evaluator):
    """Predicting is the work of the shards: its seconds are those of the samples, and the total has them too."""
    shop.data(count=6)
    launch(evaluator, cut(shop.pair(), "shards", 3, 6))
    (entry,) = lines_of(evaluator.workdir / "history.jsonl")
    seconds = entry["seconds"]
    assert seconds["predict"] > 0
    assert seconds["total"] >= seconds["predict"] + seconds["score"]
    assert seconds["throughput"] == pytest.approx(6 / seconds["predict"], rel=0.01)
    assert entry["samples"]["reused"] == 0


def test_a_pair_took_what_its_shards_took_in_all_their_sessions(shop, evaluator, paths):
    """Each keeps its own seconds of predicting, one that was stopped too; with its pair they are done with."""
    shop.data(count=6)
    (shop.root / "model.py").write_text(STOPPED)
    (shop.root / "stop.txt").write_text("s5")
    pair = cut(shop.pair(max_batch_size=1), "shards", 2, 6)
    first, second = pair.shards()
    evaluator(first)
    with pytest.raises(KeyboardInterrupt):
        evaluator(second)
    directory = paths(pair).shard_predictions
    known = {path.name: json.loads(path.read_text()) for path in directory.glob("*.timing.json")}
    assert {name: timing["samples"] for name, timing in known.items()} == {"0-3.timing.json": 3, "3-6.timing.json": 2}
    (directory / "0-3.timing.json").write_text(json.dumps(known["0-3.timing.json"] | {"predict": 100.0}))
    (directory / "3-6.timing.json").write_text(json.dumps(known["3-6.timing.json"] | {"predict": 20.0}))
    (shop.root / "stop.txt").unlink()
    evaluator(second)
    seconds = evaluator(pair).result.seconds
    assert 120 < seconds["predict"] < seconds["total"]
    assert seconds["throughput"] == pytest.approx(6 / seconds["predict"], rel=0.01)
    assert not directory.exists()


def test_lines_of_other_ranges_cost_no_more_than_a_look(shop, evaluator, paths, monkeypatch):
    """A shard decodes the lines of its own range only, however many there are of others."""
    from pytest_evalrun.evaluation import shards

    run = paths(shop.pair())
    run.predictions.parent.mkdir(parents=True)
    run.predictions.write_bytes(b"".join(Line(i, str(i), "ok", i, i, None, 0.1).dumps() for i in range(100)))
    decoded = []
    real = shards.parse_line
    monkeypatch.setattr(shards, "parse_line", lambda raw, *count: decoded.append(raw) or real(raw, *count))
    assert tally_of(run, 100, range(10, 20)).done_count == 10
    assert len(decoded) == 10
