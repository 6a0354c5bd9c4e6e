"""``task_run.log``: the run as a person reads it, in the format of the shell script that this replaces."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pytest_evalrun.rundir.lines import LineFile
from pytest_evalrun.suite.printable import one_line
from pytest_evalrun.suite.secrets import NO_SECRETS

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.suite.secrets import Secrets

Level = Literal["INFO", "TASK", "WARNING", "ERROR"]


class MainLog:
    """The main log, without secrets and safe to show; the controller is its only writer."""

    def __init__(self, path: Path | str, secrets: Secrets = NO_SECRETS) -> None:
        self._file = LineFile(path)
        self._secrets = secrets

    def write(self, level: Level, text: str) -> bool:
        """Append ``[local time] [LEVEL] text`` as one line; False where the disk did not take it."""
        time = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        line = f"[{time}] [{level}] {_one_line(self._secrets.blank(text))}\n"
        return self._file.write(line.encode())

    def close(self) -> None:
        self._file.close()


def _one_line(text: str) -> str:
    return one_line(text.rstrip("\r\n").replace("\r\n", "\n").replace("\r", "\n").replace("\n", " | "))
