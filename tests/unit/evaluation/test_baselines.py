"""Which baseline a gate's name means, and what is told where it means none."""

from __future__ import annotations

import shutil

import pytest

from pytest_evalrun.errors import PairError
from pytest_evalrun.evaluation.baselines import baseline_side
from pytest_evalrun.rundir.layout import RunPaths, paths_of


@pytest.fixture
def judged(shop, evaluator):
    """An evaluated pair, its files in the run that is judged, and that run once more as ``before``."""

    def make(**settings):
        shop.data(wrong=(2,))
        pair = shop.pair(**settings)
        evaluator(pair)
        (evaluator.run / "run.json").write_text("{}")
        shutil.copytree(evaluator.run, evaluator.workdir / "before")
        return pair, paths_of(RunPaths(evaluator.run), pair)

    return make


def scores(side):
    return {row.id: row.scores["exact_match"] for row in side.rows()}


def test_a_run_by_its_name_and_by_its_path(judged, shop, evaluator):
    """In the work directory; a path is relative to the suite."""
    pair, paths = judged()
    relative = f"../{evaluator.workdir.relative_to(shop.root.parent)}/before"
    for name in ("before", str(evaluator.workdir / "before"), relative):
        side = baseline_side(pair, name, paths)
        assert (side.name, side.pair) == (name, "letters/echo/clean")
        assert scores(side) == {f"s{i}": float(i != 2) for i in range(6)}
        assert side.metrics["exact_match"]["n"] == 6
        assert "exact_match" in side.scoring["metrics"]


def test_a_job_looks_where_its_launch_does(judged, evaluator):
    """Its own work directory has the attempts of its unit alone."""
    pair, _ = judged()
    attempt = evaluator.run / "engine" / "u001" / "1"
    for name in ("results", "predictions", "state"):
        shutil.copytree(evaluator.run / name, attempt / name)
    assert scores(baseline_side(pair, "before", paths_of(RunPaths(attempt), pair)))
    with pytest.raises(PairError, match="the baseline run 1 is the very run that is judged"):
        baseline_side(pair, "run 1", paths_of(RunPaths(attempt), pair))


def test_a_saved_baseline_comes_before_a_run_of_its_name(judged, shop):
    """It is what was committed; without the pair it says so, whatever the run has."""
    pair, paths = judged()
    (shop.root / "baselines" / "before" / "letters" / "echo").mkdir(parents=True)
    (shop.root / ".git").mkdir()
    with pytest.raises(PairError, match="has no letters/echo/clean; it has: nothing"):
        baseline_side(pair, "before", paths)


def test_of_first_samples_as_many_come_before_all(judged, shop, evaluator):
    """A limited evaluation has files of its own, in the run that is the baseline too."""
    pair, paths = judged()
    limited = shop.pair(limit=3)
    assert len(scores(baseline_side(limited, "before", paths))) == 6
    shutil.rmtree(evaluator.workdir / "before")
    evaluator(limited)
    shutil.copytree(evaluator.run, evaluator.workdir / "before")
    assert len(scores(baseline_side(limited, "before", paths))) == 3
    assert len(scores(baseline_side(pair, "before", paths))) == 6


NOWHERE = {
    "no such name": ("befor", "no baseline 'befor', and no run of that name; looked in baselines/ of "),
    "nearest": ("befor", "did you mean before? there are baselines: main; runs: "),
    "remedy": ("new", "`evalrun baseline save new` makes it of them, then the same command judges"),
    "remedy of what is no name": ("a b", "kept: `evalrun baseline save NAME` makes one of them"),
    "no run": ("./before", "the baseline ./before is no run: "),
    "no name": (".hidden", "no baseline '.hidden', and no run of that name"),
    "no result": ("empty", "empty has no result of letters/echo/clean with scores; evaluate the pair there, too"),
}


@pytest.mark.parametrize(("name", "message"), NOWHERE.values(), ids=NOWHERE)
def test_what_is_no_baseline(judged, shop, evaluator, name, message):
    """Where was looked, what there is, what is nearest, and what to do."""
    pair, paths = judged()
    (shop.root / "baselines" / "main").mkdir(parents=True)
    (shop.root / ".git").mkdir()
    (evaluator.workdir / "empty").mkdir()
    (evaluator.workdir / "empty" / "run.json").write_text("{}")
    with pytest.raises(PairError) as caught:
        baseline_side(pair, name, paths)
    assert message in str(caught.value)
