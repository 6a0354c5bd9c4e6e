"""The seed's small files for people and scripts; the plugin itself never reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.rundir.durable import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_evalrun.rundir.layout import RunPaths


class Mirrors:
    """``.main_pid``, ``.running_pids`` and ``failed_tasks.txt``: each written only when its content changes.

    A disk that is full is no reason to end a run: the methods return False, and the next call tries again.
    """

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._written: dict[Path, str] = {}

    def main(self, pid: int) -> bool:
        return self._mirror(self._paths.main_pid, [str(pid)])

    def running(self, pids: Iterable[int]) -> bool:
        return self._mirror(self._paths.running_pids, map(str, pids))

    def failed(self, pairs: Iterable[str]) -> bool:
        """``suite/task/dataset`` of every pair that failed; no file where none did."""
        return self._mirror(self._paths.failed_tasks, pairs)

    def close(self) -> None:
        """A clean end: no process is left to name."""
        self._mirror(self._paths.main_pid, [])
        self._mirror(self._paths.running_pids, [])

    def _mirror(self, path: Path, lines: Iterable[str]) -> bool:
        text = "".join(f"{line}\n" for line in lines)
        if self._written.get(path) == text:
            return True
        try:
            if text:
                write_atomic(path, text.encode("utf-8", "surrogateescape"))
            else:
                path.unlink(missing_ok=True)
        except OSError:
            return False
        self._written[path] = text
        return True
