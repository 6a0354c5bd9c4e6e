"""Leases of devices among processes, by label; those that drop are set aside with the reason, for all of a run."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hosts import eventually

import pytest_evalrun
from pytest_evalrun.errors import PairError
from pytest_evalrun.slots.devices import Device, DevicePool
from pytest_evalrun.slots.directory import LeaseDirectory


def devices(*names, slots=1, **labels):
    return [Device(name, f"root@{name}:22", labels, slots) for name in names]


def fail(text):
    raise AssertionError(text)


@pytest.fixture
def directory(tmp_path):
    """Where all sessions of the host meet."""
    return LeaseDirectory(tmp_path / "slots")


def acquire(pool, labels=None, **more):
    return pool.acquire(labels or {}, say=more.pop("say", fail), check=more.pop("check", lambda: None), **more)


def test_device_is_had_by_one_at_a_time(directory):
    """A device with one slot is leased once, by whichever session, until it is given back."""
    first, second = DevicePool(directory, devices("a")), DevicePool(directory, devices("a"))
    lease = acquire(first)
    assert lease.device.name == "a"
    assert second.try_acquire({}) is None
    lease.release()
    lease.release()
    with second.try_acquire({}) as again:
        assert again.fds
        assert first.try_acquire({}) is None
    assert first.try_acquire({}) is not None


def test_slots_are_counted(directory):
    """A device with three slots serves three."""
    pool = DevicePool(directory, devices("a", slots=3))
    leases = [pool.try_acquire({}) for _ in range(4)]
    assert [lease is not None for lease in leases] == [True, True, True, False]
    leases[1].release()
    assert pool.try_acquire({}) is not None


def test_labels_choose(directory):
    """Items ask by label: any free device that has all of them serves, and no other."""
    pool = DevicePool(directory, [*devices("a", soc="j5"), *devices("b", soc="j5", ram="4"), *devices("c", soc="j6")])
    assert pool.try_acquire({"soc": "j6"}).device.name == "c"
    assert pool.try_acquire({"soc": "j6"}) is None
    assert pool.try_acquire({"soc": "j5", "ram": "4"}).device.name == "b"
    assert pool.try_acquire({"soc": "j5"}).device.name == "a"


def test_unknown_label_is_told_with_those_there_are(directory):
    """A label that no device has cannot be waited for."""
    pool = DevicePool(directory, devices("a", soc="j5"))
    with pytest.raises(PairError, match=r"no device has soc: j9; there are: a .soc: j5."):
        acquire(pool, {"soc": "j9"})
    with pytest.raises(PairError, match="there is no device; write `devices:`"):
        acquire(DevicePool(directory, []))


def test_least_busy_device_comes_first(directory):
    """Work is spread over the devices before any is shared; one that has the model is preferred while it is free."""
    pool = DevicePool(directory, devices("a", "b", slots=2))
    assert [pool.try_acquire({}).device.name for _ in range(4)] == ["a", "b", "a", "b"]
    assert pool.try_acquire({}) is None


def test_preferred_device_comes_first(directory):
    """One that has the model already is taken first, another where it has no slot left."""
    pool = DevicePool(directory, devices("a", "b"))
    assert acquire(pool, prefer=["b"]).device.name == "b"
    assert acquire(pool, prefer=["b"]).device.name == "a"


def test_sick_device_is_set_aside_and_the_next_serves(directory):
    """A device that fails its check is set aside with the reason, its lease is given back, and another is taken."""
    pool = DevicePool(directory, devices("a", "b"), health=lambda device: "no answer" if device.name == "a" else None)
    assert acquire(pool).device.name == "b"
    assert [state.aside for state in pool.states()] == ["no answer", ""]
    assert pool.states()[0].holders == ()
    assert "device a: set aside: no answer" in str(pool.states()[0])


def test_none_left_is_told_at_once_with_the_reasons(directory):
    """When every device that would serve was set aside nobody waits: the error names each and why."""
    pool = DevicePool(directory, devices("a", "b", soc="j5") + devices("c"))
    for device, reason in zip(devices("a", "b"), ("link lost", "disk full"), strict=True):
        pool.set_aside(device, reason)
    with pytest.raises(PairError, match=r"no device is left for soc: j5: .*a: set aside: link lost; .*b: .*disk full"):
        acquire(pool, {"soc": "j5"})
    assert acquire(pool).device.name == "c"


def test_first_reason_stays(directory):
    """What follows from a loss does not hide it."""
    pool = DevicePool(directory, devices("a"))
    pool.set_aside(devices("a")[0], "link lost")
    pool.set_aside(devices("a")[0], "something else")
    assert pool.states()[0].aside == "link lost"


def test_all_processes_of_a_run_hear_of_it(directory, tmp_path):
    """One process that meets a dead device tells the others; another run begins anew."""
    here = DevicePool(directory, devices("a", "b"), notes=tmp_path / "notes")
    there = DevicePool(directory, devices("a", "b"), notes=tmp_path / "notes")
    here.set_aside(devices("a")[0], "link lost")
    assert acquire(there).device.name == "b"
    assert acquire(DevicePool(directory, devices("a"), notes=tmp_path / "other")).device.name == "a"


def test_damaged_note_is_no_reason(directory, tmp_path):
    """A note that cannot be read sets nothing aside."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / f"{devices('a')[0].key}.json").write_text("{")
    assert acquire(DevicePool(directory, devices("a"), notes=tmp_path / "notes")).device.name == "a"


def test_wait_says_who_has_them_and_can_be_ended(directory):
    """Who waits says for what, and who has it; what ``check`` raises ends the wait."""
    pool = DevicePool(directory, devices("a", soc="j5"))
    lease = acquire(pool)
    said = []
    stop = threading.Event()

    def check():
        if stop.is_set():
            raise InterruptedError

    def wait():
        with pytest.raises(InterruptedError):
            acquire(pool, {"soc": "j5"}, say=said.append, check=check)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: said)
    stop.set()
    thread.join(20)
    assert said[0].startswith("waiting for soc: j5: device a: leased by process ")
    lease.release()


def test_device_that_drops_while_one_waits(directory):
    """Whoever waits for a device that is set aside meanwhile is told at once."""
    pool = DevicePool(directory, devices("a"))
    lease = acquire(pool)
    thread = threading.Timer(0.1, lambda: pool.set_aside(lease.device, "link lost"))
    thread.start()
    with pytest.raises(PairError, match="link lost"):
        acquire(pool, say=lambda _: None)
    thread.join()
    lease.release()


def test_error_of_a_check_gives_the_lease_back(directory):
    """What the check itself raises comes through, and leaves nothing taken."""
    with pytest.raises(AssertionError, match="broken"):
        acquire(DevicePool(directory, devices("a"), health=lambda _: fail("broken")))
    assert acquire(DevicePool(directory, devices("a"))).device.name == "a"


def test_killed_process_holds_nothing(tmp_path):
    """kill -9 gives a lease back, across sessions; until then everybody respects it."""
    code = f"""
import sys
sys.path[:0] = {[str(Path(pytest_evalrun.__file__).parents[1])]!r}
from pathlib import Path
from pytest_evalrun.slots.devices import Device, DevicePool
from pytest_evalrun.slots.directory import LeaseDirectory
pool = DevicePool(LeaseDirectory(Path({str(tmp_path / "slots")!r})), [Device("other name", "root@a:22")])
lease = pool.try_acquire({{}})
print(lease is not None, flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    pool = DevicePool(LeaseDirectory(tmp_path / "slots"), devices("a"))
    assert pool.try_acquire({}) is None
    assert pool.states()[0].holders[0].pid == process.pid
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert eventually(lambda: pool.try_acquire({})).device.name == "a"


def test_keys_are_safe_and_never_the_same():
    """Any identity makes a name of a file, and two never the same."""
    keys = [Device("x", identity).key for identity in ("root@a:22", "root@a/22", "root@[::1]:22", "名@a", "a" * 300)]
    assert len(set(keys)) == len(keys)
    assert all(len(key) < 100 and key.replace("-", "").replace("_", "").isalnum() and key.isascii() for key in keys)


def test_note_is_json(directory, tmp_path):
    """The notes can be read by others: which device, and why."""
    pool = DevicePool(directory, devices("a"), notes=tmp_path)
    pool.set_aside(devices("a")[0], "why")
    assert json.loads((tmp_path / f"{devices('a')[0].key}.json").read_text()) == {"device": "a", "reason": "why"}
