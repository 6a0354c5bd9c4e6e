"""What evalrun.yaml may say of clusters, as pydantic models; below each key what it means."""

from __future__ import annotations

from pytest_evalrun.suite.fields import UNSET, Name, NotNegative, Pattern, Strict, Words


class RayModel(Strict):
    resources: dict[str, NotNegative] = UNSET
    """Resources of the Ray cluster by name, as in `{board: 1}`."""


class BatchSystemModel(Strict):
    """How jobs are submitted to a batch system that has no engine of its own; `{script}` and the like are filled in."""

    submit: Name
    """The command that submits a job, as in `qsub -N {name} -o {log} {script}`."""
    status: Name
    """The command that tells how jobs stand, as in `qstat {ids}`."""
    cancel: Name
    """The command that ends jobs, as in `qdel {ids}`."""
    id: Pattern = UNSET
    """A regular expression whose first group is the id in what `submit` prints. Default: its last word."""
    state: Pattern = UNSET
    """A regular expression for a job in what `status` prints, with the groups `id` and `state`, and `code`, `node` and
    `reason` where there are some.
    """
    states: dict[str, Words | Name] = UNSET
    """Which words for a state mean `waiting`, `running`, `done`, `failed`, `preempted`, `lost`, `time limit`,
    `out of memory` and `cancelled`.
    """
