"""Classes with ``predict_one``: many under way at once, each kept as it ends, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import threading
import time

import pytest

from pytest_evalrun.adapters import create_adapter
from pytest_evalrun.adapters.eventloop import Coroutines
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import PairError, SampleError, TimedOut
from pytest_evalrun.predicting import loop, onebyone, patience
from pytest_evalrun.predicting.leaving import Leaving
from pytest_evalrun.predicting.ways import predict
from pytest_evalrun.predicting.work import PairWork
from pytest_evalrun.rundir.predictions import PredictionsFile

numbers = itertools.count()
SECONDS = 60
MODEL = '''
import asyncio
import threading

class Planned:
    """Answers with the input, after what ``plan`` says of each try of a sample."""

    def __init__(self, path):
        self.plan = {}
        self.asked, self.answered, self.cancelled = [], [], []
        self.busy = self.most = 0
        self.free = threading.Event()
        self.waiting = threading.Event()
        self.lock = threading.Lock()

    def begin(self, sample):
        with self.lock:
            self.asked.append(sample.index)
            self.busy += 1
            self.most = max(self.most, self.busy)
            steps = self.plan.get(sample.index, [])
            step = steps.pop(0) if steps else None
        if step == "free":
            self.free.set()
        if isinstance(step, BaseException):
            raise step
        return step

    def end(self, sample):
        with self.lock:
            self.busy -= 1
        self.answered.append(sample.index)

class Async(Planned):
    async def predict_one(self, sample):
        try:
            if self.begin(sample) == "wait":
                self.waiting.set()
                while not self.free.is_set():
                    await asyncio.sleep(0.001)
            return sample.input
        except asyncio.CancelledError:
            self.cancelled.append(sample.index)
            raise
        finally:
            self.end(sample)

class Plain(Planned):
    def predict_one(self, sample):
        try:
            if self.begin(sample) == "wait":
                self.waiting.set()
                self.free.wait()
            return sample.input
        finally:
            self.end(sample)

class Forgetful(Planned):
    def predict_one(self, sample):
        return asyncio.sleep(0)
'''
CLASSES = pytest.mark.parametrize("name", ["Async", "Plain"])


class StatusError(Exception):
    """As a client's library says what a server answered."""

    def __init__(self, status=None, after=None):
        super().__init__(f"status {status}")
        if status is not None:
            self.status_code = status
        if after is not None:
            self.retry_after = after


class Answer:
    def __init__(self, status):
        self.status_code = status


class RefusedError(OSError):
    """As requests raises what a server answered."""

    def __init__(self, status):
        super().__init__(f"status {status}")
        self.response = Answer(status)


class Asked:
    """A pair whose class was loaded in this process, and what became of its samples."""

    def __init__(self, shop, context, name, settings):
        (shop.root / "one.py").write_text(MODEL)
        words = {"adapter": f"./one.py:{name}", "concurrency": 3}
        self.pair = shop.pair(f"d{next(numbers)}", **words | settings)
        self.context = context
        self.adapter = create_adapter(self.pair.task, self.pair.settings, self.pair.root)
        self.adapter.load()
        self.model = self.adapter._model
        self.paths = context.paths.pair(self.pair.key)

    def __call__(self, count, plan=None):
        self.model.plan = plan or {}
        progress = PredictionsFile(self.paths.predictions).open(self.context.disk, count)
        work = PairWork(self.pair, self.paths, progress, self.context, range(count))
        try:
            predict(work, self.adapter, (Sample(i, f"s{i}", i, i) for i in range(count)))
        finally:
            progress.close()
        return self

    @property
    def lines(self):
        """As they stand in the file."""
        return [json.loads(line) for line in self.paths.predictions.read_text().splitlines()]

    @property
    def kept(self):
        return [line["index"] for line in self.lines]


@pytest.fixture
def asked(shop, context, monkeypatch):
    monkeypatch.setattr(onebyone, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(onebyone, "CLOSE_SECONDS", 0.1)
    made = []

    def make(name="Async", **settings):
        made.append(Asked(shop, context, name, settings))
        return made[-1]

    yield make
    for one in made:
        one.adapter.close()


@CLASSES
def test_each_is_kept_as_it_ends(asked, name):
    """One that takes long holds up no other, and its place alone."""
    done = asked(name)(9, {0: ["wait"], 8: ["free"]})
    assert (sorted(done.kept), done.kept[-1] in (0, 8)) == ([*range(9)], True)
    assert sorted(done.model.asked) == [*range(9)]
    assert [line["prediction"] for line in done.lines] == done.kept


@CLASSES
def test_as_many_are_under_way_as_may_be(asked, name):
    """Not one less, for each waits for the others; and never one more."""
    done = asked(name)(12, {0: ["wait"], 1: ["wait"], 2: ["free"]})
    assert done.model.most == 3


def test_a_plain_one_is_asked_where_we_are_unless_told_otherwise(asked):
    """Its code may know nothing of threads; and so a limit of time and Ctrl-C reach it."""
    done = asked("Plain", concurrency=None)
    threads = []
    done.model.end = lambda _: threads.append(threading.current_thread())
    done(3)
    assert threads == [threading.main_thread()] * 3


TRIES = {
    "too many requests": (lambda: StatusError(429, 0), {}, 6, "ok"),
    "overloaded": (lambda: StatusError(503, 0), {}, 6, "ok"),
    "come back later": (lambda: StatusError(after=0), {}, 6, "ok"),
    "too many requests, without a word": (lambda: StatusError(429), {}, 6, "ok"),
    "server error": (lambda: StatusError(500, 0), {}, 3, "failed"),
    "conflict": (lambda: StatusError(409), {}, 3, "failed"),
    "time-out": (TimeoutError, {}, 3, "failed"),
    "connection": (lambda: ConnectionResetError("gone"), {}, 3, "failed"),
    "named": (lambda: KeyError("x"), {"retry_on": ["KeyError"]}, 3, "failed"),
    "named by what it extends": (lambda: KeyError("x"), {"retry_on": ["LookupError"]}, 3, "failed"),
    "named with its module": (
        lambda: json.JSONDecodeError("x", "", 0),
        {"retry_on": ["json.JSONDecodeError"]},
        3,
        "failed",
    ),
    "a refusal that is named": (lambda: StatusError(400), {"retry_on": ["StatusError"]}, 3, "failed"),
    "another is named": (lambda: KeyError("x"), {"retry_on": ["ValueError"]}, 1, "failed"),
    "anything else": (lambda: ValueError("x"), {}, 1, "failed"),
    "refused": (lambda: StatusError(400), {}, 1, "failed"),
    "refused, as an OSError": (lambda: RefusedError(404), {}, 1, "failed"),
    "the sample's own": (lambda: SampleError("x"), {}, 1, "failed"),
}


@CLASSES
@pytest.mark.parametrize(("error", "settings", "times", "status"), TRIES.values(), ids=TRIES)
def test_what_an_error_says_of_another_try(asked, name, error, settings, times, status):
    """What may pass is asked again, at a limit as often as it takes; all else is final for its sample, and no other."""
    done = asked(name, retries=2, **settings)(4, {1: [error() for _ in range(5)]})
    lines = {line["index"]: line for line in done.lines}
    assert (done.model.asked.count(1), lines[1]["status"]) == (times, status)
    assert [lines[i]["prediction"] for i in (0, 2, 3)] == [0, 2, 3]
    assert sorted(done.model.asked)[:1] == [0]
    if status == "failed":
        assert str(error()) in lines[1]["error"]


@CLASSES
def test_a_class_that_refuses_everything_is_given_up(asked, monkeypatch, name):
    """Though no refusal counts: after a minute the pair ends, with what was refused."""
    for module in (loop, patience):
        monkeypatch.setattr(module, "HOPELESS_SECONDS", 0.2)
    with pytest.raises(PairError, match="StatusError: status 429"):
        asked(name)(3, {i: [StatusError(429, 0.01) for _ in range(10_000)] for i in range(3)})


@CLASSES
def test_who_comes_back_later_leaves_its_place(asked, name):
    """Of one place: what follows is asked meanwhile."""
    done = asked(name, concurrency=1)(3, {0: [StatusError(429, 0.2)]})
    assert done.model.asked == [0, 1, 2, 0]


@CLASSES
@pytest.mark.parametrize("stop", [KeyboardInterrupt, TimedOut])
def test_who_is_stopped_waits_for_nothing(asked, context, monkeypatch, name, stop):
    """Ctrl-C and a limit end coroutines, which hear of it, and leave threads alone; what was answered is kept."""
    done = asked(name)

    def stopped():
        if done.model.waiting.is_set() and len(done.model.answered) >= 5:
            raise stop

    monkeypatch.setattr(context, "check_launcher", stopped)
    with pytest.raises(stop):
        done(6, {2: ["wait"]})
    assert done.model.cancelled == ([2] if name == "Async" else [])
    assert 2 not in done.kept
    done.model.free.set()


@CLASSES
def test_a_job_that_leaves_keeps_all_that_is_under_way(asked, context, monkeypatch, name):
    """What was asked before it was told to leave is waited for and kept, and nothing else is asked."""
    done, leaving = asked(name, concurrency=2), Leaving(patient=True)

    def told():
        if done.model.waiting.is_set():
            leaving.asked = True
            done.model.free.set()

    monkeypatch.setattr(context, "leaving", leaving)
    monkeypatch.setattr(context, "check_launcher", told)
    with pytest.raises(KeyboardInterrupt):
        done(500, {2: ["wait"]})
    assert done.model.cancelled == []
    assert 2 in done.kept
    assert sorted(done.kept) == sorted(done.model.asked)
    assert len(done.model.asked) < 500


@CLASSES
def test_a_pair_that_is_given_up_keeps_what_was_answered(asked, name):
    """A PairError of the class ends the pair; what hangs is not waited for."""
    done = asked(name)
    with pytest.raises(PairError, match="the key is wrong"):
        done(6, {1: ["wait"], 4: [PairError("the key is wrong")]})
    assert {0, 2, 3} <= {*done.kept} <= {0, 2, 3, 5}
    done.model.free.set()


@CLASSES
def test_an_end_of_the_process_is_that_of_the_session(asked, name):
    """``sys.exit`` in one sample ends no thread that others need."""
    with pytest.raises(SystemExit):
        asked(name)(3, {1: [SystemExit(3)]})
    assert asked(name)(3).kept


def test_an_answer_that_nobody_awaited_is_told(asked):
    """A plain method that gives back a coroutine was meant to be one."""
    with pytest.raises(PairError, match="accepted: async def predict_one"):
        asked("Forgetful")(2)


def test_a_thread_that_hangs_keeps_no_process_from_ending():
    """Whatever the user's code waits for."""
    code = (
        "import threading\n"
        "from pytest_evalrun.adapters.threads import DaemonThreads\n"
        "begun = threading.Event()\n"
        "DaemonThreads().start(lambda: (begun.set(), threading.Event().wait()))\n"
        "begun.wait()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=SECONDS)


def test_a_forked_process_has_an_event_loop_of_its_own():
    """The thread that ran its parent's is not there."""
    code = (
        "import asyncio, os\n"
        "from pytest_evalrun.adapters.eventloop import Coroutines\n"
        "Coroutines().start(asyncio.sleep(0)).result()\n"
        "held = Coroutines()\n"
        "if not (pid := os.fork()):\n"
        "    Coroutines().start(asyncio.sleep(0)).result(30)\n"
        "    os._exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=SECONDS)


def test_who_blocks_the_thread_of_all_keeps_it_for_himself():
    """A coroutine that sleeps without awaiting cannot be ended; whoever comes next has another thread."""
    begun, free, others = threading.Event(), threading.Event(), threading.enumerate()

    async def blocks():
        begun.set()
        free.wait(SECONDS)

    mine = Coroutines()
    mine.start(blocks())
    assert begun.wait(SECONDS)
    mine.cancel()
    mine.close()
    with Coroutines() as other:
        assert other.start(asyncio.sleep(0, "answered")).result(SECONDS) == "answered"
    free.set()
    until_ended(others)


def until_ended(others):
    """Until no event loop runs but those of others."""
    end = time.monotonic() + SECONDS
    while [thread for thread in threading.enumerate() if thread.name == "evalrun-asyncio" and thread not in others]:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_who_is_interrupted_while_he_waits_ends_what_he_waits_for():
    """A limit or Ctrl-C while a class is loaded, or a batch is asked."""
    others = threading.enumerate()
    with pytest.raises(TimedOut), Coroutines() as mine:
        ended = mine.start(asyncio.sleep(SECONDS))
        raise TimedOut
    until_ended(others)
    assert ended.cancelled()


def test_who_cancels_ends_only_what_is_its_own():
    """All coroutines of this process run in one thread."""
    others = threading.enumerate()
    mine, other = Coroutines(), Coroutines()
    ended = [mine.start(asyncio.sleep(SECONDS)) for _ in range(3)]
    kept = other.start(asyncio.sleep(0.05, "kept"))
    mine.cancel()
    assert kept.result(SECONDS) == "kept"
    assert all(future.cancelled() for future in ended)
    assert (len(mine), len(other)) == (0, 0)
    mine.close()
    other.close()
    until_ended(others)
