"""Leases of GPUs among processes: nobody holds what another has, whoever is killed and whatever the memory does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hosts import eventually
from hypothesis import given, settings
from hypothesis import strategies as st
from nvml import GPU_CALLS, GPU_IS_LOST, NOT_SUPPORTED, uuid

from pytest_evalrun.errors import PairError
from pytest_evalrun.slots.gpus import Gpu
from pytest_evalrun.slots.leases import Lease, LeaseDirectory, Leases
from pytest_evalrun.slots.need import GB, Need

COUNT = 3


def gpus(*gigabytes: int) -> list[Gpu]:
    return [Gpu(str(i), i, f"GPU-{i}", "A100", total * GB, total * GB) for i, total in enumerate(gigabytes)]


def fail(text):
    raise AssertionError(text)


def test_gpu_is_leased_to_one(host):
    """What one process has, no other gets, until it is given back."""
    host.nvml.gpus(80)
    first, second = host.start(), host.start()
    assert first.do("take(1, 40)") == ["0"]
    assert second.do("take(1, 40)") is None
    first.do("release()")
    assert second.do("take(1, 40)") == ["0"]


def test_several_gpus_come_together(host):
    """All the GPUs of a need are leased, or none: what was taken in vain is free for others."""
    host.nvml.gpus(80, 80, 80)
    first, second = host.start(), host.start()
    assert first.do("take(2)") == ["0", "1"]
    assert second.do("take(2)") is None
    assert second.do("take(1)") == ["2"]


def test_killed_holder_frees_at_once(host):
    """The kernel gives back what a killed process had."""
    host.nvml.gpus(80, 80)
    first, second = host.start(), host.start()
    assert first.do("[take(1), take(1, 0, 2)]") == [["0"], ["1"]]
    first.kill()
    assert second.do("take(2)") == ["0", "1"]


def test_copy_of_a_lease_keeps_it(host):
    """Who was given the descriptors has the GPU after the lessee is dead, or has released it, and until it ends."""
    host.nvml.gpus(80)
    first, second = host.start(), host.start()
    first.do("take(1, 0, 2)")
    start = "__import__('subprocess').Popen(['sleep', '600'], pass_fds=held[0].fds).pid"
    keeper = first.do(start)
    try:
        first.do("release()")
        assert second.do("take(1)") is None
        first.kill()
        assert second.do("take(1)") is None
    finally:
        os.kill(keeper, 9)
    second.until("take(1)")


def test_lease_of_a_worker_does_not_leak_into_its_programs(host):
    """A program that was not given the descriptors has no part in the lease."""
    host.nvml.gpus(80)
    first, second = host.start(), host.start()
    first.do("take(1)")
    stray = first.do("__import__('subprocess').Popen(['sleep', '600'], close_fds=False).pid")
    try:
        first.kill()
        assert second.do("take(1)") == ["0"]
    finally:
        os.kill(stray, 9)


def test_sharers_meet_on_one_gpu(host):
    """Models that share go where one is already, up to their number; who wants a GPU alone gets another one."""
    host.nvml.gpus(80, 80)
    first, second = host.start(), host.start()
    assert first.do("take(1, 0, 2)") == ["0"]
    assert second.do("take(1, 0, 2)") == ["0"]
    assert second.do("take(1, 0, 2)") == ["1"]
    assert first.do("take(1)") is None
    first.do("release()")
    second.do("release()")
    assert first.do("take(1)") == ["0"]


def test_sharers_do_not_meet_where_both_do_not_fit(host):
    """What a model asked for is kept for it until it has loaded: two that do not fit together never meet."""
    host.nvml.gpus(79)
    first, second = host.start(), host.start()
    assert first.do("take(1, 40, 2)") == ["0"]
    assert second.do("take(1, 40, 2)") is None
    assert second.do("take(1, 39, 2)") == ["0"]


def test_least_memory_that_suffices_is_leased(host):
    """The big GPUs are kept for those who need them; where nothing is asked for the freest is given."""
    host.nvml.gpus(80, 24, 48).used(0, 10)
    process = host.start()
    assert process.do("take(1, 20)") == ["1"]
    assert process.do("take(1, 20)") == ["2"]
    process.do("[release(), release()]")
    assert process.do("take(1)") == ["0"]


def test_gpus_of_a_lease_are_in_order(host):
    """However they were chosen, a child sees its GPUs in the caller's order."""
    host.nvml.gpus(80, 48, 24)
    process = host.start(CUDA_VISIBLE_DEVICES="2,0,1")
    assert process.do("take(3, 20)") == ["2", "0", "1"]
    process.do("release()")
    assert process.do("take(2, 20)") == ["2", "1"]


def test_memory_taken_before_the_lock_is_seen(host):
    """A GPU whose memory is taken between the first look and the lease is given back, and another one tried."""
    host.nvml.gpus(40, 80)
    process, other = host.start(), host.start()
    # Its memory goes while the lock is taken: after the first look, before the second.
    host.nvml.hold(0, 1, 0)
    process.do("leases()")
    process.do("globals().update(plain=LeaseDirectory.take, grab=lambda: open(PATH, 'w').close())")
    process.do(f"globals().update(PATH={str(host.nvml.state)!r} + '.d/0.{other.pid}.{39 << 10}')")
    process.do("setattr(LeaseDirectory, 'take', lambda self, key, *need: [plain(self, key, *need), grab()][0])")
    assert process.do("take(1, 20)") == ["1"]
    assert other.do("take(1, 1)") == ["0"]


def test_lost_gpu_is_not_leased(host):
    """A GPU that stops to answer is not given to anybody; the others are."""
    host.nvml.gpus(80, 80)
    process = host.start()
    process.do("leases()")
    host.nvml.lose(0)
    assert process.do("[take(1), take(1)]") == [["1"], None]
    assert "GPU 0  Fake A100  does not answer: GPU is lost" in process.do("leases().lacking(Need(2))")


@pytest.mark.parametrize("call", GPU_CALLS)
def test_trouble_of_one_gpu_is_no_trouble_of_another(host, call):
    """Whichever call fails for one GPU once we run, the other can be leased, waited for and told of."""
    host.nvml.gpus(80, 80)
    process = host.start()
    process.do("leases()")
    host.nvml.fail(call, GPU_IS_LOST, 0)
    assert process.do("take(1, 80)") in (["0"], ["1"])
    process.do("take(1, 80)")
    assert process.do("[gpu.token for lease in held for gpu in lease.gpus if gpu.token == '1']") == ["1"]
    assert "GPU 1" in process.do("leases().lacking(Need(3))")
    process.do("leases().wait_until_free(held[0], [1], 1)")


def test_memory_that_nobody_knows_is_the_user_s_word(host):
    """Where the driver does not tell sizes, a GPU that is asked for with memory is given."""
    host.nvml.gpus(80).fail("nvmlDeviceGetMemoryInfo", NOT_SUPPORTED)
    assert host.start().do("take(1, 40)") == ["0"]


def test_waiting_ends_with_a_lease(host):
    """Who waits says so once, naming the holder, and has the GPU soon after it was given back."""
    host.nvml.gpus(80)
    first, second = host.start(), host.start()
    first.do("take(1)")
    second.do("wait(1, 40)")
    (said,) = second.until("said")
    assert said.startswith(f"waiting for 1 GPU with 40 GB free: GPU 0: leased by process {first.pid} of ")
    first.do("release()")
    assert second.until("outcome") == [["0"]]
    assert len(second.do("said")) == 1


def test_others_learn_that_someone_waits(host):
    """As long as a process of the host waits, all others can know; also when it is killed."""
    host.nvml.gpus(80)
    first, second, third = host.start(), host.start(), host.start()
    first.do("take(1)")
    assert first.do("leases().someone_waits()") is False
    second.do("wait(1)")
    third.do("wait(1)")
    first.until("leases().someone_waits()")
    third.until("said")
    second.kill()
    first.until("leases().someone_waits()")
    third.do("stop.set()")
    assert third.until("outcome") == ["Stopped: stopped"]
    first.until("not leases().someone_waits()")


def test_waiter_of_an_own_gpu_is_no_sign(host):
    """Who gets what it wants at once never appears as waiting."""
    host.nvml.gpus(80)
    process = host.start()
    process.do("wait(1)")
    assert process.until("outcome") == [["0"]]
    assert process.do("[said, leases().someone_waits()]") == [[], False]


def test_strangers_end_a_wait(host):
    """Where only processes outside any lease have the memory, the wait ends and names them and the options."""
    host.nvml.gpus(80, 80).used(0, 77).process(0, 456, 77).used(1, 60).process(1, 789, 60)
    process = host.start()
    process.do("wait(1, 40, foreign_wait=0.2)")
    (text,) = process.until("outcome")
    assert text.startswith("PairError: 1 GPU with 40 GB free could not be had for 0.2 s")
    assert "GPU 0: 3.0 of 80.0 GB free, used by process 456 (77.0 GB); GPU 1: 20.0 of 80.0 GB free" in text
    assert "process 789" in text
    assert "--eval-min-gpu-memory" in text
    assert "--eval-gpus" in text


def test_strangers_who_leave_are_forgiven(host):
    """Memory that comes back in time ends the wait well."""
    host.nvml.gpus(80).used(0, 77)
    process = host.start()
    process.do("wait(1, 40)")
    process.until("said")
    host.nvml.used(0, 10)
    assert process.until("outcome") == [["0"]]


def test_patience_is_with_leases_alone(host):
    """A wait does not end as long as the end of a lease may help."""
    host.nvml.gpus(80, 80).used(1, 77)
    first, second = host.start(), host.start()
    first.do("take(1, 40)")
    second.do("wait(1, 40, foreign_wait=0)")
    second.until("said")
    first.do("release()")
    assert second.until("outcome") == [["0"]]


def test_impossible_need_does_not_wait(host):
    """What the host can never give is refused at once."""
    host.nvml.gpus(24, 80)
    process = host.start()
    process.do("wait(2, 40)")
    (text,) = process.until("outcome")
    assert text.startswith("PairError: needed: 2 GPUs with 40 GB free each; this host has:\n  GPU 0  Fake A100  24.0")


def test_wait_is_told_again(tmp_path, monkeypatch):
    """A long wait is told of again each minute."""
    monkeypatch.setattr("pytest_evalrun.slots.leases.SAY_AGAIN", 0.0)
    leases = Leases(LeaseDirectory(tmp_path / "slots"), gpus(80), None)
    said: list[str] = []

    def check():
        if len(said) == 3:
            raise KeyboardInterrupt

    with leases.try_acquire(Need(1)), pytest.raises(KeyboardInterrupt):
        leases.acquire(Need(1), say=said.append, check=check)
    assert len(said) == 3
    assert not leases.someone_waits()


@pytest.mark.parametrize(
    ("need", "lacks"),
    [("1, 80", False), ("2, 20", False), ("1, 81", True), ("2, 25", True), ("3", True), ("0", False)],
)
def test_lack_is_known_before_anything_starts(host, need, lacks):
    """A need that this host can never meet is told with what there is; one that it can meet is not."""
    host.nvml.gpus(80, 24)
    text = host.start().do(f"leases().lacking(Need({need}))")
    assert (text is not None) == lacks
    if lacks:
        assert "GPU 0  Fake A100  80.0 of 80.0 GB free\n  GPU 1  Fake A100  24.0 of 24.0 GB free\n" in text


def test_lease_is_no_lack(host):
    """What is leased now will be free again; what strangers have may never be."""
    host.nvml.gpus(80)
    first, second = host.start(), host.start()
    first.do("take(1)")
    host.nvml.hold(0, first.pid, 70)
    assert second.do("leases().lacking(Need(1, 40))") is None
    first.do("release()")
    assert f"10.0 of 80.0 GB free, used by process {first.pid} (70.0 GB)" in second.do("leases().lacking(Need(1, 40))")


def test_reason_is_in_the_lack(host):
    """Where no GPU was found it is said why."""
    host.nvml.fail("nvmlInitWithFlags", 9)
    text = host.start().do("leases().lacking(Need(1))")
    assert "  no GPU\n  (the NVIDIA driver cannot be asked: Driver Not Loaded)\n" in text


def test_gpu_is_free_once_its_processes_are_gone(host):
    """After a child has ended one waits until the driver lists it no more, and not for others."""
    host.nvml.gpus(80, 80)
    process, child, other = host.start(), host.start(), host.start()
    assert process.do("take(1)") == ["0"]
    host.nvml.hold(0, child.pid, 30)
    host.nvml.hold(0, other.pid, 30)
    process.send(f"leases().wait_until_free(held[0], [{child.pid}], 60)")
    child.kill()
    assert process.receive() is None
    assert process.do("[pid for pid, _ in nvml.users(held[0].gpus[0])]") == [other.pid]
    process.do(f"leases().wait_until_free(held[0], [{other.pid}], 0.05)")


def test_no_driver_lists_nobody(tmp_path):
    """Without a driver there is nothing to wait for."""
    leases = Leases(LeaseDirectory(tmp_path / "slots"), gpus(80), None)
    with leases.try_acquire(Need(1)) as lease:
        leases.wait_until_free(lease, [os.getpid()], 60)


def test_child_is_told_its_gpus():
    """CUDA_VISIBLE_DEVICES names the GPUs of the lease in an order that holds for both sides."""
    lease = Lease(gpus(80, 80), ())
    assert lease.environment({}) == {"CUDA_VISIBLE_DEVICES": "0,1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert lease.environment({"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}) == {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert Lease((), ()).environment({}) == {}


def test_release_is_done_once(tmp_path):
    """A lease given back twice closes nothing that is not its own."""
    leases = Leases(LeaseDirectory(tmp_path / "slots"), gpus(80), None)
    lease = leases.try_acquire(Need(1))
    lease.release()
    assert lease.fds == ()
    with leases.try_acquire(Need(1)):
        lease.release()
        assert leases.try_acquire(Need(1)) is None


def test_error_in_the_middle_gives_all_back(tmp_path, monkeypatch):
    """A fault while several GPUs are leased leaves none of them taken."""
    directory = LeaseDirectory(tmp_path / "slots")
    leases = Leases(directory, gpus(80, 80), None)
    take = directory.take
    monkeypatch.setattr(directory, "take", lambda key, *need: take(key, *need) if key == "GPU-0" else fail("broken"))
    with pytest.raises(AssertionError, match="broken"):
        leases.try_acquire(Need(2))
    leases.try_acquire(Need(1)).release()


def test_processes_that_compete_never_share_what_is_not_shared(host, tmp_path):
    """Whatever four processes take and give back at once: alone is alone, two are two, and everybody gets some."""
    host.nvml.gpus(80, 80, 80)
    witnesses = tmp_path / "witnesses"
    witnesses.mkdir()
    processes = [host.start() for _ in range(4)]
    for seed, process in enumerate(processes):
        process.do("leases()")
        process.send(f"compete({str(witnesses)!r}, {seed}, 300)")
    results = [process.receive() for process in processes]
    assert [faults for _, faults in results if faults] == []
    assert all(had for had, _ in results)
    assert list(witnesses.iterdir()) == []


def test_gpus_are_the_same_for_all_who_name_them_differently(host):
    """A lock belongs to the GPU, not to the name that somebody's CUDA_VISIBLE_DEVICES gives it."""
    host.nvml.gpus(80, 80)
    first, second = host.start(CUDA_VISIBLE_DEVICES="1"), host.start(CUDA_VISIBLE_DEVICES=uuid(1)[:12])
    assert first.do("take(1)") == ["1"]
    assert second.do("take(1)") is None
    first.do("release()")
    assert second.do("take(1)") == [uuid(1)[:12]]


steps = st.lists(
    st.tuples(st.sampled_from(["take", "take", "release"]), st.integers(1, COUNT), st.integers(1, 3)), max_size=30
)


@given(steps)
@settings(max_examples=60)
def test_leases_follow_their_law(steps):
    """What fits is given, what does not is not, and what is given back is free, in any order of events."""
    with tempfile.TemporaryDirectory() as place:
        leases = Leases(LeaseDirectory(Path(place)), gpus(80, 80, 80), None)
        held: list[tuple[Lease, int]] = []
        for step, count, per_gpu in steps:
            if step == "release" and held:
                held.pop(count % len(held))[0].release()
            elif step == "take":
                fitting = [index for index in range(COUNT) if fits(index, per_gpu, held, Path(place))]
                lease = leases.try_acquire(Need(count, 0, per_gpu))
                assert (lease is not None) == (len(fitting) >= count)
                if lease is not None:
                    assert len({gpu.index for gpu in lease.gpus} & set(fitting)) == count
                    held.append((lease, per_gpu))
        for lease, _ in held:
            lease.release()
        leases.try_acquire(Need(COUNT)).release()


def fits(index: int, per_gpu: int, held: list[tuple[Lease, int]], place: Path) -> bool:
    """A GPU has a place for one more: nobody has it who wants it alone, and one of the first ``per_gpu`` is empty."""
    on_it = [(lease, number) for lease, number in held if index in {gpu.index for gpu in lease.gpus}]
    if per_gpu == 1 or any(number == 1 for _, number in on_it):
        return not on_it
    ours = {os.fstat(fd).st_ino for lease, _ in on_it for fd in lease.fds}
    taken = [file.name for file in place.glob(f"GPU-{index}.[0-9]") if file.stat().st_ino in ours]
    return any(f"GPU-{index}.{number}" not in taken for number in range(per_gpu))


def test_room_is_cheap_to_import():
    """No package that is slow to import comes with the room, as workers without GPUs import it too."""
    code = "import sys; import pytest_evalrun.slots.leases; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["pynvml", "psutil", "pydantic", "numpy"]
    ran = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_acquire_raises_what_the_caller_does(tmp_path):
    """A wait that can only be in vain is the pair's error; what ``check`` raises comes through untouched."""
    leases = Leases(LeaseDirectory(tmp_path / "slots"), [], None, "no driver")
    with pytest.raises(PairError, match="no GPU"):
        leases.acquire(Need(1), say=fail, check=lambda: None)
    with pytest.raises(AssertionError, match="enough"):
        leases.acquire(Need(1), say=fail, check=lambda: fail("enough"))


def test_end_of_a_wait_leaves_no_trace(host):
    """Killed while it waits, a process holds nothing."""
    host.nvml.gpus(80)
    first, second, third = host.start(), host.start(), host.start()
    first.do("take(1)")
    second.do("wait(1)")
    third.until("leases().someone_waits()")
    second.kill()
    first.do("release()")
    assert eventually(lambda: third.do("take(1)")) == ["0"]
    assert third.do("leases().someone_waits()") is False
