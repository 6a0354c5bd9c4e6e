"""``engine/slurm/<array>/``: what an array of jobs runs, and which job is which of its elements.

An element runs ``N.sh`` and writes ``N.log``: links to the script and the log of its attempt, so that all that Slurm
itself says of a job is in that log as well. ``names`` has the names of all, one a line, in their order.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.engines.exits import CANNOT_BEGIN
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.engines.protocol import Job

SCRIPT = """\
#!/bin/bash
# Written by pytest-evalrun: each element of the array becomes the job of its number.
job={place}/"$SLURM_ARRAY_TASK_ID".sh
if ! [ -r "$job" ]; then
    printf 'evalrun: %s does not see %s; jobs start in the directories of the launch, so every node must have them ' \\
        "$(uname -n)" "$job" >&2
    printf 'under the same path\\n' >&2
    exit {cannot_begin}
fi
exec /bin/bash "$job"
"""


@dataclass(frozen=True)
class SlurmArray:
    """One array; its name in Slurm is that of its first job."""

    place: Path

    @classmethod
    def of(cls, root: Path, jobs: Sequence[Job]) -> SlurmArray:
        return cls(root / jobs[0].name)

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def script(self) -> Path:
        return self.place / "array.sh"

    @property
    def output(self) -> str:
        """As ``--output`` has it."""
        return str(self.place).replace("%", "%%") + "/%a.log"

    def log(self, element: int) -> Path:
        return self.place / f"{element}.log"

    def names(self) -> list[str]:
        """Give the names of its jobs; none where it was not written to its end."""
        try:
            return read_file(self.place / "names").decode().splitlines()
        except (OSError, ValueError):
            return []

    def write(self, jobs: Sequence[Job]) -> None:
        """Write all that its elements need; ``names`` is last, and says that nothing is missing."""
        self.place.mkdir(parents=True, exist_ok=True)
        for element, job in enumerate(jobs):
            for link, target in ((self.place / f"{element}.sh", job.script), (self.log(element), job.log)):
                link.unlink(missing_ok=True)
                link.symlink_to(os.path.relpath(target, self.place))
        text = SCRIPT.format(place=shlex.quote(str(self.place)), cannot_begin=CANNOT_BEGIN)
        write_atomic(self.script, os.fsencode(text))
        write_atomic(self.place / "names", "".join(f"{job.name}\n" for job in jobs))


def arrays(root: Path) -> Iterator[tuple[SlurmArray, list[str]]]:
    """Give all arrays that were ever written, with the names of their jobs."""
    try:
        places = sorted(root.iterdir())
    except OSError:
        return
    for place in places:
        yield SlurmArray(place), SlurmArray(place).names()
