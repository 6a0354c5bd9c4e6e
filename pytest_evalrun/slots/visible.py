"""CUDA_VISIBLE_DEVICES as CUDA reads it, and --eval-gpus, which may only narrow it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_evalrun.slots.gpus import Gpu

_ENTRY = re.compile(r"\d+|(GPU|MIG)-.+")


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
        gpu = _one(entry, visible, named if listed is None else _nothing)
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


def _nothing(_: str) -> None:
    return None
