"""A model in a process of its own has its GPUs for as long as that lives, and not a moment longer."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager, nullcontext

import psutil
import pytest

from pytest_evalrun.children.faults import ModelDied
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import PairError, TimedOut
from pytest_evalrun.predicting.leased import LeasedModel, python_child
from pytest_evalrun.predicting.models import UNUSED_SECONDS, LoadedModels
from pytest_evalrun.predicting.services import GpuMemory, Slots, WorkerServices
from pytest_evalrun.rundir.events import EventWriter
from pytest_evalrun.slots.gpus import Gpu
from pytest_evalrun.slots.leases import LeaseDirectory, Leases
from pytest_evalrun.slots.need import GB, Need

MODEL = """
import os, signal, time
from pathlib import Path

def hang():
    Path(__file__).with_name("hangs").touch()
    time.sleep(600)

class Model:
    def __init__(self, path):
        print("loading", flush=True)

    def predict(self, batch):
        match batch[0].id:
            case "die": os.kill(os.getpid(), 9)
            case "raise": raise ValueError("not this one")
            case "hang": hang()
        return [[os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]] for _ in batch]

class Unloadable(Model):
    def load(self): raise OSError("no device")

class Slow(Model):
    def load(self): hang()

class Clinging(Model):
    def close(self): raise RuntimeError("busy")
"""
GPUS = tuple(Gpu(str(index), index, f"GPU-{index}", "Fake", 0, 0) for index in range(2))


class Bench:
    """GPUs of nobody's driver, real locks, and what the model's services were told."""

    def __init__(self, shop, place):
        (shop.root / "gpu.py").write_text(MODEL)
        self.shop = shop
        self.place = place
        self.slots = Slots(None)
        self.slots._leases = self.leases()
        self.events, self.output, self.pids, self.pauses = [], b"", [], 0
        self.around = WorkerServices(
            event=lambda name, *_, **told: self.events.append((name, told)),
            paused=self.paused,
            output=self.write,
            started=lambda pid, pair: self.pids.append(pid),
        )

    def leases(self):
        return Leases(LeaseDirectory(self.place), GPUS, None)

    def write(self, data):
        self.output += data

    @contextmanager
    def paused(self):
        self.pauses += 1
        yield

    def model(self, name="Model", gpus=1):
        pair = self.shop.pair(adapter=f"./gpu.py:{name}", gpus=gpus)
        return LeasedModel(pair, self.slots.take(Need(gpus), pair.full_id, self.around), self.around, python_child)

    def assert_free(self):
        """Whoever comes now gets all of them; taking and freeing were told in pairs, and no process is left."""
        self.leases().try_acquire(Need(2)).release()
        names = [name for name, _ in self.events]
        assert names.count("slot_taken") == names.count("slot_freed")
        living = [pid for pid in self.pids[1::2] if psutil.pid_exists(pid)]
        assert living == []


@pytest.fixture
def bench(shop, tmp_path):
    return Bench(shop, tmp_path / "slots")


def test_peak_memory_is_looked_at_while_there_is_a_lease():
    """The most since it was last forgotten, seen by the thread or when asked; of what nobody knows there is none."""
    now = [3 * GB]
    memory = GpuMemory()
    assert memory.peak_gb() is None
    end = memory.watch(lambda: now[0])
    now[0] = 7 * GB
    wait_until(lambda: memory._peak == now[0])
    now[0] = 2 * GB
    assert memory.peak_gb() == 7
    memory.forget()
    assert memory.peak_gb() == 2
    end()
    now[0] = 9 * GB
    assert memory.peak_gb() == 2
    memory.forget()
    memory.watch(lambda: None)()
    assert memory.peak_gb() is None
    assert not [thread for thread in threading.enumerate() if thread.name == "evalrun-gpu-memory"]


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ask(model, name="s0"):
    return model.predict([Sample(0, name, 0)])


def test_it_sees_its_gpus_until_it_is_closed(bench):
    """And they are its alone; every process was told; waiting for them did not count."""
    model = bench.model(gpus=2)
    model.load()
    ((pid, seen),) = ask(model)
    assert seen == "0,1"
    assert bench.pids == [psutil.Process(pid).ppid(), pid]
    assert bench.leases().try_acquire(Need(1)) is None
    assert b"loading" in bench.output
    assert bench.pauses == 1
    model.close()
    told = {"gpus": ["0", "1"], "uuids": ["GPU-0", "GPU-1"]}
    assert bench.events == [("slot_taken", told), ("slot_freed", told)]
    bench.assert_free()


@pytest.mark.parametrize("name", ["Unloadable", "Clinging"])
def test_a_model_that_fails_at_either_end_gives_its_gpus_back(bench, name):
    """Its error comes through."""
    model = bench.model(name)
    if name == "Clinging":
        model.load()
    with pytest.raises(Exception, match=r"no device|busy"):
        model.load() if name == "Unloadable" else model.close()
    bench.assert_free()


def test_a_model_that_died_is_broken(bench):
    """An exception of the model's own breaks nothing."""
    model = bench.model()
    model.load()
    with pytest.raises(Exception, match="not this one"):
        ask(model, "raise")
    assert not model.broken
    with pytest.raises(ModelDied, match="SIGKILL"):
        ask(model, "die")
    assert model.broken
    model.close()
    bench.assert_free()


@pytest.fixture
def alarm(shop):
    """The limit, which is reached as soon as the model hangs."""

    def passed(*_):
        raise TimedOut("over")

    def ring():
        while not (shop.root / "hangs").exists() and not ended.wait(0.01):
            pass
        if not ended.is_set():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

    before, ended = signal.signal(signal.SIGALRM, passed), threading.Event()
    thread = threading.Thread(target=ring)
    yield thread.start
    ended.set()
    thread.join()
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("where", ["load", "predict"])
def test_a_model_that_is_interrupted_tells_where_it_was(bench, alarm, where):
    """Then it is ended, and its GPUs are free; to end it twice is to end it once."""
    model = bench.model("Slow" if where == "load" else "Model")
    if where == "predict":
        model.load()
    alarm()
    with pytest.raises(TimedOut):
        model.load() if where == "load" else ask(model, "hang")
    model.kill()
    model.kill()
    assert f"in {where}".encode() in bench.output
    bench.assert_free()


def test_a_limit_at_the_end_of_the_wait_keeps_no_gpu(bench):
    """The exception comes where the wait ends and nobody has the lease yet."""

    @contextmanager
    def paused():
        yield
        raise TimedOut("over")

    with pytest.raises(TimedOut):
        bench.slots.take(Need(2), None, WorkerServices(paused=paused))
    bench.assert_free()


def no_board():
    raise AssertionError("nobody asked for one")


@pytest.fixture
def models(bench, evaluator):
    events = EventWriter(evaluator.run / "events" / "main.jsonl", "main")
    models = LoadedModels(events, str, bench.slots, bench.around, lacking={}, boards=no_board, digest=str)
    yield models
    models.close()
    events.close()


def load(models, shop, name="Model"):
    return models.get(shop.pair(adapter=f"./gpu.py:{name}", gpus=1), {"model": name})[0]


@contextmanager
def somebody_waits(bench):
    """As who waits in ``acquire`` announces it."""
    with LeaseDirectory(bench.place).lock("waiting.lock", shared=True):
        yield


@pytest.mark.parametrize(("idle", "waits", "stays"), [(59, True, True), (61, False, True), (61, True, False)])
def test_who_long_idles_makes_room_for_who_waits(bench, models, shop, monkeypatch, idle, waits, stays):
    """After a minute, and only where somebody waits."""
    assert UNUSED_SECONDS == 60
    adapter = load(models, shop)
    models.used()
    models._used -= idle
    with somebody_waits(bench) if waits else nullcontext():
        models.make_room()
    assert (load(models, shop) is adapter) == stays


def test_who_waits_itself_makes_room_at_once(bench, models, shop):
    """Where two wait for each other nobody would ever come."""
    adapter = load(models, shop)
    models.make_room(unused=0.0)
    assert load(models, shop) is adapter
    with somebody_waits(bench):
        models.make_room(unused=0.0)
    bench.assert_free()


def test_a_broken_model_is_loaded_anew(bench, models, shop):
    """On GPUs that it takes anew."""
    adapter = load(models, shop)
    with pytest.raises(PairError):
        ask(adapter, "die")
    again = load(models, shop)
    assert again is not adapter
    assert ask(again)
    models.close()
    bench.assert_free()


def test_another_model_gets_the_gpu_of_the_first(bench, models, shop):
    """The first is closed before; what cannot be loaded leaves nothing behind."""
    load(models, shop)
    with pytest.raises(PairError, match="no device"):
        load(models, shop, "Unloadable")
    bench.assert_free()
    load(models, shop)
    models.abandon()
    bench.assert_free()
