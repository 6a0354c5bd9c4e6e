"""GPUs and boards by our own books: never more on one than it holds, never two of a model on the same one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.planning.pool import WHOLE, Pool
from pytest_evalrun.slots.need import Need

MEMORIES = st.lists(st.sampled_from([0.0, 16.0, 24.0, 80.0]), max_size=5)
NEEDS = st.builds(Need, st.integers(0, 4), st.sampled_from([0.0, 20.0, 40.0]), st.integers(1, 3))
OWNERS = st.sampled_from("abcdef")
BOARDS = st.dictionaries(st.sampled_from(["b1", "b2", "b3"]), st.integers(1, 3))
WISHES = st.lists(st.sampled_from(["b1", "b2", "b3", "b4"]), min_size=1, unique=True)
ON_BOARDS = st.builds(lambda keys: Need(devices=tuple(keys)), WISHES)


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


@given(BOARDS, st.lists(ON_BOARDS), st.lists(st.tuples(OWNERS, ON_BOARDS | NEEDS, st.booleans()), max_size=20))
def test_no_board_ever_has_more_models_than_slots(boards, known, steps):
    """Takes and frees in any order, GPUs beside them; each model has one board of those that would do for it."""
    pool = Pool([24.0, 24.0], boards, known)
    has = {}
    for owner, need, frees in steps:
        if frees:
            pool.free(owner)
            has.pop(owner, None)
        elif pool.take(owner, need):
            has[owner] = need
        assert {name for name in "abcdef" if pool.holds(name)} == {name for name in has if has[name]}
        on_boards = [(need.devices, pool._taken[name][1]) for name, need in has.items() if need.devices]
        keys = [list(boards)[place - 2] for _, (place,) in on_boards]
        assert all(key in devices for key, (devices, _) in zip(keys, on_boards, strict=True))
        assert all(keys.count(key) <= slots for key, slots in boards.items())


@given(BOARDS, ON_BOARDS)
def test_the_capacity_of_boards_is_the_slots_of_those_that_would_do(boards, need):
    """No more, no less: one after the other until nothing fits."""
    pool, count = Pool([80.0], boards), 0
    while pool.take(str(count), need):
        count += 1
    assert count == pool.capacity(need) == sum(slots for key, slots in boards.items() if key in need.devices)


@given(BOARDS, st.lists(ON_BOARDS, max_size=4), ON_BOARDS, ON_BOARDS | st.just(Need()) | st.just(Need(1)))
def test_two_needs_of_boards_are_met_at_once_whenever_they_can_be(boards, taken, first, second):
    """Whichever boards that takes; what it is tried with changes nothing."""
    pool = Pool([0.0], boards)
    for number, need in enumerate(taken):
        pool.take(str(number), need)
    free = dict(boards)
    for _, (place,) in pool._taken.values():
        free[list(boards)[place - 1]] -= 1
    rooms = [free | {one: free[one] - 1} for one in first.devices if free.get(one)]
    expected = any(not second.devices or any(left.get(key) for key in second.devices) for left in rooms)
    assert pool.both(first, second, ()) == expected
    assert sum(free.values()) == sum(boards.values()) - len(pool._taken)


def test_what_any_board_serves_leaves_the_only_board_of_another():
    """While there is a choice; where there is none it takes what it gets, and of equals the freest."""
    anywhere, picky = Need(devices=("b1", "b2", "b3")), Need(devices=("b1",))
    pool = Pool((), {"b1": 1, "b2": 2, "b3": 2}, [anywhere, picky])
    assert [pool.take(str(number), anywhere) for number in range(3)] == [True] * 3
    assert [pool._taken[str(number)][1] for number in range(3)] == [(1,), (2,), (1,)]
    assert pool.take("picky", picky)
    assert pool.place(picky) is None
    assert pool.place(picky, ("picky",)) == (0,)
    assert pool.place(Need(devices=("b9",))) is None
    assert pool.capacity(Need(devices=("b9",))) == 0
