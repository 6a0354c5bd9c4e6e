"""The Slurm of `make evals-slurm`, for tests.

Where Slurm is not installed they fail, and say by which command it comes.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "evals" / "slurm"))

from fournodes import NODES, Slurm, belonging, belonging_called

__all__ = ["NODES", "Slurm", "belonging", "belonging_called"]
