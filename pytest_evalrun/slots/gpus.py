"""The GPUs of this host, and what the driver says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
NVML_ORDER = "PCI_BUS_ID"
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a part of one with a UUID of its own; sizes are bytes, 0 where nobody knows them.

    ``token`` is how CUDA_VISIBLE_DEVICES of a child names it: the caller's own entry where there is one. ``index`` is
    NVML's, ``free`` what was free when it was found.
    """

    token: str
    """How CUDA_VISIBLE_DEVICES names it."""
    index: int | None
    """NVML's index, if it has one."""
    uuid: str
    """NVML's UUID."""
    name: str
    """What it is sold as."""
    total: int
    """Its memory in bytes, 0 where nobody knows."""
    free: int
    """What was free of it when it was found, in bytes."""

    @property
    def key(self) -> str:
        """The same for every process of the host, and safe as the name of a file."""
        return _UNSAFE.sub("_", self.uuid or f"index-{self.token if self.index is None else self.index}")

    def __str__(self) -> str:
        if self.index is not None:
            return f"GPU {self.index}"
        return self.token if self.token.startswith(("GPU-", "MIG-")) else f"GPU {self.token}"


class Nvml:
    """The driver's own account of its GPUs, opened at first use: one a process, as opening it takes long.

    What it cannot say is None or empty, and ``reason`` why: a GPU that is lost is no trouble of the others.
    """

    def __init__(self) -> None:
        self.count = 0
        self.left_out: dict[str, str] = {}
        self._library: Any = None
        self._failure = ""
        self._handles: dict[str, Any] = {}
        self._errors: dict[str, Exception] = {}

    def __enter__(self) -> Nvml:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failure(self) -> str:
        """Why there is no driver to ask; empty where there is one."""
        self._open()
        return self._failure

    def _open(self) -> Any:
        if self._library is None and not self._failure:
            import pynvml

            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError as error:
                self._failure = str(error)
            else:
                self._library = pynvml
        return self._library

    def close(self) -> None:
        if self._library is not None:
            self._ask("", "nvmlShutdown")
        self._library = None
        self._handles.clear()

    def gpus(self, *, by_uuid: bool = False) -> list[Gpu]:
        """All that work, in NVML's order; ``by_uuid`` names them to children by what no order changes."""
        self.left_out.clear()
        self.count = self._ask("every GPU", "nvmlDeviceGetCount") or 0
        if error := self._errors.pop("every GPU", None):
            self.left_out["every GPU"] = str(error)
        found = []
        for index in range(self.count):
            gpu = self._gpu(f"GPU {index}", index, self._ask(f"GPU {index}", "nvmlDeviceGetHandleByIndex", index))
            if gpu is not None:
                found.append(replace(gpu, token=gpu.uuid) if by_uuid and gpu.uuid else gpu)
        return found

    def named(self, uuid: str) -> Gpu | None:
        """The GPU, or the part of one (MIG), with a full UUID."""
        return self._gpu(uuid, None, self._ask(uuid, "nvmlDeviceGetHandleByUUID", uuid))

    def _gpu(self, whom: str, index: int | None, handle: Any) -> Gpu | None:
        uuid = self._ask(whom, "nvmlDeviceGetUUID", handle) or ""
        name = self._ask(whom, "nvmlDeviceGetName", handle) or ""
        memory = self._ask(whom, "nvmlDeviceGetMemoryInfo", handle)
        error = self._errors.pop(whom, None)
        if handle is None or self._is_broken(error):
            self.left_out[whom] = str(error)
            return None
        total, free = (memory.total, memory.free) if memory else (0, 0)
        gpu = Gpu(uuid if index is None else str(index), index, uuid, name, total, free)
        self._handles[gpu.key] = handle
        return gpu

    def _is_broken(self, error: Exception | None) -> bool:
        """Not merely unable to tell, as those are that share the memory of their host."""
        library = self._library
        return error is not None and not isinstance(
            error, (library.NVMLError_NotSupported, library.NVMLError_FunctionNotFound)
        )

    def free_memory(self, gpu: Gpu) -> int | None:
        """Bytes that are free now."""
        memory = self._ask(gpu.key, "nvmlDeviceGetMemoryInfo", self._handle(gpu))
        return None if memory is None else int(memory.free)

    def users(self, gpu: Gpu) -> list[tuple[int, int]]:
        """PIDs of the processes that use it, and how many bytes each; 0 where the driver does not tell."""
        handle = self._handle(gpu)
        found: dict[int, int] = {}
        for kind in ("Compute", "Graphics"):
            processes = self._ask(gpu.key, f"nvmlDeviceGet{kind}RunningProcesses_v3", handle)
            for process in processes or ():
                found[process.pid] = max(found.get(process.pid, 0), process.usedGpuMemory or 0)
        return sorted(found.items())

    def reason(self, gpu: Gpu) -> str:
        """What was in the way when this GPU was last asked about; empty where nothing was."""
        return str(self._errors.get(gpu.key, ""))

    def _handle(self, gpu: Gpu) -> Any:
        self._errors.pop(gpu.key, None)
        if (handle := self._handles.get(gpu.key)) is not None:
            return handle
        if gpu.uuid:
            handle = self._ask(gpu.key, "nvmlDeviceGetHandleByUUID", gpu.uuid)
        elif gpu.index is not None:
            handle = self._ask(gpu.key, "nvmlDeviceGetHandleByIndex", gpu.index)
        if handle is not None:
            self._handles[gpu.key] = handle
        return handle

    def _ask(self, whom: str, function: str, *args: Any) -> Any:
        library = self._open()
        if library is None or None in args:  # no driver, or no handle, and the reason is known
            return None
        try:
            return getattr(library, function)(*args)
        except library.NVMLError as error:
            self._errors.setdefault(whom, error)
            return None
