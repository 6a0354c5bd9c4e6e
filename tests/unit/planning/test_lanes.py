"""Works are dealt to lanes so that all are there once, few models are loaded twice, and the last lane ends early."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.planning.lanes import deal
from pytest_evalrun.planning.pool import Pool
from pytest_evalrun.planning.work import Work
from pytest_evalrun.slots.need import Need

NEEDS = [Need(), Need(1), Need(1, 0, 2), Need(4)]


@st.composite
def works(draw):
    models = draw(st.lists(st.tuples(st.sampled_from(NEEDS), st.floats(0, 50)), min_size=1, max_size=6))
    found = []
    for place, model in enumerate(draw(st.lists(st.integers(0, len(models) - 1), max_size=40))):
        need, load = models[model]
        found.append(Work(place, f"m{model}", draw(st.floats(0, 100)), load, need))
    return found


@given(works(), st.integers(1, 9))
def test_every_work_is_in_one_lane(works, count):
    """Whatever its need; longest first within a group, and the sums are right."""
    lanes = deal(works, count, Pool([0] * 4))
    assert len(lanes) == count
    groups = [group for lane in lanes for group in lane]
    assert sorted(work.place for group in groups for work in group.works) == [work.place for work in works]
    for group in groups:
        seconds = [work.seconds for work in group.works]
        assert seconds == sorted(seconds, reverse=True)
        assert abs(group.seconds - sum(seconds)) < 1e-6
        assert {work.model for work in group.works} == {group.model}


@given(works(), st.integers(1, 9))
def test_few_models_are_cut_and_none_is_twice_in_a_lane(works, count):
    """Not more than twice as many cuts, for each need, as there are other lanes."""
    lanes = deal(works, count, Pool([0] * 4))
    needs = {work.need for work in works}
    groups = [(group.model, group.need) for lane in lanes for group in lane]
    assert len(groups) <= len({(work.model, work.need) for work in works}) + 2 * len(needs) * (count - 1)
    for lane in lanes:
        names = [(group.model, group.need) for group in lane]
        assert len(names) == len({*names})


@given(works(), st.integers(1, 9))
def test_no_lane_is_longer_than_twice_what_nobody_can_beat(works, count):
    """The bound of a greedy packing, loads of cut models included."""
    free = [Work(work.place, work.model, work.seconds, work.load) for work in works]
    lanes = deal(free, count, Pool())
    loads = {work.model: work.load for work in free}
    longest = max((work.seconds + work.load for work in free), default=0)
    even = (sum(work.seconds for work in free) + sum(loads.values())) / count
    extra = max(loads.values(), default=0)
    assert max(sum(group.total for group in lane) for lane in lanes) <= longest + 2 * even + extra + 1e-6


def test_no_more_lanes_have_gpu_work_than_there_is_room_for():
    """Four workers for two GPUs: two of them would only wait."""
    found = [Work(place, f"m{place}", 1.0, 1.0, Need(1)) for place in range(8)]
    lanes = deal(found, 4, Pool([0, 0]))
    assert sorted(len(lane) for lane in lanes) == [0, 0, 4, 4]
    lanes = deal(found, 4, Pool([]))
    assert sum(len(lane) for lane in lanes) == 8


def test_what_needs_most_gpus_comes_first():
    """It need not wait until others have given theirs back."""
    found = [Work(0, "small", 9.0, 0.0, Need(1)), Work(1, "large", 1.0, 0.0, Need(4)), Work(2, "none", 9.0)]
    lanes = deal(found, 1, Pool([0] * 4))
    assert [group.model for group in lanes[0]] == ["large", "small", "none"]
