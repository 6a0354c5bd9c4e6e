"""What evalrun.yaml may say of clusters, as pydantic models; below each key what it means."""

from __future__ import annotations

from pytest_evalrun.suite.fields import UNSET, Name, NotNegative, Pattern, Strict, Words


class RayModel(Strict):
    resources: dict[str, NotNegative] = UNSET
    """Resources of the Ray cluster by name, as in `{board: 1}`."""


class BatchSystemModel(Strict):
    """How jobs are submitted to a batch system that has no engine of its own; `{script}` and the like are filled in.

    A command is split as a shell splits words, and runs without one, in the project's directory. `{{` is a brace.
    """

    submit: Name
    """The command that submits a job, as in `qsub -N {name} -o {log} {script}`; also `{gpus}`, `{minutes}` or
    `{seconds}` that it may take (three times what is expected, half an hour or more; a day where nobody knows),
    `{title}` for people, and `{directory}`, which holds script and log.
    """
    status: Name
    """The command that tells how jobs stand, as in `qstat {ids}`: a word each, or with commas where it is part of a
    word. With `{id}` it is called once a job, and without both it shows all jobs of the user. Where it fails without
    naming what is `gone`, it is asked again later.
    """
    cancel: Name
    """The command that ends jobs, as in `qdel {ids}`, or with `{id}` once a job."""
    id: Pattern = UNSET
    """A regular expression whose first group is the id in what `submit` prints. Default: its last word."""
    state: Pattern
    """A regular expression for a job in what `status` prints, with the groups `id` and `state`, and `code`, `node`,
    `reason` and `name` where there are some; `^` and `$` are the ends of lines.
    """
    gone: Pattern = UNSET
    """A regular expression with the group `id` for what `status` says of a job that it does not know any more, where it
    fails then.
    """
    states: dict[str, Words | Name]
    """Which words for a state mean `waiting`, `running`, `done`, `failed`, `preempted`, `lost`, `time limit`,
    `out of memory` and `cancelled`; `EXIT/TERM_MEMLIMIT` and `F/137` are a state with the first word of its reason or
    its exit code. What is `done` with another exit code than 0 has failed.
    """
