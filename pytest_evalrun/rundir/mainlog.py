"""``task_run.log``: the run as a person reads it, in the format of the shell script that this replaces."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pytest_evalrun.rundir.lines import LineFile

if TYPE_CHECKING:
    from pathlib import Path

Level = Literal["INFO", "TASK", "WARNING", "ERROR"]


class MainLog:
    """The main log; the controller is its only writer."""

    def __init__(self, path: Path | str) -> None:
        self._file = LineFile(path)

    def write(self, level: Level, text: str) -> bool:
        """Append ``[local time] [LEVEL] text`` as one line; False where the disk did not take it."""
        time = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        line = f"[{time}] [{level}] {_one_line(text)}\n"
        return self._file.write(line.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        self._file.close()


def _one_line(text: str) -> str:
    return text.rstrip("\r\n").replace("\r\n", "\n").replace("\r", "\n").replace("\n", " | ")
