"""GPUs for tests: the real pynvml on a small C library, whose GPUs a test may change at any time."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_nvml.c")
LIBRARY = "libnvidia-ml.so.1"
# What NVML answers when a call fails.
NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, GPU_IS_LOST, UNKNOWN = 3, 4, 9, 15, 999
GPU_CALLS = (
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetHandleByUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
)
CALLS = ("nvmlInitWithFlags", "nvmlDeviceGetCount_v2", *GPU_CALLS)
GB = 1 << 10  # in MiB


def build(directory: Path) -> Path:
    """Build the library into a directory; without a C compiler the tests that need it fail."""
    library = directory / LIBRARY
    if not library.exists():
        aside = directory / f"{LIBRARY}.{os.getpid()}"
        argv = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", f"-Wl,-soname,{LIBRARY}", "-o", str(aside), str(SOURCE)]
        subprocess.run(argv, check=True)
        aside.rename(library)
    return library


@functools.cache
def _built() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="fake-nvml-"))
    atexit.register(shutil.rmtree, directory)
    build(directory)
    directory.chmod(0o755)  # another user's process loads it too
    return directory


def uuid(index: int) -> str:
    return f"GPU-{index:08x}-0000-4000-8000-{index:012x}"


class FakeNvml:
    """A host with GPUs; children that are started with ``env`` see them.

    >>> fake = FakeNvml(tmp_path).gpus(80, 80)          # GB each; uuid(0), uuid(1)
    >>> subprocess.run(argv, env=os.environ | fake.env)
    >>> fake.used(0, 76)                                # at once, for processes that run already
    """

    def __init__(self, directory: Path) -> None:
        self.state = directory / "nvml.txt"
        self._gpus: list[list] = []
        self._lines: list[str] = []
        self._write()

    @property
    def env(self) -> dict[str, str]:
        """Set before a process starts: the dynamic loader reads the path once."""
        path = os.pathsep.join(filter(None, [str(_built()), os.environ.get("LD_LIBRARY_PATH")]))
        return {"LD_LIBRARY_PATH": path, "FAKE_NVML_STATE": str(self.state)}

    def gpus(self, *gigabytes: float, name: str = "Fake A100") -> FakeNvml:
        """GPUs with that much memory each, nothing of it used."""
        for total in gigabytes:
            self._gpus.append(["gpu", total, 0, uuid(len(self._gpus)), name])
        return self._write()

    def part(self, gigabytes: float, uuid: str) -> FakeNvml:
        """A part of a GPU, as MIG makes them."""
        self._gpus.append(["mig", gigabytes, 0, uuid, "Fake MIG"])
        return self._write()

    def used(self, index: int, gigabytes: float) -> FakeNvml:
        """That much of a GPU's memory is used, whoever does it."""
        self._gpus[index][2] = gigabytes
        return self._write()

    def process(self, index: int, pid: int, gigabytes: float) -> FakeNvml:
        """A process that is listed for a GPU; ``used`` says what is left."""
        return self._add(f"proc {index} {pid} {round(gigabytes * GB)}")

    def fail(self, function: str, code: int, index: int | None = None) -> FakeNvml:
        """From now on a call fails; with ``index`` for one GPU only."""
        return self._add(f"fail {function} {code} {'' if index is None else index}")

    def lose(self, index: int) -> FakeNvml:
        """A GPU that has fallen off the bus."""
        for function in GPU_CALLS:
            self.fail(function, GPU_IS_LOST, index)
        return self

    def heal(self) -> FakeNvml:
        """No process that ``process`` added, no failure."""
        self._lines.clear()
        return self._write()

    def hold(self, index: int, pid: int, gigabytes: float) -> None:
        """A process has that much of a GPU for as long as it lives; its own code may do the same, see fake_nvml.c."""
        directory = Path(f"{self.state}.d")
        directory.mkdir(exist_ok=True)
        (directory / f"{index}.{pid}.{round(gigabytes * GB)}").touch()

    def _add(self, line: str) -> FakeNvml:
        self._lines.append(line)
        return self._write()

    def _write(self) -> FakeNvml:
        gpus = [f"{kind} {round(a * GB)} {round(b * GB)} {uuid} {name}" for kind, a, b, uuid, name in self._gpus]
        aside = self.state.with_suffix(".new")
        aside.write_text("".join(f"{line}\n" for line in [*gpus, *self._lines]))
        aside.rename(self.state)
        return self
