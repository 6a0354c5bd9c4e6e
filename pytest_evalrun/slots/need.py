"""What a pair asks of the machine before its model can be loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_evalrun.suite.settings import Settings

GB = 1 << 30  # as nvidia-smi counts


@dataclass(frozen=True)
class Need:
    """``gpus`` GPUs with ``memory`` GB free each; ``per_gpu`` such models may share one GPU (1: it is had alone)."""

    gpus: int = 0
    memory: float = 0.0
    per_gpu: int = 1

    def __bool__(self) -> bool:
        return self.gpus > 0

    def __str__(self) -> str:
        if self.gpus == 1:
            return f"1 GPU with {self.memory:g} GB free" if self.memory else "1 GPU"
        return f"{self.gpus} GPUs with {self.memory:g} GB free each" if self.memory else f"{self.gpus} GPUs"


def need_of(settings: Settings) -> Need:
    """What the model of a pair needs, once every layer has spoken."""
    return Need(settings.gpus, settings.min_gpu_memory, settings.workers_per_gpu) if settings.gpus else Need()
