"""GPUs as the driver reports them: the real pynvml on a small C library."""

from __future__ import annotations

import subprocess
import sys

import pynvml
import pytest
from nvml import DRIVER_NOT_LOADED, GPU_CALLS, GPU_IS_LOST, NO_PERMISSION, NOT_SUPPORTED, UNKNOWN, uuid

from pytest_evalrun.slots.gpus import Gpu
from pytest_evalrun.slots.visible import Found, find_gpus

GB = 1 << 30


def test_gpus_are_found(host):
    """Each GPU is found with its index, UUID, name and memory, and is named by its index."""
    host.nvml.gpus(80, 24).used(0, 3)
    found = host.start().do("[vars(gpu) for gpu in find_gpus(nvml=nvml).gpus]")
    first, second = (Gpu(**gpu) for gpu in found)
    assert first == Gpu("0", 0, uuid(0), "Fake A100", 80 * GB, 77 * GB)
    assert (second.token, second.index, second.uuid, second.free) == ("1", 1, uuid(1), 24 * GB)


def test_memory_is_what_is_free_now(host):
    """What a GPU has free, and who uses it, is asked anew each time."""
    host.nvml.gpus(80)
    process = host.start()
    process.do("globals().update(gpu=find_gpus(nvml=nvml).gpus[0])")
    assert process.do("[nvml.free_memory(gpu), nvml.users(gpu)]") == [80 * GB, []]
    host.nvml.used(0, 76).process(0, 456, 70).process(0, 7, 6)
    assert process.do("[nvml.free_memory(gpu), nvml.users(gpu)]") == [4 * GB, [[7, 6 * GB], [456, 70 * GB]]]


def test_memory_of_a_process_ends_with_it(host):
    """The library of the tests gives back what a process had as soon as that is dead."""
    host.nvml.gpus(80)
    process, user = host.start(), host.start()
    host.nvml.hold(0, user.pid, 30)
    assert process.do("[nvml.users(gpu) for gpu in find_gpus(nvml=nvml).gpus]") == [[[user.pid, 30 * GB]]]
    user.kill()
    assert process.do("[[nvml.users(gpu), gpu.free] for gpu in find_gpus(nvml=nvml).gpus]") == [[[], 80 * GB]]


@pytest.mark.parametrize("code", [DRIVER_NOT_LOADED, NO_PERMISSION], ids=["no driver", "no permission"])
def test_driver_that_cannot_be_asked_is_a_reason(host, code):
    """Where there is no driver, or we may not ask it, there are no GPUs, and it is said why."""
    host.nvml.gpus(80).fail("nvmlInitWithFlags", code)
    tokens, why = host.start().do("find()")
    assert tokens == []
    assert why == f"the NVIDIA driver cannot be asked: {pynvml.NVMLError(code)}"


def test_library_that_cannot_be_loaded_is_a_reason(host, tmp_path):
    """Where NVML's library is missing or broken there are no GPUs, and it is said why."""
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")
    process = host.start(LD_LIBRARY_PATH=str(tmp_path))
    missing = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert process.do("find()") == [[], f"the NVIDIA driver cannot be asked: {missing}"]


def test_choice_is_believed_without_a_driver(host):
    """--eval-gpus names GPUs where no driver can be asked; a full UUID is one all the same."""
    host.nvml.fail("nvmlInitWithFlags", DRIVER_NOT_LOADED)
    process = host.start()
    gpus = [Gpu(**gpu) for gpu in process.do(f"[vars(gpu) for gpu in find_gpus('2,{uuid(1)},GPU-ab').gpus]")]
    assert gpus[:2] == [Gpu("2", None, "", "", 0, 0), Gpu(uuid(1), None, uuid(1), "", 0, 0)]
    assert [gpu.key for gpu in gpus] == ["index-2", uuid(1), "index-GPU-ab"]
    assert process.do("find('1', CUDA_VISIBLE_DEVICES='0')").startswith("ConfigError")


def test_no_gpus_on_request():
    """--eval-gpus none finds nothing, and does not ask the driver for it."""
    assert find_gpus("None", {}) == Found((), "--eval-gpus is none")
    code = (
        "import sys; from pytest_evalrun.slots.gpus import Nvml; from pytest_evalrun.slots.visible import find_gpus; "
        "Nvml().close(); find_gpus('none'); sys.exit('pynvml' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_host_without_gpus(host):
    """A driver without a GPU is a reason, too."""
    assert host.start().do("find()") == [[], "the NVIDIA driver knows no GPU"]


def test_caller_s_list_and_choice_meet_the_driver(host):
    """CUDA_VISIBLE_DEVICES is respected, parts of GPUs by UUID too, and --eval-gpus narrows it."""
    host.nvml.gpus(80, 80, 80).part(10, "MIG-1")
    process = host.start()
    assert process.do("find()") == [["0", "1", "2"], ""]
    assert process.do("find(CUDA_VISIBLE_DEVICES='2,MIG-1,0')") == [["2", "MIG-1", "0"], ""]
    assert process.do("find('0,2', CUDA_VISIBLE_DEVICES='2,MIG-1,0')") == [["0", "2"], ""]
    assert process.do("find(CUDA_VISIBLE_DEVICES='')") == [[], "CUDA_VISIBLE_DEVICES= shows none of 3"]
    assert process.do("find('MIG-1,1')") == [["MIG-1", "1"], ""]
    assert process.do("[gpu.total for gpu in find_gpus('MIG-1').gpus]") == [10 * GB]
    assert "there is no GPU 3; this host has GPU 0 (GPU-0" in process.do("find('3')")


def test_names_that_no_order_changes(host):
    """Where the caller wants another order than NVML's, children are given UUIDs instead of indices."""
    host.nvml.gpus(80, 80)
    process = host.start()
    assert process.do("find(CUDA_DEVICE_ORDER='FASTEST_FIRST')")[0] == [uuid(0), uuid(1)]
    assert process.do("find('1', CUDA_DEVICE_ORDER='FASTEST_FIRST')")[0] == [uuid(1)]
    assert process.do("find(CUDA_DEVICE_ORDER='PCI_BUS_ID')")[0] == ["0", "1"]


@pytest.mark.parametrize("code", [GPU_IS_LOST, UNKNOWN, NOT_SUPPORTED])
@pytest.mark.parametrize("call", GPU_CALLS)
def test_trouble_of_one_gpu_is_its_own(host, call, code):
    """Whichever call fails for one GPU, the others are found, and all that is asked of them is answered."""
    host.nvml.gpus(80, 24).fail(call, code, 0).process(1, 456, 1)
    process = host.start()
    tokens, _ = process.do("find()")
    assert tokens in (["1"], ["0", "1"])
    answers = process.do("[[nvml.free_memory(gpu), nvml.users(gpu)] for gpu in find_gpus(nvml=nvml).gpus]")
    assert answers[-1] == [24 * GB, [[456, GB]]]


def test_gpu_that_is_lost_is_left_out(host):
    """A GPU that does not answer when GPUs are looked for is not used, and it is said why."""
    host.nvml.gpus(80, 80).lose(0)
    process = host.start()
    assert process.do("find()") == [["1"], "GPU 0 is left out: GPU is lost"]
    assert process.do("find(CUDA_VISIBLE_DEVICES='0,1')")[0] == ["1"]


def test_driver_that_does_not_count_is_a_reason(host):
    """Where the driver cannot even count its GPUs there are none."""
    host.nvml.gpus(80).fail("nvmlDeviceGetCount_v2", UNKNOWN)
    assert host.start().do("find()") == [[], "every GPU is left out: Unknown Error"]


def test_gpu_that_is_lost_later_is_silent(host):
    """A GPU lost while we run has no memory and no users to tell of, and the reason is kept; once back it answers."""
    host.nvml.gpus(80)
    process = host.start()
    process.do("globals().update(gpu=find_gpus(nvml=nvml).gpus[0])")
    host.nvml.lose(0)
    asked = "[nvml.free_memory(gpu), nvml.users(gpu), nvml.reason(gpu)]"
    assert process.do(asked) == [None, [], "GPU is lost"]
    host.nvml.heal()
    assert process.do(asked) == [80 * GB, [], ""]


def test_memory_that_the_driver_does_not_tell(host):
    """A GPU that shares the memory of its host is found, its sizes unknown."""
    host.nvml.gpus(80).fail("nvmlDeviceGetMemoryInfo", NOT_SUPPORTED)
    process = host.start()
    assert process.do("[[gpu.total, gpu.free] for gpu in find_gpus(nvml=nvml).gpus]") == [[0, 0]]


def test_driver_is_opened_again_after_close(host):
    """Closed, it is opened at the next question, also about a GPU that was found before."""
    host.nvml.gpus(80)
    process = host.start()
    assert process.do("[find()[0], nvml.close(), nvml.close()]")[0] == ["0"]
    assert process.do("[[nvml.free_memory(gpu), nvml.close()] for gpu in find_gpus().gpus]") == [[80 * GB, None]]
    host.nvml.fail("nvmlDeviceGetUUID", NOT_SUPPORTED)
    asked = "[[nvml.close(), nvml.free_memory(gpu), gpu.key] for gpu in find_gpus(nvml=nvml).gpus]"
    assert process.do(asked) == [[None, 80 * GB, "index-0"]]


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        (Gpu("2", 2, "GPU-x", "A100", 1, 1), "GPU 2"),
        (Gpu("GPU-x", 2, "GPU-x", "A100", 1, 1), "GPU 2"),
        (Gpu("2", None, "", "", 0, 0), "GPU 2"),
        (Gpu("MIG-x/1", None, "MIG-x/1", "", 0, 0), "MIG-x/1"),
    ],
)
def test_gpu_in_words(gpu, name):
    """People know a GPU by its index where it has one; its lock file has a name that stays in its directory."""
    assert str(gpu) == name
    assert gpu.key in {"GPU-x", "index-2", "MIG-x_1"}
