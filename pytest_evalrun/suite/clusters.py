"""What a launch says of the cluster that it runs on: options, ini and the words of its suites, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ClusterWords:
    """``engine`` by its name. ``slurm`` are words for sbatch, verbatim; ``batch`` the suite's `batch_system`.

    ``ray`` is the address of a Ray cluster, ``dlc`` the file of ``--eval-dlc-config``; ``root`` is the project's
    directory, in which jobs are to start.
    """

    engine: str
    slurm: str = ""
    batch: Mapping[str, Any] = field(default_factory=dict)
    ray: str | None = None
    dlc: str | None = None
    root: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ClusterWords:
        """Read what ``to_json`` gave. Raises TypeError where it is none."""
        return cls(**values)
