"""What a pair asks of the machine before its model can be loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.suite.devices import devices_of

if TYPE_CHECKING:
    from pytest_evalrun.suite.settings import Settings

GB = 1 << 30  # as nvidia-smi counts


@dataclass(frozen=True)
class Need:
    """``gpus`` GPUs with ``memory`` GB free each; ``per_gpu`` such models may share one GPU (1: it is had alone).

    Or one of the ``devices``, by the keys that their suite gives them.
    """

    gpus: int = 0
    memory: float = 0.0
    per_gpu: int = 1
    devices: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.gpus > 0 or bool(self.devices)

    def __str__(self) -> str:
        if self.devices:
            return f"one of the devices {', '.join(self.devices)}"
        if self.gpus == 1:
            return f"1 GPU with {self.memory:g} GB free" if self.memory else "1 GPU"
        return f"{self.gpus} GPUs with {self.memory:g} GB free each" if self.memory else f"{self.gpus} GPUs"


def board_of(settings: Settings) -> Need:
    """A board with the labels that a pair's settings name, whether its model runs on one or not."""
    return Need(devices=tuple(spec.key for spec in devices_of(settings)))


def need_of(settings: Settings) -> Need:
    """What the model of a pair needs, once every layer has spoken."""
    if settings.kind.needs_board(settings):
        return board_of(settings)
    return Need(settings.gpus, settings.min_gpu_memory, settings.workers_per_gpu) if settings.gpus else Need()
