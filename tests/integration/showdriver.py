"""A program of `evals/` that shows a sample suite elsewhere, started as `make` starts it, in a terminal of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import wait_for

if TYPE_CHECKING:
    from pathlib import Path


class Driver:
    """``script`` and its arguments in the directory ``root``, in a session as a terminal gives it one."""

    def __init__(self, root: Path, script: str, *args: str, **env: str) -> None:
        self.root = root
        self.log = root / "driver.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, script, *args],
                cwd=root,
                env=os.environ | env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    def says(self, words: str, seconds: float = 120) -> None:
        wait_for(lambda: words in self.text or self.process.poll() is not None, seconds)
        assert words in self.text, self.text

    def kill(self, number: int) -> int:
        """As the terminal does it: everything but what has a session of its own."""
        os.killpg(self.process.pid, number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            logs = sorted((self.root / "outputs").glob("*/*.log"))
            pytest.fail(
                "\n".join(["it does not end:", self.text, *(f"{log.name}:\n{log.read_text()}" for log in logs)])
            )

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
