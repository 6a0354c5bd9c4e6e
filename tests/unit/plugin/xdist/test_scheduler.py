"""The scheduler against workers on paper."""

from __future__ import annotations

import queue
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodes import FakeNode, Stage, unit

from pytest_evalrun.planning.pool import WHOLE, Pool
from pytest_evalrun.plugin.xdist.crashes import Lost, requeue
from pytest_evalrun.plugin.xdist.internals import allow_restart
from pytest_evalrun.plugin.xdist.scheduler import Scheduler, install_scheduler
from pytest_evalrun.slots.need import Need


def test_a_pair_starts_when_the_last_of_its_shards_has_ended():
    """Whatever became of them: one that kills every worker does not hold it up for ever."""
    units = [unit(0), unit(1, seconds=5), unit(2), unit(3, after=(0, 1, 2))]
    for dies in ({}, {1: 9}, {2: 1}, {0: 9, 1: 9, 2: 9}):
        stage = Stage(units, 3, dies=dies).play()
        assert sorted(stage.over + stage.lost) == [0, 1, 2, 3]
        assert stage.started[-1][2] == 3


def test_what_waits_for_each_other_or_for_nothing_known_is_run_all_the_same():
    """Never a deadlock."""
    stage = Stage([unit(0, after=(1,)), unit(1, after=(0,)), unit(2, after=(2, 77))], 2).play()
    assert sorted(stage.over) == [0, 1, 2]


def test_workers_stay_for_what_is_still_to_come():
    """Four shards, then four pairs: nobody goes home in between."""
    units = [
        unit(0, seconds=9),
        *(unit(i) for i in range(1, 4)),
        *(unit(i, seconds=9, after=(0,)) for i in range(4, 8)),
    ]
    stage = Stage(units, 4).play()
    assert {stage.moment(index) for index in range(4, 8)} == {9.0}


# ------------------------------------------------------------------ whatever comes

NEEDS = [Need(), Need(), Need(1), Need(1, 0, 2), Need(1, 40.0), Need(1, 0, 3), Need(2), Need(4)]
MEMORIES = (24.0, 24.0, 80.0, 80.0)


@st.composite
def runs(draw):
    """Units of one to three items of a few models, and how often each item kills its worker."""
    models = draw(st.lists(st.tuples(st.sampled_from(NEEDS), st.floats(0, 5)), min_size=1, max_size=5))
    units, index = [], 0
    for size in draw(st.lists(st.integers(1, 3), min_size=1, max_size=25)):
        model = draw(st.integers(0, len(models) - 1))
        need, load = models[model]
        after = tuple(draw(st.sets(st.integers(0, index - 1), max_size=3))) if index else ()
        seconds = draw(st.floats(0.01, 20))
        name = f"m{model}" if size == 1 else f"module {index}"
        units.append(unit(*range(index, index + size), model=name, seconds=seconds, load=load, need=need, after=after))
        index += size
    dies = draw(st.dictionaries(st.integers(0, index - 1), st.sampled_from([1, 2, 99]), max_size=6))
    real = draw(st.dictionaries(st.integers(0, index - 1), st.floats(0.01, 30), max_size=index))
    return units, dies, real


@given(runs(), st.integers(1, 8), st.integers(0, 2), st.lists(st.integers(0, 30), max_size=3))
@settings(max_examples=300)
def test_every_item_ends_exactly_once_whoever_dies(run, workers, retries, idle_deaths):
    """Done or reported, never both, never twice; in order within a unit; GPUs never hold more than they can."""
    units, dies, real = run
    stage = Stage(units, workers, memories=MEMORIES, dies=dies, retries=retries, seconds=real)
    for pause in idle_deaths:
        for _ in range(pause):
            stage.step()
            within_the_pool(stage)
        kill_an_idle_one(stage)
    while not stage.scheduler.tests_finished:
        assert stage.step()
        within_the_pool(stage)
    assert sorted(stage.over + stage.lost) == list(range(len(stage.ids)))
    assert set(stage.lost) == {index for index, times in dies.items() if times > retries}
    for begun in units:
        together = [index for index in stage.over if index in begun.indices]
        assert together == sorted(together)


def within_the_pool(stage):
    """By the needs of what the workers hold, not by the pool's own sums."""
    shares = [0] * len(MEMORIES)
    for share, places in stage.pool._taken.values():
        for place in places:
            shares[place] += share
    assert max(shares) <= WHOLE
    for name, node in stage.nodes.items():
        need = stage.needs.get(node.model, Need())
        share, places = stage.pool._taken.get(name, (None, ()))
        assert len(places) >= need.gpus
        assert all(MEMORIES[place] >= need.memory for place in places)


def kill_an_idle_one(stage):
    idle = [node for name, node in stage.nodes.items() if stage.scheduler._nodes[name].unit is None]
    if idle and not stage.scheduler.tests_finished:
        stage.kill(idle[0])


@given(runs())
@settings(max_examples=100)
def test_what_follows_in_the_unit_is_told(run):
    """So that fixtures of a module are set up once; after its last item nobody knows what comes."""
    units, _, _ = run
    stage = Stage(units, 3, memories=MEMORIES).play()
    for _, _, index, successor in stage.started:
        indices = stage.units[index].indices
        following = indices.index(index) + 1
        assert successor == (indices[following] if following < len(indices) else None)


# ------------------------------------------------------------------ what may go wrong


def test_a_worker_that_died_takes_no_orders():
    """Its death is in the queue behind the event that we answer: no internal error, and its item is not lost."""
    stage = Stage([unit(0), unit(1), unit(2, seconds=5)], 2)
    for node in stage.nodes.values():
        node.dead = node.gateway.id == "gw0"
    stage.scheduler.mark_test_complete(stage.nodes["gw0"], stage.started[0][2])
    stage.over.append(stage.started[0][2])
    stage.kill(stage.nodes["gw0"])
    assert sorted(stage.play().over) == [0, 1, 2]


def test_a_worker_that_ends_in_good_order_did_not_crash():
    """pytest.exit() in an item: it is neither run again nor blamed on the worker."""
    stage = Stage([unit(0), unit(1)], 2)
    node = stage.nodes["gw0"]
    node.workeroutput = {}
    assert stage.scheduler.remove_node(node) is None
    assert stage.deaths == {}


def test_an_item_that_had_its_outcome_is_not_run_again():
    """The worker died between its report and the word that it is done."""
    stage = Stage([unit(0), unit(1), unit(2, after=(0,))], 1)
    stage.scheduler._lost = lambda *_: Lost.OVER
    index = stage.started[-1][2]
    stage.kill(stage.nodes["gw0"])
    stage.play()
    assert [which for _, _, which, _ in stage.started].count(index) == 1


def test_a_module_whose_worker_dies_goes_on_where_it_was():
    """What had ended is not run again; the rest keeps its order."""
    stage = Stage([unit(0, 1, 2, 3)], 2, dies={1: 1}).play()
    assert [index for _, _, index, _ in stage.started] == [0, 1, 1, 2, 3]
    stage = Stage([unit(0, 1, 2, 3)], 2, dies={1: 9}).play()
    assert (stage.over, stage.lost) == ([0, 2, 3], [1])


def test_a_plugin_may_have_an_item_run_again():
    """What is still to do of its module is not lost over it."""
    stage = Stage([unit(0, 1, 2), unit(3)], 1, dies={0: 9}, retries=0)
    stage.step()
    stage.step()
    assert stage.lost == [0]
    stage.dies = {}
    stage.scheduler.mark_test_pending("item0")
    stage._look()
    assert sorted(stage.play().over) == [0, 1, 2, 3]


def test_a_need_that_no_gpu_here_can_meet_holds_up_nothing():
    """Its worker says what is missing; a reservation for it would never end."""
    needs = [Need(5), Need(1, 999.0), Need(3, 40.0), Need(3, 40.0, 2)]
    units = [unit(index, need=need) for index, need in enumerate(needs)] + [unit(9 - 5, need=Need(4))]
    assert sorted(Stage(units, 2, memories=MEMORIES).play().over) == [0, 1, 2, 3, 4]


def test_a_replacement_that_sees_other_items_is_sent_home():
    """And where it is the only one left the session ends, instead of waiting for nobody."""
    stage = Stage([unit(0), unit(1)], 1)
    node = stage.nodes.pop("gw0")
    stage.scheduler.remove_node(node)
    assert not stage.scheduler.tests_finished
    stranger = stage.join(["something else"])
    assert stranger.shutting_down
    stranger.workeroutput = {}
    assert stage.scheduler.remove_node(stranger) is None
    assert stage.scheduler.tests_finished
    assert stage.scheduler.has_pending


def test_workers_that_see_different_items_are_a_usage_error():
    """Told with the difference, before anything runs."""
    stage = Stage([unit(0), unit(1)], 0)
    stage.scheduler.numnodes = 2
    stage.join()
    with pytest.raises(pytest.UsageError, match=r"(?s)Different tests were collected.*-item1"):
        stage.join(["item0"])
    assert stage.started == []


def test_a_worker_that_dies_while_the_others_collect_is_replaced():
    """Nothing starts before as many have collected as there are to be."""
    stage = Stage([unit(0), unit(1)], 0)
    stage.scheduler.numnodes = 2
    early, late = FakeNode("early", stage.ids), FakeNode("late", stage.ids)
    for node in (early, late):
        stage.scheduler.add_node(node)
    assert stage.scheduler.remove_node(early) is None
    assert not stage.scheduler.tests_finished
    stage.nodes["late"] = late
    stage.scheduler.add_node_collection(late, stage.ids)
    assert not stage.scheduler.collection_is_completed
    stage.join()
    assert sorted(stage.play().over) == [0, 1]


def test_after_the_last_item_workers_go_home_at_once():
    """Their models need not stay until the slowest is done."""
    stage = Stage([unit(0, seconds=9), unit(1)], 3)
    stage.step()
    assert [node.shutting_down for node in stage.nodes.values()] == [False, True, True]


# ------------------------------------------------------------------ what it costs


def calls_for_each(count, models, **top):
    """Python's own calls in a whole run of so many items, for each item."""
    units = [unit(index, model=f"m{index % models}", load=1.0, seconds=1 + index % 7, **top) for index in range(count)]
    stage = Stage(units, 8, memories=(0, 0, 0, 0))
    calls = [0]

    def seen(frame, event, _):
        calls[0] += event == "call" and "pytest_evalrun" in frame.f_code.co_filename

    sys.setprofile(seen)
    try:
        stage.play()
    finally:
        sys.setprofile(None)
    assert len(stage.over) == count
    return calls[0] / count


@pytest.mark.parametrize("need", [Need(), Need(1)])
@pytest.mark.parametrize("per_model", [None, 10])
def test_a_decision_costs_the_same_however_many_items_there_are(need, per_model):
    """Of few models or of many, for GPUs with fewer places than workers or without; counted, for time is no law."""
    few, many = (calls_for_each(count, count // per_model if per_model else 50, need=need) for count in (400, 1600))
    assert many <= few * 1.1


# ------------------------------------------------------------------ the parts of xdist that are taken over


def session_of(scheduler, **options):
    """xdist's session as far as it is touched, and the configuration that leads to it."""
    session = SimpleNamespace(sched=scheduler, queue=queue.Queue(), _max_worker_restart=4, **options)
    manager = SimpleNamespace(get_plugin=lambda name: session if name == "dsession" else None)
    return session, SimpleNamespace(pluginmanager=manager, getoption=lambda name, default=None: default)


def test_ours_takes_the_place_of_xdists_own_once():
    """With the workers that are ready; the tick comes back as an event of xdist's own loop."""
    node = FakeNode("gw0", ["item0"])
    session, config = session_of(SimpleNamespace(numnodes=2, nodes=[node]))
    session._clone_node = lambda node: node
    ticks = []

    def make(workers, tick):
        ticks.append(tick)
        return Scheduler(["item0"], [unit(0)], Pool(), workers, lost=lambda *_: Lost.ERROR, tick=tick)

    install_scheduler(config, make)
    assert (session.sched.nodes, session.sched.numnodes) == ([node], 2)
    install_scheduler(config, make)
    assert len(ticks) == 1
    ticks[0]()
    name, fields = session.queue.get(timeout=120)
    assert name == "unscheduled"
    session.sched.remove_pending_tests_from_node(**fields)


@pytest.mark.parametrize(("failures", "starts"), [(0, True), (2, True), (3, False)])
def test_a_replacement_that_dies_at_once_is_started_again(failures, starts):
    """But not for ever: then it is xdist's trouble."""
    session, config = session_of(SimpleNamespace(numnodes=1, nodes=[]))
    left = [EOFError("expected 1 bytes, got 0")] * failures

    def clone(node):
        if left:
            raise left.pop()
        return f"clone of {node}"

    session._clone_node = clone
    install_scheduler(config, lambda workers, tick: Scheduler([], [], Pool(), workers, lost=None, tick=tick))
    if starts:
        assert session._clone_node("gw0") == "clone of gw0"
    else:
        with pytest.raises(EOFError):
            session._clone_node("gw0")


def test_restarts_grow_only_where_the_user_set_no_limit():
    """A limit of the user's own is a limit."""
    session, config = session_of(None)
    allow_restart(config)
    assert session._max_worker_restart == 5
    config.getoption = lambda name, default=None: "4"
    allow_restart(config)
    assert session._max_worker_restart == 5


class OneItemAtATime:
    """A scheduler of xdist's family as ``requeue`` meets it."""

    def __init__(self, crashed, able=True):
        self.crashed, self.able, self.pending = crashed, able, []

    def remove_node(self, node):
        del node
        return self.crashed

    def mark_test_pending(self, item):
        if not self.able:
            raise NotImplementedError
        self.pending.append(item)


@pytest.mark.parametrize(
    ("lost", "able", "crashed", "pending"),
    [
        (Lost.AGAIN, True, None, ["a"]),
        (Lost.UNTOUCHED, True, None, ["a"]),
        (Lost.OVER, True, None, []),
        (Lost.ERROR, True, "a", []),
        (Lost.AGAIN, False, "a", []),
    ],
)
def test_another_scheduler_hears_of_a_crash_only_where_it_is_one(lost, able, crashed, pending):
    """What is run again is given back to it; what cannot be given back is an error as ever."""
    scheduler = OneItemAtATime("a", able)
    session, config = session_of(scheduler)
    requeue(config, lambda item, node: lost)
    requeue(config, lambda item, node: lost)
    assert session.sched.remove_node("gw0") == crashed
    assert scheduler.pending == pending
    scheduler.crashed = None
    assert session.sched.remove_node("gw0") is None


@pytest.mark.parametrize(("lost", "crashed"), [(Lost.AGAIN, None), (Lost.OVER, None), (Lost.ERROR, "f.py::a")])
def test_schedulers_that_keep_files_together_run_a_crashed_item_again_only_if_asked(pytester, lost, crashed):
    """By themselves they would for ever, with an error each time (pytest-xdist#1323 is of that family)."""
    from xdist.scheduler import LoadFileScheduling

    scheduler = LoadFileScheduling(pytester.parseconfig("-p", "xdist", "--tx", "2*popen"))
    ids = ["f.py::a", "f.py::b", "g.py::c", "h.py::d"]
    first, second = FakeNode("gw0", ids), FakeNode("gw1", ids)
    for node in (first, second):
        scheduler.add_node(node)
        node.send_runtest_some = node.sent.extend
        scheduler.add_node_collection(node, ids)
    scheduler.schedule()
    assert first.sent[:2] == [0, 1]
    _, config = session_of(scheduler)
    requeue(config, lambda item, node: lost)
    assert scheduler.remove_node(first) == crashed
    held = [*scheduler.workqueue.values(), *scheduler.assigned_work[second].values()]
    left = [item for scope in held for item, done in scope.items() if not done]
    assert ("f.py::a" in left) == (lost is Lost.AGAIN)
    assert "f.py::b" in left
