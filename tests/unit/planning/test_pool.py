"""GPUs by our own books: never more on one than it holds, never two of a model on the same one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.planning.pool import WHOLE, Pool
from pytest_evalrun.slots.need import Need

MEMORIES = st.lists(st.sampled_from([0.0, 16.0, 24.0, 80.0]), max_size=5)
NEEDS = st.builds(Need, st.integers(0, 4), st.sampled_from([0.0, 20.0, 40.0]), st.integers(1, 3))
OWNERS = st.sampled_from("abcdef")


@given(MEMORIES, st.lists(st.tuples(OWNERS, NEEDS, st.sets(OWNERS, max_size=2), st.booleans()), max_size=20))
def test_no_gpu_is_ever_promised_more_than_once(memories, steps):
    """Takes and frees in any order; what is given fits in number and memory."""
    pool = Pool(memories)
    has = {}
    for owner, need, without, frees in steps:
        if frees:
            pool.free(owner)
            has.pop(owner, None)
        elif pool.take(owner, need, without):
            for name in without:
                has.pop(name, None)
            has[owner] = need
        for name, wanted in has.items():
            assert pool.holds(name) == bool(wanted)
        within(pool, memories, has)


def within(pool, memories, has):
    shares = [0] * len(memories)
    for name, (share, places) in pool._taken.items():
        assert len({*places}) == has[name].gpus
        assert all(not memories[place] or memories[place] >= has[name].memory for place in places)
        for place in places:
            shares[place] += share
    assert all(share <= WHOLE for share in shares)


@given(MEMORIES, NEEDS)
def test_the_capacity_is_what_can_be_taken(memories, need):
    """No more, no less: one after the other until nothing fits, where one GPU each is asked for."""
    pool, count = Pool(memories), 0
    while need and pool.take(str(count), need):
        count += 1
    assert (count > 0) == (pool.capacity(need) > 0)
    assert count <= pool.capacity(need)
    if need.gpus == 1:
        assert count == pool.capacity(need)


def test_what_shares_a_gpu_goes_where_others_are_and_small_models_leave_large_gpus_free():
    """So that what needs a whole one, or a large one, finds it."""
    pool = Pool([80.0, 24.0, 24.0])
    assert pool.place(Need(1, 16.0)) == (1,)
    assert pool.take("a", Need(1, 16.0, 2))
    assert pool.place(Need(1, 16.0, 2)) == (1,)
    assert pool.place(Need(1, 16.0)) == (2,)
    assert pool.place(Need(1, 40.0)) == (0,)
    assert pool.place(Need(2, 40.0)) is None


def test_two_needs_are_met_at_once_or_not():
    """What one of them takes, the other has not."""
    pool = Pool([0, 0, 0, 0])
    pool.take("a", Need(2))
    assert not pool.both(Need(3), Need(1), ())
    assert pool.both(Need(3), Need(1), ("a",))
    assert not pool.both(Need(3), Need(2), ("a",))
    assert not pool.both(Need(5), Need(), ("a",))


def test_what_cannot_be_taken_changes_nothing():
    """Whoever had GPUs keeps them."""
    pool = Pool([0])
    pool.take("a", Need(1))
    assert not pool.take("b", Need(2), without=("a",))
    assert pool.holds("a")
    assert not pool.holds("b")
