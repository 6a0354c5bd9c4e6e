"""Which GPUs are for us: CUDA_VISIBLE_DEVICES as CUDA reads it, and --eval-gpus, which may only narrow it."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.slots.gpus import NVML_ORDER, ORDER, VISIBLE, Gpu, Nvml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_ENTRY = re.compile(r"\d+|(GPU|MIG)-.+")
_UUID = re.compile(r"(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """The GPUs that may be used; ``reason`` says why there are none, or which were left out."""

    gpus: tuple[Gpu, ...]
    reason: str = ""


def find_gpus(only: str | None = None, environ: Mapping[str, str] = os.environ, nvml: Nvml | None = None) -> Found:
    """Those that CUDA_VISIBLE_DEVICES shows and ``only`` (--eval-gpus) names; no driver is a reason, not an error.

    Where the driver cannot be asked, ``only`` is believed: then their names and sizes are unknown.
    """
    if only is not None and only.strip().lower() == "none":
        return Found((), "--eval-gpus is none")
    with _opened(nvml) as driver:
        if driver.failure:
            return _unseen(only, environ.get(VISIBLE), driver.failure)
        return _seen(only, environ, driver)


@contextmanager
def _opened(nvml: Nvml | None) -> Iterator[Nvml]:
    if nvml is not None:
        yield nvml
        return
    with Nvml() as own:
        yield own


def _unseen(only: str | None, listed: str | None, failure: str) -> Found:
    if only is None:
        return Found((), f"the NVIDIA driver cannot be asked: {failure}")
    tokens = unseen_tokens(only, listed)
    gpus = tuple(Gpu(token, None, token if _UUID.fullmatch(token) else "", "", 0, 0) for token in tokens)
    return Found(gpus, f"what they are is unknown, the NVIDIA driver cannot be asked: {failure}")


def _seen(only: str | None, environ: Mapping[str, str], driver: Nvml) -> Found:
    listed = environ.get(VISIBLE)
    every = driver.gpus(by_uuid=environ.get(ORDER, NVML_ORDER) != NVML_ORDER)
    gpus = visible_gpus(listed, every, driver.count, driver.named)
    if only is not None:
        gpus = chosen_gpus(only, gpus, every, listed, driver.named)
    return Found(tuple(gpus), _reason(gpus, every, listed, driver))


def _reason(gpus: list[Gpu], every: list[Gpu], listed: str | None, driver: Nvml) -> str:
    lost = "; ".join(f"{whom} is left out: {error}" for whom, error in driver.left_out.items())
    if gpus or lost:
        return lost
    return f"{VISIBLE}={listed} shows none of {len(every)}" if every else "the NVIDIA driver knows no GPU"


def visible_gpus(listed: str | None, gpus: Sequence[Gpu], count: int, named: Callable[[str], Gpu | None]) -> list[Gpu]:
    """What CUDA would show of ``gpus``, in the caller's order and words: all before the first entry that is not valid.

    ``count`` are the GPUs that the driver knows: one of them that does not work is passed over, and ends nothing.
    Indices count in NVML's order, which children are told to follow as well (CUDA_DEVICE_ORDER).
    """
    if listed is None:
        return list(gpus)
    found: dict[str, Gpu] = {}
    for entry in map(str.strip, listed.split(",")):
        gpu = _one(entry, gpus, named)
        if gpu is not None:
            found.setdefault(gpu.key, replace(gpu, token=entry))
        elif not (entry.isdecimal() and int(entry) < count):
            break
    return list(found.values())


def chosen_gpus(
    only: str, visible: Sequence[Gpu], every: Sequence[Gpu], listed: str | None, named: Callable[[str], Gpu | None]
) -> list[Gpu]:
    """Those of the ``visible`` GPUs that --eval-gpus names; raises ConfigError for what is not among them."""
    found: dict[str, Gpu] = {}
    for entry in _entries(only):
        gpu = _one(entry, visible, named if listed is None else lambda _: None)
        if gpu is None:
            raise ConfigError(f"--eval-gpus {only}: {_why_not(entry, visible, every, listed)}")
        if gpu.key in found:
            raise ConfigError(f"--eval-gpus {only}: {gpu} is named twice")
        found[gpu.key] = gpu
    return list(found.values())


def unseen_tokens(only: str, listed: str | None) -> list[str]:
    """The entries of --eval-gpus where there is no driver to compare them with."""
    tokens = list(_entries(only))
    allowed = None if listed is None else [entry.strip() for entry in listed.split(",")]
    for token in tokens:
        if allowed is not None and token not in allowed:
            raise ConfigError(f"--eval-gpus {only}: {token} is not in CUDA_VISIBLE_DEVICES={listed}")
        if tokens.count(token) > 1:
            raise ConfigError(f"--eval-gpus {only}: {token} is named twice")
    return tokens


def _entries(only: str) -> Iterator[str]:
    for entry in map(str.strip, only.split(",")):
        if not _ENTRY.fullmatch(entry):
            raise ConfigError(f"--eval-gpus {only}: {entry!r} is neither an index, nor a UUID (GPU-…, MIG-…), nor none")
        yield entry


def _one(entry: str, gpus: Sequence[Gpu], named: Callable[[str], Gpu | None]) -> Gpu | None:
    matches = _matches(entry, gpus)
    if not matches and entry.startswith("MIG-"):  # parts of GPUs are not listed by the driver, and go by full name only
        return named(entry)
    return matches[0] if len(matches) == 1 else None


def _matches(entry: str, gpus: Sequence[Gpu]) -> list[Gpu]:
    if entry.isdecimal():
        return [gpu for gpu in gpus if gpu.index == int(entry)]
    return [gpu for gpu in gpus if entry.startswith(("GPU-", "MIG-")) and gpu.uuid.startswith(entry)]


def _why_not(entry: str, visible: Sequence[Gpu], every: Sequence[Gpu], listed: str | None) -> str:
    if several := _matches(entry, visible):
        return f"{entry} may mean any of {_list(several)}"
    if _matches(entry, every):
        return f"{entry} is not among the GPUs of CUDA_VISIBLE_DEVICES={listed}, which are {_list(visible)}"
    return f"there is no GPU {entry}; this host has {_list(every)}"


def _list(gpus: Sequence[Gpu]) -> str:
    return ", ".join(f"{gpu} ({', '.join(filter(None, [gpu.uuid, gpu.name]))})" for gpu in gpus) or "none"
