"""A run on paper: everything starts once, little is loaded twice, and the end is near to what nobody can beat."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.planning.forecast import forecast
from pytest_evalrun.planning.pool import Pool
from pytest_evalrun.planning.work import Work
from pytest_evalrun.slots.need import Need


def workload(seed, models=8, datasets=8):
    """Log-normal seconds, and loads between a fifth and twice of what a dataset takes."""
    chance, found = random.Random(seed), []
    for model in range(models):
        load = chance.uniform(2, 20)
        for _ in range(datasets):
            found.append(Work(len(found), f"m{model}", chance.lognormvariate(2, 1), load))
    return found


def bound(works, workers):
    loads = sum({work.model: work.load for work in works}.values())
    longest = max(work.seconds + work.load for work in works)
    return max(longest, (sum(work.seconds for work in works) + loads) / workers)


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8, 12, 20])
def test_models_are_loaded_little_more_than_once(workers):
    """M + 2 (n - 1) loads, where expectations are right, whatever the shape."""
    for models, datasets in ((1, 30), (3, 20), (8, 8), (20, 3), (60, 1)):
        for seed in range(20):
            played = forecast(workload(seed, models, datasets), workers, Pool())
            assert len(played.starts) == models * datasets
            assert played.loads <= models + 2 * (workers - 1)


@pytest.mark.parametrize("workers", [2, 3, 4, 5])
def test_the_end_is_near_to_what_nobody_can_beat(workers):
    """64 pairs of 8 models; the bound lets a model be loaded once only."""
    for seed in range(40):
        works = workload(seed)
        assert forecast(works, workers, Pool()).makespan <= 1.15 * bound(works, workers)


def test_with_many_workers_for_few_models_the_end_is_near_on_the_average():
    """There the bound itself cannot be reached: cut models are loaded more than once."""
    ratios = [forecast(works := workload(seed), 8, Pool()).makespan / bound(works, 8) for seed in range(40)]
    assert sum(ratios) / len(ratios) <= 1.10
    assert max(ratios) <= 1.25


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=40), st.integers(1, 10), st.floats(0.2, 5))
def test_wrong_expectations_cost_no_more_than_a_greedy_order(seconds, workers, factor):
    """Of one model without load: never over the sum shared out, and one work."""
    works = [Work(place, "m", expected) for place, expected in enumerate(seconds)]
    real = {place: expected * (factor if place % 2 else 1) for place, expected in enumerate(seconds)}
    played = forecast(works, workers, Pool(), lambda work: real[work.place])
    assert played.makespan <= sum(real.values()) / workers + max(real.values()) * 2 + 1e-6


def test_what_no_gpu_can_hold_never_starts_and_holds_up_nothing():
    """A plan says so; the run tells the user before it begins."""
    works = [Work(0, "m", 1.0, 0.0, Need(2)), Work(1, "n", 1.0, 0.0, Need(1)), Work(2, "o", 1.0)]
    played = forecast(works, 2, Pool([0]))
    assert sorted(start.work.place for start in played.starts) == [1, 2]


@given(st.lists(st.sampled_from([Need(), Need(1), Need(1, 0, 2), Need(2), Need(4)]), max_size=25), st.integers(1, 8))
def test_at_no_moment_more_gpus_are_at_work_than_there_are(needs, workers):
    """By the clock of the plan."""
    works = [Work(place, f"m{place % 7}-{need}", 1.0 + place % 5, 1.0, need) for place, need in enumerate(needs)]
    played = forecast(works, workers, Pool([0] * 4))
    assert len(played.starts) == len(works)
    for moment in {start.moment for start in played.starts}:
        assert sum(share(start) for start in played.starts if at_work(start, moment)) <= 4 + 1e-9


def share(start):
    return start.work.need.gpus / start.work.need.per_gpu


def at_work(start, moment):
    return start.moment <= moment < start.moment + start.work.seconds + start.loads * start.work.load


@given(st.lists(st.sets(st.integers(0, 12), max_size=4), min_size=1, max_size=12), st.integers(1, 4))
def test_what_waits_for_others_starts_when_they_have_ended(waits, workers):
    """At the very moment when a worker is free then; those that wait for each other come last."""
    works = [Work(place, f"m{place % 3}", 1.0 + place, 0.5) for place in range(len(waits))]
    after = {place: [key for key in keys if key < place] for place, keys in enumerate(waits)}
    played = forecast(works, workers, Pool(), after=after)
    assert sorted(start.work.place for start in played.starts) == list(range(len(waits)))
    ends = {s.work.place: s.moment + s.loads * s.work.load + s.work.seconds for s in played.starts}
    for start in played.starts:
        assert start.moment >= max((ends[place] for place in after[start.work.place]), default=0.0)


def test_what_waits_for_itself_or_for_nothing_known_is_played_all_the_same():
    """A plan is never endless."""
    works = [Work(0, "m", 1.0), Work(1, "m", 1.0), Work(2, "m", 1.0)]
    played = forecast(works, 2, Pool(), after={0: [1], 1: [0], 2: [9]})
    assert len(played.starts) == 3
