"""What a worker does next: nobody waits without a reason, nothing waits for ever, models stay where they are."""

from __future__ import annotations

import heapq

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalrun.planning.pool import Pool
from pytest_evalrun.planning.queue import CRITICAL, Queue
from pytest_evalrun.planning.work import Work
from pytest_evalrun.slots.need import Need

NEEDS = [Need(), Need(), Need(1), Need(1, 0, 2), Need(1, 40.0), Need(2), Need(4)]
MEMORIES = (24.0, 24.0, 80.0, 80.0)


@st.composite
def works(draw, needs=NEEDS, loads=(0.0, 1.0, 7.0)):
    models = draw(st.lists(st.tuples(st.sampled_from(needs), st.sampled_from(loads)), min_size=1, max_size=6))
    found = []
    for place, model in enumerate(draw(st.lists(st.integers(0, len(models) - 1), min_size=1, max_size=30))):
        need, load = models[model]
        found.append(Work(place, f"m{model}", draw(st.floats(0.1, 20)), load, need))
    return found


def play(found, workers, real, check, pool=None):
    """A run by its own clock; ``check`` is asked about every worker that is left waiting. Starts, in their order."""
    queue, now, busy, starts = Queue(found, workers, pool or Pool(MEMORIES)), 0.0, [], []
    idle = [f"w{number}" for number in range(workers)]
    for name in idle:
        queue.join(name)
    while True:
        waiting = []
        for name in idle:
            if (turn := queue.next(name, now)) is None:
                waiting.append(name)
                continue
            starts.append((now, name, turn.work))
            load = queue.workers[name].ends - now - turn.work.seconds
            heapq.heappush(busy, (now + load + real.get(turn.work.place, turn.work.seconds), name))
        for name in waiting if queue.pending else ():
            check(queue, name, now)
        if not busy:
            assert not queue.pending
            return starts
        now, name = heapq.heappop(busy)
        queue.done(name)
        idle = [*waiting, name]


def why_idle(queue, name, now):
    """Why a worker may wait although there is work: a reason for each group, or the law is broken."""
    worker = queue.workers[name]
    for place, group in [(lane, group) for lane in queue._lanes() for group in lane]:
        owner = next((other for other in queue.workers.values() if other.lane is place), None)
        reasons = [not_enough_gpus(queue, name, group), kept_for_others(queue, worker, group, now)]
        if owner is not None and owner is not worker:
            reasons += [ends_sooner(queue, worker, owner, group, now), costs_a_load(queue, worker, owner, group, now)]
        assert any(reasons), (name, group, now)


def not_enough_gpus(queue, name, group):
    """What no idle worker's model is on does not suffice."""
    idle = {other.name for other in queue.workers.values() if other.work is None}
    return queue.pool.place(group.need, idle | {name}) is None


def kept_for_others(queue, worker, group, now):
    """They are reserved, and it would give them back too late, or has been let pass as often as is fair."""
    reserved = queue._reserved
    if not group.need or reserved is None or reserved.group is group:
        return False
    gone, moment = queue._when(reserved.group.need, worker, now)
    shortest = min(work.seconds for work in group.works)
    late = now + group.load * (group.model != worker.model) + shortest > moment
    unfair = reserved.passed >= len(queue.workers)
    return (late or unfair) and not queue.pool.both(reserved.group.need, group.need, gone)


def ends_sooner(queue, worker, owner, group, now):
    """Whoever has it in its lane is expected to be done with all of that before we could end any of it."""
    shortest = min(work.seconds for work in group.works)
    return group.load * (group.model != worker.model) + shortest >= queue._left(owner, now)


def costs_a_load(queue, worker, owner, group, now):
    """It is not what the run will wait for, and as many models as there are other workers were loaded to help."""
    last = max(queue._left(other, now) for other in queue.workers.values())
    return group.load and queue._helped >= len(queue.workers) - 1 and queue._left(owner, now) < last * CRITICAL


@given(works(), st.integers(1, 8), st.dictionaries(st.integers(0, 29), st.floats(0.1, 40)))
@settings(max_examples=300)
def test_nobody_waits_without_a_reason(found, workers, real):
    """Right expectations or wrong: no GPUs for it, or whoever has its model is done with it sooner."""
    starts = play(found, workers, real, why_idle)
    assert sorted(work.place for _, _, work in starts) == [work.place for work in found]


def test_a_gap_before_a_reservation_is_used_by_what_fits_into_it():
    """Also where a longer work of the same model stands before it, because that would have helped somebody."""
    every, half = Need(4), Need(1, 0, 2)
    fields = [("m0", 1, 0, Need())] * 2 + [("m2", 6, 1, half), ("m2", 14, 1, half), ("m3", 9, 1, every)]
    fields += [("m2", 10, 1, half), ("m0", 20, 0, Need()), ("m0", 1, 0, Need())] + [("m1", 10, 0, half)] * 2
    fields += [("m0", 1, 0, Need()), ("m3", 6, 1, every), ("m0", 1, 0, Need())] + [("m2", 1, 1, half)] * 3
    fields += [("m0", 10, 0, Need())]
    found = [Work(place, model, float(s), float(load), need) for place, (model, s, load, need) in enumerate(fields)]
    starts = play(found, 7, {}, why_idle)
    assert sorted(work.place for _, _, work in starts) == [work.place for work in found]


BOARDS = {"b1": 1, "b2": 2, "b3": 1}
ON_BOARDS = [Need(), Need(1), Need(2), *(Need(devices=keys) for keys in (("b1",), ("b1", "b2"), ("b3", "b2", "b1")))]


@given(works(needs=ON_BOARDS), st.integers(1, 8), st.dictionaries(st.integers(0, 29), st.floats(0.1, 40)))
@settings(max_examples=200)
def test_nobody_waits_without_a_reason_for_boards_either(found, workers, real):
    """Pairs that any board serves, pairs that only one does, and GPUs beside them."""
    starts = play(found, workers, real, why_idle, Pool((24.0, 80.0), BOARDS, ON_BOARDS))
    assert sorted(work.place for _, _, work in starts) == [work.place for work in found]


@given(works(needs=[Need()], loads=(0.0,)), st.integers(1, 8), st.dictionaries(st.integers(0, 29), st.floats(0.1, 40)))
def test_where_loading_costs_nothing_nobody_waits_at_all(found, workers, real):
    """As long as anything is left, but for the moment in which a worker ends."""

    def check(queue, name, now):
        owners = [other for other in queue.workers.values() if other.lane]
        assert all(other.rest(now) <= max(work.seconds for work in found) for other in owners)
        assert all(queue._left(other, now) <= min(w.seconds for g in other.lane for w in g.works) for other in owners)

    play(found, workers, real, check)


@given(works(needs=[Need(1), Need(1, 0, 2), Need(2)]), st.integers(2, 8), st.floats(0.1, 20))
@settings(max_examples=200)
def test_what_needs_all_gpus_is_not_starved(found, workers, seconds):
    """It comes late, and yet few start before it; what the last holder of a GPU does of its own does not count."""
    queue, now, busy, passed = Queue(found, workers, Pool(MEMORIES)), 0.0, [], 0
    idle = [f"w{number}" for number in range(workers)]
    for name in idle:
        queue.join(name)
    late = Work(99, "all", seconds, 1.0, Need(4))
    for step in range(1000):
        for name in list(idle):
            if (turn := queue.next(name, now)) is None:
                continue
            if turn.work is late:
                return
            passed += sum(queue.pool.holds(other) for other in queue.workers) > 1 and step > 0
            assert passed <= 2 * workers
            idle.remove(name)
            heapq.heappush(busy, (queue.workers[name].ends, name))
        if step == 0:
            queue.add(late)
        now, name = heapq.heappop(busy)
        queue.done(name)
        idle.append(name)
    raise AssertionError("it never started")


def queue_of(*found, workers=("a", "b"), memories=()):
    queue = Queue([Work(place, *fields) for place, fields in enumerate(found)], len(workers), Pool(memories))
    for name in workers:
        queue.join(name)
    return queue


def test_a_worker_stays_with_its_model():
    """Longest first within the model; the other model is the other worker's."""
    queue = queue_of(("m", 1.0, 5.0), ("m", 3.0, 5.0), ("n", 2.0, 5.0), ("n", 2.5, 5.0))
    order = {"a": [], "b": []}
    for now in range(3):
        for name in ("a", "b"):
            queue.done(name)
            if turn := queue.next(name, 10.0 * now):
                order[name].append((turn.work.model, turn.work.seconds))
    assert sorted(order.values()) == [[("m", 3.0), ("m", 1.0)], [("n", 2.5), ("n", 2.0)]]


def test_work_that_comes_later_goes_to_who_has_its_model():
    """Before that loads another one."""
    queue = queue_of(("m", 1.0, 5.0), ("n", 1.0, 5.0), workers=("a",))
    first = queue.next("a", 0.0).work.model
    queue.done("a")
    queue.add(Work(9, first, 1.0, 5.0))
    assert queue.next("a", 6.0).work.place == 9


def test_what_a_dead_worker_was_to_do_is_done_by_the_others():
    """By the first that is free, or by its replacement."""
    queue = queue_of(("m", 1.0), ("m", 1.0), ("m", 1.0), workers=("a",))
    lost = queue.next("a", 0.0).work
    assert queue.leave("a") is lost
    queue.join("b")
    assert {queue.next("b", 0.0).work.place, queue.done("b") or queue.next("b", 1.0).work.place} == {1, 2}
    queue.add(lost)
    queue.done("b")
    assert queue.next("b", 2.0).work is lost
    assert queue.pending == 0


def test_a_model_that_nobody_uses_makes_room():
    """Its worker is told to give it back; the one that is at work keeps its own."""
    need = Need(1)
    queue = queue_of(("m", 9.0, 1.0, need), ("n", 1.0, 1.0, need), workers=("a", "b"), memories=(0, 0))
    assert {queue.next(name, 0.0).work.model for name in "ab"} == {"m", "n"}
    short = next(name for name in "ab" if queue.workers[name].model == "n")
    queue.done(short)
    queue.join("c")
    queue.add(Work(7, "k", 1.0, 1.0, need))
    turn = queue.next("c", 3.0)
    assert (turn.work.place, turn.unload) == (7, (short,))
    assert queue.workers[short].model == ""


def test_smaller_ones_fill_in_while_gpus_are_kept_for_a_large_one():
    """Those that are done in time; then it is the large one's turn."""
    one, two = Need(1), Need(2)
    queue = queue_of(("m", 10.0, 0.0, one), ("n", 4.0, 0.0, one), workers=("a", "b"), memories=(0, 0))
    assert [queue.next(name, 0.0).work.model for name in "ab"] == ["m", "n"]
    queue.add(Work(5, "large", 1.0, 0.0, two))
    queue.add(Work(6, "long", 20.0, 0.0, one))
    queue.done("b")
    assert queue.next("b", 4.0) is None
    queue.add(Work(7, "short", 2.0, 0.0, one))
    assert queue.next("b", 4.0).work.place == 7
    queue.done("b")
    queue.done("a")
    assert queue.next("b", 10.0).work.place == 5


def test_gpus_are_not_kept_for_what_one_worker_leaves_when_it_ends():
    """Its model would only have to be loaded again."""
    queue = queue_of(("m", 10.0, 0.0, Need(1)), workers=("a", "b"), memories=(0,))
    queue.next("a", 0.0)
    queue.add(Work(5, "n", 1.0, 0.0, Need(1)))
    assert queue.next("b", 0.0) is None
    queue.add(Work(6, "m", 9.0, 0.0, Need(1)))
    queue.done("a")
    assert queue.next("a", 10.0).work.place == 6
