"""The sources that settings come from, before they are resolved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# The kinds of the layers that lie beside models and data.
TASK_CONFIG = "task .run_config"
DATASET_CONFIG = "dataset .run_config"
RUN_CONFIGS = (TASK_CONFIG, DATASET_CONFIG)


@dataclass(frozen=True)
class Layer:
    """One source of settings: what it says, and where it says so.

    ``values`` holds only builtins (what JSON knows), with ``${SECRET}`` names unexpanded.
    """

    kind: str
    source: str
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)
