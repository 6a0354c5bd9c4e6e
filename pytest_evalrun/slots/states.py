"""How the GPUs stand at a moment, against what is asked of them, and how a person is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.slots.need import GB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.slots.directory import Holder
    from pytest_evalrun.slots.gpus import Gpu
    from pytest_evalrun.slots.need import Need

FEWER = "--eval-gpus-per-item"
LESS = "--eval-min-gpu-memory"
OTHERS = "--eval-gpus"


@dataclass(frozen=True)
class State:
    """A GPU: who leases it, and how many bytes are free; None where the driver did not say, ``trouble`` why.

    ``users`` are the processes that have its memory, and how much; asked for only where somebody is to be told.
    """

    gpu: Gpu
    holders: tuple[Holder, ...]
    free: int | None
    trouble: str = ""
    users: tuple[tuple[int, int], ...] = ()

    def is_enough(self, need: Need) -> bool:
        """What is free suffices, also once those who share it have taken all that they asked for."""
        if self.free is None:
            return not self.gpu.total  # never known, then the user's word is taken; else it is lost
        promised = sum(holder.memory for holder in self.holders) * GB
        return min(self.free, self.gpu.total - promised) >= need.memory * GB

    def is_too_small(self, need: Need) -> bool:
        return 0 < self.gpu.total < need.memory * GB

    def is_blocked(self, need: Need) -> bool:
        """No end of a lease would help."""
        return self.is_too_small(need) or (not self.holders and not self.is_enough(need))

    def __str__(self) -> str:
        parts = [self._leased(), self._memory()] if self.holders else [self._memory(), self._used()]
        return ", ".join(filter(None, parts))

    def _leased(self) -> str:
        return f"leased by {' and '.join(map(str, self.holders))}"

    def _memory(self) -> str:
        if self.free is None:
            return f"does not answer: {self.trouble}" if self.gpu.total else "how much is free is unknown"
        return f"{_gigabytes(self.free)} of {_gigabytes(self.gpu.total)} GB free"

    def _used(self) -> str:
        by = [f"process {pid} ({_gigabytes(size)} GB)" if size else f"process {pid}" for pid, size in self.users]
        return f"used by {' and '.join(by)}" if by else ""


def _gigabytes(size: int) -> str:
    return f"{size / GB:.1f}"


def is_impossible(need: Need, states: Sequence[State]) -> bool:
    """No waiting would help."""
    return sum(not state.is_too_small(need) for state in states) < need.gpus


def is_blocked(need: Need, states: Sequence[State]) -> bool:
    """Waiting for leases would not help: what is missing is with processes outside any lease, or does not exist."""
    return sum(not state.is_blocked(need) for state in states) < need.gpus


def waiting_text(need: Need, states: Sequence[State]) -> str:
    return f"waiting for {need}: " + "; ".join(f"{state.gpu}: {state}" for state in states)


def blocked_text(need: Need, states: Sequence[State], seconds: float) -> str:
    """Why the wait of one pair is over."""
    if is_impossible(need, states):
        return lacking_text(need, states)
    blocked = "; ".join(f"{state.gpu}: {state}" for state in states if state.is_blocked(need))
    return f"{need} could not be had for {seconds:g} s, and no lease explains it: {blocked}; {remedy(need, states)}"


def lacking_text(need: Need, states: Sequence[State], reason: str = "") -> str:
    """What was asked, what there is, and what to change; for a person at a terminal."""
    width = max((len(str(state.gpu)) for state in states), default=0)
    names = max((len(state.gpu.name) for state in states), default=0)
    found = [f"  {state.gpu!s:{width}}  {state.gpu.name:{names}}  {state}" for state in states] or ["  no GPU"]
    notes = [f"  ({reason})"] if reason else []
    return "\n".join([f"needed: {need}; this host has:", *found, *notes, remedy(need, states)])


def remedy(need: Need, states: Sequence[State]) -> str:
    """What to do about it, and by which option."""
    if not states:
        return f"name the GPUs with {OTHERS} if they are only not found, or ask for none with {FEWER} 0"
    if len(states) < need.gpus:
        return f"ask for fewer with {FEWER}, or allow more with {OTHERS} and CUDA_VISIBLE_DEVICES"
    less = " or ".join([LESS] * bool(need.memory) + [FEWER] * (need.gpus > 1))
    if is_impossible(need, states):
        return f"ask for less with {less}, or allow other GPUs with {OTHERS}"
    if not less or all(state.free is None for state in states if state.is_blocked(need)):
        return f"see to the GPUs that do not answer (nvidia-smi says more), or name others with {OTHERS}"
    return f"end what uses the memory, ask for less with {less}, or name other GPUs with {OTHERS}"
