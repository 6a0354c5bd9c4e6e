"""Slurm's programs, called: which of their variables are none of ours, and what means that nobody answers now."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pytest_evalrun.engines.calling import call_program
from pytest_evalrun.engines.protocol import ClusterAway
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from subprocess import CompletedProcess

# Slurm asks its controllers again and again by itself, for as long as its administrator has set.
PATIENCE = 120.0
# They change what is printed, which jobs are shown, or ask for a confirmation; what sbatch reads is the user's wish.
_TASTES = ("SQUEUE_", "SCANCEL_", "SACCT_", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN")
# Of a controller that is being started again, of a network, and of a munged: none of them says anything of a job.
_AWAY = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Connection (refused|reset|timed out)|Zero Bytes|"
    r"standby mode|Communication (connection|shutdown|send|receive)|temporarily unable|try again later|"
    r"[Aa]uthentication|[Mm]unge",
)
NOBODY_KNOWS = "Invalid job id specified"


class SlurmRefused(ConfigError):  # noqa: N818 - what a program of Slurm's did
    """A program of Slurm's said no; the text is its own, on one line."""


def call(argv: list[str], *, text: str = "", patience: float = PATIENCE) -> str:
    """Give what a program prints. Raises ClusterAway where nobody answers, SlurmRefused where it says no."""
    try:
        ran = call_program(argv, patience=patience, text=text, env=_environment())
    except FileNotFoundError:
        raise ConfigError(
            f"--eval-engine slurm: {argv[0]} is not on PATH; start this where Slurm's commands are installed (a login "
            "node; on many clusters `module load slurm` adds them)"
        ) from None
    except OSError as error:
        raise ConfigError(f"--eval-engine slurm: {argv[0]} cannot be started: {error.strerror}") from None
    if ran.returncode:
        words = _words(ran)
        raise ClusterAway(words) if _AWAY.search(words) else SlurmRefused(words)
    return ran.stdout


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_TASTES)}


def _words(ran: CompletedProcess[str]) -> str:
    """What it says of its failure, each sentence once, without the name of the program before it."""
    lines = [one_line(line).strip() for line in (ran.stderr.strip() or ran.stdout.strip()).splitlines()]
    said = [re.sub(r"^(/\S*/)?[a-z_]+: (error: )?", "", line) for line in lines if not line.startswith('Try "')]
    return "; ".join(dict.fromkeys(filter(None, said))) or f"{ran.args[0]} ended with exit code {ran.returncode}"
